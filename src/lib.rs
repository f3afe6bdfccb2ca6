//! The `moby` program as a library: what reads images, lays out disks and writes artifacts.
//!
//! [`emit`] is the only part that writes outputs.

pub mod disk;
pub mod emit;
pub mod error;
pub mod image;
pub mod layout;
pub mod loaders;
pub mod ui;
