//! Reading: which files there are, then [`tables`](super::tables), then the clusters.

use super::{
    CompressionType,
    header::{Checked, incompatible},
    snapshot,
    tables::{Piece, State, Storage, Stored, joined, pieces},
};
use crate::{
    Blob, Env, Reading, Result, Stage,
    blocks::Overlay,
    compress::{
        deflate::{self, Wrapping},
        zstd,
    },
    dump::Dump,
    error::At,
    parallel,
    tree::ShowPath,
    units::{self, KIB},
    zeros,
};
use std::ops::Range;

/// How much of the disk a worker unpacks in one go.
const BATCH: u64 = 512 * KIB;

/// The disk in a file.
pub(super) fn disk(file: &Blob, reading: &Reading<'_>, env: &mut Env) -> Result<Blob> {
    let image = Checked::read(file)?;
    refuse_unclean(&image, reading)?;
    let state = state(&image, file, reading)?;
    let mut storage = storage(&image, file, reading, env)?;
    let below = backing(&image, file, reading, state.size, env)?;
    let is_overlay = below.is_some();
    // What the file says nothing about is the backing file's.
    let mut disk = Overlay::over(below);
    let data = storage.data.clone();
    let Env { spool, threads, progress, .. } = env;
    let stage = Stage::new(&**progress, packed_len(&image, file, &state)?);
    let pieces = joined(pieces(&image, file, &state, &mut storage, is_overlay)?);
    let most = units::index((BATCH / image.cluster).max(1));
    let work = |batch: Vec<Piece>| {
        let unpacked = unpack_all(&image, file, batch)?;
        stage.advance(unpacked.pieces.iter().map(|(piece, _)| packed(piece)).sum());
        Ok(unpacked)
    };
    parallel::ordered(*threads, parallel::batches(pieces, most), work, |Unpacked { pieces, bytes }| {
        let mut bytes = spool.append(&bytes)?;
        for (piece, runs) in pieces {
            disk.see_to(piece.at);
            if let Stored::Plain(at) = piece.from {
                disk.append(&data.slice(at..at + piece.len));
            }
            for run in runs {
                let len = run.end - run.start;
                disk.zeros_to(piece.at + run.start);
                disk.append(&bytes.slice(0..len));
                bytes = bytes.slice(len..bytes.len());
            }
            // What is left of it is zeros.
            disk.zeros_to(piece.at + piece.len);
        }
        Ok(())
    })?;
    stage.finish();
    storage.finish()?;
    Ok(disk.finish(state.size))
}

/// How much there is to unpack, by the tables, which are little beside it. What is plain is only referred to.
fn packed_len(image: &Checked, file: &Blob, state: &State) -> Result<u64> {
    if image.has(incompatible::EXTERNAL_DATA) {
        return Ok(0);
    }
    pieces(image, file, state, &mut Storage::within(file), false)?.map(|piece| piece.map(|piece| packed(&piece))).sum()
}

/// How much of a piece is to be unpacked.
fn packed(piece: &Piece) -> u64 {
    match piece.from {
        Stored::Packed(_) => piece.len,
        Stored::Plain(_) | Stored::Zeros => 0,
    }
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
    for snapshot in snapshot::table(&image, file)?.0 {
        to.section("snapshot", |to| {
            to.field("id", snapshot.id.escape_debug());
            to.field("name", snapshot.name.escape_debug());
            to.field("size", snapshot.size);
            to.field("seconds", snapshot.seconds);
            to.field("l1 entries", snapshot.l1_entries);
            to.field("l1 offset", snapshot.l1_at);
        });
    }
    to.section("clusters", |to| {
        let mut storage = Storage::within(file);
        for piece in joined(pieces(&image, file, &State::present(&image), &mut storage, true)?) {
            let Piece { at, len, from } = piece?;
            let what = match from {
                Stored::Plain(place) => format!("plain, {len} bytes at {place}"),
                Stored::Packed(Range { start, end }) => format!("packed, {} bytes at {start}", end - start),
                Stored::Zeros => format!("zeros, {len} bytes"),
            };
            to.field(&format!("byte {at}"), what);
        }
        storage.finish()
    })
}

fn refuse_unclean(image: &Checked, reading: &Reading<'_>) -> Result<()> {
    if image.has(incompatible::CORRUPT) {
        reading.refuse_unclean("the image is marked corrupt").at(|| "qcow2 header")?;
    }
    if image.has(incompatible::DIRTY) {
        reading.refuse_unclean("the image is marked dirty: it is in use, or was not closed properly").at(|| "qcow2 header")?;
    }
    Ok(())
}

/// The present state, or the snapshot that is asked for.
fn state(image: &Checked, file: &Blob, reading: &Reading<'_>) -> Result<State> {
    match reading.snapshot {
        None => Ok(State::present(image)),
        Some(wanted) => {
            let snapshot = snapshot::find(image, file, wanted)?;
            Ok(State { l1_at: snapshot.l1_at, size: snapshot.size })
        }
    }
}

/// Where the data is: in the file itself or in another one.
fn storage(image: &Checked, file: &Blob, reading: &Reading<'_>, env: &mut Env) -> Result<Storage> {
    match image.data_file(file)? {
        None => Ok(Storage::within(file)),
        Some(name) => {
            let parts = reading.parts(|| format!("its data is in another file, '{}', which is not followed", ShowPath(&name)))?;
            Ok(Storage::outside(file, parts.file(&name, env).at(|| "data file")?))
        }
    }
}

/// What lies under the disk, as long as the disk.
fn backing(image: &Checked, file: &Blob, reading: &Reading<'_>, size: u64, env: &mut Env) -> Result<Option<Blob>> {
    let Some((name, format)) = image.backing_file(file)? else { return Ok(None) };
    reading.below(&name, format.as_deref(), size, env).map(Some)
}

/// Pieces, for a packed one with the runs of it that are not zeros; and the bytes of all runs, one behind the other.
struct Unpacked {
    pieces: Vec<(Piece, Vec<Range<u64>>)>,
    bytes: Vec<u8>,
}

fn unpack_all(image: &Checked, file: &Blob, batch: Vec<Piece>) -> Result<Unpacked> {
    let mut unpacked = Unpacked { pieces: Vec::with_capacity(batch.len()), bytes: Vec::new() };
    for piece in batch {
        let mut runs = Vec::new();
        if let Stored::Packed(place) = &piece.from {
            let plain = unpack(image, file, place, &piece)?;
            runs = zeros::data_runs(&plain);
            for run in &runs {
                unpacked.bytes.extend_from_slice(&plain[units::index(run.start)..units::index(run.end)]);
            }
        }
        unpacked.pieces.push((piece, runs));
    }
    Ok(unpacked)
}

fn unpack(image: &Checked, file: &Blob, place: &Range<u64>, piece: &Piece) -> Result<Vec<u8>> {
    let range = place.start..place.end.min(file.len());
    let mut packed = vec![0; units::index(range.end - range.start)];
    file.read_at(range.start, &mut packed)?;
    let len = units::index(image.cluster);
    let bytes = match image.compression {
        CompressionType::Zlib => deflate::inflate(&packed, len, Wrapping::Raw),
        CompressionType::Zstd => zstd::read_unit(&packed, len),
    };
    let mut bytes = bytes.at(|| format!("qcow2 cluster of byte {}", piece.at))?;
    bytes.truncate(units::index(piece.len));
    Ok(bytes)
}
