//! Listings of directories, in a stream of metadata of their own.
//!
//! ```text
//!  for each run of at most 256 entries whose inodes are in one metadata block and whose numbers are near:
//!      header: entries - 1 (32 bits), the inodes' block (32), the number that the entries' are relative to (32)
//!      for each entry: offset of the inode in its block (16), relative number (16), type (16), length of the name - 1 (16), name
//! ```
//! Entries are sorted by the bytes of their names. Where a listing covers more than one metadata block, the directory's inode
//! says which run is the first of each, so that a lookup reads one block.

use super::metadata::{Reference, Stream};
use crate::{Error, Result, units};
use zerocopy::{
    Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32},
};

/// Entries of a run.
const RUN_MAX: usize = 256;
/// What the size of a listing in its inode is more than the listing: `.` and `..` count.
pub(super) const SIZE_EXTRA: u32 = 3;

/// The header of a run.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    /// 0: entries - 1.
    count: U32,
    /// 4: where the metadata block of the inodes begins, in the inode table.
    start_block: U32,
    /// 8: what the entries' numbers are relative to.
    inode_number: U32,
}

/// What stands before an entry's name.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct EntryHead {
    /// 0: where the inode is in its metadata block.
    offset: U16,
    /// 2: the inode's number, relative to the run's; signed.
    inode_offset: U16,
    /// 4: the type, as of an inode that is not extended.
    kind: U16,
    /// 6: bytes of the name - 1.
    name_size: U16,
}

/// An entry of a directory.
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    /// The number of the inode.
    pub(super) number: u32,
    /// Where the inode is.
    pub(super) inode: Reference,
    /// Its type, as of an inode that is not extended.
    pub(super) kind: u16,
}

/// The first run that begins in a metadata block, as a directory's inode has it.
pub(super) struct Index<'a> {
    /// Where the run is in the listing.
    pub(super) at: u32,
    /// Where the metadata block begins, in the directory table.
    pub(super) block: u32,
    /// The name of the run's first entry.
    pub(super) name: &'a [u8],
}

/// Where a listing was put.
pub(super) struct Listing<'a> {
    pub(super) place: Reference,
    /// Its bytes.
    pub(super) len: u32,
    /// Empty when it lies in one metadata block.
    pub(super) index: Vec<Index<'a>>,
}

/// Puts the listing of a directory, whose entries are sorted, into the directory table.
///
/// # Errors
/// When the directory is too large.
pub(super) fn write<'a>(entries: &[Entry<'a>], to: &mut Stream<'_>) -> Result<Listing<'a>> {
    let start = to.position();
    let place = to.reference(start);
    let mut listing = Listing { place, len: 0, index: Vec::new() };
    let mut last_block = place.block;
    for run in runs(entries) {
        let at = to.position();
        let block = to.reference(at).block;
        if block != last_block {
            listing.index.push(Index { at: len_of(at - start)?, block, name: run[0].name });
            last_block = block;
        }
        let head = Header {
            count: U32::new(u32::try_from(run.len() - 1).expect("a run is short")),
            start_block: run[0].inode.block.into(),
            inode_number: run[0].number.into(),
        };
        to.push(head.as_bytes())?;
        for entry in run {
            let head = EntryHead {
                offset: entry.inode.offset.into(),
                inode_offset: U16::from_bytes(relative(entry, &run[0]).expect("the run holds near numbers").to_le_bytes()),
                kind: entry.kind.into(),
                name_size: U16::new(u16::try_from(entry.name.len() - 1).expect("a name has at most 255 bytes")),
            };
            to.push(head.as_bytes())?;
            to.push(entry.name)?;
        }
    }
    listing.len = len_of(to.position() - start)?;
    Ok(listing)
}

fn len_of(len: u64) -> Result<u32> {
    let len = u32::try_from(len).ok().filter(|len| len.checked_add(SIZE_EXTRA).is_some());
    len.ok_or_else(|| Error::bad_input("a directory of 4 GiB, squashfs holds no larger one"))
}

fn relative(entry: &Entry<'_>, first: &Entry<'_>) -> Option<i16> {
    i16::try_from(i64::from(entry.number) - i64::from(first.number)).ok()
}

/// Cuts the entries of a directory into runs.
fn runs<'s, 'a>(entries: &'s [Entry<'a>]) -> impl Iterator<Item = &'s [Entry<'a>]> {
    let mut left = entries;
    std::iter::from_fn(move || {
        let first = left.first()?;
        let fits = |entry: &Entry<'_>| entry.inode.block == first.inode.block && relative(entry, first).is_some();
        let len = left.iter().take(RUN_MAX).take_while(|entry| fits(entry)).count();
        let (run, rest) = left.split_at(len);
        left = rest;
        Some(run)
    })
}

/// How many index entries an inode can hold; a lookup behind the last one walks on from there.
pub(super) fn index_len(index: &[Index<'_>]) -> usize {
    index.len().min(units::index(u16::MAX.into()))
}
