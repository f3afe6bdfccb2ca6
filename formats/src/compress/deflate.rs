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
    // One byte more than there may be, so that too much is told from enough.
    let mut out = Vec::with_capacity(len + 1);
    let status = Decompress::new(wrapping == Wrapping::Zlib).decompress_vec(bytes, &mut out, FlushDecompress::Finish).map_err(damaged)?;
    if out.len() == len && status == Status::StreamEnd {
        return Ok(out);
    }
    let found = if out.len() > len { "more".to_owned() } else { format!("{} bytes", out.len()) };
    Err(Error::bad_input(format!("deflate data of {found}, {len} bytes were announced")))
}

/// Inflates a unit to the start of `to`, and gives how many bytes it has. What follows its end is ignored.
///
/// # Errors
/// When the data is damaged, or holds more than there is room for.
pub fn inflate_into(bytes: &[u8], to: &mut [u8], wrapping: Wrapping) -> Result<usize> {
    let mut decompress = Decompress::new(wrapping == Wrapping::Zlib);
    match decompress.decompress(bytes, to, FlushDecompress::Finish).map_err(damaged)? {
        Status::StreamEnd => Ok(crate::units::index(decompress.total_out())),
        _ => Err(Error::bad_input(format!("deflate data that is cut short, or of more than {} bytes", to.len()))),
    }
}

fn damaged(error: flate2::DecompressError) -> Error {
    Error::bad_input("damaged deflate data").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_may_be_longer_than_a_unit_but_not_shorter() {
        let plain = b"all work and no play makes a dull disk\n".repeat(50);
        let unit = deflate(&plain, 6, 15, Wrapping::Zlib).unwrap();
        let mut to = vec![1; plain.len() + 9];
        assert_eq!(inflate_into(&unit, &mut to, Wrapping::Zlib).unwrap(), plain.len());
        assert!(to.starts_with(&plain));
        assert_eq!(inflate_into(&[unit.clone(), vec![7; 99]].concat(), &mut to[..plain.len()], Wrapping::Zlib).unwrap(), plain.len());
        assert!(inflate_into(&unit, &mut to[..plain.len() - 1], Wrapping::Zlib).is_err());
        assert!(inflate_into(&unit[..unit.len() - 5], &mut to, Wrapping::Zlib).is_err());
        let mut damaged = unit;
        damaged[0] ^= 0xff;
        assert!(inflate_into(&damaged, &mut to, Wrapping::Zlib).unwrap_err().to_string().contains("damaged"));
    }
}
