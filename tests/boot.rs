//! Images of ours boot.

mod support;

use support::{
    guest::{self, Arch},
    qemu::Machine,
    scratch, tools,
};

/// The judge can find guilty: bsdtar's newc drops hard links and makes no missing parent directories, and the guest says so.
#[test]
fn the_guest_notices_a_poor_initrd() {
    let dir = scratch("boot-poor-initrd");
    let (tar, initrd) = (dir.join("guest.tar"), dir.join("initrd"));
    guest::write_tagged_tar(&tar, Arch::Amd64, 1).unwrap();
    let archive = format!("@{}", support::text(&tar));
    tools::run("bsdtar", ["--format", "newc", "-cf", support::text(&initrd), &archive]);
    let machine = Machine::bios().direct(&Arch::Amd64.debian("kernel"), &initrd, Arch::Amd64.cmdline());
    machine.run().expect("MOBY-BAD hard link's names: 1, must be 2").expect("MOBY-BAD directory without").expect("MOBY-MARKER-BAD");
}
