//! Stage 2 of the BIOS loader: finds the entry to boot on the EFI system partition, loads its kernel and initrd, starts it.
//!
//! `long_mode.s` brings the CPU here. The contract of [`stage2_main`]:
//!
//! 1. long mode, 4 GiB mapped to themselves, interrupts off, a stack of 128 KiB below `stack_end` of `bios.ld`;
//! 2. exceptions end in [`fault::exception`];
//! 3. BIOS interrupts are to be had by `bios_call`, and by nothing else;
//! 4. the addresses of `bios.ld` are ours, what lies at and above `free_from` is not unless the BIOS's memory map says so.

#![no_std]
#![no_main]

mod bios;
mod boot;
mod console;
mod disk;
mod entry;
mod failure;
mod fault;
mod memory;
mod parts;
mod ports;

use core::arch::global_asm;

global_asm!(include_str!("long_mode.s"), include_str!("fail.s"), include_str!("bios_call.s"), include_str!("entry.s"), options(att_syntax));

/// Called once, by `long_mode.s`.
#[unsafe(no_mangle)]
extern "sysv64" fn stage2_main(drive: u8, sector_shift: u8) -> ! {
    console::init();
    console::print(format_args!("moby loader (BIOS)\n"));
    boot::boot(drive, sector_shift)
}
