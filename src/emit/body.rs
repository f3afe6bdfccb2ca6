//! The bytes of an output on their way to a file or a pipe.

use crate::error::{Error, Kind, Result};
use formats::{
    Blob, Progress, Silent,
    blob::{Backing, Extent, Source, write_at},
    compress::{Codec, Encoding},
    units,
};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, Write},
    num::NonZeroUsize,
};

/// Bytes copied at a time where user space must touch them.
const CHUNK: usize = 1 << 20;

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
    pub(super) fn store(&self, mut file: &File, threads: NonZeroUsize, progress: &dyn Progress) -> Result<u64> {
        if self.is_packed() {
            return self.stream(&mut file, threads, progress);
        }
        sparse(&self.blob, file, progress)?;
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

/// Writes a body into an empty file; gaps become holes.
fn sparse(body: &Blob, file: &File, progress: &dyn Progress) -> Result<()> {
    file.set_len(body.len())?;
    for extent in body.extents() {
        match &extent.source {
            Source::Memory { bytes, offset } => {
                let from = units::index(*offset);
                write_all_at(file, &bytes[from..from + units::index(extent.len)], extent.start)?;
                progress.advance(extent.len);
            }
            Source::Elsewhere { .. } => copy(body, extent, 0, file, progress)?,
            Source::File { file: source, offset } => {
                let copied = kernel_copy(source, *offset, file, extent.start, extent.len, progress)?;
                copy(body, extent, copied, file, progress)?;
            }
        }
    }
    Ok(())
}

/// Copies what `done` leaves of an extent through memory.
fn copy(body: &Blob, extent: &Extent, done: u64, file: &File, progress: &dyn Progress) -> Result<()> {
    let mut at = extent.start + done;
    if at == extent.end() {
        return Ok(());
    }
    let mut buffer = vec![0; CHUNK];
    while at < extent.end() {
        let n = units::index((extent.end() - at).min(units::bytes(CHUNK)));
        body.read_at(at, &mut buffer[..n])?;
        write_all_at(file, &buffer[..n], at)?;
        at += units::bytes(n);
        progress.advance(units::bytes(n));
    }
    Ok(())
}

/// Copies as much as the kernel does by itself, by reference where the file system can, and says how much that was.
#[cfg(target_os = "linux")]
fn kernel_copy(from: &Backing, from_at: u64, to: &File, to_at: u64, len: u64, progress: &dyn Progress) -> Result<u64> {
    /// At most this much in one call, so that progress shows.
    const STEP: u64 = 64 << 20;
    let (mut from_at, mut to_at) = (from_at, to_at);
    let mut done = 0;
    while done < len {
        let step = units::index((len - done).min(STEP));
        match rustix::fs::copy_file_range(from.file(), Some(&mut from_at), to, Some(&mut to_at), step) {
            Ok(0) => break,
            Ok(n) => {
                done += units::bytes(n);
                progress.advance(units::bytes(n));
            }
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
fn kernel_copy(_: &Backing, _: u64, _: &File, _: u64, _: u64, _: &dyn Progress) -> Result<u64> {
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
