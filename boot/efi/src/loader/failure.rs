//! Why the machine does not boot, in the words of the BIOS loader.

use core::fmt;

use bootefi::KernelError;
use r_efi::efi::Status;

const MIB: u64 = 1 << 20;

/// What went wrong, and where: a path of the boot partition, or a part of the entry.
pub(super) struct Failure<'a> {
    pub(super) place: &'a str,
    pub(super) reason: Reason,
}

/// What went wrong.
pub(super) enum Reason {
    /// No entry to boot.
    Entry(bootfs::entry::Error),
    /// A file cannot be read.
    File(bootfs::Error<Status>),
    /// The kernel is none, or none for this machine and command line.
    Kernel(KernelError),
    /// More `initrd` lines than there is room for.
    TooManyInitrds(usize),
    /// Neither kernel nor initrd fits; bytes needed for each.
    Memory { kernel: u64, initrd: u64 },
    /// Secure Boot is on, and what an entry names is only partly covered by signatures.
    NotCovered,
    /// The unified kernel image that we are has no good command line.
    Uki(bootfs::uki::Error),
    /// A call into the firmware failed.
    Firmware(&'static str, Status),
    /// The kernel ended instead of running.
    CameBack(Status),
}

impl Reason {
    pub(super) fn at(self, place: &str) -> Failure<'_> {
        Failure { place, reason: self }
    }

    /// What a status of a file operation means.
    pub(super) fn file(status: Status) -> Self {
        Self::File(match status {
            Status::NOT_FOUND => bootfs::Error::NotFound,
            Status::VOLUME_CORRUPTED => bootfs::Error::ChainBroken,
            other => bootfs::Error::Device(other),
        })
    }
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Memory is nobody's: no place before it.
        match self.reason {
            Reason::Memory { .. } => self.reason.fmt(f),
            _ => write!(f, "{}: {}", self.place, self.reason),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(error) => error.fmt(f),
            Self::File(bootfs::Error::Device(status)) => write!(f, "read error ({})", Words(*status)),
            Self::File(error) => error.fmt(f),
            Self::Kernel(error) => error.fmt(f),
            Self::TooManyInitrds(most) => write!(f, "more than {most} initrd lines"),
            Self::Memory { kernel, initrd: 0 } => write!(f, "not enough memory: kernel needs {} MiB", kernel.div_ceil(MIB)),
            Self::Memory { kernel, initrd } => {
                let (kernel, initrd) = (kernel.div_ceil(MIB), initrd.div_ceil(MIB));
                write!(f, "not enough memory: kernel needs {kernel} MiB, initrd {initrd} MiB")
            }
            Self::NotCovered => {
                f.write_str("Secure Boot is on, and no signature covers this entry's initrd and options: use a signed image")
            }
            Self::Uki(error) => error.fmt(f),
            Self::Firmware(call, status) => write!(f, "{call}: {}", Words(*status)),
            Self::CameBack(status) => write!(f, "kernel ended: {}", Words(*status)),
        }
    }
}

/// A status in the specification's words where they are likely, as a number where they are not.
pub(super) struct Words(pub(super) Status);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.description() {
            Some(words) => f.write_str(words),
            None => write!(f, "status {:#x}", self.0.as_usize()),
        }
    }
}
