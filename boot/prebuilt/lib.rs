//! The loaders and process 1 as committed. `boot/build` makes them, and its `--check` that they are what the sources give.
#![no_std]

/// The boot sector for BIOS; `bootfs::stage1` says what is patched into it.
pub static STAGE1: &[u8; 512] = include_bytes!("stage1.bin");
/// The BIOS loader.
pub static STAGE2: &[u8] = include_bytes!("stage2.bin");
/// The EFI loader for x86-64.
pub static BOOTX64: &[u8] = include_bytes!("bootx64.efi");
/// The EFI loader for AArch64.
pub static BOOTAA64: &[u8] = include_bytes!("bootaa64.efi");
/// Process 1 of a container image that boots, a static program for Linux on x86-64; `initconfig` says what it is told.
pub static INIT_X86_64: &[u8] = include_bytes!("init-x86_64");
/// The same for AArch64.
pub static INIT_AARCH64: &[u8] = include_bytes!("init-aarch64");
