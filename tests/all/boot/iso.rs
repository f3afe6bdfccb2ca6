//! ISOs, as the CDs that they look like to some firmware and as the disks that they look like to others.

use crate::support::{
    guest::Arch,
    images::{CMDLINE, Images},
    qemu::{Board, Bus, Firmware, Machine},
};
use std::sync::OnceLock;

const NAMES_BIOS: [&str; 6] = ["--format", "iso-bios", "--name", "bios", "--initrd-compression", "none"];

/// The test kernel with 5 MiB of random data as every ISO; `bios.iso` is the one whose name would be the hybrid's.
fn small() -> &'static Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let images = Images::of_test_kernel("boot-iso", 5, "kernel+initrd,iso,iso-efi-initrd,iso-efi");
        images.convert(&NAMES_BIOS);
        images
    })
}

/// Tests of the small ISOs: name, board and firmware, bus, output.
macro_rules! boots {
    ($($name:ident: $board:ident $firmware:ident $bus:ident $file:literal;)*) => {$(
        #[test]
        fn $name() {
            small().boots_test_kernel($file, "raw", Bus::$bus, Machine::new(Board::$board, Firmware::$firmware));
        }
    )*};
}

boots! {
    bios_cd: Q35 SeaBios Cd "guest.iso";
    bios_disk: Q35 SeaBios VirtioBlk "guest.iso";
    bios_usb_stick: Q35 SeaBios Usb "guest.iso";
    bios_only_cd: Q35 SeaBios Cd "bios.iso";
    bios_only_disk: Q35 SeaBios VirtioBlk "bios.iso";

    uefi_cd: Q35 Ovmf4M Cd "guest.iso";
    uefi_disk: Q35 Ovmf4M VirtioBlk "guest.iso";
    uefi_usb_stick: Q35 Ovmf4M Usb "guest.iso";
    uefi_only_cd: Q35 Ovmf4M Cd "guest-efi-initrd.iso";
    uefi_only_usb_stick: Q35 Ovmf4M Usb "guest-efi-initrd.iso";
}

/// The root file system stays on the CD, and the kernel is told where that is.
#[test]
fn a_cd_that_is_the_root_file_system_has_no_initrd() {
    let console = Machine::uefi().disk(Bus::Cd, &small().path("guest-efi.iso"), "raw").run();
    console.expect("TESTKERNEL initrd none").expect(&format!("TESTKERNEL cmdline [{CMDLINE} root=/dev/sr0]\n")).exited(33);
}

#[test]
fn debian_boots_from_cd() {
    let images = Images::of_debian("boot-iso-debian", Arch::Amd64, 5, &["--format", "iso"]);
    images.boots_debian("guest.iso", "raw", Bus::Cd, Machine::new(Board::Q35, Firmware::SeaBios), "bios");
    images.boots_debian("guest.iso", "raw", Bus::Cd, Machine::uefi(), "efi");
}
