//! VHDX 1: [MS-VHDX] "Virtual Hard Disk v2 (VHDX) File Format", sections 2.1 to 2.6. All integers are little-endian.
//!
//! ```text
//! 0          64 KiB     128 KiB    192 KiB    256 KiB         1 MiB  2 MiB      3 MiB  whole MiB
//! | file     | header 1 | header 2 | region   | region ...... | log  | metadata | BAT  | block | block | ...
//! | identifier          | the one with the    table 1  copy   | empty| region   |
//!                         higher number rules
//! BAT: chunk ratio × (u64: MiB where the block is, state) then one entry for the sector bitmap of the chunk; and again
//! ```
//! Written: dynamic disks of 4 KiB physical sectors, and of logical ones of 512 bytes or those that the disk was made for. A block without data is PAYLOAD_BLOCK_ZERO, the only
//! state that promises zeros. Blocks are 1 MiB unless asked otherwise: Microsoft's advice for Linux guests, and least waste.
//!
//! A differencing disk is read over its parent. Refused when read: regions and metadata items that are required and unknown. A log that was not
//! written back is replayed in memory; a check counts it as a corruption, for others refuse the file until it is.
//!
//! Oracles: `qemu-img` (which also replays logs), 7-Zip, oslo.utils, dissect.hypervisor.
//!
//! ```
//! use formats::{Blob, Env, Format, Ids, Options, Reading, vhdx::Vhdx};
//!
//! let env = &mut Env::scratch(1);
//! let disk = Blob::bytes(b"content ".repeat(1 << 17));
//! let plan = Vhdx.plan(&Options::parse(Vhdx.options(), [("block_size", "8M")])?)?;
//! // Its identifiers are derived: the same ones make the same file.
//! let file = plan.encode(&disk, &Ids::from_seed(b"my disk").into(), env)?;
//! let again = plan.encode(&disk, &Ids::from_seed(b"my disk").into(), env)?;
//! let other = plan.encode(&disk, &Ids::from_seed(b"another").into(), env)?;
//! assert!(file.sha256()? == again.sha256()? && file.sha256()? != other.sha256()?);
//! assert_eq!(Vhdx.decode(&file, &Reading::default(), env)?.sha256()?, disk.sha256()?);
//! # Ok::<(), formats::Error>(())
//! ```

mod log;
mod read;
mod write;

use crate::{
    Blob, Check, Env, Format, Identity, Info, Limits, OptionSpec, Options, Plan, Reading, Result, Values,
    crc32c::crc32c,
    dump::Dump,
    guid::Guid,
    units::{KIB, MIB, SECTOR, TIB},
};
use std::mem::offset_of;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// The VHDX format.
#[derive(Debug)]
pub struct Vhdx;

static OPTIONS: [OptionSpec; 1] = [OptionSpec {
    name: "block_size",
    values: Values::PowerOfTwo { min: BLOCK_MIN, max: BLOCK_MAX },
    default: "1M",
    help: "bytes of a block: small ones waste less, large ones make the table smaller",
}];

/// Smallest block (section 2.6.2.1).
const BLOCK_MIN: u64 = MIB;
/// Largest block.
const BLOCK_MAX: u64 = 256 * MIB;
/// Largest disk (section 2.6.2.2).
const SIZE_MAX: u64 = 64 * TIB;
/// Bytes that a logical sector may have (section 2.6.2.4).
const LOGICAL_SECTORS: [u64; 2] = [SECTOR, 4 * KIB];
/// Bytes of a physical sector that we write: what hosts of today have. Disks are whole ones: 7-Zip opens no others.
const PHYSICAL_SECTOR: u64 = 4096;
/// Where the two headers are.
const HEADERS_AT: [u64; 2] = [64 * KIB, 128 * KIB];
/// Where the two region tables are.
const REGION_TABLES_AT: [u64; 2] = [192 * KIB, 256 * KIB];
/// Bytes of a region table, which its checksum covers, and of the metadata table.
const TABLE_LEN: u64 = 64 * KIB;
/// Bytes of the header section, before the log and the regions may start.
const HEADER_SECTION: u64 = MIB;
/// Sectors whose presence one bitmap block tells (section 2.4): with the sector size, the size of a chunk.
const SECTORS_PER_BITMAP: u64 = 1 << 23;

/// Section 2.2.2, "Headers".
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    /// 0: `head`.
    signature: [u8; 4],
    /// 4: CRC-32C of the 4 KiB, with 0 here.
    checksum: U32,
    /// 8: the header with the higher one is current.
    sequence_number: U64,
    /// 16: changes when the file is first written to.
    file_write_guid: [u8; 16],
    /// 32: changes when the disk is first written to.
    data_write_guid: [u8; 16],
    /// 48: that of the valid log entries; nil when the log is empty.
    log_guid: [u8; 16],
    /// 64: 0.
    log_version: U16,
    /// 66: 1.
    version: U16,
    /// 68: bytes of the log, whole MiB.
    log_length: U32,
    /// 72: where the log is, whole MiB.
    log_offset: U64,
    /// 80: zeros.
    reserved: [u8; 4016],
}
const _: () = assert!(size_of::<Header>() == 4096 && offset_of!(Header, log_guid) == 48 && offset_of!(Header, log_offset) == 72);

/// Section 2.2.3.1, "Region Table Header".
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RegionTableHeader {
    /// 0: `regi`.
    signature: [u8; 4],
    /// 4: CRC-32C of the 64 KiB, with 0 here.
    checksum: U32,
    /// 8: entries that follow, at most 2,047.
    entry_count: U32,
    /// 12: 0.
    reserved: U32,
}
const _: () = assert!(size_of::<RegionTableHeader>() == 16);

/// Section 2.2.3.2, "Region Table Entry".
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RegionTableEntry {
    /// 0: what the region is.
    guid: [u8; 16],
    /// 16: where it is, whole MiB.
    file_offset: U64,
    /// 24: its bytes, whole MiB.
    length: U32,
    /// 28: 1 when a reader must know it.
    required: U32,
}
const _: () = assert!(size_of::<RegionTableEntry>() == 32);

/// Section 2.6.1.1, "Metadata Table Header".
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct MetadataTableHeader {
    /// 0: `metadata`.
    signature: [u8; 8],
    /// 8: 0.
    reserved: U16,
    /// 10: entries that follow, at most 2,047.
    entry_count: U16,
    /// 12: zeros.
    reserved2: [u8; 20],
}
const _: () = assert!(size_of::<MetadataTableHeader>() == 32);

/// Section 2.6.1.2, "Metadata Table Entry".
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct MetadataTableEntry {
    /// 0: what the item is.
    item_id: [u8; 16],
    /// 16: where it is in the region, at least 64 KiB.
    offset: U32,
    /// 20: its bytes.
    length: U32,
    /// 24: see [`metadata_flags`].
    flags: U32,
    /// 28: 0.
    reserved: U32,
}
const _: () = assert!(size_of::<MetadataTableEntry>() == 32);

/// Values of [`MetadataTableEntry::flags`].
mod metadata_flags {
    /// A user's item, not the system's.
    pub(super) const IS_USER: u32 = 1;
    /// It is about the disk, not about the file.
    pub(super) const IS_VIRTUAL_DISK: u32 = 2;
    /// A reader must know it.
    pub(super) const IS_REQUIRED: u32 = 4;
}

/// Section 2.6.2.1, "File Parameters".
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FileParameters {
    /// 0: bytes of a block: a power of two from 1 MiB to 256 MiB.
    block_size: U32,
    /// 4: bit 0: blocks stay allocated (a fixed disk); bit 1: there is a parent.
    flags: U32,
}
const _: () = assert!(size_of::<FileParameters>() == 8);

impl FileParameters {
    const HAS_PARENT: u32 = 2;
}

/// Section 2.6.2.6.1, "Parent Locator Header".
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ParentLocatorHeader {
    /// 0: [`known::LOCATOR_OF_VHDX`].
    locator_type: [u8; 16],
    /// 16: 0.
    reserved: U16,
    /// 18: entries that follow.
    key_value_count: U16,
}
const _: () = assert!(size_of::<ParentLocatorHeader>() == 20);

/// Section 2.6.2.6.2, "Parent Locator Entry": texts in UTF-16, by their places in the item.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ParentLocatorEntry {
    /// 0: where the key is.
    key_offset: U32,
    /// 4: where the value is.
    value_offset: U32,
    /// 8: bytes of the key.
    key_length: U16,
    /// 10: bytes of the value.
    value_length: U16,
}
const _: () = assert!(size_of::<ParentLocatorEntry>() == 12);

/// What regions and metadata items are.
mod known {
    use super::Guid;

    pub(super) const BAT: Guid = Guid::new(0x2dc27766_f623_4200_9d64_115e9bfd4a08);
    pub(super) const METADATA: Guid = Guid::new(0x8b7ca206_4790_4b9a_b8fe_575f050f886e);
    pub(super) const FILE_PARAMETERS: Guid = Guid::new(0xcaa16737_fa36_4d43_b3b6_33f0aa44e76b);
    pub(super) const VIRTUAL_DISK_SIZE: Guid = Guid::new(0x2fa54224_cd1b_4876_b211_5dbed83bf4b8);
    pub(super) const VIRTUAL_DISK_ID: Guid = Guid::new(0xbeca12ab_b2e6_4523_93ef_c309e000c746);
    pub(super) const LOGICAL_SECTOR_SIZE: Guid = Guid::new(0x8141bf1d_a96f_4709_ba47_f233a8faab5f);
    pub(super) const PHYSICAL_SECTOR_SIZE: Guid = Guid::new(0xcda348c7_445d_4471_9cc9_e9885251c556);
    pub(super) const PARENT_LOCATOR: Guid = Guid::new(0xa8d35f2d_b30b_454d_abf7_d3d84834ab0c);
    /// The only kind of parent there is: another VHDX.
    pub(super) const LOCATOR_OF_VHDX: Guid = Guid::new(0xb04aefb7_d19e_4a81_b789_25b8e9445913);
}

/// Low three bits of a BAT entry of a block (section 2.5.1.1). The MiB where the block is start at bit 20.
mod block_state {
    pub(super) const NOT_PRESENT: u64 = 0;
    pub(super) const UNDEFINED: u64 = 1;
    pub(super) const ZERO: u64 = 2;
    pub(super) const UNMAPPED: u64 = 3;
    pub(super) const FULLY_PRESENT: u64 = 6;
    pub(super) const PARTIALLY_PRESENT: u64 = 7;
}

impl Header {
    /// The checksum this header must have.
    fn right_checksum(&self) -> u32 {
        crc32c(Self { checksum: 0.into(), ..*self }.as_bytes())
    }
}

/// Blocks of a chunk: after so many entries the BAT has one for a sector bitmap (section 2.4).
fn chunk_ratio(block_size: u64, sector_size: u64) -> u64 {
    SECTORS_PER_BITMAP * sector_size / block_size
}

/// Entries of the BAT: of a disk without a parent the last chunk needs no bitmap (section 2.5).
fn bat_entries(blocks: u64, chunk_ratio: u64, has_parent: bool) -> u64 {
    match has_parent {
        true => blocks.div_ceil(chunk_ratio) * (chunk_ratio + 1),
        false => blocks + blocks.saturating_sub(1) / chunk_ratio,
    }
}

impl Format for Vhdx {
    fn name(&self) -> &'static str {
        "vhdx"
    }

    fn options(&self) -> &'static [OptionSpec] {
        &OPTIONS
    }

    fn has_identifiers(&self) -> bool {
        true
    }

    fn probe(&self, file: &Blob) -> Result<bool> {
        Ok(file.len() >= 8 && file.read_array(0)? == *b"vhdxfile")
    }

    fn plan(&self, options: &Options) -> Result<Box<dyn Plan>> {
        Ok(Box::new(Dynamic { block_size: options.number("block_size"), sector: SECTOR }))
    }

    fn decode(&self, file: &Blob, reading: &Reading<'_>, env: &mut Env) -> Result<Blob> {
        reading.refuse_snapshot(self.name())?;
        read::disk(file, reading, env)
    }

    fn sector(&self, file: &Blob) -> Result<Option<u64>> {
        read::sector(file).map(Some)
    }

    fn info(&self, file: &Blob) -> Result<Info> {
        read::info(file)
    }

    fn check(&self, file: &Blob, env: &mut Env) -> Result<Check> {
        let mut check = Check::default();
        if check.decoded(self.decode(file, &Reading::default(), env))?.is_some() {
            read::check_log(file, &mut check)?;
            read::check_copies(file, &mut check)?;
        }
        Ok(check)
    }

    fn dump(&self, file: &Blob, to: &mut Dump) -> Result<()> {
        read::dump(file, to)
    }
}

/// A dynamic disk.
#[derive(Debug)]
struct Dynamic {
    block_size: u64,
    /// Bytes of a logical sector.
    sector: u64,
}

impl Plan for Dynamic {
    fn limits(&self) -> Limits {
        Limits { size_multiple: PHYSICAL_SECTOR, size_max: SIZE_MAX }
    }

    fn with_sectors(&self, size: u64) -> Option<Box<dyn Plan>> {
        LOGICAL_SECTORS.contains(&size).then(|| Box::new(Self { sector: size, ..*self }) as Box<dyn Plan>)
    }

    fn unit(&self) -> Option<u64> {
        Some(self.block_size)
    }

    fn encode(&self, disk: &Blob, identity: &Identity, env: &mut Env) -> Result<Blob> {
        self.limits().assert_hold(disk);
        Ok(write::encode(disk, self, identity.ids(env)?))
    }
}

/// Numbers that the limits keep below 2^32.
fn narrow(value: u64) -> U32 {
    u32::try_from(value).expect("kept small by the limits").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::{self, env},
        units,
    };

    pub(super) fn encode(disk: &Blob, block_size: &str) -> Blob {
        testing::encode(&Vhdx, disk, &[("block_size", block_size)])
    }

    pub(super) fn sample() -> Blob {
        let mut disk = Blob::zeros(9 * MIB + 4096);
        disk.splice(0, &Blob::bytes(*b"first"));
        disk.splice(5 * MIB - 3, &Blob::bytes(*b"middle"));
        disk.splice(9 * MIB + 4095, &Blob::bytes(*b"z"));
        disk
    }

    #[test]
    fn a_disk_survives_every_block_size() {
        for block_size in ["1M", "2M", "8M", "256M"] {
            let file = encode(&sample(), block_size);
            assert_eq!(testing::decode(&Vhdx, &file).unwrap().to_vec(u64::MAX).unwrap(), sample().to_vec(u64::MAX).unwrap());
        }
    }

    /// A chunk is 4 GiB with 512-byte sectors; runs of blocks cross its end, where the bitmap's entry is.
    #[test]
    fn bitmap_entries_interleave() {
        for block_size in ["1M", "32M"] {
            let mut disk = Blob::zeros(13 << 30);
            for chunk in 1..4_u64 {
                disk.splice((chunk << 32) - 70 * MIB, &Blob::bytes(vec![u8::try_from(chunk).unwrap(); 140 << 20]));
            }
            let file = encode(&disk, block_size);
            let decoded = testing::decode(&Vhdx, &file).unwrap();
            for chunk in 1..4_u64 {
                let byte = u8::try_from(chunk).unwrap();
                let around = |at: u64| decoded.read_array::<2>(at - 1).unwrap();
                assert_eq!(around((chunk << 32) - 70 * MIB), [0, byte]);
                assert_eq!(around(chunk << 32), [byte, byte]);
                assert_eq!(around((chunk << 32) + 70 * MIB), [byte, 0]);
            }
        }
    }

    #[test]
    fn the_last_chunk_has_no_bitmap_entry() {
        assert_eq!(chunk_ratio(MIB, 512), 4096);
        assert_eq!([0, 1, 4096, 4097, 8192, 8193].map(|blocks| bat_entries(blocks, 4096, false)), [0, 1, 4096, 4098, 8193, 8195]);
        assert_eq!([0, 1, 4096, 4097].map(|blocks| bat_entries(blocks, 4096, true)), [0, 4097, 4097, 8194]);
    }

    #[test]
    fn one_damaged_header_or_region_table_is_survived_and_two_are_not() {
        for pair in [HEADERS_AT, REGION_TABLES_AT] {
            let mut bytes = encode(&sample(), "1M").to_vec(u64::MAX).unwrap();
            for (damaged, at) in (1..).zip(pair) {
                bytes[units::index(at) + 20] ^= 1;
                let file = Blob::bytes(bytes.as_slice());
                assert_eq!(testing::decode(&Vhdx, &file).is_ok(), damaged == 1);
                assert_eq!(Vhdx.check(&file, &mut env()).unwrap().corruptions, 1);
            }
        }
    }

    /// A chunk is 32 GiB with sectors of 4096 bytes.
    #[test]
    fn a_disk_of_large_sectors_says_so() {
        let mut disk = Blob::zeros(40 << 30);
        for at in [0, 33 << 30] {
            disk.splice(at, &Blob::bytes(vec![7; 1 << 20]));
        }
        let plan = Vhdx.plan(&Options::defaults(Vhdx.options())).unwrap().with_sectors(4096).unwrap();
        let file = plan.encode(&disk, &testing::ids().into(), &mut env()).unwrap();
        assert_eq!(Vhdx.sector(&file).unwrap(), Some(4096));
        assert!(crate::compare::same(&testing::decode(&Vhdx, &file).unwrap(), &disk).unwrap());
        assert_eq!(Vhdx.sector(&encode(&sample(), "1M")).unwrap(), Some(512));
        assert!(plan.with_sectors(1024).is_none());
    }

    #[test]
    fn a_block_in_the_bat_itself_is_refused() {
        let mut bytes = encode(&sample(), "1M").to_vec(u64::MAX).unwrap();
        bytes[3 << 20..][..8].copy_from_slice(&(3_u64 << 20 | 6).to_le_bytes());
        let error = testing::decode(&Vhdx, &Blob::bytes(bytes)).unwrap_err();
        assert!(error.to_string().contains("two structures"), "{error}");
    }
}
