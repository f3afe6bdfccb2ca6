//! Directories: fatgen103, "FAT Directory Structure".

use super::{
    Table,
    geometry::Geometry,
    name::{self, ShortNames, Stored},
};
use crate::{Error, Result, Timestamp, calendar::Moment, units};
use std::{collections::HashMap, mem::offset_of};
use zerocopy::{
    Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32},
};

/// Letters of a volume label.
pub(super) const LABEL_LEN: usize = 11;
/// Bytes of a directory entry.
pub(super) const ENTRY_LEN: u64 = 32;
/// The fixed root directory of FAT12 and FAT16 has room for this many entries at least.
const ROOT_ENTRIES_MIN: u64 = 512;
/// No directory has more: what a 16-bit count of whole sectors of entries can say, of the largest sectors.
const ENTRIES_MAX: u64 = 65_408;
/// UTF-16 units in one long name entry.
const LONG_UNITS: usize = 13;

const VOLUME_ID: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
const LONG_NAME: u8 = 0x0f;
const LAST_LONG_ENTRY: u8 = 0x40;

/// A directory entry of a short name.
#[derive(Clone, Copy, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ShortEntry {
    /// 0: name, padded with spaces.
    name: [u8; 11],
    /// 11: attribute bits.
    attributes: u8,
    /// 12: which parts of the name are shown in lower case.
    case: u8,
    /// 13: 0 to 199, hundredths of a second more than `creation_time`.
    creation_hundredths: u8,
    /// 14: as `write_time`.
    creation_time: U16,
    /// 16: as `write_date`.
    creation_date: U16,
    /// 18: as `write_date`.
    access_date: U16,
    /// 20: high half of the first cluster; 0 in FAT12 and FAT16.
    first_cluster_high: U16,
    /// 22: hours << 11 | minutes << 5 | seconds / 2.
    write_time: U16,
    /// 24: years since 1980 << 9 | month << 5 | day.
    write_date: U16,
    /// 26: low half of the first cluster; 0 for an empty file.
    first_cluster_low: U16,
    /// 28: bytes; 0 for a directory.
    size: U32,
}

/// A directory entry of a piece of a long name. They stand before the short entry, last piece first.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LongEntry {
    /// 0: which piece, from 1; the last one has 0x40 set.
    order: u8,
    /// 1: units 1 to 5.
    name_1: [U16; 5],
    /// 11: 0x0f.
    attributes: u8,
    /// 12: 0.
    kind: u8,
    /// 13: of the short name.
    checksum: u8,
    /// 14: units 6 to 11.
    name_2: [U16; 6],
    /// 26: 0.
    first_cluster_low: U16,
    /// 28: units 12 and 13.
    name_3: [U16; 2],
}

const _: () = assert!(size_of::<ShortEntry>() == 32 && offset_of!(ShortEntry, write_time) == 22);
const _: () = assert!(size_of::<LongEntry>() == 32 && offset_of!(LongEntry, name_2) == 14);

/// A volume label as it is stored. Panics when it is not one: labels are ours.
pub(super) fn label(text: &str) -> [u8; LABEL_LEN] {
    let is_right = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b" _".contains(b);
    assert!(text.len() <= LABEL_LEN && text.as_bytes().iter().all(is_right), "'{text}' is not a volume label");
    let mut label = [b' '; LABEL_LEN];
    label[..text.len()].copy_from_slice(text.as_bytes());
    label
}

/// The directories of a volume; the root is the first, a parent comes before its children.
#[derive(Debug)]
pub(super) struct Directories {
    nodes: Vec<Node>,
    label: [u8; 11],
    stamp: Stamp,
}

#[derive(Debug, Default)]
struct Node {
    parent: usize,
    children: Vec<Child>,
    /// Index of a child by its folded name.
    by_name: HashMap<String, usize>,
    shorts: ShortNames,
    /// First cluster, once placed; 0 for the fixed root.
    first: u32,
}

#[derive(Debug)]
struct Child {
    name: Stored,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// Index of the volume's file.
    File(usize),
    /// Index of a node.
    Directory(usize),
}

impl Directories {
    pub(super) fn new(label: &str, time: Timestamp) -> Self {
        Self { nodes: vec![Node::default()], label: self::label(label), stamp: Stamp::from(time) }
    }

    /// Adds a file at a path, or a directory where it is none, with the directories that are missing.
    pub(super) fn add(&mut self, path: &str, file: Option<usize>) -> Result<()> {
        let mut node = 0;
        let mut names = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
        while let Some(name) = names.next() {
            name::check(name)?;
            let known = self.nodes[node].by_name.get(&name::folded(name));
            let known = known.map(|child| self.nodes[node].children[*child].what);
            // What is last is the file.
            node = match (known, file.filter(|_| names.peek().is_none())) {
                (None, Some(file)) => return self.insert(node, name, What::File(file)),
                (None, None) => {
                    let new = self.nodes.len();
                    self.nodes.push(Node { parent: node, ..Node::default() });
                    self.insert(node, name, What::Directory(new))?;
                    new
                }
                (Some(What::Directory(known)), None) => known,
                (Some(What::File(_)), None) => return Err(Error::bad_input(format!("'{name}' is a file and a directory"))),
                (Some(_), Some(_)) => return Err(Error::bad_input("the path stands twice; FAT does not tell upper from lower case")),
            };
        }
        Ok(())
    }

    fn insert(&mut self, node: usize, name: &str, what: What) -> Result<()> {
        let node = &mut self.nodes[node];
        node.by_name.insert(name::folded(name), node.children.len());
        let name = node.shorts.store(name);
        node.children.push(Child { name, what });
        Ok(())
    }

    /// Refuses directories with too many entries.
    pub(super) fn check_sizes(&self) -> Result<()> {
        match self.nodes.iter().map(Node::entries).max() {
            Some(entries) if entries > ENTRIES_MAX => {
                Err(Error::bad_input(format!("a directory has {entries} entries, counting those of long names, FAT holds {ENTRIES_MAX}")))
            }
            _ => Ok(()),
        }
    }

    /// Bytes of the root directory of FAT12 and FAT16, where its length is fixed: whole sectors of so many bytes.
    pub(super) fn fixed_root_len(&self, sector: u64) -> u64 {
        (self.nodes[0].entries().max(ROOT_ENTRIES_MIN) * ENTRY_LEN).next_multiple_of(sector)
    }

    /// How many clusters all directories fill, the root among them.
    pub(super) fn clusters(&self, cluster: u64) -> u64 {
        self.nodes.iter().map(|node| node.clusters(cluster)).sum()
    }

    /// Gives every directory its clusters.
    pub(super) fn place(&mut self, geometry: &Geometry, table: &mut Table) {
        let fixed = usize::from(geometry.root_len > 0);
        for node in &mut self.nodes[fixed..] {
            node.first = table.chain(node.clusters(geometry.cluster));
        }
    }

    /// The content of each directory and its offset in the volume, ascending. `starts` and `sizes` are those of the files.
    pub(super) fn bytes(&self, geometry: &Geometry, starts: &[u32], sizes: &[u64]) -> Vec<(u64, Vec<u8>)> {
        let place = |node: &Node| match node.first {
            0 => geometry.data_at - geometry.root_len,
            first => geometry.data_at + u64::from(first - 2) * geometry.cluster,
        };
        let child = |child: &Child| match child.what {
            What::File(file) => (ARCHIVE, starts[file], u32::try_from(sizes[file]).expect("a file's size was checked")),
            What::Directory(node) => (DIRECTORY, self.nodes[node].first, 0),
        };
        let mut all = Vec::with_capacity(self.nodes.len());
        for (index, node) in self.nodes.iter().enumerate() {
            let mut bytes = Vec::with_capacity(units::index(node.entries() * ENTRY_LEN));
            if index == 0 {
                bytes.extend_from_slice(self.entry(self.label, 0, VOLUME_ID, 0, 0).as_bytes());
            } else {
                // The root is always called 0 here, wherever it is.
                let parent = if node.parent == 0 { 0 } else { self.nodes[node.parent].first };
                bytes.extend_from_slice(self.entry(*b".          ", 0, DIRECTORY, node.first, 0).as_bytes());
                bytes.extend_from_slice(self.entry(*b"..         ", 0, DIRECTORY, parent, 0).as_bytes());
            }
            for c in &node.children {
                let (attributes, first, size) = child(c);
                bytes.extend(long_entries(&c.name));
                bytes.extend_from_slice(self.entry(c.name.short, c.name.case, attributes, first, size).as_bytes());
            }
            all.push((place(node), bytes));
        }
        all
    }

    fn entry(&self, name: [u8; 11], case: u8, attributes: u8, first: u32, size: u32) -> ShortEntry {
        let [a, b, c, d] = first.to_le_bytes();
        ShortEntry {
            name,
            attributes,
            case,
            creation_hundredths: self.stamp.hundredths,
            creation_time: self.stamp.time.into(),
            creation_date: self.stamp.date.into(),
            access_date: self.stamp.date.into(),
            first_cluster_high: U16::from_bytes([c, d]),
            write_time: self.stamp.time.into(),
            write_date: self.stamp.date.into(),
            first_cluster_low: U16::from_bytes([a, b]),
            size: size.into(),
        }
    }
}

impl Node {
    /// Entries with those of long names, and with the label or `.` and `..`: two at most.
    fn entries(&self) -> u64 {
        2 + self.children.iter().map(|child| units::bytes(1 + child.name.long.len().div_ceil(LONG_UNITS))).sum::<u64>()
    }

    fn clusters(&self, cluster: u64) -> u64 {
        (self.entries() * ENTRY_LEN).div_ceil(cluster)
    }
}

/// The entries of a long name, as they stand before the short one.
fn long_entries(name: &Stored) -> Vec<u8> {
    let checksum = name.short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let pieces = name.long.chunks(LONG_UNITS);
    let count = pieces.len();
    let mut bytes = Vec::with_capacity(count * size_of::<LongEntry>());
    for (index, piece) in pieces.enumerate().rev() {
        // A 0 ends the name, 0xffff fills up behind it.
        let unit = |i: usize| U16::new(piece.get(i).copied().unwrap_or(if i == piece.len() { 0 } else { 0xffff }));
        let order = u8::try_from(index + 1).expect("a name has at most 20 pieces");
        let entry = LongEntry {
            order: if index + 1 == count { order | LAST_LONG_ENTRY } else { order },
            name_1: std::array::from_fn(unit),
            attributes: LONG_NAME,
            kind: 0,
            checksum,
            name_2: std::array::from_fn(|i| unit(5 + i)),
            first_cluster_low: U16::ZERO,
            name_3: std::array::from_fn(|i| unit(11 + i)),
        };
        bytes.extend_from_slice(entry.as_bytes());
    }
    bytes
}

/// A moment as FAT stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    date: u16,
    time: u16,
    hundredths: u8,
}

impl From<Timestamp> for Stamp {
    fn from(Timestamp(seconds): Timestamp) -> Self {
        /// 1980-01-01 00:00:00 and 2107-12-31 23:59:59.
        const RANGE: (i64, i64) = (315_532_800, 4_354_819_199);
        let Moment { year, month, day, hour, minute, second } = Moment::of(Timestamp(seconds.clamp(RANGE.0, RANGE.1)));
        Self {
            date: (year - 1980) << 9 | u16::from(month) << 5 | u16::from(day),
            time: u16::from(hour) << 11 | u16::from(minute) << 5 | u16::from(second / 2),
            hundredths: if second % 2 == 0 { 0 } else { 100 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(seconds: i64) -> (u16, u16, u16, u16, u16, u16) {
        let Stamp { date, time, hundredths } = Stamp::from(Timestamp(seconds));
        (1980 + (date >> 9), date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2 + u16::from(hundredths / 100))
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(shown(1_709_210_096), (2024, 2, 29, 12, 34, 56));
        assert_eq!(shown(951_868_799), (2000, 2, 29, 23, 59, 59));
        assert_eq!(shown(4_107_542_400), (2100, 3, 1, 0, 0, 0));
    }

    #[test]
    fn times_that_fat_cannot_say_are_clamped() {
        assert_eq!(shown(0), (1980, 1, 1, 0, 0, 0));
        assert_eq!(shown(i64::MIN), (1980, 1, 1, 0, 0, 0));
        assert_eq!(shown(i64::MAX), (2107, 12, 31, 23, 59, 59));
    }
}
