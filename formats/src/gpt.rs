//! GUID Partition Table: UEFI 2.10 section 5.3, on disks with 512-byte logical blocks.
//!
//! ```text
//!  LBA 0        1         2 .. 33                          n-33 .. n-2    n-1
//!  protective   primary   128 entries    partitions ...    128 entries    backup
//!  MBR          header    of 128 bytes                     (the same)     header
//! ```
//! We write 128 entries and both copies; the backup stands at the last LBA. We read any table whose checksums are right, the
//! backup when the primary is damaged, with at most 1 MiB of entries. Nothing is repaired.
//!
//! Oracle: `sgdisk -v`.

use crate::{
    Blob, Error, Guid, Result,
    dump::Dump,
    units::{self, Lba, MIB, SECTOR},
};
use std::ops::Range;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// EFI system partition.
pub const ESP: Guid = Guid::new(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
/// BIOS boot partition: a boot loader's second stage ("Hah!IdontNeedEFI").
pub const BIOS_BOOT: Guid = Guid::new(0x21686148_6449_6e6f_744e_656564454649);
/// Linux file system data.
pub const LINUX_DATA: Guid = Guid::new(0x0fc63daf_8483_4772_8e79_3d69d8477de4);

/// Partitions start at multiples of this many bytes.
pub const ALIGNMENT: u64 = MIB;
/// The first block that a partition may have.
pub const FIRST_USABLE: Lba = Lba(2 + ENTRY_BLOCKS);
/// Blocks behind the last that a partition may have: the backup's entries and header.
pub const BACKUP_BLOCKS: u64 = ENTRY_BLOCKS + 1;

const ENTRIES: u32 = 128;
const ENTRY_LEN: u32 = 128;
const ENTRY_BLOCKS: u64 = 32;
/// The largest array of entries that we read.
const ARRAY_MAX: u64 = MIB;
const HEADER_LEN: u32 = 92;

/// The header, table 5-5.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    /// +0: "EFI PART".
    signature: [u8; 8],
    /// +8: 0x00010000.
    revision: U32,
    /// +12: 92.
    header_size: U32,
    /// +16: CRC-32 of the header with this field 0.
    header_crc32: U32,
    /// +20: 0.
    reserved: U32,
    /// +24: the block of this header.
    my_lba: U64,
    /// +32: the block of the other header.
    alternate_lba: U64,
    /// +40: first block that a partition may use.
    first_usable_lba: U64,
    /// +48: last block that a partition may use.
    last_usable_lba: U64,
    /// +56: the disk's GUID, mixed-endian.
    disk_guid: [u8; 16],
    /// +72: first block of the entries that belong to this header.
    partition_entry_lba: U64,
    /// +80: 128.
    number_of_partition_entries: U32,
    /// +84: 128.
    size_of_partition_entry: U32,
    /// +88: CRC-32 of the entries.
    partition_entry_array_crc32: U32,
}

/// A partition entry, table 5-6.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Entry {
    /// +0: what the partition holds, mixed-endian; all 0 when the entry is unused.
    partition_type_guid: [u8; 16],
    /// +16: its own GUID, mixed-endian.
    unique_partition_guid: [u8; 16],
    /// +32: first block.
    starting_lba: U64,
    /// +40: last block, inclusive.
    ending_lba: U64,
    /// +48: attribute bits, table 5-8.
    attributes: U64,
    /// +56: UTF-16, ended by a 0 unless full.
    partition_name: [U16; NAME_UNITS],
}

const NAME_UNITS: usize = 36;

const _: () = {
    assert!(size_of::<Header>() == HEADER_LEN as usize);
    assert!(size_of::<Entry>() == ENTRY_LEN as usize);
    assert!(std::mem::offset_of!(Header, disk_guid) == 56);
    assert!(std::mem::offset_of!(Header, partition_entry_array_crc32) == 88);
    assert!(std::mem::offset_of!(Entry, starting_lba) == 32);
    assert!(std::mem::offset_of!(Entry, partition_name) == 56);
    assert!(ENTRIES as u64 * ENTRY_LEN as u64 == ENTRY_BLOCKS * SECTOR);
};

/// A partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpt {
    /// The disk's GUID.
    pub disk_guid: Guid,
    /// The used entries, in the order of the table.
    pub partitions: Vec<Partition>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// What it holds.
    pub type_guid: Guid,
    /// Its own GUID: Linux finds it as `PARTUUID`.
    pub guid: Guid,
    /// At most 36 UTF-16 units.
    pub name: String,
    /// Attribute bits.
    pub attributes: u64,
    /// First block and one past the last; never empty.
    pub blocks: Range<Lba>,
}

impl Partition {
    /// First byte and one past the last byte on the disk.
    pub fn bytes(&self) -> Range<u64> {
        self.blocks.start.bytes()..self.blocks.end.bytes()
    }

    /// Checks a name against the room in an entry.
    ///
    /// # Errors
    /// When it is too long.
    pub fn check_name(name: &str) -> Result<()> {
        let units = name.encode_utf16().count();
        if units > NAME_UNITS {
            return Err(Error::bad_input(format!("partition name '{name}' has {units} UTF-16 units, a GPT holds {NAME_UNITS}")));
        }
        Ok(())
    }

    fn entry(&self) -> Result<Entry> {
        Self::check_name(&self.name)?;
        let mut partition_name = [U16::ZERO; NAME_UNITS];
        for (to, unit) in partition_name.iter_mut().zip(self.name.encode_utf16()) {
            *to = U16::new(unit);
        }
        Ok(Entry {
            partition_type_guid: self.type_guid.to_mixed_endian(),
            unique_partition_guid: self.guid.to_mixed_endian(),
            starting_lba: U64::new(self.blocks.start.0),
            ending_lba: U64::new(self.blocks.end.0 - 1),
            attributes: U64::new(self.attributes),
            partition_name,
        })
    }
}

impl Gpt {
    /// Puts both copies on a disk whose length is a multiple of 512 and whose blocks 1 to 33 and last 33 are free.
    ///
    /// Partitions overlap neither these nor each other: else it panics, a planner bug.
    ///
    /// # Errors
    /// When a name is too long.
    pub fn write(&self, disk: &mut Blob) -> Result<()> {
        assert!(disk.len().is_multiple_of(SECTOR), "a disk of {} bytes is not whole sectors", disk.len());
        let last = disk.len() / SECTOR - 1;
        self.assert_disjoint(Lba(last - BACKUP_BLOCKS));
        let mut entries = Vec::with_capacity(units::index(ENTRY_BLOCKS * SECTOR));
        for partition in &self.partitions {
            entries.extend_from_slice(partition.entry()?.as_bytes());
        }
        entries.resize(units::index(ENTRY_BLOCKS * SECTOR), 0);
        let backup_entries = last - ENTRY_BLOCKS;
        let header = |my, alternate, array| self.header(last, my, alternate, array, crc32fast::hash(&entries));
        disk.splice(SECTOR, &Blob::from(header(1, last, 2)));
        disk.splice(last * SECTOR, &Blob::from(header(last, 1, backup_entries)));
        let entries = Blob::from(entries);
        disk.splice(2 * SECTOR, &entries);
        disk.splice(backup_entries * SECTOR, &entries);
        Ok(())
    }

    fn assert_disjoint(&self, last_usable: Lba) {
        assert!(self.partitions.len() <= ENTRIES as usize, "{} partitions are too many", self.partitions.len());
        let mut ranges: Vec<_> = self.partitions.iter().map(|p| &p.blocks).collect();
        ranges.sort_by_key(|range| range.start);
        let mut free = FIRST_USABLE;
        for range in ranges {
            assert!(free <= range.start && range.start < range.end && range.end.0 <= last_usable.0 + 1, "{range:?} is not free");
            free = range.end;
        }
    }

    fn header(&self, last: u64, my_lba: u64, alternate_lba: u64, array: u64, array_crc: u32) -> Vec<u8> {
        let mut header = Header {
            signature: *b"EFI PART",
            revision: U32::new(0x0001_0000),
            header_size: U32::new(HEADER_LEN),
            header_crc32: U32::ZERO,
            reserved: U32::ZERO,
            my_lba: U64::new(my_lba),
            alternate_lba: U64::new(alternate_lba),
            first_usable_lba: U64::new(FIRST_USABLE.0),
            last_usable_lba: U64::new(last - BACKUP_BLOCKS),
            disk_guid: self.disk_guid.to_mixed_endian(),
            partition_entry_lba: U64::new(array),
            number_of_partition_entries: U32::new(ENTRIES),
            size_of_partition_entry: U32::new(ENTRY_LEN),
            partition_entry_array_crc32: U32::new(array_crc),
        };
        header.header_crc32 = U32::new(crc32fast::hash(header.as_bytes()));
        header.as_bytes().to_vec()
    }

    /// Reads the table of a disk: the primary, or the backup at the last block when the primary is damaged.
    /// `None` when neither place has one.
    ///
    /// # Errors
    /// When a table is there but damaged, or the disk cannot be read.
    pub fn read(disk: &Blob) -> Result<Option<Self>> {
        let blocks = disk.len() / SECTOR;
        let backup = blocks.saturating_sub(1);
        if backup < 2 {
            return Ok(None);
        }
        match Self::read_copy(disk, Lba(1)) {
            Ok(Some(gpt)) => Ok(Some(gpt)),
            Ok(None) => Self::read_copy(disk, Lba(backup)),
            Err(error) => match Self::read_copy(disk, Lba(backup)) {
                Ok(Some(gpt)) => Ok(Some(gpt)),
                Ok(None) | Err(_) => Err(error),
            },
        }
    }

    fn read_copy(disk: &Blob, at: Lba) -> Result<Option<Self>> {
        let header: Header = zerocopy::transmute!(disk.read_array::<{ HEADER_LEN as usize }>(at.bytes())?);
        if header.signature != *b"EFI PART" {
            return Ok(None);
        }
        header.check(disk, at).map_err(|error| error.at(format!("GPT header at LBA {}", at.0)))?;
        let size = u64::from(header.size_of_partition_entry.get());
        let array = header.array(disk)?;
        let mut partitions = Vec::new();
        for (i, raw) in array.chunks_exact(units::index(size)).enumerate() {
            let (entry, _) = Entry::read_from_prefix(raw).expect("an entry is at least as long as its defined part");
            if entry.partition_type_guid != [0; 16] {
                partitions.push(entry.parse(disk).map_err(|error| error.at(format!("GPT entry {}", i + 1)))?);
            }
        }
        Ok(Some(Self { disk_guid: Guid::from_mixed_endian(header.disk_guid), partitions }))
    }

    /// The table as text.
    pub fn dump(&self, to: &mut Dump) {
        to.field("disk guid", self.disk_guid);
        for (i, partition) in self.partitions.iter().enumerate() {
            to.section(&format!("partition {}", i + 1), |to| {
                to.field("name", &partition.name);
                to.field("type", partition.type_guid);
                to.field("guid", partition.guid);
                to.hex("attributes", partition.attributes);
                to.field("first lba", partition.blocks.start.0);
                to.field("blocks", partition.blocks.end.0 - partition.blocks.start.0);
            });
        }
    }
}

impl Header {
    /// Checks everything but the array of entries.
    fn check(mut self, disk: &Blob, at: Lba) -> Result<()> {
        let len = self.header_size.get();
        if !(HEADER_LEN..=512).contains(&len) {
            return Err(Error::bad_input(format!("header size is {len}, must be {HEADER_LEN} to 512")));
        }
        let mut whole = [0; 512];
        let whole = &mut whole[..units::index(u64::from(len))];
        disk.read_at(at.bytes(), whole)?;
        let found = std::mem::replace(&mut self.header_crc32, U32::ZERO);
        whole[..size_of::<Self>()].copy_from_slice(self.as_bytes());
        if crc32fast::hash(whole) != found.get() {
            return Err(Error::bad_input("bad checksum"));
        }
        if self.my_lba.get() != at.0 {
            return Err(Error::bad_input(format!("says that it is at LBA {}", self.my_lba)));
        }
        let (count, size) = (self.number_of_partition_entries.get(), self.size_of_partition_entry.get());
        if size < ENTRY_LEN || u64::from(count) * u64::from(size) > ARRAY_MAX {
            return Err(Error::bad_input(format!("{count} entries of {size} bytes, must be at least {ENTRY_LEN} bytes each and 1 MiB in all")));
        }
        Ok(())
    }

    /// The entries, whose size was checked.
    fn array(&self, disk: &Blob) -> Result<Vec<u8>> {
        let len = u64::from(self.number_of_partition_entries.get()) * u64::from(self.size_of_partition_entry.get());
        let at = self.partition_entry_lba.get().checked_mul(SECTOR);
        let at = at.ok_or_else(|| Error::bad_input(format!("GPT entries at LBA {} are behind every disk", self.partition_entry_lba)))?;
        let mut array = vec![0; units::index(len)];
        disk.read_at(at, &mut array).map_err(|error| error.at("GPT entries"))?;
        if crc32fast::hash(&array) != self.partition_entry_array_crc32.get() {
            return Err(Error::bad_input("bad checksum").at("GPT entries"));
        }
        Ok(array)
    }
}

impl Entry {
    fn parse(&self, disk: &Blob) -> Result<Partition> {
        let (first, last, blocks) = (self.starting_lba.get(), self.ending_lba.get(), disk.len() / SECTOR);
        if first > last || last >= blocks {
            return Err(Error::bad_input(format!("blocks {first} to {last} are not on a disk of {blocks} blocks")));
        }
        let units = self.partition_name.iter().map(|unit| unit.get()).take_while(|unit| *unit != 0);
        let name = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        Ok(Partition {
            type_guid: Guid::from_mixed_endian(self.partition_type_guid),
            guid: Guid::from_mixed_endian(self.unique_partition_guid),
            name,
            attributes: self.attributes.get(),
            blocks: Lba(first)..Lba(last + 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ids;

    fn sample() -> Gpt {
        let ids = Ids::from_seed(b"gpt");
        let partition = |name: &str, type_guid, blocks: Range<u64>| Partition {
            type_guid,
            guid: ids.guid(name),
            name: name.to_owned(),
            attributes: 0,
            blocks: Lba(blocks.start)..Lba(blocks.end),
        };
        Gpt {
            disk_guid: ids.guid("disk"),
            partitions: vec![partition("BIOS boot", BIOS_BOOT, 34..2048), partition("ESP", ESP, 2048..4096), partition("däta 🚀", LINUX_DATA, 4096..8158)],
        }
    }

    fn disk() -> Blob {
        let mut disk = Blob::zeros(4 * MIB);
        sample().write(&mut disk).unwrap();
        disk
    }

    fn overwrite(disk: &Blob, at: u64, with: &[u8]) -> Blob {
        let mut bytes = disk.to_vec(4 * MIB).unwrap();
        bytes[units::index(at)..][..with.len()].copy_from_slice(with);
        Blob::from(bytes)
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(Gpt::read(&disk()).unwrap().unwrap(), sample());
    }

    #[test]
    fn the_backup_serves_when_the_primary_is_damaged() {
        for damage in [512, 512 + 60, 1024 + 5] {
            let disk = overwrite(&disk(), damage, b"?");
            assert_eq!(Gpt::read(&disk).unwrap().unwrap(), sample(), "{damage}");
        }
        let both = overwrite(&overwrite(&disk(), 1024, b"?"), 4 * MIB - 512 + 20, b"?");
        assert_eq!(Gpt::read(&both).unwrap_err().to_string(), "GPT entries: bad checksum");
    }

    #[test]
    fn no_table_is_no_error() {
        assert_eq!(Gpt::read(&Blob::zeros(4 * MIB)).unwrap(), None);
        assert_eq!(Gpt::read(&Blob::zeros(100)).unwrap(), None);
    }

    #[test]
    fn absurd_counts_are_refused_before_anything_is_allocated() {
        let mut header: Header = zerocopy::transmute!(disk().read_array::<92>(512).unwrap());
        header.number_of_partition_entries = U32::new(u32::MAX);
        header.header_crc32 = U32::ZERO;
        header.header_crc32 = U32::new(crc32fast::hash(header.as_bytes()));
        let disk = overwrite(&overwrite(&disk(), 512, header.as_bytes()), 4 * MIB - 512, b"?");
        let error = Gpt::read(&disk).unwrap_err().to_string();
        assert!(error.contains("4294967295 entries of 128 bytes"), "{error}");
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused() {
        let mut gpt = sample();
        gpt.partitions[0].name = "x".repeat(37);
        assert!(gpt.write(&mut Blob::zeros(4 * MIB)).unwrap_err().to_string().contains("37 UTF-16 units"));
    }

    #[test]
    #[should_panic(expected = "is not free")]
    fn overlap_is_a_bug() {
        let mut gpt = sample();
        gpt.partitions[1].blocks.start = Lba(2047);
        gpt.write(&mut Blob::zeros(4 * MIB)).unwrap();
    }
}
