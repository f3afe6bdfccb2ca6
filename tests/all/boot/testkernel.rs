//! The test kernel on every firmware, board, bus, output and size.

use crate::support::{
    images::{CMDLINE, Images, test_kernel},
    qemu::{Board, Bus, Firmware, Machine},
    scratch,
};
use std::{fs, sync::OnceLock};

/// QEMU's exit code when the test kernel found nothing wrong.
const PASSED: i32 = 33;

/// 5 MiB of random data: what most boots take.
pub(crate) fn small() -> &'static Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    IMAGES.get_or_init(|| Images::small("boot-small"))
}

/// Boots one output of `images` and checks everything that the test kernel reports.
pub(crate) fn boots(images: &Images, file: &str, bus: Bus, machine: Machine) {
    let format = if file.ends_with("qcow2") { "qcow2" } else { "raw" };
    boots_as(images, file, format, bus, machine);
}

/// The same, of a file that QEMU is told the format of.
pub(crate) fn boots_as(images: &Images, file: &str, format: &str, bus: Bus, machine: Machine) {
    machine
        .disk(bus, &images.path(file), format)
        .run()
        .expect(&format!("TESTKERNEL cmdline [{CMDLINE}]\n"))
        .expect(&images.initrd_line())
        .expect("TESTKERNEL done")
        .exited(PASSED);
}

/// Tests of the small images: name, board and firmware, memory in MiB, bus, output.
macro_rules! boots {
    ($($name:ident: $board:ident $firmware:ident $memory:literal $bus:ident $file:literal;)*) => {$(
        #[test]
        fn $name() {
            boots(small(), $file, Bus::$bus, Machine::new(Board::$board, Firmware::$firmware).memory($memory));
        }
    )*};
}

boots! {
    bios_virtio_blk: Pc SeaBios 512 VirtioBlk "guest.img";
    bios_virtio_scsi: Pc SeaBios 512 VirtioScsi "guest.img";
    bios_ahci: Pc SeaBios 512 Ahci "guest.img";
    bios_nvme: Pc SeaBios 512 Nvme "guest.img";
    bios_usb: Pc SeaBios 512 Usb "guest.img";
    bios_q35_ahci: Q35 SeaBios 512 Ahci "guest.img";
    bios_128_mib: Pc SeaBios 128 VirtioBlk "guest.img";
    bios_6_gib: Pc SeaBios 6144 VirtioBlk "guest.img";
    bios_qcow2: Pc SeaBios 512 VirtioBlk "guest.qcow2";
    bios_raw_bios: Pc SeaBios 512 VirtioBlk "guest-bios.img";
    bios_qcow2_bios: Pc SeaBios 512 VirtioBlk "bios.qcow2";

    uefi_pc_virtio_blk: Pc Ovmf4M 512 VirtioBlk "guest.img";
    uefi_pc_nvme: Pc Ovmf4M 512 Nvme "guest.img";
    uefi_pc_2m_firmware: Pc Ovmf2M 512 VirtioBlk "guest.img";
    uefi_q35_virtio_blk: Q35 Ovmf4M 512 VirtioBlk "guest.img";
    uefi_q35_nvme: Q35 Ovmf4M 512 Nvme "guest.img";
    uefi_q35_virtio_scsi: Q35 Ovmf4M 512 VirtioScsi "guest.img";
    uefi_q35_ahci: Q35 Ovmf4M 512 Ahci "guest.img";
    uefi_q35_usb: Q35 Ovmf4M 512 Usb "guest.img";
    uefi_128_mib: Q35 Ovmf4M 128 VirtioBlk "guest.img";
    uefi_6_gib: Q35 Ovmf4M 6144 VirtioBlk "guest.img";
    uefi_qcow2: Q35 Ovmf4M 512 VirtioBlk "guest.qcow2";
    uefi_raw_efi: Q35 Ovmf4M 512 VirtioBlk "guest-efi.img";
    uefi_qcow2_efi: Q35 Ovmf4M 512 VirtioBlk "guest-efi.qcow2";
}

/// More than real ones have. A real kernel gets a tenth of it, in `debian`: it looks at every byte, which takes it long.
#[test]
fn an_initrd_of_1_gb_arrives_whole() {
    let images = Images::of_test_kernel("boot-1000", 1000, "kernel+initrd,raw");
    boots(&images, "guest.img", Bus::Ahci, Machine::bios().memory(3072));
    boots(&images, "guest.img", Bus::VirtioBlk, Machine::uefi().memory(3072));
    images.remove();
}

/// The judge by itself: QEMU's own loader obeys the protocol, and the test kernel agrees.
#[test]
fn the_test_kernel_accepts_qemus_loader() {
    let initrd = scratch("boot-judge").join("initrd");
    fs::write(&initrd, b"123456789").unwrap();
    let console = Machine::bios().direct(&test_kernel(), &initrd, CMDLINE).run();
    console.expect("TESTKERNEL initrd 9 bytes crc32 cbf43926 ").expect(&format!("TESTKERNEL cmdline [{CMDLINE}]\n"));
}
