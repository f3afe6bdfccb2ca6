//! FAT12, FAT16 and FAT32 volumes, written once and whole: Microsoft "FAT: General Overview of On-Disk Format" 1.03
//! (fatgen103), with long names.
//!
//! ```text
//!  reserved sectors                    tables     root directory   data area
//!  boot sector, FSInfo, their backup   FAT, FAT   (FAT12/16 only)  directories, then files in the order given
//! ```
//! Every file is contiguous and the data area starts at a multiple of 4096 bytes, so the place of each file in the volume is
//! known and can be pointed to from elsewhere. File bodies are referred to, not copied; of the tables only the used part is
//! in memory, once for both copies. What is free stays free: the volume can be mounted and changed.
//!
//! We refuse files of 4 GiB and more, names that Windows could not open, and two names that differ in case only.
//!
//! Oracles: `fsck.vfat -n`, mtools.

mod boot_sector;
mod directory;
mod geometry;
mod name;

use crate::{Blob, Error, Result, Timestamp, error::At, units};
use directory::Directories;
use geometry::Geometry;
use std::ops::Range;

/// Width of the entries in the file allocation table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// FAT12: fewer than 4085 clusters.
    Fat12,
    /// FAT16: fewer than 65,525 clusters.
    Fat16,
    /// FAT32.
    Fat32,
}

/// A volume to be written.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Upper case ASCII letters, digits, `_` and spaces, at most 11; [`label_of`] makes one.
    pub label: String,
    /// Volume serial number.
    pub serial: u32,
    /// Time of every file and directory, in UTC; clamped to what FAT can say, 1980 to 2107.
    pub time: Timestamp,
    /// Bytes of a sector, as the disk has them: a power of two from 512 to 4096.
    pub sector: u64,
    /// Sectors before the volume on its disk.
    pub hidden_sectors: u32,
    /// Only FAT32 will do, as UEFI has it for disks; else whatever the size asks for.
    pub fat32_only: bool,
    /// Clusters are at least this large, and a sector: a power of two from 512 to 32 KiB.
    pub cluster_min: u64,
    /// The files; directories come of their paths.
    pub files: Vec<File>,
    /// Directories that may have no file, by paths like those of files.
    pub directories: Vec<String>,
}

/// A volume label out of any name.
pub fn label_of(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() || c == ' ' { c.to_ascii_uppercase() } else { '_' };
    name.chars().take(directory::LABEL_LEN).map(letter).collect()
}

/// A file to be written.
#[derive(Clone, Debug)]
pub struct File {
    /// Names separated by `/`, from the root, with or without a leading `/`.
    pub path: String,
    /// The content.
    pub body: Blob,
}

impl File {
    /// A file.
    pub fn new(path: impl Into<String>, body: Blob) -> Self {
        Self { path: path.into(), body }
    }
}

/// A volume as bytes.
#[derive(Clone, Debug)]
pub struct Written {
    /// The whole volume.
    pub volume: Blob,
    /// Where each file's content is in it, in the order of [`Volume::files`].
    pub files: Vec<Range<u64>>,
    /// Which FAT it became.
    pub width: Width,
    /// Bytes in a cluster.
    pub cluster: u64,
}

/// One past the largest file.
const FILE_END: u64 = 1 << 32;

impl Volume {
    /// A size in whole MiB that holds all files and `free` bytes more: the smallest, about.
    ///
    /// # Errors
    /// When a file or a name cannot be held, or there is more than any volume holds.
    pub fn size_for(&self, free: u64) -> Result<u64> {
        let directories = self.directories()?;
        let sizes = Geometry::candidates(
            |cluster| self.clusters(&directories, cluster).saturating_add(free.div_ceil(cluster)),
            self,
            directories.fixed_root_len(self.sector),
        );
        let holds = |size: &u64| {
            Geometry::new(*size, self, directories.fixed_root_len(self.sector))
                .is_some_and(|geometry| self.is_held(&directories, &geometry, free))
        };
        sizes.filter(holds).min().ok_or_else(|| {
            let needed = self.files.iter().map(|file| file.body.len()).fold(free, u64::saturating_add);
            Error::bad_input(format!("{} of files and free space are more than a FAT volume holds", units::show_size(needed)))
        })
    }

    /// The volume in `size` bytes, whole sectors.
    ///
    /// # Errors
    /// When a file or a name cannot be held, or the size is too small; the error names a size that is not.
    pub fn write(&self, size: u64) -> Result<Written> {
        let directories = self.directories()?;
        let geometry =
            Geometry::new(size, self, directories.fixed_root_len(self.sector)).filter(|geometry| self.is_held(&directories, geometry, 0));
        let Some(geometry) = geometry else {
            let needed = self.size_for(0)?;
            let what = format!("a FAT volume of {} is too small, {} are needed", units::show_size(size), units::show_size(needed));
            return Err(Error::bad_input(what));
        };
        Ok(self.lay_out(directories, &geometry))
    }

    /// The directory tree, with every name and size checked.
    fn directories(&self) -> Result<Directories> {
        let mut directories = Directories::new(&self.label, self.time);
        for (index, file) in self.files.iter().enumerate() {
            if file.body.len() >= FILE_END {
                let what = format!("the file is {}, FAT holds less than 4 GiB", units::show_size(file.body.len()));
                return Err(Error::bad_input(what).at(&file.path));
            }
            directories.add(&file.path, Some(index)).at(|| &file.path)?;
        }
        for path in &self.directories {
            directories.add(path, None).at(|| path)?;
        }
        directories.check_sizes()?;
        Ok(directories)
    }

    /// Clusters that directories and files fill.
    fn clusters(&self, directories: &Directories, cluster: u64) -> u64 {
        let files: u64 = self.files.iter().map(|file| file.body.len().div_ceil(cluster)).sum();
        files + directories.clusters(cluster)
    }

    fn is_held(&self, directories: &Directories, geometry: &Geometry, free: u64) -> bool {
        // The root directory of FAT12 and FAT16 is counted with the clusters all the same: it makes no size too small.
        self.clusters(directories, geometry.cluster).saturating_add(free.div_ceil(geometry.cluster)) <= u64::from(geometry.clusters)
    }

    fn lay_out(&self, mut directories: Directories, geometry: &Geometry) -> Written {
        let mut table = Table::new(geometry.width);
        directories.place(geometry, &mut table);
        let starts: Vec<u32> = self.files.iter().map(|file| table.chain(file.body.len().div_ceil(geometry.cluster))).collect();
        let offset = |first: u32| geometry.data_at + u64::from(first.saturating_sub(2)) * geometry.cluster;

        let mut volume = boot_sector::reserved(self, geometry, table.next);
        volume.extend_to(geometry.fat_at);
        let table = Blob::from(table.bytes);
        for copy in 1..=2 {
            volume.append(&table);
            volume.extend_to(geometry.fat_at + copy * geometry.fat_len);
        }
        let sizes: Vec<u64> = self.files.iter().map(|file| file.body.len()).collect();
        for (at, bytes) in directories.bytes(geometry, &starts, &sizes) {
            volume.extend_to(at);
            volume.append(&Blob::from(bytes));
        }
        let mut files = Vec::with_capacity(self.files.len());
        for (file, first) in self.files.iter().zip(&starts) {
            if !file.body.is_empty() {
                volume.extend_to(offset(*first));
                volume.append(&file.body);
            }
            files.push(offset(*first)..offset(*first) + file.body.len());
        }
        volume.extend_to(geometry.size);
        Written { volume, files, width: geometry.width, cluster: geometry.cluster }
    }
}

/// The used part of a file allocation table: chains of consecutive clusters, dealt in order.
struct Table {
    width: Width,
    bytes: Vec<u8>,
    /// The next free cluster.
    next: u32,
}

impl Table {
    const MEDIA: u32 = 0x0fff_fff8;
    const END: u32 = 0x0fff_ffff;

    fn new(width: Width) -> Self {
        let mut table = Self { width, bytes: Vec::new(), next: 0 };
        // Entry 0 repeats the media byte, entry 1 says "cleanly unmounted, no errors".
        table.push(Self::MEDIA);
        table.push(Self::END);
        table
    }

    /// The entry of the next cluster.
    fn push(&mut self, value: u32) {
        let [a, b, c, d] = value.to_le_bytes();
        match self.width {
            Width::Fat32 => self.bytes.extend([a, b, c, d]),
            Width::Fat16 => self.bytes.extend([a, b]),
            // Two entries share three bytes.
            Width::Fat12 if self.next.is_multiple_of(2) => self.bytes.extend([a, b & 0x0f]),
            Width::Fat12 => {
                *self.bytes.last_mut().expect("an even entry stands before") |= a << 4;
                self.bytes.push(a >> 4 | b << 4);
            }
        }
        self.next += 1;
    }

    /// A chain of `len` new clusters; its first, or 0 for none. The geometry was checked to hold them.
    fn chain(&mut self, len: u64) -> u32 {
        if len == 0 {
            return 0;
        }
        let first = self.next;
        for _ in 1..len {
            self.push(self.next + 1);
        }
        self.push(Self::END);
        first
    }
}

#[cfg(test)]
mod tests;
