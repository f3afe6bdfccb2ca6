//! Persistent bitmaps ("Bitmaps"): a directory, a table for each, and its clusters.
//!
//! QEMU does not open an image whose bitmaps break a rule.

use super::{References, present};
use crate::{
    Blob, Check, Error, Result, blocks,
    error::At,
    units::{GIB, MIB},
};

/// Largest directory that QEMU reads, in bytes.
const DIRECTORY_MAX: u64 = 64 * MIB;
/// Most bytes of the clusters of one bitmap that QEMU reads.
const CLUSTERS_MAX: u64 = GIB / 2;
/// Most bitmaps that QEMU reads.
const BITMAPS_MAX: u32 = 65_535;
/// Bytes of the fixed part of a directory entry.
const FIXED: u64 = 24;

/// The fixed part of a directory entry.
struct Entry {
    table_at: u64,
    table_entries: u64,
    flags: u64,
    kind: u64,
    granularity_bits: u64,
    name_len: u64,
    extra_len: u64,
}

/// Flags of a directory entry.
mod flag {
    /// It was not stored since it was last changed.
    pub(super) const IN_USE: u64 = 1;
    pub(super) const RESERVED: u64 = 0xffff_fffc;
}

/// Bits of an entry of a bitmap's table.
mod table_entry {
    pub(super) const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
    /// Without a cluster: all bits are set.
    pub(super) const ALL_ONES: u64 = 1;
    pub(super) const RESERVED: u64 = !(OFFSET | ALL_ONES);
}

/// Notes what the bitmaps refer to.
pub(super) fn collect(references: &mut References<'_>, check: &mut Check) -> Result<()> {
    let (image, file) = (references.image, references.file);
    let Some((count, at, len)) = image.bitmaps(file)? else { return Ok(()) };
    if count == 0 || count > BITMAPS_MAX || !at.is_multiple_of(image.cluster) || at == 0 || len == 0 || len > DIRECTORY_MAX {
        let what = format!("{count} bitmaps in a directory of {len} bytes at {at}, must be 1 to {BITMAPS_MAX} in at most {DIRECTORY_MAX}");
        return Err(Error::bad_input(what));
    }
    references.add(check, at, len, 1, "the bitmap directory");
    let end = at.saturating_add(len).min(file.len());
    let (mut entry_at, mut tables_len) = (at, 0);
    for nth in 0..count {
        let entry = Entry::read(file, entry_at, end).at(|| format!("bitmap {nth} of {count}"))?;
        entry.check(references).at(|| format!("bitmap {nth} of {count}"))?;
        tables_len += entry.table_entries * 8;
        if tables_len > file.len() {
            return Err(Error::bad_input(format!("the bitmaps' tables have {tables_len} bytes, more than the file")));
        }
        references.add(check, entry.table_at, entry.table_entries * 8, 1, "a bitmap's table");
        for (number, value) in (0_u64..).zip(blocks::entries(present(file, entry.table_at, entry.table_entries * 8))) {
            let value = u64::from_be_bytes(value?);
            let data = value & table_entry::OFFSET;
            let is_wrong = data != 0 && (value & table_entry::ALL_ONES != 0 || !data.is_multiple_of(image.cluster));
            if value & table_entry::RESERVED != 0 || is_wrong {
                check.corrupt(|| format!("entry {number} of the table of bitmap {nth} is {value:#x}, which means nothing"));
            } else {
                references.add(check, data, if data == 0 { 0 } else { image.cluster }, 1, "a bitmap's cluster");
            }
        }
        entry_at += entry.len();
    }
    if entry_at == at + len {
        Ok(())
    } else {
        Err(Error::bad_input(format!("{count} bitmaps end at {entry_at}, their directory at {}", at + len)))
    }
}

impl Entry {
    /// Reads an entry of a directory that has an end.
    fn read(file: &Blob, at: u64, end: u64) -> Result<Self> {
        let past = || Error::bad_input("the directory ends before bitmap and name do");
        if at + FIXED > end {
            return Err(past());
        }
        let fixed: [u8; 24] = file.read_array(at)?;
        let number = |from: usize, len: usize| fixed[from..from + len].iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        let entry = Self {
            table_at: number(0, 8),
            table_entries: number(8, 4),
            flags: number(12, 4),
            kind: number(16, 1),
            granularity_bits: number(17, 1),
            name_len: number(18, 2),
            extra_len: number(20, 4),
        };
        if at + entry.len() > end { Err(past()) } else { Ok(entry) }
    }

    /// Bytes of the whole entry.
    fn len(&self) -> u64 {
        (FIXED + self.name_len + self.extra_len).next_multiple_of(8)
    }

    fn check(&self, references: &References<'_>) -> Result<()> {
        let image = references.image;
        let clusters_len = self.table_entries * image.cluster;
        let rules = [
            (self.kind == 1, "its type is not 1, of dirty tracking"),
            (self.extra_len == 0, "it has extra data, which nobody knows"),
            (self.flags & flag::RESERVED == 0, "reserved flags are set"),
            ((9..=31).contains(&self.granularity_bits), "its granularity is not 2^9 to 2^31 bytes"),
            ((1..=1023).contains(&self.name_len), "its name has not 1 to 1023 bytes"),
            (self.table_at != 0 && self.table_at.is_multiple_of(image.cluster), "its table is not at a cluster"),
            (self.table_entries != 0 && clusters_len <= CLUSTERS_MAX, "its table has no entries or too many"),
        ];
        if let Some((_, wrong)) = rules.into_iter().find(|(holds, _)| !holds) {
            return Err(Error::bad_input(wrong));
        }
        // A bit for each piece of the disk, in whole words of 64 bits.
        let needed = (image.size().div_ceil(1 << self.granularity_bits).div_ceil(64) * 8).div_ceil(image.cluster);
        if self.flags & flag::IN_USE == 0 && self.table_entries != needed {
            return Err(Error::bad_input(format!("its table has {} entries, must have {needed} for the disk", self.table_entries)));
        }
        Ok(())
    }
}
