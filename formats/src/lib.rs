//! Disk, file system, archive and container formats as functions from bytes to bytes.
//!
//! A format is a pure function between [`Blob`]s. This library opens no path, prints nothing, and knows no clock, no
//! randomness and no environment: what it may not invent comes in through [`Env`].
//!
//! ```
//! use formats::{Blob, Env, Error, Ids, Options, Reading};
//!
//! let env = &mut Env::scratch(2);
//! let disk = Blob::bytes(b"content ".repeat(1 << 17));
//! for format in formats::FORMATS.iter().filter(|format| format.is_written()) {
//!     let plan = format.plan(&Options::defaults(format.options()))?;
//!     let file = plan.encode(&disk, &Ids::from_seed(b"my disk").into(), env)?;
//!     let back = format.decode(&file, &Reading::default(), env)?;
//!     assert!(formats::compare::same(&back, &disk)?, "{}", format.name());
//! }
//! # Ok::<(), Error>(())
//! ```

pub mod ar;
pub mod authenticode;
pub mod blob;
mod blocks;
mod calendar;
pub mod check;
mod cms;
pub mod compare;
pub mod compress;
pub mod cpio;
mod crc32c;
mod der;
pub mod dump;
pub mod efivars;
pub mod elf;
mod env;
pub mod erofs;
pub mod error;
pub mod fat;
mod format;
pub mod gcp;
pub mod gpt;
pub mod guid;
pub mod info;
pub mod iso9660;
pub mod kernel;
pub mod likeness;
pub mod mbr;
pub mod modules;
mod numbers;
pub mod oci;
pub mod options;
pub mod ova;
pub mod package;
pub mod parallel;
pub mod parallels;
pub mod pcr;
pub mod pe;
pub mod plain;
pub mod qcow2;
pub mod qed;
pub mod raw;
mod reading;
pub mod signer;
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
pub mod x509;
pub mod zeros;
pub mod zip;

pub use blob::Blob;
pub use check::Check;
pub use env::{Env, Progress, Silent, Stage, Timestamp};
pub use error::{At, Error, Kind, Result};
pub use format::{Format, Limits, Plan};
pub use guid::{Guid, Identity, Ids};
pub use info::Info;
pub use options::{OptionSpec, Options, Values};
pub use reading::{Parts, Reading};
pub use spool::Spool;
pub use tree::Tree;

/// Every container format, in the order users see.
pub static FORMATS: &[&dyn Format] = &[
    // Written and read.
    &raw::Raw,
    &qcow2::Qcow2,
    &vhd::Vhd,
    &vhdx::Vhdx,
    &vmdk::Vmdk,
    &vdi::Vdi,
    // Read only.
    &qed::Qed,
    &parallels::Parallels,
];

/// The format called `name`, also by another name that users know it by.
pub fn format(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.name() == name || format.aliases().contains(&name))
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Adds up what is expected and what is done.
    #[derive(Debug, Default)]
    pub(crate) struct Counting {
        expected: AtomicU64,
        advanced: AtomicU64,
    }

    impl Counting {
        /// How much was expected and how much was done.
        pub(crate) fn told(&self) -> (u64, u64) {
            (self.expected.load(Ordering::Relaxed), self.advanced.load(Ordering::Relaxed))
        }
    }

    impl Progress for Counting {
        fn expect(&self, bytes: u64) {
            self.expected.fetch_add(bytes, Ordering::Relaxed);
        }

        fn advance(&self, bytes: u64) {
            let advanced = self.advanced.fetch_add(bytes, Ordering::Relaxed) + bytes;
            assert!(advanced <= self.told().0, "more is done than was expected");
        }
    }

    /// An environment for unit tests.
    pub(crate) fn env() -> Env {
        Env::scratch(2)
    }

    /// The identifiers of unit tests.
    pub(crate) fn ids() -> Ids {
        Ids::from_seed(b"test")
    }

    /// The file of a disk, with these options and the identifiers of unit tests.
    pub(crate) fn encode(format: &dyn Format, disk: &Blob, options: &[(&str, &str)]) -> Blob {
        let options = Options::parse(format.options(), options.iter().copied()).unwrap();
        format.plan(&options).unwrap().encode(disk, &ids().into(), &mut env()).unwrap()
    }

    /// The disk in a file.
    pub(crate) fn decode(format: &dyn Format, file: &Blob) -> Result<Blob> {
        format.decode(file, &Reading::default(), &mut env())
    }
}
