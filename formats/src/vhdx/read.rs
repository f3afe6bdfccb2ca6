//! Reading: the current header, the log, the regions, the metadata, the BAT.

use super::{
    BLOCK_MAX, BLOCK_MIN, FileParameters, HEADER_SECTION, HEADERS_AT, Header, LOGICAL_SECTORS, MetadataTableEntry, MetadataTableHeader,
    REGION_TABLES_AT, RegionTableEntry, RegionTableHeader, SIZE_MAX, TABLE_LEN, bat_entries, block_state, chunk_ratio, known, log,
    metadata_flags,
};
use crate::{
    Blob, Check, Error, Info, Result,
    blocks::{self, Claims},
    crc32c::crc32c,
    dump::Dump,
    error::At,
    guid::Guid,
    units::{self, MIB},
};
use zerocopy::FromBytes;

/// Most entries of a region table or a metadata table.
const ENTRIES_MAX: usize = 2047;

/// The disk in a file.
pub(super) fn disk(file: &Blob) -> Result<Blob> {
    let mut image = Image::open(file)?;
    let Metadata { size, block_size, .. } = image.metadata;
    let mut claims = std::mem::replace(&mut image.claims, Claims::on(file));
    let mut disk = Blob::default();
    for entry in image.blocks() {
        let (block, entry) = entry?;
        let at = block * block_size;
        match entry & 7 {
            block_state::NOT_PRESENT..=block_state::UNMAPPED => {}
            block_state::FULLY_PRESENT => {
                let place = claims.claim((entry >> 20) * MIB, block_size.min(size - at), || format!("VHDX block {block}"))?;
                disk.extend_to(at);
                disk.append(&image.file.slice(place));
            }
            block_state::PARTIALLY_PRESENT => return Err(differencing()),
            state => return Err(Error::bad_input(format!("VHDX BAT: the state of block {block} is {state}, which is reserved"))),
        }
    }
    disk.extend_to(size);
    claims.finish()?;
    Ok(disk)
}

/// Bytes of a logical sector.
pub(super) fn sector(file: &Blob) -> Result<u64> {
    Ok(Image::open(file)?.metadata.logical_sector)
}

pub(super) fn info(file: &Blob) -> Result<Info> {
    let image = Image::open(file)?;
    let Metadata { block_size, logical_sector, physical_sector, .. } = image.metadata;
    let has_log = image.header.log_guid != [0; 16];
    let specific = vec![
        ("block-size", block_size.into()),
        ("logical-sector-size", logical_sector.into()),
        ("physical-sector-size", physical_sector.into()),
        ("log-to-replay", has_log.into()),
    ];
    Ok(Info { cluster_size: Some(block_size), specific, ..Info::default() })
}

/// Whoever had the file open last did not close it. We read it all the same; qemu refuses to, and Hyper-V first writes the log back.
pub(super) fn check_log(file: &Blob, check: &mut Check) -> Result<()> {
    if current_header(file)?.log_guid != [0; 16] {
        check.corrupt(|| {
            "the log has changes that were not written back: the file is in use, or was not closed properly; \
             'qemu-img check -r all' writes them back"
                .to_owned()
        });
    }
    Ok(())
}

/// Headers and region tables are there twice, so that one may be lost while it is written.
pub(super) fn check_copies(file: &Blob, check: &mut Check) -> Result<()> {
    for (number, at) in (1..).zip(HEADERS_AT) {
        if header(file, at)?.is_none() {
            check.corrupt(|| format!("header {number} is damaged"));
        }
    }
    for (number, at) in (1..).zip(REGION_TABLES_AT) {
        if region_entries(file, at)?.is_none() {
            check.corrupt(|| format!("region table {number} is damaged"));
        }
    }
    Ok(())
}

/// The structures of a file.
pub(super) fn dump(file: &Blob, to: &mut Dump) -> Result<()> {
    let image = Image::open(file)?;
    to.section("header", |to| {
        let header = &image.header;
        to.field("sequence number", header.sequence_number);
        to.field("file write guid", Guid::from_mixed_endian(header.file_write_guid));
        to.field("data write guid", Guid::from_mixed_endian(header.data_write_guid));
        to.field("log guid", Guid::from_mixed_endian(header.log_guid));
        to.field("log length", header.log_length);
        to.field("log offset", header.log_offset);
    });
    to.section("regions", |to| {
        for entry in &image.regions {
            to.field(&Guid::from_mixed_endian(entry.guid).to_string(), format_args!("{} bytes at {}", entry.length, entry.file_offset));
        }
    });
    to.section("metadata", |to| image.metadata.dump(to));
    to.section("bat", |to| {
        for entry in image.blocks() {
            let (block, entry) = entry?;
            if !matches!(entry & 7, block_state::NOT_PRESENT | block_state::ZERO) {
                to.field(&format!("block {block}"), format_args!("state {}, MiB {}", entry & 7, entry >> 20));
            }
        }
        Ok(())
    })
}

/// A file whose structures were read and checked.
struct Image {
    /// The file with its log replayed.
    file: Blob,
    header: Header,
    regions: Vec<RegionTableEntry>,
    metadata: Metadata,
    /// The part of the BAT that covers the disk.
    bat: Blob,
    claims: Claims,
}

impl Image {
    fn open(file: &Blob) -> Result<Self> {
        if file.len() < HEADER_SECTION || file.read_array(0)? != *b"vhdxfile" {
            return Err(Error::bad_input("no VHDX: it does not start with vhdxfile, or is shorter than 1 MiB"));
        }
        let header = current_header(file)?;
        let file = log::replay(file, &header).at(|| "VHDX log")?;
        let mut claims = Claims::on(&file);
        claims.claim(0, HEADER_SECTION, || "VHDX header section".to_owned())?;
        claims.claim(header.log_offset.get(), header.log_length.get().into(), || "VHDX log".to_owned())?;
        let regions = region_table(&file)?;
        let mut region = |guid: Guid, name: &str| -> Result<Blob> {
            let entry = regions.iter().find(|entry| entry.guid == guid.to_mixed_endian());
            let entry = entry.ok_or_else(|| Error::bad_input(format!("VHDX region table: it has no {name} region")))?;
            Ok(file.slice(claims.claim(entry.file_offset.get(), entry.length.get().into(), || format!("VHDX {name} region"))?))
        };
        let (metadata, bat) = (region(known::METADATA, "metadata")?, region(known::BAT, "BAT")?);
        let metadata = Metadata::read(&metadata).at(|| "VHDX metadata")?;
        let needed = 8 * bat_entries(metadata.size.div_ceil(metadata.block_size), metadata.chunk_ratio());
        if needed > bat.len() {
            return Err(Error::bad_input(format!("the VHDX BAT has {} bytes, must be {needed} for the disk", bat.len())));
        }
        Ok(Self { bat: bat.slice(0..needed), file, header, regions, metadata, claims })
    }

    /// Number and BAT entry of every block, without those of the sector bitmaps.
    fn blocks(&self) -> impl Iterator<Item = Result<(u64, u64)>> {
        let period = self.metadata.chunk_ratio() + 1;
        (0_u64..)
            .zip(blocks::entries(self.bat.clone()))
            .filter(move |(index, _)| index % period != period - 1)
            .map(move |(index, entry)| Ok((index - index / period, u64::from_le_bytes(entry?))))
    }
}

/// The header at a place, if it is valid.
fn header(file: &Blob, at: u64) -> Result<Option<Header>> {
    let header: Header = zerocopy::transmute!(file.read_array::<4096>(at)?);
    Ok((header.signature == *b"head" && header.checksum == header.right_checksum()).then_some(header))
}

/// The valid header with the higher sequence number (section 2.2.2).
fn current_header(file: &Blob) -> Result<Header> {
    let [first, second] = [header(file, HEADERS_AT[0])?, header(file, HEADERS_AT[1])?];
    let header = [first, second].into_iter().flatten().max_by_key(|header| header.sequence_number.get());
    let header = header.ok_or_else(|| Error::bad_input("both VHDX headers are damaged: neither has its signature and checksum"))?;
    if header.version != 1 {
        return Err(Error::unsupported(format!("the VHDX version is {}, must be 1", header.version)));
    }
    Ok(header)
}

/// The first valid region table (section 2.2.3).
fn region_table(file: &Blob) -> Result<Vec<RegionTableEntry>> {
    for at in REGION_TABLES_AT {
        let Some(entries) = region_entries(file, at)? else { continue };
        let is_known = |entry: &RegionTableEntry| [known::BAT, known::METADATA].iter().any(|known| known.to_mixed_endian() == entry.guid);
        if let Some(entry) = entries.iter().find(|entry| entry.required != 0 && !is_known(entry)) {
            return Err(Error::unsupported(format!("the VHDX needs the unknown region {}", Guid::from_mixed_endian(entry.guid))));
        }
        return Ok(entries);
    }
    Err(Error::bad_input("both VHDX region tables are damaged: neither has its signature and checksum"))
}

/// The entries of the region table at a place, if it is valid.
fn region_entries(file: &Blob, at: u64) -> Result<Option<Vec<RegionTableEntry>>> {
    let mut bytes = file.slice(at..at + TABLE_LEN).to_vec(TABLE_LEN)?;
    let (header, _) = RegionTableHeader::read_from_prefix(&bytes).expect("64 KiB hold a header");
    bytes[4..8].fill(0);
    let count = usize::try_from(header.entry_count.get()).unwrap_or(usize::MAX);
    if header.signature != *b"regi" || header.checksum != crc32c(&bytes) || count > ENTRIES_MAX {
        return Ok(None);
    }
    let table = &bytes[size_of::<RegionTableHeader>()..];
    let (entries, _) = <[RegionTableEntry]>::ref_from_prefix_with_elems(table, count).expect("64 KiB hold ENTRIES_MAX");
    Ok(Some(entries.to_vec()))
}

/// The system's items of the metadata region.
struct Metadata {
    size: u64,
    block_size: u64,
    logical_sector: u64,
    physical_sector: u64,
    disk_id: Guid,
}

impl Metadata {
    fn read(region: &Blob) -> Result<Self> {
        let items = Items::read(region)?;
        let parameters: FileParameters = zerocopy::transmute!(items.value::<8>(known::FILE_PARAMETERS)?);
        if parameters.flags.get() & FileParameters::HAS_PARENT != 0 {
            return Err(differencing());
        }
        let metadata = Self {
            size: u64::from_le_bytes(items.value(known::VIRTUAL_DISK_SIZE)?),
            block_size: parameters.block_size.get().into(),
            logical_sector: u32::from_le_bytes(items.value(known::LOGICAL_SECTOR_SIZE)?).into(),
            physical_sector: u32::from_le_bytes(items.value(known::PHYSICAL_SECTOR_SIZE)?).into(),
            disk_id: Guid::from_mixed_endian(items.value(known::VIRTUAL_DISK_ID)?),
        };
        let Self { size, block_size, logical_sector, .. } = metadata;
        if !block_size.is_power_of_two() || !(BLOCK_MIN..=BLOCK_MAX).contains(&block_size) {
            return Err(Error::bad_input(format!("the block size is {block_size}, must be a power of two from 1 MiB to 256 MiB")));
        }
        if !LOGICAL_SECTORS.contains(&logical_sector) {
            return Err(Error::bad_input(format!("the logical sector size is {logical_sector}, must be 512 or 4096")));
        }
        if size > SIZE_MAX || !size.is_multiple_of(logical_sector) {
            return Err(Error::bad_input(format!("the disk has {size} bytes, must be whole sectors of {logical_sector}, at most 64 TiB")));
        }
        Ok(metadata)
    }

    fn chunk_ratio(&self) -> u64 {
        chunk_ratio(self.block_size, self.logical_sector)
    }

    fn dump(&self, to: &mut Dump) {
        to.field("virtual disk size", self.size);
        to.field("block size", self.block_size);
        to.field("logical sector size", self.logical_sector);
        to.field("physical sector size", self.physical_sector);
        to.field("virtual disk id", self.disk_id);
    }
}

/// The metadata table (section 2.6.1) and the region it describes.
struct Items<'a> {
    region: &'a Blob,
    entries: Vec<MetadataTableEntry>,
}

impl<'a> Items<'a> {
    fn read(region: &'a Blob) -> Result<Self> {
        let mut bytes = vec![0; units::index(TABLE_LEN)];
        region.read_at(0, &mut bytes)?;
        let (header, _) = MetadataTableHeader::read_from_prefix(&bytes).expect("64 KiB hold a header");
        let count = usize::from(header.entry_count.get());
        if header.signature != *b"metadata" || count > ENTRIES_MAX {
            return Err(Error::bad_input(format!("the table is damaged: its signature is wrong, or it has {count} entries, at most 2047")));
        }
        let table = &bytes[size_of::<MetadataTableHeader>()..];
        let (entries, _) = <[MetadataTableEntry]>::ref_from_prefix_with_elems(table, count).expect("64 KiB hold ENTRIES_MAX");
        let items = Self { region, entries: entries.to_vec() };
        items.refuse_unknown()?;
        Ok(items)
    }

    fn refuse_unknown(&self) -> Result<()> {
        const KNOWN: [Guid; 5] = [
            known::FILE_PARAMETERS,
            known::VIRTUAL_DISK_SIZE,
            known::VIRTUAL_DISK_ID,
            known::LOGICAL_SECTOR_SIZE,
            known::PHYSICAL_SECTOR_SIZE,
        ];
        for entry in &self.entries {
            let (id, flags) = (Guid::from_mixed_endian(entry.item_id), entry.flags.get());
            if id == known::PARENT_LOCATOR {
                return Err(differencing());
            }
            if flags & metadata_flags::IS_REQUIRED != 0 && (flags & metadata_flags::IS_USER != 0 || !KNOWN.contains(&id)) {
                return Err(Error::unsupported(format!("the disk needs the unknown item {id}")));
            }
        }
        Ok(())
    }

    fn value<const N: usize>(&self, id: Guid) -> Result<[u8; N]> {
        let entry = self.entries.iter().find(|entry| entry.item_id == id.to_mixed_endian());
        let entry = entry.ok_or_else(|| Error::bad_input(format!("the item {id} is missing")))?;
        if u64::from(entry.length.get()) != units::bytes(N) {
            return Err(Error::bad_input(format!("the item {id} has {} bytes, must be {N}", entry.length)));
        }
        self.region.read_array(entry.offset.get().into())
    }
}

fn differencing() -> Error {
    Error::unsupported("a differencing VHDX needs its parent disk, which is not followed").hint("merge it into its parent first")
}
