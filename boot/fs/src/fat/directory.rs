//! Directories: 32-byte entries, long names in front of the short ones they belong to (fatgen103, "Long Directory Entries").

use super::{File, Name, Root, Volume};
use crate::field::{bytes, le8, le16, le32};
use crate::{BlockDevice, Error};

/// Bytes of an entry.
const ENTRY: u32 = 32;
/// The longest directory that FAT allows: 65,536 entries. Also what ends the walk along a chain that loops.
const DIRECTORY_MAX: u32 = 65_536 * ENTRY;

/// Attribute bits.
const VOLUME_ID: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
/// All of read-only, hidden, system and volume id: an entry that is part of a long name.
const LONG_NAME: u8 = 0x0f;

/// A directory being listed.
#[derive(Debug, Clone, Copy)]
pub struct Directory {
    place: Root,
    /// Bytes of it that were looked at.
    at: u32,
    ended: bool,
}

/// A file or a directory, as its parent names it.
#[derive(Debug, Clone)]
pub struct Node {
    name: Name,
    attributes: u8,
    first: u32,
    size: u32,
}

impl Node {
    /// Its name in its parent.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Length in bytes; 0 for a directory.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// Whether it is a directory.
    #[must_use]
    pub const fn is_directory(&self) -> bool {
        self.attributes & DIRECTORY != 0
    }

    /// The directory to list, when it is one.
    #[must_use]
    pub fn directory(&self) -> Option<Directory> {
        self.is_directory().then(|| Directory::new(Root::Chain(self.first)))
    }

    /// The file to read, when it is one.
    #[must_use]
    pub fn file(&self) -> Option<File> {
        (!self.is_directory()).then_some(File { size: self.size, first: self.first, known: (0, self.first) })
    }
}

impl Directory {
    pub(super) const fn new(place: Root) -> Self {
        Self { place, at: 0, ended: false }
    }

    /// The next file or directory; `None` at the end. Leaves out volume labels, deleted entries, `.` and `..`.
    ///
    /// # Errors
    /// [`Error::ChainBroken`], [`Error::Device`].
    pub fn next<D: BlockDevice>(&mut self, volume: &mut Volume<D>) -> Result<Option<Node>, Error<D::Error>> {
        let mut long = LongName::new();
        while let Some(raw) = self.entry(volume)? {
            let attributes = le8(&raw, 11);
            match le8(&raw, 0) {
                0x00 => self.ended = true,
                0xe5 => long = LongName::new(),
                _ if attributes & 0x3f == LONG_NAME => long.add(&raw),
                b'.' => long = LongName::new(),
                _ if attributes & VOLUME_ID != 0 => long = LongName::new(),
                _ => {
                    let short: [u8; 11] = bytes(&raw, 0);
                    let high = u32::from(le16(&raw, 20));
                    return Ok(Some(Node {
                        name: long.of(&short).unwrap_or_else(|| Name::short(&short, le8(&raw, 12))),
                        attributes,
                        first: (high << 16) | u32::from(le16(&raw, 26)),
                        size: if attributes & DIRECTORY == 0 { le32(&raw, 28) } else { 0 },
                    }));
                }
            }
        }
        Ok(None)
    }

    /// The next 32 bytes, until the end of the directory's space.
    fn entry<D: BlockDevice>(&mut self, volume: &mut Volume<D>) -> Result<Option<[u8; 32]>, Error<D::Error>> {
        if self.ended {
            return Ok(None);
        }
        let from = match &mut self.place {
            Root::Fixed { at, len } => {
                if self.at >= *len {
                    return Ok(None);
                }
                at.saturating_add(u64::from(self.at))
            }
            Root::Chain(cluster) => {
                if self.at >= DIRECTORY_MAX {
                    return Err(Error::ChainBroken);
                }
                let within = self.at % volume.cluster;
                if within == 0 && self.at > 0 {
                    match volume.next(*cluster)? {
                        Some(next) => *cluster = next,
                        None => {
                            self.ended = true;
                            return Ok(None);
                        }
                    }
                }
                volume.cluster_at(*cluster)?.saturating_add(u64::from(within))
            }
        };
        self.at = self.at.saturating_add(ENTRY);
        let mut raw = [0; 32];
        volume.disk.read(from, &mut raw)?;
        Ok(Some(raw))
    }
}

/// A long name being put together from the entries in front of a short one, last part first.
struct LongName {
    units: [u16; 260],
    /// The number of the part that was added last; 1 when the name is whole, 0 when there is none.
    part: u8,
    checksum: u8,
}

impl LongName {
    const fn new() -> Self {
        Self { units: [0; 260], part: 0, checksum: 0 }
    }

    /// Adds one entry: bits 0-5 of its first byte number the part, from 1; bit 6 marks the last, which comes first.
    fn add(&mut self, raw: &[u8; 32]) {
        let (number, checksum) = (le8(raw, 0) & 0x3f, le8(raw, 13));
        let starts = le8(raw, 0) & 0x40 != 0;
        if starts {
            *self = Self::new();
        }
        let follows = starts || (self.part.checked_sub(1) == Some(number) && self.checksum == checksum);
        if !follows || !(1..=20).contains(&number) {
            *self = Self::new();
            return;
        }
        (self.part, self.checksum) = (number, checksum);
        let offsets = (1..11).step_by(2).chain((14..26).step_by(2)).chain((28..32).step_by(2));
        let first = usize::from(number).saturating_sub(1).saturating_mul(13);
        for (unit, at) in self.units.iter_mut().skip(first).zip(offsets) {
            *unit = le16(raw, at);
        }
    }

    /// The long name, when it is whole and belongs to this short name.
    fn of(&self, short: &[u8; 11]) -> Option<Name> {
        let checksum = short.iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        (self.part == 1 && self.checksum == checksum).then(|| Name::long(&self.units))
    }
}
