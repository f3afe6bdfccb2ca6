//! Inodes: the two forms that they have on disk, and what stands behind each of them in the metadata.

use super::{BLOCK, NO_BLOCK, SLOT, chunks::Chunks, clusters::Clusters, directory::Directory, narrow, xattr};
use crate::{
    Blob, Result, Timestamp,
    tree::{Content, Inode},
    units,
};
use std::mem::offset_of;
use zerocopy::{
    Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// `struct erofs_inode_compact`.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Compact {
    /// 0: 0, and [`layout`] from bit 1.
    format: U16,
    /// 2: how long the extended attributes are.
    xattr_icount: U16,
    /// 4: type and permissions.
    mode: U16,
    /// 6: names.
    nlink: U16,
    /// 8: bytes of the file.
    size: U32,
    /// 12: 0: the time is the volume's.
    mtime: U32,
    /// 16: a device's number, a file's first block, its number of compressed blocks, or its format of chunks.
    union: U32,
    /// 20: a number for programs that take no larger ones.
    ino: U32,
    /// 24: owner.
    uid: U16,
    /// 26: group.
    gid: U16,
    /// 28: 0.
    reserved: U32,
}
const _: () = assert!(size_of::<Compact>() == 32 && offset_of!(Compact, union) == 16);

/// `struct erofs_inode_extended`.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Extended {
    /// 0: 1, and [`layout`] from bit 1.
    format: U16,
    /// 2: as [`Compact::xattr_icount`].
    xattr_icount: U16,
    /// 4: type and permissions.
    mode: U16,
    /// 6: 0.
    reserved: U16,
    /// 8: bytes of the file.
    size: U64,
    /// 16: as [`Compact::union`].
    union: U32,
    /// 20: as [`Compact::ino`].
    ino: U32,
    /// 24: owner.
    uid: U32,
    /// 28: group.
    gid: U32,
    /// 32: time of modification, signed.
    mtime: U64,
    /// 40: its nanoseconds.
    mtime_nsec: U32,
    /// 44: names.
    nlink: U32,
    /// 48: zeros.
    reserved2: [u8; 16],
}
const _: () = assert!(size_of::<Extended>() == 64 && offset_of!(Extended, mtime) == 32);

/// `EROFS_INODE_`: where an inode's data is.
mod layout {
    /// In one run of blocks.
    pub(super) const FLAT_PLAIN: u16 = 0;
    /// In clusters, with an index of 8 bytes for each block of the file.
    pub(super) const COMPRESSED_FULL: u16 = 1;
    /// In one run of blocks, and the rest behind the inode.
    pub(super) const FLAT_INLINE: u16 = 2;
    /// In chunks.
    pub(super) const CHUNK_BASED: u16 = 4;
}

/// What an inode holds.
#[derive(Debug)]
pub(super) enum Data<'a> {
    /// A pipe.
    Nothing,
    /// A device's number.
    Device(u32),
    /// Uncompressed content of a file, or the target of a symbolic link.
    Flat(Blob),
    /// Names.
    Directory(Directory<'a>),
    /// A file with gaps.
    Chunks(Chunks),
    /// A compressed file.
    Clusters(Clusters),
}

/// An inode on its way to the disk.
#[derive(Debug)]
pub(super) struct Node<'a> {
    /// Its first name.
    pub(super) path: &'a [u8],
    inode: &'a Inode,
    nlink: u32,
    /// The time that a compact inode has.
    time: Timestamp,
    xattrs: Vec<u8>,
    pub(super) data: Data<'a>,
    /// Where in the volume it is.
    pub(super) at: u64,
    /// Whether what does not fill a block stands behind it.
    pub(super) is_inline: bool,
    /// Its first block.
    pub(super) start: u32,
}

impl<'a> Node<'a> {
    /// One that has no place yet.
    pub(super) fn new(path: &'a [u8], inode: &'a Inode, nlink: u32, time: Timestamp, xattrs: Vec<u8>, data: Data<'a>) -> Self {
        Self { path, inode, nlink, time, xattrs, data, at: 0, is_inline: false, start: NO_BLOCK }
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.data, Data::Directory(_))
    }

    pub(super) fn is_chunked(&self) -> bool {
        matches!(self.data, Data::Chunks(_))
    }

    /// The content of a file that may be compressed: what fits one block cannot get smaller.
    pub(super) fn compressible(&self) -> Option<&Blob> {
        match &self.data {
            Data::Flat(body) if matches!(self.inode.content, Content::File(_)) && body.len() > BLOCK => Some(body),
            _ => None,
        }
    }

    /// Its number on disk.
    pub(super) fn nid(&self) -> u64 {
        self.at / SLOT
    }

    /// `i_size`.
    fn size(&self) -> u64 {
        match &self.data {
            Data::Nothing | Data::Device(_) => 0,
            Data::Flat(body) => body.len(),
            Data::Directory(directory) => directory.size(),
            Data::Chunks(chunks) => chunks.size(),
            Data::Clusters(clusters) => clusters.size(),
        }
    }

    /// What does not fill a block at its end.
    fn tail_len(&self) -> u64 {
        match &self.data {
            Data::Flat(_) | Data::Directory(_) => self.size() % BLOCK,
            _ => 0,
        }
    }

    /// Bytes of the inode and of all behind it but the tail; and of the tail.
    pub(super) fn metadata_len(&self) -> (u64, u64) {
        let inode_len = if self.is_compact() { size_of::<Compact>() } else { size_of::<Extended>() };
        let head = units::bytes(inode_len + self.xattrs.len());
        let head = match &self.data {
            Data::Chunks(chunks) => chunks.index_end(head),
            Data::Clusters(clusters) => clusters.index_end(head),
            _ => head,
        };
        (head, self.tail_len())
    }

    /// Blocks in the data area.
    pub(super) fn block_count(&self) -> u64 {
        match &self.data {
            Data::Nothing | Data::Device(_) => 0,
            Data::Chunks(chunks) => chunks.block_count(),
            Data::Clusters(clusters) => clusters.block_count(),
            Data::Flat(_) | Data::Directory(_) => (self.size() - self.inline_len()).div_ceil(BLOCK),
        }
    }

    fn inline_len(&self) -> u64 {
        if self.is_inline { self.tail_len() } else { 0 }
    }

    /// The content of its blocks; zeros may be missing at the end.
    pub(super) fn blocks(&self, nodes: &[Node<'_>]) -> Blob {
        let in_blocks = |body: Blob| body.slice(0..body.len() - self.inline_len());
        match &self.data {
            Data::Nothing | Data::Device(_) => Blob::default(),
            Data::Flat(body) => in_blocks(body.clone()),
            Data::Directory(directory) => in_blocks(entries(directory, nodes)),
            Data::Chunks(chunks) => chunks.blocks(),
            Data::Clusters(clusters) => clusters.blocks(),
        }
    }

    /// What stands behind the head, in the same block.
    fn tail(&self, nodes: &[Node<'_>]) -> Blob {
        let in_line = |body: Blob| body.slice(body.len() - self.inline_len()..body.len());
        match &self.data {
            Data::Flat(body) => in_line(body.clone()),
            Data::Directory(directory) if self.is_inline => in_line(entries(directory, nodes)),
            _ => Blob::default(),
        }
    }

    /// Whether 32 bytes lose nothing.
    fn is_compact(&self) -> bool {
        let Inode { uid, gid, mtime, mtime_nanos, .. } = *self.inode;
        let max = u32::from(u16::MAX);
        uid <= max && gid <= max && self.nlink <= max && mtime == self.time.0 && mtime_nanos == 0 && u32::try_from(self.size()).is_ok()
    }

    /// The inode and all behind it but the tail.
    fn head(&self, number: u32) -> Vec<u8> {
        let mut head = if self.is_compact() { self.compact(number).as_bytes().to_vec() } else { self.extended(number).as_bytes().to_vec() };
        head.extend_from_slice(&self.xattrs);
        match &self.data {
            Data::Chunks(chunks) => chunks.index(self.start, &mut head),
            Data::Clusters(clusters) => clusters.index(self.start, &mut head),
            _ => {}
        }
        head
    }

    fn compact(&self, number: u32) -> Compact {
        let short = |value: u32| U16::new(u16::try_from(value).expect("asked before"));
        Compact {
            format: (self.layout() << 1).into(),
            xattr_icount: xattr::count(&self.xattrs).expect("checked when made").into(),
            mode: self.mode(),
            nlink: short(self.nlink),
            size: u32::try_from(self.size()).expect("asked before").into(),
            mtime: 0.into(),
            union: self.union().into(),
            ino: number.into(),
            uid: short(self.inode.uid),
            gid: short(self.inode.gid),
            reserved: 0.into(),
        }
    }

    fn extended(&self, number: u32) -> Extended {
        Extended {
            format: (self.layout() << 1 | 1).into(),
            xattr_icount: xattr::count(&self.xattrs).expect("checked when made").into(),
            mode: self.mode(),
            reserved: 0.into(),
            size: self.size().into(),
            union: self.union().into(),
            ino: number.into(),
            uid: self.inode.uid.into(),
            gid: self.inode.gid.into(),
            mtime: self.inode.mtime.cast_unsigned().into(),
            mtime_nsec: self.inode.mtime_nanos.into(),
            nlink: self.nlink.into(),
            reserved2: [0; 16],
        }
    }

    fn mode(&self) -> U16 {
        let mode = self.inode.content.type_bits() | self.inode.mode & 0o7777;
        u16::try_from(mode).expect("16 bits of type and permissions").into()
    }

    fn layout(&self) -> u16 {
        match &self.data {
            Data::Chunks(_) => layout::CHUNK_BASED,
            Data::Clusters(_) => layout::COMPRESSED_FULL,
            _ if self.inline_len() > 0 => layout::FLAT_INLINE,
            _ => layout::FLAT_PLAIN,
        }
    }

    fn union(&self) -> u32 {
        match &self.data {
            Data::Device(number) => *number,
            Data::Chunks(chunks) => chunks.format(),
            Data::Clusters(clusters) => narrow(clusters.block_count()).expect("the blocks were counted when dealt"),
            Data::Nothing | Data::Flat(_) | Data::Directory(_) => self.start,
        }
    }
}

fn entries(directory: &Directory<'_>, nodes: &[Node<'_>]) -> Blob {
    let content = |number: usize| -> &Content { &nodes[number].inode.content };
    directory.content(|number| nodes[number].nid(), content).into()
}

/// The metadata, from the start of the volume: inodes and what is behind them in the order of their places.
pub(super) fn metadata(nodes: &[Node<'_>], len: u64) -> Result<Blob> {
    let mut order: Vec<(u32, &Node<'_>)> = (1..).zip(nodes).collect();
    order.sort_unstable_by_key(|(_, node)| node.at);
    // Heads in one buffer; the tails come between.
    let mut heads = Vec::new();
    let mut pieces = Vec::with_capacity(nodes.len());
    for (number, node) in order {
        let start = units::bytes(heads.len());
        heads.extend(node.head(number));
        pieces.push((node.at, start..units::bytes(heads.len()), node.tail(nodes)));
    }
    let heads = Blob::from(heads);
    let mut metadata = Blob::default();
    for (at, head, tail) in pieces {
        metadata.extend_to(at);
        metadata.append(&heads.slice(head));
        metadata.append(&tail);
    }
    metadata.extend_to(len);
    Ok(metadata)
}
