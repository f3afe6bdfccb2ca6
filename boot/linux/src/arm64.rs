//! The header of an arm64 `Image`: Documentation/arch/arm64/booting.rst, section 4. Read for `inspect`; the firmware boots
//! such a kernel by its EFI stub, which is the PE image that the same header begins.

use crate::field::{le8, le32, le64};

/// What an arm64 kernel says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageHeader {
    /// Bytes from a 2 MiB boundary to where the image wants to be loaded.
    pub text_offset: u64,
    /// Bytes of memory that the image needs from there on; 0 in kernels before 3.17.
    pub image_size: u64,
    /// Flags: bit 0 big endian, bits 1 and 2 page size (1: 4 KiB, 2: 16 KiB, 3: 64 KiB), bit 3 loadable anywhere.
    pub flags: u64,
    /// Offset of the PE header, when the kernel has an EFI stub.
    pub pe_offset: Option<u32>,
}

impl ImageHeader {
    /// Reads the header in the first 64 bytes of a file; `None` when it is no arm64 `Image`.
    #[must_use]
    pub fn parse(head: &[u8]) -> Option<Self> {
        if head.get(56..60)? != b"ARM\x64" {
            return None;
        }
        let has_stub = head.starts_with(b"MZ");
        Some(Self {
            text_offset: le64(head, 8),
            image_size: le64(head, 16),
            flags: le64(head, 24),
            pe_offset: has_stub.then(|| le32(head, 60)),
        })
    }

    /// Bytes in a page of memory, where the header says.
    #[must_use]
    pub const fn page_size(&self) -> Option<u32> {
        match (self.flags >> 1) & 3 {
            1 => Some(4 << 10),
            2 => Some(16 << 10),
            3 => Some(64 << 10),
            _ => None,
        }
    }

    /// Whether the kernel runs in big-endian mode.
    #[must_use]
    pub const fn is_big_endian(&self) -> bool {
        self.flags & 1 != 0
    }
}

/// Whether the file is a compressed kernel in an EFI zboot wrapper (`vmlinuz.efi`): the compression's name, e.g. `gzip`.
#[must_use]
pub fn zboot_compression(head: &[u8]) -> Option<&str> {
    if le8(head, 0) != b'M' || head.get(4..8)? != b"zimg" {
        return None;
    }
    let name = head.get(24..56)?;
    let end = name.iter().position(|byte| *byte == 0)?;
    core::str::from_utf8(name.get(..end)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::put;

    #[test]
    fn an_image_with_an_efi_stub() {
        let mut head = [0; 64];
        put(&mut head, 0, b"MZ");
        put(&mut head, 16, &(32u64 << 20).to_le_bytes());
        put(&mut head, 24, &[0x0a]);
        put(&mut head, 56, b"ARM\x64\x40\0\0\0");
        let header = ImageHeader::parse(&head).unwrap();
        assert_eq!(header, ImageHeader { text_offset: 0, image_size: 32 << 20, flags: 0x0a, pe_offset: Some(64) });
        assert_eq!(header.page_size(), Some(4096));
        assert!(!header.is_big_endian());
        assert_eq!(ImageHeader::parse(&head[..59]), None);
        head[56] = 0;
        assert_eq!(ImageHeader::parse(&head), None);
    }

    #[test]
    fn a_zboot_wrapper_names_its_compression() {
        let mut head = [0; 64];
        put(&mut head, 0, b"MZ\0\0zimg");
        put(&mut head, 24, b"gzip\0");
        assert_eq!(zboot_compression(&head), Some("gzip"));
        assert_eq!(zboot_compression(b"MZ"), None);
    }
}
