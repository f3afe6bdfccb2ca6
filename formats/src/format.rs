//! `Format`: a container, that is how a disk, which the guest sees, becomes a file, which the host keeps.

use crate::{Blob, Check, Env, Error, Identity, Info, OptionSpec, Options, Reading, Result, dump::Dump, units, zeros};
use std::fmt;

/// A container. All are rows of [`crate::FORMATS`].
pub trait Format: fmt::Debug + Sync {
    /// The name users give it, as `qemu-img` has it where it knows the format.
    fn name(&self) -> &'static str;

    /// Other names that users know it by.
    fn aliases(&self) -> &'static [&'static str] {
        &[]
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

    /// How a file with these options, which are of [`Format::options`], will be written. All that can be refused without the disk
    /// is refused here.
    ///
    /// # Errors
    /// When the options contradict each other, or the format is only read, which is the default.
    fn plan(&self, _options: &Options) -> Result<Box<dyn Plan>> {
        let hint = "choose another format for the output: moby formats";
        Err(Error::unsupported(format!("{} files are read, never written", self.name())).hint(hint))
    }

    /// Whether it is written.
    fn is_written(&self) -> bool {
        self.plan(&Options::defaults(self.options())).is_ok()
    }

    /// The disk that a file holds, read as asked. The file may be hostile.
    ///
    /// # Errors
    /// When the file is malformed, uses a feature that we refuse, or does not have what is asked for.
    fn decode(&self, file: &Blob, reading: &Reading<'_>, env: &mut Env) -> Result<Blob>;

    /// Whether a file has identifiers of its own, besides those on the disk.
    fn has_identifiers(&self) -> bool {
        false
    }

    /// Bytes of a logical sector, in which partition tables count, where the format speaks of them.
    ///
    /// # Errors
    /// As [`Format::decode`].
    fn sector(&self, _file: &Blob) -> Result<Option<u64>> {
        Ok(None)
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
    /// When the file cannot be read, or is of a kind that we do not check ([`crate::Kind::Unsupported`]).
    fn check(&self, file: &Blob, env: &mut Env) -> Result<Check> {
        let mut check = Check::default();
        check.decoded(self.decode(file, &Reading::default(), env))?;
        Ok(check)
    }

    /// The structures of a file as text.
    ///
    /// # Errors
    /// As [`Format::decode`].
    fn dump(&self, file: &Blob, to: &mut Dump) -> Result<()>;
}

/// How a file of a [`Format`] will be written: its options, understood.
pub trait Plan: fmt::Debug {
    /// Which disks it can hold.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// The same for a disk of logical sectors of so many bytes, not 512; nothing where a file says that it has others.
    fn with_sectors(&self, _size: u64) -> Option<Box<dyn Plan>> {
        None
    }

    /// How closely a disk must have been looked at for zeros before it is encoded: in no smaller units do they decide where other data goes,
    /// or what tables say. Nothing where they decide over nothing, or where encoding looks for them itself.
    fn unit(&self) -> Option<u64> {
        Some(zeros::UNIT)
    }

    /// The file that holds `disk`, whose length keeps to [`Plan::limits`]; anything else is a planner bug and panics.
    /// `identity` is asked only by formats that write identifiers.
    ///
    /// # Errors
    /// When the disk cannot be read or the spool not be written.
    fn encode(&self, disk: &Blob, identity: &Identity, env: &mut Env) -> Result<Blob>;

    /// The other files of a disk that is in several: their names, by which the file of [`Plan::encode`] knows them, and their bytes.
    fn extents(&self, _disk: &Blob) -> Vec<(String, Blob)> {
        Vec::new()
    }
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
    /// Whole sectors, as large as a file may be.
    fn default() -> Self {
        Self { size_multiple: units::SECTOR, size_max: i64::MAX as u64 & !(units::MIB - 1) }
    }
}

impl Limits {
    /// Any disk whose size is a multiple of this.
    pub fn multiple_of(size_multiple: u64) -> Self {
        Self { size_multiple, ..Self::default() }
    }

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
