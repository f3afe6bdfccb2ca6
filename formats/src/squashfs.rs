//! squashfs 4.0: a compressed file system that is read only. The standard is Linux `Documentation/filesystems/squashfs.rst`
//! with `fs/squashfs/squashfs_fs.h`; all integers are little-endian.
//!
//! ```text
//!  0            96
//!  superblock | compressor options | data blocks and fragments | inode table | directory table |
//!  fragment table | export table | table of ids | table of extended attributes | zeros to 4 KiB
//! ```
//! Written: everything that a [`Tree`] has, straight from the bodies' ranges: hard links, devices, owners of 32 bits, extended
//! attributes, holes; small files share fragments, equal files their blocks. Blocks are compressed on all cores and stored in
//! order; one that compression makes no smaller is a range of its source. The export table is there, for NFS.
//!
//! Refused by name: what Linux would not hold: device numbers above 4095:1048575, links to nothing, attributes with
//! oversized names or values; and more than 65,535 owners and groups.
//!
//! Left out, and told ([`losses`]): attributes that are neither `user.`, `trusted.` nor `security.`, which the format has no
//! number for; fractions of a second, and times outside of 1970 to 2106, which are clamped.
//!
//! Oracles: `unsquashfs`, Linux.

mod compression;
mod data;
mod directory;
mod duplicates;
mod inode;
mod metadata;
mod xattr;

use crate::{
    At, Blob, Env, Error, OptionSpec, Options, Result, Values,
    compress::{self, Codec, Encoding},
    dump::Dump,
    tree::{Content, Hierarchy, Losses, ShowPath, Tree},
    units::{self, KIB, MIB},
};
use data::Data;
use inode::Place;
use metadata::Stream;
use std::{collections::HashMap, mem::offset_of};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// "hsqs".
const MAGIC: u32 = 0x7371_7368;
/// Bytes of an unpacked metadata block.
const METADATA: u32 = 8 << 10;
/// A table that is not there.
const NO_TABLE: u64 = u64::MAX;
/// An image is a multiple of this, so that it can be mounted through a loop device.
const PADDING: u64 = 4 * KIB;
/// Smaller and faster than gzip at its own default.
const ZSTD_LEVEL: u32 = 6;
/// `flags`: equal files share their blocks.
const FLAG_DUPLICATES: u16 = 1 << 6;
/// `flags`: there is an export table.
const FLAG_EXPORTABLE: u16 = 1 << 7;
/// `flags`: there are compressor options.
const FLAG_COMPRESSOR_OPTIONS: u16 = 1 << 10;
/// `flags`: inodes, data, fragments and the table of ids are not compressed.
const FLAGS_UNCOMPRESSED: u16 = 1 | 1 << 1 | 1 << 3 | 1 << 11;

/// What `--opt` can say.
pub static OPTIONS: [OptionSpec; 3] = [
    OptionSpec {
        name: "squashfs_compression",
        values: Values::Choice(&compress::CHOICES),
        default: "auto",
        help: "auto: zstd if the kernel says that it has it, else gzip",
    },
    OptionSpec {
        name: "squashfs_level",
        values: Values::NumberOrAuto { min: 0, max: 19 },
        default: "auto",
        help: "gzip 1 to 9 (auto: 6), zstd 1 to 19 (auto: 6), xz 0 to 9 (auto: 6)",
    },
    OptionSpec {
        name: "squashfs_block_size",
        values: Values::PowerOfTwo { min: 4 * KIB, max: MIB },
        default: "128K",
        help: "larger ones compress better, smaller ones are read faster at random",
    },
];

/// The superblock, `struct squashfs_super_block`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Superblock {
    /// 0: [`MAGIC`].
    s_magic: U32,
    /// 4: number of inodes.
    inodes: U32,
    /// 8: when the image was made.
    mkfs_time: U32,
    /// 12: bytes of an unpacked data block.
    block_size: U32,
    /// 16: number of fragments.
    fragments: U32,
    /// 20: 1 zlib, 4 xz, 5 lz4, 6 zstd.
    compression: U16,
    /// 22: base 2 logarithm of `block_size`.
    block_log: U16,
    /// 24: `FLAG_*`.
    flags: U16,
    /// 26: number of owners and groups.
    no_ids: U16,
    /// 28: 4.
    s_major: U16,
    /// 30: 0.
    s_minor: U16,
    /// 32: where the root directory's inode is.
    root_inode: U64,
    /// 40: bytes of the image before padding.
    bytes_used: U64,
    /// 48: the index of the table of ids.
    id_table_start: U64,
    /// 56: the header of the table of extended attributes.
    xattr_id_table_start: U64,
    /// 64: the inode table.
    inode_table_start: U64,
    /// 72: the directory table.
    directory_table_start: U64,
    /// 80: the index of the fragment table.
    fragment_table_start: U64,
    /// 88: the index of the export table.
    lookup_table_start: U64,
}

const SUPERBLOCK_LEN: u64 = 96;

/// Lists what the superblock of an image says, for golden files.
///
/// # Errors
/// When the image cannot be read, or is none.
pub fn dump(image: &Blob, to: &mut Dump) -> Result<()> {
    let bytes: [u8; size_of::<Superblock>()] = image.read_array(0)?;
    let superblock: Superblock = zerocopy::transmute!(bytes);
    if superblock.s_magic.get() != MAGIC {
        return Err(Error::bad_input("there is no squashfs superblock"));
    }
    to.section("superblock", |to| {
        to.field("inodes", superblock.inodes);
        to.field("time", superblock.mkfs_time);
        to.field("block size", superblock.block_size);
        to.field("fragments", superblock.fragments);
        to.field("compression", superblock.compression);
        to.hex("flags", superblock.flags.get());
        to.field("ids", superblock.no_ids);
        to.hex("root inode", superblock.root_inode.get());
        to.field("bytes used", superblock.bytes_used);
        to.field("id table", superblock.id_table_start);
        to.field("xattr id table", superblock.xattr_id_table_start);
        to.field("inode table", superblock.inode_table_start);
        to.field("directory table", superblock.directory_table_start);
        to.field("fragment table", superblock.fragment_table_start);
        to.field("export table", superblock.lookup_table_start);
    });
    Ok(())
}

const _: () =
    assert!(size_of::<Superblock>() == 96 && offset_of!(Superblock, root_inode) == 32 && offset_of!(Superblock, lookup_table_start) == 88);

/// How an image is compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    codec: Codec,
    level: u32,
    block_size: u32,
}

impl Settings {
    /// What options say. `known` are the codecs that the kernel can read, as far as it can be asked.
    ///
    /// # Errors
    /// When the level is not one of the codec.
    pub fn new(options: &Options, known: &[Codec]) -> Result<Self> {
        let codec = Codec::written_as(options.word("squashfs_compression")).unwrap_or_else(|| Codec::best_of(known));
        let level = options.number_or_auto("squashfs_level").map(|level| u32::try_from(level).expect("at most 19"));
        // A root is written once and read often: a higher level than a stream's pays.
        let level = level.or((codec == Codec::Zstd).then_some(ZSTD_LEVEL));
        let encoding = Encoding::new(codec, level)?;
        let block_size = u32::try_from(options.number("squashfs_block_size")).expect("at most 1 MiB");
        Ok(Self { codec, level: encoding.level(), block_size })
    }

    /// The codec.
    pub fn codec(&self) -> Codec {
        self.codec
    }
}

/// What [`write()`] leaves out of a tree.
pub fn losses(tree: &Tree) -> Losses {
    Losses::of(tree, xattr::is_held, 0..=u32::MAX.into())
}

/// A tree as a squashfs image.
///
/// # Errors
/// Names the file that squashfs or Linux cannot hold; when a body cannot be read or the spool not be written.
pub fn write(tree: &Tree, settings: &Settings, env: &mut Env) -> Result<Blob> {
    let mut image = Blob::zeros(SUPERBLOCK_LEN);
    let mut flags = FLAG_DUPLICATES | FLAG_EXPORTABLE;
    if settings.codec == Codec::None {
        flags |= FLAGS_UNCOMPRESSED;
    }
    let options = settings.compressor_options();
    if !options.is_empty() {
        flags |= FLAG_COMPRESSOR_OPTIONS;
        image.append(&Blob::bytes(metadata::stored_block(&options)));
    }
    let data = data::write(tree, settings, &mut image, env)?;
    let sets = xattr::Sets::new(tree, settings)?;
    let ids = Owners::new(tree)?;
    let tables = tables(tree, settings, &data, &sets, &ids, env)?;

    let inode_table_start = append(&mut image, tables.inodes);
    let directory_table_start = append(&mut image, tables.directories);
    let fragment_table_start = append_table(&mut image, &data.fragments, settings)?;
    let lookup_table_start = append_table(&mut image, &tables.export, settings)?;
    let id_table_start = append_table(&mut image, &ids.table, settings)?;
    let mut xattr_id_table_start = NO_TABLE;
    if let Some((bytes, header)) = sets.write(image.len(), settings)? {
        append(&mut image, bytes);
        xattr_id_table_start = header;
    }
    let superblock = Superblock {
        s_magic: MAGIC.into(),
        inodes: number(tree.inodes.len() - 1).into(),
        mkfs_time: u32::try_from(env.time.0.max(0)).unwrap_or(u32::MAX).into(),
        block_size: settings.block_size.into(),
        fragments: count(data.fragments.len() / 16).into(),
        compression: settings.id().into(),
        block_log: U16::new(u16::try_from(settings.block_size.ilog2()).expect("at most 20")),
        flags: flags.into(),
        no_ids: ids.count.into(),
        s_major: 4.into(),
        s_minor: 0.into(),
        root_inode: tables.root.into(),
        bytes_used: image.len().into(),
        id_table_start: id_table_start.into(),
        xattr_id_table_start: xattr_id_table_start.into(),
        inode_table_start: inode_table_start.into(),
        directory_table_start: directory_table_start.into(),
        fragment_table_start: fragment_table_start.into(),
        lookup_table_start: lookup_table_start.into(),
    };
    image.splice(0, &Blob::bytes(superblock.as_bytes()));
    image.pad_to(PADDING);
    Ok(image)
}

fn append(image: &mut Blob, bytes: Vec<u8>) -> u64 {
    let at = image.len();
    image.append(&Blob::from(bytes));
    at
}

/// A table of equal entries; where its index is.
fn append_table(image: &mut Blob, entries: &[u8], settings: &Settings) -> Result<u64> {
    let (blocks, index) = metadata::table(entries, image.len(), settings)?;
    append(image, blocks);
    Ok(append(image, index))
}

/// The number of the inode with this index.
fn number(index: usize) -> u32 {
    count(index) + 1
}

fn count(count: usize) -> u32 {
    u32::try_from(count).expect("a tree in memory has less than 2^32 inodes")
}

/// The first path of an inode, for errors.
fn path(tree: &Tree, inode: usize) -> String {
    tree.names.iter().find(|name| name.inode == inode).map_or_else(|| "/".to_owned(), |name| ShowPath(&name.path).to_string())
}

/// Every owner and group, once.
struct Owners {
    index: HashMap<u32, u16>,
    count: u16,
    table: Vec<u8>,
}

impl Owners {
    fn new(tree: &Tree) -> Result<Self> {
        let mut owners = Self { index: HashMap::new(), count: 0, table: Vec::new() };
        for id in tree.inodes.iter().flat_map(|inode| [inode.uid, inode.gid]) {
            if owners.index.contains_key(&id) {
                continue;
            }
            owners.index.insert(id, owners.count);
            owners.table.extend(id.to_le_bytes());
            let next = owners.count.checked_add(1);
            owners.count =
                next.ok_or_else(|| Error::bad_input(format!("more than {} owners and groups, squashfs holds no more", u16::MAX)))?;
        }
        Ok(owners)
    }
}

/// The tables that refer to each other.
struct Tables {
    inodes: Vec<u8>,
    directories: Vec<u8>,
    /// For each inode in the order of its number, where it is: 64 bits.
    export: Vec<u8>,
    /// Where the root directory's inode is.
    root: u64,
}

/// Inodes and directories. First what is no directory; then directories from the leaves up, as an entry says where its inode is.
fn tables(tree: &Tree, settings: &Settings, data: &Data, sets: &xattr::Sets, ids: &Owners, env: &Env) -> Result<Tables> {
    let links = tree.name_counts();
    let place = |index: usize, links: u32| {
        let inode = &tree.inodes[index];
        Place { number: number(index), links, uid: ids.index[&inode.uid], gid: ids.index[&inode.gid], xattr: sets.of[index] }
    };
    let mut positions = vec![0; tree.inodes.len()];
    let mut plain = Vec::new();
    for (index, inode) in tree.inodes.iter().enumerate() {
        let place = place(index, links[index]);
        positions[index] = units::bytes(plain.len());
        match &inode.content {
            Content::Directory => {}
            Content::File(_) => plain.extend(inode::file(inode, place, &data.bodies[data.of[index]])),
            _ => plain.extend(inode::special(inode, place).at(|| path(tree, index))?),
        }
    }
    let (mut inodes, mut directories) = (Stream::new(settings), Stream::new(settings));
    inodes.push_on(&plain, env.threads)?;
    drop(plain);

    let hierarchy = Hierarchy::of(tree);
    for directory in hierarchy.directories.iter().rev() {
        let index = directory.inode;
        let entries: Vec<_> = directory
            .children
            .iter()
            .map(|child| directory::Entry {
                name: child.name,
                number: number(child.inode),
                inode: inodes.reference(positions[child.inode]),
                kind: inode::kind(&tree.inodes[child.inode].content),
            })
            .collect();
        let listing = directory::write(&entries, &mut directories).at(|| path(tree, index))?;
        // What stands above the root is nobody's number.
        let parent = if index == 0 { number(tree.inodes.len()) } else { number(hierarchy.directories[directory.parent].inode) };
        positions[index] = inodes.position();
        inodes.push(&inode::directory(&tree.inodes[index], place(index, count(directory.links())), parent, &listing))?;
    }
    let export = positions.iter().flat_map(|at| inodes.reference(*at).packed().to_le_bytes()).collect();
    let root = inodes.reference(positions[0]).packed();
    Ok(Tables { inodes: inodes.finish()?, directories: directories.finish()?, export, root })
}

#[cfg(test)]
mod tests;
