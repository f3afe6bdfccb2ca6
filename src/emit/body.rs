//! The bytes of an output on their way to a file or a pipe.

use super::Manner;
use crate::error::{Error, Kind, Result};
use formats::{
    Blob, Progress, Silent,
    blob::{Backing, Source, write_at},
    compress::{Codec, Encoding},
    parallel, units, zeros,
};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, Write},
    num::NonZeroUsize,
    ops::Range,
};

/// Bytes on their way to a pipe at a time.
const CHUNK: usize = 1 << 20;
/// Bytes of a file that a worker writes in one go.
const PIECE: u64 = 4 << 20;
/// Bytes that it copies at a time: they stay in the processor's cache on their way.
const BUFFER: u64 = 256 << 10;

/// The bytes of an output: as they are, or compressed on their way, so that they never lie anywhere else.
#[derive(Clone, Debug)]
pub struct Body {
    /// What it is.
    pub blob: Blob,
    /// How it is compressed.
    pub encoding: Encoding,
}

/// As it is.
impl From<Blob> for Body {
    fn from(blob: Blob) -> Self {
        Self { blob, encoding: Encoding::default() }
    }
}

impl Body {
    pub(super) fn is_packed(&self) -> bool {
        self.encoding.codec() != Codec::None
    }

    /// What it makes [`Progress`] expect before it is written: a compressor announces its work itself. Gaps count unless they become holes.
    pub(super) fn announced(&self, has_holes: bool) -> u64 {
        match (self.is_packed(), has_holes) {
            (true, _) => 0,
            (false, true) => self.blob.data_len(),
            (false, false) => self.blob.len(),
        }
    }

    /// Writes it front to back, and gives how many bytes that were.
    pub(super) fn stream(&self, to: &mut dyn Write, threads: NonZeroUsize, progress: &dyn Progress) -> Result<u64> {
        if !self.is_packed() {
            stream(&self.blob, to, progress)?;
            return Ok(self.blob.len());
        }
        let mut counting = Counting { to, len: 0 };
        self.encoding.write(&self.blob, threads, progress, &mut counting)?;
        counting.flush()?;
        Ok(counting.len)
    }

    /// How many bytes it has where it is written, and their SHA-256. What is compressed on its way is compressed once more for it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn sha256(&self, threads: NonZeroUsize) -> Result<(u64, [u8; 32])> {
        let mut hashing = Hashing(Sha256::new());
        let len = self.stream(&mut hashing, threads, &Silent)?;
        Ok((len, hashing.0.finalize().into()))
    }

    /// Writes it into an empty file, whose holes are its gaps where it is not compressed, and gives how long the file is.
    pub(super) fn store(&self, mut file: &File, manner: Manner<'_>, progress: &dyn Progress) -> Result<u64> {
        if self.is_packed() {
            return self.stream(&mut file, manner.threads, progress);
        }
        sparse(&self.blob, file, manner, progress)?;
        Ok(self.blob.len())
    }
}

/// Counts the bytes that pass.
struct Counting<'a> {
    to: &'a mut dyn Write,
    len: u64,
}

impl Write for Counting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.len += units::bytes(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Hashes the bytes that pass.
struct Hashing(Sha256);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn stream(body: &Blob, to: &mut dyn Write, progress: &dyn Progress) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < body.len() {
        let n = units::index((body.len() - at).min(units::bytes(CHUNK)));
        body.read_at(at, &mut buffer[..n])?;
        to.write_all(&buffer[..n])?;
        at += units::bytes(n);
        progress.advance(units::bytes(n));
    }
    Ok(to.flush()?)
}

/// Writes a body into an empty file, on all cores; gaps become holes.
fn sparse(body: &Blob, file: &File, manner: Manner<'_>, progress: &dyn Progress) -> Result<()> {
    file.set_len(body.len())?;
    let target = Filled { file, has_zeros: manner.has_zeros, refers: may_refer(file) };
    let pieces = body.data_units(PIECE).flatten().map(|n| Ok(n * PIECE..((n + 1) * PIECE).min(body.len())));
    let work = |range: Range<u64>| {
        let piece = body.slice(range.clone());
        target.fill(&piece, range.start)?;
        progress.advance(piece.data_len());
        Ok(())
    };
    parallel::ordered(manner.threads, pieces, work, Ok)
}

/// A file that is being filled.
struct Filled<'a> {
    file: &'a File,
    /// See [`Manner::has_zeros`].
    has_zeros: bool,
    /// Whether its file system may refer to bytes of other files.
    refers: bool,
}

impl Filled<'_> {
    /// Puts a piece where it belongs.
    fn fill(&self, piece: &Blob, start: u64) -> Result<()> {
        if !self.refers {
            return piece.data_units(1).try_for_each(|run| self.copy(piece, run, start, self.has_zeros));
        }
        let sparse = if self.has_zeros { Some(zeros::drop_here(piece)?) } else { None };
        let piece = sparse.as_ref().unwrap_or(piece);
        for extent in piece.extents() {
            let done = match &extent.source {
                Source::File { file: source, offset } => kernel_copy(source, *offset, self.file, start + extent.start, extent.len)?,
                Source::Memory { .. } | Source::Elsewhere { .. } => 0,
            };
            self.copy(piece, extent.start + done..extent.end(), start, false)?;
        }
        Ok(())
    }

    /// Copies a range of a piece through memory, where it is looked at while the processor still has it.
    fn copy(&self, piece: &Blob, range: Range<u64>, start: u64, has_zeros: bool) -> Result<()> {
        let mut buffer = vec![0; units::index(BUFFER.min(range.end - range.start))];
        let mut at = range.start;
        while at < range.end {
            // Whole pages of the file.
            let end = range.end.min((start + at + 1).next_multiple_of(BUFFER) - start);
            let bytes = &mut buffer[..units::index(end - at)];
            piece.read_at(at, bytes)?;
            if has_zeros {
                for run in zeros::data_runs(bytes) {
                    write_all_at(self.file, &bytes[units::index(run.start)..units::index(run.end)], start + at + run.start)?;
                }
            } else {
                write_all_at(self.file, bytes, start + at)?;
            }
            at = end;
        }
        Ok(())
    }
}

/// Whether the file system of a file may refer to bytes of other files, or of its own machine far away, instead of copying them. Of those
/// that never do the kernel's copy is one on one core.
#[cfg(target_os = "linux")]
fn may_refer(file: &File) -> bool {
    /// The magic numbers (statfs(2)) of ext2, ext3 and ext4, of tmpfs and ramfs.
    const NEVER: [i128; 3] = [0xef53, 0x0102_1994, 0x8584_58f6];
    rustix::fs::fstatfs(file).is_ok_and(|system| !NEVER.contains(&(i128::from(system.f_type) & 0xffff_ffff)))
}

#[cfg(not(target_os = "linux"))]
fn may_refer(_: &File) -> bool {
    false
}

/// Copies as much as the kernel does by itself, by reference where the file system can, and says how much that was.
#[cfg(target_os = "linux")]
fn kernel_copy(from: &Backing, from_at: u64, to: &File, to_at: u64, len: u64) -> Result<u64> {
    let (mut from_at, mut to_at) = (from_at, to_at);
    let mut done = 0;
    while done < len {
        match rustix::fs::copy_file_range(from.file(), Some(&mut from_at), to, Some(&mut to_at), units::index(len - done)) {
            Ok(0) => break,
            Ok(n) => done += units::bytes(n),
            Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => return Err(io::Error::from(io::ErrorKind::StorageFull).into()),
            Err(rustix::io::Errno::INTR) => {}
            // Across file systems, old kernels: reads and writes do it.
            Err(_) => break,
        }
    }
    from.refuse_changed()?;
    Ok(done)
}

#[cfg(not(target_os = "linux"))]
fn kernel_copy(_: &Backing, _: u64, _: &File, _: u64, _: u64) -> Result<u64> {
    Ok(0)
}

fn write_all_at(file: &File, mut bytes: &[u8], mut at: u64) -> Result<()> {
    while !bytes.is_empty() {
        match write_at(file, bytes, at) {
            Ok(0) => return Err(Error::new(Kind::Io, "nothing more can be written")),
            Ok(n) => {
                bytes = &bytes[n..];
                at += units::bytes(n);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
