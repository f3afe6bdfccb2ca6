//! The bytes of an output on their way to a file or a pipe.

use crate::error::{Error, Kind, Result};
use formats::{
    Blob, Progress,
    blob::{Backing, Extent, Source, write_at},
    units,
};
use std::{
    fs::File,
    io::{self, Write},
};

/// Bytes copied at a time where user space must touch them.
const CHUNK: usize = 1 << 20;

/// Writes a body front to back.
///
/// # Errors
/// When the source cannot be read or the destination not be written.
pub fn stream(body: &Blob, to: &mut dyn Write, progress: &dyn Progress) -> Result<()> {
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
pub(super) fn sparse(body: &Blob, file: &File, progress: &dyn Progress) -> Result<()> {
    file.set_len(body.len())?;
    for extent in body.extents() {
        match &extent.source {
            Source::Memory { bytes, offset } => {
                let from = units::index(*offset);
                write_all_at(file, &bytes[from..from + units::index(extent.len)], extent.start)?;
                progress.advance(extent.len);
            }
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
