//! A real Debian kernel on every bus that our loaders read.

use crate::support::{
    guest::Arch,
    images::{Images, disk_of_program},
    initrd,
    qemu::{Board, Bus, Firmware, Machine},
    text,
    tools::convert_in,
};
use std::sync::OnceLock;

fn amd64() -> &'static Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    IMAGES.get_or_init(|| Images::of_debian("nightly-debian", Arch::Amd64, 5, &["--format", "raw,qcow2,raw-bios,qcow2-efi"]))
}

/// Tests of the amd64 guest: name, board and firmware, bus, output, the firmware that the guest finds.
macro_rules! boots {
    ($($name:ident: $board:ident $firmware:ident $bus:ident $file:literal $found:literal;)*) => {$(
        #[test]
        fn $name() {
            let format = if $file.ends_with("qcow2") { "qcow2" } else { "raw" };
            amd64().boots_debian($file, format, Bus::$bus, Machine::new(Board::$board, Firmware::$firmware), $found);
        }
    )*};
}

boots! {
    bios_virtio_scsi: Pc SeaBios VirtioScsi "guest.img" "bios";
    bios_ahci: Q35 SeaBios Ahci "guest.img" "bios";
    bios_nvme: Pc SeaBios Nvme "guest.qcow2" "bios";
    bios_usb: Q35 SeaBios Usb "guest-bios.img" "bios";
    uefi_pc_virtio_blk: Pc Ovmf4M VirtioBlk "guest.qcow2" "efi";
    uefi_q35_nvme: Q35 Ovmf4M Nvme "guest-efi.qcow2" "efi";
}

#[test]
fn an_initrd_of_100_mb_arrives_whole() {
    let images = Images::of_debian("nightly-debian-100", Arch::Amd64, 100, &["--format", "qcow2"]);
    images.boots_debian("guest.qcow2", "qcow2", Bus::VirtioBlk, Machine::bios().memory(2048), "bios");
    images.boots_debian("guest.qcow2", "qcow2", Bus::VirtioBlk, Machine::uefi().memory(2048), "efi");
    images.remove();
}

#[test]
fn arm64() {
    let images = Images::of_debian("nightly-debian-arm64", Arch::Arm64, 5, &["--format", "qcow2-efi"]);
    images.boots_debian("guest-efi.qcow2", "qcow2", Bus::Nvme, Machine::arm64().limit(400), "efi");
}

#[test]
fn arm64_from_cd_and_disk() {
    let images = Images::of_debian("nightly-iso-arm64", Arch::Arm64, 5, &["--format", "iso"]);
    for bus in [Bus::CdScsi, Bus::VirtioBlk] {
        images.boots_debian("guest.iso", "raw", bus, Machine::arm64().limit(400), "efi");
    }
}

#[test]
fn arm64_with_its_root_in_a_partition() {
    let dir = initrd::guest("nightly-root-arm64", Arch::Arm64);
    let initrd = initrd::make(&dir, Arch::Arm64);
    let arguments = ["guest.tar", "--format", "qcow2", "--root", "erofs", "--ucode", text(&initrd)];
    convert_in(&dir, &arguments).success();
    let console = Machine::arm64().limit(400).disk(Bus::VirtioBlk, &dir.join("guest.qcow2"), "qcow2").run_until("MOBY-MARKER-");
    console.expect("MOBY-MARKER-OK").refuse("MOBY-BAD").expect("MOBY-ROOT-GOOD vda\n");
}

#[test]
fn arm64_from_a_unified_kernel_image() {
    let images = Images::of_debian("nightly-uki-arm64", Arch::Arm64, 2, &["--format", "uki"]);
    let disk = disk_of_program(&images.path("guest.efi"), "BOOTAA64.EFI");
    let console = Machine::arm64().limit(400).disk(Bus::VirtioBlk, &disk, "raw").run_until("MOBY-MARKER-");
    console.expect("MOBY-MARKER-OK aarch64").expect("MOBY-FIRMWARE efi\n");
}

#[test]
fn initrds_of_every_compression() {
    for compression in ["gzip", "zstd", "none", "lz4", "xz"] {
        let name = format!("nightly-debian-{compression}");
        let images = Images::of_debian(&name, Arch::Amd64, 9, &["--format", "raw", "--initrd-compression", compression]);
        images.boots_debian("guest.img", "raw", Bus::VirtioBlk, Machine::bios(), "bios");
    }
}
