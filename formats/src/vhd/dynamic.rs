//! Dynamic disks: "Dynamic Disk Header Format", the BAT, and blocks with their bitmaps.

use super::footer::{Footer, VERSION_1_0, check_sum, check_version, checksum, disk_type};
use crate::{
    Blob, Env, Error, Reading, Result,
    blocks::{self, Claims, Overlay, Table, set_runs},
    dump::Dump,
    error::At,
    guid::Guid,
    reading::Parent,
    units::{self, MIB, SECTOR},
};
use encoding_rs::UTF_16LE;
use std::mem::offset_of;
use zerocopy::{
    FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned,
    big_endian::{U16, U32, U64},
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
    /// 40: the parent's identifier, zeros where there is none; so is what follows.
    parent_unique_id: [u8; 16],
    /// 56: when the parent was changed last, in seconds since 2000.
    parent_timestamp: U32,
    /// 60: 0.
    reserved: U32,
    /// 64: the parent's name, in UTF-16 up to a 0.
    parent_unicode_name: [U16; 256],
    /// 576: where its path is said.
    parent_locators: [ParentLocator; 8],
    /// 768: zeros.
    reserved2: [u8; 256],
}
const _: () = assert!(size_of::<DynamicHeader>() == 1024 && offset_of!(DynamicHeader, checksum) == 36);
const _: () = assert!(offset_of!(DynamicHeader, parent_unicode_name) == 64 && offset_of!(DynamicHeader, parent_locators) == 576);

/// "Parent Locator Entry".
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ParentLocator {
    /// 0: of which kind the path is, `W2ru` or `W2ku`.
    platform_code: [u8; 4],
    /// 4: bytes, or sectors, that are kept for it.
    platform_data_space: U32,
    /// 8: its bytes.
    platform_data_length: U32,
    /// 12: 0.
    reserved: U32,
    /// 16: where it is in the file.
    platform_data_offset: U64,
}
const _: () = assert!(size_of::<ParentLocator>() == 24);

/// A relative path of Windows, and an absolute one: UTF-16, little-endian.
const LOCATORS: [[u8; 4]; 2] = [*b"W2ru", *b"W2ku"];

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
            parent_unique_id: [0; 16],
            parent_timestamp: 0.into(),
            reserved: 0.into(),
            parent_unicode_name: [U16::ZERO; 256],
            parent_locators: [ParentLocator::new_zeroed(); 8],
            reserved2: [0; 256],
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

    /// What the parent is called: its relative path, its absolute one, its name.
    pub(super) fn parent_names(&self, file: &Blob) -> Result<Vec<String>> {
        /// Longer than any path of Windows.
        const PATH_MAX: u64 = 1 << 16;
        let mut names = Vec::new();
        for code in LOCATORS {
            for locator in self.parent_locators.iter().filter(|locator| locator.platform_code == code) {
                let (at, len) = (locator.platform_data_offset.get(), u64::from(locator.platform_data_length.get()));
                let Some(end) = at.checked_add(len).filter(|end| *end <= file.len() && len <= PATH_MAX) else {
                    return Err(
                        Error::bad_input(format!("a path of {len} bytes at {at}, the file has {}", file.len())).at("VHD parent locator")
                    );
                };
                names.push(UTF_16LE.decode_without_bom_handling(&file.slice(at..end).to_vec(PATH_MAX)?).0.into_owned());
            }
        }
        let units: Vec<u16> = self.parent_unicode_name.iter().map(|unit| unit.get()).take_while(|unit| *unit != 0).collect();
        names.push(String::from_utf16_lossy(&units));
        names.iter_mut().for_each(|name| name.truncate(name.trim_end_matches('\0').len()));
        names.retain(|name| !name.is_empty());
        Ok(names)
    }

    /// The disk below a differencing one.
    fn parent(&self, file: &Blob, size: u64, reading: &Reading<'_>, env: &mut Env) -> Result<Blob> {
        let is_it = |parent: &Blob| Ok(Footer::probe(parent)? && Footer::find(parent)?.unique_id == self.parent_unique_id);
        let identifier = Guid::new(u128::from_be_bytes(self.parent_unique_id)).to_string();
        let parent = Parent { names: self.parent_names(file)?, identifier, ending: ".vhd", is_it: &is_it };
        reading.parent(&parent, size, env)
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

/// The disk in a file, over its parent where it has one.
pub(super) fn disk(file: &Blob, footer: &Footer, reading: &Reading<'_>, env: &mut Env) -> Result<Blob> {
    let (header, bat) = DynamicHeader::find(file, footer)?;
    let (size, block_size) = (footer.disk_len()?, u64::from(header.block_size.get()));
    let mut claims = Claims::on(file);
    claims.claim(footer.data_offset.get(), 1024, || "VHD dynamic header".to_owned())?;
    claims.claim(header.table_offset.get(), bat.len(), || "VHD BAT".to_owned())?;
    let is_differencing = footer.disk_type == disk_type::DIFFERENCING;
    let parent = if is_differencing { Some(header.parent(file, size, reading, env)?) } else { None };
    let mut disk = Overlay::over(parent);
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
        // The most significant bit of a byte is the first.
        for run in set_runs(len / SECTOR, |bit| bitmap[units::index(bit / 8)] & 0x80 >> (bit % 8) != 0) {
            disk.see_to(first + run.start * SECTOR);
            disk.append(&data.slice(run.start * SECTOR..run.end * SECTOR));
        }
    }
    claims.finish()?;
    Ok(disk.finish(size))
}
