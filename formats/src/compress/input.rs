//! What decoders read from: it says how far it was read, shows what comes next, and takes back what was read too far.

use crate::units;
use std::io::{self, BufRead, Read};

/// Compressed bytes that are read at once, at first and when a stream turns out to be long. An input of many small streams that
/// are read one by one is not read again and again.
const BUFFER_MIN: usize = 4 << 10;
const BUFFER_MAX: usize = 64 << 10;
/// Magic and size of a skippable frame.
const SKIPPABLE_HEAD: usize = 8;

/// Compressed bytes, in a buffer. The reader is boxed, so that every decoder is compiled once and not for each kind of input.
pub(super) struct Input<'a> {
    from: Box<dyn Read + Send + 'a>,
    buffer: Vec<u8>,
    /// What of the buffer was read and not yet given out.
    start: usize,
    end: usize,
    position: u64,
    is_exhausted: bool,
}

/// An empty one.
impl Default for Input<'_> {
    fn default() -> Self {
        Self::new(io::empty())
    }
}

impl<'a> Input<'a> {
    pub(super) fn new(from: impl Read + Send + 'a) -> Self {
        Self { from: Box::new(from), buffer: Vec::new(), start: 0, end: 0, position: 0, is_exhausted: false }
    }

    /// How many bytes were given out, without those that came back.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Whether somebody wanted more than there is. Looking ahead does not count.
    pub(super) fn is_exhausted(&self) -> bool {
        self.is_exhausted
    }

    /// The next bytes, fewer than `len` only at the end.
    pub(super) fn peek(&mut self, len: usize) -> io::Result<&[u8]> {
        while self.end - self.start < len {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end == self.buffer.len() || self.end == 0 {
                let size = (self.buffer.len() * 4).clamp(BUFFER_MIN, BUFFER_MAX).max(len);
                self.buffer.resize(size.max(self.buffer.len()), 0);
            }
            let read = read_some(&mut self.from, &mut self.buffer[self.end..])?;
            if read == 0 {
                break;
            }
            self.end += read;
        }
        Ok(&self.buffer[self.start..self.end.min(self.start + len)])
    }

    /// Takes back the last bytes that were given out.
    pub(super) fn unread(&mut self, mut bytes: Vec<u8>) {
        self.position -= units::bytes(bytes.len());
        bytes.extend_from_slice(&self.buffer[self.start..self.end]);
        (self.start, self.end) = (0, bytes.len());
        self.buffer = bytes;
    }

    /// Passes over bytes, which have to be there.
    pub(super) fn skip(&mut self, mut len: u64) -> io::Result<()> {
        while len > 0 {
            let here = self.fill_buf()?.len().min(usize::try_from(len).unwrap_or(usize::MAX));
            if here == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.consume(here);
            len -= units::bytes(here);
        }
        Ok(())
    }

    /// Passes over zeros, and says how many.
    pub(super) fn skip_zeros(&mut self) -> io::Result<u64> {
        let before = self.position;
        loop {
            self.peek(1)?;
            let bytes = &self.buffer[self.start..self.end];
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            let is_over = zeros < bytes.len() || bytes.is_empty();
            self.consume(zeros);
            if is_over {
                return Ok(self.position - before);
            }
        }
    }

    /// Passes over skippable frames, and says whether there were any.
    pub(super) fn skip_frames(&mut self) -> io::Result<bool> {
        let mut any = false;
        while let Some(len) = skippable(self.peek(SKIPPABLE_HEAD)?) {
            self.skip(len)?;
            any = true;
        }
        Ok(any)
    }
}

impl Read for Input<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = if self.start == self.end && to.len() >= BUFFER_MAX {
            read_some(&mut self.from, to)?
        } else {
            let here = self.peek(1.min(to.len()))?.len();
            let n = if here == 0 { 0 } else { to.len().min(self.end - self.start) };
            to[..n].copy_from_slice(&self.buffer[self.start..self.start + n]);
            self.start += n;
            n
        };
        self.is_exhausted |= read == 0 && !to.is_empty();
        self.position += units::bytes(read);
        Ok(read)
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.is_exhausted |= self.peek(1)?.is_empty();
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, len: usize) {
        let len = len.min(self.end - self.start);
        self.start += len;
        self.position += units::bytes(len);
    }
}

fn read_some(from: &mut dyn Read, to: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(to) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// The length of a skippable frame, with its head, by its first bytes (RFC 8878 section 3.1.2; lz4 has taken it over): a magic from
/// 184d2a50 to 184d2a5f, then the size.
pub(super) fn skippable(start: &[u8]) -> Option<u64> {
    match start {
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, ..] => {
            Some(units::bytes(SKIPPABLE_HEAD) + u64::from(u32::from_le_bytes([*a, *b, *c, *d])))
        }
        _ => None,
    }
}

/// Whether a skippable frame begins here, as far as there is anything.
pub(super) fn is_skippable(start: &[u8]) -> bool {
    matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}
