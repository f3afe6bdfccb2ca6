//! The `moby` program as a library: what reads images, lays out disks and writes artifacts.
//!
//! The library never talks to the user: [`cli`] is the only part that prints, and everything else tells a
//! [`convert::Reporter`]. [`emit`] is the only part that writes outputs.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod bootable;
pub mod cli;
pub mod convert;
pub mod emit;
pub mod error;
pub mod filled;
pub mod image;
mod images;
mod in_use;
pub mod input;
pub mod layout;
pub mod lint;
pub mod linuxkit;
pub mod loaders;
mod losses;
pub mod names;
pub mod outputs;
mod payload;
mod plan;
pub mod platforms;
pub mod process;
#[cfg(feature = "net")]
pub mod push;
mod recipes;
pub mod request;
mod root;
mod run;
pub mod secure_boot;
#[cfg_attr(not(feature = "net"), path = "no_stores.rs")]
mod stores;
mod taking_back;
mod targets;
mod ui;
mod unified;
