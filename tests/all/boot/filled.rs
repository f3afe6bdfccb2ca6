//! A guest mounts the partitions that its user filled, and reads the files back.

use crate::support::{
    guest::{self, Arch},
    qemu::{Bus, Machine},
    scratch, text,
    tools::{finish, moby},
};
use std::fs;

/// Loads Debian's drivers, and reads; `sh` of busybox.
const INIT: &str = "#!/bin/busybox sh
PATH=/bin
for module in $(busybox cat /mods/order); do busybox insmod /mods/$module 2>/dev/null; done
busybox mount -t devtmpfs dev /dev
busybox mkdir /a /b
busybox mount -t squashfs -o ro /dev/vda3 /a && busybox cat /a/sub/file
busybox mount -t erofs -o ro /dev/vda4 /b && busybox cat /b/sub/file
busybox head -n 1 /dev/vda5
busybox poweroff -f
";

#[test]
fn a_guest_reads_them_back() {
    let dir = scratch("boot-filled");
    let (base, modules) = (dir.join("base.tar"), Arch::Amd64.debian("modules"));
    guest::write_tagged_tar(&base, Arch::Amd64, 1).unwrap();
    let tree = dir.join("tree");
    fs::create_dir_all(tree.join("mods")).unwrap();
    for entry in fs::read_dir(modules).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, tree.join("mods").join(path.file_name().unwrap())).unwrap();
    }
    fs::write(tree.join("filled-init"), INIT).unwrap();
    let tar = dir.join("guest.tar");
    fs::copy(&base, &tar).unwrap();
    finish(crate::support::tools::tool("tar").args(["--append", "--mode=755", "-f", text(&tar), "-C", text(&tree), "mods", "filled-init"]))
        .success();
    for (name, said) in [("squashed", "MOBY-FROM-SQUASHFS"), ("eroded", "MOBY-FROM-EROFS")] {
        fs::create_dir_all(dir.join(name).join("sub")).unwrap();
        fs::write(dir.join(name).join("sub/file"), format!("{said}\n")).unwrap();
    }
    fs::write(dir.join("bytes"), "MOBY-FROM-BYTES\n").unwrap();
    let parts = ["--part", "a=auto:squashfs=squashed", "--part", "b=auto:erofs=eroded", "--part", "c=1M:linux=bytes"];
    let arguments = ["convert", "guest.tar", "-o", "disk.qcow2", "--append", "rdinit=/filled-init"];
    finish(moby().current_dir(&dir).args(arguments).args(parts)).success();
    let console = Machine::bios().disk(Bus::VirtioBlk, &dir.join("disk.qcow2"), "qcow2").run();
    console.expect("MOBY-FROM-SQUASHFS\n").expect("MOBY-FROM-EROFS\n").expect("MOBY-FROM-BYTES\n");
}
