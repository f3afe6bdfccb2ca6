//! A user edits the EFI system partition with ordinary tools, and boots what he wrote.

use super::testkernel::small;
use crate::support::{
    guest::Arch,
    images::{Images, test_kernel},
    qemu::{Bus, Machine},
};
use std::fs;

#[test]
fn the_command_line_on_the_esp_is_what_boots() {
    let disk = small().disk("edited.img");
    disk.set_options("edited by=hand  with \"quotes\" % and \\");
    for machine in [Machine::bios(), Machine::uefi()] {
        let console = machine.disk(Bus::VirtioBlk, &disk.path, "raw").run();
        console.expect("TESTKERNEL cmdline [edited by=hand  with \"quotes\" % and \\]\n").exited(33);
    }
}

#[test]
fn the_kernel_on_the_esp_is_what_boots() {
    let images = Images::of_debian("boot-replaced", Arch::Amd64, 1, &["--format", "raw"]);
    let disk = images.disk("replaced.img");
    disk.write(&disk.entry().linux, &fs::read(test_kernel()).unwrap());
    for machine in [Machine::bios(), Machine::uefi()] {
        machine.disk(Bus::VirtioBlk, &disk.path, "raw").run().expect(&format!("TESTKERNEL cmdline [{}]", Arch::Amd64.cmdline())).exited(33);
    }
}

/// A failing disk loses the primary header first; the backup at the last LBA is as good.
#[test]
fn the_backup_gpt_is_enough() {
    let disk = small().disk("backup-gpt.img");
    disk.damage(512 + 56, &[0xff; 16]);
    for machine in [Machine::bios(), Machine::uefi()] {
        machine.disk(Bus::VirtioBlk, &disk.path, "raw").run().exited(33);
    }
}
