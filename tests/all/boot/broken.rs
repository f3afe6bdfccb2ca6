//! What cannot boot says why: on the serial port, and under BIOS on the screen.

use super::testkernel::small;
use crate::support::{
    images::Disk,
    qemu::{Bus, Console, Machine},
};

/// What both loaders begin an error with.
const REFUSAL: &str = "moby: cannot boot: ";

/// Spoils a disk and boots it; the reason must be given on every console there is.
fn bios_refuses(name: &str, reason: &str, machine: Machine, spoil: impl Fn(&Disk)) -> Disk {
    let disk = small().disk(name);
    spoil(&disk);
    refused(machine, &disk).expect(reason).expect_on_screen(REFUSAL).expect_on_screen(reason);
    disk
}

/// The same disk under both firmwares.
fn both_refuse(name: &str, reason: &str, spoil: impl Fn(&Disk)) {
    let disk = bios_refuses(name, reason, Machine::bios(), spoil);
    refused(Machine::uefi(), &disk).expect(reason);
}

fn refused(machine: Machine, disk: &Disk) -> Console {
    machine.disk(Bus::VirtioBlk, &disk.path, "raw").run_until(REFUSAL)
}

#[test]
fn kernel_missing() {
    both_refuse("kernel-missing.img", "file not found", |disk| disk.delete(&disk.entry().linux));
}

#[test]
fn initrd_missing() {
    both_refuse("initrd-missing.img", "file not found", |disk| disk.delete(&disk.entry().initrd));
}

#[test]
fn entry_missing() {
    both_refuse("entry-missing.img", "no entry", Disk::delete_entry);
}

#[test]
fn initrd_truncated() {
    both_refuse("initrd-truncated.img", "truncated", |disk| disk.break_chain(&disk.entry().initrd));
}

#[test]
fn kernel_not_a_kernel() {
    both_refuse("not-a-kernel.img", "not ", |disk| disk.write(&disk.entry().linux, &[b'x'; 100_000]));
}

#[test]
fn cmdline_too_long() {
    both_refuse("cmdline-too-long.img", "2047", |disk| disk.set_options(&"x".repeat(2048)));
}

#[test]
fn gpt_damaged() {
    bios_refuses("gpt-damaged.img", "GPT damaged", Machine::bios(), |disk| {
        disk.damage(512 + 56, &[0xff; 16]);
        disk.damage(disk.len() - 512 + 56, &[0xff; 16]);
    });
}

#[test]
fn esp_not_fat() {
    bios_refuses("esp-not-fat.img", "not FAT", Machine::bios(), |disk| disk.damage(disk.esp(), &[0; 512]));
}

#[test]
fn too_little_memory() {
    bios_refuses("memory.img", "memory", Machine::bios().memory(8), |_| ());
}

/// These come before the loader can say more: stage1 and the first instructions of stage2.
#[test]
fn no_long_mode() {
    let console = Machine::bios().cpu("qemu32").disk(Bus::VirtioBlk, &small().path("guest.img"), "raw").run_until("no 64-bit mode");
    console.expect_on_screen("no 64-bit mode");
}

#[test]
fn stage2_wiped() {
    let disk = small().disk("stage2-wiped.img");
    disk.damage(34 * 512, &[0; 64 << 10]);
    let console = Machine::bios().disk(Bus::VirtioBlk, &disk.path, "raw").run_until("moby stage1: ");
    console.expect_on_screen("moby stage1: ");
}
