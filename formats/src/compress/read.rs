//! Reading compressed streams, which may be hostile: memory is bounded by the codecs' windows. How much comes out is the
//! caller's to bound.
//!
//! One rule for all: a [`Stream`] is a single stream (member, frame) and says how much of its input it took; a [`Reader`] reads
//! one after the other until the input is over. What is behind the last one and is no stream of the codec is an error that says
//! where it stands, but for padding where the codec's own tool takes it. Checksums are verified.

use super::{Codec, Row, input::Input};
use crate::{Error, Kind, Result, units};
use std::{
    fmt,
    io::{self, Read},
};

/// The largest dictionary of xz and lzma that is taken, with what the decoder needs besides. `xz -9` has 64 MiB.
pub(super) const MEMORY_MAX: u64 = 256 * units::MIB;

/// How a codec is read.
pub(super) struct Reading {
    /// What it calls its streams.
    pub(super) unit: &'static str,
    pub(super) open: for<'a> fn(Input<'a>) -> Box<dyn Decode<'a> + 'a>,
    /// Zeros that may stand behind a stream.
    pub(super) padding: Padding,
    /// Whether these bytes, as many as there are, begin a stream that continues the one before.
    pub(super) follows: fn(&[u8]) -> bool,
    /// Whether the codec's tool warns of anything else and takes it for the end.
    pub(super) garbage_ends: bool,
}

/// Zeros behind a stream, as the codec's tool takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Padding {
    /// No zeros.
    None,
    /// Multiples of so many.
    Multiple(u64),
}

/// A decoder: reads as the content of the stream that was begun last.
pub(super) trait Decode<'a>: Read + Send {
    /// Begins with the stream at which the input stands.
    fn begin(&mut self) -> io::Result<()>;

    /// The input. At the end of a stream it stands behind that.
    fn input(&mut self) -> &mut Input<'a>;
}

/// Refuses a dictionary that alone is larger than the memory that is given to a decoder, with both sizes.
pub(super) fn check_dictionary(len: u64) -> io::Result<()> {
    if len <= MEMORY_MAX {
        return Ok(());
    }
    let what = format!("a dictionary of {}, at most {}", units::show_size(len), units::show_size(MEMORY_MAX));
    Err(io::Error::new(io::ErrorKind::OutOfMemory, what))
}

pub(super) fn memory_max_kib() -> u32 {
    u32::try_from(MEMORY_MAX / units::KIB).expect("a small constant")
}

/// The content of a compressed input: every member, frame or stream of it.
///
/// # Errors
/// When the input cannot be read or begins wrong. Damage further on is an error of the reader, and an [`Error`] inside.
pub fn reader<'a>(codec: Codec, from: impl Read + Send + 'a) -> Result<Reader<'a>> {
    Ok(Reader { stream: stream(codec, from)?, tolerates: false, garbage: None })
}

/// The content of the first member, frame or stream of an input, whatever stands behind it.
///
/// Skippable frames in front belong to a frame of zstd or lz4. A legacy frame of lz4 has no end: it goes on until no block can
/// begin, as in Linux at zeros.
///
/// # Errors
/// As [`reader`].
pub fn stream<'a>(codec: Codec, from: impl Read + Send + 'a) -> Result<Stream<'a>> {
    let row = codec.row();
    let mut stream = Stream { row, content: (row.reading.open)(Input::new(from)), start: 0, is_over: false };
    stream.begin()?;
    Ok(stream)
}

/// One stream (member, frame) of an input. Reads as its content.
pub struct Stream<'a> {
    row: &'static Row,
    content: Box<dyn Decode<'a> + 'a>,
    start: u64,
    is_over: bool,
}

impl fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("codec", &self.row.codec).field("start", &self.start).finish_non_exhaustive()
    }
}

impl Stream<'_> {
    /// Once the content was read to its end: how many bytes of the input the stream took.
    pub fn taken(&mut self) -> u64 {
        self.content.input().position()
    }

    fn begin(&mut self) -> io::Result<()> {
        self.start = self.content.input().position();
        self.is_over = false;
        self.content.begin().map_err(|error| self.explained(error))
    }

    /// Says of which codec an error is, and that the input is at fault unless reading it failed.
    fn explained(&mut self, error: io::Error) -> io::Error {
        let inner = error.get_ref();
        let is_ours = inner.is_some_and(|inner| inner.is::<Error>());
        if is_ours || error.raw_os_error().is_some() || error.kind() == io::ErrorKind::Interrupted {
            return error;
        }
        let is_too_large = error.kind() == io::ErrorKind::OutOfMemory || inner.is_some_and(|inner| zstd::is_window_too_large(inner));
        let is_short = error.kind() == io::ErrorKind::UnexpectedEof || self.content.input().is_exhausted();
        let (kind, what) = match (is_too_large, is_short) {
            (true, _) => (Kind::Unsupported, "wants too much memory to be unpacked"),
            (_, true) => (Kind::BadInput, "ends too early"),
            _ => (Kind::BadInput, "is damaged"),
        };
        let Row { name, reading, .. } = self.row;
        Error::new(kind, format!("the {name} data {what}, in the {} at byte {}", reading.unit, self.start)).because(error).into()
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.is_over || to.is_empty() {
            return Ok(0);
        }
        let n = self.content.read(to).map_err(|error| self.explained(error))?;
        self.is_over = n == 0;
        Ok(n)
    }
}

/// The streams of an input, one after the other. Reads as their content.
#[derive(Debug)]
pub struct Reader<'a> {
    stream: Stream<'a>,
    tolerates: bool,
    garbage: Option<Garbage>,
}

impl Reader<'_> {
    /// Where the codec's own tool warns of what it cannot read behind a stream, and takes it for the end (gzip, bzip2), the content
    /// ends there, too. The caller asks for [`Reader::garbage`] afterwards, and warns.
    #[must_use]
    pub fn tolerant(mut self) -> Self {
        self.tolerates = true;
        self
    }

    /// What was passed over behind the last stream, once everything was read.
    pub fn garbage(&self) -> Option<&Garbage> {
        self.garbage.as_ref()
    }

    /// Goes on to the next stream. There is none at the end, and at what a tolerant reader passes over.
    fn advance(&mut self) -> io::Result<bool> {
        let Row { name, reading, .. } = self.stream.row;
        let input = self.stream.content.input();
        let zeros = if reading.padding == Padding::None { 0 } else { input.skip_zeros()? };
        let at = input.position();
        let next = input.peek(Codec::SNIFF_LEN)?;
        if let Padding::Multiple(multiple) = reading.padding
            && zeros % multiple != 0
        {
            let text = format!("behind the {name} data, up to byte {at}, stand {zeros} zeros, must be a multiple of {multiple}");
            return Err(Error::bad_input(text).into());
        }
        if next.is_empty() {
            return Ok(false);
        }
        if (reading.follows)(next) {
            return self.stream.begin().map(|()| true);
        }
        let garbage = Garbage { at, start: next.to_vec() };
        if !(self.tolerates && reading.garbage_ends) {
            let text = format!("behind the {name} data stands something else: {garbage}, must be another {} or the end", reading.unit);
            return Err(Error::bad_input(text).into());
        }
        self.garbage = Some(garbage);
        Ok(false)
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if to.is_empty() || self.garbage.is_some() {
            return Ok(0);
        }
        loop {
            let n = self.stream.read(to)?;
            if n > 0 || !self.advance()? {
                return Ok(n);
            }
        }
    }
}

/// What stands behind the last stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garbage {
    /// Where it begins in the input.
    pub at: u64,
    start: Vec<u8>,
}

impl fmt::Display for Garbage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Bytes that are shown.
        const SHOWN: usize = 4;
        for byte in self.start.iter().take(SHOWN) {
            write!(f, "{byte:02x} ")?;
        }
        write!(f, "at byte {}", self.at)
    }
}

/// The bytes as they are.
pub(super) struct Plain<'a>(pub(super) Input<'a>);

impl Read for Plain<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.0.read(to)
    }
}

impl<'a> Decode<'a> for Plain<'a> {
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn input(&mut self) -> &mut Input<'a> {
        &mut self.0
    }
}

#[cfg(test)]
mod tests;
