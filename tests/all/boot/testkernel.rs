//! The test kernel on every firmware, board, bus, output and size.

use crate::support::{
    images::{CMDLINE, Images, test_kernel},
    qemu::{Board, Bus, Firmware, Machine},
    scratch,
};
use std::{fs, sync::OnceLock};

/// 5 MiB of random data: what most boots take.
pub(crate) fn small() -> &'static Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    IMAGES.get_or_init(|| Images::small("boot-small"))
}

/// Tests of the small images: name, board and firmware, memory in MiB, bus, output.
macro_rules! boots {
    ($($name:ident: $board:ident $firmware:ident $memory:literal $bus:ident $file:literal;)*) => {$(
        #[test]
        fn $name() {
            let format = if $file.ends_with("qcow2") { "qcow2" } else { "raw" };
            small().boots_test_kernel($file, format, Bus::$bus, Machine::new(Board::$board, Firmware::$firmware).memory($memory));
        }
    )*};
}

boots! {
    bios_virtio_blk: Pc SeaBios 512 VirtioBlk "guest.img";
    bios_nvme: Pc SeaBios 512 Nvme "guest.img";
    bios_usb: Pc SeaBios 512 Usb "guest.img";
    bios_q35_ahci: Q35 SeaBios 512 Ahci "guest.img";
    bios_128_mib: Pc SeaBios 128 VirtioBlk "guest.img";
    bios_6_gib: Pc SeaBios 6144 VirtioBlk "guest.img";
    bios_raw_bios: Pc SeaBios 512 VirtioBlk "guest-bios.img";
    bios_qcow2_bios: Pc SeaBios 512 VirtioBlk "bios.qcow2";

    uefi_q35_virtio_blk: Q35 Ovmf4M 512 VirtioBlk "guest.img";
    uefi_q35_nvme: Q35 Ovmf4M 512 Nvme "guest.img";
    uefi_128_mib: Q35 Ovmf4M 128 VirtioBlk "guest.img";
    uefi_6_gib: Q35 Ovmf4M 6144 VirtioBlk "guest.img";
}

/// The judge by itself: QEMU's own loader obeys the protocol, and the test kernel agrees.
#[test]
fn the_test_kernel_accepts_qemus_loader() {
    let initrd = scratch("boot-judge").join("initrd");
    fs::write(&initrd, b"123456789").unwrap();
    let console = Machine::bios().direct(&test_kernel(), &initrd, CMDLINE).run();
    console.expect("TESTKERNEL initrd 9 bytes crc32 cbf43926 ").expect(&format!("TESTKERNEL cmdline [{CMDLINE}]\n"));
}
