//! A system of our own, the two ways that `tests/all` leaves out.

use crate::support::{
    qemu::{Bus, Machine},
    scratch, system,
};

#[test]
fn it_runs_from_a_disk_on_uefi_and_from_a_cd_on_bios() {
    let directory = scratch("nightly-system");
    system::write(&directory);
    system::build(&directory, "qcow2,iso");
    system::runs(&directory, Machine::uefi(), Bus::VirtioBlk, "system.qcow2", "qcow2", "efi");
    system::runs(&directory, Machine::bios(), Bus::Cd, "system.iso", "raw", "bios");
}
