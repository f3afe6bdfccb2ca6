//! What process 1 of a container image that boots is told, reads and says, as functions over bytes.
//!
//! ```text
//!  /.moby/config ── Config::parse ─┬─ identity ── uid, gid, groups        modules.alias, .dep, .softdep ── modules
//!  /proc/cmdline ── cmdline ───────┤                                      ▲ modalias of a device, of a uevent
//!                                  ├─ address ── ip=          dhcp ── lease ─┐
//!                                  └─ disk ── PARTUUID                       └─ netlink ── the kernel
//! ```
//!
//! `boot/init` is all that does something; the host tool writes the configuration with the code that will read it. Nothing here trusts what
//! it reads: an image, a disk and a DHCP server may be hostile, and get an error, never a panic and never an endless loop.

#![no_std]
#![cfg_attr(test, allow(clippy::as_conversions, clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::unwrap_used))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod address;
pub mod cmdline;
pub mod config;
pub mod dhcp;
pub mod disk;
pub mod identity;
pub mod lease;
pub mod mapper;
pub mod modules;
pub mod netlink;
pub mod pattern;
pub mod signal;
pub mod uevent;

pub use config::Config;
