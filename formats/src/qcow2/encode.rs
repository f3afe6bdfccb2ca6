//! Writing: clusters first become entries, then everything in front of them is laid out.

use super::{
    CompressionType, entry,
    header::{self, COMPATIBLE_LAZY_REFCOUNTS, Header, MAGIC, V2_LEN, incompatible},
};
use crate::{
    Blob, Env, Error, Options, Result, Stage,
    blocks::Table,
    compress::{
        deflate::{self, Wrapping},
        zstd,
    },
    parallel,
    units::{self, KIB, SECTOR},
    zeros::{UNIT, is_zero},
};
use std::ops::Range;
use zerocopy::IntoBytes;

/// Bits of a refcount.
const REFCOUNT_BITS: u64 = 16;
/// How much of the disk a worker packs in one go.
const BATCH: u64 = 512 * KIB;
/// QEMU inflates with a window of 4 KiB.
const WINDOW_BITS: u8 = 12;

/// What the options ask for.
#[derive(Debug)]
pub(super) struct Settings {
    cluster: u64,
    compressed: bool,
    compression: CompressionType,
    level: u32,
    version: u32,
    lazy_refcounts: bool,
}

impl Settings {
    /// # Errors
    /// When the options contradict each other.
    pub(super) fn new(options: &Options) -> Result<Self> {
        let (compression, usual, level_max) = match options.word("compression_type") {
            "zstd" => (CompressionType::Zstd, 3, 19),
            _ => (CompressionType::Zlib, 6, 9),
        };
        let level = u32::try_from(options.number("compression_level")).expect("the option is at most 19");
        if level > level_max {
            return Err(Error::unsupported(format!("compression_level={level}: zlib has 1 to {level_max}")));
        }
        let version = if options.word("compat") == "0.10" { 2 } else { 3 };
        let lazy_refcounts = options.flag("lazy_refcounts");
        if version == 2 && (lazy_refcounts || compression == CompressionType::Zstd) {
            return Err(Error::unsupported("compat=0.10 has neither lazy_refcounts nor compression_type=zstd"));
        }
        Ok(Self {
            cluster: options.number("cluster_size"),
            compressed: options.flag("compressed"),
            compression,
            level: if level == 0 { usual } else { level },
            version,
            lazy_refcounts,
        })
    }

    /// How much of the disk an L2 table of one cluster covers.
    pub(super) fn covered_by_l2(&self) -> u64 {
        self.cluster * (self.cluster / 8)
    }

    /// See [`crate::Plan::unit`]. Who packs looks at every cluster.
    pub(super) fn looked_for(&self) -> Option<u64> {
        match self.cluster {
            small if small < UNIT => Some(UNIT),
            cluster => (!self.compressed).then_some(cluster),
        }
    }

    fn pack(&self, cluster: &[u8]) -> Result<Vec<u8>> {
        match self.compression {
            CompressionType::Zlib => deflate::deflate(cluster, self.level, WINDOW_BITS, Wrapping::Raw),
            CompressionType::Zstd => zstd::unit(cluster, self.level),
        }
    }
}

/// The file that holds `disk`.
pub(super) fn file(disk: &Blob, settings: &Settings, env: &mut Env) -> Result<Blob> {
    let mut content = Content::new(settings.cluster);
    if settings.compressed {
        pack_all(disk, settings, env, &mut content)?;
    } else {
        disk.data_units(settings.cluster).for_each(|run| content.plain(disk, run));
    }
    Ok(lay_out(disk.len(), settings, content))
}

/// Packs all clusters on all cores.
fn pack_all(disk: &Blob, settings: &Settings, env: &mut Env, content: &mut Content) -> Result<()> {
    let batch = BATCH.max(settings.cluster);
    let batches = || disk.data_units(batch).flatten().map(|n| n * batch..disk.len().min((n + 1) * batch));
    let Env { spool, threads, progress, .. } = env;
    let stage = Stage::new(&**progress, batches().map(|range| range.end - range.start).sum());
    let mark = spool.position();
    let work = |range: Range<u64>| {
        let mut bytes = vec![0; units::index((range.end - range.start).next_multiple_of(settings.cluster))];
        let len = units::index(range.end - range.start);
        disk.read_at(range.start, &mut bytes[..len])?;
        let clusters = (range.start / settings.cluster..).zip(bytes.chunks(units::index(settings.cluster)));
        let packed = clusters.filter(|(_, cluster)| !is_zero(cluster)).map(|(n, cluster)| Ok((n, settings.pack(cluster)?)));
        let packed = packed.collect::<Result<Vec<(u64, Vec<u8>)>>>()?;
        stage.advance(range.end - range.start);
        Ok(packed)
    };
    parallel::ordered(*threads, batches().map(Ok), work, |packed| {
        for (cluster, bytes) in packed {
            if units::bytes(bytes.len()) >= settings.cluster {
                content.plain(disk, cluster..cluster + 1);
                continue;
            }
            let gap = content.packed(cluster, units::bytes(bytes.len()));
            spool.append(&vec![0; units::index(gap)])?;
            spool.append(&bytes)?;
        }
        Ok(())
    })?;
    stage.finish();
    content.packed.blob = spool.since(mark);
    Ok(())
}

/// A run of clusters of the disk.
#[derive(Debug)]
enum Run {
    /// They are plain, from this number of the plain ones on.
    Plain { clusters: Range<u64>, first: u64 },
    /// One is packed: these bytes of the packed ones.
    Packed { cluster: u64, bytes: Range<u64> },
}

/// What the file will hold besides its tables.
#[derive(Debug)]
struct Content {
    cluster: u64,
    /// Ascending.
    runs: Vec<Run>,
    plain: Blob,
    packed: Packed,
}

/// Packed clusters, one behind the other.
#[derive(Debug, Default)]
struct Packed {
    blob: Blob,
    len: u64,
    /// For each cluster of the file: how many packed ones touch it.
    refcounts: Vec<u16>,
}

impl Content {
    fn new(cluster: u64) -> Self {
        Self { cluster, runs: Vec::new(), plain: Blob::default(), packed: Packed::default() }
    }

    fn plain(&mut self, disk: &Blob, clusters: Range<u64>) {
        let first = self.plain.len() / self.cluster;
        let end = disk.len().min(clusters.end * self.cluster);
        self.plain.append(&disk.slice(clusters.start * self.cluster..end));
        self.plain.pad_to(self.cluster);
        match self.runs.last_mut() {
            Some(Run::Plain { clusters: last, first: at }) if last.end == clusters.start && *at + (last.end - last.start) == first => {
                last.end = clusters.end;
            }
            _ => self.runs.push(Run::Plain { clusters, first }),
        }
    }

    /// Takes `len` packed bytes; gives how many zeros must stand before them.
    fn packed(&mut self, cluster: u64, len: u64) -> u64 {
        let packed = &mut self.packed;
        let start = packed.len;
        let full = packed.refcounts.last() == Some(&u16::MAX);
        // A cluster of the file can be shared only as often as its refcount can say.
        let at = if full { start.next_multiple_of(self.cluster) } else { start };
        let touched = at / self.cluster..(at + len).div_ceil(self.cluster);
        packed.refcounts.resize(units::index(touched.end), 0);
        for count in &mut packed.refcounts[units::index(touched.start)..] {
            *count += 1;
        }
        packed.len = at + len;
        self.runs.push(Run::Packed { cluster, bytes: at..at + len });
        at - start
    }
}

/// Where everything is, in clusters of the file.
#[derive(Debug)]
struct Places {
    refcount_table: Range<u64>,
    refcount_blocks: Range<u64>,
    l1: Range<u64>,
    l2: Range<u64>,
    plain: Range<u64>,
    packed: Range<u64>,
}

impl Places {
    fn new(cluster: u64, l1_entries: u64, l2_tables: u64, content: &Content) -> Self {
        let l1 = (l1_entries * 8).div_ceil(cluster);
        let (plain, packed) = (content.plain.len() / cluster, content.packed.len.div_ceil(cluster));
        let others = 1 + l1 + l2_tables + plain + packed;
        let per_block = cluster * 8 / REFCOUNT_BITS;
        // Refcount blocks and their table count themselves: add until they do.
        let (mut table, mut blocks) = (0, 0);
        loop {
            let wanted = (others + table + blocks).div_ceil(per_block);
            if wanted == blocks {
                break;
            }
            blocks = wanted;
            table = (blocks * 8).div_ceil(cluster);
        }
        let mut at = 1;
        let mut take = |len| {
            at += len;
            at - len..at
        };
        Self {
            refcount_table: take(table),
            refcount_blocks: take(blocks),
            l1: take(l1),
            l2: take(l2_tables),
            plain: take(plain),
            packed: take(packed),
        }
    }
}

fn lay_out(size: u64, settings: &Settings, content: Content) -> Blob {
    let cluster = settings.cluster;
    let per_table = cluster / 8;
    let l1_entries = size.div_ceil(cluster * per_table);
    let used: Vec<u64> = used_tables(&content.runs, per_table);
    let places = Places::new(cluster, l1_entries, units::bytes(used.len()), &content);

    let mut file = Blob::default();
    let mut put = |clusters: &Range<u64>, blob: &Blob| {
        assert_eq!(file.len(), clusters.start * cluster, "the parts follow each other");
        file.append(blob);
        file.extend_to(clusters.end * cluster);
    };
    put(&(0..1), &Blob::bytes(header(size, settings, l1_entries, &places)));
    put(&places.refcount_table, &pointers(&places.refcount_blocks, cluster, 0));
    put(&places.refcount_blocks, &refcounts(&places, &content.packed.refcounts));
    put(&places.l1, &l1_table(&used, &places, cluster));
    put(&places.l2, &l2_tables(&content.runs, &used, &places, cluster));
    put(&places.plain, &content.plain);
    put(&places.packed, &content.packed.blob);
    file
}

/// The numbers of the L2 tables that point to something, ascending.
fn used_tables(runs: &[Run], per_table: u64) -> Vec<u64> {
    let mut used: Vec<u64> = Vec::new();
    for run in runs {
        let clusters = match run {
            Run::Plain { clusters, .. } => clusters.clone(),
            Run::Packed { cluster, .. } => *cluster..cluster + 1,
        };
        let first = (clusters.start / per_table).max(used.last().map_or(0, |last| last + 1));
        used.extend(first..clusters.end.div_ceil(per_table));
    }
    used
}

fn header(size: u64, settings: &Settings, l1_entries: u64, places: &Places) -> Vec<u8> {
    let offset = |clusters: &Range<u64>| (clusters.start * settings.cluster).into();
    let count = |value: u64| u32::try_from(value).expect("the limits of the format keep tables small").into();
    let is_zstd = settings.compression == CompressionType::Zstd;
    let header = Header {
        magic: MAGIC,
        version: settings.version.into(),
        backing_file_offset: 0.into(),
        backing_file_size: 0.into(),
        cluster_bits: settings.cluster.ilog2().into(),
        size: size.into(),
        crypt_method: 0.into(),
        l1_size: count(l1_entries),
        l1_table_offset: offset(&places.l1),
        refcount_table_offset: offset(&places.refcount_table),
        refcount_table_clusters: count(places.refcount_table.end - places.refcount_table.start),
        nb_snapshots: 0.into(),
        snapshots_offset: 0.into(),
        incompatible_features: if is_zstd { incompatible::COMPRESSION_TYPE } else { 0 }.into(),
        compatible_features: if settings.lazy_refcounts { COMPATIBLE_LAZY_REFCOUNTS } else { 0 }.into(),
        autoclear_features: 0.into(),
        refcount_order: REFCOUNT_BITS.ilog2().into(),
        header_length: count(units::bytes(size_of::<Header>())),
        compression_type: u8::from(is_zstd),
        padding: [0; 7],
    };
    // The zeros that follow are the end of the header extensions.
    let len = if settings.version == 2 { V2_LEN } else { size_of::<header::Header>() };
    header.as_bytes()[..len].to_vec()
}

/// A table of pointers to consecutive clusters.
fn pointers(to: &Range<u64>, cluster: u64, flags: u64) -> Blob {
    Blob::from(to.clone().flat_map(|n| ((n * cluster) | flags).to_be_bytes()).collect::<Vec<_>>())
}

/// One for every cluster of the file but the packed ones.
fn refcounts(places: &Places, packed: &[u16]) -> Blob {
    const PIECE: u64 = 64 * KIB;
    let ones = Blob::from([0, 1].repeat(units::index(PIECE / 2)));
    let mut counts = Table::repeating(ones).finish(places.packed.start * REFCOUNT_BITS / 8);
    counts.append(&Blob::from(packed.iter().flat_map(|count| count.to_be_bytes()).collect::<Vec<_>>()));
    counts
}

fn l1_table(used: &[u64], places: &Places, cluster: u64) -> Blob {
    let mut table = Blob::default();
    let mut next = places.l2.start;
    for run in used.chunk_by(|a, b| a + 1 == *b) {
        let tables = next..next + units::bytes(run.len());
        next = tables.end;
        table.extend_to(run[0] * 8);
        table.append(&pointers(&tables, cluster, entry::COPIED));
    }
    table
}

/// All L2 tables that are used, one behind the other.
fn l2_tables(runs: &[Run], used: &[u64], places: &Places, cluster: u64) -> Blob {
    let shift = entry::packed_offset_bits(cluster);
    let mut tables = L2Tables { per_table: cluster / 8, used, number: 0, done: Blob::default(), at: 0, piece: Vec::new() };
    for run in runs {
        match run {
            Run::Plain { clusters, first } => {
                let host = places.plain.start + first;
                clusters.clone().zip(host..).for_each(|(n, host)| tables.push(n, (host * cluster) | entry::COPIED));
            }
            Run::Packed { cluster: n, bytes } => {
                let base = places.packed.start * cluster;
                let additional = (base + bytes.end - 1) / SECTOR - (base + bytes.start) / SECTOR;
                tables.push(*n, entry::COMPRESSED | additional << shift | (base + bytes.start));
            }
        }
    }
    tables.flush();
    tables.done
}

/// L2 tables that are being filled from front to back; what is absent stays a gap.
struct L2Tables<'a> {
    per_table: u64,
    used: &'a [u64],
    /// Index into `used` of the table at hand.
    number: usize,
    done: Blob,
    /// Entries that will follow at this offset.
    at: u64,
    piece: Vec<u8>,
}

impl L2Tables<'_> {
    fn push(&mut self, cluster: u64, value: u64) {
        while self.used[self.number] < cluster / self.per_table {
            self.number += 1;
        }
        let place = (units::bytes(self.number) * self.per_table + cluster % self.per_table) * 8;
        if place != self.at + units::bytes(self.piece.len()) {
            self.flush();
            self.at = place;
        }
        self.piece.extend(value.to_be_bytes());
    }

    fn flush(&mut self) {
        if !self.piece.is_empty() {
            self.done.extend_to(self.at);
            self.done.append(&Blob::from(std::mem::take(&mut self.piece)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_refcount_overflows() {
        let mut content = Content::new(2 << 20);
        let gaps: u64 = (0..200_000).map(|n| content.packed(n, 12)).sum();
        assert_eq!(content.packed.refcounts.iter().max(), Some(&u16::MAX));
        assert_eq!(content.packed.refcounts.iter().map(|count| u64::from(*count)).sum::<u64>(), 200_000);
        assert_eq!(content.packed.len, 200_000 * 12 + gaps);
    }

    #[test]
    fn refcount_blocks_count_themselves() {
        let mut content = Content::new(512);
        content.plain = Blob::zeros(512 * 1_000_000);
        let places = Places::new(512, 1, 1, &content);
        let clusters = places.packed.end;
        let blocks = places.refcount_blocks.end - places.refcount_blocks.start;
        assert!(blocks * 256 >= clusters && (blocks - 1) * 256 < clusters);
        assert!((places.refcount_table.end - places.refcount_table.start) * 64 >= blocks);
    }
}
