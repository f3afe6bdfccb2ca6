//! Compression: one [`Codec`] for each stream format, read by [`reader`] or as a whole by [`unpack()`], written by [`Encoding`] on all cores.
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

mod bzip2;
pub mod deflate;
mod gzip;
mod input;
mod lz4;
mod lzma;
mod read;
mod unpack;
pub(crate) mod xz;
pub mod zstd;

pub use read::{Garbage, Reader, Stream, reader, stream};
pub use unpack::unpack;

use crate::{Blob, Env, Error, Progress, Result, parallel, units};
use std::{
    fmt,
    io::Write,
    num::NonZeroUsize,
    ops::{Range, RangeInclusive},
    sync::{Arc, OnceLock},
};

/// A format of compressed streams, with its row in [`CODECS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// gzip, RFC 1952.
    Gzip,
    /// Zstandard, RFC 8878.
    Zstd,
    /// xz with LZMA2.
    Xz,
    /// The legacy frame of lz4, the only one that Linux unpacks.
    Lz4,
    /// Bytes as they are.
    None,
    /// The current frame of lz4; read only.
    Lz4Frame,
    /// LZMA alone, the format before xz; read only.
    Lzma,
    /// bzip2; read only.
    Bzip2,
}

/// Every codec, in the order of [`Codec`] and of lists for users. A new one is a file with its row, a variant and a line here.
pub static CODECS: [Row; 8] = [gzip::ROW, zstd::ROW, xz::ROW, lz4::ROW, NONE, lz4::FRAME_ROW, lzma::ROW, bzip2::ROW];

const NONE: Row = Row {
    codec: Codec::None,
    name: "none",
    ending: "",
    is_magic: |_| false,
    writing: Some(Writing { levels: 0..=0, default: 0, write: copy }),
    reading: read::Reading {
        unit: "data",
        open: |input| Box::new(read::Plain(input)),
        padding: read::Padding::None,
        follows: |_| false,
        garbage_ends: false,
    },
    initramfs: None,
    squashfs: None,
};

/// What there is to know of a codec.
pub struct Row {
    /// The codec.
    pub codec: Codec,
    /// The name, as users write it.
    pub name: &'static str,
    /// What the names of its files end with; empty where there is nothing to tell.
    pub ending: &'static str,
    is_magic: fn(&[u8]) -> bool,
    writing: Option<Writing>,
    reading: read::Reading,
    /// How to see that a kernel unpacks an initramfs with it, if Linux can; [`Codec::None`] needs nothing.
    pub initramfs: Option<Linux>,
    /// The same of squashfs.
    pub squashfs: Option<Linux>,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("codec", &self.codec).finish_non_exhaustive()
    }
}

/// How a codec is written.
struct Writing {
    levels: RangeInclusive<u32>,
    default: u32,
    write: fn(&Work<'_>, &mut dyn Write) -> Result<()>,
}

/// A decompressor of Linux.
#[derive(Clone, Copy, Debug)]
pub struct Linux {
    /// Its option.
    pub option: &'static str,
    /// An error text of its source (`lib/decompress_*.c`, `fs/squashfs/*_wrapper.c`), which is in every kernel that has it and in
    /// no other. (The names of all codecs are in every kernel.)
    pub text: &'static [u8],
}

const _: () = {
    let mut nth = 0;
    while nth < CODECS.len() {
        assert!(CODECS[nth].codec as usize == nth, "the rows are in the order of the variants");
        nth += 1;
    }
};

/// How many codecs are written.
const WRITTEN: usize = {
    let (mut nth, mut count) = (0, 0);
    while nth < CODECS.len() {
        count += CODECS[nth].writing.is_some() as usize;
        nth += 1;
    }
    count
};

/// The values of an option that chooses a codec to write: `auto` and their names.
pub(crate) static CHOICES: [&str; 1 + WRITTEN] = {
    let mut names = ["auto"; 1 + WRITTEN];
    let (mut nth, mut count) = (0, 1);
    while nth < CODECS.len() {
        if CODECS[nth].writing.is_some() {
            names[count] = CODECS[nth].name;
            count += 1;
        }
        nth += 1;
    }
    names
};

impl Codec {
    /// How many bytes [`Codec::sniff`] wants to see.
    pub const SNIFF_LEN: usize = 13;

    /// The codec of a stream by its first bytes; [`Codec::None`] where they are no magic.
    pub fn sniff(start: &[u8]) -> Self {
        CODECS.iter().find(|row| (row.is_magic)(start)).map_or(Self::None, |row| row.codec)
    }

    /// The codec of a blob. One that is shorter than a magic has none.
    ///
    /// Skippable frames in front are looked behind, as zstd and lz4 share them; with nothing behind them they are zstd's.
    ///
    /// # Errors
    /// When the blob cannot be read.
    pub fn of(blob: &Blob) -> Result<Self> {
        /// Frames that are looked behind.
        const SKIPPED_MAX: usize = 1 << 10;
        let mut at = 0;
        for _ in 0..=SKIPPED_MAX {
            let mut start = [0; Self::SNIFF_LEN];
            let len = units::index((blob.len() - at).min(units::bytes(start.len())));
            blob.read_at(at, &mut start[..len])?;
            let codec = match input::skippable(&start[..len]) {
                None => Self::sniff(&start[..len]),
                Some(skipped) if skipped < blob.len() - at => {
                    at += skipped;
                    continue;
                }
                Some(_) => Self::Zstd,
            };
            // Behind skippable frames no other codec has a place.
            return Ok(if at == 0 || codec.has_skippable_frames() { codec } else { Self::None });
        }
        Ok(Self::None)
    }

    fn has_skippable_frames(self) -> bool {
        matches!(self, Self::Zstd | Self::Lz4 | Self::Lz4Frame)
    }

    /// The codecs that are written, [`Codec::None`] among them.
    pub fn written() -> impl Iterator<Item = Self> {
        CODECS.iter().filter(|row| row.writing.is_some()).map(|row| row.codec)
    }

    /// The best one to write for somebody who reads these: zstd, then the first in the table. Nearly everybody reads gzip.
    pub fn best_of(known: &[Self]) -> Self {
        let preferred = std::iter::once(Self::Zstd).chain(Self::written());
        preferred.into_iter().find(|codec| known.contains(codec)).unwrap_or(Self::Gzip)
    }

    /// A codec that is written, by its name.
    pub(crate) fn written_as(name: &str) -> Option<Self> {
        Self::written().find(|codec| codec.name() == name)
    }

    /// The name, as users write it.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What the names of its files end with; empty for [`Codec::None`].
    pub fn ending(self) -> &'static str {
        self.row().ending
    }

    /// The codec that a file name tells, [`Codec::None`] where it tells none, and the name without that ending.
    pub fn of_name(name: &str) -> (&str, Self) {
        let told = |row: &Row| name.strip_suffix(row.ending).filter(|rest| !row.ending.is_empty() && !rest.is_empty());
        CODECS.iter().find_map(|row| Some((told(row)?, row.codec))).unwrap_or((name, Self::None))
    }

    fn row(self) -> &'static Row {
        &CODECS[self as usize]
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Names for a sentence: `a, b or c`.
fn alternatives(names: &[&str]) -> String {
    match names {
        [names @ .., last] if !names.is_empty() => format!("{} or {last}", names.join(", ")),
        names => names.concat(),
    }
}

/// A codec that is written, and its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    codec: Codec,
    level: u32,
}

/// Bytes as they are.
impl Default for Encoding {
    fn default() -> Self {
        Self { codec: Codec::None, level: 0 }
    }
}

impl Encoding {
    /// A codec at a level, or at its default level.
    ///
    /// # Errors
    /// When the codec is not written, or the level is not one of its levels.
    pub fn new(codec: Codec, level: Option<u32>) -> Result<Self> {
        let Writing { levels, default, .. } = codec.row().writing.as_ref().ok_or_else(|| {
            let written = Codec::written().map(Codec::name).collect::<Vec<_>>();
            Error::unsupported(format!("{codec} is read, never written: choose {}", alternatives(&written)))
        })?;
        let level = level.unwrap_or(*default);
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
        progress.expect(blob.len());
        let work = Work { blob, level: self.level, threads, progress };
        match &self.codec.row().writing {
            Some(writing) => (writing.write)(&work, to),
            None => copy(&work, to),
        }
    }
}

fn copy(work: &Work<'_>, to: &mut dyn Write) -> Result<()> {
    work.each(units::MIB, 0, |range| work.read(&range), |bytes| Ok(to.write_all(&bytes)?))
}

/// A blob to be compressed in pieces.
struct Work<'a> {
    blob: &'a Blob,
    level: u32,
    threads: NonZeroUsize,
    progress: &'a dyn Progress,
}

impl Work<'_> {
    /// Runs `work` on the pieces of `size` bytes on all threads; `sink` has the results in order. A result depends on the bytes of its
    /// piece and on the `window` before it. Where all of these lie in a gap they are zeros, and the work is done once for all such pieces.
    fn each<R: Clone + Send + Sync>(
        &self,
        size: u64,
        window: u64,
        work: impl Fn(Range<u64>) -> Result<R> + Sync,
        sink: impl FnMut(R) -> Result<()>,
    ) -> Result<()> {
        let len = self.blob.len();
        let pieces = (0..len.div_ceil(size)).map(|nth| Ok(nth * size..((nth + 1) * size).min(len)));
        let zeros = OnceLock::new();
        let once = |range: Range<u64>| {
            let seen = range.start.saturating_sub(window)..range.end;
            if seen.end - seen.start < window + size || !self.is_gap(&seen) {
                return work(range);
            }
            match zeros.get() {
                Some(done) => Ok(R::clone(done)),
                None => work(range).map(|done| zeros.get_or_init(|| done).clone()),
            }
        };
        let told = |range: Range<u64>| {
            let bytes = range.end - range.start;
            let result = once(range)?;
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

    /// Whether a range lies in a gap.
    fn is_gap(&self, range: &Range<u64>) -> bool {
        self.blob.slice(range.clone()).data_len() == 0
    }
}

#[cfg(test)]
mod tests;
