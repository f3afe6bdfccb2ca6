//! How a volume is divided: fatgen103, "FAT Data Structure" and "FAT Type Determination".

use super::{Volume, Width};
use crate::units::{GIB, MIB, SECTOR};

/// The largest sector (fatgen103, `BPB_BytsPerSec`).
const SECTOR_MAX: u64 = 4096;
/// Clusters larger than this are not valid everywhere.
const CLUSTER_MAX: u64 = 32 << 10;
/// The data area starts at a multiple of this, so that file contents lie where pages and device blocks do.
const DATA_ALIGNMENT: u64 = 4096;
/// The first count of clusters that is no longer FAT12, and no longer FAT16.
const FAT16_MIN: u64 = 4085;
const FAT32_MIN: u64 = 65_525;
/// Other programs are known to be off by up to 16 at these limits (fatgen103): keep away from them.
const MARGIN: u64 = 16;
/// The largest count of clusters: numbers from 0x0ffffff7 on mean something else.
const FAT32_MAX: u64 = 0x0fff_fff4;
/// The count of sectors has 32 bits.
const SECTORS_MAX: u64 = u32::MAX as u64;

/// The division of a volume; offsets and lengths in bytes.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    pub(super) width: Width,
    /// The whole volume.
    pub(super) size: u64,
    pub(super) cluster: u64,
    /// How many clusters the data area has.
    pub(super) clusters: u32,
    /// The first table; the reserved sectors end here.
    pub(super) fat_at: u64,
    /// One table.
    pub(super) fat_len: u64,
    /// The fixed root directory of FAT12 and FAT16; 0 for FAT32.
    pub(super) root_len: u64,
    pub(super) data_at: u64,
}

/// The cluster size that fatgen103 and mkfs.vfat choose for FAT32.
fn preferred_cluster(size: u64) -> u64 {
    const KIB: u64 = 1 << 10;
    match size {
        _ if size <= 260 * MIB => 512,
        _ if size <= 8 * GIB => 4 * KIB,
        _ if size <= 16 * GIB => 8 * KIB,
        _ if size <= 32 * GIB => 16 * KIB,
        _ => 32 * KIB,
    }
}

impl Width {
    const fn bits(self) -> u64 {
        match self {
            Self::Fat12 => 12,
            Self::Fat16 => 16,
            Self::Fat32 => 32,
        }
    }

    /// The counts of clusters that make a volume this wide, beyond doubt.
    fn counts(self) -> std::ops::RangeInclusive<u64> {
        match self {
            Self::Fat12 => 1..=FAT16_MIN - MARGIN,
            Self::Fat16 => FAT16_MIN + MARGIN..=FAT32_MIN - MARGIN,
            Self::Fat32 => FAT32_MIN + MARGIN..=FAT32_MAX,
        }
    }

    fn allowed(volume: &Volume) -> &'static [Self] {
        if volume.fat32_only { &[Self::Fat32] } else { &[Self::Fat12, Self::Fat16, Self::Fat32] }
    }
}

/// The smallest cluster that a volume may have.
fn cluster_min(volume: &Volume) -> u64 {
    let Volume { sector, cluster_min, .. } = volume;
    assert!(sector.is_power_of_two() && (SECTOR..=SECTOR_MAX).contains(sector), "a sector of {sector}");
    assert!(cluster_min.is_power_of_two() && (SECTOR..=CLUSTER_MAX).contains(cluster_min), "a cluster of {cluster_min}");
    *cluster_min.max(sector)
}

/// Cluster sizes that a volume may have, ascending.
fn cluster_sizes(volume: &Volume) -> impl DoubleEndedIterator<Item = u64> {
    (cluster_min(volume).ilog2()..=CLUSTER_MAX.ilog2()).map(|log| 1 << log)
}

impl Geometry {
    /// The division of a volume of `size` bytes, whose root directory has so many where its length is fixed: a function of nothing but
    /// the size and what the volume demands.
    /// `None` when there is none: the volume is too small or too large, or not whole sectors.
    pub(super) fn new(size: u64, volume: &Volume, fixed_root_len: u64) -> Option<Self> {
        let preferred = preferred_cluster(size).max(cluster_min(volume));
        // Larger clusters than usual only where that gives a valid count, smaller ones only where it gives FAT32.
        let larger = cluster_sizes(volume).filter(|cluster| *cluster >= preferred);
        let smaller = cluster_sizes(volume).rev().filter(|cluster| *cluster < preferred);
        let divide =
            |cluster| Width::allowed(volume).iter().find_map(|width| Self::divide(size, volume.sector, *width, cluster, fixed_root_len));
        larger.chain(smaller).find_map(divide)
    }

    fn divide(size: u64, sector: u64, width: Width, cluster: u64, fixed_root_len: u64) -> Option<Self> {
        if !size.is_multiple_of(sector) || size / sector > SECTORS_MAX {
            return None;
        }
        let root_len = Self::root_len(width, fixed_root_len);
        // The table is made long enough for a data area that is as if there were no table.
        let data_max = size.checked_sub(Self::reserved(width, sector) + root_len)?;
        let fat_len = Self::fat_len(width, sector, data_max / cluster);
        let data_at = (Self::reserved(width, sector) + 2 * fat_len + root_len).next_multiple_of(DATA_ALIGNMENT.max(cluster));
        let clusters = size.checked_sub(data_at)? / cluster;
        if !width.counts().contains(&clusters) {
            return None;
        }
        let fat_at = data_at - root_len - 2 * fat_len;
        Some(Self { width, size, cluster, clusters: u32::try_from(clusters).ok()?, fat_at, fat_len, root_len, data_at })
    }

    /// Reserved bytes at least: the boot sector; in FAT32 also FSInfo and the backup of both at sector 6.
    const fn reserved(width: Width, sector: u64) -> u64 {
        match width {
            Width::Fat32 => 32 * sector,
            Width::Fat12 | Width::Fat16 => sector,
        }
    }

    /// Bytes of a root directory of fixed length, which FAT32 does not have.
    fn root_len(width: Width, fixed_root_len: u64) -> u64 {
        match width {
            Width::Fat32 => 0,
            Width::Fat12 | Width::Fat16 => fixed_root_len,
        }
    }

    fn fat_len(width: Width, sector: u64, clusters: u64) -> u64 {
        ((clusters + 2) * width.bits()).div_ceil(8).next_multiple_of(sector)
    }

    /// Sizes in whole MiB worth trying for a content that fills so many clusters of a given size.
    pub(super) fn candidates(fill: impl Fn(u64) -> u64, volume: &Volume, fixed_root_len: u64) -> impl Iterator<Item = u64> {
        let widths = Width::allowed(volume);
        let each = cluster_sizes(volume).flat_map(move |cluster| widths.iter().map(move |width| (*width, cluster)));
        each.filter_map(move |(width, cluster)| {
            let clusters = fill(cluster).max(*width.counts().start());
            if !width.counts().contains(&clusters) {
                return None;
            }
            let data = clusters * cluster;
            // The tables are a bit longer than `clusters` asks for, see `divide`: at most by what they describe of themselves.
            let tables = 2 * Self::fat_len(width, volume.sector, clusters + clusters.div_ceil(64) + 64);
            let around =
                Self::reserved(width, volume.sector) + Self::root_len(width, fixed_root_len) + tables + DATA_ALIGNMENT.max(cluster);
            Some((data + around).next_multiple_of(MIB))
        })
    }
}
