//! Layers: tars, compressed by whatever their first bytes say; every byte is held against both of the digests in the pass that unpacks it.

use super::{Digest, Hasher, image::Layer};
use crate::{
    At, Blob, Error, Kind, Progress, Result, Spool, Stage,
    compress::{self, Codec},
    units,
};
use std::{
    io::{self, Read, Write},
    sync::mpsc,
    thread,
};

/// Bytes that are handed on at a time, and how many such pieces wait.
const PIECE: usize = 256 << 10;
const WAITING: usize = 4;

/// The tar in a layer. What is not compressed is given as it lies; else it goes into the spool.
///
/// # Errors
/// When a digest is another, the stream is damaged or ends early, or the spool cannot be written; the error names the layer.
pub fn unpack(layer: &Layer, spool: &mut Spool, progress: &dyn Progress) -> Result<Blob> {
    let stage = Stage::new(progress, layer.blob.len());
    let tar = unpacked(layer, spool, &stage).at(|| format!("layer {}", layer.descriptor.digest))?;
    stage.finish();
    Ok(tar)
}

fn unpacked(layer: &Layer, spool: &mut Spool, stage: &Stage<'_>) -> Result<Blob> {
    let codec = codec(&layer.blob)?;
    let packed = Hashing { inner: layer.blob.reader(), hasher: layer.descriptor.digest.hasher(), stage };
    let Some(codec) = codec else {
        let mut packed = packed;
        io::copy(&mut packed, &mut io::sink())?;
        let digest = packed.hasher.finish();
        layer.descriptor.digest.expect(&digest)?;
        return layer.diff_id.as_ref().map_or(Ok(()), |id| expect_content(id, &digest)).map(|()| layer.blob.clone());
    };
    let mark = spool.position();
    let (digest, content) = pass_on(codec, packed, spool, layer.diff_id.as_ref())?;
    layer.descriptor.digest.expect(&digest)?;
    layer.diff_id.as_ref().map_or(Ok(()), |id| expect_content(id, &content))?;
    Ok(spool.since(mark))
}

/// How a layer is compressed, if it is: the specification knows gzip and zstd, and other magics may begin a tar.
pub(super) fn codec(blob: &Blob) -> Result<Option<Codec>> {
    Ok(Some(Codec::of(blob)?).filter(|codec| matches!(codec, Codec::Gzip | Codec::Zstd)))
}

fn expect_content(wanted: &Digest, found: &Digest) -> Result<()> {
    wanted.expect(found).at(|| "what is in it (diff_id)")
}

/// Unpacks on one thread, hashes and writes on another; gives both digests.
fn pass_on(codec: Codec, packed: Hashing<'_, impl Read + Send>, spool: &mut Spool, diff_id: Option<&Digest>) -> Result<(Digest, Digest)> {
    let (send, receive) = mpsc::sync_channel::<Vec<u8>>(WAITING);
    // Pieces come back to be filled again: new ones cost a page fault for every page.
    let (give_back, empty) = mpsc::channel::<Vec<u8>>();
    let mut hasher = diff_id.map_or_else(Hasher::default, Digest::hasher);
    thread::scope(|scope| {
        let next = move || empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE));
        let unpacking = scope.spawn(move || unpack_into(codec, packed, next, |piece| send.send(piece).is_ok()));
        for mut piece in receive {
            hasher.update(&piece);
            spool.write_all(&piece)?;
            piece.clear();
            // Nobody takes it any more once the last one is filled.
            let _: Result<(), _> = give_back.send(piece);
        }
        let digest = unpacking.join().unwrap_or_else(|_| Err(Error::new(Kind::Bug, "a worker panicked")))?;
        Ok((digest, hasher.finish()))
    })
}

/// Hands on what is in a stream, as long as somebody takes it; gives the digest of the stream.
fn unpack_into(
    codec: Codec,
    mut packed: Hashing<'_, impl Read + Send>,
    next: impl Fn() -> Vec<u8>,
    take: impl Fn(Vec<u8>) -> bool,
) -> Result<Digest> {
    let mut unpacking = compress::reader(codec, &mut packed)?;
    loop {
        let mut piece = next();
        let len = unpacking.by_ref().take(units::bytes(PIECE)).read_to_end(&mut piece)?;
        if len == 0 || !take(piece) {
            break;
        }
    }
    drop(unpacking);
    // What stands behind the stream is part of the layer too.
    io::copy(&mut packed, &mut io::sink())?;
    Ok(packed.hasher.finish())
}

/// Hashes what is read through it.
struct Hashing<'a, R> {
    inner: R,
    hasher: Hasher,
    stage: &'a Stage<'a>,
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(to)?;
        self.hasher.update(&to[..len]);
        self.stage.advance(units::bytes(len));
        Ok(len)
    }
}
