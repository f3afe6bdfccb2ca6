//! A tree as compressed archives, in memory that does not grow with it.

use crate::{error::Result, image::initrd::ALIGNMENT};
use formats::{
    Blob, Env, Progress, Spool, Tree,
    compress::{Codec, Encoding, zstd},
    cpio, parallel, units,
};
use sha2::{Digest, Sha256};
use std::{
    cmp::Reverse,
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

/// About how long an archive is that becomes one zstd frame. Shorter ones occupy more cores and compress less well.
const ARCHIVE: u64 = 8 * units::MIB;
/// How much of a frame is kept before it goes to the spool.
const BUFFER: usize = 1 << 20;

/// SHA-256 of something.
type Sum = [u8; 32];

/// The archives of a tree, compressed, each with its SHA-256.
pub(super) fn compressed(tree: &Tree, encoding: Encoding, env: &mut Env) -> Result<Vec<(Blob, Sum)>> {
    if encoding.codec() == Codec::Zstd {
        return frames(cpio::parts(tree, ARCHIVE)?, encoding.level(), env);
    }
    let archive = cpio::archive(tree)?;
    if encoding.codec() == Codec::None {
        env.progress.expect(archive.len());
        env.progress.advance(archive.len());
        let digest = archive.sha256()?;
        return Ok(vec![(archive, digest)]);
    }
    let mark = env.spool.position();
    let progress = Arc::clone(&env.progress);
    let mut hashed = Hashed { to: &mut env.spool, digest: Sha256::new() };
    encoding.write(&archive, env.threads, &*progress, &mut hashed)?;
    let digest = hashed.digest.finalize().into();
    Ok(vec![(env.spool.since(mark), digest)])
}

/// Each archive as one frame, together a multiple of [`ALIGNMENT`] long. They are made side by side, the longest first, and stand
/// in the spool as they got done.
fn frames(archives: Vec<Blob>, level: u32, env: &mut Env) -> Result<Vec<(Blob, Sum)>> {
    let mut items: Vec<_> = archives.into_iter().enumerate().collect();
    items.sort_by_key(|(_, archive)| Reverse(archive.len()));
    let (threads, progress): (_, &dyn Progress) = (env.threads, &*env.progress);
    progress.expect(items.iter().map(|(_, archive)| archive.len()).sum());
    let spool = Mutex::new(&mut env.spool);
    let mut frames = parallel::map(threads, items, |(nth, archive)| {
        let mut frame = Frame { spool: &spool, digest: Sha256::new(), buffer: Vec::with_capacity(BUFFER), done: Blob::default() };
        zstd::frame(&archive, level, progress, &mut frame)?;
        Ok((nth, frame.finish()?))
    })?;
    frames.sort_by_key(|(nth, _)| *nth);
    let mut frames: Vec<_> = frames.into_iter().map(|(_, frame)| frame).collect();
    let len: u64 = frames.iter().map(|(frame, _)| frame.len()).sum();
    if let Some((last, _)) = frames.last_mut() {
        *last = zstd::lengthened(last, len.next_multiple_of(ALIGNMENT) - len)?;
    }
    Ok(frames)
}

/// A frame on its way into the spool that it shares with others.
struct Frame<'a> {
    spool: &'a Mutex<&'a mut Spool>,
    digest: Sha256,
    buffer: Vec<u8>,
    done: Blob,
}

impl Frame<'_> {
    fn spill(&mut self) -> Result<()> {
        self.digest.update(&self.buffer);
        let mut spool = self.spool.lock().unwrap_or_else(PoisonError::into_inner);
        self.done.append(&spool.append(&self.buffer)?);
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<(Blob, Sum)> {
        self.spill()?;
        Ok((mem::take(&mut self.done), self.digest.finalize().into()))
    }
}

impl Write for Frame<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.spill()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes what is written.
struct Hashed<'a> {
    to: &'a mut Spool,
    digest: Sha256,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.to.write(bytes)?;
        self.digest.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
