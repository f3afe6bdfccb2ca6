//! A system of our own from its yml to its services: Debian's kernel, busybox, runc and containerd, in images that we make here.

use crate::support::{
    qemu::{Bus, Machine},
    scratch, system, text,
    tools::{finish, moby},
};
use std::{fs, path::PathBuf, sync::LazyLock};

static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = scratch("system");
    system::write(&directory);
    system::build(&directory, "qcow2,iso,tar");
    directory
});

#[test]
fn it_runs_from_a_disk_on_bios() {
    system::runs(&DIRECTORY, Machine::bios(), Bus::VirtioBlk, "system.qcow2", "qcow2", "bios");
}

#[test]
fn it_runs_from_a_cd_on_uefi() {
    system::runs(&DIRECTORY, Machine::uefi(), Bus::Cd, "system.iso", "raw", "efi");
}

/// The way through the tar and the way in one go end at the same bytes.
#[test]
fn a_build_is_the_conversion_of_its_tar() {
    let converted = DIRECTORY.join("converted.qcow2");
    finish(moby().args(["convert", text(&DIRECTORY.join("system.tar")), "-o", text(&converted)])).success();
    assert!(fs::read(converted).unwrap() == fs::read(DIRECTORY.join("system.qcow2")).unwrap());
}
