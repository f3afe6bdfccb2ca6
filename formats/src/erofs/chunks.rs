//! Files with gaps: equal chunks, of which those of zeros are absent.
//!
//! ```text
//!  | inode | extended attributes | zeros to 4 | first block of chunk 0 | of chunk 1 | ... |     0xffffffff: absent
//! ```

use super::{BLOCK, NO_BLOCK};
use crate::{Blob, units};
use std::ops::Range;

/// Most chunks of a file, so that its index stays small.
const CHUNKS_MAX: u64 = 1 << 14;
/// The largest chunk, as the format word has 5 bits for it.
const BITS_MAX: u32 = 31;
/// Bytes of an entry of the index.
const ENTRY_LEN: u64 = 4;

/// A file in chunks.
#[derive(Debug)]
pub(super) struct Chunks {
    body: Blob,
    /// The size of a chunk: so many times 2 that of a block.
    bits: u32,
    /// Runs of chunks that are there.
    runs: Vec<Range<u64>>,
}

impl Chunks {
    /// A file whose gaps are worth an index: any that make up for it, or half the file where it could be compressed instead.
    pub(super) fn of(body: &Blob, is_compressed: bool) -> Option<Self> {
        let bits = body.len().div_ceil(BLOCK).div_ceil(CHUNKS_MAX).next_power_of_two().trailing_zeros().min(BITS_MAX);
        let chunk = BLOCK << bits;
        let runs: Vec<_> = body.data_units(chunk).collect();
        let count = body.len().div_ceil(chunk);
        let absent = (count - runs.iter().map(|run| run.end - run.start).sum::<u64>()) * chunk;
        let least = if is_compressed { body.len() / 2 } else { count * ENTRY_LEN };
        (body.len() > BLOCK && absent > least).then(|| Self { body: body.clone(), bits, runs })
    }

    pub(super) fn size(&self) -> u64 {
        self.body.len()
    }

    /// The inode's word of format: the bits alone say that entries are block addresses.
    pub(super) fn format(&self) -> u32 {
        self.bits
    }

    fn chunk(&self) -> u64 {
        BLOCK << self.bits
    }

    /// Where the index ends that starts behind `head` bytes.
    pub(super) fn index_end(&self, head: u64) -> u64 {
        head.next_multiple_of(ENTRY_LEN) + self.size().div_ceil(self.chunk()) * ENTRY_LEN
    }

    /// A run's bytes of the file.
    fn bytes(&self, run: &Range<u64>) -> Range<u64> {
        run.start * self.chunk()..self.size().min(run.end * self.chunk())
    }

    fn run_blocks(&self, run: &Range<u64>) -> u64 {
        let bytes = self.bytes(run);
        (bytes.end - bytes.start).div_ceil(BLOCK)
    }

    pub(super) fn block_count(&self) -> u64 {
        self.runs.iter().map(|run| self.run_blocks(run)).sum()
    }

    pub(super) fn blocks(&self) -> Blob {
        let mut blocks = Blob::default();
        for run in &self.runs {
            blocks.append(&self.body.slice(self.bytes(run)));
            blocks.pad_to(BLOCK);
        }
        blocks
    }

    /// Puts the index behind a head; the blocks start at `start`.
    pub(super) fn index(&self, start: u32, head: &mut Vec<u8>) {
        let from = units::bytes(head.len()).next_multiple_of(ENTRY_LEN);
        head.resize(units::index(from), 0);
        head.resize(units::index(self.index_end(from)), 0xff);
        let mut next = start;
        for run in &self.runs {
            for chunk in run.clone() {
                let at = units::index(from + chunk * ENTRY_LEN);
                head[at..at + 4].copy_from_slice(&next.to_le_bytes());
                let blocks = u32::try_from(self.run_blocks(&(chunk..chunk + 1))).expect("the blocks were counted when dealt");
                next = next.checked_add(blocks).unwrap_or(NO_BLOCK);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sparse() -> Blob {
        let mut body = Blob::zeros(300 * BLOCK + 5);
        body.splice(2 * BLOCK + 7, &Blob::bytes(*b"two"));
        body.splice(100 * BLOCK - 1, &Blob::bytes(*b"xy"));
        body.splice(300 * BLOCK + 4, &Blob::bytes(*b"z"));
        body
    }

    #[test]
    fn gaps_take_no_blocks() {
        let chunks = Chunks::of(&sparse(), true).unwrap();
        assert_eq!((chunks.bits, chunks.block_count()), (0, 4));
        let mut head = vec![7; 33];
        chunks.index(1000, &mut head);
        assert_eq!(units::bytes(head.len()), chunks.index_end(33));
        let entry = |n: usize| u32::from_le_bytes(head[36 + 4 * n..40 + 4 * n].try_into().unwrap());
        assert_eq!([2, 99, 100, 300].map(entry), [1000, 1001, 1002, 1003]);
        assert_eq!((0..301).filter(|n| entry(*n) == NO_BLOCK).count(), 297);
    }

    #[test]
    fn only_gaps_that_are_worth_it_make_chunks() {
        assert!(Chunks::of(&Blob::bytes(vec![1; 100_000]), false).is_none());
        assert!(Chunks::of(&Blob::zeros(10), false).is_none());
        let mut some = Blob::bytes(vec![1; 100_000]);
        some.append(&Blob::zeros(50_000));
        assert!(Chunks::of(&some, true).is_none() && Chunks::of(&some, false).is_some());
    }

    #[test]
    fn huge_gaps_have_a_small_index() {
        let chunks = Chunks::of(&Blob::zeros(1 << 42), true).unwrap();
        assert_eq!((chunks.index_end(0), chunks.block_count()), (CHUNKS_MAX * 4, 0));
        assert_eq!(Chunks::of(&Blob::zeros(1 << 62), true).unwrap().format(), BITS_MAX);
    }
}
