//! Dynamic disks: "Dynamic Disk Header Format", the BAT, and blocks with their bitmaps.

use super::footer::{Footer, VERSION_1_0, check_sum, check_version, checksum};
use crate::{
    Blob, Error, Result,
    blocks::{self, Claims, Table},
    dump::Dump,
    error::At,
    units::{self, MIB, SECTOR},
};
use std::{mem::offset_of, ops::Range};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    big_endian::{U32, U64},
};

/// Where the BAT is: behind the dynamic header.
pub(super) const BAT_AT: u64 = 1536;
/// Block size that we write, the default of the standard.
pub(super) const BLOCK: u64 = 2 * MIB;
/// Largest block size that we read.
const BLOCK_MAX: u64 = 256 * MIB;
/// What the data of a block is aligned to.
const DATA_ALIGN: u64 = 4096;
/// A BAT entry without a block.
pub(super) const ABSENT: u32 = u32::MAX;

/// "Dynamic Disk Header Format".
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct DynamicHeader {
    /// 0: `cxsparse`.
    cookie: [u8; 8],
    /// 8: all ones.
    data_offset: U64,
    /// 16: where the BAT is.
    table_offset: U64,
    /// 24: 1.0.
    version: U32,
    /// 28: blocks of the disk.
    max_table_entries: U32,
    /// 32: bytes of a block, without its bitmap: a power of two.
    pub(super) block_size: U32,
    /// 36: see [`checksum`].
    checksum: U32,
    /// 40: zeros but in a differencing disk, up to the end.
    parent: [u8; 984],
}
const _: () = assert!(size_of::<DynamicHeader>() == 1024 && offset_of!(DynamicHeader, checksum) == 36);

impl DynamicHeader {
    fn new(blocks: u64) -> Self {
        let mut header = Self {
            cookie: *b"cxsparse",
            data_offset: u64::MAX.into(),
            table_offset: BAT_AT.into(),
            version: VERSION_1_0.into(),
            max_table_entries: u32::try_from(blocks).expect("limited by SIZE_MAX").into(),
            block_size: u32::try_from(BLOCK).expect("2 MiB").into(),
            checksum: 0.into(),
            parent: [0; 984],
        };
        header.checksum = checksum(header.as_bytes()).into();
        header
    }

    /// The header and the part of the BAT that covers the disk.
    pub(super) fn find(file: &Blob, footer: &Footer) -> Result<(Self, Blob)> {
        let header = Self::read(file, footer.data_offset.get()).at(|| "VHD dynamic header")?;
        let blocks = footer.disk_len()?.div_ceil(header.block_size.get().into());
        if blocks > u64::from(header.max_table_entries.get()) {
            let entries = header.max_table_entries;
            return Err(Error::bad_input(format!("the BAT has {entries} entries, must be {blocks} for the disk")).at("VHD dynamic header"));
        }
        let bat = Claims::on(file).claim(header.table_offset.get(), blocks * 4, || "VHD BAT".to_owned())?;
        Ok((header, file.slice(bat)))
    }

    fn read(file: &Blob, at: u64) -> Result<Self> {
        let header: Self = zerocopy::transmute!(file.read_array::<1024>(at)?);
        if header.cookie != *b"cxsparse" {
            return Err(Error::bad_input("the cookie is not cxsparse"));
        }
        check_sum(header.checksum, Self { checksum: 0.into(), ..header }.as_bytes())?;
        check_version(header.version)?;
        let block = u64::from(header.block_size.get());
        if !block.is_power_of_two() || !(SECTOR..=BLOCK_MAX).contains(&block) {
            return Err(Error::bad_input(format!("the block size is {block}, must be a power of two from {SECTOR} to {BLOCK_MAX}")));
        }
        Ok(header)
    }

    pub(super) fn dump(&self, to: &mut Dump) {
        to.field("table offset", self.table_offset);
        to.hex("version", self.version.get());
        to.field("max table entries", self.max_table_entries);
        to.field("block size", self.block_size);
        to.hex("checksum", self.checksum.get());
    }
}

/// Bytes of the sector bitmap of a block: a bit a sector, whole sectors.
fn bitmap_len(block: u64) -> u64 {
    (block / SECTOR).div_ceil(8).next_multiple_of(SECTOR)
}

/// The file of a dynamic disk.
pub(super) fn file(disk: &Blob, footer: &Footer) -> Blob {
    let blocks = disk.len().div_ceil(BLOCK);
    let bitmap = Blob::bytes(vec![0xff; units::index(bitmap_len(BLOCK))]);
    let bat_len = (blocks * 4).next_multiple_of(SECTOR);
    let mut bat = Table::filled_with(0xff);
    let mut payload = Blob::default();
    // Offsets of the payload are relative to here, the first bitmap.
    let start = (BAT_AT + bat_len + bitmap.len()).next_multiple_of(DATA_ALIGN) - bitmap.len();
    for run in disk.data_units(BLOCK) {
        let mut sectors = Vec::new();
        for block in run.clone() {
            let sector = (start + payload.len().next_multiple_of(DATA_ALIGN)) / SECTOR;
            sectors.extend(u32::try_from(sector).expect("SIZE_MAX leaves room for the bitmaps").to_be_bytes());
            payload.pad_to(DATA_ALIGN);
            payload.append(&bitmap);
            let end = payload.len() + BLOCK;
            payload.append(&disk.slice(block * BLOCK..disk.len().min((block + 1) * BLOCK)));
            payload.extend_to(end);
        }
        bat.put(run.start * 4, sectors);
    }
    let mut file = footer.blob();
    file.append(&Blob::bytes(DynamicHeader::new(blocks).as_bytes()));
    file.append(&bat.finish(bat_len));
    file.extend_to(start);
    file.append(&payload);
    file.append(&footer.blob());
    file
}

/// The disk in a file.
pub(super) fn disk(file: &Blob, footer: &Footer) -> Result<Blob> {
    let (header, bat) = DynamicHeader::find(file, footer)?;
    let (size, block_size) = (footer.disk_len()?, u64::from(header.block_size.get()));
    let mut claims = Claims::on(file);
    claims.claim(footer.data_offset.get(), 1024, || "VHD dynamic header".to_owned())?;
    claims.claim(header.table_offset.get(), bat.len(), || "VHD BAT".to_owned())?;
    let mut disk = Blob::default();
    for (block, entry) in (0_u64..).zip(blocks::entries(bat.clone())) {
        let sector = u32::from_be_bytes(entry?);
        if sector == ABSENT {
            continue;
        }
        let (first, bitmap_len) = (block * block_size, bitmap_len(block_size));
        let len = block_size.min(size - first);
        let place = claims.claim(u64::from(sector) * SECTOR, bitmap_len + len, || format!("VHD block {block}"))?;
        let mut bitmap = vec![0; units::index(bitmap_len)];
        file.read_at(place.start, &mut bitmap)?;
        let data = file.slice(place.start + bitmap_len..place.end);
        for run in set_runs(&bitmap, len / SECTOR) {
            disk.extend_to(first + run.start * SECTOR);
            disk.append(&data.slice(run.start * SECTOR..run.end * SECTOR));
        }
    }
    disk.extend_to(size);
    claims.finish()?;
    Ok(disk)
}

/// The runs of set bits among the first `count`; the most significant bit of a byte is the first.
fn set_runs(bitmap: &[u8], count: u64) -> impl Iterator<Item = Range<u64>> + '_ {
    let is_set = |bit: u64| bitmap[units::index(bit / 8)] & (0x80 >> (bit % 8)) != 0;
    let mut next = 0;
    std::iter::from_fn(move || {
        let start = (next..count).find(|bit| is_set(*bit))?;
        let end = (start..count).find(|bit| !is_set(*bit)).unwrap_or(count);
        next = end;
        Some(start..end)
    })
}
