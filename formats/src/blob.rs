//! `Blob`: a byte string of known length, described by extents instead of held in memory.
//!
//! ```text
//!  0            start        start+len                    len
//!  |....gap....|###extent###|.........gap.........|##ext##|
//!    zeros       memory or file    zeros
//! ```
//! A tar member, a cpio archive, a FAT volume, a disk and a container file are all blobs, made out of blobs.

mod backing;

pub use backing::{Backing, ReadAhead};

use crate::{Error, Result, units};
use sha2::{Digest, Sha256};
use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    sync::Arc,
};

/// A byte string: extents in ascending order that neither overlap nor touch the end; a gap is zeros.
#[derive(Clone, Default)]
pub struct Blob {
    len: u64,
    extents: Vec<Extent>,
}

/// A run of bytes of a blob and where they come from.
#[derive(Clone, Debug)]
pub struct Extent {
    /// Byte offset in the blob.
    pub start: u64,
    /// Bytes; never 0.
    pub len: u64,
    /// Where the bytes are.
    pub source: Source,
}

/// Where the bytes of an extent are.
#[derive(Clone)]
pub enum Source {
    /// Part of a shared buffer.
    Memory {
        /// The buffer.
        bytes: Arc<[u8]>,
        /// Where the extent starts in it.
        offset: u64,
    },
    /// Part of an open file.
    File {
        /// The file.
        file: Arc<Backing>,
        /// Where the extent starts in it.
        offset: u64,
    },
    /// Part of what is elsewhere.
    Elsewhere {
        /// How it is read.
        from: Arc<dyn ReadAt>,
        /// Where the extent starts in it.
        offset: u64,
    },
}

/// Bytes that are neither in memory nor in a file of this machine, and are fetched when they are read.
pub trait ReadAt: fmt::Debug + Send + Sync {
    /// Fills `to` with the bytes from `offset`.
    ///
    /// # Errors
    /// When they cannot be had, or are no longer those that they were.
    fn read_exact_at(&self, to: &mut [u8], offset: u64) -> Result<()>;
}

impl Source {
    fn advanced(&self, by: u64) -> Self {
        match self.clone() {
            Self::Memory { bytes, offset } => Self::Memory { bytes, offset: offset + by },
            Self::File { file, offset } => Self::File { file, offset: offset + by },
            Self::Elsewhere { from, offset } => Self::Elsewhere { from, offset: offset + by },
        }
    }

    /// Whether `next`, `len` bytes on, is simply more of the same.
    fn continues(&self, len: u64, next: &Self) -> bool {
        match (self, next) {
            (Self::Memory { bytes: a, offset: i }, Self::Memory { bytes: b, offset: j }) => Arc::ptr_eq(a, b) && i + len == *j,
            (Self::File { file: a, offset: i }, Self::File { file: b, offset: j }) => Arc::ptr_eq(a, b) && i + len == *j,
            (Self::Elsewhere { from: a, offset: i }, Self::Elsewhere { from: b, offset: j }) => Arc::ptr_eq(a, b) && i + len == *j,
            _ => false,
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { bytes, offset } => write!(f, "memory({} bytes)+{offset}", bytes.len()),
            Self::File { offset, .. } => write!(f, "file+{offset}"),
            Self::Elsewhere { from, offset } => write!(f, "{from:?}+{offset}"),
        }
    }
}

impl Extent {
    /// One past the last byte, in the blob.
    pub fn end(&self) -> u64 {
        self.start + self.len
    }

    /// The part of this extent inside `range`, at the same place in the blob.
    fn clip(&self, range: &Range<u64>) -> Option<Self> {
        let start = self.start.max(range.start);
        let end = self.end().min(range.end);
        (start < end).then(|| Self { start, len: end - start, source: self.source.advanced(start - self.start) })
    }

    /// Whether all bytes are among those of `whole`: the same ones, not equal ones.
    fn is_within(&self, whole: &Self) -> bool {
        let (is_same, first, mine) = match (&whole.source, &self.source) {
            (Source::Memory { bytes: a, offset: i }, Source::Memory { bytes: b, offset: j }) => (Arc::ptr_eq(a, b), *i, *j),
            (Source::File { file: a, offset: i }, Source::File { file: b, offset: j }) => (Arc::ptr_eq(a, b), *i, *j),
            (Source::Elsewhere { from: a, offset: i }, Source::Elsewhere { from: b, offset: j }) => (Arc::ptr_eq(a, b), *i, *j),
            _ => return false,
        };
        is_same && first <= mine && mine + self.len <= first + whole.len
    }

    fn read(&self, skip: u64, to: &mut [u8]) -> Result<()> {
        match &self.source {
            Source::Memory { bytes, offset } => {
                let from = units::index(offset + skip);
                to.copy_from_slice(&bytes[from..from + to.len()]);
                Ok(())
            }
            Source::File { file, offset } => file.read_exact_at(to, offset + skip),
            Source::Elsewhere { from, offset } => from.read_exact_at(to, offset + skip),
        }
    }
}

impl Blob {
    /// `len` zeros, which take no space.
    pub fn zeros(len: u64) -> Self {
        Self { len, extents: Vec::new() }
    }

    /// Bytes in memory.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        let len = units::bytes(bytes.len());
        Self::of(len, Source::Memory { bytes, offset: 0 })
    }

    /// `len` bytes of a file, from `offset`.
    pub fn file(file: impl Into<Arc<Backing>>, offset: u64, len: u64) -> Self {
        Self::of(len, Source::File { file: file.into(), offset })
    }

    fn of(len: u64, source: Source) -> Self {
        let extents = if len == 0 { Vec::new() } else { vec![Extent { start: 0, len, source }] };
        Self { len, extents }
    }

    /// The first `len` bytes of what is elsewhere.
    pub fn elsewhere(from: Arc<dyn ReadAt>, len: u64) -> Self {
        let mut blob = Self::zeros(len);
        if len > 0 {
            blob.extents.push(Extent { start: 0, len, source: Source::Elsewhere { from, offset: 0 } });
        }
        blob
    }

    /// Length in bytes, gaps included.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the length is 0.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The extents, in order.
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Bytes that are in some extent: what a sparse file of this blob occupies, about.
    pub fn data_len(&self) -> u64 {
        self.extents.iter().map(|e| e.len).sum()
    }

    /// Puts `tail` behind the last byte.
    pub fn append(&mut self, tail: &Blob) {
        let at = self.len;
        self.len = at.checked_add(tail.len).expect("blobs stay below 2^64 bytes");
        for extent in &tail.extents {
            self.push(Extent { start: at + extent.start, ..extent.clone() });
        }
    }

    /// Adds an extent behind all others, joined to the last one where it continues it.
    fn push(&mut self, extent: Extent) {
        if let Some(last) = self.extents.last_mut()
            && last.end() == extent.start
            && last.source.continues(last.len, &extent.source)
        {
            last.len += extent.len;
            return;
        }
        self.extents.push(extent);
    }

    /// Adds zeros up to a multiple of `multiple`.
    pub fn pad_to(&mut self, multiple: u64) {
        self.len = self.len.next_multiple_of(multiple);
    }

    /// Adds zeros up to `len`. Panics when the blob is longer: a planner bug.
    pub fn extend_to(&mut self, len: u64) {
        assert!(self.len <= len, "a blob of {} bytes does not shrink to {len}", self.len);
        self.len = len;
    }

    /// Lays `piece` over zeros at `at`. Panics when it overlaps data or the end: a planner bug, never the input's fault.
    pub fn splice(&mut self, at: u64, piece: &Blob) {
        let end = at.checked_add(piece.len).expect("blobs stay below 2^64 bytes");
        assert!(end <= self.len, "splice of {at}..{end} into {} bytes", self.len);
        if piece.extents.is_empty() {
            return;
        }
        let place = self.extents.partition_point(|e| e.end() <= at);
        if let Some(next) = self.extents.get(place) {
            assert!(next.start >= end, "splice of {at}..{end} over data at {}..{}", next.start, next.end());
        }
        let moved = piece.extents.iter().map(|e| Extent { start: at + e.start, ..e.clone() });
        self.extents.splice(place..place, moved);
    }

    /// Puts `piece` over what is at `at`, data or not. Panics when it overlaps the end: a planner bug.
    pub fn replace(&mut self, at: u64, piece: &Blob) {
        let mut whole = self.slice(0..at);
        whole.append(piece);
        whole.append(&self.slice(whole.len..self.len));
        *self = whole;
    }

    /// A part of this blob as a blob. Panics when the range is not inside.
    pub fn slice(&self, range: Range<u64>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len, "slice {range:?} of {} bytes", self.len);
        let first = self.extents.partition_point(|e| e.end() <= range.start);
        let inside = self.extents[first..].iter().map_while(|e| e.clip(&range));
        Self { len: range.end - range.start, extents: inside.map(|e| Extent { start: e.start - range.start, ..e }).collect() }
    }

    /// Two blobs of this length: the extents that refer to bytes of `whole`, and the others.
    pub fn split_by(&self, whole: &Self) -> (Self, Self) {
        let (inside, outside) = self.extents.iter().cloned().partition(|extent| whole.extents.iter().any(|w| extent.is_within(w)));
        (Self { len: self.len, extents: inside }, Self { len: self.len, extents: outside })
    }

    /// The data of two blobs of one length. Panics when both have any at one place: a planner bug.
    pub fn joined_with(&self, other: &Self) -> Self {
        assert_eq!(self.len, other.len, "blobs of one length");
        let mut all: Vec<_> = self.extents.iter().chain(&other.extents).collect();
        // Two ascending runs: this merges them.
        all.sort_by_key(|extent| extent.start);
        let mut joined = Self { len: self.len, extents: Vec::with_capacity(all.len()) };
        for extent in all {
            assert!(joined.extents.last().is_none_or(|last| last.end() <= extent.start), "data over data at {}", extent.start);
            joined.push(extent.clone());
        }
        joined
    }

    /// Runs of whole units (of `unit` bytes) that hold any data, ascending and never touching: `first..end` unit numbers.
    pub fn data_units(&self, unit: u64) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut extents = self.extents.iter().peekable();
        std::iter::from_fn(move || {
            let first = extents.next()?;
            let mut run = first.start / unit..first.end().div_ceil(unit);
            while let Some(next) = extents.next_if(|e| e.start / unit <= run.end) {
                run.end = run.end.max(next.end().div_ceil(unit));
            }
            Some(run)
        })
    }

    /// Fills `to` with the bytes from `offset`.
    ///
    /// # Errors
    /// When the range reaches past the end (bad input), or a file cannot be read or is shorter than it was.
    pub fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<()> {
        let end = offset
            .checked_add(units::bytes(to.len()))
            .filter(|end| *end <= self.len)
            .ok_or_else(|| Error::bad_input(format!("{} bytes at {offset} reach past the end at {}", to.len(), self.len)))?;
        let first = self.extents.partition_point(|e| e.end() <= offset);
        let mut done = offset;
        for extent in self.extents[first..].iter().take_while(|e| e.start < end) {
            let from = extent.start.max(offset);
            let until = extent.end().min(end);
            to[units::index(done - offset)..units::index(from - offset)].fill(0);
            extent.read(from - extent.start, &mut to[units::index(from - offset)..units::index(until - offset)])?;
            done = until;
        }
        to[units::index(done - offset)..].fill(0);
        Ok(())
    }

    /// Tells who keeps the bytes that all of them are about to be read, here and there.
    pub(crate) fn read_ahead(&self) {
        for extent in &self.extents {
            if let Source::File { file, offset } = &extent.source {
                file.read_ahead(*offset, extent.len);
            }
        }
    }

    /// The first `N` bytes at `offset`, for on-disk structures.
    ///
    /// # Errors
    /// As [`Blob::read_at`].
    pub fn read_array<const N: usize>(&self, offset: u64) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_at(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// All bytes in memory.
    ///
    /// # Errors
    /// When there are more than `limit`, and as [`Blob::read_at`].
    pub fn to_vec(&self, limit: u64) -> Result<Vec<u8>> {
        if self.len > limit {
            return Err(Error::bad_input(format!("{} bytes are too many, at most {limit} are taken", self.len)));
        }
        // Memory that is zero and that nobody writes to is not even there.
        let mut bytes = vec![0; units::index(self.len)];
        for extent in &self.extents {
            extent.read(0, &mut bytes[units::index(extent.start)..units::index(extent.end())])?;
        }
        Ok(bytes)
    }

    /// SHA-256 of the bytes.
    ///
    /// # Errors
    /// As [`Blob::read_at`].
    pub fn sha256(&self) -> Result<[u8; 32]> {
        self.digest::<Sha256>().map(Into::into)
    }

    /// A digest of the bytes.
    ///
    /// # Errors
    /// As [`Blob::read_at`].
    pub fn digest<D: Digest>(&self) -> Result<sha2::digest::Output<D>> {
        // Memory of this size is used again, larger memory would come anew from the kernel each time.
        const CHUNK: u64 = 64 * units::KIB;
        let mut digest = D::new();
        let mut chunk = vec![0; units::index(CHUNK.min(self.len))];
        let mut at = 0;
        while at < self.len {
            let len = CHUNK.min(self.len - at);
            let chunk = &mut chunk[..units::index(len)];
            self.read_at(at, chunk)?;
            digest.update(&*chunk);
            at += len;
        }
        Ok(digest.finalize())
    }

    /// The bytes front to back, with seeking.
    pub fn reader(&self) -> Reader<'_> {
        Reader { blob: self, at: 0 }
    }
}

/// Length and extents, for failing tests.
impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("len", &self.len).field("extents", &self.extents).finish()
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self::bytes(bytes)
    }
}

/// Reads a blob through `std::io`. Small reads are not buffered.
#[derive(Debug)]
pub struct Reader<'a> {
    blob: &'a Blob,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let left = self.blob.len.saturating_sub(self.at);
        let n = to.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.blob.read_at(self.at, &mut to[..n])?;
        self.at += units::bytes(n);
        Ok(n)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.blob.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

/// Whether all bytes are 0.
pub fn is_zero(bytes: &[u8]) -> bool {
    // Wide words, combined before the test: the compiler makes vector instructions of it.
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0) && rest.iter().all(|byte| *byte == 0)
}

/// Writes at a place of a file without its cursor; may write less than all.
///
/// # Errors
/// When the file cannot be written.
#[cfg(unix)]
pub fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, offset)
}

/// Writes at a place of a file without its cursor; may write less than all.
///
/// # Errors
/// When the file cannot be written.
#[cfg(windows)]
pub fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Blob {
        let mut blob = Blob::zeros(4);
        blob.append(&Blob::bytes(*b"abcd"));
        blob.append(&Blob::zeros(4));
        blob.append(&Blob::bytes(*b"ef"));
        blob
    }

    #[test]
    fn gaps_read_as_zeros() {
        assert_eq!(sample().to_vec(99).unwrap(), b"\0\0\0\0abcd\0\0\0\0ef");
        assert_eq!(sample().slice(2..13).to_vec(99).unwrap(), b"\0\0abcd\0\0\0\0e");
        assert_eq!(sample().data_len(), 6);
    }

    #[test]
    fn neighbours_of_one_source_join() {
        let whole = Blob::bytes(vec![7; 100]);
        let mut again = whole.slice(0..40);
        again.append(&whole.slice(40..100));
        assert_eq!(again.extents().len(), 1);
    }

    #[test]
    fn what_is_split_joins_again() {
        let whole = Blob::bytes(vec![7; 100]);
        let mut mixed = sample();
        mixed.append(&whole.slice(10..20));
        mixed.append(&sample());
        mixed.append(&whole.slice(90..100));
        let (inside, outside) = mixed.split_by(&whole);
        assert_eq!((inside.data_len(), outside.data_len()), (20, 12));
        assert_eq!(inside.joined_with(&outside).to_vec(99).unwrap(), mixed.to_vec(99).unwrap());
        assert_eq!(mixed.split_by(&whole.slice(0..15)).0.data_len(), 0);
    }

    #[test]
    fn reading_past_the_end_is_an_error() {
        assert!(sample().read_at(13, &mut [0; 2]).is_err());
        assert!(sample().read_at(u64::MAX, &mut [0; 2]).is_err());
        assert!(sample().to_vec(13).is_err());
    }

    #[test]
    #[should_panic(expected = "over data")]
    fn overlap_is_a_bug() {
        sample().splice(3, &Blob::bytes(*b"xy"));
    }

    proptest! {
        /// Every operation agrees with the same operation on plain bytes.
        #[test]
        fn a_blob_is_its_bytes(pieces in prop::collection::vec((0u64..50, prop::collection::vec(any::<u8>(), 0..50)), 0..8), cut in any::<(u16, u16)>(), unit in 1u64..40) {
            let mut blob = Blob::default();
            let mut plain = Vec::new();
            for (gap, bytes) in &pieces {
                blob.append(&Blob::zeros(*gap));
                blob.append(&Blob::bytes(bytes.clone()));
                plain.resize(plain.len() + units::index(*gap), 0);
                plain.extend_from_slice(bytes);
            }
            prop_assert_eq!(&blob.to_vec(10_000).unwrap(), &plain);
            let a = usize::from(cut.0) % (plain.len() + 1);
            let b = a + usize::from(cut.1) % (plain.len() - a + 1);
            prop_assert_eq!(blob.slice(units::bytes(a)..units::bytes(b)).to_vec(10_000).unwrap(), &plain[a..b]);
            let mut covered = vec![false; plain.len()];
            let mut last = None;
            for run in blob.data_units(unit) {
                prop_assert!(run.start < run.end && last.is_none_or(|end| run.start > end));
                last = Some(run.end);
                let end = plain.len().min(units::index(run.end * unit));
                covered[units::index(run.start * unit)..end].fill(true);
            }
            for (byte, covered) in plain.iter().zip(covered) {
                prop_assert!(covered || *byte == 0);
            }
            let mut spliced = Blob::zeros(blob.len());
            for extent in blob.extents().iter().rev() {
                spliced.splice(extent.start, &blob.slice(extent.start..extent.end()));
            }
            prop_assert_eq!(&spliced.to_vec(10_000).unwrap(), &plain);
        }
    }
}
