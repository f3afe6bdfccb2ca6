//! A system of our own from its yml to its services: Debian's kernel, busybox, runc and containerd, in images that we make here.

use crate::support::{
    qemu::{Bus, Machine},
    scratch,
    system::{self, SAID},
    text,
    tools::{finish, moby},
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = scratch("system");
    system::write(&directory);
    build(&directory, "qcow2,iso,tar");
    directory
});

fn build(directory: &Path, formats: &str) {
    let images = format!("oci-layout:{}", directory.join("images").display());
    let yml = directory.join("system.yml");
    finish(moby().args(["build", text(&yml), "-f", formats, "--offline", "--images", &images, "--dir", text(directory)])).success();
}

/// Boots it, and fails unless every container said what it found, one after the other.
fn runs(machine: Machine, bus: Bus, file: &str, format: &str, firmware: &str) {
    let console = machine.memory(1536).limit(400).disk(bus, &DIRECTORY.join(file), format).run_until("SYSTEM done");
    let mut console = console.refuse("SYSTEM BAD").expect(&format!("SYSTEM init on {firmware}"));
    for line in SAID {
        console = console.expect(line);
    }
    // The one capability that the second container has: CAP_NET_ADMIN, number 12.
    let console = console.expect("CapEff:\t0000000000001000");
    let places: Vec<_> = SAID.iter().map(|line| console.serial.find(line)).collect();
    assert!(places.is_sorted(), "in another order: {places:?}");
}

#[test]
fn it_runs_from_a_disk_on_bios() {
    runs(Machine::bios(), Bus::VirtioBlk, "system.qcow2", "qcow2", "bios");
}

#[test]
fn it_runs_from_a_cd_on_uefi() {
    runs(Machine::uefi(), Bus::Cd, "system.iso", "raw", "efi");
}

#[test]
fn it_runs_from_a_disk_on_uefi_and_from_a_cd_on_bios() {
    runs(Machine::uefi(), Bus::VirtioBlk, "system.qcow2", "qcow2", "efi");
    runs(Machine::bios(), Bus::Cd, "system.iso", "raw", "bios");
}

/// The way through the tar and the way in one go end at the same bytes.
#[test]
fn a_build_is_the_conversion_of_its_tar() {
    let converted = DIRECTORY.join("converted.qcow2");
    finish(moby().args(["convert", text(&DIRECTORY.join("system.tar")), "-o", text(&converted)])).success();
    assert!(fs::read(converted).unwrap() == fs::read(DIRECTORY.join("system.qcow2")).unwrap());
}
