//! A real Debian kernel, whose init checks its whole initrd. `tests/nightly` boots it on more machines.

use crate::support::{
    guest::{self, Arch},
    images::Images,
    qemu::{Board, Bus, Firmware, Machine},
    scratch, text, tools,
};
use std::sync::OnceLock;

fn amd64() -> &'static Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    IMAGES.get_or_init(|| Images::of_debian("boot-debian", Arch::Amd64, 5, &["--format", "raw,qcow2"]))
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
    bios_virtio_blk: Pc SeaBios VirtioBlk "guest.qcow2" "bios";
    uefi_q35_virtio_blk: Q35 Ovmf2M VirtioBlk "guest.img" "efi";
    uefi_pc_nvme: Pc Ovmf2M Nvme "guest.qcow2" "efi";
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
