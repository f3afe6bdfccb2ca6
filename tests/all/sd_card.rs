//! SD cards for Raspberry Pi, by sfdisk, dosfstools and mtools. The firmware is a stand-in: its real one is not ours to keep, and no QEMU
//! runs it.

use crate::support::{
    guest::{self, Arch},
    scratch, text,
    tools::{Finished, finish, moby, run},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

const FIRMWARE: [&str; 8] = [
    "LICENCE.broadcom",
    "bcm2710-rpi-3-b.dtb",
    "bcm2711-rpi-4-b.dtb",
    "fixup4.dat",
    "kernel8.img",
    "overlays/disable-bt.dtbo",
    "start.elf",
    "start4.elf",
];

fn desk(name: &str, arch: Arch) -> (PathBuf, PathBuf) {
    let dir = scratch(name);
    let firmware = dir.join("firmware");
    fs::create_dir_all(firmware.join("overlays")).unwrap();
    FIRMWARE.iter().for_each(|name| fs::write(firmware.join(name), name).unwrap());
    guest::write_tagged_tar(&dir.join("guest.tar"), arch, 2).unwrap();
    (dir, firmware)
}

fn convert(dir: &Path, arguments: &[&str]) -> Finished {
    finish(moby().args(["convert", "--quiet", "--dir", text(dir)]).arg(dir.join("guest.tar")).args(arguments))
}

#[test]
fn foreign_programs_find_everything_that_a_pi_needs() {
    let (dir, firmware) = desk("sd-card", Arch::Arm64);
    fs::write(firmware.join("config.txt"), "dtoverlay=disable-bt\n").unwrap();
    convert(&dir, &["-f", "rpi4,kernel+initrd", "--firmware", text(&firmware)]).success();
    let card = dir.join("guest-rpi4.img");

    let table = run("sfdisk", ["--json", text(&card)]);
    assert!(table.contains("\"label\": \"dos\"") && table.contains("\"start\": 8192") && table.contains("\"type\": \"c\""), "{table}");
    run("sfdisk", ["--verify", text(&card)]);
    let volume = dir.join("volume");
    run("dd", [format!("if={}", text(&card)), format!("of={}", text(&volume)), "bs=4M".into(), "skip=1".into(), "conv=sparse".into()]);
    run("fsck.vfat", ["-n", text(&volume)]);
    // What the boot ROM of a Pi 3 reads.
    assert!(run("minfo", ["-i", text(&volume), "::"]).contains("disk type=\"FAT32   \""));

    let read = |name: &str| run("mtype", ["-i", text(&volume), &format!("::/{name}")]);
    assert_eq!(read("cmdline.txt"), format!("{}\n", Arch::Arm64.cmdline()));
    let config = "# Raspberry Pi 4\narm_64bit=1\nenable_uart=1\nkernel=kernel8.img\ninitramfs initrd.img followkernel\n\n[all]\ndtoverlay=disable-bt\n";
    assert_eq!(read("config.txt"), config);
    assert_eq!(read("start4.elf"), "start4.elf");
    assert_eq!(read("overlays/disable-bt.dtbo"), "overlays/disable-bt.dtbo");
    for (name, same) in [("kernel8.img", Arch::Arm64.debian("kernel")), ("initrd.img", dir.join("guest-initrd.img"))] {
        let copy = dir.join("copy");
        run("mcopy", ["-n", "-i", text(&volume), &format!("::/{name}"), text(&copy)]);
        run("cmp", [&copy, &same]);
        fs::remove_file(copy).unwrap();
    }
    let listing = run("mdir", ["-b", "-i", text(&volume), "::/"]);
    assert!(!listing.contains("start.elf") && !listing.contains("bcm2710"), "another board's:\n{listing}");

    // The same input, the same bytes; the size that the user asks for.
    let first = fs::read(&card).unwrap();
    convert(&dir, &["-f", "rpi4", "--firmware", text(&firmware), "-j1"]).success();
    assert!(first == fs::read(&card).unwrap());
    convert(&dir, &["-f", "rpi4", "--firmware", text(&firmware), "--size", "1G"]).success();
    assert_eq!(fs::metadata(&card).unwrap().len(), 1 << 30);
    run("sfdisk", ["--verify", text(&card)]);
}

#[test]
fn what_does_not_start_is_refused() {
    let (dir, firmware) = desk("sd-card-bad", Arch::Arm64);
    let refused = |arguments: &[&str], words: &str, code: i32| {
        let run = convert(&dir, arguments);
        assert!(run.code() == code && run.errors().contains(words), "{run}");
        assert!(!dir.join("guest-rpi3.img").exists() && !dir.join("guest-rpi4.img").exists());
    };
    refused(&["-f", "rpi4"], "a Raspberry Pi 4 needs Raspberry Pi's firmware, which is not ours to give", 3);
    refused(&["-f", "rpi3", "--firmware", text(&firmware)], "the firmware has no bootcode.bin", 2);
    refused(&["-f", "rpi4", "--firmware", text(&dir.join("none"))], "none: ", 2);
    refused(&["-f", "raw", "--firmware", text(&firmware)], "--firmware has no effect on raw", 3);
    refused(&["-f", "rpi4", "--firmware", text(&firmware), "--size", "64M"], "is too small", 2);
    fs::remove_file(firmware.join("bcm2711-rpi-4-b.dtb")).unwrap();
    refused(&["-f", "rpi4", "--firmware", text(&firmware)], "no device tree of a Raspberry Pi 4", 2);
}

#[test]
fn a_pi_has_no_x86() {
    let (dir, firmware) = desk("sd-card-x86", Arch::Amd64);
    let run = convert(&dir, &["-f", "rpi4", "--firmware", text(&firmware)]);
    assert!(run.code() == 3 && run.errors().contains("the kernel is for x86_64, a Raspberry Pi 4 needs one for aarch64"), "{run}");
}
