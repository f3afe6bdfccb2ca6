//! Writing dynamic disks with an empty log.

use super::{
    Dynamic, FileParameters, HEADER_SECTION, HEADERS_AT, Header, MetadataTableEntry, MetadataTableHeader, PHYSICAL_SECTOR,
    REGION_TABLES_AT, RegionTableEntry, RegionTableHeader, TABLE_LEN, bat_entries, block_state, chunk_ratio, known, metadata_flags, narrow,
};
use crate::{
    Blob,
    blocks::Table,
    crc32c::crc32c,
    guid::{Guid, Ids},
    units::{self, MIB},
};
use zerocopy::IntoBytes;

const LOG_AT: u64 = HEADER_SECTION;
const LOG_LEN: u64 = MIB;
const METADATA_AT: u64 = LOG_AT + LOG_LEN;
const METADATA_LEN: u64 = MIB;
const BAT_AT: u64 = METADATA_AT + METADATA_LEN;

/// A file of a disk.
pub(super) fn encode(disk: &Blob, plan: &Dynamic, ids: &Ids) -> Blob {
    let Dynamic { block_size, sector } = *plan;
    let ratio = chunk_ratio(block_size, sector);
    let entries = bat_entries(disk.len().div_ceil(block_size), ratio, false);
    let bat_len = (entries * 8).next_multiple_of(MIB).max(MIB);
    let (bat, payload) = blocks(disk, block_size, ratio, entries, BAT_AT + bat_len);

    let mut file = file_identifier();
    for (number, at) in (1..).zip(HEADERS_AT) {
        file.extend_to(at);
        file.append(&header(number, ids));
    }
    let regions = region_table(bat_len);
    for at in REGION_TABLES_AT {
        file.extend_to(at);
        file.append(&regions);
    }
    file.extend_to(METADATA_AT);
    file.append(&metadata(disk, plan, ids));
    file.extend_to(BAT_AT);
    file.append(&bat);
    file.extend_to(BAT_AT + bat_len);
    file.append(&payload);
    file
}

/// The BAT and the blocks that have data, which start at `start`.
fn blocks(disk: &Blob, block_size: u64, ratio: u64, entries: u64, start: u64) -> (Blob, Blob) {
    let mut chunk = block_state::ZERO.to_le_bytes().repeat(units::index(ratio));
    chunk.extend(0_u64.to_le_bytes());
    let mut bat = Table::repeating(Blob::bytes(chunk));
    let mut payload = Blob::default();
    for run in disk.data_units(block_size) {
        let mut bytes = Vec::new();
        for block in run.clone() {
            if block != run.start && block.is_multiple_of(ratio) {
                bytes.extend(0_u64.to_le_bytes());
            }
            let at = start + payload.len() + (block - run.start) * block_size;
            bytes.extend((((at / MIB) << 20) | block_state::FULLY_PRESENT).to_le_bytes());
        }
        bat.put((run.start + run.start / ratio) * 8, bytes);
        payload.append(&disk.slice(run.start * block_size..disk.len().min(run.end * block_size)));
        payload.pad_to(block_size);
    }
    (bat.finish(entries * 8), payload)
}

/// Section 2.2.1: the signature and who wrote it, in UTF-16.
fn file_identifier() -> Blob {
    let mut bytes = b"vhdxfile".to_vec();
    bytes.extend("moby".encode_utf16().flat_map(u16::to_le_bytes));
    Blob::bytes(bytes)
}

fn header(sequence_number: u64, ids: &Ids) -> Blob {
    let mut header = Header {
        signature: *b"head",
        checksum: 0.into(),
        sequence_number: sequence_number.into(),
        file_write_guid: ids.guid("vhdx file write").to_mixed_endian(),
        data_write_guid: ids.guid("vhdx data write").to_mixed_endian(),
        log_guid: [0; 16],
        log_version: 0.into(),
        version: 1.into(),
        log_length: narrow(LOG_LEN),
        log_offset: LOG_AT.into(),
        reserved: [0; 4016],
    };
    header.checksum = header.right_checksum().into();
    Blob::bytes(header.as_bytes())
}

fn region_table(bat_len: u64) -> Blob {
    let entry = |guid: Guid, at: u64, len| RegionTableEntry {
        guid: guid.to_mixed_endian(),
        file_offset: at.into(),
        length: narrow(len),
        required: 1.into(),
    };
    let entries = [entry(known::BAT, BAT_AT, bat_len), entry(known::METADATA, METADATA_AT, METADATA_LEN)];
    let mut header = RegionTableHeader { signature: *b"regi", checksum: 0.into(), entry_count: 2.into(), reserved: 0.into() };
    let table = |header: &RegionTableHeader| {
        let mut bytes = [header.as_bytes(), entries.as_bytes()].concat();
        bytes.resize(units::index(TABLE_LEN), 0);
        bytes
    };
    header.checksum = crc32c(&table(&header)).into();
    Blob::bytes(table(&header))
}

/// The metadata table and, behind it, its items.
fn metadata(disk: &Blob, plan: &Dynamic, ids: &Ids) -> Blob {
    use metadata_flags::{IS_REQUIRED, IS_VIRTUAL_DISK};
    let parameters = FileParameters { block_size: narrow(plan.block_size), flags: 0.into() };
    let items = [
        (known::FILE_PARAMETERS, IS_REQUIRED, parameters.as_bytes().to_vec()),
        (known::VIRTUAL_DISK_SIZE, IS_REQUIRED | IS_VIRTUAL_DISK, disk.len().to_le_bytes().to_vec()),
        (known::VIRTUAL_DISK_ID, IS_REQUIRED | IS_VIRTUAL_DISK, ids.guid("vhdx disk").to_mixed_endian().to_vec()),
        (known::LOGICAL_SECTOR_SIZE, IS_REQUIRED | IS_VIRTUAL_DISK, narrow(plan.sector).to_bytes().to_vec()),
        (known::PHYSICAL_SECTOR_SIZE, IS_REQUIRED | IS_VIRTUAL_DISK, narrow(PHYSICAL_SECTOR).to_bytes().to_vec()),
    ];
    let mut header = MetadataTableHeader { signature: *b"metadata", reserved: 0.into(), entry_count: 0.into(), reserved2: [0; 20] };
    let (mut entries, mut values) = (Vec::new(), Vec::new());
    for (id, flags, value) in items {
        let entry = MetadataTableEntry {
            item_id: id.to_mixed_endian(),
            offset: narrow(TABLE_LEN + units::bytes(values.len())),
            length: narrow(units::bytes(value.len())),
            flags: flags.into(),
            reserved: 0.into(),
        };
        header.entry_count += 1;
        entries.extend_from_slice(entry.as_bytes());
        values.extend_from_slice(&value);
    }
    let mut region = Blob::bytes([header.as_bytes(), &entries].concat());
    region.extend_to(TABLE_LEN);
    region.append(&Blob::bytes(values));
    region
}
