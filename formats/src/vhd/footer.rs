//! The footer: "Hard Disk Footer Format", and the geometry in it.

use super::{DYNAMIC_HEADER_AT, SIZE_MAX};
use crate::{Blob, Error, Ids, Result, Timestamp, blocks, dump::Dump, error::At, guid::Guid, units::SECTOR};
use std::mem::offset_of;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    big_endian::{U16, U32, U64},
};

/// 2000-01-01 00:00:00 UTC, where the format's time starts.
const EPOCH: i64 = 946_684_800;
pub(super) const VERSION_1_0: u32 = 0x0001_0000;

/// "Hard Disk Footer Format".
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Footer {
    /// 0: `conectix`.
    cookie: [u8; 8],
    /// 8: bit 1 is reserved and always set.
    features: U32,
    /// 12: 1.0.
    version: U32,
    /// 16: where the dynamic header is; all ones in a fixed disk.
    pub(super) data_offset: U64,
    /// 24: seconds since 2000.
    timestamp: U32,
    /// 28: who wrote it.
    pub(super) creator_application: [u8; 4],
    /// 32: its version, major and minor in 16 bits each.
    creator_version: U32,
    /// 36: its system, `Wi2k` or `Mac `.
    creator_host_os: [u8; 4],
    /// 40: bytes of the disk when it was made.
    original_size: U64,
    /// 48: bytes of the disk now.
    pub(super) current_size: U64,
    /// 56: what an ATA controller shows.
    geometry: Geometry,
    /// 60: 2 fixed, 3 dynamic, 4 differencing.
    pub(super) disk_type: U32,
    /// 64: see [`checksum`].
    pub(super) checksum: U32,
    /// 68: identifies the disk.
    pub(super) unique_id: [u8; 16],
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

/// Values of [`Footer::disk_type`].
pub(super) mod disk_type {
    pub(in crate::vhd) const FIXED: u32 = 2;
    pub(in crate::vhd) const DYNAMIC: u32 = 3;
    pub(in crate::vhd) const DIFFERENCING: u32 = 4;
}

impl Footer {
    pub(super) fn new(disk: &Blob, disk_type: u32, ids: &Ids, time: Timestamp) -> Self {
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

    pub(super) fn blob(&self) -> Blob {
        Blob::bytes(self.as_bytes())
    }

    /// The footer, or where it is damaged the copy that dynamic disks have in front.
    pub(super) fn find(file: &Blob) -> Result<Self> {
        match Self::place(file)? {
            Some(at) => Self::read(file, at),
            None => Self::read(file, Self::last(file)).or_else(|error| Self::read(file, 0).map_err(|_| error)),
        }
        .at(|| "VHD footer")
    }

    /// Where a sound footer is, at the end of the file or near it. Before the end it has to be this file's, and not one of a file on
    /// the disk: a fixed disk ends where it begins, and of all others there is a copy in front.
    pub(super) fn place(file: &Blob) -> Result<Option<u64>> {
        let (last, has_copy) = (Self::last(file), has_cookie(file, 0)?);
        let is_ours = |at, footer: Self| {
            let is_behind_disk = footer.disk_type == disk_type::FIXED && footer.disk_len().is_ok_and(|len| len == at);
            at == last || has_copy || is_behind_disk
        };
        let is_footer = |sector: &[u8; 512]| sector.starts_with(b"conectix");
        blocks::last_sector(file, |at, sector| is_footer(sector) && Self::parse(sector).is_ok_and(|footer| is_ours(at, footer)))
    }

    /// Whether a file says that it is a VHD, be its footer damaged or not.
    pub(super) fn probe(file: &Blob) -> Result<bool> {
        Ok(has_cookie(file, 0)? || has_cookie(file, Self::last(file))? || Self::place(file)?.is_some())
    }

    /// Where the footer is if nothing follows it. Before Virtual PC 2004 it had 511 bytes.
    pub(super) fn last(file: &Blob) -> u64 {
        file.len().saturating_sub(1) / SECTOR * SECTOR
    }

    pub(super) fn read(file: &Blob, at: u64) -> Result<Self> {
        let mut sector = file.slice(at.min(file.len())..file.len().min(at.saturating_add(SECTOR)));
        sector.extend_to(SECTOR);
        Self::parse(&sector.read_array(0)?)
    }

    fn parse(sector: &[u8; 512]) -> Result<Self> {
        let footer: Self = zerocopy::transmute!(*sector);
        if footer.cookie != *b"conectix" {
            return Err(Error::bad_input("the cookie is not conectix"));
        }
        check_sum(footer.checksum, Self { checksum: 0.into(), ..footer }.as_bytes())?;
        check_version(footer.version)?;
        Ok(footer)
    }

    /// Refuses two valid footers that lead to different disks: some readers go by the one, some by the other.
    pub(super) fn agrees_with_copy(&self, file: &Blob) -> Result<()> {
        let leads_to = |footer: &Self| (footer.disk_type, footer.data_offset, footer.disk_len().ok());
        match Self::read(file, 0) {
            Ok(copy) if leads_to(&copy) != leads_to(self) => {
                Err(Error::bad_input("VHD footer: it and its copy at the start of the file are valid and contradict each other"))
            }
            _ => Ok(()),
        }
    }

    /// Bytes of the disk. Virtual PC and old qemu show the guest the product of the geometry, everyone else Current Size.
    pub(super) fn disk_len(&self) -> Result<u64> {
        let by_geometry = matches!(&self.creator_application, b"vpc " | b"qemu") && self.geometry != Geometry::LARGEST;
        let size = if by_geometry { self.geometry.sectors() * SECTOR } else { self.current_size.get() };
        if size > SIZE_MAX || !size.is_multiple_of(SECTOR) {
            return Err(Error::bad_input(format!(
                "VHD footer: the disk has {size} bytes, must be whole sectors, at most {SIZE_MAX} bytes"
            )));
        }
        Ok(size)
    }

    pub(super) fn dump(&self, to: &mut Dump) {
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

fn has_cookie(file: &Blob, at: u64) -> Result<bool> {
    Ok(file.len() >= at + 511 && file.read_array(at)? == *b"conectix")
}

pub(super) fn check_sum(found: U32, zeroed: &[u8]) -> Result<()> {
    match checksum(zeroed) {
        right if found == right => Ok(()),
        right => Err(Error::bad_input(format!("the checksum is {found:#x}, must be {right:#x}"))),
    }
}

pub(super) fn check_version(version: U32) -> Result<()> {
    match version.get() {
        VERSION_1_0 => Ok(()),
        other => Err(Error::unsupported(format!("the version is {other:#x}, must be {VERSION_1_0:#x}"))),
    }
}

/// One's complement of the sum of all bytes, the checksum field as zeros.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>()
}

/// Seconds since 2000, as near as 32 bits allow.
fn timestamp(time: Timestamp) -> u32 {
    u32::try_from(time.0.saturating_sub(EPOCH).max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
