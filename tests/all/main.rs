//! What users care about: the program as they run it, judged by foreign programs and by booting what it made.
//!
//! All of it is one program, so that it is linked once; `cargo test --test all boot::` runs one module. The tests run side by side in one
//! process: none changes its directory or its environment, and every scratch directory has a name of its own.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

mod boot;
mod boot_efi;
mod boot_erofs;
mod bootable;
mod cli;
mod clouds;
mod compressed;
mod deploy;
mod disks;
mod filled;
mod foreign;
mod given_disks;
mod golden;
mod hostile;
mod identity;
mod image;
mod images;
mod iso;
mod kernel;
mod layout;
mod linuxkit;
mod oracle;
mod others;
mod ova;
mod packed;
mod plan;
mod platforms;
mod process;
mod push;
mod push_clouds;
mod root;
mod run;
mod sd_card;
mod signing;
mod split;
mod stores;
mod system;
mod tables;
mod tars;
mod tidy;
mod transcript;
mod trust;
mod uki;
mod vagrant;

#[path = "../support/mod.rs"]
mod support;
