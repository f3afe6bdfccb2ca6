//! Reading compressed streams, which may be hostile: memory is bounded by the codecs' windows. How much comes out is the
//! caller's to bound.

use super::{Codec, lz4};
use crate::{Error, Result, units};
use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::GzDecoder;
use lzma_rust2::{LzmaReader, XzReader};
use std::io::{self, BufRead, BufReader, Read};
use structured_zstd::decoding::StreamingDecoder;

/// The largest dictionary of xz and lzma that is taken, with what the decoder needs besides. `xz -9` has 64 MiB.
const MEMORY_MAX: u64 = 256 * units::MIB;
/// Compressed bytes that are read at once.
const BUFFER: usize = 64 << 10;

/// The content of a compressed stream. Members, frames or streams that follow one another read as one, as the codec's own
/// tool has it; zeros behind a gzip member are ignored.
///
/// # Errors
/// When the stream cannot be read or begins wrong. Damage further on is an error of the reader, and a [`Error`] inside.
pub fn reader<'a>(codec: Codec, from: impl Read + Send + 'a) -> Result<Box<dyn Read + Send + 'a>> {
    let memory_max = u32::try_from(MEMORY_MAX / units::KIB).expect("a small constant");
    // Boxed, so that every decoder is compiled once and not for each kind of input.
    let from: Box<dyn Read + Send + 'a> = Box::new(from);
    let from = BufReader::with_capacity(BUFFER, from);
    let content: Box<dyn Read + Send + 'a> = match codec {
        Codec::None => return Ok(Box::new(from)),
        Codec::Gzip => Box::new(Gzip(Some(GzDecoder::new(from)))),
        Codec::Zstd => Box::new(StreamingDecoder::new(from)),
        Codec::Xz => Box::new(XzReader::new_mem_limit(from, true, memory_max)),
        Codec::Lz4 => Box::new(lz4::Legacy::new(from)),
        Codec::Lz4Frame => Box::new(lz4_flex::frame::FrameDecoder::new(from)),
        Codec::Bzip2 => Box::new(MultiBzDecoder::new(from)),
        Codec::Lzma => Box::new(LzmaReader::new_mem_limit(from, memory_max, None).map_err(|e| explained(codec, e))?),
    };
    Ok(Box::new(Named { codec, content }))
}

/// Says of which codec an error is, and that the input is at fault unless reading it failed.
struct Named<R> {
    codec: Codec,
    content: R,
}

impl<R: Read> Read for Named<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.content.read(to).map_err(|error| explained(self.codec, error))
    }
}

fn explained(codec: Codec, error: io::Error) -> io::Error {
    let is_ours = error.get_ref().is_some_and(|inner| inner.is::<Error>());
    if is_ours || error.raw_os_error().is_some() || error.kind() == io::ErrorKind::Interrupted {
        return error;
    }
    let what = if error.kind() == io::ErrorKind::UnexpectedEof { "ends too early" } else { "is damaged" };
    Error::bad_input(format!("the {codec} data {what}")).because(error).into()
}

/// Members of gzip one after the other, up to the end or to zeros.
struct Gzip<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let n = member.read(to)?;
            if n > 0 || to.is_empty() {
                return Ok(n);
            }
            let mut from = self.0.take().map(GzDecoder::into_inner).ok_or(io::ErrorKind::UnexpectedEof)?;
            if skip_zeros(&mut from)? {
                self.0 = Some(GzDecoder::new(from));
            }
        }
        Ok(0)
    }
}

/// Whether anything but zeros is left.
fn skip_zeros(from: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = from.fill_buf()?;
        let (zeros, len) = (bytes.iter().take_while(|byte| **byte == 0).count(), bytes.len());
        from.consume(zeros);
        if zeros < len || len == 0 {
            return Ok(len > 0);
        }
    }
}
