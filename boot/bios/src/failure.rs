//! Why the machine does not boot.

use core::fmt;

use bootfs::choose::NoChoice;
use bootfs::uki;

use crate::disk::Status;

/// Initrd lines that an entry may have.
pub const INITRDS_MAX: usize = 16;

/// What went wrong.
#[derive(Debug)]
pub enum Reason {
    Disk(bootfs::Error<Status>),
    Choice(NoChoice<Status>),
    Uki(uki::Error),
    Kernel(bootlinux::Error),
    SectorSize(u8),
    NoMemoryMap,
    TooManyInitrds,
    TooLarge,
    Taken,
}

/// What went wrong, and with what: a path or a part of the disk; empty where the reason says it all.
#[derive(Debug)]
pub struct Failure<'a> {
    pub subject: &'a str,
    pub reason: Reason,
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.subject.is_empty() {
            write!(f, "{}: ", self.subject)?;
        }
        match &self.reason {
            Reason::Disk(error) => error.fmt(f),
            Reason::Choice(error) => error.fmt(f),
            Reason::Uki(error) => error.fmt(f),
            Reason::Kernel(error) => error.fmt(f),
            Reason::SectorSize(shift) => write!(f, "stage1 was patched with sector size 512 << {shift}"),
            Reason::NoMemoryMap => f.write_str("the BIOS has no memory map (INT 15h, E820h)"),
            Reason::TooManyInitrds => write!(f, "more than {INITRDS_MAX} initrd lines"),
            Reason::TooLarge => f.write_str("too large"),
            Reason::Taken => f.write_str("loader memory is in use"),
        }
    }
}

pub type Result<'a, T> = core::result::Result<T, Failure<'a>>;

/// Adds what a result is about.
pub trait About<T> {
    fn about(self, subject: &str) -> Result<'_, T>;
}

impl<T, E: Into<Reason>> About<T> for core::result::Result<T, E> {
    fn about(self, subject: &str) -> Result<'_, T> {
        self.map_err(|error| Failure { subject, reason: error.into() })
    }
}

impl From<bootfs::Error<Status>> for Reason {
    fn from(error: bootfs::Error<Status>) -> Self {
        Self::Disk(error)
    }
}

impl From<uki::Error> for Reason {
    fn from(error: uki::Error) -> Self {
        Self::Uki(error)
    }
}

impl From<bootlinux::Error> for Reason {
    fn from(error: bootlinux::Error) -> Self {
        Self::Kernel(error)
    }
}
