//! A real Debian kernel, whose init checks its whole initrd.

use crate::support::{
    guest::{self, Arch},
    images::Images,
    qemu::{Board, Bus, Firmware, Machine},
    scratch, text, tools,
};
use std::sync::OnceLock;

fn amd64() -> &'static Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    IMAGES.get_or_init(|| Images::of_debian("boot-debian", Arch::Amd64, 5, &["--format", "raw,qcow2,raw-bios,qcow2-efi"]))
}

pub(crate) fn boots(images: &Images, file: &str, bus: Bus, machine: Machine, firmware: &str) {
    let format = if file.ends_with("qcow2") { "qcow2" } else { "raw" };
    let console = machine.disk(bus, &images.path(file), format).run_until("MOBY-MARKER-");
    console.expect("MOBY-MARKER-OK").expect(&format!("MOBY-FIRMWARE {firmware}\n"));
}

/// Tests of the amd64 guest: name, board and firmware, bus, output, the firmware that the guest finds.
macro_rules! boots {
    ($($name:ident: $board:ident $firmware:ident $bus:ident $file:literal $found:literal;)*) => {$(
        #[test]
        fn $name() {
            boots(amd64(), $file, Bus::$bus, Machine::new(Board::$board, Firmware::$firmware), $found);
        }
    )*};
}

boots! {
    bios_virtio_blk: Pc SeaBios VirtioBlk "guest.qcow2" "bios";
    bios_virtio_scsi: Pc SeaBios VirtioScsi "guest.img" "bios";
    bios_ahci: Q35 SeaBios Ahci "guest.img" "bios";
    bios_nvme: Pc SeaBios Nvme "guest.qcow2" "bios";
    bios_usb: Q35 SeaBios Usb "guest-bios.img" "bios";
    uefi_pc_virtio_blk: Pc Ovmf4M VirtioBlk "guest.qcow2" "efi";
    uefi_q35_nvme: Q35 Ovmf4M Nvme "guest-efi.qcow2" "efi";
    uefi_q35_virtio_blk: Q35 Ovmf2M VirtioBlk "guest.img" "efi";
    uefi_pc_nvme: Pc Ovmf2M Nvme "guest.qcow2" "efi";
}

#[test]
fn an_initrd_of_100_mb_arrives_whole() {
    let images = Images::of_debian("boot-debian-100", Arch::Amd64, 100, &["--format", "qcow2"]);
    boots(&images, "guest.qcow2", Bus::VirtioBlk, Machine::bios().memory(2048), "bios");
    boots(&images, "guest.qcow2", Bus::VirtioBlk, Machine::uefi().memory(2048), "efi");
    images.remove();
}

#[test]
fn arm64() {
    let images = Images::of_debian("boot-debian-arm64", Arch::Arm64, 5, &["--format", "raw-efi,qcow2-efi"]);
    for (file, bus) in [("guest-efi.img", Bus::VirtioBlk), ("guest-efi.qcow2", Bus::Nvme)] {
        let format = if file.ends_with("qcow2") { "qcow2" } else { "raw" };
        let console = Machine::arm64().limit(400).disk(bus, &images.path(file), format).run_until("MOBY-MARKER-");
        console.expect("MOBY-MARKER-OK aarch64").expect("MOBY-FIRMWARE efi\n");
    }
}

/// Debian's kernel unpacks each: gzip, xz, zstd, lz4 and none.
#[test]
fn every_initrd_compression() {
    for compression in ["gzip", "xz", "zstd", "lz4", "none"] {
        let name = format!("boot-debian-{compression}");
        // More than one piece for every compressor that works in pieces.
        let images = Images::of_debian(&name, Arch::Amd64, 9, &["--format", "raw", "--initrd-compression", compression]);
        boots(&images, "guest.img", Bus::VirtioBlk, Machine::bios(), "bios");
    }
}

/// The judge can find guilty: bsdtar's newc drops hard links and makes no missing parent directories, and the guest says so.
#[test]
fn the_guest_notices_a_poor_initrd() {
    let dir = scratch("boot-poor-initrd");
    let (tar, initrd) = (dir.join("guest.tar"), dir.join("initrd"));
    guest::write_tagged_tar(&tar, Arch::Amd64, 1).unwrap();
    let archive = format!("@{}", text(&tar));
    tools::run("bsdtar", ["--format", "newc", "-cf", text(&initrd), &archive]);
    let machine = Machine::bios().direct(&Arch::Amd64.debian("kernel"), &initrd, Arch::Amd64.cmdline());
    machine.run().expect("MOBY-BAD hard link's names: 1, must be 2").expect("MOBY-BAD directory without").expect("MOBY-MARKER-BAD");
}
