//! What a disk holds and where: loaders, a boot entry and its files, in partitions.
//!
//! ```text
//!  0      512             17 KiB          1 MiB                                                    size
//!  MBR    GPT, primary    stage2          EFI system partition    data partitions    (unused)      GPT, backup
//!  stage1                 (BIOS boot)     FAT32: loaders, entry,  (filled, empty)
//!                                         kernel, initrd
//! ```
//! On disks of 4096-byte sectors the tables begin at 4096 and stage2 at 24 KiB, and FAT32 begins at 257 MiB.
//! The root file system, where it is not in the initrd, stands behind the EFI system partition, before the data partitions.
//! Everything is a blob before a byte is written; planning takes time in the number of files, not in the size of the disk.

mod entry;
mod esp;
mod firmware;
mod given;
mod gpt;
mod iso;
mod part;
mod recount;
mod sd_card;
mod sector_size;

use crate::{
    error::{Error, Result},
    loaders,
};
use formats::{
    Blob, Guid, Ids, Limits, Timestamp,
    gpt::{ALIGNMENT, BIOS_BOOT, ENTRIES, ESP, front_len},
    mbr,
    units::{self, GIB, MIB},
};
use gpt::Partition;
use std::str::FromStr;

pub use entry::Entry;
pub use esp::ENTRY_PATH;
pub use firmware::Firmware;
pub use given::Given;
pub(crate) use given::{Fitted, Sectors};
pub use iso::Iso;
pub use part::Part;
pub(crate) use part::{is_name, size_of, type_guid};
pub use sd_card::{Board, RPI3, RPI4, SdCard};
pub use sector_size::SectorSize;
pub(crate) use sector_size::not_had;

/// Room on the boot partition for a user who replaces a kernel, where the size of the disk is ours to choose.
const ROOM_MIN: u64 = 8 * MIB;
/// The boot partition takes what is left of the disk, up to this much free space: the rest stays for partitions of the user's.
const ROOM_MAX: u64 = GIB;

/// The size of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Size {
    /// What the content needs, and a little room.
    #[default]
    Auto,
    /// So many bytes, or the next more that the container can hold.
    Fixed(u64),
    /// So many bytes more than without it, which nothing uses.
    More(u64),
}

impl FromStr for Size {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix('+') {
            Some(more) => units::parse_size(more).map(Self::More),
            None if text == "auto" => Ok(Self::Auto),
            None => units::parse_size(text).map(Self::Fixed),
        }
    }
}

impl Size {
    /// Refuses what no disk can have, whatever it holds.
    ///
    /// # Errors
    /// When it is too large for its container.
    pub(crate) fn check(self, limits: Limits) -> Result<()> {
        match self {
            Self::Auto => Ok(()),
            Self::Fixed(size) | Self::More(size) => round_up(size, limits).map(drop),
        }
    }
}

/// The GUID of the partition with this name: Linux's `PARTUUID`.
pub fn partition_guid(ids: &Ids, name: &str) -> Guid {
    gpt::partition_guid(ids, name)
}

/// How a disk is laid out.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// Which firmware it is for.
    pub firmware: Firmware,
    /// Its size.
    pub size: Size,
    /// Its sectors.
    pub sector_size: SectorSize,
    /// Partitions behind the boot partition and the root.
    pub parts: Vec<Part>,
}

/// Names of the partitions that are ours; data partitions have others.
const BIOS_BOOT_NAME: &str = "BIOS boot";
const ESP_NAME: &str = "EFI system";

impl Layout {
    /// The disk that boots `entry`. `limits` are those of the container that it goes into.
    ///
    /// # Errors
    /// When the architecture has no such firmware, the kernel would not take its command line, a file is too large for FAT,
    /// or the disk is too small.
    pub fn disk(&self, entry: &Entry, limits: Limits, ids: &Ids, time: Timestamp) -> Result<Blob> {
        let firmware = self.firmware.of(entry)?;
        let sector = self.sector_size.bytes();
        let esp = esp::volume(firmware, sector, entry, ids, time)?;
        let around = gpt::FRONT + gpt::BACK + self.size_of_parts(entry)?;
        let usual = esp.size_for(ROOM_MIN.max(esp_content(&esp) / 8))?;
        let (size, esp_max) = match self.size {
            Size::Auto => (around + usual, esp.size_for(ROOM_MAX)?),
            Size::More(more) => ((around + usual).saturating_add(more), usual),
            Size::Fixed(size) => {
                let needed = around + esp.size_for(0)?;
                if size < needed {
                    let what = format!("a disk of {} is too small, {} are needed", units::show_size(size), units::show_size(needed));
                    return Err(Error::bad_input(what).hint(format!("use --size {}M or --size auto", needed / MIB)));
                }
                (size, esp.size_for(ROOM_MAX)?)
            }
        };
        let size = round_up(size, limits.and(Limits::multiple_of(MIB)))?;
        let esp_size = ((size - around) / ALIGNMENT * ALIGNMENT).min(esp_max);

        let mut partitions = Vec::new();
        let mut boot_code = mbr::NOT_BOOTABLE;
        if firmware.has_bios() {
            let start = front_len(sector);
            boot_code = loaders::stage1(start, sector);
            partitions.push(Partition {
                name: BIOS_BOOT_NAME.to_owned(),
                type_guid: BIOS_BOOT,
                start,
                len: gpt::FRONT - start,
                body: loaders::stage2(),
            });
        }
        partitions.push(Partition {
            name: ESP_NAME.to_owned(),
            type_guid: ESP,
            start: gpt::FRONT,
            len: esp_size,
            body: esp.write(esp_size)?.volume,
        });
        let mut start = gpt::FRONT + esp_size;
        for Part { name, size, type_guid, body } in entry.root.iter().chain(&self.parts) {
            partitions.push(Partition { name: name.clone(), type_guid: *type_guid, start, len: *size, body: body.clone() });
            start += size;
        }
        let mut disk = Blob::zeros(size);
        gpt::write(&mut disk, sector, boot_code, &partitions, ids)?;
        Ok(disk)
    }

    /// Bytes of all partitions behind the boot partition.
    fn size_of_parts(&self, entry: &Entry) -> Result<u64> {
        let mut names = vec![BIOS_BOOT_NAME, ESP_NAME];
        let (count, most) = (names.len() + entry.root.len() + self.parts.len(), units::index(ENTRIES.into()));
        if count > most {
            return Err(Error::unsupported(format!("{count} partitions are too many, a GPT of ours holds {most}")));
        }
        let mut total = 0_u64;
        for part in entry.root.iter().chain(&self.parts) {
            if names.contains(&part.name.as_str()) {
                return Err(Error::bad_input(format!("two partitions would be called '{}'", part.name)));
            }
            names.push(&part.name);
            total = total
                .checked_add(part.size)
                .filter(|total| *total <= Limits::default().size_max)
                .ok_or_else(|| Error::unsupported(format!("the partitions up to '{}' are larger than any disk", part.name)))?;
        }
        Ok(total)
    }
}

fn esp_content(esp: &formats::fat::Volume) -> u64 {
    esp.files.iter().map(|file| file.body.len()).sum()
}

/// The next size that the container holds.
fn round_up(size: u64, limits: Limits) -> Result<u64> {
    match units::round_up(size, limits.size_multiple) {
        Some(rounded) if rounded <= limits.size_max => Ok(rounded),
        _ => {
            let (size, max) = (units::show_size(size), units::show_size(limits.size_max));
            Err(Error::unsupported(format!("a disk of {size} is too large for its container, which holds {max}")))
        }
    }
}

#[cfg(test)]
mod tests;
