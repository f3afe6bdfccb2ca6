//! Comparing every refcount with the references that there are ("Host cluster management").
//!
//! ```text
//! refcount table (u64 offsets) ──► refcount blocks of one cluster ──► a count of 1 to 64 bits for each cluster of the file
//! ```
//! References are kept as runs with a weight, so memory follows how fragmented the file is, not how large, nor how often it refers to
//! one place. A table that many L1 entries point to is walked once, with their number as the weight; so time follows the size of
//! the file.

use super::{
    entry,
    header::{Checked, incompatible},
    snapshot,
    tables::{halves, l2_entries, packed_place},
};
use crate::{
    Blob, Check, Env, Error, Result, blocks,
    check::Clusters,
    error::At,
    units::{self, MIB},
};
use std::{collections::BTreeMap, ops::Range};

/// Largest refcount table that QEMU reads, in bytes.
const TABLE_MAX: u64 = 8 * MIB;
/// Largest bitmap directory that QEMU reads, in bytes.
const BITMAPS_MAX: u64 = 64 * MIB;

pub(super) fn check(file: &Blob, env: &mut Env) -> Result<Check> {
    let mut check = Check::default();
    let image = match Checked::read(file) {
        Ok(image) => image,
        Err(error) if error.kind() == crate::Kind::BadInput => {
            check.corrupt(|| error.to_string());
            return Ok(check);
        }
        Err(error) => return Err(error),
    };
    if image.has(incompatible::CORRUPT) {
        check.corrupt(|| "the image is marked corrupt".to_owned());
    }
    let mut references = References::new(&image, file);
    let result = references.collect(&mut check).and_then(|()| references.compare(&mut check));
    check.decoded(result.map(|()| Blob::default()))?;
    unpack_all(file, &mut check, env)?;
    Ok(check)
}

/// Packed clusters are only known to be sound once they were unpacked. What needs another file is left alone.
fn unpack_all(file: &Blob, check: &mut Check, env: &mut Env) -> Result<()> {
    let alone = crate::Reading { force: true, ..Default::default() };
    match super::decode::disk(file, &alone, env) {
        Err(error) if error.kind() == crate::Kind::Unsupported => Ok(()),
        // Found before, and counted.
        Err(_) if check.corruptions > 0 => Ok(()),
        other => check.decoded(other).map(drop),
    }
}

/// Clusters that are referred to, so many times each.
struct Run {
    clusters: Range<u64>,
    weight: u64,
}

/// Runs as they come, which may overlap.
#[derive(Default)]
struct Runs {
    runs: Vec<Run>,
    /// How many there were when they were added up last.
    apart: usize,
}

impl Runs {
    /// So many runs are never too many.
    const FEW: usize = 1 << 16;

    fn add(&mut self, clusters: Range<u64>, weight: u64) {
        match self.runs.last_mut() {
            Some(last) if last.weight == weight && last.clusters.end == clusters.start => last.clusters.end = clusters.end,
            _ => self.runs.push(Run { clusters, weight }),
        }
        if self.runs.len() > Self::FEW + 2 * self.apart {
            self.runs = counted(&self.runs);
            self.apart = self.runs.len();
        }
    }
}

struct References<'a> {
    image: &'a Checked,
    file: &'a Blob,
    runs: Runs,
    refcounts: Refcounts<'a>,
    clusters: Clusters,
}

impl<'a> References<'a> {
    fn new(image: &'a Checked, file: &'a Blob) -> Self {
        let refcounts = Refcounts { image, file, table: Vec::new(), block: None };
        let clusters = Clusters { total: image.size().div_ceil(image.cluster), ..Clusters::default() };
        Self { image, file, runs: Runs::default(), refcounts, clusters }
    }

    /// All references of the file.
    fn collect(&mut self, check: &mut Check) -> Result<()> {
        let header = &self.image.header;
        let (cluster, file) = (self.image.cluster, self.file);
        self.add(check, 0, cluster, 1, "the header");
        let table_len = u64::from(header.refcount_table_clusters.get()) * cluster;
        self.add(check, header.refcount_table_offset.get(), table_len, 1, "the refcount table");
        self.refcounts.read_table()?;
        for at in self.refcounts.table.clone() {
            self.add(check, at, if at == 0 { 0 } else { cluster }, 1, "a refcount block");
        }
        let (snapshots, snapshots_len) = snapshot::table(self.image, file)?;
        self.add(check, header.snapshots_offset.get(), snapshots_len, 1, "the snapshot table");
        self.bitmaps(check).at(|| "qcow2 bitmaps")?;
        // Where each L1 table is and how many entries it has; snapshots may share one.
        let mut tables: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        for snapshot in &snapshots {
            *tables.entry((snapshot.l1_at, snapshot.l1_entries)).or_default() += 1;
        }
        let needed: u64 = tables.keys().map(|(_, entries)| entries * 8).sum();
        if needed > file.len() {
            return Err(Error::bad_input(format!("the L1 tables of all snapshots have {needed} bytes, more than the file")));
        }
        let present = (header.l1_table_offset.get(), u64::from(header.l1_size.get()));
        let mut l2_tables = BTreeMap::new();
        self.l1_table(check, present, 1, &mut l2_tables)?;
        for (at, weight) in std::mem::take(&mut l2_tables) {
            self.l2_table(check, at, weight, true)?;
        }
        for (table, weight) in tables {
            self.l1_table(check, table, weight, &mut l2_tables)?;
        }
        l2_tables.into_iter().try_for_each(|(at, weight)| self.l2_table(check, at, weight, false))
    }

    /// Counts references to the clusters of a range of the file.
    fn add(&mut self, check: &mut Check, at: u64, len: u64, weight: u64, what: &str) {
        let cluster = self.image.cluster;
        let file_end = self.file.len().next_multiple_of(cluster);
        if len == 0 {
            return;
        }
        let Some(end) = at.checked_add(len).filter(|end| *end <= file_end) else {
            let file_len = self.file.len();
            return check.corrupt(|| format!("{what} is {len} bytes at {at}, past the end of the file at {file_len}"));
        };
        self.runs.add(at / cluster..end.div_ceil(cluster), weight);
    }

    /// Notes the L2 tables of an L1 table.
    fn l1_table(&mut self, check: &mut Check, (at, entries): (u64, u64), weight: u64, l2: &mut BTreeMap<u64, u64>) -> Result<()> {
        let is_present = at == self.image.header.l1_table_offset.get();
        self.add(check, at, entries * 8, weight, "an L1 table");
        let Some(end) = at.checked_add(entries * 8).filter(|end| *end <= self.file.len()) else { return Ok(()) };
        for (number, value) in (0_u64..).zip(blocks::entries(self.file.slice(at..end))) {
            let value = u64::from_be_bytes(value?);
            let table = value & entry::OFFSET;
            if table == 0 {
                continue;
            }
            if !table.is_multiple_of(self.image.cluster) {
                check.corrupt(|| format!("L1 entry {number} points to byte {table}, which is no multiple of the cluster size"));
                continue;
            }
            if is_present {
                self.copied(check, table, value, || format!("L1 entry {number}"))?;
            }
            *l2.entry(table).or_default() += weight;
        }
        Ok(())
    }

    /// The references that an L2 table makes, which `weight` L1 entries point to.
    fn l2_table(&mut self, check: &mut Check, at: u64, weight: u64, is_present: bool) -> Result<()> {
        let (image, file, cluster) = (self.image, self.file, self.image.cluster);
        self.add(check, at, cluster, weight, "an L2 table");
        if at.checked_add(cluster).is_none_or(|end| end > file.len()) {
            return Ok(());
        }
        let is_outside = image.has(incompatible::EXTERNAL_DATA);
        for (number, wide) in (0_u64..).zip(l2_entries(image, file.slice(at..at + cluster))) {
            let (value, _) = halves(wide?);
            let place = || format!("entry {number} of the L2 table at {at}");
            if value & entry::COMPRESSED != 0 {
                let Range { start, end } = packed_place(image, value);
                self.clusters.allocated += u64::from(is_present);
                self.clusters.compressed += u64::from(is_present);
                // The last sector may lie behind the end of the file; then it is not needed.
                self.add(check, start, end.min(file.len().max(start + 1)) - start, weight, "a packed cluster");
                continue;
            }
            let data = value & entry::OFFSET;
            if is_outside || data == 0 {
                continue;
            }
            if !data.is_multiple_of(cluster) {
                check.corrupt(|| format!("{} points to byte {data}, which is no multiple of the cluster size", place()));
                continue;
            }
            if is_present {
                self.clusters.allocated += 1;
                self.copied(check, data, value, place)?;
            }
            self.add(check, data, cluster, weight, "a cluster");
        }
        Ok(())
    }

    /// A bit of the entry says whether the refcount of what it points to is exactly 1.
    fn copied(&mut self, check: &mut Check, at: u64, value: u64, place: impl FnOnce() -> String) -> Result<()> {
        let (refcount, is_set) = (self.refcounts.get(at / self.image.cluster)?, value & entry::COPIED != 0);
        if (refcount == 1) != is_set {
            check.corrupt(|| {
                format!(
                    "{} says {} (OFLAG_COPIED), the refcount is {refcount}",
                    place(),
                    if is_set { "one reference" } else { "not one reference" }
                )
            });
        }
        Ok(())
    }

    /// Persistent bitmaps: a directory, a table for each, and its clusters.
    fn bitmaps(&mut self, check: &mut Check) -> Result<()> {
        /// Bytes of the fixed part of a directory entry.
        const FIXED: u64 = 24;
        let Some((count, at, len)) = self.image.bitmaps(self.file)? else { return Ok(()) };
        self.add(check, at, len, 1, "the bitmap directory");
        if len > BITMAPS_MAX {
            return Err(Error::bad_input(format!("a directory of {len} bytes, at most {BITMAPS_MAX}")));
        }
        let mut entry_at = at;
        let mut tables_len = 0_u64;
        for nth in 0..count {
            if entry_at - at + FIXED > len {
                return Err(Error::bad_input(format!("a directory of {len} bytes ends before bitmap {nth} of {count}")));
            }
            let fixed: [u8; 24] = self.file.read_array(entry_at)?;
            let number = |from: usize, len: usize| fixed[from..from + len].iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
            let (table, entries, name_len, extra_len) = (number(0, 8), number(8, 4), number(18, 2), number(20, 4));
            tables_len += entries * 8;
            if tables_len > self.file.len() {
                return Err(Error::bad_input(format!("the bitmaps' tables have {tables_len} bytes, more than the file")));
            }
            self.add(check, table, entries * 8, 1, "a bitmap's table");
            if let Some(end) = table.checked_add(entries * 8).filter(|end| *end <= self.file.len()) {
                for value in blocks::entries(self.file.slice(table..end)) {
                    let data = u64::from_be_bytes(value?) & entry::OFFSET;
                    self.add(check, data, if data == 0 { 0 } else { self.image.cluster }, 1, "a bitmap's cluster");
                }
            }
            entry_at += (FIXED + name_len + extra_len).next_multiple_of(8);
        }
        Ok(())
    }

    /// Compares refcounts with references.
    fn compare(&mut self, check: &mut Check) -> Result<()> {
        let counted = counted(&std::mem::take(&mut self.runs).runs);
        let end = counted.last().map_or(0, |run| run.clusters.end);
        self.clusters.end = end * self.image.cluster;
        check.clusters = Some(self.clusters);
        let end = end.max(self.file.len().div_ceil(self.image.cluster));
        let mut runs = counted.into_iter().peekable();
        let mut at = 0;
        while at < end {
            // A stretch of clusters with one number of references, inside one refcount block.
            while runs.next_if(|run| run.clusters.end <= at).is_some() {}
            let (references, until) = match runs.peek() {
                Some(run) if run.clusters.start <= at => (run.weight, run.clusters.end),
                Some(run) => (0, run.clusters.start),
                None => (0, end),
            };
            let until = until.min(self.refcounts.block_end(at)).min(end);
            if !self.refcounts.has_block(at) {
                if references > 0 {
                    check.corrupt_many(until - at, || format!("clusters {at} to {}: refcount 0, {references} references", until - 1));
                }
                at = until;
                continue;
            }
            for cluster in at..until {
                match self.refcounts.get(cluster)? {
                    refcount if refcount < references => {
                        check.corrupt(|| format!("cluster {cluster}: refcount {refcount}, {references} references"));
                    }
                    refcount if refcount > references => {
                        check.leak(1, || format!("cluster {cluster} is leaked: refcount {refcount}, {references} references"));
                    }
                    _ => {}
                }
            }
            at = until;
        }
        Ok(())
    }
}

/// Runs that do not overlap, in order, each with the sum of the weights.
fn counted(runs: &[Run]) -> Vec<Run> {
    let mut edges: Vec<(u64, bool, u64)> =
        runs.iter().flat_map(|run| [(run.clusters.start, true, run.weight), (run.clusters.end, false, run.weight)]).collect();
    edges.sort_unstable();
    let (mut weight, mut since) = (0_u64, 0);
    let mut counted: Vec<Run> = Vec::new();
    for (at, begins, by) in edges {
        if weight > 0 && at > since {
            match counted.last_mut() {
                Some(last) if last.clusters.end == since && last.weight == weight => last.clusters.end = at,
                _ => counted.push(Run { clusters: since..at, weight }),
            }
        }
        since = at;
        weight = if begins { weight.saturating_add(by) } else { weight.saturating_sub(by) };
    }
    counted
}

/// The refcounts of a file, a block at a time.
struct Refcounts<'a> {
    image: &'a Checked,
    file: &'a Blob,
    table: Vec<u64>,
    /// The block that was looked at last, by its place in the table.
    block: Option<(u64, Vec<u8>)>,
}

impl Refcounts<'_> {
    fn read_table(&mut self) -> Result<()> {
        let header = &self.image.header;
        let (at, len) = (header.refcount_table_offset.get(), u64::from(header.refcount_table_clusters.get()) * self.image.cluster);
        if len > TABLE_MAX {
            return Err(Error::bad_input(format!("the refcount table has {len} bytes, at most {TABLE_MAX}")));
        }
        let table = blocks::Claims::on(self.file).claim(at, len, || "the refcount table".to_owned())?;
        for (number, value) in (0_u64..).zip(blocks::entries(self.file.slice(table))) {
            let block = u64::from_be_bytes(value?) & !0x1ff;
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
    fn block_end(&self, cluster: u64) -> u64 {
        (cluster / self.per_block() + 1) * self.per_block()
    }

    fn block_at(&self, cluster: u64) -> u64 {
        let number = usize::try_from(cluster / self.per_block()).ok();
        number.and_then(|number| self.table.get(number)).copied().unwrap_or(0)
    }

    fn has_block(&self, cluster: u64) -> bool {
        self.block_at(cluster) != 0
    }

    fn get(&mut self, cluster: u64) -> Result<u64> {
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
    fn runs_are_added_up() {
        let run = |clusters, weight| Run { clusters, weight };
        let sum = counted(&[run(5..9, 2), run(0..2, 1), run(2..6, 1), run(20..21, 1)]);
        let sum: Vec<_> = sum.into_iter().map(|run| (run.clusters, run.weight)).collect();
        assert_eq!(sum, [(0..5, 1), (5..6, 3), (6..9, 2), (20..21, 1)]);
    }

    /// As many references as a hostile file likes, to a few clusters, in an order that joins nothing.
    #[test]
    fn many_references_to_few_clusters_take_little_memory() {
        let mut runs = Runs::default();
        for _ in 0..1_000 {
            (0..1_000).for_each(|n| runs.add(2 * n..2 * n + 1, 1));
        }
        assert!(runs.runs.capacity() <= 4 * Runs::FEW, "{}", runs.runs.capacity());
        let sum = counted(&runs.runs);
        assert_eq!(sum.len(), 1_000);
        assert!(sum.iter().all(|run| run.weight == 1_000));
    }

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
