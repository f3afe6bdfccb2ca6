//! Reading: the current header, the log, the regions, the metadata, the BAT.

use super::{
    BLOCK_MAX, BLOCK_MIN, FileParameters, HEADER_SECTION, HEADERS_AT, Header, LOGICAL_SECTORS, MetadataTableEntry, MetadataTableHeader,
    ParentLocatorEntry, ParentLocatorHeader, REGION_TABLES_AT, RegionTableEntry, RegionTableHeader, SIZE_MAX, TABLE_LEN, bat_entries,
    block_state, chunk_ratio, known, log, metadata_flags,
};
use crate::{
    Blob, Check, Env, Error, Info, Reading, Result,
    blocks::{self, Claims, Overlay, set_runs},
    crc32c::crc32c,
    dump::Dump,
    error::At,
    guid::Guid,
    reading::Parent,
    units::{self, MIB},
};
use encoding_rs::UTF_16LE;
use std::ops::Range;
use zerocopy::FromBytes;

/// Most entries of a region table or a metadata table.
const ENTRIES_MAX: usize = 2047;

/// The disk in a file, over its parent where it has one.
pub(super) fn disk(file: &Blob, reading: &Reading<'_>, env: &mut Env) -> Result<Blob> {
    let mut image = Image::open(file)?;
    let Metadata { size, block_size, logical_sector, .. } = image.metadata;
    let below = match &image.metadata.parent {
        Some(parent) => Some(parent.disk(size, reading, env)?),
        None => None,
    };
    let has_parent = below.is_some();
    let mut claims = std::mem::replace(&mut image.claims, Claims::on(file));
    let mut disk = Overlay::over(below);
    for entry in image.blocks() {
        let (block, entry) = entry?;
        let (at, end) = (block * block_size, size.min((block + 1) * block_size));
        let mut place = || claims.claim((entry >> 20) * MIB, end - at, || format!("VHDX block {block}"));
        match entry & 7 {
            block_state::NOT_PRESENT => {}
            block_state::UNDEFINED..=block_state::UNMAPPED => {
                disk.see_to(at);
                disk.zeros_to(end);
            }
            block_state::FULLY_PRESENT => {
                let place = place()?;
                disk.see_to(at);
                disk.append(&image.file.slice(place));
            }
            block_state::PARTIALLY_PRESENT if has_parent => {
                let data = image.file.slice(place()?);
                for run in image.present(block, (end - at) / logical_sector)? {
                    let run = run.start * logical_sector..run.end * logical_sector;
                    disk.see_to(at + run.start);
                    disk.append(&data.slice(run));
                }
            }
            block_state::PARTIALLY_PRESENT => {
                return Err(Error::bad_input(format!("VHDX BAT: block {block} is there in part, and the rest is no parent's")));
            }
            state => return Err(Error::bad_input(format!("VHDX BAT: the state of block {block} is {state}, which is reserved"))),
        }
    }
    claims.finish()?;
    Ok(disk.finish(size))
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
    let backing_file = image.metadata.parent.and_then(|parent| parent.names.into_iter().next());
    Ok(Info { cluster_size: Some(block_size), backing_file, specific, ..Info::default() })
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
        let needed = 8 * bat_entries(metadata.size.div_ceil(metadata.block_size), metadata.chunk_ratio(), metadata.parent.is_some());
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

    /// The runs of a block's first `count` sectors that the file has; the parent has the others (section 2.5.1.2).
    fn present(&self, block: u64, count: u64) -> Result<Vec<Range<u64>>> {
        let ratio = self.metadata.chunk_ratio();
        let index = (block / ratio + 1) * (ratio + 1) - 1;
        let entry = u64::from_le_bytes(self.bat.read_array(index * 8)?);
        if entry & 7 != BITMAP_PRESENT {
            return Err(Error::bad_input(format!("VHDX BAT: the state of the bitmap of block {block} is {}, must be 6", entry & 7)));
        }
        // One bit a sector, and the bits of a chunk fill the bitmap.
        let sectors = self.metadata.block_size / self.metadata.logical_sector;
        let at = ((entry >> 20) * MIB).saturating_add(block % ratio * sectors / 8);
        let len = count.div_ceil(8);
        if at.checked_add(len).is_none_or(|end| end > self.file.len()) {
            return Err(Error::bad_input(format!(
                "VHDX BAT: the bitmap of block {block} is at {at}, the file has {} bytes",
                self.file.len()
            )));
        }
        let bitmap = self.file.slice(at..at + len).to_vec(len)?;
        Ok(set_runs(count, |bit| bitmap[units::index(bit / 8)] & 1 << (bit % 8) != 0).collect())
    }
}

/// The state of a bitmap that is there (section 2.5.1.2).
const BITMAP_PRESENT: u64 = 6;

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
    parent: Option<Locator>,
}

impl Metadata {
    fn read(region: &Blob) -> Result<Self> {
        let items = Items::read(region)?;
        let parameters: FileParameters = zerocopy::transmute!(items.value::<8>(known::FILE_PARAMETERS)?);
        let parent = match parameters.flags.get() & FileParameters::HAS_PARENT {
            0 => None,
            _ => Some(Locator::read(&items).at(|| "parent locator")?),
        };
        let metadata = Self {
            size: u64::from_le_bytes(items.value(known::VIRTUAL_DISK_SIZE)?),
            block_size: parameters.block_size.get().into(),
            logical_sector: u32::from_le_bytes(items.value(known::LOGICAL_SECTOR_SIZE)?).into(),
            physical_sector: u32::from_le_bytes(items.value(known::PHYSICAL_SECTOR_SIZE)?).into(),
            disk_id: Guid::from_mixed_endian(items.value(known::VIRTUAL_DISK_ID)?),
            parent,
        };
        let Self { size, block_size, logical_sector, .. } = &metadata;
        let (size, block_size, logical_sector) = (*size, *block_size, *logical_sector);
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
        const KNOWN: [Guid; 6] = [
            known::FILE_PARAMETERS,
            known::VIRTUAL_DISK_SIZE,
            known::VIRTUAL_DISK_ID,
            known::LOGICAL_SECTOR_SIZE,
            known::PHYSICAL_SECTOR_SIZE,
            known::PARENT_LOCATOR,
        ];
        for entry in &self.entries {
            let (id, flags) = (Guid::from_mixed_endian(entry.item_id), entry.flags.get());
            if flags & metadata_flags::IS_REQUIRED != 0 && (flags & metadata_flags::IS_USER != 0 || !KNOWN.contains(&id)) {
                return Err(Error::unsupported(format!("the disk needs the unknown item {id}")));
            }
        }
        Ok(())
    }

    fn value<const N: usize>(&self, id: Guid) -> Result<[u8; N]> {
        let entry = self.entry(id)?;
        if u64::from(entry.length.get()) != units::bytes(N) {
            return Err(Error::bad_input(format!("the item {id} has {} bytes, must be {N}", entry.length)));
        }
        self.region.read_array(entry.offset.get().into())
    }

    fn entry(&self, id: Guid) -> Result<&MetadataTableEntry> {
        let entry = self.entries.iter().find(|entry| entry.item_id == id.to_mixed_endian());
        entry.ok_or_else(|| Error::bad_input(format!("the item {id} is missing")))
    }
}

/// The parent of a differencing disk (section 2.6.2.6).
struct Locator {
    /// Its paths, the relative one first.
    names: Vec<String>,
    /// What the parent's `DataWriteGuid` has to be.
    linkages: Vec<Guid>,
}

impl Locator {
    fn read(items: &Items<'_>) -> Result<Self> {
        /// One is allowed to fill the region.
        const LOCATOR_MAX: u64 = MIB;
        let entry = items.entry(known::PARENT_LOCATOR)?;
        let (at, len) = (u64::from(entry.offset.get()), u64::from(entry.length.get()));
        if at + len > items.region.len() || len > LOCATOR_MAX {
            return Err(Error::bad_input(format!("it has {len} bytes at {at}, the region has {}", items.region.len())));
        }
        let bytes = items.region.slice(at..at + len).to_vec(LOCATOR_MAX)?;
        let (header, rest) = ParentLocatorHeader::read_from_prefix(&bytes).map_err(|_| Error::bad_input("it ends in its header"))?;
        if Guid::from_mixed_endian(header.locator_type) != known::LOCATOR_OF_VHDX {
            return Err(Error::unsupported(format!("its type is {}", Guid::from_mixed_endian(header.locator_type))));
        }
        let (entries, _) = <[ParentLocatorEntry]>::ref_from_prefix_with_elems(rest, header.key_value_count.get().into())
            .map_err(|_| Error::bad_input(format!("it has {} entries, and ends in them", header.key_value_count)))?;
        let text = |at: u32, len: u16| {
            let start = usize::try_from(at).unwrap_or(usize::MAX);
            let text = bytes.get(start..start.saturating_add(len.into()));
            let text = text.ok_or_else(|| Error::bad_input(format!("a text of {len} bytes at {at}, it has {}", bytes.len())))?;
            Ok::<_, Error>(UTF_16LE.decode_without_bom_handling(text).0.into_owned())
        };
        let pairs = entries.iter().map(|entry| {
            let key = text(entry.key_offset.get(), entry.key_length.get())?;
            Ok((key, text(entry.value_offset.get(), entry.value_length.get())?))
        });
        let pairs = pairs.collect::<Result<Vec<(String, String)>>>()?;
        let values = |keys: &[&str]| {
            let of = |key: &&str| pairs.iter().find(|(found, _)| found == key).map(|(_, value)| value.clone());
            keys.iter().filter_map(of).collect::<Vec<_>>()
        };
        let linkages = values(&["parent_linkage", "parent_linkage2"]);
        let linkages = linkages.iter().map(|text| text.trim_matches(['{', '}']).parse()).collect::<Result<Vec<_>>>()?;
        Ok(Self { names: values(&["relative_path", "absolute_win32_path", "volume_path"]), linkages })
    }

    /// The disk below, `size` bytes of it.
    fn disk(&self, size: u64, reading: &Reading<'_>, env: &mut Env) -> Result<Blob> {
        let is_it = |file: &Blob| {
            let is_vhdx = file.len() >= HEADER_SECTION && file.read_array(0)? == *b"vhdxfile";
            Ok(is_vhdx && self.linkages.contains(&Guid::from_mixed_endian(current_header(file)?.data_write_guid)))
        };
        let identifier = self.linkages.first().map(ToString::to_string).unwrap_or_default();
        reading.parent(&Parent { names: self.names.clone(), identifier, ending: ".vhdx", is_it: &is_it }, size, env)
    }
}
