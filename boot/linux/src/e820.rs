//! The memory map that the firmware tells: INT 15h, AX=E820h (ACPI 6.5 section 15.4).
//!
//! Firmware may list regions in any order and let them overlap; what any record calls reserved is not used, whatever
//! another says.

use crate::field::{le32, le64};

/// Records that the zero page holds.
pub(crate) const RECORDS_MAX: usize = 128;

/// Type of a region. Only [`Kind::USABLE`] has a meaning to us; the others are handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind(pub u32);

impl Kind {
    /// Memory that the system may use.
    pub const USABLE: Self = Self(1);
    /// Reserved by the firmware.
    pub const RESERVED: Self = Self(2);
}

/// A range of physical addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// What it is.
    pub kind: Kind,
}

const NOTHING: Region = Region { start: 0, end: 0, kind: Kind(0) };

/// The records of the firmware, as far as they mean something.
#[derive(Debug, Clone)]
pub struct MemoryMap {
    regions: [Region; RECORDS_MAX],
    len: usize,
}

impl Default for MemoryMap {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryMap {
    /// An empty map.
    #[must_use]
    pub const fn new() -> Self {
        Self { regions: [NOTHING; RECORDS_MAX], len: 0 }
    }

    /// Adds a region. Empty ones are ignored, and so are those past the 128 that the zero page holds.
    pub fn push(&mut self, region: Region) {
        if region.start < region.end
            && let Some(free) = self.regions.get_mut(self.len)
        {
            *free = region;
            self.len = self.len.saturating_add(1);
        }
    }

    /// Adds a record as the BIOS returns it: 20 bytes, or 24 with the ACPI 3 attributes, whose bit 0 says that the record
    /// counts.
    pub fn push_record(&mut self, record: &[u8]) {
        let ignored = record.len() >= 24 && le32(record, 20) & 1 == 0;
        if record.len() >= 20 && !ignored {
            let start = le64(record, 0);
            self.push(Region { start, end: start.saturating_add(le64(record, 8)), kind: Kind(le32(record, 16)) });
        }
    }

    /// The regions, in the order of the firmware.
    #[must_use]
    pub fn regions(&self) -> &[Region] {
        self.regions.get(..self.len).unwrap_or_default()
    }

    /// Sorts by address, as the kernel wants to see them.
    pub fn sort(&mut self) {
        if let Some(used) = self.regions.get_mut(..self.len) {
            insertion_sort(used, |region| (region.start, region.end, region.kind.0));
        }
    }

    /// Whether all of `[start, end)` may be used.
    fn is_usable(&self, start: u64, end: u64) -> bool {
        let meets = |region: &&Region| region.start < end && start < region.end;
        let mut usable = false;
        for region in self.regions().iter().filter(meets) {
            if region.kind != Kind::USABLE {
                return false;
            }
            usable |= region.start <= start && end <= region.end;
        }
        usable
    }

    /// The ranges that may be used, overlaps resolved.
    #[must_use]
    pub fn usable(&self) -> Usable {
        // Between two neighbouring ends of regions everything is of one kind.
        let mut cuts = [u64::MAX; 2 * RECORDS_MAX];
        for (pair, region) in cuts.chunks_exact_mut(2).zip(self.regions()) {
            pair.copy_from_slice(&[region.start, region.end]);
        }
        insertion_sort(&mut cuts, |cut| *cut);
        let mut usable = Usable { ranges: [(0, 0); 2 * RECORDS_MAX], len: 0 };
        for (start, end) in cuts.iter().zip(cuts.iter().skip(1)) {
            if start < end && self.is_usable(*start, *end) {
                usable.push(*start, *end);
            }
        }
        usable
    }
}

/// For a few hundred items that are nearly in order; the sorts of `core` would be a fourth of the loader.
fn insertion_sort<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    for end in 1..=items.len() {
        let (sorted, _) = items.split_at_mut(end);
        let mut rest = sorted;
        while let [before @ .., last] = rest
            && let Some(previous) = before.last_mut()
            && key(previous) > key(last)
        {
            core::mem::swap(previous, last);
            rest = before;
        }
    }
}

/// Ranges of memory that may be used, ascending and disjoint.
#[derive(Debug, Clone)]
pub struct Usable {
    ranges: [(u64, u64); 2 * RECORDS_MAX],
    len: usize,
}

impl Usable {
    /// Adds a range behind all others, growing the last one where they touch.
    fn push(&mut self, start: u64, end: u64) {
        let last = self.len.checked_sub(1).and_then(|last| self.ranges.get_mut(last));
        if let Some((_, last_end)) = last
            && *last_end == start
        {
            *last_end = end;
        } else if let Some(free) = self.ranges.get_mut(self.len) {
            *free = (start, end);
            self.len = self.len.saturating_add(1);
        }
    }

    /// The ranges as (start, end).
    #[must_use]
    pub fn ranges(&self) -> &[(u64, u64)] {
        self.ranges.get(..self.len).unwrap_or_default()
    }

    /// The lowest multiple of `align`, a power of two, from `floor` on at which `len` bytes are usable.
    #[must_use]
    pub fn lowest(&self, len: u64, align: u64, floor: u64) -> Option<u64> {
        self.ranges().iter().find_map(|(start, end)| {
            let at = floor.max(*start).checked_next_multiple_of(align)?;
            (at.checked_add(len)? <= *end).then_some(at)
        })
    }

    /// The highest multiple of `align`, a power of two, in `[floor, ceiling)` at which `len` bytes are usable.
    #[must_use]
    pub fn highest(&self, len: u64, align: u64, floor: u64, ceiling: u64) -> Option<u64> {
        self.ranges().iter().rev().find_map(|(start, end)| {
            let at = ceiling.min(*end).checked_sub(len)? & !align.saturating_sub(1);
            (at >= floor.max(*start)).then_some(at)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn map(regions: &[(u64, u64, u32)]) -> MemoryMap {
        let mut map = MemoryMap::new();
        for (start, end, kind) in regions {
            map.push(Region { start: *start, end: *end, kind: Kind(*kind) });
        }
        map
    }

    #[test]
    fn reserved_wins_over_usable_and_neighbours_join() {
        let map = map(&[(50, 60, 2), (0, 20, 1), (20, 100, 1), (90, 200, 3), (300, 400, 1), (55, 58, 1)]);
        assert_eq!(map.usable().ranges(), [(0, 50), (60, 90), (300, 400)]);
    }

    #[test]
    fn records_that_do_not_count_are_ignored() {
        let record = |attributes: u32| {
            let mut record = Vec::new();
            record.extend(0x10_0000u64.to_le_bytes());
            record.extend(0x10_0000u64.to_le_bytes());
            record.extend(1u32.to_le_bytes());
            record.extend(attributes.to_le_bytes());
            record
        };
        let mut map = MemoryMap::new();
        map.push_record(&record(0));
        map.push_record(&record(1)[..19]);
        assert!(map.regions().is_empty());
        map.push_record(&record(0)[..20]);
        map.push_record(&record(1));
        assert_eq!(map.regions().len(), 2);
        assert_eq!(map.usable().ranges(), [(0x10_0000, 0x20_0000)]);
    }

    #[test]
    fn empty_wrapping_and_too_many_records_do_no_harm() {
        let mut map = map(&[(5, 5, 1), (9, 3, 1)]);
        assert!(map.regions().is_empty());
        let mut record = Vec::new();
        record.extend((u64::MAX - 10).to_le_bytes());
        record.extend(u64::MAX.to_le_bytes());
        record.extend(1u32.to_le_bytes());
        for _ in 0..200 {
            map.push_record(&record);
        }
        assert_eq!(map.regions().len(), 128);
        assert_eq!(map.usable().ranges(), [(u64::MAX - 10, u64::MAX)]);
        assert_eq!(map.usable().lowest(u64::MAX, 4096, 0), None);
        assert_eq!(map.usable().highest(u64::MAX, 4096, 0, u64::MAX), None);
    }

    #[test]
    fn sorting_keeps_every_record() {
        let mut map = map(&[(100, 200, 2), (0, 50, 1), (60, 70, 1)]);
        map.sort();
        let starts: Vec<_> = map.regions().iter().map(|region| region.start).collect();
        assert_eq!(starts, [0, 60, 100]);
    }

    #[test]
    fn fits_respect_alignment_floor_and_ceiling() {
        let usable = map(&[(0x1000, 0x5800, 1), (0x8000, 0xb800, 1)]).usable();
        assert_eq!(usable.lowest(0x1000, 0x1000, 0), Some(0x1000));
        assert_eq!(usable.lowest(0x1000, 0x1000, 0x4801), Some(0x8000));
        assert_eq!(usable.lowest(0x3801, 0x1000, 0x1001), None);
        assert_eq!(usable.highest(0x1000, 0x1000, 0, u64::MAX), Some(0xa000));
        assert_eq!(usable.highest(0x1000, 0x1000, 0, 0x8fff), Some(0x4000));
        assert_eq!(usable.highest(0x1000, 0x1000, 0xa001, u64::MAX), None);
        assert_eq!(usable.highest(0, 0x1000, 0, u64::MAX), Some(0xb000));
    }
}
