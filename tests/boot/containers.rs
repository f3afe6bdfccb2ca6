//! Each container as QEMU opens it, booted by a real Debian kernel on both firmwares.

use crate::support::{
    guest::Arch,
    images::Images,
    qemu::{Bus, Machine},
};
use std::sync::OnceLock;

fn images() -> &'static Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let images = Images::of_debian("boot-containers", Arch::Amd64, 2, &["--format", "vhd,vhdx,vmdk,vdi"]);
        images.convert(&["--format", "dynamic-vhd", "--name", "dynamic"]);
        images.convert(&["--format", "vmdk", "--opt", "subformat=monolithicSparse", "--name", "sparse"]);
        images.convert(&["--format", "qcow2", "-c", "--opt", "compression_type=zstd", "--name", "packed"]);
        images
    })
}

fn boots(file: &str, format: &str) {
    for (machine, firmware) in [(Machine::bios(), "bios"), (Machine::uefi(), "efi")] {
        let console = machine.disk(Bus::VirtioBlk, &images().path(file), format).run_until("MOBY-MARKER-");
        console.expect("MOBY-MARKER-OK").expect(&format!("MOBY-FIRMWARE {firmware}\n"));
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
