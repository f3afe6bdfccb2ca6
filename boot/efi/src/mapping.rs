//! How a kernel that is an EFI application is laid out in memory (Microsoft PE/COFF specification, sections 3, 4 and 5.6).
//!
//! ```text
//!  file     headers | section | section | ..
//!  memory   headers | section, zeros | section, zeros | ..      image_len bytes at a multiple of the section alignment
//! ```
//!
//! For a unified kernel image: firmware verified all of it and would ask for another signature before it loads the kernel in it.

use core::ops::Range;

use bootfs::pe::Pe;

use crate::KernelError;

/// Memory is given and protected in pages of so many bytes.
pub const PAGE: usize = 4096;

/// Bytes in the header of a block of base relocations: address and length.
const BLOCK_HEADER_LEN: usize = 8;
/// `IMAGE_REL_BASED_ABSOLUTE`, which fills a block up, and `IMAGE_REL_BASED_DIR64`, a 64-bit address.
const ABSOLUTE: u16 = 0;
const DIR64: u16 = 10;

/// A kernel and its place.
#[derive(Debug, Clone, Copy)]
pub struct Mapping<'k> {
    kernel: &'k [u8],
    pe: Pe<'k>,
    len: usize,
    headers_len: usize,
    alignment: usize,
    entry: usize,
}

/// How a part of the image may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protection {
    /// Whole pages of the image.
    pub pages: Range<u64>,
    /// Whether it may be written to.
    pub is_writable: bool,
    /// Whether it may be executed.
    pub is_executable: bool,
}

impl<'k> Mapping<'k> {
    /// Checks `kernel`, a whole file, so that [`Mapping::write`] reads and writes nothing beyond it.
    ///
    /// # Errors
    /// [`KernelError::Malformed`].
    pub fn plan(kernel: &'k [u8]) -> Result<Self, KernelError> {
        let pe = Pe::parse(kernel).filter(Pe::is_pe32_plus).ok_or(KernelError::Malformed("headers that are not PE32+"))?;
        let (len, headers_len, entry) = (size(pe.image_len()), size(pe.headers_len()), size(pe.entry_point()));
        if !pe.section_alignment().is_power_of_two() {
            return Err(KernelError::Malformed("a section alignment that is no power of two"));
        }
        if headers_len > kernel.len().min(len) {
            return Err(KernelError::Malformed("headers beyond its end"));
        }
        if entry >= len {
            return Err(KernelError::Malformed("an entry point outside of its image"));
        }
        let fits = |range: Range<u64>, len: usize| usize::try_from(range.end).is_ok_and(|end| end <= len);
        if !pe.sections().all(|section| fits(section.memory(), len) && fits(section.file(), kernel.len())) {
            return Err(KernelError::Malformed("a section beyond its end"));
        }
        Ok(Self { kernel, pe, len, headers_len, alignment: size(pe.section_alignment()).max(PAGE), entry })
    }

    /// Bytes of memory, in whole pages.
    #[must_use]
    pub const fn image_len(&self) -> usize {
        self.len.next_multiple_of(PAGE)
    }

    /// The address is to be a multiple of this. arm64 kernels ask for 64 KiB, and complain of the firmware otherwise.
    #[must_use]
    pub const fn alignment(&self) -> usize {
        self.alignment
    }

    /// Where the entry point is in the image.
    #[must_use]
    pub const fn entry(&self) -> usize {
        self.entry
    }

    /// Fills `image`, of [`Mapping::image_len`] bytes, which is at `address`.
    ///
    /// # Errors
    /// [`KernelError::Malformed`], [`KernelError::Relocation`].
    pub fn write(&self, image: &mut [u8], address: u64) -> Result<(), KernelError> {
        image.fill(0);
        copy(self.kernel, 0..self.headers_len, image, 0)?;
        for section in self.pe.sections() {
            let (file, memory) = (section.file(), section.memory());
            copy(self.kernel, offset(file.start)..offset(file.end), image, offset(memory.start))?;
        }
        self.relocate(image, address.wrapping_sub(self.pe.image_base()))
    }

    /// Adds `by` to every address in the image. Linux has no such addresses; what has some is loaded as firmware would load it.
    fn relocate(&self, image: &mut [u8], by: u64) -> Result<(), KernelError> {
        const BROKEN: KernelError = KernelError::Malformed("broken relocations");
        let Range { start, end } = self.pe.relocations();
        let (mut at, end) = (offset(start), offset(end));
        if end > image.len() {
            return Err(BROKEN);
        }
        while let Some(header) = image.get(at..end).and_then(|rest| rest.first_chunk::<BLOCK_HEADER_LEN>()) {
            let [a, b, c, d, e, f, g, h] = *header;
            let (page, len) = (size(u32::from_le_bytes([a, b, c, d])), size(u32::from_le_bytes([e, f, g, h])));
            let next = at.checked_add(len).filter(|next| len >= BLOCK_HEADER_LEN && *next <= end).ok_or(BROKEN)?;
            for entry in (at.saturating_add(BLOCK_HEADER_LEN)..next).step_by(2) {
                let Some(entry) = image.get(entry..).and_then(|rest| rest.first_chunk()).copied().map(u16::from_le_bytes) else { break };
                match entry >> 12 {
                    ABSOLUTE => {}
                    DIR64 => {
                        let place = page.saturating_add(usize::from(entry & 0xfff));
                        let field = image.get_mut(place..).and_then(|rest| rest.first_chunk_mut()).ok_or(BROKEN)?;
                        *field = u64::from_le_bytes(*field).wrapping_add(by).to_le_bytes();
                    }
                    other => return Err(KernelError::Relocation(other)),
                }
            }
            at = next;
        }
        Ok(())
    }

    /// What may be done with which pages. All with all of them, where the kernel does not say that it runs otherwise, or has
    /// sections that share pages.
    pub fn protections(&self) -> impl Iterator<Item = Protection> + use<'k> {
        let page = u64::try_from(PAGE).unwrap_or(u64::MAX);
        let whole_pages = move |range: Range<u64>| range.start..range.end.next_multiple_of(page);
        let len = u64::try_from(self.len).unwrap_or(u64::MAX);
        let apart = self.pe.is_nx_compatible() && self.pe.section_alignment().is_multiple_of(4096);
        let all = Protection { pages: whole_pages(0..len), is_writable: true, is_executable: true };
        let headers = Protection { pages: whole_pages(0..self.pe.headers_len().into()), is_writable: false, is_executable: false };
        let sections = self.pe.sections().map(move |section| Protection {
            pages: whole_pages(section.memory()),
            is_writable: section.is_writable(),
            is_executable: section.is_executable(),
        });
        let first = if apart { headers } else { all };
        core::iter::once(first).chain(sections.filter(move |_| apart)).filter(|part| !part.pages.is_empty())
    }
}

/// Copies a part of the kernel. [`Mapping::plan`] saw that it fits.
fn copy(kernel: &[u8], from: Range<usize>, image: &mut [u8], to: usize) -> Result<(), KernelError> {
    let from = kernel.get(from).unwrap_or_default();
    let place = image.get_mut(to..).and_then(|rest| rest.get_mut(..from.len()));
    place.ok_or(KernelError::Malformed("a section beyond its end"))?.copy_from_slice(from);
    Ok(())
}

fn size(field: u32) -> usize {
    usize::try_from(field).unwrap_or(usize::MAX)
}

fn offset(field: u64) -> usize {
    usize::try_from(field).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;
    use crate::tests::put;

    const OPTIONAL: usize = 0x78 + 24;
    const TABLE: usize = OPTIONAL + 240;

    /// Headers of 1 KiB, `.text` (read, execute) of 0x300 bytes at 0x1000, `.data` (read, write) at 0x2000, 0x10 bytes in the file
    /// and 0x1800 in memory, and `.reloc` at 0x4000 with one block: an address in `.data`, and one entry that is none.
    fn kernel() -> Vec<u8> {
        let mut file = std::vec![0; 1024 + 0x400 + 0x200 + 0x200];
        put(&mut file, 0, b"MZ");
        put(&mut file, 0x3c, &[0x78]);
        put(&mut file, 0x78, b"PE\0\0\x64\x86\x03\0");
        put(&mut file, 0x78 + 20, &[240, 0]);
        put(&mut file, OPTIONAL, &[0x0b, 2]);
        for (at, value) in
            [(16, 0x1010u32), (32, 0x1000), (36, 512), (56, 0x4010), (60, 1024), (108, 16), (152, 0x4000), (156, 12), (70, 0x100)]
        {
            put(&mut file, OPTIONAL + at, &value.to_le_bytes());
        }
        put(&mut file, OPTIONAL + 24, &0x1_4000_0000u64.to_le_bytes());
        let rows = [
            (".text", [0x300u32, 0x1000, 0x400, 1024], 0x6000_0020u32),
            (".data", [0x1800, 0x2000, 0x200, 2048], 0xc000_0040),
            (".reloc", [0x10, 0x4000, 0x200, 2560], 0x4200_0040),
        ];
        for (nth, (name, fields, flags)) in rows.into_iter().enumerate() {
            let row = TABLE + nth * 40;
            put(&mut file, row, name.as_bytes());
            put(&mut file, row + 8, &fields.map(u32::to_le_bytes).concat());
            put(&mut file, row + 36, &flags.to_le_bytes());
        }
        file[1024..1024 + 0x300].fill(0xc3);
        put(&mut file, 2048 + 8, &0x1_4000_1010u64.to_le_bytes());
        put(&mut file, 2560, &[0x2000u32.to_le_bytes(), 12u32.to_le_bytes()].concat());
        put(&mut file, 2568, &[0xa008u16.to_le_bytes(), [0; 2]].concat());
        file
    }

    fn mapped(kernel: &[u8], address: u64) -> Result<Vec<u8>, KernelError> {
        let mapping = Mapping::plan(kernel)?;
        let mut image = std::vec![0xee; mapping.image_len()];
        mapping.write(&mut image, address)?;
        Ok(image)
    }

    #[test]
    fn every_byte_is_where_its_header_says() {
        let file = kernel();
        let mapping = Mapping::plan(&file).unwrap();
        assert_eq!((mapping.image_len(), mapping.alignment(), mapping.entry()), (0x5000, 0x1000, 0x1010));
        let image = mapped(&file, 0x7000_0000).unwrap();
        assert_eq!(image[..1024], file[..1024]);
        assert_eq!(image[1024..0x1000], [0; 0xc00], "the file's next section does not show");
        assert_eq!((image[0x1000..0x1300] == [0xc3; 0x300], image[0x1300]), (true, 0));
        assert_eq!(image[0x2008..0x2010], 0x7000_1010u64.to_le_bytes(), "relocated");
        assert_eq!(image[0x2200..0x4000], [0; 0x1e00]);
        assert_eq!(image[0x4000..0x400c], file[2560..2572]);
    }

    #[test]
    fn where_it_was_linked_for_nothing_changes() {
        assert_eq!(mapped(&kernel(), 0x1_4000_0000).unwrap()[0x2008..0x2010], 0x1_4000_1010u64.to_le_bytes());
    }

    #[test]
    fn the_alignment_of_arm64_is_kept_and_that_of_old_kernels_is_a_page() {
        let mut file = kernel();
        put(&mut file, OPTIONAL + 32, &0x1_0000u32.to_le_bytes());
        assert_eq!(Mapping::plan(&file).unwrap().alignment(), 0x1_0000);
        put(&mut file, OPTIONAL + 32, &0x20u32.to_le_bytes());
        assert_eq!(Mapping::plan(&file).unwrap().alignment(), 0x1000);
    }

    #[test]
    fn nothing_is_writable_and_executable_when_the_kernel_allows() {
        let file = kernel();
        let protections: Vec<_> = Mapping::plan(&file).unwrap().protections().collect();
        let part = |pages, is_writable, is_executable| Protection { pages, is_writable, is_executable };
        let expected = [
            part(0..0x1000, false, false),
            part(0x1000..0x2000, false, true),
            part(0x2000..0x4000, true, false),
            part(0x4000..0x5000, false, false),
        ];
        assert_eq!(protections, expected);
    }

    #[test]
    fn everything_is_allowed_when_it_does_not() {
        for (at, value) in [(70, 0u32), (32, 0x20)] {
            let mut file = kernel();
            put(&mut file, OPTIONAL + at, &value.to_le_bytes());
            let protections: Vec<_> = Mapping::plan(&file).unwrap().protections().collect();
            assert_eq!(protections, [Protection { pages: 0..0x5000, is_writable: true, is_executable: true }]);
        }
    }

    #[test]
    fn relocations_of_another_kind_are_refused() {
        let mut file = kernel();
        put(&mut file, 2568, &0x3008u16.to_le_bytes());
        assert_eq!(mapped(&file, 0).unwrap_err().to_string(), "kernel has relocations of type 3, not 10 (DIR64)");
        for (at, len) in [(2564, 0u32), (2564, 7), (2564, 0x1000), (2560, 0x4ffc), (OPTIONAL + 156, 0x2000)] {
            let mut file = kernel();
            put(&mut file, at, &len.to_le_bytes());
            assert_eq!(mapped(&file, 0).unwrap_err(), KernelError::Malformed("broken relocations"), "{at} {len:#x}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (at, value, what) in [
            (OPTIONAL, 0x10b, "PE32+"),
            (OPTIONAL + 32, 0x1001, "no power of two"),
            (OPTIONAL + 60, 0x4011, "headers beyond"),
            (OPTIONAL + 16, 0x4010, "entry point"),
            (OPTIONAL + 56, 0x3fff, "section beyond"),
            (TABLE + 40 + 20, 0x1000, "section beyond"),
            (TABLE + 40 + 12, u32::MAX, "section beyond"),
        ] {
            let mut file = kernel();
            put(&mut file, at, &value.to_le_bytes());
            let error = Mapping::plan(&file).unwrap_err().to_string();
            assert!(error.starts_with("kernel is malformed: it has ") && error.contains(what), "{error}");
        }
    }

    #[test]
    fn mutants_never_panic() {
        let sound = kernel();
        for at in (0..TABLE + 120).chain(2560..2572) {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut mutant = sound.clone();
                mutant[at] = value;
                // An image of gigabytes is one that a firmware would have no memory for.
                if Mapping::plan(&mutant).is_ok_and(|mapping| mapping.image_len() < 1 << 20) {
                    let _ = mapped(&mutant, 0x7000_0000);
                }
            }
        }
    }
}
