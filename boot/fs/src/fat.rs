//! FAT12, FAT16 and FAT32 with long names, read-only. Microsoft "FAT: General Overview of On-Disk Format" 1.03 (fatgen103).
//!
//! ```text
//!  reserved sectors      file allocation tables   root directory    data area
//!  boot sector with BPB  one or two equal copies  (FAT12/16 only)   cluster 2, 3, 4 ...
//! ```
//!
//! A file is read with one device read per contiguous run of clusters, straight into the caller's buffer: a kernel that was
//! written in one piece costs one read, however large it is.
//!
//! We take the first FAT and ignore the others; we refuse nothing for its dirty flag. What is not FAT by its BPB is
//! [`Error::NotFat`], a chain that ends early, leaves the volume or does not end is [`Error::ChainBroken`].

mod directory;
mod name;

pub use directory::{Directory, Node};
pub use name::Name;

use core::num::{NonZeroU32, NonZeroU64};

use crate::field::{le8, le16, le32, long, short};
use crate::{BlockDevice, Disk, Error};

/// Width of the entries in the file allocation table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// FAT12.
    Fat12,
    /// FAT16.
    Fat16,
    /// FAT32, of which 28 bits count.
    Fat32,
}

/// A FAT file system on a disk.
#[derive(Debug)]
pub struct Volume<D> {
    disk: Disk<D>,
    width: Width,
    /// Bytes in a cluster.
    cluster: NonZeroU32,
    /// How many clusters the data area has; they are numbered from 2.
    clusters: u32,
    /// Byte offsets on the disk.
    fat_at: u64,
    data_at: u64,
    root: Root,
}

/// Where the root directory is.
#[derive(Debug, Clone, Copy)]
enum Root {
    /// Between the tables and the data area: byte offset and length (FAT12, FAT16).
    Fixed { at: u64, len: u32 },
    /// In a chain of clusters like any other directory (FAT32).
    Chain(u32),
}

/// An open file: its chain, and how far along it the last read came.
#[derive(Debug, Clone, Copy)]
pub struct File {
    size: u32,
    first: u32,
    /// A known point of the chain: (index in the file, cluster number).
    known: (u32, u32),
}

impl File {
    /// Length in bytes.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.size
    }
}

impl<D: BlockDevice> Volume<D> {
    /// Opens the file system in the `len` bytes from `start` on.
    ///
    /// # Errors
    /// [`Error::NotFat`] when the BIOS parameter block there makes no sense, [`Error::PastEndOfDisk`], [`Error::Device`].
    pub fn open(mut disk: Disk<D>, start: u64, len: u64) -> Result<Self, Error<D::Error>> {
        let mut sector = [0; 512];
        disk.read(start, &mut sector)?;
        let Some(bpb) = Bpb::parse(&sector) else {
            return Err(Error::NotFat);
        };
        if bpb.total > len {
            return Err(Error::PastEndOfDisk);
        }
        let at = |offset: u64| start.checked_add(offset).ok_or(Error::PastEndOfDisk);
        Ok(Self {
            width: bpb.width,
            cluster: bpb.cluster,
            clusters: bpb.clusters,
            fat_at: at(bpb.fat_at)?,
            data_at: at(bpb.data_at)?,
            root: match bpb.root {
                Root::Fixed { at: offset, len } => Root::Fixed { at: at(offset)?, len },
                chain @ Root::Chain(_) => chain,
            },
            disk,
        })
    }

    /// Width of the file allocation table.
    pub const fn width(&self) -> Width {
        self.width
    }

    /// Bytes in a cluster.
    pub const fn cluster_size(&self) -> u32 {
        self.cluster.get()
    }

    /// How many clusters the volume has.
    pub const fn cluster_count(&self) -> u32 {
        self.clusters
    }

    /// Gives the disk back.
    pub fn into_disk(self) -> Disk<D> {
        self.disk
    }

    /// The root directory, to be listed with [`Directory::next`].
    pub const fn root(&self) -> Directory {
        Directory::new(self.root)
    }

    /// Looks a path up, e.g. `/loader/entries/moby.conf`. The leading `/` is optional; names compare without regard to the
    /// case of ASCII letters.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotDirectory`], [`Error::ChainBroken`], [`Error::Device`].
    pub fn find(&mut self, path: &str) -> Result<Node, Error<D::Error>> {
        let mut directory = self.root();
        let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
        while let Some(part) = parts.next() {
            let node = loop {
                match directory.next(self)? {
                    Some(node) if node.name().as_str().eq_ignore_ascii_case(part) => break node,
                    Some(_) => {}
                    None => return Err(Error::NotFound),
                }
            };
            if parts.peek().is_none() {
                return Ok(node);
            }
            directory = node.directory().ok_or(Error::NotDirectory)?;
        }
        Err(Error::NotFound)
    }

    /// Opens the directory at a path; the root for `/`.
    ///
    /// # Errors
    /// As [`Volume::find`].
    pub fn directory(&mut self, path: &str) -> Result<Directory, Error<D::Error>> {
        if path.split('/').all(str::is_empty) {
            return Ok(self.root());
        }
        self.find(path)?.directory().ok_or(Error::NotDirectory)
    }

    /// Opens the file at a path.
    ///
    /// # Errors
    /// As [`Volume::find`], and [`Error::IsDirectory`].
    pub fn file(&mut self, path: &str) -> Result<File, Error<D::Error>> {
        self.find(path)?.file().ok_or(Error::IsDirectory)
    }

    /// Fills `into` with the bytes of `file` from `offset` on.
    ///
    /// Reading on from where the last read ended does not walk the chain again.
    ///
    /// # Errors
    /// [`Error::PastEndOfFile`], [`Error::ChainBroken`], [`Error::PastEndOfDisk`], [`Error::Device`].
    pub fn read(&mut self, file: &mut File, offset: u32, into: &mut [u8]) -> Result<(), Error<D::Error>> {
        let end = u64::from(offset).saturating_add(long(into.len()));
        if end > u64::from(file.size) {
            return Err(Error::PastEndOfFile);
        }
        let cluster = NonZeroU64::from(self.cluster);
        let mut rest = into;
        while !rest.is_empty() {
            let at = end.saturating_sub(long(rest.len()));
            let skip = at % cluster;
            let index = u32::try_from(at / cluster).map_err(|_| Error::PastEndOfFile)?;
            let first = self.seek(file, index)?;
            // Collect the contiguous run.
            let mut run = cluster.get().saturating_sub(skip);
            let (mut last, mut steps) = (first, 0u32);
            while run < long(rest.len()) {
                let next = self.next(last)?.ok_or(Error::ChainBroken)?;
                if Some(next) != last.checked_add(1) {
                    break;
                }
                last = next;
                steps = steps.saturating_add(1);
                run = run.saturating_add(cluster.get());
            }
            file.known = (index.saturating_add(steps), last);
            let n = short(run, rest.len());
            let (now, later) = rest.split_at_mut(n);
            let from = self.cluster_at(first)?.saturating_add(skip);
            self.disk.read(from, now)?;
            rest = later;
        }
        Ok(())
    }

    /// The cluster that holds part `index` of a file.
    fn seek(&mut self, file: &mut File, index: u32) -> Result<u32, Error<D::Error>> {
        if index < file.known.0 {
            file.known = (0, file.first);
        }
        // No file is longer than its volume: this also ends the walk along a chain that loops.
        if index >= self.clusters {
            return Err(Error::ChainBroken);
        }
        while file.known.0 < index {
            let next = self.next(file.known.1)?.ok_or(Error::ChainBroken)?;
            file.known = (file.known.0.saturating_add(1), next);
        }
        Ok(file.known.1)
    }

    /// Byte offset of a cluster on the disk.
    fn cluster_at(&self, cluster: u32) -> Result<u64, Error<D::Error>> {
        let index = cluster.checked_sub(2).filter(|index| *index < self.clusters);
        let offset = index.map(|index| u64::from(index).saturating_mul(u64::from(self.cluster.get())));
        offset.and_then(|offset| self.data_at.checked_add(offset)).ok_or(Error::ChainBroken)
    }

    /// What follows `cluster` in its chain; `None` at its end.
    fn next(&mut self, cluster: u32) -> Result<Option<u32>, Error<D::Error>> {
        self.cluster_at(cluster)?;
        let index = u64::from(cluster);
        let mut raw = [0; 4];
        let (value, end) = match self.width {
            Width::Fat12 => {
                let (pair, _) = raw.split_at_mut(2);
                // Three bytes hold two entries.
                let at = index.saturating_add(index / 2);
                self.disk.read(self.fat_at.saturating_add(at), pair)?;
                let both = le32(&raw, 0);
                (if cluster.is_multiple_of(2) { both & 0xfff } else { both >> 4 }, 0xff8)
            }
            Width::Fat16 => {
                let (pair, _) = raw.split_at_mut(2);
                self.disk.read(self.fat_at.saturating_add(index.saturating_mul(2)), pair)?;
                (le32(&raw, 0), 0xfff8)
            }
            Width::Fat32 => {
                self.disk.read(self.fat_at.saturating_add(index.saturating_mul(4)), &mut raw)?;
                (le32(&raw, 0) & 0x0fff_ffff, 0x0fff_fff8)
            }
        };
        if value >= end {
            return Ok(None);
        }
        self.cluster_at(value)?;
        Ok(Some(value))
    }
}

/// The BIOS parameter block, in bytes from the start of the volume and checked for sense.
struct Bpb {
    width: Width,
    cluster: NonZeroU32,
    clusters: u32,
    total: u64,
    fat_at: u64,
    data_at: u64,
    root: Root,
}

impl Bpb {
    /// Reads a boot sector; `None` when it is not one of a FAT file system.
    fn parse(sector: &[u8; 512]) -> Option<Self> {
        let bytes_per_sector = le16(sector, 11);
        let sectors_per_cluster = le8(sector, 13);
        let reserved = le16(sector, 14);
        let fats = le8(sector, 16);
        let root_entries = le16(sector, 17);
        let (fat_size_16, fat_size_32) = (le16(sector, 22), le32(sector, 36));
        let total = match le16(sector, 19) {
            0 => le32(sector, 32),
            total => u32::from(total),
        };
        let fat_size = match fat_size_16 {
            0 => fat_size_32,
            size => u32::from(size),
        };
        let sane = le16(sector, 510) == 0xaa55
            && matches!(bytes_per_sector, 512 | 1024 | 2048 | 4096)
            && sectors_per_cluster.is_power_of_two()
            && reserved > 0
            && fats > 0
            && fat_size > 0;
        if !sane {
            return None;
        }
        let unit = u64::from(bytes_per_sector);
        let in_bytes = |sectors: u64| sectors.saturating_mul(unit); // at most 2^40 sectors of 2^12 bytes
        let fat_at = in_bytes(u64::from(reserved));
        let fat_len = in_bytes(u64::from(fat_size));
        let root_at = fat_at.checked_add(fat_len.checked_mul(u64::from(fats))?)?;
        let root_len = u32::from(root_entries).checked_mul(32)?;
        let data_at = root_at.checked_add(u64::from(root_len).next_multiple_of(unit))?;
        let total = in_bytes(u64::from(total));
        let cluster = NonZeroU32::new(u32::from(bytes_per_sector).checked_mul(u32::from(sectors_per_cluster))?)?;
        let clusters = total.checked_sub(data_at)?.checked_div(u64::from(cluster.get()))?;
        // Not by the count of clusters alone: a FAT32 with few of them (mkfs.vfat -F 32) still has FAT32's structures.
        let width = match (fat_size_16, clusters) {
            (0, _) => Width::Fat32,
            (_, ..4085) => Width::Fat12,
            _ => Width::Fat16,
        };
        let bits = match width {
            Width::Fat12 => 12,
            Width::Fat16 => 16,
            Width::Fat32 => 32,
        };
        // Clusters that the table cannot describe do not exist.
        let described = fat_len.checked_mul(8)?.checked_div(bits)?.checked_sub(2)?;
        let clusters = u32::try_from(clusters.min(described).min(0x0fff_fff5)).ok()?;
        (clusters > 0).then_some(Self {
            width,
            cluster,
            clusters,
            total,
            fat_at,
            data_at,
            root: match width {
                Width::Fat32 => Root::Chain(le32(sector, 44)),
                _ => Root::Fixed { at: root_at, len: root_len },
            },
        })
    }
}
