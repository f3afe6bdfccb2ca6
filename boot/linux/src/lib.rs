//! The Linux boot protocol as pure functions: what a loader must know about a kernel, and what it must hand over.
//!
//! ```text
//!  bzImage head ── SetupHeader::parse ─┐
//!  E820 records ── MemoryMap ──────────┼── Placement::plan ── zero_page::fill ── jump
//!  sizes of kernel and initrd ─────────┘
//! ```
//!
//! Standards: Documentation/arch/x86/boot.rst (protocol 2.10 and later, 32-bit entry), zero-page.rst, ACPI 6.5 section 15.4
//! (E820), Documentation/arch/arm64/booting.rst. No allocation, no `unsafe`: the same code runs in the BIOS loader, in the
//! host tool's `inspect` and under Miri.

#![no_std]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

#[cfg(test)]
extern crate std;

pub mod arm64;
mod e820;
mod error;
mod field;
mod placement;
mod setup;
pub mod zero_page;

pub use e820::{Kind, MemoryMap, Region, Usable};
pub use error::Error;
pub use placement::Placement;
pub use setup::{HEAD_LEN, SetupHeader};
