//! `Fetched`: a file at a store, of which those bytes are fetched that are read.
//!
//! It comes in pieces of a mebibyte, and of more where it is read on and on; the last ones are kept. Every request says which state of the
//! file is meant: one that changes while it is read is an error.

use super::{Ranges, Stores, lock};
use crate::{
    http::{Answer, remote},
    refusal,
    retry::{Failure, persist},
};
use formats::{Error, Kind, Result, blob::ReadAt, units};
use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex},
};

/// Bytes of a piece.
const PIECE: u64 = units::MIB;
/// Pieces that are fetched at once where the one before was, too.
const AHEAD: u64 = 8;
/// Pieces that are kept.
const KEPT: usize = 32;

pub(super) struct Fetched {
    ranges: Box<dyn Ranges>,
    stores: Arc<Stores>,
    len: u64,
    /// Says that it is still the same file.
    tag: Option<(&'static str, String)>,
    pieces: Mutex<Pieces>,
}

#[derive(Default)]
struct Pieces {
    /// By number, the one that was wanted last in front.
    kept: VecDeque<(u64, Arc<[u8]>)>,
    /// The one behind the last that was fetched.
    next: u64,
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "elsewhere({} bytes)", self.len)
    }
}

impl Fetched {
    /// Looks at the first piece, which tells the length.
    pub(super) fn open(ranges: Box<dyn Ranges>, stores: Arc<Stores>) -> Result<Self> {
        let mut this = Self { ranges, stores, len: 0, tag: None, pieces: Mutex::default() };
        let (first, len, tag) = this.persisting(|| {
            let mut answer = this.ranges.get(&[range(0, PIECE)])?;
            let tag = tag(&answer);
            match answer.status {
                206 => {
                    let len = length(&answer).ok_or_else(|| remote(&answer.url, "sends a piece and does not say of how much"))?;
                    Ok((bytes(&mut answer, PIECE.min(len))?, len, tag))
                }
                // Of nothing there is no piece.
                416 => Ok((Vec::new(), 0, tag)),
                200 => Err(Error::unsupported(format!("{} sends files as a whole and not in pieces", answer.url.authority()))
                    .hint("save the file first")
                    .into()),
                404 => Err(Failure::from(refusal::of_server(answer, "refuses").error.of_kind(Kind::BadInput))),
                _ => Err(refusal::of_server(answer, "refuses")),
            }
        })?;
        (this.len, this.tag) = (len, tag);
        lock(&this.pieces).keep(0, first);
        Ok(this)
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    fn persisting<T>(&self, work: impl FnMut() -> Result<T, Failure>) -> Result<T> {
        persist(&self.stores.http.transport.limits, &*self.stores.clock, "", work)
    }

    /// The piece of a number, with those behind it where the one before was the last.
    fn piece(&self, number: u64) -> Result<Arc<[u8]>> {
        // Held while it is fetched: what is behind it is often wanted next.
        let mut pieces = lock(&self.pieces);
        if let Some(piece) = pieces.get(number) {
            return Ok(piece);
        }
        let count = if pieces.next == number && number > 0 { AHEAD } else { 1 };
        let (start, end) = (number * PIECE, self.len.min((number + count) * PIECE));
        let fetched = self.persisting(|| {
            let headers: Vec<_> = [Some(range(start, end)), self.tag.clone()].into_iter().flatten().collect();
            let mut answer = self.ranges.get(&headers)?;
            match answer.status {
                206 if length(&answer) == Some(self.len) && is_same(&answer, self.tag.as_ref()) => bytes(&mut answer, end - start),
                206 | 200 | 404 | 412 | 416 => {
                    Err(remote(&answer.url, "has another file now than when it was opened").hint("try again").into())
                }
                _ => Err(refusal::of_server(answer, "refuses")),
            }
        })?;
        for (number, piece) in (number..).zip(fetched.chunks(units::index(PIECE))).skip(1).collect::<Vec<_>>().into_iter().rev() {
            pieces.keep(number, piece.to_vec());
        }
        pieces.next = end.div_ceil(PIECE);
        let first = fetched.len().min(units::index(PIECE));
        Ok(pieces.keep(number, fetched[..first].to_vec()))
    }
}

impl ReadAt for Fetched {
    fn read_exact_at(&self, mut to: &mut [u8], mut offset: u64) -> Result<()> {
        while !to.is_empty() {
            let piece = self.piece(offset / PIECE)?;
            let rest = piece.get(units::index(offset % PIECE)..).unwrap_or_default();
            let n = rest.len().min(to.len());
            if n == 0 {
                return Err(Error::new(Kind::Bug, "a piece behind the end is asked for"));
            }
            let (now, later) = to.split_at_mut(n);
            now.copy_from_slice(&rest[..n]);
            (to, offset) = (later, offset + units::bytes(n));
        }
        Ok(())
    }
}

impl Pieces {
    fn get(&mut self, number: u64) -> Option<Arc<[u8]>> {
        let at = self.kept.iter().position(|(kept, _)| *kept == number)?;
        let found = self.kept.remove(at)?;
        self.kept.push_front(found.clone());
        Some(found.1)
    }

    fn keep(&mut self, number: u64, piece: Vec<u8>) -> Arc<[u8]> {
        let piece: Arc<[u8]> = piece.into();
        self.kept.push_front((number, Arc::clone(&piece)));
        self.kept.truncate(KEPT);
        piece
    }
}

fn range(start: u64, end: u64) -> (&'static str, String) {
    ("Range", format!("bytes={start}-{}", end - 1))
}

/// How long the whole is, `bytes 0-1023/4096`.
fn length(answer: &Answer) -> Option<u64> {
    answer.header("content-range")?.rsplit('/').next()?.trim().parse().ok()
}

/// The header that says which state of the file is meant: its entity tag, or when it was changed (RFC 9110, 13.1).
fn tag(answer: &Answer) -> Option<(&'static str, String)> {
    let strong = answer.header("etag").filter(|tag| tag.starts_with('"')).map(|tag| ("If-Match", tag.to_owned()));
    strong.or_else(|| Some(("If-Unmodified-Since", answer.header("last-modified")?.to_owned())))
}

/// Not every server looks at it.
fn is_same(answer: &Answer, wanted: Option<&(&'static str, String)>) -> bool {
    wanted.is_none() || tag(answer).is_none() || tag(answer).as_ref() == wanted
}

/// So many bytes of an answer, neither more nor less.
fn bytes(answer: &mut Answer, len: u64) -> Result<Vec<u8>, Failure> {
    let bytes = answer.bytes(len)?;
    match units::bytes(bytes.len()) == len {
        true => Ok(bytes),
        false => Err(Failure::passing(remote(&answer.url, format!("sends {} bytes where {len} are due", bytes.len())))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_that_were_wanted_last_are_kept() {
        let mut pieces = Pieces::default();
        for number in 0..40 {
            pieces.keep(number, vec![u8::try_from(number).unwrap()]);
            assert_eq!(pieces.get(0).unwrap()[..], [0]);
        }
        assert!(pieces.get(8).is_none() && pieces.get(9).is_some() && pieces.get(39).is_some());
        assert_eq!(pieces.kept.len(), KEPT);
    }
}
