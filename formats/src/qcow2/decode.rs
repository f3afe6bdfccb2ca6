//! Reading: L1, L2, clusters.

use super::{CompressionType, entry, header::Checked};
use crate::{
    Blob, Env, Error, Result,
    blocks::{self, Claims},
    compress::{
        deflate::{self, Wrapping},
        zstd,
    },
    dump::Dump,
    error::At,
    parallel,
    units::{self, SECTOR},
    zeros::is_zero,
};
use std::{collections::VecDeque, ops::Range};

/// Subclusters of a cluster with an extended L2 entry.
const SUBCLUSTERS: u64 = 32;

/// Where a part of the disk is in the file.
#[derive(Debug)]
struct Piece {
    /// First byte on the disk.
    at: u64,
    /// Bytes of the file.
    file: Range<u64>,
    /// It is a packed cluster; else it is plain and as long as on the disk.
    packed: bool,
}

impl Piece {
    /// Whether `next` simply goes on.
    fn continues(&self, next: &Self) -> bool {
        let len = self.file.end - self.file.start;
        !self.packed && !next.packed && self.file.end == next.file.start && self.at + len == next.at
    }
}

/// The disk in a file.
pub(super) fn disk(file: &Blob, env: &mut Env) -> Result<Blob> {
    let image = Checked::read(file)?;
    let mut claims = Claims::on(file);
    let pieces = joined(pieces(&image, file, &mut claims)?);
    let mut disk = Blob::default();
    let Env { spool, threads, progress, .. } = env;
    let work = |piece: Piece| {
        let bytes = if piece.packed { Some(unpack(&image, file, &piece)?) } else { None };
        progress.advance(bytes.as_ref().map_or(piece.file.end - piece.file.start, |bytes| units::bytes(bytes.len())));
        Ok((piece, bytes))
    };
    parallel::ordered(*threads, pieces, work, |(piece, bytes)| {
        disk.extend_to(piece.at);
        match bytes {
            None => disk.append(&file.slice(piece.file)),
            Some(bytes) if is_zero(&bytes) => {}
            Some(bytes) => disk.append(&spool.append(&bytes)?),
        }
        Ok(())
    })?;
    claims.finish()?;
    disk.extend_to(image.size());
    Ok(disk)
}

/// The structures of a file.
pub(super) fn dump(file: &Blob, to: &mut Dump) -> Result<()> {
    let image = Checked::read(file)?;
    let header = &image.header;
    to.section("header", |to| {
        to.field("version", header.version);
        to.field("size", header.size);
        to.field("cluster size", image.cluster);
        to.field("l1 entries", header.l1_size);
        to.field("l1 offset", header.l1_table_offset);
        to.field("refcount table offset", header.refcount_table_offset);
        to.field("refcount table clusters", header.refcount_table_clusters);
        to.hex("incompatible features", header.incompatible_features.get());
        to.hex("compatible features", header.compatible_features.get());
        to.field("compression", format_args!("{:?}", image.compression));
    });
    to.section("clusters", |to| {
        let mut claims = Claims::on(file);
        for piece in joined(pieces(&image, file, &mut claims)?) {
            let Piece { at, file, packed } = piece?;
            let kind = if packed { "packed" } else { "plain" };
            to.field(&format!("byte {at}"), format_args!("{kind}, {} bytes at {}", file.end - file.start, file.start));
        }
        claims.finish()
    })
}

/// Everything that is in the file, in the order of the disk.
fn pieces<'a>(image: &'a Checked, file: &'a Blob, claims: &'a mut Claims) -> Result<impl Iterator<Item = Result<Piece>> + Send + 'a> {
    let l1_len = image.size().div_ceil(image.covered()) * 8;
    let l1 = claims.claim(image.header.l1_table_offset.get(), l1_len, || "qcow2 L1 table".to_owned())?;
    let mut l1 = (0_u64..).zip(blocks::entries(file.slice(l1)));
    let mut table: Option<(u64, L2Entries)> = None;
    let mut found = VecDeque::new();
    Ok(std::iter::from_fn(move || {
        loop {
            if let Some(piece) = found.pop_front() {
                return Some(Ok(piece));
            }
            if let Some((at, entries)) = &mut table {
                let start = *at;
                *at += image.cluster;
                match entries.next() {
                    Some(entry) if start < image.size() => {
                        let read = entry.and_then(|entry| cluster(image, claims, start, entry, &mut found));
                        if let Err(error) = read {
                            return Some(Err(error.at(format!("qcow2 cluster of byte {start}"))));
                        }
                    }
                    _ => table = None,
                }
                continue;
            }
            let (number, entry) = l1.next()?;
            match entry.and_then(|entry| l2_table(image, file, claims, u64::from_be_bytes(entry))) {
                Ok(entries) => table = entries.map(|entries| (number * image.covered(), entries)),
                Err(error) => return Some(Err(error.at(format!("qcow2 L1 entry {number}")))),
            }
        }
    }))
}

/// The entries of an L2 table, each as an extended one.
type L2Entries = Box<dyn Iterator<Item = Result<[u8; 16]>> + Send>;

/// The entries of the table that an L1 entry points to, as extended ones.
fn l2_table(image: &Checked, file: &Blob, claims: &mut Claims, l1: u64) -> Result<Option<L2Entries>> {
    let at = l1 & entry::OFFSET;
    if at == 0 {
        return Ok(None);
    }
    check_aligned(at, image)?;
    let table = file.slice(claims.claim(at, image.cluster, || "the L2 table".to_owned())?);
    if image.extended_l2 {
        return Ok(Some(Box::new(blocks::entries(table))));
    }
    let widened = blocks::entries::<8>(table).map(|entry| {
        entry.map(|entry| {
            let mut wide = [0; 16];
            wide[..8].copy_from_slice(&entry);
            wide
        })
    });
    Ok(Some(Box::new(widened)))
}

fn check_aligned(at: u64, image: &Checked) -> Result<()> {
    if at.is_multiple_of(image.cluster) {
        return Ok(());
    }
    Err(Error::bad_input(format!("it points to byte {at}, must be a multiple of the cluster size, {}", image.cluster)))
}

/// What the entry of the cluster at `start` of the disk says.
fn cluster(image: &Checked, claims: &mut Claims, start: u64, entry: [u8; 16], found: &mut VecDeque<Piece>) -> Result<()> {
    let [value, bitmap] = zerocopy::transmute!(entry);
    let (value, bitmap): (zerocopy::big_endian::U64, zerocopy::big_endian::U64) = (value, bitmap);
    let (value, bitmap) = (value.get(), bitmap.get());
    if value & entry::COMPRESSED != 0 {
        found.push_back(packed(image, claims, start, value)?);
        return Ok(());
    }
    let at = value & entry::OFFSET;
    let end = image.size().min(start + image.cluster);
    if image.extended_l2 {
        return subclusters(image, claims, start..end, at, bitmap, found);
    }
    let is_zero = image.header.version.get() >= 3 && value & entry::ZERO != 0;
    if at == 0 || is_zero {
        return Ok(());
    }
    check_aligned(at, image)?;
    let file = claims.claim(at, end - start, || "its data".to_owned())?;
    found.push_back(Piece { at: start, file, packed: false });
    Ok(())
}

/// Subclusters that have data; the high half of the bitmap says which of the others read as zeros, and they all do here.
fn subclusters(image: &Checked, claims: &mut Claims, disk: Range<u64>, at: u64, bitmap: u64, found: &mut VecDeque<Piece>) -> Result<()> {
    let (allocated, zero) = (bitmap & 0xffff_ffff, bitmap >> 32);
    if allocated & zero != 0 || allocated != 0 && at == 0 {
        return Err(Error::bad_input(format!("its subcluster bitmap {bitmap:#x} contradicts itself")));
    }
    check_aligned(at, image)?;
    let len = image.cluster / SUBCLUSTERS;
    for n in (0..SUBCLUSTERS).filter(|n| allocated >> n & 1 != 0) {
        let start = disk.start + n * len;
        if start < disk.end {
            let file = claims.claim(at + n * len, len.min(disk.end - start), || "its data".to_owned())?;
            found.push_back(Piece { at: start, file, packed: false });
        }
    }
    Ok(())
}

/// A packed cluster. Its length is known in sectors only, and the last one may be shared with the next cluster.
fn packed(image: &Checked, claims: &mut Claims, start: u64, value: u64) -> Result<Piece> {
    let shift = entry::packed_offset_bits(image.cluster);
    let at = value & ((1 << shift) - 1);
    let additional = (value & (entry::COMPRESSED - 1)) >> shift;
    let last_sector = (at / SECTOR + additional) * SECTOR;
    let sure = claims.claim(at, last_sector.max(at) + 1 - at, || "its data".to_owned())?;
    Ok(Piece { at: start, file: sure.start..last_sector + SECTOR, packed: true })
}

fn unpack(image: &Checked, file: &Blob, piece: &Piece) -> Result<Vec<u8>> {
    let range = piece.file.start..piece.file.end.min(file.len());
    let mut packed = vec![0; units::index(range.end - range.start)];
    file.read_at(range.start, &mut packed)?;
    let len = units::index(image.cluster);
    let bytes = match image.compression {
        CompressionType::Zlib => deflate::inflate(&packed, len, Wrapping::Raw),
        CompressionType::Zstd => zstd::read_unit(&packed, len),
    };
    let mut bytes = bytes.at(|| format!("qcow2 cluster of byte {}", piece.at))?;
    bytes.truncate(units::index(image.cluster.min(image.size() - piece.at)));
    Ok(bytes)
}

/// Pieces that go on where the last one ended become one.
fn joined(pieces: impl Iterator<Item = Result<Piece>> + Send) -> impl Iterator<Item = Result<Piece>> + Send {
    let mut pieces = pieces.peekable();
    std::iter::from_fn(move || {
        let mut piece = match pieces.next()? {
            Ok(piece) => piece,
            error => return Some(error),
        };
        while let Some(Ok(next)) = pieces.next_if(|next| next.as_ref().is_ok_and(|next| piece.continues(next))) {
            piece.file.end = next.file.end;
        }
        Some(Ok(piece))
    })
}
