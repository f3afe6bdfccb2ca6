//! A disk that is to have other logical sectors: its GPT is counted anew, and our BIOS loader is told of them. What partitions hold stays.

use crate::{
    error::{Error, Result},
    image::{disk, file_system},
    loaders::{self, Stage2},
};
use formats::{
    Blob,
    gpt::{Table, front_len},
    iso9660, plain,
};

/// The table for sectors of so many bytes, which is not yet on the disk.
///
/// # Errors
/// Names the partition that cannot be had in such sectors, or says that the disk is a CD, too. When the disk cannot be read.
pub(super) fn recounted(disk: &mut Blob, table: &Table, sector: u64) -> Result<Table> {
    if iso9660::probe(disk)? {
        let what = format!("the disk is a CD, too, and what boots from there would not be found with sectors of {sector} bytes");
        return Err(Error::unsupported(what).hint("leave --sector-size out"));
    }
    let moved = match loaders::stage2_of(disk)? {
        Some(found) => move_stage2(disk, &found, sector)?,
        None => None,
    };
    table.recounted(disk, sector, moved)
}

/// Puts our stage2, with which its partition begins, where it is whole sectors and does not stand in the table's way, and tells stage1.
/// Gives where it was and where it is.
fn move_stage2(disk: &mut Blob, found: &Stage2, sector: u64) -> Result<Option<(u64, u64)>> {
    let at = found.at.max(front_len(sector)).next_multiple_of(sector);
    let has_room = |part: &disk::Partition| part.start == found.at && part.start.saturating_add(part.len) >= at + found.len;
    if !disk::partitions(disk)?.iter().any(has_room) {
        return Ok(None);
    }
    let body = disk.slice(found.at..found.at + found.len);
    disk.replace(found.at, &Blob::zeros(found.len));
    disk.replace(at, &body);
    let mut code = disk.read_array(0)?;
    loaders::point(&mut code, at, found.len, sector);
    disk.replace(0, &Blob::bytes(code));
    Ok(Some((found.at, at)))
}

/// What will not be mounted any more, by name: Linux takes no file system whose blocks are smaller than the sectors of its disk.
///
/// # Errors
/// When the disk cannot be read.
pub(super) fn warnings(disk: &Blob, sector: u64) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for part in disk::partitions(disk)? {
        let Some(range) = part.range(disk.len()) else { continue };
        let volume = disk.slice(range);
        let block = file_system::block(&volume)?.filter(|block| *block < sector);
        if let (Some(block), Some(name)) = (block, file_system::of(&volume)?) {
            let (number, label) = (part.number, plain::line(&part.name));
            warnings.push(format!(
                "partition {number} '{label}' is {name} of {block}-byte blocks, which Linux does not mount on sectors of {sector} bytes: \
                 make it anew"
            ));
        }
    }
    Ok(warnings)
}
