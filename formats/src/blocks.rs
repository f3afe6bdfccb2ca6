//! What the block-allocated containers share: VHD, VHDX, VDI, VMDK and others cut the disk into equal blocks and keep a table
//! that says where in the file each block is, or that it is absent.
//!
//! [`Table`] builds such a table without holding the absent part in memory; [`entries`] reads one in pieces; [`Overlay`] is the disk that
//! comes of it; [`Claims`] checks that what a table points to lies in the file and is used once.

use crate::{
    Blob, Error, Result,
    units::{self, SECTOR},
};
use std::{collections::VecDeque, ops::Range};

/// How much of a table is in memory at a time.
const PIECE: u64 = 64 * units::KIB;

/// A table under construction: entries at ascending places, a repeating filler between them.
#[derive(Debug)]
pub(crate) struct Table {
    blob: Blob,
    /// What a table without blocks repeats from its start; every stretch shares it.
    filler: Blob,
}

impl Table {
    /// An empty table whose absent entries consist of `byte`.
    pub(crate) fn filled_with(byte: u8) -> Self {
        Self::repeating(if byte == 0 { Blob::zeros(PIECE) } else { Blob::bytes(vec![byte; units::index(PIECE)]) })
    }

    /// An empty table that repeats `filler`, which is not empty.
    pub(crate) fn repeating(filler: Blob) -> Self {
        Self { blob: Blob::default(), filler }
    }

    /// Puts `bytes` at `offset`, which is not before anything that is there. Panics otherwise: a planner bug.
    pub(crate) fn put(&mut self, offset: u64, bytes: Vec<u8>) {
        self.fill_to(offset);
        self.blob.append(&Blob::bytes(bytes));
    }

    fn fill_to(&mut self, len: u64) {
        assert!(self.blob.len() <= len, "a table of {} bytes does not shrink to {len}", self.blob.len());
        while self.blob.len() < len {
            let from = self.blob.len() % self.filler.len();
            let until = self.filler.len().min(from + len - self.blob.len());
            self.blob.append(&self.filler.slice(from..until));
        }
    }

    /// The table, `len` bytes long.
    pub(crate) fn finish(mut self, len: u64) -> Blob {
        self.fill_to(len);
        self.blob
    }
}

/// A disk that is put together from its front to its end, over another one or over zeros.
#[derive(Debug)]
pub(crate) struct Overlay {
    disk: Blob,
    below: Option<Blob>,
}

impl Overlay {
    /// An empty disk over `below`, which is as long as it will be.
    pub(crate) fn over(below: Option<Blob>) -> Self {
        Self { disk: Blob::default(), below }
    }

    /// Lets be seen what lies below, up to a place.
    pub(crate) fn see_to(&mut self, end: u64) {
        match &self.below {
            Some(below) => self.disk.append(&below.slice(self.disk.len()..end.max(self.disk.len()))),
            None => self.disk.extend_to(end),
        }
    }

    /// Puts zeros, up to a place.
    pub(crate) fn zeros_to(&mut self, end: u64) {
        self.disk.extend_to(end);
    }

    /// Puts a piece behind what is there.
    pub(crate) fn append(&mut self, piece: &Blob) {
        self.disk.append(piece);
    }

    /// The disk, `size` bytes long.
    pub(crate) fn finish(mut self, size: u64) -> Blob {
        self.see_to(size);
        self.disk
    }
}

/// The runs of set bits among the first `count` of a bitmap.
pub(crate) fn set_runs(count: u64, is_set: impl Fn(u64) -> bool) -> impl Iterator<Item = Range<u64>> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let start = (next..count).find(|bit| is_set(*bit))?;
        let end = (start..count).find(|bit| !is_set(*bit)).unwrap_or(count);
        next = end;
        Some(start..end)
    })
}

/// The `N`-byte entries of a table, in order. A part of an entry at the end is left out.
pub(crate) fn entries<const N: usize>(table: Blob) -> impl Iterator<Item = Result<[u8; N]>> + Send {
    let size = units::bytes(N);
    let end = table.len() / size * size;
    let mut next = 0;
    let mut piece: VecDeque<[u8; N]> = VecDeque::new();
    std::iter::from_fn(move || {
        if piece.is_empty() && next < end {
            let mut bytes = vec![0; units::index((PIECE / size * size).min(end - next))];
            if let Err(error) = table.read_at(next, &mut bytes) {
                next = end;
                return Some(Err(error));
            }
            next += units::bytes(bytes.len());
            piece.extend(bytes.as_chunks().0);
        }
        piece.pop_front().map(Ok)
    })
}

/// How far before its end the last structure of a file is looked for.
const TAIL: u64 = units::MIB;

/// Where the last sector of a file begins that is what `is` looks for, of those that begin in its last MiB: what stands at the end may have
/// something behind it, for programs fill files up. A sector that the end of the file cuts short is read as if zeros followed.
pub(crate) fn last_sector(file: &Blob, is: impl Fn(u64, &[u8; 512]) -> bool) -> Result<Option<u64>> {
    let start = file.len().saturating_sub(TAIL) / SECTOR * SECTOR;
    let mut tail = file.slice(start..file.len());
    tail.pad_to(SECTOR);
    // Most files have it at their very end, and zeros are none.
    let runs: Vec<_> = tail.data_units(SECTOR).collect();
    for run in runs.into_iter().rev() {
        let mut end = run.end * SECTOR;
        while end > run.start * SECTOR {
            let piece = end.saturating_sub(PIECE).max(run.start * SECTOR);
            let bytes = tail.slice(piece..end).to_vec(PIECE)?;
            let sectors = (start + piece..).step_by(units::index(SECTOR)).zip(bytes.as_chunks().0);
            if let Some((at, _)) = sectors.filter(|(at, sector)| is(*at, sector)).last() {
                return Ok(Some(at));
            }
            end = piece;
        }
    }
    Ok(None)
}

/// The parts of a file that its own structures lay claim to. No byte may be claimed twice.
///
/// Memory stays proportional to the file: claims that together exceed it must overlap, and are refused at once.
#[derive(Debug)]
pub(crate) struct Claims {
    file_len: u64,
    total: u64,
    ranges: Vec<Range<u64>>,
}

impl Claims {
    /// No claims on a file of this length.
    pub(crate) fn on(file: &Blob) -> Self {
        Self { file_len: file.len(), total: 0, ranges: Vec::new() }
    }

    /// Claims `len` bytes at `start` for what `what` names, and gives the range back.
    ///
    /// # Errors
    /// When they are not inside the file, or the file cannot hold all that was claimed.
    pub(crate) fn claim(&mut self, start: u64, len: u64, what: impl FnOnce() -> String) -> Result<Range<u64>> {
        let end = start.checked_add(len).filter(|end| *end <= self.file_len).ok_or_else(|| {
            Error::bad_input(format!("{} is {len} bytes at {start}, past the end of the file at {}", what(), self.file_len))
        })?;
        self.total += len;
        if self.total > self.file_len {
            let end = self.file_len;
            return Err(Error::bad_input(format!("the structures need {} bytes up to here, the file has {end}: they overlap", self.total)));
        }
        match self.ranges.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ if len == 0 => {}
            _ => self.ranges.push(start..end),
        }
        Ok(start..end)
    }

    /// Checks that no two claims overlap.
    ///
    /// # Errors
    /// When two do.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.ranges.sort_unstable_by_key(|range| range.start);
        match self.ranges.windows(2).find(|pair| pair[0].end > pair[1].start) {
            None => Ok(()),
            Some(pair) => Err(Error::bad_input(format!("two structures use byte {} of the file", pair[1].start))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_its_filler_where_nothing_was_put() {
        let mut table = Table::filled_with(0xff);
        table.put(PIECE + 4, vec![1, 2, 3, 4]);
        let table = table.finish(3 * PIECE);
        let bytes = table.to_vec(u64::MAX).unwrap();
        let at = units::index(PIECE) + 4;
        assert_eq!(bytes[at..at + 4], [1, 2, 3, 4]);
        assert!(bytes[..at].iter().chain(&bytes[at + 4..]).all(|b| *b == 0xff));
        let all: Result<Vec<[u8; 4]>> = entries(table.clone()).collect();
        assert_eq!(all.unwrap().concat(), bytes);
    }

    #[test]
    fn entries_of_any_size_are_read_whole() {
        let table = Blob::bytes((0..200_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
        let read: Result<Vec<[u8; 12]>> = entries(table.clone()).collect();
        let read = read.unwrap();
        assert_eq!(read.len(), 800_000 / 12);
        assert_eq!(read.concat(), table.slice(0..800_000 / 12 * 12).to_vec(u64::MAX).unwrap());
    }

    #[test]
    fn claims_are_inside_and_apart() {
        let file = Blob::zeros(100);
        let name = || "block 7".to_owned();
        let mut claims = Claims::on(&file);
        claims.claim(0, 10, name).unwrap();
        claims.claim(50, 10, name).unwrap();
        claims.claim(10, 40, name).unwrap();
        assert!(claims.claim(95, 6, name).unwrap_err().to_string().contains("block 7"));
        assert!(claims.claim(u64::MAX, 6, name).is_err());
        claims.finish().unwrap();

        let mut claims = Claims::on(&file);
        claims.claim(50, 10, name).unwrap();
        claims.claim(45, 6, name).unwrap();
        assert!(claims.finish().unwrap_err().to_string().contains("byte 50"));
    }

    #[test]
    fn endless_claims_end_when_the_file_is_used_up() {
        let mut claims = Claims::on(&Blob::zeros(100));
        let refused = (0..u64::MAX).find(|_| claims.claim(0, 10, String::new).is_err());
        assert_eq!(refused, Some(10));
    }
}
