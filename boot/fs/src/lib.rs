//! What a loader must read to find its kernel: a GPT, a FAT file system, the Boot Loader Specification entries in it, and the
//! sections of unified kernel images.
//!
//! ```text
//!  BlockDevice ── Disk ── Gpt::read ── find(ESP) ── Volume::open ── choose ── Entry ── open(linux), open(initrd)
//!  (sectors)     (bytes)                            (files)                  (text) └─ open(uki) ── Uki::parse
//! ```
//!
//! Read-only, without allocation and without `unsafe`: both loaders run it on bare machines, the host tool's `inspect` and
//! the tests run the same code on image files. Nothing here trusts the medium: a damaged or hostile disk gives an [`Error`],
//! never a panic and never an endless loop.
//!
//! Parsing and ordering of entries ([`entry`]) need no file system, so a loader may fetch them by its firmware's own driver.

#![no_std]

#[cfg(test)]
extern crate std;

pub mod choose;
mod crc32;
mod device;
pub mod entry;
mod error;
pub mod fat;
mod field;
pub mod gpt;
pub mod newc;
pub mod pe;
pub mod stage1;
pub mod uki;
mod version;

pub use crc32::Crc32;
pub use device::{BlockDevice, Disk};
pub use entry::Entry;
pub use error::Error;
pub use fat::Volume;
pub use gpt::Gpt;
pub use uki::Uki;
pub use version::compare as compare_versions;
