//! Every format judged by others: what we write, foreign programs read; what they write, we read.
//!
//! `tests/setup.sh` installs the programs; a missing one is a failure. All of it is one program, so that it is linked once.

// The outside is POSIX: modes, hard links, devices.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

mod containers;
mod cpio_oracle;
mod erofs;
mod iso_oracle;
mod kernels;
mod oci;
mod secure_boot;
mod squashfs;
mod support;
mod tar_mutants;
mod tar_oracle;
mod volumes;
