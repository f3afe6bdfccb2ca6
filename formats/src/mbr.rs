//! Master boot record: the protective MBR of UEFI 2.10 section 5.2.3, and the legacy one of 5.2.1 for reading.
//!
//! ```text
//!    0           440         444    446           462 478 494   510
//!    boot code   signature   0 0    partition 0   1   2   3     55 aa
//! ```
//! On a disk with a GPT we write exactly one partition record, of type 0xEE, in slot 0, and nothing else: no hybrid MBR, no active flag.
//! OpenStack refuses anything looser. A disk that is read by what knows no GPT, a Raspberry Pi's boot ROM, has a legacy MBR. Those of others
//! are read with their logical partitions, which extended ones hold as a chain of records.
//!
//! Oracles: `sgdisk -v`, `sfdisk`.

use crate::{Blob, Error, Result, units::SECTOR};
use std::{mem::offset_of, ops::Range};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32},
};

/// Bytes of boot code.
pub const BOOT_CODE_LEN: usize = 440;

/// Boot code of what no BIOS can boot: `int 18h` tells it to try another device, then `hlt` for ever.
pub const NOT_BOOTABLE: [u8; BOOT_CODE_LEN] = {
    let mut code = [0; BOOT_CODE_LEN];
    [code[0], code[1], code[2], code[3], code[4]] = NOT_BOOTABLE_CODE;
    code
};
pub(crate) const NOT_BOOTABLE_CODE: [u8; 5] = [0xcd, 0x18, 0xf4, 0xeb, 0xfd];

/// The operating system type of the record that stands for the whole GPT disk.
pub const GPT_PROTECTIVE: u8 = 0xee;

/// The operating system type of an EFI system partition (UEFI 2.10, table 5-3).
pub const EFI_SYSTEM: u8 = 0xef;

/// The flag of a partition that boot code starts.
const ACTIVE: u8 = 0x80;

/// The operating system type of FAT32, addressed by LBA.
pub const FAT32_LBA: u8 = 0x0c;

/// The whole sector.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Mbr {
    /// 0: x86 code, run by a BIOS; ignored by UEFI.
    pub boot_code: [u8; BOOT_CODE_LEN],
    /// 440: unique disk signature; 0 when protective.
    pub disk_signature: U32,
    /// 444: 0.
    pub unknown: U16,
    /// 446: the partition records.
    pub partitions: [PartitionRecord; 4],
    /// 510: 0xaa55.
    pub signature: U16,
}

/// One of the four partition records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct PartitionRecord {
    /// 0: 0x80 when active; 0 when protective.
    pub boot_indicator: u8,
    /// 1: first sector as cylinder, head, sector; 00 02 00 when protective.
    pub start_chs: [u8; 3],
    /// 4: what the partition holds; 0 when the record is unused.
    pub os_type: u8,
    /// 5: last sector as cylinder, head, sector; ff ff ff when it cannot be said.
    pub end_chs: [u8; 3],
    /// 8: first sector; 1 when protective.
    pub starting_lba: U32,
    /// 12: number of sectors; at most 0xffffffff when protective.
    pub size_in_lba: U32,
}

const _: () = assert!(size_of::<Mbr>() == 512 && offset_of!(Mbr, partitions) == 446);
const _: () = assert!(size_of::<PartitionRecord>() == 16 && offset_of!(PartitionRecord, starting_lba) == 8);

const SIGNATURE: U16 = U16::new(0xaa55);

impl Mbr {
    /// The protective MBR of a disk of `sectors` sectors, at least 2.
    pub fn protective(boot_code: [u8; BOOT_CODE_LEN], sectors: u64) -> Self {
        let last = sectors.checked_sub(1).expect("a disk with a GPT has at least two sectors");
        let whole_disk = PartitionRecord {
            start_chs: [0x00, 0x02, 0x00],
            os_type: GPT_PROTECTIVE,
            starting_lba: U32::new(1),
            ..PartitionRecord::default()
        };
        Self::legacy(boot_code, 0, &[whole_disk]).covering(last).expect("it is protective")
    }

    /// The legacy MBR of a disk with these partitions, at most four: others are left out.
    pub fn legacy(boot_code: [u8; BOOT_CODE_LEN], disk_signature: u32, partitions: &[PartitionRecord]) -> Self {
        Self {
            boot_code,
            disk_signature: U32::new(disk_signature),
            unknown: U16::ZERO,
            partitions: std::array::from_fn(|slot| partitions.get(slot).copied().unwrap_or_default()),
            signature: SIGNATURE,
        }
    }

    /// The sector.
    pub fn to_bytes(self) -> [u8; 512] {
        zerocopy::transmute!(self)
    }

    /// Reads the first sector of a disk; `None` when its signature is missing.
    pub fn parse(sector: &[u8; 512]) -> Option<Self> {
        let mbr: Self = zerocopy::transmute!(*sector);
        (mbr.signature == SIGNATURE).then_some(mbr)
    }

    /// The same, covering a disk up to this last sector: of a protective MBR, with one record and no other.
    pub fn covering(mut self, last: u64) -> Option<Self> {
        let [whole, rest @ ..] = &mut self.partitions;
        let is_protective = whole.os_type == GPT_PROTECTIVE && whole.starting_lba == 1 && rest.iter().all(|record| record.os_type == 0);
        whole.end_chs = chs(last);
        whole.size_in_lba = U32::new(u32::try_from(last).unwrap_or(u32::MAX));
        is_protective.then_some(self)
    }

    /// Whether it is the table that counts, sound in every record: Linux asks the same.
    fn is_legacy(&self) -> bool {
        let is_void = |record: &PartitionRecord| record.os_type != 0 && record.size_in_lba == 0;
        self.has_partitions() && !self.is_protective() && !self.partitions.iter().any(is_void)
    }

    /// Whether it has a partition, the one that stands for a GPT among them. A boot sector of a volume has code or text where the records are.
    pub fn has_partitions(&self) -> bool {
        let is_sound = self.partitions.iter().all(|record| matches!(record.boot_indicator, 0 | ACTIVE));
        is_sound && self.partitions.iter().any(|record| record.os_type != 0 && record.size_in_lba != 0)
    }

    /// Whether some record says that the disk has a GPT.
    pub fn is_protective(&self) -> bool {
        self.partitions.iter().any(|record| record.os_type == GPT_PROTECTIVE)
    }
}

/// A partition of a legacy MBR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number as Linux counts: logical ones from 5 on.
    pub number: u32,
    /// Whether a BIOS's boot code would start it.
    pub is_active: bool,
    /// What it holds.
    pub os_type: u8,
    /// Its bytes on the disk, which may be smaller.
    pub range: Range<u64>,
}

/// The partitions of a disk by its legacy MBR, extended ones left out. Nothing where the first sector is none: it has no signature, or is
/// protective, or the boot sector of a volume.
///
/// # Errors
/// When the disk cannot be read.
pub fn partitions(disk: &Blob) -> Result<Option<Vec<Partition>>> {
    /// More logical partitions than anybody makes; also what ends a chain that loops.
    const LOGICAL_MAX: usize = 128;
    let table = |at: u64| -> Result<Option<Mbr>> {
        let is_there = at.checked_add(SECTOR).is_some_and(|end| end <= disk.len());
        Ok(if is_there { Mbr::parse(&disk.read_array(at)?) } else { None })
    };
    let Some(mbr) = table(0)?.filter(Mbr::is_legacy) else { return Ok(None) };
    let mut found = Vec::new();
    let mut extended = None;
    for (number, record) in (1..).zip(mbr.partitions) {
        match record.os_type {
            0 => {}
            _ if record.is_extended() => extended = extended.or(Some(record.range().start)),
            _ => found.push(record.partition(number, 0)),
        }
    }
    // The first record of each link says where the partition is, from the link on; the second where the next link is, from the first on.
    let Some(first) = extended else { return Ok(Some(found)) };
    let mut link = first;
    for number in (5..).take(LOGICAL_MAX) {
        let Some(Mbr { partitions: [logical, next, ..], .. }) = table(link)? else { break };
        if logical.os_type != 0 {
            found.push(logical.partition(number, link));
        }
        if !next.is_extended() {
            break;
        }
        link = first + next.range().start;
    }
    Ok(Some(found))
}

/// Cylinder, head and sector of an LBA as a record packs them, in the geometry of 255 heads and 63 sectors.
fn chs(lba: u64) -> [u8; 3] {
    const HEADS: u64 = 255;
    const SECTORS: u64 = 63;
    let (cylinder, head, sector) = (lba / (HEADS * SECTORS), lba / SECTORS % HEADS, lba % SECTORS + 1);
    if cylinder > 1023 {
        return [0xff; 3];
    }
    // The sector's byte carries the two high bits of the cylinder.
    [head, sector | cylinder >> 8 << 6, cylinder & 0xff].map(|byte| u8::try_from(byte).expect("each part was cut to a byte"))
}

impl PartitionRecord {
    /// A partition of `sectors` sectors, at least one, from sector `start`; not active.
    ///
    /// # Errors
    /// When an MBR cannot say where it is or how large.
    pub fn new(os_type: u8, start: u64, sectors: u64) -> Result<Self> {
        let field = |value: u64| {
            let large =
                |_| Error::unsupported(format!("an MBR holds partitions below sector {}, not {sectors} sectors from {start}", u32::MAX));
            u32::try_from(value).map(U32::new).map_err(large)
        };
        Ok(Self {
            boot_indicator: 0,
            start_chs: chs(start),
            os_type,
            end_chs: chs(start + sectors.saturating_sub(1)),
            starting_lba: field(start)?,
            size_in_lba: field(sectors)?,
        })
    }

    fn is_extended(&self) -> bool {
        matches!(self.os_type, 0x05 | 0x0f | 0x85)
    }

    /// What it says, counted from byte `from` of the disk.
    fn partition(&self, number: u32, from: u64) -> Partition {
        let Range { start, end } = self.range();
        Partition { number, is_active: self.boot_indicator == ACTIVE, os_type: self.os_type, range: from + start..from + end }
    }

    /// First byte and one past the last byte on the disk.
    pub fn range(&self) -> Range<u64> {
        let start = u64::from(self.starting_lba.get()) * SECTOR;
        start..start + u64::from(self.size_in_lba.get()) * SECTOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sectors: u64) -> [u8; 16] {
        zerocopy::transmute!(Mbr::protective([0x90; 440], sectors).partitions[0])
    }

    #[test]
    fn the_protective_record_is_as_uefi_says() {
        // 64 MiB: the last LBA is 131,071 = cylinder 8, head 40, sector 32.
        assert_eq!(record(131_072), [0, 0, 2, 0, 0xee, 40, 32, 8, 1, 0, 0, 0, 0xff, 0xff, 1, 0]);
        // Cylinder 1023 = 0x3ff is the last that can be said.
        assert_eq!(record(1024 * 255 * 63)[5..8], [254, 0xff, 0xff]);
        assert_eq!(record(1024 * 255 * 63 + 1)[5..8], [0xff; 3]);
        assert_eq!(record(u64::MAX)[8..], [1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn a_legacy_record_says_where_a_partition_is() {
        let record: [u8; 16] = zerocopy::transmute!(PartitionRecord::new(FAT32_LBA, 8192, 262_144).unwrap());
        // 8192 = cylinder 0, head 130, sector 3; 270,335 = cylinder 16, head 211, sector 3.
        assert_eq!(record, [0, 130, 3, 0, 0x0c, 211, 3, 16, 0, 0x20, 0, 0, 0, 0, 4, 0]);
        assert!(PartitionRecord::new(FAT32_LBA, 8192, 1 << 32).is_err());
        let mbr = Mbr::legacy([0; 440], 0x1234_5678, &[PartitionRecord::new(FAT32_LBA, 8192, 262_144).unwrap()]).to_bytes();
        assert_eq!(
            (&mbr[440..446], &mbr[446..462], &mbr[462..]),
            (&[0x78, 0x56, 0x34, 0x12, 0, 0][..], &record[..], &[&[0; 48][..], &[0x55, 0xaa]].concat()[..])
        );
    }

    #[test]
    fn logical_partitions_are_found_and_loops_end() {
        let record = |os_type, start, sectors| PartitionRecord::new(os_type, start, sectors).unwrap();
        let sector = |records: &[PartitionRecord]| Blob::bytes(Mbr::legacy([0; 440], 1, records).to_bytes());
        let mut disk = Blob::zeros(1 << 20);
        let active = PartitionRecord { boot_indicator: ACTIVE, ..record(0x83, 8, 8) };
        disk.replace(0, &sector(&[active, PartitionRecord::default(), record(0x0f, 100, 900)]));
        disk.replace(100 * 512, &sector(&[record(0x82, 1, 9), record(0x05, 50, 50)]));
        disk.replace(150 * 512, &sector(&[record(0x83, 2, 8)]));
        let found = partitions(&disk).unwrap().unwrap();
        let shown: Vec<_> = found.iter().map(|p| (p.number, p.is_active, p.os_type, p.range.start / 512, p.range.end / 512)).collect();
        assert_eq!(shown, [(1, true, 0x83, 8, 16), (5, false, 0x82, 101, 110), (6, false, 0x83, 152, 160)]);
        disk.replace(150 * 512, &sector(&[record(0x83, 2, 8), record(0x05, 50, 50)]));
        assert_eq!(partitions(&disk).unwrap().unwrap().len(), 1 + 128);
        disk.replace(0, &Blob::bytes(Mbr::protective([0; 440], 2048).to_bytes()));
        assert!(partitions(&disk).unwrap().is_none() && partitions(&Blob::zeros(100)).unwrap().is_none());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let sector = Mbr::protective([7; 440], 4096).to_bytes();
        assert_eq!(&sector[440..446], &[0; 6]);
        assert_eq!(&sector[462..], [vec![0; 48], vec![0x55, 0xaa]].concat());
        let read = Mbr::parse(&sector).unwrap();
        assert!(read.is_protective());
        assert_eq!(read.partitions[0].range(), 512..4096 * 512);
        assert!(Mbr::parse(&[0; 512]).is_none());
    }
}
