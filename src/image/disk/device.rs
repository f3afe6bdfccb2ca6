//! A disk in the hands of the loaders' own reader.

use crate::error::{At, Error, Result};
use bootfs::{BlockDevice, Volume, fat::File};
use formats::{Blob, Spool, units};
use std::{
    fmt,
    io::{self, Read},
};

/// A blob as the loaders see a disk.
#[derive(Debug)]
pub(super) struct Device<'a>(&'a Blob);

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

pub(super) fn bad(error: impl fmt::Display) -> Error {
    Error::bad_input(error.to_string())
}

/// A disk, as the loaders read it.
pub(super) fn open(disk: &Blob) -> Result<bootfs::Disk<Device<'_>>> {
    bootfs::Disk::new(Device(disk)).map_err(bad)
}

/// A file of a FAT volume, copied to the spool.
pub(super) fn read(volume: &mut Volume<Device<'_>>, path: &str, spool: &mut Spool) -> Result<Blob> {
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
