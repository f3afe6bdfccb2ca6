//! Each container as QEMU opens it, booted by a real Debian kernel on both firmwares.

use crate::support::{
    guest::Arch,
    images::{CONTAINERS, Images},
    qemu::{Bus, Machine},
};
use std::sync::OnceLock;

fn images() -> &'static Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let images = Images::of_debian("nightly-containers", Arch::Amd64, 2, &["--format", "raw"]);
        images.convert_to_containers(&[]);
        images
    })
}

#[test]
fn bios_boots_each() {
    for (file, format) in CONTAINERS {
        images().boots_debian(file, format, Bus::VirtioBlk, Machine::bios(), "bios");
    }
}

#[test]
fn uefi_boots_each() {
    for (file, format) in CONTAINERS {
        images().boots_debian(file, format, Bus::VirtioBlk, Machine::uefi(), "efi");
    }
}

/// Neither AAVMF nor our loader unpacks a kernel: on disks it is unpacked.
#[test]
fn arm64_with_a_compressed_kernel() {
    let images = Images::of_debian_compressed("nightly-containers-arm64", "vhd,vhdx,vmdk");
    for (file, format) in [("guest.vhd", "vpc"), ("guest.vhdx", "vhdx"), ("guest.vmdk", "vmdk")] {
        images.boots_debian(file, format, Bus::VirtioBlk, Machine::arm64().limit(400), "efi");
    }
}
