//! Each container as QEMU opens it, booted by a real Debian kernel on both firmwares.

use crate::support::{
    guest::Arch,
    images::Images,
    qemu::{Bus, Machine},
    scratch, text,
    tools::run,
};
use std::sync::OnceLock;

fn images() -> &'static Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let images = Images::of_debian("nightly-containers", Arch::Amd64, 2, &["--format", "vhd,vhdx,vmdk,vdi"]);
        images.convert(&["--format", "dynamic-vhd", "--name", "dynamic"]);
        images.convert(&["--format", "vmdk", "--opt", "subformat=monolithicSparse", "--name", "sparse"]);
        images.convert(&["--format", "qcow2", "-c", "--opt", "compression_type=zstd", "--name", "packed"]);
        images
    })
}

fn boots(file: &str, format: &str) {
    for (machine, firmware) in [(Machine::bios(), "bios"), (Machine::uefi(), "efi")] {
        images().boots_debian(file, format, Bus::VirtioBlk, machine, firmware);
    }
}

#[test]
fn vhd() {
    boots("guest.vhd", "vpc");
    boots("dynamic.vhd", "vpc");
}

#[test]
fn vhdx() {
    boots("guest.vhdx", "vhdx");
}

#[test]
fn vmdk() {
    boots("guest.vmdk", "vmdk");
    boots("sparse.vmdk", "vmdk");
}

#[test]
fn vdi() {
    boots("guest.vdi", "vdi");
}

#[test]
fn compressed_qcow2() {
    boots("packed.qcow2", "qcow2");
}

/// Neither AAVMF nor our loader unpacks a kernel: on disks it is unpacked.
#[test]
fn arm64_with_a_compressed_kernel() {
    let kernel = scratch("nightly-containers-arm64-kernel").join("kernel.gz");
    run("sh", ["-c", "gzip -1 <\"$1\" >\"$2\"", "sh", text(&Arch::Arm64.debian("kernel")), text(&kernel)]);
    let arguments = ["--format", "vhd,vhdx,vmdk", "--kernel", text(&kernel), "--arch", "arm64"];
    let images = Images::of_debian("nightly-containers-arm64", Arch::Arm64, 2, &arguments);
    for (file, format) in [("guest.vhd", "vpc"), ("guest.vhdx", "vhdx"), ("guest.vmdk", "vmdk")] {
        images.boots_debian(file, format, Bus::VirtioBlk, Machine::arm64().limit(400), "efi");
    }
}
