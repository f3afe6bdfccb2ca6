//! The setup header of a bzImage: Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header".
//!
//! ```text
//!  file   0      0x1f1            0x202+jump    (1 + setup_sects) * 512
//!         boot   setup header     real-mode     protected-mode code, loaded in one piece
//!         sector                  code
//! ```

use crate::Error;
use crate::field::{le8, le16, le32, le64};

/// Bytes of the file that [`SetupHeader::parse`] wants to see: the whole header of any version, and most kernels' version
/// string, which follows in the real-mode code.
pub const HEAD_LEN: usize = 16 * 1024;

/// Where the header begins, in the file and in the zero page alike.
pub(crate) const HEADER_AT: usize = 0x1f1;
/// Where the header may end at most: the next field of the zero page.
pub(crate) const HEADER_END: usize = 0x290;

/// What a kernel says about itself.
#[derive(Debug, Clone, Copy)]
pub struct SetupHeader<'a> {
    head: &'a [u8],
    file_len: u64,
    setup_len: u64,
}

impl<'a> SetupHeader<'a> {
    /// Reads the header in `head`, the first bytes ([`HEAD_LEN`], or the whole file if it is shorter) of a file of `file_len`
    /// bytes.
    ///
    /// # Errors
    /// [`Error::NotKernel`], [`Error::Protocol`], [`Error::Truncated`].
    pub fn parse(head: &'a [u8], file_len: u64) -> Result<Self, Error> {
        let signature = head.get(0x202..0x206) == Some(b"HdrS".as_slice());
        // Bit 0 of loadflags: the protected-mode code is loaded at 1 MiB or above (bzImage, not zImage).
        let loaded_high = le8(head, 0x211) & 1 != 0;
        if !signature || le16(head, 0x1fe) != 0xaa55 || !loaded_high {
            return Err(Error::NotKernel);
        }
        if le16(head, 0x206) < 0x020a {
            return Err(Error::Protocol(le16(head, 0x206)));
        }
        let setup_sects = match le8(head, 0x1f1) {
            0 => 4, // boot.rst: "for backwards compatibility"
            sects => sects,
        };
        let setup_len = u64::from(setup_sects).saturating_add(1).saturating_mul(512);
        let header = Self { head, file_len, setup_len };
        // syssize is rounded up to whole paragraphs.
        let required = setup_len.saturating_add(header.syssize()).saturating_sub(15);
        if file_len < required {
            return Err(Error::Truncated { found: file_len, required });
        }
        Ok(header)
    }

    /// Version of the boot protocol, major in the high byte: 0x020f is 2.15.
    #[must_use]
    pub fn protocol(&self) -> u16 {
        le16(self.head, 0x206)
    }

    /// Where the protected-mode code begins in the file: boot sector and `setup_sects`, in bytes.
    #[must_use]
    pub const fn setup_len(&self) -> u64 {
        self.setup_len
    }

    /// Bytes of the protected-mode code in the file.
    #[must_use]
    pub const fn code_len(&self) -> u64 {
        self.file_len.saturating_sub(self.setup_len)
    }

    /// Bytes of the protected-mode code as the header has it, a multiple of 16.
    #[must_use]
    pub fn syssize(&self) -> u64 {
        u64::from(le32(self.head, 0x1f4)).saturating_mul(16)
    }

    /// Whether the kernel runs at other addresses than [`SetupHeader::pref_address`].
    #[must_use]
    pub fn is_relocatable(&self) -> bool {
        le8(self.head, 0x234) != 0
    }

    /// Alignment of the address of a relocatable kernel, a power of two.
    #[must_use]
    pub fn alignment(&self) -> u64 {
        u64::from(le32(self.head, 0x230)).next_power_of_two().max(4096)
    }

    /// The address at which the kernel wants to run.
    #[must_use]
    pub fn pref_address(&self) -> u64 {
        le64(self.head, 0x258)
    }

    /// Bytes that the kernel needs from its address on, before it knows the memory map: more than the file, because it
    /// unpacks itself there.
    #[must_use]
    pub fn init_size(&self) -> u64 {
        u64::from(le32(self.head, 0x260)).max(self.code_len())
    }

    /// The highest address that the last byte of an initrd may have.
    #[must_use]
    pub fn initrd_addr_max(&self) -> u32 {
        le32(self.head, 0x22c)
    }

    /// The longest command line, in bytes without the final zero.
    #[must_use]
    pub fn cmdline_size(&self) -> u32 {
        le32(self.head, 0x238)
    }

    /// Refuses a command line that the kernel would cut off, or drop as a whole.
    ///
    /// # Errors
    /// [`Error::CommandLine`].
    pub fn check_command_line(&self, len: usize) -> Result<(), Error> {
        let limit = self.cmdline_size();
        match u32::try_from(len) {
            Ok(found) if found <= limit => Ok(()),
            _ => Err(Error::CommandLine { found: len, limit }),
        }
    }

    /// Extended load flags (`XLF_*`): bit 0 64-bit entry, bit 1 loadable above 4 GiB, bits 2 and 3 EFI handover, bit 5 5-level
    /// paging.
    #[must_use]
    pub fn xloadflags(&self) -> u16 {
        if self.protocol() < 0x020c { 0 } else { le16(self.head, 0x236) }
    }

    /// The compressed kernel in the file: (offset, length), in bytes.
    #[must_use]
    pub fn payload(&self) -> Option<(u64, u64)> {
        let (offset, len) = (u64::from(le32(self.head, 0x248)), u64::from(le32(self.head, 0x24c)));
        let start = self.setup_len.saturating_add(offset);
        (len > 0 && start.saturating_add(len) <= self.file_len).then_some((start, len))
    }

    /// The version string, e.g. `6.1.0-54-cloud-amd64 (debian-kernel@lists.debian.org) #1 SMP ...`; `None` when there is none
    /// or it lies beyond the bytes that were given.
    #[must_use]
    pub fn kernel_version(&self) -> Option<&'a str> {
        let pointer = usize::from(le16(self.head, 0x20e));
        if pointer == 0 {
            return None;
        }
        let text = self.head.get(pointer.saturating_add(0x200)..)?;
        let end = text.iter().position(|byte| *byte == 0)?;
        core::str::from_utf8(text.get(..end)?).ok()
    }

    /// The header as the zero page takes it: from 0x1f1 to the end that the jump at 0x200 names.
    pub(crate) fn raw(&self) -> &'a [u8] {
        let end = usize::from(le8(self.head, 0x201)).saturating_add(0x202).min(HEADER_END);
        self.head.get(HEADER_AT..end).unwrap_or_default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::field::put;

    /// The head of Debian's 6.1 cloud kernel as far as it matters, in a file of `len` bytes.
    pub(crate) fn kernel(len: usize) -> Vec<u8> {
        let mut file = vec![0; len];
        put(&mut file, 0x1f1, &[39]);
        put(&mut file, 0x1f4, &u32::try_from((len - 40 * 512) / 16).unwrap().to_le_bytes());
        put(&mut file, 0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
        put(&mut file, 0x202, b"HdrS\x0f\x02");
        put(&mut file, 0x20e, &0x3000u16.to_le_bytes());
        put(&mut file, 0x211, &[1]);
        put(&mut file, 0x22c, &0x7fff_ffffu32.to_le_bytes());
        put(&mut file, 0x230, &0x20_0000u32.to_le_bytes());
        put(&mut file, 0x234, &[1, 21, 0x3f, 0]);
        put(&mut file, 0x238, &2047u32.to_le_bytes());
        put(&mut file, 0x248, &0x2cc_u32.to_le_bytes());
        put(&mut file, 0x24c, &0x1000_u32.to_le_bytes());
        put(&mut file, 0x258, &0x100_0000u64.to_le_bytes());
        put(&mut file, 0x260, &(51u32 << 20).to_le_bytes());
        put(&mut file, 0x3200, b"6.1.0-54-cloud-amd64 (debian)\0");
        file
    }

    #[test]
    fn the_fields_of_a_debian_kernel() {
        let file = kernel(64 << 10);
        let header = SetupHeader::parse(&file, 64 << 10).unwrap();
        assert_eq!(header.protocol(), 0x020f);
        assert_eq!(header.setup_len(), 20480);
        assert_eq!(header.code_len(), (64 << 10) - 20480);
        assert_eq!(header.pref_address(), 16 << 20);
        assert_eq!(header.init_size(), 51 << 20);
        assert_eq!(header.alignment(), 2 << 20);
        assert_eq!(header.initrd_addr_max(), 0x7fff_ffff);
        assert_eq!(header.cmdline_size(), 2047);
        assert_eq!(header.xloadflags(), 0x3f);
        assert_eq!(header.payload(), Some((20480 + 0x2cc, 0x1000)));
        assert!(header.is_relocatable());
        assert_eq!(header.kernel_version(), Some("6.1.0-54-cloud-amd64 (debian)"));
    }

    #[test]
    fn what_is_not_a_kernel_is_refused() {
        let file = kernel(64 << 10);
        assert_eq!(SetupHeader::parse(b"", 0).err(), Some(Error::NotKernel));
        assert_eq!(SetupHeader::parse(&file[..0x204], 0x204).err(), Some(Error::NotKernel));
        let mut zimage = file.clone();
        zimage[0x211] = 0;
        assert_eq!(SetupHeader::parse(&zimage, 64 << 10).err(), Some(Error::NotKernel));
        let mut old = file.clone();
        old[0x206] = 9;
        let error = SetupHeader::parse(&old, 64 << 10).err();
        assert_eq!(error, Some(Error::Protocol(0x0209)));
        assert!(std::format!("{}", error.unwrap()).starts_with("boot protocol 2.09, not 2.10"));
        let error = SetupHeader::parse(&file, 40_000).err();
        assert_eq!(error, Some(Error::Truncated { found: 40_000, required: (64 << 10) - 15 }));
    }

    #[test]
    fn an_over_long_command_line_is_refused() {
        let file = kernel(64 << 10);
        let header = SetupHeader::parse(&file, 64 << 10).unwrap();
        assert_eq!(header.check_command_line(2047), Ok(()));
        let error = header.check_command_line(2048);
        assert_eq!(error, Err(Error::CommandLine { found: 2048, limit: 2047 }));
        assert_eq!(std::format!("{}", error.unwrap_err()), "too long: 2048 bytes, the kernel takes 2047");
    }

    #[test]
    fn a_version_string_out_of_reach_is_none() {
        let mut file = kernel(64 << 10);
        put(&mut file, 0x20e, &0xffffu16.to_le_bytes());
        assert_eq!(SetupHeader::parse(&file, 64 << 10).unwrap().kernel_version(), None);
    }
}
