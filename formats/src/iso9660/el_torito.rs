//! "El Torito" Bootable CD-ROM Format Specification 1.0; UEFI 2.10 section 13.3.2 for platform 0xEF.
//!
//! ```text
//!  boot catalog, entries of 32 bytes
//!  validation   initial entry   section header   section entry
//!  platform     BIOS or UEFI    last, UEFI, 1    UEFI           the last two only where there are both
//! ```

use super::{BLOCK, descriptor::STANDARD_IDENTIFIER};
use crate::{
    Blob, Result,
    units::{self, SECTOR},
};
use std::mem::offset_of;
use zerocopy::{
    Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32},
};

/// What firmware boots; at least one of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// For a BIOS: code that is loaded to 0x7c00.
    pub bios: Option<BootImage>,
    /// For UEFI: a FAT volume.
    pub uefi: Option<BootImage>,
}

/// Bytes that firmware loads, or takes for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootImage {
    /// Byte offset in the volume, whole blocks.
    pub start: u64,
    /// Bytes.
    pub len: u64,
}

const PLATFORM_X86: u8 = 0;
const PLATFORM_EFI: u8 = 0xef;

const BOOTABLE: u8 = 0x88;
const LAST_SECTION: u8 = 0x91;

/// Validation entry.
#[derive(Clone, Copy, Debug, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Validation {
    /// 0: 1.
    header: u8,
    /// 1: platform of the initial entry.
    platform: u8,
    /// 2: 0.
    reserved: U16,
    /// 4: who made it: nobody says.
    identifier: [u8; 24],
    /// 28: makes the sum of all 16-bit words 0.
    checksum: U16,
    /// 30: 55 AA.
    key: [u8; 2],
}

/// Section header.
#[derive(Clone, Copy, Debug, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct SectionHeader {
    /// 0: 0x91, the last one.
    header: u8,
    /// 1: platform.
    platform: u8,
    /// 2: entries that follow.
    entries: U16,
    /// 4: 0.
    identifier: [u8; 28],
}

/// Initial entry or section entry.
#[derive(Clone, Copy, Debug, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    /// 0: 0x88, bootable.
    indicator: u8,
    /// 1: 0, no emulation.
    media: u8,
    /// 2: 0 stands for 0x7c0.
    load_segment: U16,
    /// 4: 0.
    system_type: u8,
    /// 5: 0.
    unused: u8,
    /// 6: sectors of 512 bytes to load; for UEFI the length of the volume, and 0 when that is 65,536 or more: to the end of
    /// the medium.
    sector_count: U16,
    /// 8: block.
    load_rba: U32,
    /// 12: 0.
    selection_criteria: [u8; 20],
}

const _: () = assert!(size_of::<Validation>() == 32 && offset_of!(Validation, checksum) == 28);
const _: () = assert!(size_of::<SectionHeader>() == 32);
const _: () = assert!(size_of::<Entry>() == 32 && offset_of!(Entry, load_rba) == 8);

impl Entry {
    fn new(image: BootImage, sector_count: u16) -> Self {
        assert!(image.start.is_multiple_of(BLOCK), "a boot image at {}, not at a block", image.start);
        Self {
            indicator: BOOTABLE,
            media: 0,
            load_segment: 0.into(),
            system_type: 0,
            unused: 0,
            sector_count: sector_count.into(),
            load_rba: super::narrow(image.start / BLOCK).into(),
            selection_criteria: [0; 20],
        }
    }

    /// The code of a BIOS must be loaded whole: it is short.
    fn bios(image: BootImage) -> Self {
        let count = u16::try_from(image.len.div_ceil(SECTOR)).expect("a BIOS boot image is far below 32 MiB");
        Self::new(image, count)
    }

    /// EDK2 takes 65,535 for a length; 0 it takes for everything up to the end of the volume.
    fn uefi(image: BootImage) -> Self {
        Self::new(image, u16::try_from(image.len.div_ceil(SECTOR)).unwrap_or(0))
    }
}

impl Validation {
    fn new(platform: u8) -> Self {
        let mut entry = Self { header: 1, platform, reserved: 0.into(), identifier: [0; 24], checksum: 0.into(), key: [0x55, 0xaa] };
        let words = entry.as_bytes().chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        entry.checksum = words.fold(0, u16::wrapping_add).wrapping_neg().into();
        entry
    }
}

impl Catalog {
    /// What firmware would find in a volume: the first bootable image for each. Of an image whose length is not said the rest of the volume.
    ///
    /// # Errors
    /// When the volume cannot be read.
    pub fn read(volume: &Blob) -> Result<Self> {
        let mut found = Self::default();
        let block = |number: u64| -> Result<Option<Vec<u8>>> {
            let at = number * BLOCK;
            if at + BLOCK > volume.len() { Ok(None) } else { volume.slice(at..at + BLOCK).to_vec(BLOCK).map(Some) }
        };
        let mut descriptors = (16..DESCRIPTORS_MAX).map(block);
        let record = loop {
            match descriptors.next().transpose()?.flatten() {
                Some(descriptor) if descriptor[0] == 0 && descriptor[7..].starts_with(SYSTEM) => break descriptor,
                Some(descriptor) if descriptor[1..6] == STANDARD_IDENTIFIER => {}
                _ => return Ok(found),
            }
        };
        let Some(catalog) = block(u32::from_le_bytes(array(&record[CATALOG_AT..])).into())? else { return Ok(found) };
        let mut entries = catalog.chunks_exact(32);
        let Some([1, first, ..]) = entries.next() else { return Ok(found) };
        let mut platform = *first;
        for entry in entries {
            match entry[0] {
                0x90 | LAST_SECTION => platform = entry[1],
                BOOTABLE => {
                    let start = u64::from(u32::from_le_bytes(array(&entry[8..]))) * BLOCK;
                    let rest = volume.len().saturating_sub(start);
                    let len = match u64::from(u16::from_le_bytes(array(&entry[6..]))) {
                        0 | 1 if platform == PLATFORM_EFI => rest,
                        sectors => rest.min(sectors * SECTOR),
                    };
                    let image = Some(BootImage { start, len }).filter(|image| image.len > 0);
                    match platform {
                        PLATFORM_X86 => found.bios = found.bios.or(image),
                        PLATFORM_EFI => found.uefi = found.uefi.or(image),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// The catalog's block.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(units::index(BLOCK));
        let mut put = |entry: &[u8]| bytes.extend_from_slice(entry);
        match (self.bios, self.uefi) {
            (Some(bios), uefi) => {
                put(Validation::new(PLATFORM_X86).as_bytes());
                put(Entry::bios(bios).as_bytes());
                if let Some(uefi) = uefi {
                    let header = SectionHeader { header: LAST_SECTION, platform: PLATFORM_EFI, entries: 1.into(), identifier: [0; 28] };
                    put(header.as_bytes());
                    put(Entry::uefi(uefi).as_bytes());
                }
            }
            (None, Some(uefi)) => {
                put(Validation::new(PLATFORM_EFI).as_bytes());
                put(Entry::uefi(uefi).as_bytes());
            }
            (None, None) => panic!("a boot catalog has something to boot"),
        }
        bytes.resize(units::index(BLOCK), 0);
        bytes
    }
}

const SYSTEM: &[u8] = b"EL TORITO SPECIFICATION";
/// Where the boot record has the catalog's block.
const CATALOG_AT: usize = 0x47;
/// More volume descriptors than anybody writes.
const DESCRIPTORS_MAX: u64 = 64;

/// The first bytes of what is long enough.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|at| bytes[at])
}

/// The boot record volume descriptor that names the catalog's block.
pub(super) fn boot_record(catalog: u32) -> Vec<u8> {
    let mut bytes = vec![0; units::index(BLOCK)];
    bytes[1..6].copy_from_slice(&STANDARD_IDENTIFIER);
    bytes[6] = 1;
    bytes[7..7 + SYSTEM.len()].copy_from_slice(SYSTEM);
    bytes[CATALOG_AT..CATALOG_AT + 4].copy_from_slice(&catalog.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIOS: BootImage = BootImage { start: 24 * BLOCK, len: BLOCK };

    #[test]
    fn both_firmwares_have_an_entry_and_the_words_sum_to_0() {
        let catalog = Catalog { bios: Some(BIOS), uefi: Some(BootImage { start: 1 << 20, len: 16 << 20 }) }.bytes();
        let sum = catalog[..32].chunks(2).map(|word| u16::from_le_bytes([word[0], word[1]])).fold(0, u16::wrapping_add);
        assert_eq!((catalog[0], catalog[1], sum), (1, 0, 0));
        assert_eq!(catalog[32..44], [0x88, 0, 0, 0, 0, 0, 4, 0, 24, 0, 0, 0]);
        assert_eq!(catalog[64..68], [0x91, 0xef, 1, 0]);
        assert_eq!(catalog[96..108], [0x88, 0, 0, 0, 0, 0, 0, 0x80, 0, 2, 0, 0]);
        assert!(catalog[128..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let catalog = Catalog { bios: Some(BIOS), uefi: Some(BootImage { start: 1 << 20, len: 1 << 20 }) };
        let mut volume = Blob::zeros(3 << 20);
        assert_eq!(Catalog::read(&volume).unwrap(), Catalog::default());
        volume.replace(16 * BLOCK + 1, &Blob::bytes(STANDARD_IDENTIFIER));
        volume.replace(17 * BLOCK, &Blob::bytes(boot_record(20)));
        volume.replace(20 * BLOCK, &Blob::bytes(catalog.bytes()));
        assert_eq!(Catalog::read(&volume).unwrap(), catalog);
        let uefi = Catalog { bios: None, ..catalog };
        volume.replace(20 * BLOCK, &Blob::bytes(uefi.bytes()));
        assert_eq!(Catalog::read(&volume).unwrap(), uefi);
        volume.replace(17 * BLOCK, &Blob::bytes(boot_record(u32::MAX)));
        assert_eq!(Catalog::read(&volume).unwrap(), Catalog::default());
    }

    #[test]
    fn a_volume_that_is_too_long_to_say_reaches_to_the_end() {
        let catalog = |len| Catalog { bios: None, uefi: Some(BootImage { start: 1 << 20, len }) }.bytes();
        assert_eq!(catalog((32 << 20) - 512)[38..40], [0xff, 0xff]);
        assert_eq!(catalog(32 << 20)[38..40], [0, 0]);
        assert_eq!(catalog(300 << 20)[1], 0xef);
    }
}
