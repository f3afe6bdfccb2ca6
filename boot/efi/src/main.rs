//! The EFI loader: an EFI application for x86-64 and AArch64.
//!
//! Entered by the firmware's boot manager as `/EFI/BOOT/BOOTX64.EFI` or `BOOTAA64.EFI`, it boots the entry of
//! `/loader/entries` on its own partition that comes first. With a `.linux` section of its own it is the stub of a unified
//! kernel image, and boots that.
#![cfg_attr(target_os = "uefi", no_std, no_main)]

#[cfg(not(target_os = "uefi"))]
fn main() {}

#[cfg(target_os = "uefi")]
mod loader;
