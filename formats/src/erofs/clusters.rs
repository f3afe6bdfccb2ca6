//! Compressed files: equal pieces, each compressed by itself.
//!
//! ```text
//!  index:   | inode, attributes, zeros to 8 | map header | 8 zeros | entry of block 0 of the file | of block 1 | ... |
//!  entries: head: first block of the compressed piece; then one for each further block of the file: how far back the head
//!           is and how far ahead the next one. The first of these has the number of compressed blocks instead.
//!  data:    | zeros, compressed | zeros, compressed | plain block | plain block | ...
//! ```
//! A piece that does not save a block is plain: each of its blocks is a head of its own, and refers to the file's bytes.

use super::{BLOCK, compressor::Compressor};
use crate::{
    Blob, Env, Result, Stage,
    error::At,
    parallel,
    tree::ShowPath,
    units::{self, MIB},
};
use std::ops::Range;
use zerocopy::{
    Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32},
};

/// The largest piece: compressed data of more than 1 MiB is not read.
pub(super) const PIECE_MAX: u64 = MIB;
/// The smallest piece: what is compressed takes a block at least.
pub(super) const PIECE_MIN: u64 = 2 * BLOCK;

/// `struct z_erofs_map_header`.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct MapHeader {
    /// 0: zeros.
    reserved: U32,
    /// 4: see [`BIG_PCLUSTER_1`].
    advise: U16,
    /// 6: see [`Compressor::algorithm`].
    algorithm: u8,
    /// 7: 0: an entry for each block of the file.
    cluster_bits: u8,
}
const _: () = assert!(size_of::<MapHeader>() == 8);

/// `Z_EROFS_ADVISE_BIG_PCLUSTER_1`: compressed data of several blocks.
const BIG_PCLUSTER_1: u16 = 2;

/// `struct z_erofs_lcluster_index`.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    /// 0: see [`entry_type`].
    advise: U16,
    /// 2: where in the block of the file the piece starts: 0.
    offset: U16,
    /// 4: of a head the first block; of others how far back the head is, or [`COUNT`]; and how far ahead the next one.
    union: [u8; 4],
}
const ENTRY_LEN: u64 = units::bytes(size_of::<Entry>());
const _: () = assert!(ENTRY_LEN == 8);

/// Values of [`Entry::advise`]: `Z_EROFS_LCLUSTER_TYPE_`.
mod entry_type {
    pub(super) const PLAIN: u16 = 0;
    pub(super) const HEAD: u16 = 1;
    pub(super) const NONHEAD: u16 = 2;
}

/// `Z_EROFS_LI_D0_CBLKCNT`: with this bit the first number of an entry is how many blocks are compressed.
const COUNT: u16 = 1 << 11;

/// A compressed file.
#[derive(Debug)]
pub(super) struct Clusters {
    algorithm: u8,
    size: u64,
    pieces: Vec<Piece>,
    data: Blob,
}

/// A piece of a file.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Blocks of the file.
    blocks: u16,
    /// Blocks that it is compressed into; `None` when it is plain.
    packed: Option<u16>,
}

/// How files are compressed.
#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub(super) compressor: Compressor,
    /// Bytes of the file in a piece: a random read unpacks at most this, and waste is half a block of each.
    pub(super) piece: u64,
}

/// A part of a file to be compressed.
struct Work<'a> {
    /// Of the inode.
    number: usize,
    path: &'a [u8],
    body: &'a Blob,
    range: Range<u64>,
}

/// Compresses files, each a number, a path and a body, on all cores. Gives those that get smaller, by their numbers.
pub(super) fn compress(files: Vec<(usize, &[u8], &Blob)>, settings: &Settings, env: &mut Env) -> Result<Vec<(usize, Clusters)>> {
    let Settings { compressor, piece } = *settings;
    let Env { spool, threads, progress, .. } = env;
    let stage = Stage::new(&**progress, files.iter().map(|(.., body)| body.len()).sum());
    let pieces = files.into_iter().flat_map(|(number, path, body)| {
        let range = move |nth: u64| nth * piece..((nth + 1) * piece).min(body.len());
        (0..body.len().div_ceil(piece)).map(move |nth| Ok(Work { number, path, body, range: range(nth) }))
    });
    let packed = |work: Work<'_>| {
        let packed = packed(work.body, &work.range, compressor).at(|| ShowPath(work.path))?;
        stage.advance(work.range.end - work.range.start);
        // A plain piece refers to the file.
        let data = if packed.is_none() { work.body.slice(work.range.clone()) } else { Blob::default() };
        Ok((work.number, work.range.end - work.range.start, packed, data))
    };
    let mut done: Vec<(usize, Clusters)> = Vec::new();
    parallel::ordered(*threads, pieces, packed, |(number, len, packed, plain)| {
        if done.last().is_none_or(|(last, _)| *last != number) {
            done.push((number, Clusters::new(compressor)));
        }
        let (_, clusters) = done.last_mut().expect("one was just pushed");
        match packed {
            Some(packed) => clusters.add(len, true, &spool.append(&packed)?),
            None => clusters.add(len, false, &plain),
        }
        Ok(())
    })?;
    stage.finish();
    done.retain(|(_, clusters)| clusters.is_worth_it());
    Ok(done)
}

/// Compressed data at the end of whole blocks, when these are fewer than the piece has.
fn packed(body: &Blob, range: &Range<u64>, compressor: Compressor) -> Result<Option<Vec<u8>>> {
    let len = range.end - range.start;
    if len <= BLOCK {
        return Ok(None);
    }
    let mut plain = vec![0; units::index(len)];
    body.read_at(range.start, &mut plain)?;
    let unit = compressor.unit(&plain)?;
    let room = units::bytes(unit.len()).next_multiple_of(BLOCK);
    Ok((room < len.next_multiple_of(BLOCK)).then(|| {
        let mut packed = vec![0; units::index(room)];
        let zeros = packed.len() - unit.len();
        packed[zeros..].copy_from_slice(&unit);
        packed
    }))
}

impl Clusters {
    fn new(compressor: Compressor) -> Self {
        Self { algorithm: compressor.algorithm(), size: 0, pieces: Vec::new(), data: Blob::default() }
    }

    fn add(&mut self, len: u64, is_packed: bool, data: &Blob) {
        let blocks = |len: u64| u16::try_from(len.div_ceil(BLOCK)).expect("blocks of a piece");
        self.pieces.push(Piece { blocks: blocks(len), packed: is_packed.then(|| blocks(data.len())) });
        self.size += len;
        self.data.append(data);
        self.data.pad_to(BLOCK);
    }

    /// Whether it takes less space than the file as it is, whose end might stand behind its inode.
    fn is_worth_it(&self) -> bool {
        self.data.len() + self.index_end(0) < self.size
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn block_count(&self) -> u64 {
        self.data.len() / BLOCK
    }

    pub(super) fn blocks(&self) -> Blob {
        self.data.clone()
    }

    /// Where the index ends that starts behind `head` bytes.
    pub(super) fn index_end(&self, head: u64) -> u64 {
        // The header is followed by as many zeros.
        (head.next_multiple_of(ENTRY_LEN) + 2 * ENTRY_LEN) + self.size.div_ceil(BLOCK) * ENTRY_LEN
    }

    /// Puts the index behind a head; the blocks start at `start`.
    pub(super) fn index(&self, start: u32, head: &mut Vec<u8>) {
        head.resize(head.len().next_multiple_of(size_of::<Entry>()), 0);
        let header = MapHeader { reserved: 0.into(), advise: BIG_PCLUSTER_1.into(), algorithm: self.algorithm, cluster_bits: 0 };
        head.extend_from_slice(header.as_bytes());
        head.extend_from_slice(&[0; size_of::<Entry>()]);
        let mut next = start;
        for piece in &self.pieces {
            for nth in 0..piece.blocks {
                let entry = piece.entry(nth, next);
                head.extend_from_slice(entry.as_bytes());
                if piece.packed.is_none() {
                    next += 1;
                }
            }
            next += u32::from(piece.packed.unwrap_or_default());
        }
    }
}

impl Piece {
    /// The entry of a block of the file; `next` is where the piece's next data is.
    fn entry(&self, nth: u16, next: u32) -> Entry {
        let (entry_type, union) = match (self.packed, nth) {
            (None, _) => (entry_type::PLAIN, next.to_le_bytes()),
            (Some(_), 0) => (entry_type::HEAD, next.to_le_bytes()),
            (Some(packed), _) => {
                let back = if nth == 1 { COUNT | packed } else { nth };
                let ([a, b], [c, d]) = (back.to_le_bytes(), (self.blocks - nth).to_le_bytes());
                (entry_type::NONHEAD, [a, b, c, d])
            }
        };
        Entry { advise: entry_type.into(), offset: 0.into(), union }
    }
}
