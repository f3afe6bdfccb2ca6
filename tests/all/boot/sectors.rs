//! Disks of 4096-byte sectors (4Kn) on every firmware that takes them.

use crate::support::{
    images::Images,
    qemu::{Bus, Machine},
    scratch, text,
    tools::{finish, moby, run},
};
use std::{fs, sync::OnceLock};

fn images() -> &'static Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let images = Images::of_test_kernel("boot-sectors", 5, "kernel+initrd");
        images.convert(&["--format", "raw,vhdx", "--initrd-compression", "none", "--sector-size", "4096"]);
        images
    })
}

/// SeaBIOS reads whatever sectors an NVMe drive has.
#[test]
fn bios_nvme() {
    images().boots_test_kernel("guest.img", "raw", Bus::NvmeLarge, Machine::bios());
}

#[test]
fn uefi_nvme() {
    images().boots_test_kernel("guest.img", "raw", Bus::NvmeLarge, Machine::uefi());
}

#[test]
fn uefi_virtio_blk() {
    images().boots_test_kernel("guest.img", "raw", Bus::VirtioBlkLarge, Machine::uefi());
}

/// A disk of 512-byte sectors, made one of 4096: our BIOS loader was moved and told. FAT stays, and the firmwares read it.
#[test]
fn a_disk_that_was_rewritten_boots() {
    let images = Images::of_test_kernel("boot-rewritten", 5, "kernel+initrd,raw");
    let (small, large) = (images.path("guest.img"), images.path("guest.img").with_file_name("large.img"));
    let said = finish(moby().args(["convert", text(&small), "-o", text(&large), "--sector-size", "4096"])).success();
    let warning = "partition 2 'EFI system' is FAT32 of 512-byte blocks, which Linux does not mount on sectors of 4096 bytes";
    assert!(said.errors().contains(warning), "{said}");
    images.boots_test_kernel("large.img", "raw", Bus::NvmeLarge, Machine::bios());
    images.boots_test_kernel("large.img", "raw", Bus::NvmeLarge, Machine::uefi());
    // And back, with stage2 where it is.
    let back = images.path("guest.img").with_file_name("back.img");
    finish(moby().args(["convert", text(&large), "-o", text(&back), "--sector-size", "512"])).success();
    assert!(run("sgdisk", ["-v", text(&back)]).contains("No problems found."));
    images.boots_test_kernel("back.img", "raw", Bus::VirtioBlk, Machine::bios());
}

/// Whoever attaches it has to know; a VHDX says it.
#[test]
fn lint_says_what_drives_it_needs() {
    let lint = |file: &str, target: &str| finish(moby().args(["lint", text(&images().path(file)), "--target", target])).text();
    let said = lint("guest.img", "openstack");
    assert!(
        said.contains("warning sectors: found a partition table for sectors of 4096 bytes") && said.contains("--sector-size 512"),
        "{said}"
    );
    assert!(!lint("guest.vhdx", "hyperv").contains("sectors"));
}

/// The disk in a VHDX is the one of the raw file; `qemu-img` and fdisk see what we see.
#[test]
fn others_find_the_same_disk() {
    let dir = scratch("boot-sectors-others");
    let (raw, vhdx, esp) = (images().path("guest.img"), images().path("guest.vhdx"), dir.join("esp"));
    let compared = finish(moby().args(["compare", "--strict", text(&raw), text(&vhdx)]));
    assert_eq!(compared.code(), 0, "{compared}");
    let facts = finish(moby().args(["inspect", "--json", text(&vhdx)])).success().text();
    assert!(facts.contains("\"logical-sector-size\": 4096"), "{facts}");
    let table = run("fdisk", ["-b", "4096", "-l", "-o", "Start,Type", text(&raw)]);
    assert!(table.contains("Disklabel type: gpt") && table.contains("256 EFI System"), "{table}");
    run("sh", ["-c", "dd if=\"$1\" of=\"$2\" bs=1M skip=1 conv=sparse status=none", "sh", text(&raw), text(&esp)]);
    let len = fs::metadata(&esp).expect("it was copied").len();
    run("truncate", ["-s", &(len - (1 << 20)).to_string(), text(&esp)]);
    assert!(run("file", ["-s", text(&esp)]).contains("Bytes/sector 4096"));
    run("fsck.vfat", ["-n", text(&esp)]);
    let kernel = dir.join("kernel");
    run("mcopy", ["-n", "-i", text(&esp), "::/moby/vmlinuz", text(&kernel)]);
    run("cmp", [text(&kernel), text(&images().path("guest-kernel"))]);
}
