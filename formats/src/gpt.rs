//! GUID Partition Table: UEFI 2.10 section 5.3, in logical blocks of 512 or 4096 bytes.
//!
//! ```text
//!  LBA 0        1         2 .. 33 (or 5)                   n-33 (or -5)   n-1
//!  protective   primary   128 entries    partitions ...    128 entries    backup
//!  MBR          header    of 128 bytes                     (the same)     header
//! ```
//! We write 128 entries and both copies; the backup stands at the last LBA. A [`Table`] that others wrote, in blocks of 512 or 4096
//! bytes, is moved with all that is in it when its disk grows; what its partitions hold is told by the loaders' own reader, the crate
//! `bootfs`.
//!
//! Oracles: `sgdisk -v`, `bootfs`.

mod table;

pub use table::{Table, sector_of};

use crate::{
    Blob, Error, Guid, Result,
    units::{self, MIB},
};
use std::{mem::offset_of, ops::Range};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// EFI system partition.
pub const ESP: Guid = Guid::new(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
/// BIOS boot partition: a boot loader's second stage ("Hah!IdontNeedEFI").
pub const BIOS_BOOT: Guid = Guid::new(0x21686148_6449_6e6f_744e_656564454649);
/// A file system that any system may know: Microsoft's "basic data".
pub const BASIC_DATA: Guid = Guid::new(0xebd0a0a2_b9e5_4433_87c0_68b6b72699c7);
/// Linux file system data.
pub const LINUX_DATA: Guid = Guid::new(0x0fc63daf_8483_4772_8e79_3d69d8477de4);
/// Linux swap space.
pub const LINUX_SWAP: Guid = Guid::new(0x0657fd6d_a4ab_43c4_84e5_0933c84b4f4f);
/// `/home` (Discoverable Partitions Specification, UAPI.2).
pub const LINUX_HOME: Guid = Guid::new(0x933ac7e1_2eb4_4f13_b844_0e14e2aef915);
/// `/var` (UAPI.2).
pub const LINUX_VAR: Guid = Guid::new(0x4d21b016_b534_45c2_a9fb_5c16e091fd2d);

/// Root of x86-64 (UAPI.2).
pub const LINUX_ROOT_X86_64: Guid = Guid::new(0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709);
/// Hashes of the root of x86-64 (UAPI.2).
pub const LINUX_ROOT_X86_64_VERITY: Guid = Guid::new(0x2c7357ed_ebd2_46d9_aec1_23d437ec2bf5);
/// Root of arm64 (UAPI.2).
pub const LINUX_ROOT_ARM64: Guid = Guid::new(0xb921b045_1df0_41c3_af44_4c6f280d3fae);
/// Hashes of the root of arm64 (UAPI.2).
pub const LINUX_ROOT_ARM64_VERITY: Guid = Guid::new(0xdf3300ce_d69f_4c92_978c_9bfb0f38d820);

/// Partitions start at multiples of this many bytes.
pub const ALIGNMENT: u64 = MIB;
/// Partitions that the table holds.
pub const ENTRIES: u32 = 128;
const ENTRY_LEN: u32 = 128;
/// Bytes of all entries: whole blocks.
const ARRAY_LEN: u64 = ENTRIES as u64 * ENTRY_LEN as u64;
const HEADER_LEN: u32 = 92;

/// Bytes before the first that a partition may have: the MBR, the header and the entries, in blocks of so many bytes.
pub const fn front_len(block: u64) -> u64 {
    2 * block + ARRAY_LEN
}

/// Bytes behind the last that a partition may have: the backup's entries and header.
pub const fn back_len(block: u64) -> u64 {
    ARRAY_LEN + block
}

/// The header, table 5-5.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    /// 0: "EFI PART".
    signature: [u8; 8],
    /// 8: 0x00010000.
    revision: U32,
    /// 12: 92.
    header_size: U32,
    /// 16: CRC-32 of the header with this field 0.
    header_crc32: U32,
    /// 20: 0.
    reserved: U32,
    /// 24: the block of this header.
    my_lba: U64,
    /// 32: the block of the other header.
    alternate_lba: U64,
    /// 40: first block that a partition may use.
    first_usable_lba: U64,
    /// 48: last block that a partition may use.
    last_usable_lba: U64,
    /// 56: the disk's GUID, mixed-endian.
    disk_guid: [u8; 16],
    /// 72: first block of the entries that belong to this header.
    partition_entry_lba: U64,
    /// 80: 128.
    number_of_partition_entries: U32,
    /// 84: 128.
    size_of_partition_entry: U32,
    /// 88: CRC-32 of the entries.
    partition_entry_array_crc32: U32,
}

/// A partition entry, table 5-6.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    /// 0: what the partition holds, mixed-endian; all 0 when the entry is unused.
    partition_type_guid: [u8; 16],
    /// 16: its own GUID, mixed-endian.
    unique_partition_guid: [u8; 16],
    /// 32: first block.
    starting_lba: U64,
    /// 40: last block, inclusive.
    ending_lba: U64,
    /// 48: attribute bits, table 5-8.
    attributes: U64,
    /// 56: UTF-16, ended by a 0 unless full.
    partition_name: [U16; NAME_UNITS],
}

const NAME_UNITS: usize = 36;

const _: () = assert!(
    size_of::<Header>() == HEADER_LEN as usize
        && offset_of!(Header, disk_guid) == 56
        && offset_of!(Header, partition_entry_array_crc32) == 88
);
const _: () =
    assert!(size_of::<Entry>() == ENTRY_LEN as usize && offset_of!(Entry, starting_lba) == 32 && offset_of!(Entry, partition_name) == 56);
const _: () = assert!(ARRAY_LEN.is_multiple_of(512) && ARRAY_LEN.is_multiple_of(4096));

impl Entry {
    /// The name.
    fn name(&self) -> String {
        let units: Vec<u16> = self.partition_name.iter().map(|unit| unit.get()).take_while(|unit| *unit != 0).collect();
        String::from_utf16_lossy(&units)
    }
}

/// A partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpt {
    /// Bytes of a logical block: 512 or 4096.
    pub block: u64,
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
    /// First byte and one past the last byte on the disk: whole blocks, never empty.
    pub bytes: Range<u64>,
}

impl Partition {
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

    fn entry(&self, block: u64) -> Result<Entry> {
        Self::check_name(&self.name)?;
        let mut partition_name = [U16::ZERO; NAME_UNITS];
        for (to, unit) in partition_name.iter_mut().zip(self.name.encode_utf16()) {
            *to = U16::new(unit);
        }
        Ok(Entry {
            partition_type_guid: self.type_guid.to_mixed_endian(),
            unique_partition_guid: self.guid.to_mixed_endian(),
            starting_lba: U64::new(self.bytes.start / block),
            ending_lba: U64::new(self.bytes.end / block - 1),
            attributes: U64::new(self.attributes),
            partition_name,
        })
    }
}

impl Gpt {
    /// Puts both copies on a disk of whole blocks that is free where they stand: before [`front_len`], and the last [`back_len`].
    ///
    /// Partitions overlap neither these nor each other: else it panics, a planner bug.
    ///
    /// # Errors
    /// When a name is too long.
    pub fn write(&self, disk: &mut Blob) -> Result<()> {
        let block = self.block;
        assert!(disk.len().is_multiple_of(block), "a disk of {} bytes is not whole blocks of {block}", disk.len());
        let last = disk.len() / block - 1;
        self.assert_disjoint(disk.len() - back_len(block));
        let mut entries = Vec::with_capacity(units::index(ARRAY_LEN));
        for partition in &self.partitions {
            entries.extend_from_slice(partition.entry(block)?.as_bytes());
        }
        entries.resize(units::index(ARRAY_LEN), 0);
        let backup_entries = last - ARRAY_LEN / block;
        let header = |my, alternate, array| self.header(last, my, alternate, array, crc32fast::hash(&entries));
        disk.splice(block, &Blob::from(header(1, last, 2)));
        disk.splice(last * block, &Blob::from(header(last, 1, backup_entries)));
        let entries = Blob::from(entries);
        disk.splice(2 * block, &entries);
        disk.splice(backup_entries * block, &entries);
        Ok(())
    }

    fn assert_disjoint(&self, end: u64) {
        assert!(self.partitions.len() <= ENTRIES as usize, "{} partitions are too many", self.partitions.len());
        let mut ranges: Vec<_> = self.partitions.iter().map(|p| &p.bytes).collect();
        ranges.sort_by_key(|range| range.start);
        let mut free = front_len(self.block);
        for range in ranges {
            let is_whole = range.start.is_multiple_of(self.block) && range.end.is_multiple_of(self.block);
            assert!(is_whole && free <= range.start && range.start < range.end && range.end <= end, "{range:?} is not free");
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
            first_usable_lba: U64::new(front_len(self.block) / self.block),
            last_usable_lba: U64::new(last - back_len(self.block) / self.block),
            disk_guid: self.disk_guid.to_mixed_endian(),
            partition_entry_lba: U64::new(array),
            number_of_partition_entries: U32::new(ENTRIES),
            size_of_partition_entry: U32::new(ENTRY_LEN),
            partition_entry_array_crc32: U32::new(array_crc),
        };
        header.header_crc32 = U32::new(crc32fast::hash(header.as_bytes()));
        header.as_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ids;

    fn sample(block: u64) -> Gpt {
        let ids = Ids::from_seed(b"gpt");
        let partition = |name: &str, type_guid, blocks: Range<u64>| Partition {
            type_guid,
            guid: ids.guid(name),
            name: name.to_owned(),
            attributes: 0,
            bytes: blocks.start * block..blocks.end * block,
        };
        Gpt {
            block,
            disk_guid: ids.guid("disk"),
            partitions: vec![
                partition("BIOS boot", BIOS_BOOT, 34..2048),
                partition("ESP", ESP, 2048..4096),
                partition("däta 🚀", LINUX_DATA, 4096..8159),
            ],
        }
    }

    #[test]
    fn both_headers_say_where_they_and_the_other_are() {
        for (block, first, last) in [(512, 34, 8158), (4096, 6, 8186)] {
            let mut disk = Blob::zeros(8192 * block);
            sample(block).write(&mut disk).unwrap();
            for (at, other, entries) in [(1, 8191, 2), (8191, 1, last + 1)] {
                let field = |offset: u64| u64::from_le_bytes(disk.read_array(at * block + offset).unwrap());
                assert_eq!([field(24), field(32), field(40), field(48), field(72)], [at, other, first, last, entries]);
            }
            assert_eq!(disk.read_array(2 * block).unwrap(), disk.read_array::<16384>((last + 1) * block).unwrap());
        }
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused() {
        let mut gpt = sample(512);
        gpt.partitions[0].name = "x".repeat(37);
        assert!(gpt.write(&mut Blob::zeros(4 * MIB)).unwrap_err().to_string().contains("37 UTF-16 units"));
    }

    #[test]
    #[should_panic(expected = "is not free")]
    fn overlap_is_a_bug() {
        let mut gpt = sample(512);
        gpt.partitions[1].bytes.start -= 512;
        gpt.write(&mut Blob::zeros(4 * MIB)).unwrap();
    }
}
