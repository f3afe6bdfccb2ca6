//! EROFS, the kernel's read-only file system: Linux `Documentation/filesystems/erofs.rst` and `fs/erofs/erofs_fs.h`. Blocks of
//! 4 KiB; all integers are little-endian.
//!
//! ```text
//! 0        1024          1152                        whole blocks
//! | zeros  | superblock  | metadata                  | data: directories, then files, each in one run of blocks
//!            and what the  inodes at multiples of 32:
//!            compressors   | inode | attributes | index of chunks or clusters | tail |
//!            are           32 or 64  in line                                    in line, up to the end of its block
//! ```
//! A file's place is its number: inode n stands 32 × n bytes behind block 0. What does not fill a block at the end of a file,
//! directory or link stands behind its inode where a block has room for both, so small files take no block of their own. An
//! inode has 32 bytes where these hold all (owner below 65,536, the time of the volume), else 64.
//!
//! Written: every type a [`Tree`] has, hard links, times with nanoseconds, extended attributes, gaps of files as absent
//! chunks. Uncompressed bodies are referred to, never copied. Compressed ones are equal pieces of the file, each an LZ4 block or
//! a frame of Zstandard (Linux 6.10) in whole blocks, behind the zeros that fill the first of them; a file, or a piece of it,
//! that does not get smaller stays plain.
//!
//! Refused by name: what the kernel could not show (names over 255 bytes, attributes of unknown classes, device numbers over
//! 12 and 20 bits), and volumes of 16 TiB.
//!
//! Oracles: `fsck.erofs`, `dump.erofs`, the crate `erofs-rs`, the kernel; for Zstandard those of erofs-utils 1.8 and Linux 6.12.

mod chunks;
mod clusters;
mod compressor;
mod directory;
mod inode;
mod lz4hc;
mod place;
mod plan;
mod xattr;

use crate::{
    Blob, Env, Error, Ids, OptionSpec, Options, Result, Values,
    crc32c::crc32c,
    dump::Dump,
    error::At,
    tree::{Losses, ShowPath, Tree},
    units,
};
use clusters::Settings;
use compressor::Compressor;
use inode::{Data, Node};
use std::mem::offset_of;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// The options of a volume.
pub static OPTIONS: [OptionSpec; 3] = [
    OptionSpec {
        name: "erofs_compression",
        values: Values::Choice(&["lz4", "lz4hc", "zstd", "none"]),
        default: "lz4",
        help: "of file content; lz4hc is smaller by a sixth, slow to make and as fast to read; zstd is smaller still and slower to read, for Linux from 6.10 on with CONFIG_EROFS_FS_ZIP_ZSTD",
    },
    OptionSpec { name: "erofs_level", values: Values::NumberOrAuto { min: 1, max: 19 }, default: "auto", help: "of zstd (auto: 6)" },
    OptionSpec {
        name: "erofs_piece_size",
        values: Values::PowerOfTwo { min: clusters::PIECE_MIN, max: clusters::PIECE_MAX },
        default: "128K",
        help: "bytes of a file that are compressed together: large ones get smaller, small ones are read faster at random",
    },
];

/// Bytes of a block: a page of most machines, and what every kernel that has EROFS takes.
const BLOCK: u64 = 1 << BLOCK_BITS;
const BLOCK_BITS: u8 = 12;
/// Where the superblock stands: what is before it is for boot loaders.
const SUPERBLOCK_AT: u64 = 1024;
/// `EROFS_SUPER_MAGIC_V1`.
const MAGIC: u32 = 0xe0f5_e1e2;
/// Inodes are numbered by their place in units of this.
const SLOT: u64 = 32;
/// A block address that says there is no block.
const NO_BLOCK: u32 = u32::MAX;

/// Bits of [`Superblock::feature_compat`].
mod compat {
    /// The superblock has a checksum.
    pub(super) const SB_CHKSUM: u32 = 1;
    /// Inodes have the time of modification, not of change.
    pub(super) const MTIME: u32 = 2;
}

/// Bits of [`Superblock::feature_incompat`].
mod incompat {
    /// Zeros stand before compressed data, not behind it.
    pub(super) const LZ4_0PADDING: u32 = 1;
    /// Compressed data of several blocks; what the compressors are stands behind the superblock.
    pub(super) const BIG_PCLUSTER: u32 = 2;
    /// Files made of chunks.
    pub(super) const CHUNKED_FILE: u32 = 4;
}

/// `struct erofs_super_block`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Superblock {
    /// 0: [`MAGIC`].
    magic: U32,
    /// 4: CRC-32C without its final inversion, from here to the end of the block, with 0 here.
    checksum: U32,
    /// 8: see [`compat`].
    feature_compat: U32,
    /// 12: [`BLOCK_BITS`].
    block_bits: u8,
    /// 13: units of 16 bytes by which it is longer.
    ext_slots: u8,
    /// 14: inode number of the root directory.
    root_nid: U16,
    /// 16: inodes.
    inos: U64,
    /// 24: when it was made; the time of every compact inode.
    build_time: U64,
    /// 32: nanoseconds of that.
    build_time_nsec: U32,
    /// 36: blocks of the volume.
    blocks: U32,
    /// 40: the block that inode 0 would start.
    meta_blkaddr: U32,
    /// 44: first block of shared attributes: there are none.
    xattr_blkaddr: U32,
    /// 48: identifies the volume.
    uuid: [u8; 16],
    /// 64: label.
    volume_name: [u8; 16],
    /// 80: see [`incompat`].
    feature_incompat: U32,
    /// 84: a bit for each [`Compressor::algorithm`] that is used.
    compr_algs: U16,
    /// 86: 0.
    extra_devices: U16,
    /// 88: 0.
    devt_slotoff: U16,
    /// 90: of a directory's blocks, more than [`BLOCK_BITS`]: 0.
    dir_block_bits: u8,
    /// 91: zeros.
    reserved: [u8; 37],
}
const _: () = assert!(size_of::<Superblock>() == 128 && offset_of!(Superblock, uuid) == 48 && offset_of!(Superblock, compr_algs) == 84);

/// Lists what the superblock of a volume says, for golden files.
///
/// # Errors
/// When the volume cannot be read, or is none.
pub fn dump(volume: &Blob, to: &mut Dump) -> Result<()> {
    let bytes: [u8; size_of::<Superblock>()] = volume.read_array(SUPERBLOCK_AT)?;
    let superblock: Superblock = zerocopy::transmute!(bytes);
    if superblock.magic.get() != MAGIC {
        return Err(Error::bad_input("there is no EROFS superblock"));
    }
    to.section("superblock", |to| {
        to.hex("compatible features", superblock.feature_compat.get());
        to.hex("incompatible features", superblock.feature_incompat.get());
        to.field("root inode", superblock.root_nid);
        to.field("inodes", superblock.inos);
        to.field("time", superblock.build_time);
        to.field("blocks", superblock.blocks);
        to.field("first metadata block", superblock.meta_blkaddr);
        to.hex("compression algorithms", superblock.compr_algs.get());
    });
    Ok(())
}

/// What [`write()`] leaves out of a tree.
pub fn losses(tree: &Tree) -> Losses {
    Losses::of(tree, xattr::is_held, i64::MIN..=i64::MAX)
}

/// The volume that holds `tree`: whole blocks.
///
/// # Errors
/// Names the file that EROFS cannot hold; or content cannot be read or spooled.
pub fn write(tree: &Tree, options: &Options, ids: &Ids, env: &mut Env) -> Result<Blob> {
    let settings = settings(options)?;
    let mut nodes = plan::nodes(tree, settings.is_some(), env.time)?;
    if let Some(settings) = &settings {
        let files = nodes.iter().enumerate().filter_map(|(number, node)| Some((number, node.path, node.compressible()?)));
        for (number, clusters) in clusters::compress(files.collect(), settings, env)? {
            nodes[number].data = Data::Clusters(clusters);
        }
    }
    let config = settings.map(|settings| settings.compressor.config(settings.piece)).unwrap_or_default();
    let used = SUPERBLOCK_AT + units::bytes(size_of::<Superblock>() + config.len());
    let meta_len = place::place(&mut nodes, used);
    let blocks = deal(&mut nodes, meta_len / BLOCK)?;
    let mut image = inode::metadata(&nodes, meta_len)?;
    for number in plan::data_order(&nodes) {
        image.append(&nodes[number].blocks(&nodes));
        image.pad_to(BLOCK);
    }
    assert_eq!(image.len(), blocks * BLOCK, "every block was dealt");
    let algorithms = settings.map_or(0, |settings| 1 << settings.compressor.algorithm());
    with_superblock(&image, &nodes, algorithms, &config, ids, env)
}

/// Refuses options that contradict each other.
///
/// # Errors
/// Says which do.
pub fn check_options(options: &Options) -> Result<()> {
    settings(options).map(|_| ())
}

/// How files are compressed, if they are.
fn settings(options: &Options) -> Result<Option<Settings>> {
    let piece = options.number("erofs_piece_size");
    Ok(Compressor::of(options)?.map(|compressor| Settings { compressor, piece }))
}

/// Gives every inode with data its run of blocks, behind the metadata; gives back the blocks of the volume.
fn deal(nodes: &mut [Node<'_>], first: u64) -> Result<u64> {
    let mut next = first;
    for number in plan::data_order(nodes) {
        let node = &mut nodes[number];
        let count = node.block_count();
        if count > 0 {
            node.start = narrow(next).filter(|block| *block != NO_BLOCK).ok_or_else(too_large).at(|| ShowPath(node.path))?;
            next += count;
        }
    }
    narrow(next).map(u64::from).ok_or_else(too_large)
}

fn too_large() -> Error {
    Error::unsupported(format!("the volume grows past {}, which is where EROFS ends", units::show_size(BLOCK << 32)))
}

/// A number of blocks as the disk has it.
fn narrow(blocks: u64) -> Option<u32> {
    u32::try_from(blocks).ok()
}

/// Puts the superblock and the compressors' settings into their gap in the first block, whose rest the checksum covers.
fn with_superblock(image: &Blob, nodes: &[Node<'_>], algorithms: u16, config: &[u8], ids: &Ids, env: &Env) -> Result<Blob> {
    let mut incompat = if algorithms != 0 { incompat::LZ4_0PADDING | incompat::BIG_PCLUSTER } else { 0 };
    if nodes.iter().any(Node::is_chunked) {
        incompat |= incompat::CHUNKED_FILE;
    }
    let mut superblock = Superblock {
        magic: MAGIC.into(),
        checksum: 0.into(),
        feature_compat: (compat::SB_CHKSUM | compat::MTIME).into(),
        block_bits: BLOCK_BITS,
        ext_slots: 0,
        root_nid: u16::try_from(nodes[0].nid()).expect("the root is placed first").into(),
        inos: units::bytes(nodes.len()).into(),
        build_time: env.time.0.cast_unsigned().into(),
        build_time_nsec: 0.into(),
        blocks: narrow(image.len() / BLOCK).expect("the blocks were counted when dealt").into(),
        meta_blkaddr: 0.into(),
        xattr_blkaddr: 0.into(),
        uuid: *ids.guid("erofs").as_bytes(),
        volume_name: [0; 16],
        feature_incompat: incompat.into(),
        compr_algs: algorithms.into(),
        extra_devices: 0.into(),
        devt_slotoff: 0.into(),
        dir_block_bits: 0,
        reserved: [0; 37],
    };
    let used = size_of::<Superblock>() + config.len();
    let mut rest = image.slice(SUPERBLOCK_AT..BLOCK).to_vec(BLOCK)?;
    rest[size_of::<Superblock>()..used].copy_from_slice(config);
    rest[..size_of::<Superblock>()].copy_from_slice(superblock.as_bytes());
    superblock.checksum = (!crc32c(&rest)).into();
    let mut whole = Blob::zeros(SUPERBLOCK_AT);
    whole.append(&Blob::bytes([superblock.as_bytes(), config].concat()));
    whole.append(&image.slice(whole.len()..image.len()));
    Ok(whole)
}

#[cfg(test)]
mod tests;
