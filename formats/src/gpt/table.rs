//! A table that others wrote: kept byte for byte, and moved where its disk has another size, or counted anew where it has other sectors.

use super::{Entry, HEADER_LEN, Header};
use crate::{
    Blob, Error, Result,
    mbr::Mbr,
    plain,
    units::{self, KIB, MIB, SECTOR},
};
use std::ops::Range;
use zerocopy::{FromBytes, little_endian::U32};

/// Bytes of the sectors that a disk's table counts in; the usual ones where it has no sound GPT.
///
/// # Errors
/// When the disk cannot be read.
pub fn sector_of(disk: &Blob) -> Result<u64> {
    Ok(Table::find(disk)?.map_or(SECTOR, |table| table.block()))
}

/// The sizes of blocks that disks have.
const BLOCKS: [u64; 2] = [SECTOR, 4 * KIB];
/// Where everybody has the entries of the primary table.
const PRIMARY_ARRAY: u64 = 2;
/// The largest array of entries that is believed, and the largest entry.
const ARRAY_MAX: u64 = MIB;
const ENTRY_MAX: u32 = 4096;

/// A table whose checksums are right.
#[derive(Clone, Debug)]
pub struct Table {
    /// Bytes of the blocks that it counts in.
    block: u64,
    /// The bytes of the header, as many as it says that it has.
    header: Vec<u8>,
    entries: Vec<u8>,
}

impl Table {
    /// The table of a disk, of blocks of 512 or of 4096 bytes: the primary one, or else the backup at the end.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn find(disk: &Blob) -> Result<Option<Self>> {
        for block in BLOCKS {
            for lba in [1, (disk.len() / block).saturating_sub(1)] {
                if let Some(table) = Self::at(disk, block, lba)? {
                    return Ok(Some(table));
                }
            }
        }
        Ok(None)
    }

    /// Bytes of the blocks that it counts in: the logical sectors of the disk that it was made for.
    pub fn block(&self) -> u64 {
        self.block
    }

    /// Puts both copies where a disk of this length has them, and leaves nothing where the backup was; a protective MBR covers the
    /// whole disk again. Where a partition is in the way, nothing is done.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn fit(&self, disk: &mut Blob) -> Result<bool> {
        let (last, array_blocks) = (disk.len() / self.block - 1, units::bytes(self.entries.len()).div_ceil(self.block));
        let fields = self.fields();
        let (primary_array, old_backup) = match fields.my_lba.get() {
            1 => (fields.partition_entry_lba.get(), fields.alternate_lba.get()),
            // Only the backup is sound: the entries go where everybody has them.
            backup => (PRIMARY_ARRAY, backup),
        };
        let backup_array = last.saturating_sub(array_blocks);
        let is_in_the_way = |used: &Range<u64>| used.end > backup_array || used.start < primary_array + array_blocks;
        if backup_array < primary_array + array_blocks || self.partitions().any(|used| is_in_the_way(&used)) {
            return Ok(false);
        }
        Self::erase(disk, self.block, old_backup)?;
        let entries = Blob::bytes(self.entries.as_slice());
        for (my, alternate, array) in [(1, last, primary_array), (last, 1, backup_array)] {
            self.put(disk, array, &entries);
            self.put(disk, my, &Blob::from(self.header(my, alternate, array, backup_array - 1)));
        }
        if let Some(mbr) = Mbr::parse(&disk.read_array(0)?).and_then(|mbr| mbr.covering(last)) {
            disk.replace(0, &Blob::bytes(mbr.to_bytes()));
        }
        Ok(true)
    }

    /// Bytes that its disk has at least: up to the last partition, and the backup behind it.
    pub fn len_min(&self) -> u64 {
        let end = self.partitions().map(|used| used.end).max().unwrap_or_default();
        let backup_blocks = units::bytes(self.entries.len()).div_ceil(self.block) + 1;
        end.saturating_add(backup_blocks).saturating_mul(self.block)
    }

    /// The same table in blocks of another size; nothing is left of both copies of this one, and [`Table::fit`] writes the new ones.
    /// `moved` is the first byte of a partition, and what it is to be.
    ///
    /// # Errors
    /// Names the partition that cannot be counted in such blocks, or is where the table would be. When the disk cannot be read.
    pub fn recounted(&self, disk: &mut Blob, block: u64, moved: Option<(u64, u64)>) -> Result<Self> {
        let front = PRIMARY_ARRAY * block + units::bytes(self.entries.len()).next_multiple_of(block);
        let mut entries = self.entries.clone();
        let each = units::index(self.fields().size_of_partition_entry.get().into());
        for (index, entry) in entries.chunks_exact_mut(each).enumerate() {
            let (entry, _) = Entry::mut_from_prefix(entry).expect("entries are as long as one");
            if entry.partition_type_guid == [0; 16] {
                continue;
            }
            let name = entry.name();
            let start = entry.starting_lba.get().saturating_mul(self.block);
            let start = moved.filter(|(from, _)| *from == start).map_or(start, |(_, to)| to);
            let end = entry.ending_lba.get().saturating_add(1).saturating_mul(self.block);
            let refuse = |what: String| Err(Error::unsupported(format!("partition {} '{}' {what}", index + 1, plain::line(&name))));
            for (word, at) in [("begins", start), ("ends", end)] {
                if !at.is_multiple_of(block) {
                    return refuse(format!("{word} at byte {at}, for sectors of {block} bytes it must be a multiple of {block}"));
                }
            }
            if start < front {
                return refuse(format!("begins at byte {start}, where a table for sectors of {block} bytes stands, up to {front}"));
            }
            entry.starting_lba = (start / block).into();
            entry.ending_lba = (end / block).saturating_sub(1).into();
        }
        for lba in [1, self.fields().alternate_lba.get(), self.fields().my_lba.get()] {
            Self::erase(disk, self.block, lba)?;
        }
        let mut header = self.header.clone();
        let (fields, _) = Header::mut_from_prefix(&mut header).expect("it was read as one");
        fields.my_lba = 1.into();
        fields.alternate_lba = (disk.len() / block).saturating_sub(1).into();
        fields.first_usable_lba = (front / block).into();
        fields.partition_entry_lba = PRIMARY_ARRAY.into();
        fields.partition_entry_array_crc32 = crc32fast::hash(&entries).into();
        Ok(Self { block, header, entries })
    }

    /// Leaves nothing where a copy of a table is, but for what partitions use.
    fn erase(disk: &mut Blob, block: u64, lba: u64) -> Result<()> {
        let Some(old) = Self::at(disk, block, lba)? else { return Ok(()) };
        let array = old.fields().partition_entry_lba.get();
        for blocks in [lba..lba + 1, array..array + units::bytes(old.entries.len()).div_ceil(block)] {
            if !old.partitions().any(|used| used.start < blocks.end && blocks.start < used.end) {
                old.put(disk, blocks.start, &Blob::zeros((blocks.end - blocks.start) * block));
            }
        }
        Ok(())
    }

    /// The table whose header is at a block, if both have their checksums and the header says that it is there.
    fn at(disk: &Blob, block: u64, lba: u64) -> Result<Option<Self>> {
        let inside = |start: Option<u64>, len: u64| {
            let start = start.and_then(|lba| lba.checked_mul(block))?;
            start.checked_add(len).filter(|end| *end <= disk.len()).map(|end| start..end)
        };
        let Some(place) = inside(Some(lba), block) else { return Ok(None) };
        let mut header = disk.slice(place).to_vec(block)?;
        let (fields, _) = Header::read_from_prefix(&header).expect("a block holds a header");
        let size = fields.header_size.get();
        if fields.signature != *b"EFI PART" || !(u64::from(HEADER_LEN)..=block).contains(&size.into()) {
            return Ok(None);
        }
        header.truncate(units::index(size.into()));
        let (count, each) = (u64::from(fields.number_of_partition_entries.get()), fields.size_of_partition_entry.get());
        let is_sized = (128..=ENTRY_MAX).contains(&each) && count * u64::from(each) <= ARRAY_MAX;
        if checksum(&mut header) != fields.header_crc32.get() || fields.my_lba.get() != lba || !is_sized {
            return Ok(None);
        }
        let Some(array) = inside(Some(fields.partition_entry_lba.get()), count * u64::from(each)) else { return Ok(None) };
        let entries = disk.slice(array).to_vec(ARRAY_MAX)?;
        let is_sound = crc32fast::hash(&entries) == fields.partition_entry_array_crc32.get();
        Ok(is_sound.then_some(Self { block, header, entries }))
    }

    fn fields(&self) -> Header {
        Header::read_from_prefix(&self.header).expect("it was read as one").0
    }

    /// The blocks of each partition.
    fn partitions(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let each = units::index(self.fields().size_of_partition_entry.get().into());
        self.entries.chunks_exact(each).filter_map(|entry| {
            let (entry, _) = Entry::read_from_prefix(entry).ok()?;
            (entry.partition_type_guid != [0; 16]).then(|| entry.starting_lba.get()..entry.ending_lba.get().saturating_add(1))
        })
    }

    fn put(&self, disk: &mut Blob, lba: u64, piece: &Blob) {
        disk.replace(lba * self.block, piece);
    }

    /// The header of one of the copies.
    fn header(&self, my_lba: u64, alternate_lba: u64, array: u64, last_usable: u64) -> Vec<u8> {
        let mut bytes = self.header.clone();
        let (fields, _) = Header::mut_from_prefix(&mut bytes).expect("it was read as one");
        fields.my_lba = my_lba.into();
        fields.alternate_lba = alternate_lba.into();
        fields.partition_entry_lba = array.into();
        fields.last_usable_lba = last_usable.into();
        let checksum = checksum(&mut bytes);
        let (fields, _) = Header::mut_from_prefix(&mut bytes).expect("it was read as one");
        fields.header_crc32 = checksum.into();
        bytes
    }
}

/// The checksum that a header must have; its field is cleared.
fn checksum(header: &mut [u8]) -> u32 {
    let (fields, _) = Header::mut_from_prefix(header).expect("it was read as one");
    fields.header_crc32 = U32::ZERO;
    crc32fast::hash(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Ids,
        gpt::{Gpt, LINUX_DATA, Partition},
    };

    /// A disk of ours, with a partition of `last` as its last block.
    fn disk(len: u64, last: u64) -> Blob {
        let ids = Ids::from_seed(b"table");
        let part =
            |name: &str, bytes| Partition { type_guid: LINUX_DATA, guid: ids.guid(name), name: name.to_owned(), attributes: 0, bytes };
        let mut disk = Blob::zeros(len);
        disk.splice(0, &Blob::bytes(Mbr::protective([7; 440], len / SECTOR).to_bytes()));
        Gpt { block: SECTOR, disk_guid: ids.guid("disk"), partitions: vec![part("a", MIB..(last + 1) * SECTOR)] }.write(&mut disk).unwrap();
        disk
    }

    #[test]
    fn a_table_that_was_moved_is_the_one_that_a_disk_of_that_size_gets() {
        let last = 8191 - 33;
        for more in [1, 31, 32, 33, 2048] {
            let mut grown = disk(4 * MIB, last);
            let table = Table::find(&grown).unwrap().unwrap();
            grown.extend_to(4 * MIB + more * SECTOR);
            assert!(table.fit(&mut grown).unwrap());
            let wanted = disk(grown.len(), last);
            assert!(grown.to_vec(u64::MAX).unwrap() == wanted.to_vec(u64::MAX).unwrap(), "{more}");
        }
    }

    #[test]
    fn the_backup_alone_is_enough_and_no_copy_is_none() {
        let mut damaged = disk(4 * MIB, 4095);
        damaged.replace(600, &Blob::bytes(*b"!"));
        let table = Table::find(&damaged).unwrap().unwrap();
        damaged.extend_to(5 * MIB);
        assert!(table.fit(&mut damaged).unwrap());
        assert!(damaged.to_vec(u64::MAX).unwrap() == disk(5 * MIB, 4095).to_vec(u64::MAX).unwrap());
        let mut neither = damaged.clone();
        neither.replace(600, &Blob::bytes(*b"!"));
        neither.replace(5 * MIB - 512 + 88, &Blob::bytes(*b"!"));
        assert!(Table::find(&neither).unwrap().is_none() && Table::find(&Blob::default()).unwrap().is_none());
    }

    #[test]
    fn a_table_that_was_recounted_is_the_one_that_a_disk_of_such_sectors_gets() {
        let mut counted = disk(4 * MIB, 4095);
        let before = counted.to_vec(u64::MAX).unwrap();
        for block in [4096, SECTOR] {
            let table = Table::find(&counted).unwrap().unwrap().recounted(&mut counted, block, None).unwrap();
            assert_eq!((table.block(), table.len_min()), (block, 2 * MIB + 16_384 + block));
            assert!(table.fit(&mut counted).unwrap());
            let found = Table::find(&counted).unwrap().unwrap();
            assert!(found.partitions().eq(std::iter::once(MIB / block..2 * MIB / block)) && found.block() == block);
            let fields = found.fields();
            let front = crate::gpt::front_len(block) / block;
            assert_eq!((fields.first_usable_lba.get(), fields.alternate_lba.get()), (front, 4 * MIB / block - 1));
        }
        assert!(counted.to_vec(u64::MAX).unwrap() == before, "there and back again");
    }

    #[test]
    fn what_cannot_be_recounted_is_named() {
        let refused = |last: u64, moved| {
            let mut disk = disk(4 * MIB, last);
            Table::find(&disk).unwrap().unwrap().recounted(&mut disk, 4096, moved).unwrap_err().to_string()
        };
        assert_eq!(refused(4096, None), "partition 1 'a' ends at byte 2097664, for sectors of 4096 bytes it must be a multiple of 4096");
        assert!(refused(4095, Some((MIB, MIB + 512))).contains("begins at byte 1049088"));
        let early = refused(4095, Some((MIB, 20_480)));
        assert!(early.ends_with("begins at byte 20480, where a table for sectors of 4096 bytes stands, up to 24576"), "{early}");
    }

    #[test]
    fn a_partition_in_the_way_stays() {
        // Its last block is where the backup's entries are, as no table of ours has it.
        let mut other = disk(4 * MIB, 4095);
        let mut table = Table::find(&other).unwrap().unwrap();
        table.entries[40..48].copy_from_slice(&8192_u64.to_le_bytes());
        other.extend_to(4 * MIB + SECTOR);
        let before = other.to_vec(u64::MAX).unwrap();
        assert!(!table.fit(&mut other).unwrap() && other.to_vec(u64::MAX).unwrap() == before);
    }
}
