//! Extended attributes: each set is stored once, and inodes name it by its number.
//!
//! ```text
//!  for each set, in a stream of metadata: for each attribute: type (16 bits), length of the name (16), name without its prefix,
//!      length of the value (32), value
//!  table of sets: reference into the stream (64 bits), attributes (32), bytes (32)
//!  where the stream begins (64), sets (32), 0 (32), index of the table
//! ```

use super::{Settings, metadata};
use crate::{
    Error, Result,
    tree::{Inode, ShowPath, Tree},
    units,
};
use std::collections::HashMap;

/// An inode without attributes.
pub(super) const NONE: u32 = u32::MAX;
/// What the format can hold; its types are numbered so.
const PREFIXES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
/// The longest name with its prefix: Linux `XATTR_NAME_MAX`.
const NAME_MAX: usize = 255;
/// The longest value: Linux `XATTR_SIZE_MAX`.
const VALUE_MAX: usize = 64 << 10;

/// Whether the format can hold an attribute of this name.
pub(super) fn is_held(name: &[u8]) -> bool {
    split(name).is_some()
}

/// The number of the prefix, and the name without it.
fn split(name: &[u8]) -> Option<(u16, &[u8])> {
    (0..).zip(PREFIXES).find_map(|(number, prefix)| Some((number, name.strip_prefix(prefix)?)))
}

/// The sets of attributes of a tree.
pub(super) struct Sets {
    /// The number of each inode's set, [`NONE`] where it has none.
    pub(super) of: Vec<u32>,
    stream: Vec<u8>,
    /// 16 bytes for each set.
    table: Vec<u8>,
}

impl Sets {
    /// The sets of all inodes.
    ///
    /// # Errors
    /// When Linux could not hold an attribute.
    pub(super) fn new(tree: &Tree, settings: &Settings) -> Result<Self> {
        let mut numbers = HashMap::new();
        let mut stream = metadata::Stream::new(settings);
        let mut sets = Self { of: Vec::with_capacity(tree.inodes.len()), stream: Vec::new(), table: Vec::new() };
        for (index, inode) in tree.inodes.iter().enumerate() {
            let (count, bytes) = set(inode).map_err(|error| error.at(super::path(tree, index)))?;
            let next = u32::try_from(numbers.len()).expect("fewer sets than inodes");
            let number = match count {
                0 => NONE,
                _ => *numbers.entry(bytes.clone()).or_insert(next),
            };
            sets.of.push(number);
            if number == next {
                let reference = stream.reference(stream.position());
                sets.table.extend(reference.packed().to_le_bytes());
                sets.table.extend(count.to_le_bytes());
                sets.table.extend(u32_of(bytes.len()).to_le_bytes());
                stream.push(&bytes)?;
            }
        }
        sets.stream = stream.finish()?;
        Ok(sets)
    }

    /// The whole, to be put at `at`, and where its header is; `None` when there are no sets.
    pub(super) fn write(&self, at: u64, settings: &Settings) -> Result<Option<(Vec<u8>, u64)>> {
        if self.table.is_empty() {
            return Ok(None);
        }
        let mut out = self.stream.clone();
        let (blocks, index) = metadata::table(&self.table, at + units::bytes(out.len()), settings)?;
        out.extend(blocks);
        let header = at + units::bytes(out.len());
        out.extend(at.to_le_bytes());
        out.extend(u32_of(self.table.len() / 16).to_le_bytes());
        out.extend(0_u32.to_le_bytes());
        out.extend(index);
        Ok(Some((out, header)))
    }
}

/// An inode's attributes as far as the format holds them: how many, and their bytes.
fn set(inode: &Inode) -> Result<(u32, Vec<u8>)> {
    let (mut count, mut bytes) = (0_u32, Vec::new());
    for (full, value) in &inode.xattrs {
        let Some((prefix, name)) = split(full) else { continue };
        if full.len() > NAME_MAX || value.len() > VALUE_MAX {
            let (name_len, value_len) = (full.len(), value.len());
            return Err(Error::bad_input(format!(
                "the extended attribute {} has a name of {name_len} bytes and a value of {value_len}, at most {NAME_MAX} and {VALUE_MAX} are taken",
                ShowPath(full)
            )));
        }
        let name_len = u16::try_from(name.len()).expect("255 fit 16 bits");
        bytes.extend(prefix.to_le_bytes());
        bytes.extend(name_len.to_le_bytes());
        bytes.extend(name);
        bytes.extend(u32_of(value.len()).to_le_bytes());
        bytes.extend(value);
        count += 1;
    }
    Ok((count, bytes))
}

fn u32_of(len: usize) -> u32 {
    u32::try_from(len).expect("the sets of one tree stay below 4 GiB")
}
