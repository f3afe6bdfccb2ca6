//! GUID Partition Table, UEFI 2.10 section 5.3: read-only, primary copy or backup.
//!
//! ```text
//!  LBA 0         1              2 ..                                      last-n ..       last
//!  protective    primary        partition       partitions ...            partition       backup
//!  MBR           header ──────► entries                                   entries ◄────── header
//! ```
//!
//! A header counts in logical blocks, whose size it does not name. A hybrid ISO holds a table of 512-byte blocks on a
//! device of 2048-byte sectors, so the header is looked for at the device's own LBA 1 first, then at those of other sizes.
//! We refuse a table of which no copy has both checksums right; we never repair.

use crate::field::{bytes, le32, le64, long};
use crate::{BlockDevice, Crc32, Disk, Error};

/// A GUID as it stands on disk (first three fields little-endian).
pub type Guid = [u8; 16];

/// Type of the EFI system partition: C12A7328-F81F-11D2-BA4B-00A0C93EC93B.
pub const ESP: Guid = *b"\x28\x73\x2a\xc1\x1f\xf8\xd2\x11\xba\x4b\x00\xa0\xc9\x3e\xc9\x3b";

/// Type of the BIOS boot partition, which holds stage2: 21686148-6449-6E6F-744E-656564454649.
pub const BIOS_BOOT: Guid = *b"Hah!IdontNeedEFI";

/// Bytes of a header that we look at: enough for the 92 defined ones.
const HEADER: usize = 512;
/// The largest partition entry, and the largest array of them, that we believe.
const ENTRY_MAX: u32 = 4096;
const ARRAY_MAX: u64 = 1 << 20;

/// Which of the two tables was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one at LBA 1.
    Primary,
    /// The one at the end of the disk: the primary is missing or damaged.
    Backup,
}

/// A partition table whose checksums are right.
#[derive(Debug, Clone, Copy)]
pub struct Gpt {
    /// Bytes in a logical block of this table.
    pub block: u32,
    /// The disk's own GUID.
    pub disk_guid: Guid,
    /// How many entries the array has, used or not.
    pub entry_count: u32,
    /// Which copy this is.
    pub which: Which,
    entry_size: u32,
    entries_at: u64,
}

/// One used entry of the table.
#[derive(Debug, Clone, Copy)]
pub struct Partition {
    /// What it holds, e.g. [`ESP`].
    pub type_guid: Guid,
    /// Its own GUID (Linux: PARTUUID).
    pub guid: Guid,
    /// First logical block.
    pub first_lba: u64,
    /// Last logical block, inclusive.
    pub last_lba: u64,
    /// Attribute bits (UEFI 2.10 table 5-8).
    pub attributes: u64,
    /// Name in UTF-16, up to the first zero.
    pub name: [u16; 36],
    /// Byte offset on the disk.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
}

/// What a candidate place for a header turned out to hold.
enum Found {
    Sound(Gpt),
    /// A header, but damaged; with the byte offset at which it says its other copy is.
    Damaged {
        other: Option<u64>,
    },
    Nothing,
}

impl Gpt {
    /// Reads the primary table, or the backup when the primary is missing or damaged.
    ///
    /// # Errors
    /// [`Error::NoGpt`], [`Error::GptDamaged`], [`Error::Device`].
    pub fn read<D: BlockDevice>(disk: &mut Disk<D>) -> Result<Self, Error<D::Error>> {
        let own = disk.sector_size();
        let mut damaged = false;
        let mut unreadable = None;
        for block in [own, 512, 2048, 4096] {
            let mut candidates = [Some(u64::from(block)), None];
            candidates[1] = disk.len().and_then(|len| len.checked_sub(u64::from(block)));
            for (at, which) in candidates.into_iter().zip([Which::Primary, Which::Backup]) {
                let Some(at) = at else { continue };
                match Self::header(disk, at, block, which) {
                    Ok(Found::Sound(gpt)) => return Ok(gpt),
                    Ok(Found::Damaged { other }) => {
                        damaged = true;
                        // The image may have been copied to a larger disk: then its backup is not at the end.
                        if let Some(other) = other
                            && let Ok(Found::Sound(gpt)) = Self::header(disk, other, block, Which::Backup)
                        {
                            return Ok(gpt);
                        }
                    }
                    Ok(Found::Nothing) | Err(Error::PastEndOfDisk) => {}
                    Err(error) => unreadable = Some(error),
                }
            }
        }
        match unreadable {
            Some(error) => Err(error),
            None if damaged => Err(Error::GptDamaged),
            None => Err(Error::NoGpt),
        }
    }

    /// Judges what stands at byte offset `at` as a header of a table with blocks of `block` bytes.
    fn header<D: BlockDevice>(disk: &mut Disk<D>, at: u64, block: u32, which: Which) -> Result<Found, Error<D::Error>> {
        let mut header = [0; HEADER];
        disk.read(at, &mut header)?;
        if header.get(..8) != Some(b"EFI PART".as_slice()) {
            return Ok(Found::Nothing);
        }
        let in_bytes = |lba: u64| lba.checked_mul(u64::from(block));
        let other = in_bytes(le64(&header, 32)).filter(|other| *other != at);
        match Self::parse(&mut header, at, block, which) {
            Some(gpt) if gpt.array_is_sound(disk, le32(&header, 88))? => Ok(Found::Sound(gpt)),
            _ => Ok(Found::Damaged { other }),
        }
    }

    /// The fields of a header whose own checksum is right. Clears the checksum field.
    fn parse(header: &mut [u8; HEADER], at: u64, block: u32, which: Which) -> Option<Self> {
        let size = usize::try_from(le32(header, 12)).ok()?;
        let checksum = le32(header, 16);
        if size < 92 {
            return None;
        }
        header.get_mut(16..20)?.fill(0);
        let mut crc = Crc32::new();
        crc.update(header.get(..size)?);
        let own_lba = le64(header, 24);
        if crc.value() != checksum || own_lba.checked_mul(u64::from(block)) != Some(at) {
            return None;
        }
        let (entry_count, entry_size) = (le32(header, 80), le32(header, 84));
        let array = u64::from(entry_count).checked_mul(u64::from(entry_size))?;
        if !(128..=ENTRY_MAX).contains(&entry_size) || array > ARRAY_MAX {
            return None;
        }
        Some(Self {
            block,
            disk_guid: bytes(header, 56),
            entry_count,
            which,
            entry_size,
            entries_at: le64(header, 72).checked_mul(u64::from(block))?,
        })
    }

    /// Whether the array of entries has this checksum.
    fn array_is_sound<D: BlockDevice>(self, disk: &mut Disk<D>, checksum: u32) -> Result<bool, Error<D::Error>> {
        let mut crc = Crc32::new();
        let mut left = u64::from(self.entry_count).saturating_mul(u64::from(self.entry_size));
        let mut at = self.entries_at;
        let mut piece = [0; 128];
        while left > 0 {
            let n = crate::field::short(left, piece.len());
            let Some(piece) = piece.get_mut(..n) else { break };
            match disk.read(at, piece) {
                Err(Error::PastEndOfDisk) => return Ok(false),
                other => other?,
            }
            crc.update(piece);
            at = at.saturating_add(long(n));
            left = left.saturating_sub(long(n));
        }
        Ok(crc.value() == checksum)
    }

    /// Entry number `index`, from 0; `None` when it is unused or there is no such entry.
    ///
    /// # Errors
    /// [`Error::PastEndOfDisk`] when the partition does not lie on the disk, [`Error::GptDamaged`] when it ends before it
    /// begins, [`Error::Device`].
    pub fn partition<D: BlockDevice>(&self, disk: &mut Disk<D>, index: u32) -> Result<Option<Partition>, Error<D::Error>> {
        if index >= self.entry_count {
            return Ok(None);
        }
        let mut raw = [0; 128];
        let skip = u64::from(index).saturating_mul(u64::from(self.entry_size));
        disk.read(self.entries_at.saturating_add(skip), &mut raw)?;
        let type_guid: Guid = bytes(&raw, 0);
        if type_guid == [0; 16] {
            return Ok(None);
        }
        let (first_lba, last_lba) = (le64(&raw, 32), le64(&raw, 40));
        if first_lba > last_lba {
            return Err(Error::GptDamaged);
        }
        let block = u64::from(self.block);
        let start = first_lba.checked_mul(block);
        let end = last_lba.checked_add(1).and_then(|lba| lba.checked_mul(block));
        let (Some(start), Some(end)) = (start, end) else {
            return Err(Error::PastEndOfDisk);
        };
        if disk.len().is_some_and(|len| end > len) {
            return Err(Error::PastEndOfDisk);
        }
        let mut name = [0; 36];
        for (unit, pair) in name.iter_mut().zip(raw.iter().skip(56).zip(raw.iter().skip(57)).step_by(2)) {
            *unit = u16::from_le_bytes([*pair.0, *pair.1]);
        }
        Ok(Some(Partition {
            type_guid,
            guid: bytes(&raw, 16),
            first_lba,
            last_lba,
            attributes: le64(&raw, 48),
            name,
            start,
            len: end.saturating_sub(start),
        }))
    }

    /// The first partition of a type.
    ///
    /// # Errors
    /// [`Error::NoPartition`], and those of [`Gpt::partition`] for the partition that is found.
    pub fn find<D: BlockDevice>(&self, disk: &mut Disk<D>, type_guid: &Guid) -> Result<Partition, Error<D::Error>> {
        let mut broken = None;
        for index in 0..self.entry_count {
            match self.partition(disk, index) {
                Ok(Some(partition)) if partition.type_guid == *type_guid => return Ok(partition),
                Ok(_) => {}
                // Another partition may be out of order without keeping us from ours.
                Err(Error::Device(error)) => return Err(Error::Device(error)),
                Err(error) => broken = Some(error),
            }
        }
        Err(broken.unwrap_or(Error::NoPartition))
    }
}
