//! Places for inodes: each where it fills the rest of a block best.

use super::{BLOCK, SLOT, inode::Node};
use std::collections::BTreeSet;

/// Gives every inode its place, the root first; gives back the bytes of the metadata, whole blocks. `used` bytes at the start
/// of the volume are taken.
pub(super) fn place(nodes: &mut [Node<'_>], used: u64) -> u64 {
    let mut blocks = Blocks::default();
    blocks.offer(used);
    blocks.end = BLOCK;
    for node in nodes {
        let (head, tail) = node.metadata_len();
        (node.at, node.is_inline) = blocks.take(head, tail);
    }
    blocks.end
}

/// Blocks of metadata, some of them with room.
#[derive(Default)]
struct Blocks {
    /// Bytes of room and where they start, a multiple of [`SLOT`].
    room: BTreeSet<(u64, u64)>,
    end: u64,
}

impl Blocks {
    /// Takes room for a head, and for a tail in the same block where there can be any: where the head is, and whether the
    /// tail is behind it.
    fn take(&mut self, head: u64, tail: u64) -> (u64, bool) {
        let is_inline = tail > 0 && head + tail <= BLOCK;
        let len = if is_inline { head + tail } else { head };
        let found = self.room.range((len, 0)..).next().copied();
        let at = match found {
            Some(room) => {
                self.room.remove(&room);
                room.1
            }
            None => {
                let at = self.end;
                self.end += len.next_multiple_of(BLOCK);
                at
            }
        };
        self.offer(at + len);
        (at, is_inline)
    }

    /// What is left of a block behind this byte can be taken.
    fn offer(&mut self, used: u64) {
        let start = used.next_multiple_of(SLOT);
        let room = start.next_multiple_of(BLOCK) - start;
        if room > 0 {
            self.room.insert((room, start));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Nothing overlaps, nothing that has its place in one block crosses its end, and little is wasted.
        #[test]
        fn places_are_apart_and_tails_stay_in_their_block(sizes in prop::collection::vec((32u64..200, 0u64..4096), 1..300), large in 0u64..20_000) {
            let mut blocks = Blocks { end: BLOCK, ..Blocks::default() };
            blocks.offer(1152);
            let mut places = vec![(0, 1152)];
            for (head, tail) in sizes.into_iter().chain([(large + 32, 100)]) {
                let (at, is_inline) = blocks.take(head, tail);
                let len = if is_inline { head + tail } else { head };
                prop_assert!(at.is_multiple_of(SLOT));
                prop_assert!(len > BLOCK || at / BLOCK == (at + len - 1) / BLOCK);
                prop_assert!(is_inline == (tail > 0 && head + tail <= BLOCK));
                places.push((at, at + len));
            }
            places.sort_unstable();
            prop_assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0));
            prop_assert!(places.last().unwrap().1 <= blocks.end);
        }
    }

    #[test]
    fn small_files_fill_blocks() {
        let mut blocks = Blocks { end: BLOCK, ..Blocks::default() };
        let mut total = 0;
        for tail in (0..3000).map(|n| n * 7919 % 4000) {
            blocks.take(64, tail);
            total += 64 + tail;
        }
        assert!(blocks.end < total * 11 / 10, "{} bytes for {total}", blocks.end);
    }
}
