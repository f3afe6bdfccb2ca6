//! Directories: entries sorted by name in blocks that are searched by halves.
//!
//! ```text
//!  | number, where its name is, type | the next entry | ... | name name name, without anything between | zeros | next block
//! ```
//! The first name's place tells how many entries a block has; its last name ends at a NUL or at the end.

use super::BLOCK;
use crate::{tree::Content, units};
use zerocopy::{
    Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U64},
};

/// `struct erofs_dirent`.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Dirent {
    /// 0: the inode.
    nid: U64,
    /// 8: where the name starts in the block.
    name_offset: U16,
    /// 10: see [`file_type`].
    file_type: u8,
    /// 11: 0.
    reserved: u8,
}
const DIRENT_LEN: u64 = units::bytes(size_of::<Dirent>());
const _: () = assert!(DIRENT_LEN == 12);

/// Values of [`Dirent::file_type`]: `EROFS_FT_`.
mod file_type {
    pub(super) const REGULAR: u8 = 1;
    pub(super) const DIRECTORY: u8 = 2;
    pub(super) const CHARACTER_DEVICE: u8 = 3;
    pub(super) const BLOCK_DEVICE: u8 = 4;
    pub(super) const FIFO: u8 = 5;
    pub(super) const SYMLINK: u8 = 7;
}

/// A directory's entries.
#[derive(Debug)]
pub(super) struct Directory<'a> {
    /// Name and inode, `.` and `..` among them.
    entries: Vec<(&'a [u8], usize)>,
}

impl<'a> Directory<'a> {
    /// The directory of an inode in another one, with what is in it.
    pub(super) fn new(number: usize, parent: usize, children: impl Iterator<Item = (&'a [u8], usize)>) -> Self {
        let mut entries: Vec<(&[u8], usize)> = vec![(b".", number), (b"..", parent)];
        entries.extend(children);
        // The order of the disk is that of their bytes, in which some names come before the dots.
        entries.sort_unstable();
        Self { entries }
    }

    /// The entries of each block.
    fn by_block(&self) -> impl Iterator<Item = &[(&'a [u8], usize)]> {
        let mut left = self.entries.as_slice();
        std::iter::from_fn(move || {
            let mut used = 0;
            let fits = |(name, _): &&(&[u8], usize)| {
                used += DIRENT_LEN + units::bytes(name.len());
                used <= BLOCK
            };
            let count = left.iter().take_while(fits).count();
            let (block, rest) = left.split_at(count);
            left = rest;
            (count > 0).then_some(block)
        })
    }

    /// Bytes: whole blocks, and what the last one uses.
    pub(super) fn size(&self) -> u64 {
        let used = |block: &[(&[u8], usize)]| block.iter().map(|(name, _)| DIRENT_LEN + units::bytes(name.len())).sum::<u64>();
        self.by_block().map(used).fold(0, |size: u64, block| size.next_multiple_of(BLOCK) + block)
    }

    /// The bytes, once it is known what number each inode has; and its content tells its type.
    pub(super) fn content<'c>(&self, nid: impl Fn(usize) -> u64, content: impl Fn(usize) -> &'c Content) -> Vec<u8> {
        let mut bytes = Vec::new();
        for block in self.by_block() {
            bytes.resize(bytes.len().next_multiple_of(units::index(BLOCK)), 0);
            let mut name_offset = DIRENT_LEN * units::bytes(block.len());
            for (name, number) in block {
                let dirent = Dirent {
                    nid: nid(*number).into(),
                    name_offset: u16::try_from(name_offset).expect("inside of a block").into(),
                    file_type: type_of(content(*number)),
                    reserved: 0,
                };
                bytes.extend_from_slice(dirent.as_bytes());
                name_offset += units::bytes(name.len());
            }
            block.iter().for_each(|(name, _)| bytes.extend_from_slice(name));
        }
        bytes
    }
}

fn type_of(content: &Content) -> u8 {
    match content {
        Content::File(_) => file_type::REGULAR,
        Content::Directory => file_type::DIRECTORY,
        Content::CharacterDevice(_) => file_type::CHARACTER_DEVICE,
        Content::BlockDevice(_) => file_type::BLOCK_DEVICE,
        Content::Fifo => file_type::FIFO,
        Content::Symlink(_) => file_type::SYMLINK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_filled_in_order_and_an_entry_never_crosses_one() {
        let names: Vec<Vec<u8>> =
            (0..1000_u32).map(|n| format!("{:0width$}", n, width = 4 + units::index(u64::from(n % 250))).into_bytes()).collect();
        let directory = Directory::new(7, 3, names.iter().enumerate().map(|(n, name)| (name.as_slice(), n + 10)));
        let fifo = Content::Fifo;
        let bytes = directory.content(|number| units::bytes(number) * 2, |_| &fifo);
        assert_eq!(units::bytes(bytes.len()), directory.size());
        let mut read = Vec::new();
        for block in bytes.chunks(4096) {
            let u16_at = |at: usize| usize::from(u16::from_le_bytes([block[at], block[at + 1]]));
            let count = u16_at(8) / 12;
            for n in 0..count {
                let end = if n + 1 < count {
                    u16_at(12 * (n + 1) + 8)
                } else {
                    block.len() - block.iter().rev().take_while(|byte| **byte == 0).count()
                };
                read.push((block[u16_at(12 * n + 8)..end].to_vec(), block[12 * n]));
            }
        }
        assert_eq!(read.len(), 1002);
        assert!(read.is_sorted());
        assert!(names.iter().all(|name| read.iter().any(|(found, _)| found == name)));
        assert_eq!(read[0], (b".".to_vec(), 14));
    }

    #[test]
    fn a_name_may_sort_before_the_dots() {
        let directory = Directory::new(0, 0, [(b"!".as_slice(), 1), (b"a", 2)].into_iter());
        assert_eq!(directory.entries.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [b"!".as_slice(), b".", b"..", b"a"]);
    }
}
