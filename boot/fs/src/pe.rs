//! PE: the headers of Microsoft's Portable Executable and Common Object File Format, sections 3 and 4, as far as a loader looks
//! at them.
//!
//! ```text
//!  "MZ" .. 0x3c: where the signature is .. | "PE\0\0" | COFF header | optional header | section table | .. sections ..
//! ```
//!
//! Loaders, kernels with an EFI stub and unified kernel images are such files. The one reader of section tables: of files, whose
//! sections lie where their rows say, and of images that a firmware mapped, whose headers are in front of them.

use core::ops::Range;

use crate::field::{le16, le32, le64};

const COFF_HEADER_LEN: usize = 20;
/// Bytes in a row of the section table.
pub const ROW_LEN: usize = 40;
/// The number of the directory that says where the base relocations are.
const BASE_RELOCATIONS: u32 = 5;

/// The headers of a PE file.
#[derive(Debug, Clone, Copy)]
pub struct Pe<'a> {
    coff: &'a [u8],
    optional: &'a [u8],
    table: &'a [u8],
    table_at: usize,
}

impl<'a> Pe<'a> {
    /// Reads the headers in `head`, the front of a file or of a mapped image. `None` when it is no PE file, or when its section
    /// table does not end within `head`.
    #[must_use]
    pub fn parse(head: &'a [u8]) -> Option<Self> {
        if !head.starts_with(b"MZ") {
            return None;
        }
        let signature_at = usize::try_from(le32(head, 0x3c)).ok()?;
        let coff = head.get(signature_at..)?.strip_prefix(b"PE\0\0").filter(|coff| coff.len() >= COFF_HEADER_LEN)?;
        let rows = usize::from(le16(coff, 2)).checked_mul(ROW_LEN)?;
        let (coff, behind) = coff.split_at_checked(COFF_HEADER_LEN)?;
        let (optional, behind) = behind.split_at_checked(le16(coff, 16).into())?;
        let table = behind.get(..rows)?;
        Some(Self { coff, optional, table, table_at: head.len().checked_sub(behind.len())? })
    }

    /// The machine type.
    #[must_use]
    pub fn machine(&self) -> u16 {
        le16(self.coff, 0)
    }

    /// Whether the optional header is that of 64-bit machines, PE32+: the methods below it read no other.
    #[must_use]
    pub fn is_pe32_plus(&self) -> bool {
        le16(self.optional, 0) == 0x20b && self.optional.len() >= 112
    }

    /// Where execution begins, in bytes from the start of the image.
    #[must_use]
    pub fn entry_point(&self) -> u32 {
        le32(self.optional, 16)
    }

    /// The address that the image was linked for.
    #[must_use]
    pub fn image_base(&self) -> u64 {
        le64(self.optional, 24)
    }

    /// In memory the image and its sections start at multiples of this.
    #[must_use]
    pub fn section_alignment(&self) -> u32 {
        le32(self.optional, 32)
    }

    /// Bytes of the image in memory.
    #[must_use]
    pub fn image_len(&self) -> u32 {
        le32(self.optional, 56)
    }

    /// Bytes of all headers, with which the image begins in file and memory alike.
    #[must_use]
    pub fn headers_len(&self) -> u32 {
        le32(self.optional, 60)
    }

    /// Whether the image says that it runs where only its code may be executed (`IMAGE_DLL_CHARACTERISTICS_NX_COMPAT`).
    #[must_use]
    pub fn is_nx_compatible(&self) -> bool {
        le16(self.optional, 70) & 0x100 != 0
    }

    /// Where in the image the base relocations are; empty when there are none.
    #[must_use]
    pub fn relocations(&self) -> Range<u64> {
        match le32(self.optional, 108) > BASE_RELOCATIONS {
            true => range(le32(self.optional, 152), le32(self.optional, 156)),
            false => 0..0,
        }
    }

    /// The rows of the section table.
    pub fn sections(&self) -> impl Iterator<Item = Section<'a>> + Clone + use<'a> {
        self.table.chunks_exact(ROW_LEN).map(|row| Section { row })
    }

    /// The section called `name`, the first if there are more.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<Section<'a>> {
        self.sections().find(|section| section.is_called(name))
    }

    /// Where the section table lies in `head`, for those who change it.
    #[must_use]
    pub fn table(&self) -> Range<usize> {
        self.table_at..self.table_at.saturating_add(self.table.len())
    }
}

/// A row of the section table.
#[derive(Debug, Clone, Copy)]
pub struct Section<'a> {
    row: &'a [u8],
}

impl Section<'_> {
    /// Whether this is its whole name. Names of eight bytes have no NUL.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        let Some((found, rest)) = self.row.get(..8).and_then(|field| field.split_at_checked(name.len())) else { return false };
        found == name.as_bytes() && rest.iter().all(|byte| *byte == 0)
    }

    /// Where it lies in a mapped image.
    #[must_use]
    pub fn memory(&self) -> Range<u64> {
        range(le32(self.row, 12), le32(self.row, 8))
    }

    /// Where its bytes are in the file. They may be fewer than it has in memory, where zeros follow, and a file pads them.
    #[must_use]
    pub fn file(&self) -> Range<u64> {
        range(le32(self.row, 20), le32(self.row, 16).min(le32(self.row, 8)))
    }

    /// Whether it may be written to (`IMAGE_SCN_MEM_WRITE`).
    #[must_use]
    pub fn is_writable(&self) -> bool {
        le32(self.row, 36) & 0x8000_0000 != 0
    }

    /// Whether it may be executed (`IMAGE_SCN_MEM_EXECUTE`).
    #[must_use]
    pub fn is_executable(&self) -> bool {
        le32(self.row, 36) & 0x2000_0000 != 0
    }
}

/// Two 32-bit fields as a range that cannot overflow.
fn range(start: u32, len: u32) -> Range<u64> {
    let start = u64::from(start);
    start..start.saturating_add(len.into())
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
pub(crate) mod tests {
    use std::vec::Vec;

    use super::*;

    const PE_AT: usize = 0x78;
    const OPTIONAL_LEN: usize = 0xf0;
    /// Where the section table of [`file`] is.
    pub(crate) const TABLE_AT: usize = PE_AT + 24 + OPTIONAL_LEN;

    pub(crate) fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
        file[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// A file of headers of 1 KiB and `sections` (name, body), each padded to 512 bytes and filled with zeros in memory by 16.
    pub(crate) fn file(sections: &[(&str, &[u8])]) -> Vec<u8> {
        let mut file = std::vec![0; 1024];
        put(&mut file, 0, b"MZ");
        put(&mut file, 0x3c, &[0x78]);
        put(&mut file, PE_AT, b"PE\0\0\x64\x86");
        put(&mut file, PE_AT + 6, &u16::try_from(sections.len()).unwrap().to_le_bytes());
        put(&mut file, PE_AT + 20, &[0xf0, 0]);
        put(&mut file, PE_AT + 24, &[0x0b, 0x02]);
        for (nth, (name, body)) in sections.iter().enumerate() {
            let (row, at) = (TABLE_AT + nth * ROW_LEN, file.len());
            file.extend(*body);
            file.resize(file.len().next_multiple_of(512), 0);
            let fields = [body.len(), 0x1000 * (nth + 1), file.len() - at, at].map(|field| u32::try_from(field).unwrap().to_le_bytes());
            put(&mut file, row, name.as_bytes());
            put(&mut file, row + 8, &fields.concat());
        }
        file
    }

    #[test]
    fn sections_are_found_by_their_whole_name() {
        let file = file(&[(".linux", &[7; 0x1234]), (".cmdline", b"console")]);
        let pe = Pe::parse(&file).unwrap();
        assert_eq!((pe.machine(), pe.is_pe32_plus(), pe.table()), (0x8664, true, TABLE_AT..TABLE_AT + 80));
        let linux = pe.section(".linux").unwrap();
        assert_eq!((linux.memory(), linux.file()), (0x1000..0x2234, 1024..1024 + 0x1234));
        assert_eq!(pe.section(".cmdline").unwrap().memory(), 0x2000..0x2007);
        for name in [".lin", ".initrd", ".cmdline-long", ""] {
            assert!(pe.section(name).is_none(), "{name}");
        }
    }

    #[test]
    fn what_is_shorter_in_the_file_is_told_by_what_is_there() {
        let mut file = file(&[(".data", &[7; 600])]);
        put(&mut file, TABLE_AT + 8, &4000u32.to_le_bytes());
        let data = Pe::parse(&file).unwrap().section(".data").unwrap();
        assert_eq!((data.memory(), data.file()), (0x1000..0x1fa0, 1024..2048));
    }

    #[test]
    fn what_is_no_pe_has_no_headers() {
        let sound = file(&[(".linux", b"k")]);
        for file in [&b""[..], b"MZ", &std::vec![0; 4096], &sound[..0x80], &sound[..TABLE_AT + 39]] {
            assert!(Pe::parse(file).is_none());
        }
        let mut wild = sound;
        put(&mut wild, 0x3c, &u32::MAX.to_le_bytes());
        assert!(Pe::parse(&wild).is_none());
    }
}
