//! Writing sparse extents ("Hosted Sparse Extent Metadata"): all tables in front, twice, then the grains.

use super::{DESCRIPTOR_AT, GRAIN, Header, TABLE_ENTRIES, directory_len, flags, sector};
use crate::{Blob, blocks::Table, units::SECTOR};
use zerocopy::IntoBytes;

/// Bytes of a grain table.
const TABLE: u64 = TABLE_ENTRIES * 4;

/// The extent of a disk, or of a part of it, with a descriptor, which is empty where it is in another file.
pub(super) fn encode(disk: &Blob, descriptor: &Blob) -> Blob {
    let tables = disk.len().div_ceil(GRAIN * TABLE_ENTRIES);
    let redundant_at = DESCRIPTOR_AT * SECTOR + descriptor.len();
    let metadata_len = directory_len(disk) + tables * TABLE;
    let directory_at = redundant_at + metadata_len;
    let grains_at = (directory_at + metadata_len).next_multiple_of(GRAIN);

    let mut header = Header::new(disk);
    header.flags = (flags::LINE_ENDS | flags::REDUNDANT).into();
    if descriptor.is_empty() {
        (header.descriptor_offset, header.descriptor_size) = (0.into(), 0.into());
    }
    header.redundant_directory = (redundant_at / SECTOR).into();
    header.directory = (directory_at / SECTOR).into();
    header.overhead = (grains_at / SECTOR).into();
    let mut file = header.blob();
    file.append(descriptor);

    let (entries, payload) = grains(disk, grains_at, tables * TABLE);
    for directory_at in [redundant_at, directory_at] {
        file.append(&directory(disk, directory_at + directory_len(disk), tables));
        file.append(&entries);
    }
    file.extend_to(grains_at);
    file.append(&payload);
    file
}

/// The grain tables, which follow one another and so are one long table, and the grains that have data.
fn grains(disk: &Blob, grains_at: u64, tables_len: u64) -> (Blob, Blob) {
    let mut entries = Table::filled_with(0);
    let mut payload = Blob::default();
    for run in disk.data_units(GRAIN) {
        let places = run.clone().map(|grain| grains_at + payload.len() + (grain - run.start) * GRAIN);
        entries.put(run.start * 4, places.flat_map(entry).collect());
        payload.append(&disk.slice(run.start * GRAIN..run.end * GRAIN));
    }
    (entries.finish(tables_len), payload)
}

/// A grain directory whose tables start at `tables_at`.
fn directory(disk: &Blob, tables_at: u64, tables: u64) -> Blob {
    let mut directory = Blob::bytes((0..tables).flat_map(|table| entry(tables_at + table * TABLE)).collect::<Vec<u8>>());
    directory.extend_to(directory_len(disk));
    directory
}

fn entry(offset: u64) -> [u8; 4] {
    let sector = sector(offset).expect("SPARSE_SIZE_MAX leaves room for the tables");
    sector.as_bytes().try_into().expect("4 bytes")
}
