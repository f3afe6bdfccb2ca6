//! Inodes. Each type has two forms: a basic one, and an extended one for what the other has no room for.

use super::{
    data::Body,
    directory::{Index, Listing, SIZE_EXTRA, index_len},
    xattr,
};
use crate::{
    Error, Result,
    tree::{Content, Inode},
};
use zerocopy::{
    Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// The longest target of a symbolic link: Linux `PATH_MAX` without its NUL.
const TARGET_MAX: usize = 4095;
/// A file without fragment.
const NO_FRAGMENT: u32 = u32::MAX;
/// What an extended form's type is more than the basic one's.
const EXTENDED: u16 = 7;

/// What every inode begins with.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Head {
    /// 0: the type: 1 to 7 basic, 8 to 14 extended.
    inode_type: U16,
    /// 2: permissions; the type is not repeated.
    mode: U16,
    /// 4: index into the table of ids.
    uid: U16,
    /// 6: the same.
    gid: U16,
    /// 8: seconds since 1970.
    mtime: U32,
    /// 12: from 1.
    inode_number: U32,
}

/// Type 1.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Directory {
    /// 16: where the metadata block of the listing begins.
    start_block: U32,
    /// 20: 2, and one for each directory in it.
    nlink: U32,
    /// 24: bytes of the listing and 3.
    file_size: U16,
    /// 26: where the listing is in its metadata block.
    offset: U16,
    /// 28: number of the inode above.
    parent_inode: U32,
}

/// Type 8; index entries follow.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct DirectoryExtended {
    /// 16: as in the basic form.
    nlink: U32,
    /// 20: as in the basic form.
    file_size: U32,
    /// 24: as in the basic form.
    start_block: U32,
    /// 28: as in the basic form.
    parent_inode: U32,
    /// 32: index entries.
    i_count: U16,
    /// 34: as in the basic form.
    offset: U16,
    /// 36: the set of extended attributes.
    xattr: U32,
}

/// An index entry; a name follows.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct IndexHead {
    /// 0: where the run is in the listing.
    index: U32,
    /// 4: where its metadata block begins.
    start_block: U32,
    /// 8: bytes of the name - 1.
    size: U32,
}

/// Type 2; the sizes of blocks follow.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct File {
    /// 16: first byte of the first block.
    start_block: U32,
    /// 20: the fragment that holds all of the file, or [`NO_FRAGMENT`].
    fragment: U32,
    /// 24: where it is in the fragment.
    offset: U32,
    /// 28: bytes.
    file_size: U32,
}

/// Type 9; the sizes of blocks follow.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FileExtended {
    /// 16: as in the basic form.
    start_block: U64,
    /// 24: as in the basic form.
    file_size: U64,
    /// 32: bytes in blocks of zeros.
    sparse: U64,
    /// 40: names.
    nlink: U32,
    /// 44: as in the basic form.
    fragment: U32,
    /// 48: as in the basic form.
    offset: U32,
    /// 52: the set of extended attributes.
    xattr: U32,
}

const _: () = assert!(size_of::<Head>() == 16);
const _: () = assert!(size_of::<Directory>() == 16);
const _: () = assert!(size_of::<DirectoryExtended>() == 24);
const _: () = assert!(size_of::<IndexHead>() == 12);
const _: () = assert!(size_of::<File>() == 16);
const _: () = assert!(size_of::<FileExtended>() == 40);

/// What an inode is given by the image around it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Its number.
    pub(super) number: u32,
    /// How many names it has; for a directory 2, and one for each directory in it.
    pub(super) links: u32,
    /// Index of its owner in the table of ids.
    pub(super) uid: u16,
    /// Index of its group.
    pub(super) gid: u16,
    /// Its set of extended attributes.
    pub(super) xattr: u32,
}

impl Place {
    fn has_xattr(self) -> bool {
        self.xattr != xattr::NONE
    }

    /// The inode's type and what every inode begins with.
    fn head(self, inode: &Inode, is_extended: bool) -> Vec<u8> {
        let head = Head {
            inode_type: U16::new(kind(&inode.content) + if is_extended { EXTENDED } else { 0 }),
            mode: U16::new(u16::try_from(inode.mode & 0o7777).expect("12 bits")),
            uid: self.uid.into(),
            gid: self.gid.into(),
            mtime: mtime(inode).into(),
            inode_number: self.number.into(),
        };
        head.as_bytes().to_vec()
    }
}

/// The type of an inode that is not extended.
pub(super) fn kind(content: &Content) -> u16 {
    match content {
        Content::Directory => 1,
        Content::File(_) => 2,
        Content::Symlink(_) => 3,
        Content::BlockDevice(_) => 4,
        Content::CharacterDevice(_) => 5,
        Content::Fifo => 6,
    }
}

/// The modification time, clamped to 32 bits.
fn mtime(inode: &Inode) -> u32 {
    u32::try_from(inode.mtime.max(0)).unwrap_or(u32::MAX)
}

/// A directory. `parent` is the number of the inode above.
pub(super) fn directory(inode: &Inode, place: Place, parent: u32, listing: &Listing<'_>) -> Vec<u8> {
    let size = listing.len + SIZE_EXTRA;
    let short = u16::try_from(size).ok().filter(|_| listing.index.is_empty() && !place.has_xattr());
    let mut bytes = place.head(inode, short.is_none());
    let start_block = listing.place.block.into();
    let offset = listing.place.offset.into();
    let Some(file_size) = short.map(U16::new) else {
        let index = &listing.index[..index_len(&listing.index)];
        let i_count = U16::new(u16::try_from(index.len()).expect("it was cut"));
        let (file_size, xattr) = (size.into(), place.xattr.into());
        let rest =
            DirectoryExtended { nlink: place.links.into(), file_size, start_block, parent_inode: parent.into(), i_count, offset, xattr };
        bytes.extend(rest.as_bytes());
        for Index { at, block, name } in index {
            let size = U32::new(u32::try_from(name.len() - 1).expect("a name has at most 255 bytes"));
            bytes.extend(IndexHead { index: (*at).into(), start_block: (*block).into(), size }.as_bytes());
            bytes.extend(*name);
        }
        return bytes;
    };
    let rest = Directory { start_block, nlink: place.links.into(), file_size, offset, parent_inode: parent.into() };
    bytes.extend(rest.as_bytes());
    bytes
}

/// A regular file.
pub(super) fn file(inode: &Inode, place: Place, body: &Body) -> Vec<u8> {
    let (fragment, offset) = body.part.map_or((NO_FRAGMENT, 0), |part| (part.fragment, part.offset));
    let (fragment, offset) = (fragment.into(), offset.into());
    let is_plain = place.links == 1 && body.sparse == 0 && !place.has_xattr();
    let basic = match (u32::try_from(body.start), u32::try_from(body.len)) {
        (Ok(start), Ok(len)) if is_plain => Some(File { start_block: start.into(), fragment, offset, file_size: len.into() }),
        _ => None,
    };
    let mut bytes = place.head(inode, basic.is_none());
    match basic {
        Some(rest) => bytes.extend(rest.as_bytes()),
        None => {
            let rest = FileExtended {
                start_block: body.start.into(),
                file_size: body.len.into(),
                sparse: body.sparse.into(),
                nlink: place.links.into(),
                fragment,
                offset,
                xattr: place.xattr.into(),
            };
            bytes.extend(rest.as_bytes());
        }
    }
    body.sizes.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
    bytes
}

/// A symbolic link, a device or a pipe.
///
/// # Errors
/// When Linux could not hold it.
pub(super) fn special(inode: &Inode, place: Place) -> Result<Vec<u8>> {
    let mut bytes = place.head(inode, place.has_xattr());
    bytes.extend(place.links.to_le_bytes());
    match &inode.content {
        Content::Symlink(target) => {
            let len = Some(target.len()).filter(|len| (1..=TARGET_MAX).contains(len)).and_then(|len| u32::try_from(len).ok());
            let refuse = || Error::bad_input(format!("a symbolic link to {} bytes, 1 to {TARGET_MAX} are taken", target.len()));
            bytes.extend(len.ok_or_else(refuse)?.to_le_bytes());
            bytes.extend(target);
        }
        Content::CharacterDevice(device) | Content::BlockDevice(device) => bytes.extend(device.encoded()?.to_le_bytes()),
        Content::Fifo => {}
        Content::Directory | Content::File(_) => unreachable!("these are written elsewhere"),
    }
    if place.has_xattr() {
        bytes.extend(place.xattr.to_le_bytes());
    }
    Ok(bytes)
}
