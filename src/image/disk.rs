//! Looking into a disk with the reader that the loaders use: partitions, the boot entry, and the files that it names.

use super::{Image, booted::Booted};
use crate::{
    error::{At, Error, Result},
    loaders::EFI_LOADERS,
};
use bootfs::{
    BlockDevice, Volume,
    choose::{EntryFile, choose},
    entry,
    fat::File,
    gpt,
};
use formats::{Blob, Env, Guid, Spool, iso9660, units};
use std::{
    fmt,
    io::{self, Read},
};

/// A blob as the loaders see a disk.
#[derive(Debug)]
struct Device<'a>(&'a Blob);

const SECTOR: u32 = 512;

impl BlockDevice for Device<'_> {
    type Error = Error;

    fn sector_size(&self) -> u32 {
        SECTOR
    }

    fn sector_count(&self) -> Option<u64> {
        Some(self.0.len() / u64::from(SECTOR))
    }

    fn read(&mut self, first: u64, into: &mut [u8]) -> Result<()> {
        let offset = first.checked_mul(u64::from(SECTOR)).ok_or_else(|| Error::bad_input("a sector number beyond 2^64 bytes"))?;
        self.0.read_at(offset, into)
    }
}

/// A partition.
#[derive(Clone, Debug)]
pub struct Partition {
    /// Its place in the table, from 1.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_guid: Guid,
    /// Its identity.
    pub guid: Guid,
    /// First byte on the disk.
    pub start: u64,
    /// Bytes.
    pub len: u64,
}

fn bad(error: impl fmt::Display) -> Error {
    Error::bad_input(error.to_string())
}

fn open(disk: &Blob) -> Result<bootfs::Disk<Device<'_>>> {
    bootfs::Disk::new(Device(disk)).map_err(bad)
}

/// The partitions of a disk, in the order of its table.
///
/// # Errors
/// When there is no sound GPT.
pub fn partitions(disk: &Blob) -> Result<Vec<Partition>> {
    let mut device = open(disk)?;
    let table = gpt::Gpt::read(&mut device).map_err(bad)?;
    let mut found = Vec::new();
    for index in 0..table.entry_count {
        if let Some(partition) = table.partition(&mut device, index).map_err(bad)? {
            let name = partition.name.split(|unit| *unit == 0).next().unwrap_or_default();
            found.push(Partition {
                number: index + 1,
                name: String::from_utf16_lossy(name),
                type_guid: Guid::from_mixed_endian(partition.type_guid),
                guid: Guid::from_mixed_endian(partition.guid),
                start: partition.start,
                len: partition.len,
            });
        }
    }
    Ok(found)
}

/// What the loaders would boot, for this `architecture` as the Boot Loader Specification names it (`x64`, `aa64`).
///
/// The files are copied to the spool.
///
/// # Errors
/// In the loaders' own words, when they would refuse the disk.
pub fn boot(disk: &Blob, architecture: &str, spool: &mut Spool) -> Result<Booted> {
    let mut device = open(disk)?;
    let table = gpt::Gpt::read(&mut device).map_err(bad)?;
    let esp = table.find(&mut device, &gpt::ESP).map_err(bad)?;
    let mut volume = Volume::open(device, esp.start, esp.len).map_err(bad)?;
    let (mut best, mut spare) = (EntryFile::new(), EntryFile::new());
    choose(&mut volume, architecture, &mut best, &mut spare).map_err(bad).at(|| entry::DIRECTORY)?;
    let entry = best.entry().map_err(bad).at(|| best.name().to_owned())?;
    let linux = entry.linux().ok_or_else(|| Error::bad_input("has no linux line")).at(|| best.name().to_owned())?;
    let mut file = |path: &str| read(&mut volume, path, spool).map(|body| (path.to_owned(), body));
    Ok(Booted {
        entry: best.name().to_owned(),
        kernel: file(linux)?,
        initrds: entry.initrds().map(&mut file).collect::<Result<_>>()?,
        cmdline: entry.options().collect::<Vec<_>>().join(" "),
    })
}

/// What the loaders would boot, of the first architecture that has an entry.
///
/// # Errors
/// As [`boot`].
pub fn boot_any(disk: &Blob, spool: &mut Spool) -> Result<Booted> {
    let mut refused = None;
    for loader in EFI_LOADERS {
        match boot(disk, loader.name, spool) {
            Err(error) => refused = Some(error),
            found => return found,
        }
    }
    Err(refused.unwrap_or_else(|| Error::bad_input("there is no loader")))
}

/// A file of the EFI system partition.
///
/// # Errors
/// When there is no such partition or file.
pub fn esp_file(disk: &Blob, path: &str, spool: &mut Spool) -> Result<Blob> {
    let mut device = open(disk)?;
    let table = gpt::Gpt::read(&mut device).map_err(bad)?;
    let esp = table.find(&mut device, &gpt::ESP).map_err(bad)?;
    let mut volume = Volume::open(device, esp.start, esp.len).map_err(bad)?;
    read(&mut volume, path, spool)
}

/// What a disk boots, taken apart. A CD is its own root file system where it has no other; one that others made may have nothing else
/// that we know of, and then the kernel is empty.
///
/// # Errors
/// As [`boot`], and when the initrd or the CD's file system is damaged.
pub fn image(disk: &Blob, env: &mut Env) -> Result<Image> {
    let is_cd = iso9660::probe(disk)?;
    let mut image = match boot_any(disk, &mut env.spool) {
        Ok(booted) => booted.image(env)?,
        Err(_) if is_cd => Image::default(),
        Err(error) => return Err(error),
    };
    if is_cd && image.rootfs.names.is_empty() {
        image.rootfs = iso9660::read(disk).at(|| "ISO 9660")?;
    }
    Ok(image)
}

/// A file of the boot partition.
fn read(volume: &mut Volume<Device<'_>>, path: &str, spool: &mut Spool) -> Result<Blob> {
    let file = volume.file(path).map_err(bad).at(|| path.to_owned())?;
    spool.copy(&mut Reader { volume, file, at: 0 }).at(|| path.to_owned())
}

struct Reader<'a, 'b> {
    volume: &'a mut Volume<Device<'b>>,
    file: File,
    at: u32,
}

impl Read for Reader<'_, '_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.file.size() - self.at).unwrap_or(usize::MAX);
        let n = to.len().min(left);
        self.volume.read(&mut self.file, self.at, &mut to[..n]).map_err(bad)?;
        self.at += u32::try_from(units::bytes(n)).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(n)
    }
}
