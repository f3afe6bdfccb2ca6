//! A disk that others made to boot, as Debian's installer leaves one: an MBR, GRUB in front of the first partition, everything else on ext4.
//! It boots before and after it is converted.

use crate::support::{
    guest::{Arch, foreign_loader},
    images::Images,
    qemu::{Bus, Machine},
    text,
    tools::{finish, finish_with, moby, run, tool},
};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
};

#[test]
fn a_disk_with_grub_boots_as_it_did() {
    let images = Images::of_debian("nightly-grub", Arch::Amd64, 5, &["--format", "kernel+initrd"]);
    let kernel = images.path("guest-kernel");
    let dir = kernel.parent().unwrap();
    let path = |name: &str| dir.join(name);

    fs::create_dir_all(path("root/boot/grub")).unwrap();
    fs::copy(&kernel, path("root/boot/vmlinuz")).unwrap();
    fs::copy(images.path("guest-initrd.img"), path("root/boot/initrd.img")).unwrap();
    let cmdline = fs::read_to_string(images.path("guest-cmdline")).unwrap();
    let entry = format!("set timeout=0\nmenuentry Debian {{\n  linux /boot/vmlinuz {cmdline}\n  initrd /boot/initrd.img\n}}\n");
    fs::write(path("root/boot/grub/grub.cfg"), entry).unwrap();
    run("mke2fs", ["-q", "-t", "ext4", "-d", text(&path("root")), text(&path("ext4")), "120M"]);

    let disk = File::create(path("disk.img")).unwrap();
    disk.set_len(128 << 20).unwrap();
    let table = b"label: dos\nstart=2048, size=245760, type=83, bootable\n";
    finish_with(tool("sfdisk").args(["--quiet", text(&path("disk.img"))]), table).success();
    let modules = foreign_loader("usr/lib/grub/i386-pc");
    let (core, prefix) = (path("core.img"), ["-p", "(hd0,msdos1)/boot/grub"]);
    let (arguments, parts) =
        (["-O", "i386-pc", "-d", text(&modules), "-o", text(&core)], ["biosdisk", "part_msdos", "ext2", "normal", "linux", "boot"]);
    run(text(&foreign_loader("usr/bin/grub-mkimage")), [&arguments[..], &prefix, &parts].concat());
    // As grub-bios-setup does: boot.img in front of the table, which loads what begins in the next sector.
    disk.write_all_at(&fs::read(modules.join("boot.img")).unwrap()[..440], 0).unwrap();
    disk.write_all_at(&fs::read(core).unwrap(), 512).unwrap();
    disk.write_all_at(&fs::read(path("ext4")).unwrap(), 1 << 20).unwrap();

    images.boots_debian("disk.img", "raw", Bus::VirtioBlk, Machine::bios(), "bios");
    let linted = finish(moby().args(["lint", text(&path("disk.img")), "--target", "openstack"])).success().text();
    assert!(linted.contains("unknown boot: found GRUB (BIOS);"), "{linted}");
    for (name, format, more) in [("disk.qcow2", "qcow2", &["--size", "+64M"][..]), ("disk.vhdx", "vhdx", &[]), ("disk.vmdk", "vmdk", &[])] {
        finish(moby().args(["convert", "--quiet", text(&path("disk.img")), "-o", text(&path(name))]).args(more)).success();
        images.boots_debian(name, format, Bus::VirtioBlk, Machine::bios(), "bios");
    }
}
