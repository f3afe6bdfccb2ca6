//! The refcounts that a file has written down.
//!
//! ```text
//! refcount table (u64 offsets) ──► refcount blocks of one cluster ──► a count of 1 to 64 bits for each cluster of the file
//! ```

use super::{Checked, present};
use crate::{
    Blob, Check, Error, Result, blocks,
    units::{self, MIB},
};

/// Largest refcount table that QEMU reads, in bytes.
const TABLE_MAX: u64 = 8 * MIB;
/// Low bits of an entry of the table that mean nothing.
const RESERVED: u64 = 0x1ff;

/// The refcounts of a file, a block at a time.
pub(super) struct Refcounts<'a> {
    image: &'a Checked,
    file: &'a Blob,
    /// Where each block is; 0 where there is none.
    pub(super) table: Vec<u64>,
    /// The block that was looked at last, by its place in the table.
    block: Option<(u64, Vec<u8>)>,
}

impl<'a> Refcounts<'a> {
    pub(super) fn new(image: &'a Checked, file: &'a Blob) -> Self {
        Self { image, file, table: Vec::new(), block: None }
    }

    /// Reads the table.
    pub(super) fn read_table(&mut self, check: &mut Check) -> Result<()> {
        let header = &self.image.header;
        let (at, len) = (header.refcount_table_offset.get(), u64::from(header.refcount_table_clusters.get()) * self.image.cluster);
        if len > TABLE_MAX {
            return Err(Error::bad_input(format!("the refcount table has {len} bytes, at most {TABLE_MAX}")));
        }
        for (number, value) in (0_u64..).zip(blocks::entries(present(self.file, at, len))) {
            let value = u64::from_be_bytes(value?);
            if value & RESERVED != 0 {
                check.corrupt(|| format!("entry {number} of the refcount table is {value:#x}: reserved bits are set"));
            }
            let block = value & !RESERVED;
            let fits = block.checked_add(self.image.cluster).is_some_and(|end| end <= self.file.len().next_multiple_of(self.image.cluster));
            if !block.is_multiple_of(self.image.cluster) || !fits {
                return Err(Error::bad_input(format!("refcount block {number} is at byte {block}, must be a cluster of the file")));
            }
            self.table.push(block);
        }
        Ok(())
    }

    /// Refcounts in a block.
    fn per_block(&self) -> u64 {
        (self.image.cluster * 8) >> self.image.refcount_order()
    }

    /// One past the last cluster of the block that has the refcount of this one.
    pub(super) fn block_end(&self, cluster: u64) -> u64 {
        (cluster / self.per_block() + 1) * self.per_block()
    }

    fn block_at(&self, cluster: u64) -> u64 {
        let number = usize::try_from(cluster / self.per_block()).ok();
        number.and_then(|number| self.table.get(number)).copied().unwrap_or(0)
    }

    pub(super) fn has_block(&self, cluster: u64) -> bool {
        self.block_at(cluster) != 0
    }

    pub(super) fn get(&mut self, cluster: u64) -> Result<u64> {
        let (at, per_block) = (self.block_at(cluster), self.per_block());
        let number = cluster / per_block;
        if at == 0 {
            return Ok(0);
        }
        let block = match &mut self.block {
            Some((held, block)) if *held == number => block,
            held => {
                let mut bytes = vec![0; units::index(self.image.cluster)];
                // The last cluster of a file may be cut short.
                let len = bytes.len().min(units::index(self.file.len().saturating_sub(at)));
                self.file.read_at(at, &mut bytes[..len])?;
                &mut held.insert((number, bytes)).1
            }
        };
        Ok(refcount(block, cluster % per_block, self.image.refcount_order()))
    }
}

/// The refcount at a place of a block, of `1 << order` bits: big-endian bytes, and in a byte the low bits first.
fn refcount(block: &[u8], place: u64, order: u32) -> u64 {
    if order < 3 {
        let bit = place << order;
        let byte = block[units::index(bit / 8)];
        return u64::from(byte) >> (bit % 8) & ((1 << (1 << order)) - 1);
    }
    let len = units::index(1 << (order - 3));
    let at = units::index(place) * len;
    block[at..at + len].iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refcounts_of_every_width_are_read() {
        let block = [0b1011_0001, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!([0, 1, 4, 7].map(|place| refcount(&block, place, 0)), [1, 0, 1, 1]);
        assert_eq!([0, 1, 2, 3].map(|place| refcount(&block, place, 1)), [1, 0, 3, 2]);
        assert_eq!([0, 1, 2].map(|place| refcount(&block, place, 2)), [1, 11, 2]);
        assert_eq!([0, 2].map(|place| refcount(&block, place, 3)), [0xb1, 3]);
        assert_eq!(refcount(&block, 1, 4), 0x0304);
        assert_eq!(refcount(&block, 0, 6), 0xb102_0304_0506_0708);
    }
}
