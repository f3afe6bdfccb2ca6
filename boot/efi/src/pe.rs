//! As much of PE (Microsoft PE/COFF specification, sections 3 and 4) as a loader needs: the machine of a file, and the
//! sections of a mapped image.
//!
//! A unified kernel image (UAPI.5) is this loader with sections added: `.linux`, and optionally `.initrd`, `.ucode`,
//! `.cmdline` and others that only tools read.

use core::ops::Range;

const COFF_HEADER_LEN: usize = 20;
const SECTION_HEADER_LEN: usize = 40;

/// The machine type of a PE; `None` when the file is none.
#[must_use]
pub fn machine(file: &[u8]) -> Option<u16> {
    let coff = coff_header(file)?;
    coff.first_chunk().copied().map(u16::from_le_bytes)
}

/// Where in a mapped image of `image_len` bytes the section `name` lies; `headers` is its front, where the firmware leaves the
/// headers of the file. `None` when there is no such section, or none within the image.
#[must_use]
pub fn section(headers: &[u8], image_len: usize, name: &str) -> Option<Range<usize>> {
    let coff = coff_header(headers)?;
    let (sections, optional_len) = (half(coff, 2)?, half(coff, 16)?);
    let table = coff.get(COFF_HEADER_LEN.checked_add(optional_len.into())?..)?;
    let headers = table.chunks_exact(SECTION_HEADER_LEN).take(sections.into());
    let header = headers.into_iter().find(|header| is_called(header, name))?;
    let (len, start) = (word(header, 8)?, word(header, 12)?);
    let end = start.checked_add(len).filter(|end| *end <= image_len)?;
    Some(start..end)
}

/// Names of eight bytes have no NUL.
fn is_called(header: &[u8], name: &str) -> bool {
    let Some((found, rest)) = header.get(..8).and_then(|field| field.split_at_checked(name.len())) else { return false };
    found == name.as_bytes() && rest.iter().all(|byte| *byte == 0)
}

/// The COFF header and all that follows it.
fn coff_header(file: &[u8]) -> Option<&[u8]> {
    if !file.starts_with(b"MZ") {
        return None;
    }
    file.get(word(file, 0x3c)?..)?.strip_prefix(b"PE\0\0").filter(|coff| coff.len() >= COFF_HEADER_LEN)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)?;
    usize::try_from(word).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::vec::Vec;

    use super::*;

    pub(crate) fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
        file[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// An image of 0x3000 bytes with `.linux` at 0x1000, of 0x1234 bytes, and `.cmdline` at 0x2800, of 9.
    fn image() -> Vec<u8> {
        let mut image = std::vec![0; 0x3000];
        put(&mut image, 0, b"MZ");
        put(&mut image, 0x3c, &[0x78]);
        put(&mut image, 0x78, b"PE\0\0\x64\x86\x02\0");
        put(&mut image, 0x78 + 20, &[0xf0, 0]);
        for (section, name, start, len) in [(0, ".linux", 0x1000u32, 0x1234u32), (1, ".cmdline", 0x2800, 9)] {
            let header = 0x78 + 24 + 0xf0 + section * 40;
            put(&mut image, header, name.as_bytes());
            put(&mut image, header + 8, &len.to_le_bytes());
            put(&mut image, header + 12, &start.to_le_bytes());
        }
        image
    }

    #[test]
    fn sections_are_found_by_their_whole_name() {
        let image = image();
        assert_eq!(machine(&image), Some(0x8664));
        assert_eq!(section(&image, 0x3000, ".linux"), Some(0x1000..0x2234));
        assert_eq!(section(&image, 0x3000, ".cmdline"), Some(0x2800..0x2809));
        assert_eq!(section(&image, 0x3000, ".lin"), None);
        assert_eq!(section(&image, 0x3000, ".initrd"), None);
        assert_eq!(section(&image, 0x3000, ".cmdline-long"), None);
    }

    #[test]
    fn a_section_outside_the_image_is_not_there() {
        let mut image = image();
        put(&mut image, 0x78 + 24 + 0xf0 + 12, &0x2000u32.to_le_bytes());
        assert_eq!(section(&image, 0x3000, ".linux"), None);
        put(&mut image, 0x78 + 24 + 0xf0 + 12, &u32::MAX.to_le_bytes());
        assert_eq!(section(&image, 0x3000, ".linux"), None);
    }

    #[test]
    fn what_is_no_pe_has_neither_machine_nor_sections() {
        for file in [&b""[..], b"MZ", &std::vec![0; 4096], &image()[..0x80]] {
            assert_eq!(machine(file), None);
            assert_eq!(section(file, 0x3000, ".linux"), None);
        }
        let mut wild = image();
        put(&mut wild, 0x3c, &u32::MAX.to_le_bytes());
        assert_eq!(machine(&wild), None);
    }
}
