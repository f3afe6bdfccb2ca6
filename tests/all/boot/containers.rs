//! Each container as QEMU opens it, booted on both firmwares by the test kernel. `tests/nightly` repeats it with Debian.

use super::testkernel;
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
        let images = Images::of_test_kernel("boot-containers", 2, "kernel+initrd,vhd,vhdx,vmdk,vdi");
        for (format, options, name) in [
            ("dynamic-vhd", [].as_slice(), "dynamic"),
            ("vmdk", &["--opt", "subformat=monolithicSparse"], "sparse"),
            ("qcow2", &["-c", "--opt", "compression_type=zstd"], "packed"),
        ] {
            let same = ["--initrd-compression", "none", "--format", format, "--name", name];
            images.convert(&[same.as_slice(), options].concat());
        }
        images
    })
}

fn boots(file: &str, format: &str) {
    for machine in [Machine::bios(), Machine::uefi()] {
        testkernel::boots_as(images(), file, format, Bus::VirtioBlk, machine);
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
    let kernel = scratch("boot-containers-arm64-kernel").join("kernel.gz");
    run("sh", ["-c", "gzip -1 <\"$1\" >\"$2\"", "sh", text(&Arch::Arm64.debian("kernel")), text(&kernel)]);
    let arguments = ["--format", "vhdx", "--kernel", text(&kernel), "--arch", "arm64"];
    let images = Images::of_debian("boot-containers-arm64", Arch::Arm64, 2, &arguments);
    images.boots_debian("guest.vhdx", "vhdx", Bus::VirtioBlk, Machine::arm64().limit(400), "efi");
}
