//! Disk, file system, archive and container formats as functions from bytes to bytes.
//!
//! A format is a pure function between [`Blob`]s. This library opens no path, prints nothing, and knows no clock, no
//! randomness and no environment: what it may not invent comes in through [`Env`].

pub mod blob;
mod blocks;
mod calendar;
pub mod check;
pub mod compare;
pub mod compress;
pub mod cpio;
mod crc32c;
pub mod dump;
pub mod erofs;
pub mod error;
pub mod fat;
pub mod gpt;
pub mod guid;
pub mod info;
pub mod iso9660;
pub mod kernel;
pub mod mbr;
pub mod options;
pub mod ova;
pub mod parallel;
pub mod qcow2;
pub mod raw;
mod reading;
pub mod spool;
pub mod squashfs;
pub mod tar;
pub mod tree;
pub mod uki;
pub mod units;
pub mod vdi;
pub mod verity;
pub mod vhd;
pub mod vhdx;
pub mod vmdk;
pub mod zeros;

pub use blob::Blob;
pub use check::Check;
pub use error::{At, Error, Kind, Result};
pub use guid::{Guid, Ids};
pub use info::Info;
pub use options::{OptionSpec, Options, Values};
pub use reading::{Parts, Reading};
pub use spool::Spool;
pub use tree::Tree;

use dump::Dump;
use std::{fmt, num::NonZeroUsize, sync::Arc};

/// Every container format, in the order users see.
pub static FORMATS: &[&dyn Format] = &[&raw::Raw, &qcow2::Qcow2, &vhd::Vhd, &vhdx::Vhdx, &vmdk::Vmdk, &vdi::Vdi];

/// The format called `name`.
pub fn format(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.name() == name)
}

/// A container: how a disk, which is what the guest sees, becomes a file, which is what the host keeps.
pub trait Format: fmt::Debug + Sync {
    /// The name users give it, as `qemu-img` has it where it knows the format.
    fn name(&self) -> &'static str;

    /// Which disks it can hold.
    fn limits(&self, _options: &Options) -> Limits {
        Limits::default()
    }

    /// Its options.
    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    /// Whether a file is of this format, by its magic.
    ///
    /// # Errors
    /// When the file cannot be read.
    fn probe(&self, file: &Blob) -> Result<bool>;

    /// The file that holds `disk`, whose length keeps to [`Format::limits`]; anything else is a planner bug and panics.
    ///
    /// # Errors
    /// When the disk cannot be read or the spool not be written.
    fn encode(&self, disk: &Blob, options: &Options, env: &mut Env) -> Result<Blob>;

    /// The disk that a file holds. The file may be hostile.
    ///
    /// # Errors
    /// When the file is malformed, or uses a feature that we refuse.
    fn decode(&self, file: &Blob, env: &mut Env) -> Result<Blob>;

    /// The disk that a file holds, read as asked.
    ///
    /// # Errors
    /// As [`Format::decode`], and when the format does not have what is asked for.
    fn decode_as(&self, file: &Blob, reading: &Reading<'_>, env: &mut Env) -> Result<Blob> {
        reading.refuse_snapshot(self.name())?;
        self.decode(file, env)
    }

    /// What a file says about itself besides the disk.
    ///
    /// # Errors
    /// When its header is malformed.
    fn info(&self, _file: &Blob) -> Result<Info> {
        Ok(Info::default())
    }

    /// What is wrong with a file. Most formats have nothing to compare their tables with: then what [`Format::decode`] refuses is
    /// what is wrong.
    ///
    /// # Errors
    /// When the file cannot be read, or is of a kind that we do not check ([`Kind::Unsupported`]).
    fn check(&self, file: &Blob, env: &mut Env) -> Result<Check> {
        let mut check = Check::default();
        check.decoded(self.decode(file, env))?;
        Ok(check)
    }

    /// The structures of a file as text.
    ///
    /// # Errors
    /// As [`Format::decode`].
    fn dump(&self, file: &Blob, to: &mut Dump) -> Result<()>;
}

/// Which disk sizes a container can hold. The layout must know before it places the backup GPT at the last LBA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The size is a multiple of this many bytes: a power of two, at least 512.
    pub size_multiple: u64,
    /// The largest size in bytes.
    pub size_max: u64,
}

impl Default for Limits {
    /// Whole MiB, as large as a file may be.
    fn default() -> Self {
        Self { size_multiple: units::MIB, size_max: i64::MAX as u64 & !(units::MIB - 1) }
    }
}

impl Limits {
    /// Limits that satisfy both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { size_multiple: self.size_multiple.max(other.size_multiple), size_max: self.size_max.min(other.size_max) }
    }

    /// Panics when `disk` breaks the limits: whoever laid it out did not ask.
    pub(crate) fn assert_hold(&self, disk: &Blob) {
        let Self { size_multiple, size_max } = self;
        let fits = disk.len().is_multiple_of(*size_multiple) && disk.len() <= *size_max;
        assert!(fits, "a disk of {} bytes, must be a multiple of {size_multiple}, at most {size_max}", disk.len());
    }
}

/// Seconds since 1970-01-01 00:00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// Everything that a pure function may not invent.
#[derive(Debug)]
pub struct Env {
    /// Where bytes of unknown length go.
    pub spool: Spool,
    /// The identifiers.
    pub ids: Ids,
    /// The time that is written where a format demands one.
    pub time: Timestamp,
    /// How many threads may work. It never changes a result.
    pub threads: NonZeroUsize,
    /// Who is told about progress.
    pub progress: Arc<dyn Progress>,
}

/// Is told how long work goes on.
pub trait Progress: fmt::Debug + Send + Sync {
    /// That many more bytes of input were worked on.
    fn advance(&self, bytes: u64);
}

/// Tells nobody.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {
    fn advance(&self, _: u64) {}
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// An environment for unit tests.
    pub(crate) fn env() -> Env {
        Env {
            spool: Spool::new(tempfile::tempfile().expect("a temporary file")),
            ids: Ids::from_seed(b"test"),
            time: Timestamp(1_700_000_000),
            threads: NonZeroUsize::new(2).expect("2 is not 0"),
            progress: Arc::new(Silent),
        }
    }
}
