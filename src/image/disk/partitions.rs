//! The partitions of a disk: of a GPT as the loaders read it, else of a legacy MBR.

use super::device::{bad, open};
use crate::error::Result;
use bootfs::gpt;
use formats::{Blob, Guid, mbr};
use std::{fmt, ops::Range};

/// Which table a disk has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// UEFI 2.10, section 5.3.
    Gpt,
    /// UEFI 2.10, section 5.2.1.
    Mbr,
}

impl Scheme {
    /// As users say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpt => "gpt",
            Self::Mbr => "mbr",
        }
    }
}

/// The table of a disk.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its kind.
    pub scheme: Scheme,
    /// In its order.
    pub partitions: Vec<Partition>,
}

/// A partition.
#[derive(Clone, Debug)]
pub struct Partition {
    /// Its place in the table, from 1; as Linux counts.
    pub number: u32,
    /// Its name; an MBR has none.
    pub name: String,
    /// Its type.
    pub holds: Holds,
    /// Its identity; an MBR has none.
    pub guid: Option<Guid>,
    /// Whether an MBR's boot code would start it.
    pub is_active: bool,
    /// First byte on the disk.
    pub start: u64,
    /// Bytes.
    pub len: u64,
}

impl Partition {
    /// Its bytes on a disk of so many; nothing where it reaches beyond the end.
    pub(crate) fn range(&self, disk_len: u64) -> Option<Range<u64>> {
        let end = self.start.checked_add(self.len)?;
        (end <= disk_len).then_some(self.start..end)
    }
}

/// The type of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// In a GPT.
    Guid(Guid),
    /// In an MBR.
    OsType(u8),
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guid(guid) => guid.fmt(f),
            Self::OsType(number) => write!(f, "{number:#04x}"),
        }
    }
}

/// The table of a disk.
///
/// # Errors
/// When there is neither a sound GPT nor a legacy MBR, in the loaders' own words.
pub fn table(disk: &Blob) -> Result<Table> {
    let gpt = of_gpt(disk);
    match (gpt, mbr::partitions(disk)?) {
        (Err(_), Some(found)) => Ok(of_mbr(found)),
        (gpt, _) => gpt,
    }
}

/// The partitions of a disk.
///
/// # Errors
/// As [`table`].
pub fn partitions(disk: &Blob) -> Result<Vec<Partition>> {
    table(disk).map(|table| table.partitions)
}

fn of_gpt(disk: &Blob) -> Result<Table> {
    let mut device = open(disk)?;
    let table = gpt::Gpt::read(&mut device).map_err(bad)?;
    let mut partitions = Vec::new();
    for index in 0..table.entry_count {
        if let Some(partition) = table.partition(&mut device, index).map_err(bad)? {
            let name = partition.name.split(|unit| *unit == 0).next().unwrap_or_default();
            partitions.push(Partition {
                number: index + 1,
                name: String::from_utf16_lossy(name),
                holds: Holds::Guid(Guid::from_mixed_endian(partition.type_guid)),
                guid: Some(Guid::from_mixed_endian(partition.guid)),
                is_active: false,
                start: partition.start,
                len: partition.len,
            });
        }
    }
    Ok(Table { scheme: Scheme::Gpt, partitions })
}

fn of_mbr(found: Vec<mbr::Partition>) -> Table {
    let partition = |mbr::Partition { number, is_active, os_type, range }| Partition {
        number,
        name: String::new(),
        holds: Holds::OsType(os_type),
        guid: None,
        is_active,
        start: range.start,
        len: range.end - range.start,
    };
    Table { scheme: Scheme::Mbr, partitions: found.into_iter().map(partition).collect() }
}
