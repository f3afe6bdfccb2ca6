//! Deflate (RFC 1951) and zlib (RFC 1950) of single units: qcow2 clusters, VMDK grains.

use crate::{Error, Kind, Result};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What stands around deflated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// Nothing: raw deflate.
    Raw,
    /// A zlib header and an Adler-32.
    Zlib,
}

/// Deflates a unit at a level from 1 to 9, looking back at most 2^`window_bits` bytes (9 to 15).
///
/// # Errors
/// Only by a fault of the compressor.
pub fn deflate(bytes: &[u8], level: u32, window_bits: u8, wrapping: Wrapping) -> Result<Vec<u8>> {
    // Always a fresh state: zlib-rs 0.6.8 panics now and then at level 1 in one that was reset.
    let mut compress = Compress::new_with_window_bits(Compression::new(level), wrapping == Wrapping::Zlib, window_bits);
    let mut out = Vec::with_capacity(bytes.len() / 2 + 64);
    run(&mut compress, bytes, FlushCompress::Finish, &mut out)?;
    Ok(out)
}

/// Feeds all of `bytes` to a compressor and collects what it gives until it has nothing left.
pub(super) fn run(compress: &mut Compress, mut bytes: &[u8], flush: FlushCompress, out: &mut Vec<u8>) -> Result<()> {
    loop {
        if out.capacity() - out.len() < 64 {
            out.reserve(out.len().max(4096));
        }
        let before = compress.total_in();
        let status = compress.compress_vec(bytes, out, flush).map_err(|e| Error::new(Kind::Bug, "deflate failed").because(e))?;
        bytes = &bytes[crate::units::index(compress.total_in() - before)..];
        // Room that is left says that there is no more to come.
        if bytes.is_empty() && (status == Status::StreamEnd || out.len() < out.capacity()) {
            return Ok(());
        }
    }
}

/// Inflates a unit that has `len` bytes when inflated. What follows its end is ignored.
///
/// # Errors
/// When the data is damaged, or holds more or less than `len` bytes.
pub fn inflate(bytes: &[u8], len: usize, wrapping: Wrapping) -> Result<Vec<u8>> {
    let mut decompress = Decompress::new(wrapping == Wrapping::Zlib);
    // One byte more than there may be, so that too much is told from enough.
    let mut out = Vec::with_capacity(len + 1);
    let status = decompress
        .decompress_vec(bytes, &mut out, FlushDecompress::Finish)
        .map_err(|e| Error::bad_input("damaged deflate data").because(e))?;
    if out.len() == len && status == Status::StreamEnd {
        return Ok(out);
    }
    let found = if out.len() > len { "more".to_owned() } else { format!("{} bytes", out.len()) };
    Err(Error::bad_input(format!("deflate data of {found}, {len} bytes were announced")))
}
