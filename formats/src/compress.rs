//! Compression: one [`Codec`] for each stream format, read by [`reader`], written by [`Encoding`] on all cores.
//!
//! | codec | standard | written as | pieces of |
//! |-|-|-|-|
//! | gzip | RFC 1952, RFC 1951 | one member | 512 KiB, each with the 32 KiB before it as dictionary |
//! | zstd | RFC 8878 | frames | 8 MiB |
//! | xz | xz file format 1.2 | one stream of blocks, CRC32 | twice the dictionary of the level |
//! | lz4 | lz4 legacy frame | one frame | 8 MiB, as its standard has it |
//!
//! A stream depends on the input and the level only, never on the number of cores. Linux unpacks all of them but zstd in
//! several frames: an initramfs has one frame for each archive ([`zstd::frame`]).
//!
//! Oracle: gzip, pigz, zstd, xz and lz4 read what we write, and we what they write.

pub mod deflate;
mod gzip;
mod lz4;
mod read;
pub(crate) mod xz;
pub mod zstd;

pub use read::reader;

use crate::{Blob, Env, Error, Progress, Result, parallel, units};
use std::{fmt, io::Write, num::NonZeroUsize, ops::Range, sync::Arc};

/// A format of compressed streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Bytes as they are.
    None,
    /// gzip, RFC 1952.
    Gzip,
    /// Zstandard, RFC 8878.
    Zstd,
    /// xz with LZMA2.
    Xz,
    /// The legacy frame of lz4, the only one that Linux unpacks.
    Lz4,
    /// The current frame of lz4; read only.
    Lz4Frame,
    /// LZMA alone, the format before xz; read only.
    Lzma,
    /// bzip2; read only.
    Bzip2,
}

impl Codec {
    /// How many bytes [`Codec::sniff`] wants to see.
    pub const SNIFF_LEN: usize = 13;

    /// The codec of a stream by its first bytes; [`Codec::None`] where they are no magic.
    pub fn sniff(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x02, 0x21, 0x4c, 0x18, ..] => Self::Lz4,
            [0x04, 0x22, 0x4d, 0x18, ..] => Self::Lz4Frame,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..] => Self::Bzip2,
            _ if is_lzma(start) => Self::Lzma,
            _ => Self::None,
        }
    }

    /// The codec of a blob. One that is shorter than a magic has none.
    ///
    /// # Errors
    /// When the blob cannot be read.
    pub fn of(blob: &Blob) -> Result<Self> {
        let mut start = [0; Self::SNIFF_LEN];
        let len = units::index(blob.len().min(units::bytes(start.len())));
        blob.read_at(0, &mut start[..len])?;
        Ok(Self::sniff(&start[..len]))
    }

    /// The name, as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Lz4 => "lz4",
            Self::Lz4Frame => "lz4 frame",
            Self::Lzma => "lzma",
            Self::Bzip2 => "bzip2",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// LZMA alone has no magic: a byte of properties (always the default ones), the size of the dictionary (32 bits, below
/// 4 GiB a power of 2 or the sum of two), the size of the content (64 bits, all ones where unknown).
fn is_lzma(start: &[u8]) -> bool {
    let Some((&[0x5d, d0, d1, d2, d3, ..], size)) = start.split_at_checked(5).map(|(head, size)| (head, size.first_chunk())) else {
        return false;
    };
    let dictionary = u32::from_le_bytes([d0, d1, d2, d3]);
    size.is_some_and(|size| {
        let size = u64::from_le_bytes(*size);
        dictionary >= 4096 && dictionary.count_ones() <= 2 && (size == u64::MAX || size < units::TIB)
    })
}

/// A codec that is written, and its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    codec: Codec,
    level: u32,
}

impl Encoding {
    /// A codec at a level, or at its default level.
    ///
    /// # Errors
    /// When the codec is not written, or the level is not one of its levels.
    pub fn new(codec: Codec, level: Option<u32>) -> Result<Self> {
        let (levels, default) = match codec {
            Codec::None => (0..=0, 0),
            Codec::Gzip => (1..=9, 6),
            // Above, the window grows to 128 MiB, and the guest needs as much to unpack.
            Codec::Zstd => (1..=19, 3),
            Codec::Xz => (0..=9, 6),
            Codec::Lz4 => (1..=1, 1),
            Codec::Lz4Frame | Codec::Lzma | Codec::Bzip2 => {
                return Err(Error::unsupported(format!("{codec} is read, never written: choose gzip, zstd, xz, lz4 or none")));
            }
        };
        let level = level.unwrap_or(default);
        if !levels.contains(&level) {
            let has = match (levels.start(), levels.end()) {
                (0, 0) => "no level".to_owned(),
                (only, end) if only == end => format!("level {only} only"),
                (start, end) => format!("levels {start} to {end}"),
            };
            return Err(Error::unsupported(format!("level {level} of {codec}: it has {has}")));
        }
        Ok(Self { codec, level })
    }

    /// The codec.
    pub fn codec(self) -> Codec {
        self.codec
    }

    /// The level.
    pub fn level(self) -> u32 {
        self.level
    }

    /// A blob as a compressed stream, kept in the spool.
    ///
    /// # Errors
    /// When the blob cannot be read or the spool not be written.
    pub fn compress(self, blob: &Blob, env: &mut Env) -> Result<Blob> {
        if self.codec == Codec::None {
            return Ok(blob.clone());
        }
        let mark = env.spool.position();
        let progress = Arc::clone(&env.progress);
        self.write(blob, env.threads, &*progress, &mut env.spool)?;
        Ok(env.spool.since(mark))
    }

    /// Writes a blob as a compressed stream, front to back.
    ///
    /// # Errors
    /// When the blob cannot be read or the stream not be written.
    pub fn write(self, blob: &Blob, threads: NonZeroUsize, progress: &dyn Progress, to: &mut dyn Write) -> Result<()> {
        let work = Work { blob, level: self.level, threads, progress };
        match self.codec {
            Codec::Gzip => gzip::write(&work, to),
            Codec::Zstd => zstd::write(&work, to),
            Codec::Xz => xz::write(&work, to),
            Codec::Lz4 => lz4::write(&work, to),
            _ => work.each(units::MIB, |range| work.read(&range), |bytes| Ok(to.write_all(&bytes)?)),
        }
    }
}

/// A blob to be compressed in pieces.
struct Work<'a> {
    blob: &'a Blob,
    level: u32,
    threads: NonZeroUsize,
    progress: &'a dyn Progress,
}

impl Work<'_> {
    /// Runs `work` on the pieces of `size` bytes on all threads; `sink` has the results in order.
    fn each<R: Send>(&self, size: u64, work: impl Fn(Range<u64>) -> Result<R> + Sync, sink: impl FnMut(R) -> Result<()>) -> Result<()> {
        let len = self.blob.len();
        let pieces = (0..len.div_ceil(size)).map(|nth| Ok(nth * size..((nth + 1) * size).min(len)));
        let told = |range: Range<u64>| {
            let bytes = range.end - range.start;
            let result = work(range)?;
            self.progress.advance(bytes);
            Ok(result)
        };
        parallel::ordered(self.threads, pieces, told, sink)
    }

    fn read(&self, range: &Range<u64>) -> Result<Vec<u8>> {
        let mut bytes = vec![0; units::index(range.end - range.start)];
        self.blob.read_at(range.start, &mut bytes)?;
        Ok(bytes)
    }

    /// Whether a piece lies in a gap.
    fn is_gap(&self, range: &Range<u64>) -> bool {
        self.blob.slice(range.clone()).data_len() == 0
    }
}

#[cfg(test)]
mod tests;
