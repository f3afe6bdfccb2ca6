//! The `moby` program as a library: what reads images, lays out disks and writes artifacts.
//!
//! [`cli`] is the only part that prints; [`emit`] is the only part that writes outputs.

pub mod build;
pub mod cli;
pub mod disk;
pub mod emit;
pub mod error;
pub mod file_system;
pub mod image;
pub mod initrd;
pub mod input;
pub mod layout;
pub mod lint;
pub mod loaders;
pub mod outputs;
pub mod payload;
pub mod platforms;
pub mod root;
pub mod ui;
