//! Reads images that the usual tools wrote: sgdisk, mkfs.vfat, mtools. A missing tool is a failure.

#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]

mod disk;
mod fat;
mod gpt;
mod support;
