//! VHD: Microsoft "Virtual Hard Disk Image Format Specification", version 1.0 (2006). All integers are big-endian.
//!
//! ```text
//! fixed     | disk ................................................. | footer |
//!
//!           0        512              1536     data - 512     data: 4 KiB aligned
//! dynamic   | footer | dynamic header | BAT .. | sector bitmap | 2 MiB block | bitmap | block | ... | footer |
//!             copy     "cxsparse"       u32 sector of each block's bitmap, 0xffffffff: absent, reads as zeros
//! ```
//! Written: fixed (what Azure takes) and dynamic, whole MiB up to 2040 GiB. The creator is `win `, as Hyper-V writes it: readers
//! know from it that the size is Current Size; for some other creators they take the product of the geometry, which is smaller.
//! Blocks lie so that their data is 4 KiB aligned, as large-sector hosts want it; all bits of a written bitmap are set.
//!
//! Refused when read: differencing disks, types and versions that the standard does not define, footers with a wrong checksum.
//!
//! Oracles: `qemu-img` (which calls it `vpc`), 7-Zip, oslo.utils.
//!
//! ```
//! use formats::{Blob, Env, Format, Ids, Options, Reading, vhd::Vhd};
//!
//! let env = &mut Env::scratch(1);
//! let mut disk = Blob::zeros(64 << 20);
//! disk.splice(1 << 20, &Blob::bytes(*b"content"));
//! let options = Options::parse(Vhd.options(), [("subformat", "dynamic")])?;
//! let plan = Vhd.plan(&options)?;
//! assert_eq!(plan.limits().size_multiple, 1 << 20, "what Azure asks for");
//! let file = plan.encode(&disk, &Ids::from_seed(b"my disk").into(), env)?;
//! assert!(file.len() < 4 << 20, "one block of 2 MiB, header and tables");
//! assert_eq!(Vhd.decode(&file, &Reading::default(), env)?.sha256()?, disk.sha256()?);
//! # Ok::<(), formats::Error>(())
//! ```

use crate::{
    Blob, Check, Env, Error, Format, Identity, Ids, Info, Limits, OptionSpec, Options, Plan, Reading, Result, Timestamp, Values,
    blocks::{self, Claims, Table},
    dump::Dump,
    error::At,
    guid::Guid,
    units::{self, GIB, MIB, SECTOR},
};
use std::mem::offset_of;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    big_endian::{U16, U32, U64},
};

/// The VHD format.
#[derive(Debug)]
pub struct Vhd;

static OPTIONS: [OptionSpec; 1] = [OptionSpec {
    name: "subformat",
    values: Values::Choice(&["fixed", "dynamic"]),
    default: "fixed",
    help: "fixed: the whole disk and a footer, for Azure; dynamic: only the blocks that hold data",
}];

/// Largest disk: what the geometry and 32-bit sector numbers of the BAT leave room for.
const SIZE_MAX: u64 = 2040 * GIB;
/// Where the dynamic header is: behind the copy of the footer.
const DYNAMIC_HEADER_AT: u64 = 512;
/// Where the BAT is: behind the dynamic header.
const BAT_AT: u64 = 1536;
/// Block size that we write, the default of the standard.
const BLOCK: u64 = 2 * MIB;
/// Largest block size that we read.
const BLOCK_MAX: u64 = 256 * MIB;
/// What the data of a block is aligned to.
const DATA_ALIGN: u64 = 4096;
/// A BAT entry without a block.
const ABSENT: u32 = u32::MAX;
/// 2000-01-01 00:00:00 UTC, where the format's time starts.
const EPOCH: i64 = 946_684_800;

/// "Hard Disk Footer Format".
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Footer {
    /// 0: `conectix`.
    cookie: [u8; 8],
    /// 8: bit 1 is reserved and always set.
    features: U32,
    /// 12: 1.0.
    version: U32,
    /// 16: where the dynamic header is; all ones in a fixed disk.
    data_offset: U64,
    /// 24: seconds since 2000.
    timestamp: U32,
    /// 28: who wrote it.
    creator_application: [u8; 4],
    /// 32: its version, major and minor in 16 bits each.
    creator_version: U32,
    /// 36: its system, `Wi2k` or `Mac `.
    creator_host_os: [u8; 4],
    /// 40: bytes of the disk when it was made.
    original_size: U64,
    /// 48: bytes of the disk now.
    current_size: U64,
    /// 56: what an ATA controller shows.
    geometry: Geometry,
    /// 60: 2 fixed, 3 dynamic, 4 differencing.
    disk_type: U32,
    /// 64: see [`checksum`].
    checksum: U32,
    /// 68: identifies the disk.
    unique_id: [u8; 16],
    /// 84: 1 when the machine is suspended.
    saved_state: u8,
    /// 85: zeros.
    reserved: [u8; 427],
}
const _: () = assert!(size_of::<Footer>() == 512 && offset_of!(Footer, checksum) == 64 && offset_of!(Footer, saved_state) == 84);

/// Cylinders, heads, sectors per track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Geometry {
    cylinders: U16,
    heads: u8,
    sectors: u8,
}

/// "Dynamic Disk Header Format".
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct DynamicHeader {
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
    block_size: U32,
    /// 36: see [`checksum`].
    checksum: U32,
    /// 40: zeros but in a differencing disk, up to the end.
    parent: [u8; 984],
}
const _: () = assert!(size_of::<DynamicHeader>() == 1024 && offset_of!(DynamicHeader, checksum) == 36);

/// Values of [`Footer::disk_type`].
mod disk_type {
    pub(super) const FIXED: u32 = 2;
    pub(super) const DYNAMIC: u32 = 3;
    pub(super) const DIFFERENCING: u32 = 4;
}

const VERSION_1_0: u32 = 0x0001_0000;

impl Format for Vhd {
    fn name(&self) -> &'static str {
        "vhd"
    }

    fn options(&self) -> &'static [OptionSpec] {
        &OPTIONS
    }

    fn probe(&self, file: &Blob) -> Result<bool> {
        let magic = |at| -> Result<bool> { Ok(file.read_array(at)? == *b"conectix") };
        Ok(file.len() >= SECTOR && (magic(0)? || magic(file.len() - SECTOR)?))
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["vpc"]
    }

    fn plan(&self, options: &Options) -> Result<Box<dyn Plan>> {
        Ok(Box::new(match options.word("subformat") {
            "dynamic" => Subformat::Dynamic,
            _ => Subformat::Fixed,
        }))
    }

    fn decode(&self, file: &Blob, reading: &Reading<'_>, _: &mut Env) -> Result<Blob> {
        reading.refuse_snapshot(self.name())?;
        let footer = Footer::find(file)?;
        match footer.disk_type.get() {
            disk_type::FIXED => fixed_disk(file, &footer),
            disk_type::DYNAMIC => {
                footer.agrees_with_copy(file)?;
                dynamic_disk(file, &footer)
            }
            disk_type::DIFFERENCING => Err(Error::unsupported("a differencing VHD needs its parent disk, which is not followed")
                .hint("merge it into its parent first")),
            other => Err(Error::bad_input(format!("VHD footer: disk type is {other}, must be 2 or 3"))),
        }
    }

    fn info(&self, file: &Blob) -> Result<Info> {
        let footer = Footer::find(file)?;
        let (kind, cluster_size) = match footer.disk_type.get() {
            disk_type::DYNAMIC => ("dynamic", Some(DynamicHeader::find(file, &footer)?.0.block_size.get().into())),
            _ => ("fixed", None),
        };
        let specific = vec![("subformat", kind.into()), ("creator", footer.creator_application.escape_ascii().to_string().into())];
        Ok(Info { cluster_size, specific, ..Info::default() })
    }

    /// A dynamic disk has its footer twice.
    fn check(&self, file: &Blob, env: &mut Env) -> Result<Check> {
        let mut check = Check::default();
        if check.decoded(self.decode(file, &Reading::default(), env))?.is_none() {
            return Ok(check);
        }
        let mut read = |at, name: &str| match Footer::read(file, at) {
            Ok(footer) => Some(footer),
            Err(error) => {
                check.corrupt(|| format!("the {name} is damaged: {error}"));
                None
            }
        };
        let footer = read(file.len() - SECTOR, "footer");
        if Footer::find(file)?.disk_type == disk_type::DYNAMIC
            && let (Some(footer), Some(copy)) = (footer, read(0, "copy of the footer"))
            && footer.as_bytes() != copy.as_bytes()
        {
            check.corrupt(|| "the footer and its copy differ".to_owned());
        }
        Ok(check)
    }

    fn dump(&self, file: &Blob, to: &mut Dump) -> Result<()> {
        let footer = Footer::find(file)?;
        to.section("footer", |to| footer.dump(to));
        if footer.disk_type != disk_type::DYNAMIC {
            return Ok(());
        }
        let (header, bat) = DynamicHeader::find(file, &footer)?;
        to.section("dynamic header", |to| header.dump(to));
        to.section("bat", |to| {
            for (block, entry) in (0_u64..).zip(blocks::entries(bat)) {
                match u32::from_be_bytes(entry?) {
                    ABSENT => {}
                    sector => to.field(&format!("block {block}"), format_args!("sector {sector}")),
                }
            }
            Ok(())
        })
    }
}

/// The sub-formats that we write.
#[derive(Debug)]
enum Subformat {
    Fixed,
    Dynamic,
}

impl Plan for Subformat {
    fn limits(&self) -> Limits {
        Limits { size_multiple: MIB, size_max: SIZE_MAX }
    }

    fn encode(&self, disk: &Blob, identity: &Identity, env: &mut Env) -> Result<Blob> {
        self.limits().assert_hold(disk);
        let ids = identity.ids(env)?;
        Ok(match self {
            Self::Dynamic => dynamic(disk, &Footer::new(disk, disk_type::DYNAMIC, ids, env.time)),
            Self::Fixed => {
                let mut file = disk.clone();
                file.append(&Footer::new(disk, disk_type::FIXED, ids, env.time).blob());
                file
            }
        })
    }
}

impl Footer {
    fn new(disk: &Blob, disk_type: u32, ids: &Ids, time: Timestamp) -> Self {
        let mut footer = Self {
            cookie: *b"conectix",
            features: 2.into(),
            version: VERSION_1_0.into(),
            data_offset: if disk_type == disk_type::DYNAMIC { DYNAMIC_HEADER_AT } else { u64::MAX }.into(),
            timestamp: timestamp(time).into(),
            creator_application: *b"win ",
            creator_version: 0x000a_0000.into(),
            creator_host_os: *b"Wi2k",
            original_size: disk.len().into(),
            current_size: disk.len().into(),
            geometry: Geometry::of(disk.len() / SECTOR),
            disk_type: disk_type.into(),
            checksum: 0.into(),
            unique_id: *ids.guid("vhd unique id").as_bytes(),
            saved_state: 0,
            reserved: [0; 427],
        };
        footer.checksum = checksum(footer.as_bytes()).into();
        footer
    }

    fn blob(&self) -> Blob {
        Blob::bytes(self.as_bytes())
    }

    /// The footer, or where it is damaged the copy that dynamic disks have in front.
    fn find(file: &Blob) -> Result<Self> {
        let last = file.len().checked_sub(SECTOR).ok_or_else(|| Error::bad_input(format!("{} bytes are no VHD", file.len())))?;
        Self::read(file, last).or_else(|error| Self::read(file, 0).map_err(|_| error)).at(|| "VHD footer")
    }

    fn read(file: &Blob, at: u64) -> Result<Self> {
        let footer: Self = zerocopy::transmute!(file.read_array::<512>(at)?);
        if footer.cookie != *b"conectix" {
            return Err(Error::bad_input("the cookie is not conectix"));
        }
        check_sum(footer.checksum, Self { checksum: 0.into(), ..footer }.as_bytes())?;
        check_version(footer.version)?;
        Ok(footer)
    }

    /// Refuses two valid footers that lead to different disks: some readers go by the one, some by the other.
    fn agrees_with_copy(&self, file: &Blob) -> Result<()> {
        let leads_to = |footer: &Self| (footer.disk_type, footer.data_offset, footer.disk_len().ok());
        match Self::read(file, 0) {
            Ok(copy) if leads_to(&copy) != leads_to(self) => {
                Err(Error::bad_input("VHD footer: it and its copy at the start of the file are valid and contradict each other"))
            }
            _ => Ok(()),
        }
    }

    /// Bytes of the disk. Virtual PC and old qemu show the guest the product of the geometry, everyone else Current Size.
    fn disk_len(&self) -> Result<u64> {
        let by_geometry = matches!(&self.creator_application, b"vpc " | b"qemu") && self.geometry != Geometry::LARGEST;
        let size = if by_geometry { self.geometry.sectors() * SECTOR } else { self.current_size.get() };
        if size > SIZE_MAX || !size.is_multiple_of(SECTOR) {
            return Err(Error::bad_input(format!(
                "VHD footer: the disk has {size} bytes, must be whole sectors, at most {SIZE_MAX} bytes"
            )));
        }
        Ok(size)
    }

    fn dump(&self, to: &mut Dump) {
        to.hex("features", self.features.get());
        to.hex("version", self.version.get());
        to.hex("data offset", self.data_offset.get());
        to.field("timestamp", self.timestamp);
        to.field("creator application", self.creator_application.escape_ascii());
        to.hex("creator version", self.creator_version.get());
        to.field("creator host os", self.creator_host_os.escape_ascii());
        to.field("original size", self.original_size);
        to.field("current size", self.current_size);
        let Geometry { cylinders, heads, sectors } = self.geometry;
        to.field("geometry", format_args!("{cylinders}/{heads}/{sectors}"));
        to.field("disk type", self.disk_type);
        to.hex("checksum", self.checksum.get());
        to.field("unique id", Guid::new(u128::from_be_bytes(self.unique_id)));
        to.field("saved state", self.saved_state);
    }
}

impl Geometry {
    /// What the standard's appendix gives every disk that is too large for it.
    const LARGEST: Self = Self { cylinders: U16::new(65535), heads: 16, sectors: 255 };

    /// Appendix "CHS Calculation".
    fn of(total_sectors: u64) -> Self {
        let total = total_sectors.min(65535 * 16 * 255);
        let (heads, sectors) = if total >= 65535 * 16 * 63 {
            (16, 255)
        } else {
            let tracks = total / 17;
            let heads = tracks.div_ceil(1024).max(4);
            if tracks < heads * 1024 && heads <= 16 {
                (heads, 17)
            } else if total / 31 < 16 * 1024 {
                (16, 31)
            } else {
                (16, 63)
            }
        };
        let narrow = |value: u64| u8::try_from(value).expect("at most 255 as chosen above");
        let cylinders = u16::try_from(total / sectors / heads).expect("at most 65535 as limited above");
        Self { cylinders: cylinders.into(), heads: narrow(heads), sectors: narrow(sectors) }
    }

    fn sectors(self) -> u64 {
        u64::from(self.cylinders.get()) * u64::from(self.heads) * u64::from(self.sectors)
    }
}

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
    fn find(file: &Blob, footer: &Footer) -> Result<(Self, Blob)> {
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

    fn dump(&self, to: &mut Dump) {
        to.field("table offset", self.table_offset);
        to.hex("version", self.version.get());
        to.field("max table entries", self.max_table_entries);
        to.field("block size", self.block_size);
        to.hex("checksum", self.checksum.get());
    }
}

fn check_sum(found: U32, zeroed: &[u8]) -> Result<()> {
    match checksum(zeroed) {
        right if found == right => Ok(()),
        right => Err(Error::bad_input(format!("the checksum is {found:#x}, must be {right:#x}"))),
    }
}

fn check_version(version: U32) -> Result<()> {
    match version.get() {
        VERSION_1_0 => Ok(()),
        other => Err(Error::unsupported(format!("the version is {other:#x}, must be {VERSION_1_0:#x}"))),
    }
}

/// One's complement of the sum of all bytes, the checksum field as zeros.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>()
}

/// Seconds since 2000, as near as 32 bits allow.
fn timestamp(time: Timestamp) -> u32 {
    u32::try_from(time.0.saturating_sub(EPOCH).max(0)).unwrap_or(u32::MAX)
}

/// Bytes of the sector bitmap of a block: a bit a sector, whole sectors.
fn bitmap_len(block: u64) -> u64 {
    (block / SECTOR).div_ceil(8).next_multiple_of(SECTOR)
}

fn dynamic(disk: &Blob, footer: &Footer) -> Blob {
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

fn fixed_disk(file: &Blob, footer: &Footer) -> Result<Blob> {
    let (size, room) = (footer.disk_len()?, file.len() - SECTOR);
    if size > room {
        return Err(Error::bad_input(format!("VHD footer: the disk has {size} bytes, the file holds only {room}")));
    }
    Ok(file.slice(0..size))
}

fn dynamic_disk(file: &Blob, footer: &Footer) -> Result<Blob> {
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
fn set_runs(bitmap: &[u8], count: u64) -> impl Iterator<Item = std::ops::Range<u64>> + '_ {
    let is_set = |bit: u64| bitmap[units::index(bit / 8)] & (0x80 >> (bit % 8)) != 0;
    let mut next = 0;
    std::iter::from_fn(move || {
        let start = (next..count).find(|bit| is_set(*bit))?;
        let end = (start..count).find(|bit| !is_set(*bit)).unwrap_or(count);
        next = end;
        Some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, env};

    fn sample() -> Blob {
        let mut disk = Blob::zeros(9 * MIB);
        disk.splice(0, &Blob::bytes(*b"first"));
        disk.splice(5 * MIB - 3, &Blob::bytes(*b"middle"));
        disk.splice(9 * MIB - 1, &Blob::bytes(*b"z"));
        disk
    }

    fn same(a: &Blob, b: &Blob) {
        assert_eq!(a.to_vec(u64::MAX).unwrap(), b.to_vec(u64::MAX).unwrap());
    }

    #[test]
    fn a_disk_survives_both_subformats() {
        for subformat in ["fixed", "dynamic"] {
            let file = testing::encode(&Vhd, &sample(), &[("subformat", subformat)]);
            assert!(Vhd.probe(&file).unwrap());
            same(&testing::decode(&Vhd, &file).unwrap(), &sample());
        }
    }

    #[test]
    fn block_data_is_4_kib_aligned_and_absent_blocks_take_no_space() {
        let file = testing::encode(&Vhd, &sample(), &[("subformat", "dynamic")]);
        let disk = testing::decode(&Vhd, &file).unwrap();
        assert_eq!(disk.data_units(BLOCK).collect::<Vec<_>>(), [0..1, 2..3, 4..5]);
        let footer = Footer::find(&file).unwrap();
        let (_, bat) = DynamicHeader::find(&file, &footer).unwrap();
        let present: Vec<_> = blocks::entries(bat).map(|e| u32::from_be_bytes(e.unwrap())).filter(|e| *e != ABSENT).collect();
        assert_eq!(present.len(), 3);
        assert!(present.iter().all(|sector| (u64::from(*sector) + 1).is_multiple_of(8)));
    }

    /// Values that Hyper-V and Virtual PC show for these sizes.
    #[test]
    fn geometry_follows_the_appendix() {
        let of = |sectors| {
            let Geometry { cylinders, heads, sectors } = Geometry::of(sectors);
            (cylinders.get(), heads, sectors)
        };
        assert_eq!(of(2048), (30, 4, 17));
        assert_eq!(of(40 * 2048), (963, 5, 17));
        assert_eq!(of(2 << 21), (4161, 16, 63));
        assert_eq!(of(127 << 21), (65278, 16, 255));
        assert_eq!(of(2040 << 21), (65535, 16, 255));
        assert_eq!(of(0), (0, 4, 17));
    }

    #[test]
    fn a_damaged_footer_is_replaced_by_its_copy() {
        let file = testing::encode(&Vhd, &sample(), &[("subformat", "dynamic")]);
        let mut damaged = file.slice(0..file.len() - 512);
        damaged.append(&Blob::bytes([0x55; 512]));
        same(&testing::decode(&Vhd, &damaged).unwrap(), &sample());
    }

    #[test]
    fn two_footers_that_contradict_each_other_are_refused() {
        let file = testing::encode(&Vhd, &sample(), &[("subformat", "dynamic")]);
        let mut smaller = Footer::find(&file).unwrap();
        smaller.current_size = (8 * MIB).into();
        smaller.checksum = 0.into();
        smaller.checksum = checksum(smaller.as_bytes()).into();
        let mut bytes = file.to_vec(u64::MAX).unwrap();
        bytes[..512].copy_from_slice(smaller.as_bytes());
        let error = testing::decode(&Vhd, &Blob::bytes(bytes)).unwrap_err();
        assert!(error.to_string().contains("contradict"), "{error}");
    }

    #[test]
    fn a_check_looks_at_both_footers() {
        let file = testing::encode(&Vhd, &sample(), &[("subformat", "dynamic")]).to_vec(u64::MAX).unwrap();
        let corruptions = |bytes: &[u8]| Vhd.check(&Blob::bytes(bytes), &mut env()).unwrap().corruptions;
        assert_eq!(corruptions(&file), 0);
        for at in [20, file.len() - 500] {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert_eq!(corruptions(&damaged), 1);
        }
        let fixed = testing::encode(&Vhd, &sample(), &[("subformat", "fixed")]);
        assert_eq!(Vhd.check(&fixed, &mut env()).unwrap(), Check::default());
    }

    #[test]
    fn a_differencing_disk_is_refused_by_name() {
        let mut footer = Footer::new(&sample(), disk_type::DIFFERENCING, &testing::ids(), Timestamp(0));
        footer.checksum = 0.into();
        footer.checksum = checksum(footer.as_bytes()).into();
        let error = testing::decode(&Vhd, &footer.blob()).unwrap_err();
        assert!(error.to_string().contains("differencing"), "{error}");
    }

    #[test]
    fn two_blocks_on_one_place_are_refused() {
        let file = testing::encode(&Vhd, &sample(), &[("subformat", "dynamic")]);
        let mut bytes = file.to_vec(u64::MAX).unwrap();
        bytes.copy_within(1536..1540, 1536 + 8);
        let error = testing::decode(&Vhd, &Blob::bytes(bytes)).unwrap_err();
        assert!(error.to_string().contains("two structures"), "{error}");
    }

    #[test]
    fn sectors_with_a_clear_bit_are_zeros() {
        let file = testing::encode(&Vhd, &sample(), &[("subformat", "dynamic")]);
        let bat: [u8; 4] = file.read_array(BAT_AT).unwrap();
        let mut bytes = file.to_vec(u64::MAX).unwrap();
        bytes[units::index(u64::from(u32::from_be_bytes(bat)) * SECTOR)] = 0x7f;
        let disk = testing::decode(&Vhd, &Blob::bytes(bytes)).unwrap();
        assert_eq!(disk.read_array(0).unwrap(), [0; 5]);
    }
}
