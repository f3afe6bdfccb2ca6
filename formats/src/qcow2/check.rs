//! Comparing every refcount with the references that there are ("Host cluster management").
//!
//! References are kept as runs with a weight, so memory follows how fragmented the file is, not how large, nor how often it refers to
//! one place. A table that many L1 entries point to is walked once, with their number as the weight; so time follows the size of
//! the file.
//!
//! What `qemu-img check` finds is found, and more: clusters that do not unpack, and what no program could read.

mod bitmaps;
mod refcounts;
mod runs;

use super::{
    entry,
    header::{Checked, incompatible},
    snapshot,
    tables::{halves, l2_entries, packed_place},
};
use crate::{Blob, Check, Env, Error, Result, blocks, check::Clusters, error::At};
use refcounts::Refcounts;
use runs::Runs;
use std::{collections::BTreeMap, ops::Range};

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
    if image.is_raw_without_file() {
        check.corrupt(|| "the header says that another file has the data as it is (data_file_raw), and names none".to_owned());
    }
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

/// What the file has of a structure: all of it, but where the file ends inside of a cluster. There QEMU reads zeros.
fn present(file: &Blob, at: u64, len: u64) -> Blob {
    let end = file.len();
    let mut bytes = file.slice(at.min(end)..at.saturating_add(len).min(end));
    bytes.pad_to(16);
    bytes
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
        let refcounts = Refcounts::new(image, file);
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
        self.refcounts.read_table(check)?;
        for at in self.refcounts.table.clone() {
            self.add(check, at, if at == 0 { 0 } else { cluster }, 1, "a refcount block");
        }
        let (snapshots, snapshots_len) = snapshot::table(self.image, file)?;
        self.add(check, header.snapshots_offset.get(), snapshots_len, 1, "the snapshot table");
        self.incomplete(check, &snapshots);
        bitmaps::collect(self, check).at(|| "qcow2 bitmaps")?;
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

    /// Since version 3 an entry of the snapshot table says how large the guest's state and the disk are; and data in another file has
    /// no snapshots.
    fn incomplete(&self, check: &mut Check, snapshots: &[snapshot::Snapshot]) {
        for snapshot in snapshots.iter().filter(|snapshot| self.image.header.version.get() >= 3 && !snapshot.is_complete()) {
            check.corrupt(|| format!("the entry of snapshot '{}' is incomplete: it does not say the size of the disk", snapshot.name));
        }
        if self.image.has(incompatible::EXTERNAL_DATA) && !snapshots.is_empty() {
            check.corrupt(|| format!("there are {} snapshots, though the data is in another file", snapshots.len()));
        }
    }

    /// Counts references to the clusters of a range of the file, which may end inside of the last one.
    fn add(&mut self, check: &mut Check, at: u64, len: u64, weight: u64, what: &str) {
        let (cluster, file_len) = (self.image.cluster, self.file.len());
        if len == 0 {
            return;
        }
        let Some(end) = at.checked_add(len).filter(|end| end.saturating_sub(file_len) < cluster) else {
            return check.corrupt(|| format!("{what} is {len} bytes at {at}, past the end of the file at {file_len}"));
        };
        self.runs.add(at / cluster..end.div_ceil(cluster), weight);
    }

    /// Notes the L2 tables of an L1 table.
    fn l1_table(&mut self, check: &mut Check, (at, entries): (u64, u64), weight: u64, l2: &mut BTreeMap<u64, u64>) -> Result<()> {
        let is_present = at == self.image.header.l1_table_offset.get();
        self.add(check, at, entries * 8, weight, "an L1 table");
        for (number, value) in (0_u64..).zip(blocks::entries(present(self.file, at, entries * 8))) {
            let value = u64::from_be_bytes(value?);
            let table = value & entry::OFFSET;
            if value & entry::RESERVED_L1 != 0 || table == 0 && value != 0 {
                check.corrupt(|| format!("L1 entry {number} is {value:#x}: {}", if table == 0 { "no table" } else { RESERVED }));
            }
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
        let (image, cluster) = (self.image, self.image.cluster);
        self.add(check, at, cluster, weight, "an L2 table");
        for (number, wide) in (0_u64..).zip(l2_entries(image, present(self.file, at, cluster))) {
            let (value, bitmap) = halves(wide?);
            let place = || format!("entry {number} of the L2 table at {at}");
            if let Some(wrong) = wrong(image, value, bitmap) {
                check.corrupt(|| format!("{} is {value:#x}: {wrong}", place()));
            }
            if value & entry::COMPRESSED != 0 {
                let Range { start, end } = packed_place(image, value);
                self.clusters.allocated += u64::from(is_present);
                self.clusters.compressed += u64::from(is_present);
                self.add(check, start, end - start, weight, "a packed cluster");
                continue;
            }
            let data = value & entry::OFFSET;
            if image.has(incompatible::EXTERNAL_DATA) || data == 0 {
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

    /// Compares refcounts with references.
    fn compare(&mut self, check: &mut Check) -> Result<()> {
        let counted = std::mem::take(&mut self.runs).counted();
        for at in self.refcounts.table.iter().filter(|at| **at != 0) {
            let references = runs::weight(&counted, at / self.image.cluster);
            if references != 1 {
                check.corrupt(|| format!("the refcount block at {at} has {references} references, must have one"));
            }
        }
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

const RESERVED: &str = "reserved bits are set";

/// What is wrong with an L2 entry by itself.
fn wrong(image: &Checked, value: u64, bitmap: u64) -> Option<&'static str> {
    let (allocated, zeros) = (bitmap & 0xffff_ffff, bitmap >> 32);
    let (is_outside, has_data) = (image.has(incompatible::EXTERNAL_DATA), value & entry::OFFSET != 0);
    if value & entry::COMPRESSED != 0 {
        return match () {
            () if value & entry::COPIED != 0 => Some("a packed cluster never has the flag of one reference (OFLAG_COPIED)"),
            () if is_outside => Some("data in another file is never packed"),
            () if bitmap != 0 => Some("a packed cluster has no subclusters"),
            () => None,
        };
    }
    let is_zero = value & entry::ZERO != 0 && !image.extended_l2;
    match () {
        () if value & entry::RESERVED_L2 != 0 => Some(RESERVED),
        () if allocated & zeros != 0 => Some("a subcluster is allocated and reads as zeros"),
        () if allocated != 0 && !has_data && !(is_outside && value & entry::COPIED != 0) => Some("subclusters of no cluster are allocated"),
        () if is_outside && has_data && value & entry::COPIED == 0 => {
            Some("data in another file has the flag of one reference (OFLAG_COPIED)")
        }
        () if is_outside && !is_zero && !(value & entry::OFFSET).is_multiple_of(image.cluster) => {
            Some("its data begins inside of a cluster")
        }
        () => None,
    }
}
