//! `make demo`: a tagged tar becomes one qcow2, and a Debian guest boots from it, first under BIOS, then under UEFI.
//!
//! LinuxKit would have made the tar. So that the demo needs no Docker, it is put together here from Debian's cloud kernel and busybox;
//! the guest's init checks every byte of its initrd before it prints the line that the demo waits for.

mod support;

use support::{
    guest::{self, Arch},
    qemu::{Bus, Machine},
    scratch, text,
    tools::moby,
};

fn main() {
    let dir = scratch("demo");
    let tar = dir.join("demo.tar");
    guest::write_tagged_tar(&tar, Arch::Amd64, 20).expect("the demo's directory can be written");
    println!("\n$ tar tvf demo.tar\n{}", support::tools::run("tar", ["tvf", text(&tar)]));

    println!("$ moby convert demo.tar --format qcow2");
    let status = moby().args(["convert", "demo.tar", "--format", "qcow2"]).current_dir(&dir).status().expect("moby can be run");
    assert!(status.success(), "moby convert failed");
    let image = dir.join("demo.qcow2");
    println!("\n$ qemu-img info demo.qcow2\n{}", support::tools::run("qemu-img", ["info", text(&image)]));

    for (firmware, machine, found) in [("SeaBIOS", Machine::bios(), "bios"), ("OVMF, which is UEFI", Machine::uefi(), "efi")] {
        println!("======== booting demo.qcow2 under {firmware} ========\n");
        let console = machine.limit(180).echo().disk(Bus::VirtioBlk, &image, "qcow2").run_until("MOBY-MARKER-");
        console.expect("MOBY-MARKER-OK").expect(&format!("MOBY-FIRMWARE {found}\n"));
        println!("\n======== booted, and the whole initrd arrived ========\n");
    }
    println!("The same file, {}, booted on BIOS and on UEFI.", image.display());
}
