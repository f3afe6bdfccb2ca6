//! Unified kernel image: UAPI.5, a PE file (Microsoft PE/COFF specification, sections 3 and 4) that firmware starts like any
//! EFI application.
//!
//! ```text
//!  our EFI loader, its headers changed | .sbat | .osrel | .cmdline | .uname | .ucode | .initrd | .linux
//! ```
//! The loader finds its kernel in its own sections. They are only appended: what the loader was linked to stays where it was.
//! `.linux` comes last, as `ukify` has it. Nothing is signed: sign the file as it is, for it is the one thing that boots.
//!
//! Oracles: `objdump`, `ukify inspect`, OVMF and AAVMF, which load it.

use crate::{
    Blob, Error, Kind, Result,
    pe::{OptionalHeader, PE32_PLUS, Pe, READ_ONLY_DATA, SectionHeader},
    units,
};
use std::fmt;
use zerocopy::{IntoBytes, little_endian::U32};

/// A section to add.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its name, at most 8 bytes.
    pub name: &'static str,
    /// Its content.
    pub body: Blob,
}

/// Largest part of the loader that is taken for its headers.
const HEADERS_MAX: u64 = 64 * units::KIB;

/// The loader with sections added, in their order; empty ones are left out.
///
/// # Errors
/// When the loader is no PE32+ with room for more section headers, or the image would reach 4 GiB, which PE cannot say.
pub fn unite(loader: &Blob, sections: &[Section]) -> Result<Blob> {
    let mut headers = Headers::of(loader)?;
    let mut image = loader.clone();
    for section in sections.iter().filter(|section| !section.body.is_empty()) {
        image.pad_to(headers.optional.file_alignment.get().into());
        headers.add(section, image.len())?;
        image.append(&section.body);
    }
    image.pad_to(headers.optional.file_alignment.get().into());
    let mut united = Blob::bytes(headers.bytes);
    united.append(&image.slice(united.len()..image.len()));
    Ok(united)
}

/// Whether a file is a unified kernel image: a PE file with a section `.linux`.
///
/// # Errors
/// When it cannot be read.
pub fn probe(file: &Blob) -> Result<bool> {
    if file.len() < 64 || file.read_array(0)? != *b"MZ" {
        return Ok(false);
    }
    match divide(file) {
        Ok(sections) => Ok(sections.iter().any(|(name, _)| name == ".linux")),
        Err(error) if error.kind() == Kind::BadInput => Ok(false),
        Err(error) => Err(error),
    }
}

/// The sections of a unified kernel image, in their order: the loader's own, too.
///
/// # Errors
/// When the file is no PE32+, or a section reaches beyond its end.
pub fn divide(file: &Blob) -> Result<Vec<(String, Blob)>> {
    let pe = Pe::read(file)?.ok_or_else(|| Error::bad_input("there are no headers of a PE file"))?;
    Ok(pe.sections(file)?.into_iter().map(|section| (section.name, section.body)).collect())
}

/// The headers of a PE file, to be changed.
struct Headers {
    /// Everything before the first section.
    bytes: Vec<u8>,
    pe: Pe,
    optional: OptionalHeader,
}

impl Headers {
    fn of(loader: &Blob) -> Result<Self> {
        let pe = Pe::read(loader)?.ok_or_else(|| malformed("has no PE signature"))?;
        let optional = pe.optional(loader)?.ok_or_else(|| malformed("ends in its headers"))?;
        let (section, file) = (optional.section_alignment.get(), optional.file_alignment.get());
        if optional.magic != PE32_PLUS || !section.is_power_of_two() || !file.is_power_of_two() {
            return Err(malformed("is not a PE32+ with alignments that are powers of two"));
        }
        let len = u64::from(optional.size_of_headers.get());
        if len > HEADERS_MAX.min(loader.len()) || len < pe.optional_at() + units::bytes(size_of::<OptionalHeader>()) {
            return Err(malformed(format!("has {len} bytes of headers")));
        }
        Ok(Self { bytes: loader.slice(0..len).to_vec(HEADERS_MAX)?, pe, optional })
    }

    /// Adds a row for a section whose body is at `file_offset`.
    fn add(&mut self, section: &Section, file_offset: u64) -> Result<()> {
        let (len, in_file) = (section.body.len(), section.body.len().next_multiple_of(self.optional.file_alignment.get().into()));
        let address = u64::from(self.optional.size_of_image.get());
        let end = (address + len).next_multiple_of(self.optional.section_alignment.get().into());
        let narrow = |value: u64| {
            let too_large = || Error::unsupported(format!("{} would end at {value} bytes, a PE file ends below 4 GiB", section.name));
            u32::try_from(value).map(U32::from).map_err(|_| too_large())
        };
        let mut name = [0; 8];
        name[..section.name.len()].copy_from_slice(section.name.as_bytes());
        let header = SectionHeader {
            name,
            virtual_size: narrow(len)?,
            virtual_address: narrow(address)?,
            size_of_raw_data: narrow(in_file)?,
            pointer_to_raw_data: narrow(file_offset)?,
            relocations: [0; 12],
            characteristics: READ_ONLY_DATA.into(),
        };
        narrow(file_offset + in_file)?;
        self.optional.size_of_image = narrow(end)?;
        self.optional.size_of_initialized_data = narrow(u64::from(self.optional.size_of_initialized_data.get()) + in_file)?;
        let nth = self.pe.coff.number_of_sections.get();
        self.put(self.pe.section_at(nth), header.as_bytes())?;
        self.pe.coff.number_of_sections = (nth + 1).into();
        let (pe, optional) = (self.pe, self.optional);
        self.put(pe.coff_at, pe.coff.as_bytes())?;
        self.put(pe.optional_at(), optional.as_bytes())
    }

    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let at = units::index(at);
        let room = self.bytes.get_mut(at..at + bytes.len()).ok_or_else(|| malformed("has no room for another section header"))?;
        room.copy_from_slice(bytes);
        Ok(())
    }
}

fn malformed(what: impl fmt::Display) -> Error {
    Error::bad_input(format!("the EFI loader {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromBytes;

    /// Headers of 1 KiB with one section of 512 bytes behind them.
    fn loader() -> Vec<u8> {
        let mut file = vec![0; 1536];
        file[..2].copy_from_slice(b"MZ");
        file[0x3c] = 0x80;
        file[0x80..0x84].copy_from_slice(b"PE\0\0");
        file[0x86] = 1;
        file[0x94] = 240;
        let optional = &mut file[0x98..];
        optional[..2].copy_from_slice(&PE32_PLUS.to_le_bytes());
        for (at, value) in [(32, 4096_u32), (36, 512), (56, 8192), (60, 1024)] {
            optional[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        file[1024..].fill(7);
        file
    }

    fn section(name: &'static str, body: &[u8]) -> Section {
        Section { name, body: Blob::bytes(body) }
    }

    #[test]
    fn sections_are_appended_and_the_loader_stays() {
        let united = unite(&Blob::bytes(loader()), &[section(".osrel", b""), section(".cmdline", b"quiet"), section(".linux", &[9; 5000])]);
        let file = united.unwrap().to_vec(u64::MAX).unwrap();
        assert_eq!(file.len(), 1536 + 512 + 5120);
        assert_eq!(file[1024..1536], loader()[1024..]);
        assert_eq!((&file[1536..1541], file[2048], file[7047]), (b"quiet".as_slice(), 9, 9));
        assert_eq!(file[0x86], 3, "one section and two more");
        let row = |nth: usize| SectionHeader::read_from_bytes(&file[0x98 + 240 + nth * 40..][..40]).unwrap();
        assert_eq!((row(1).name, row(1).virtual_address.get(), row(1).virtual_size.get()), (*b".cmdline", 8192, 5));
        assert_eq!((row(2).virtual_address.get(), row(2).pointer_to_raw_data.get()), (12_288, 2048));
        let image_size = u32::from_le_bytes(file[0x98 + 56..][..4].try_into().unwrap());
        assert_eq!(image_size, 12_288 + 8192);
    }

    #[test]
    fn what_was_united_is_divided() {
        let united = unite(&Blob::bytes(loader()), &[section(".cmdline", b"quiet"), section(".linux", &[9; 5000])]).unwrap();
        assert!(probe(&united).unwrap() && !probe(&Blob::bytes(loader())).unwrap() && !probe(&Blob::bytes(*b"MZ")).unwrap());
        let sections = divide(&united).unwrap();
        let found: Vec<_> = sections.iter().skip(1).map(|(name, body)| (name.as_str(), body.to_vec(9999).unwrap())).collect();
        assert_eq!(found, [(".cmdline", b"quiet".to_vec()), (".linux", vec![9; 5000])]);
    }

    #[test]
    fn damage_is_an_error_or_other_sections() {
        let united = unite(&Blob::bytes(loader()), &[section(".linux", &[9; 50])]).unwrap().to_vec(u64::MAX).unwrap();
        for len in 0..united.len() {
            assert!(divide(&Blob::bytes(&united[..len])).is_err() || len >= 1586);
        }
        for at in 0..1024 {
            let mut damaged = united.clone();
            damaged[at] ^= 0xff;
            let _: Result<bool> = probe(&Blob::bytes(damaged));
        }
        let mut many = united;
        many[0x87] = 1;
        assert!(divide(&Blob::bytes(many)).unwrap_err().to_string().contains("at most 96"));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let many: Vec<_> = (0..17).map(|_| section(".x", b"x")).collect();
        assert!(unite(&Blob::bytes(loader()), &many).unwrap_err().to_string().contains("room"));
        let large = Section { name: ".initrd", body: Blob::zeros(4 * units::GIB) };
        assert!(unite(&Blob::bytes(loader()), &[large]).unwrap_err().to_string().contains("below 4 GiB"));
        for (at, what) in [(0, "signature"), (0x80, "signature"), (0x98, "PE32+"), (0x98 + 62, "headers")] {
            let mut broken = loader();
            broken[at] ^= 0x55;
            assert!(unite(&Blob::bytes(broken), &[section(".x", b"x")]).unwrap_err().to_string().contains(what));
        }
    }
}
