//! A GPT disk made of partitions.

use crate::error::Result;
use formats::{
    Blob, Guid, Ids,
    gpt::{self, ALIGNMENT, Gpt},
    mbr::Mbr,
};

/// Bytes before the first aligned partition: the MBR, the primary table, stage2.
pub(super) const FRONT: u64 = ALIGNMENT;
/// Bytes behind the last one: the backup table, rounded so that a disk of whole MiB wastes nothing.
pub(super) const BACK: u64 = ALIGNMENT;
const _: () = assert!(gpt::back_len(4096) <= BACK);

/// A partition and what is in it.
#[derive(Debug)]
pub(super) struct Partition {
    /// Its name, of which its GUID is made, too: no two may be equal.
    pub(super) name: String,
    pub(super) type_guid: Guid,
    /// First byte on the disk.
    pub(super) start: u64,
    /// Bytes; whole sectors.
    pub(super) len: u64,
    /// The content; zeros follow up to the end of the partition.
    pub(super) body: Blob,
}

/// The GUID of the partition with this name.
pub(super) fn partition_guid(ids: &Ids, name: &str) -> Guid {
    ids.guid(&format!("partition {name}"))
}

/// Puts boot code, both tables and the partitions on a disk of sectors of so many bytes that has zeros there. Panics when partitions
/// overlap, leave the disk or meet something: a planner bug.
///
/// # Errors
/// When a name is too long for the table.
pub(super) fn write(disk: &mut Blob, sector: u64, boot_code: [u8; 440], partitions: &[Partition], ids: &Ids) -> Result<()> {
    disk.splice(0, &Blob::bytes(Mbr::protective(boot_code, disk.len() / sector).to_bytes()));
    let entry = |partition: &Partition| gpt::Partition {
        type_guid: partition.type_guid,
        guid: partition_guid(ids, &partition.name),
        name: partition.name.clone(),
        attributes: 0,
        bytes: partition.start..partition.start + partition.len,
    };
    let table = Gpt { block: sector, disk_guid: ids.guid("disk"), partitions: partitions.iter().map(entry).collect() };
    table.write(disk)?;
    for partition in partitions {
        assert!(partition.body.len() <= partition.len, "{} holds its content", partition.name);
        disk.splice(partition.start, &partition.body);
    }
    Ok(())
}
