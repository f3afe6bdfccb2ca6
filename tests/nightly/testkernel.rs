//! The test kernel on the boards, buses and outputs that `tests/all` leaves out: to our loaders, which ask the firmware, they are all one.

use crate::support::{
    images::Images,
    qemu::{Board, Bus, Firmware, Machine},
};
use std::sync::OnceLock;

fn images() -> &'static Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    IMAGES.get_or_init(|| Images::of_test_kernel("nightly-small", 5, "kernel+initrd,raw,qcow2,qcow2-efi,iso"))
}

/// Name, board and firmware, bus, output.
macro_rules! boots {
    ($($name:ident: $board:ident $firmware:ident $bus:ident $file:literal;)*) => {$(
        #[test]
        fn $name() {
            let format = if $file.ends_with("qcow2") { "qcow2" } else { "raw" };
            images().boots_test_kernel($file, format, Bus::$bus, Machine::new(Board::$board, Firmware::$firmware));
        }
    )*};
}

boots! {
    bios_virtio_scsi: Pc SeaBios VirtioScsi "guest.img";
    bios_ahci: Pc SeaBios Ahci "guest.img";
    bios_qcow2: Pc SeaBios VirtioBlk "guest.qcow2";
    uefi_pc_2m_firmware: Pc Ovmf2M VirtioBlk "guest.img";
    uefi_q35_usb: Q35 Ovmf4M Usb "guest.img";
    uefi_pc_virtio_blk: Pc Ovmf4M VirtioBlk "guest.img";
    uefi_pc_nvme: Pc Ovmf4M Nvme "guest.img";
    uefi_q35_virtio_scsi: Q35 Ovmf4M VirtioScsi "guest.img";
    uefi_q35_ahci: Q35 Ovmf4M Ahci "guest.img";
    uefi_qcow2: Q35 Ovmf4M VirtioBlk "guest.qcow2";
    uefi_qcow2_efi: Q35 Ovmf4M VirtioBlk "guest-efi.qcow2";

    bios_cd_on_a_pc: Pc SeaBios Cd "guest.iso";
    bios_scsi_cd: Q35 SeaBios CdScsi "guest.iso";
    bios_usb_cd: Q35 SeaBios CdUsb "guest.iso";
    uefi_cd_2m_firmware: Pc Ovmf2M Cd "guest.iso";
    uefi_scsi_cd: Q35 Ovmf4M CdScsi "guest.iso";
    uefi_usb_cd: Q35 Ovmf4M CdUsb "guest.iso";
}

/// SeaBIOS boots from large sectors on NVMe, which `tests/all` does; its other drivers leave such a drive alone, and then there is nothing to
/// boot (`virtio-blk.c`: "unsupported block size").
#[test]
fn seabios_takes_no_other_drive_of_large_sectors() {
    let images = Images::of_test_kernel("nightly-sectors", 5, "kernel+initrd");
    images.convert(&["--format", "raw", "--initrd-compression", "none", "--sector-size", "4096"]);
    let machine = Machine::bios().disk(Bus::VirtioBlkLarge, &images.path("guest.img"), "raw").firmware_on_serial();
    machine.run_until("No bootable device.");
}
