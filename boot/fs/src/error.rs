//! What can be wrong with a medium, in the words that the user of a machine that does not boot will read.

use core::fmt;

/// Why a disk, a file system or a file could not be read. `E` is the device's own error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error<E> {
    /// The device failed to read.
    Device(E),
    /// The device's sector size, in bytes, is none of 512, 1024, 2048, 4096.
    SectorSize(u32),
    /// Something lies past the last sector of the device: the image was cut short, or a table lies.
    PastEndOfDisk,
    /// Neither a primary nor a backup GPT header was found.
    NoGpt,
    /// A GPT header was found, but neither copy is sound.
    GptDamaged,
    /// The GPT is sound but has no partition of the wanted type.
    NoPartition,
    /// The partition holds no FAT file system.
    NotFat,
    /// A directory entry or the file allocation table contradicts itself.
    ChainBroken,
    /// No such file or directory.
    NotFound,
    /// The path names a directory where a file is needed.
    IsDirectory,
    /// The path goes through a file as if it were a directory.
    NotDirectory,
    /// A read past the end of a file.
    PastEndOfFile,
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Device(error) => return write!(f, "read error ({error})"),
            Error::SectorSize(found) => {
                return write!(f, "sectors of {found} bytes, not 512, 1024, 2048 or 4096");
            }
            Error::PastEndOfDisk => "past the end of the disk (image cut short?)",
            Error::NoGpt => "no GPT",
            Error::GptDamaged => "GPT damaged (bad checksum)",
            Error::NoPartition => "no EFI system partition",
            Error::NotFat => "EFI system partition is not FAT",
            Error::ChainBroken => "file system damaged (FAT chain broken, truncated)",
            Error::NotFound => "file not found",
            Error::IsDirectory => "is a directory",
            Error::NotDirectory => "not a directory",
            Error::PastEndOfFile => "read past the end of the file",
        })
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for Error<E> {}
