//! A kernel that makes and verifies the device of its root by itself, as the command line says (`CONFIG_DM_INIT`).

use crate::support::{
    guest::{self, Arch},
    images::Disk,
    qemu::{Bus, Machine},
    scratch, text,
    tools::{finish, moby, run},
};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

// A guest of the tests has no /sbin/init, which kernels look for on a root that they mount.
const CMDLINE: &str = "console=ttyS0 panic=-1 init=/init";

fn kernel() -> PathBuf {
    let kernel = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/verity-kernel/bzImage");
    assert!(kernel.exists(), "{} is missing: run tests/setup.sh nightly", kernel.display());
    kernel
}

/// The disk with this root, made in a directory as the arguments say.
fn disk(dir: &Path, root: &str, arguments: &[&str]) -> PathBuf {
    guest::write_tagged_tar(&dir.join("guest.tar"), Arch::Amd64, 5).unwrap();
    let kernel = kernel();
    let of_root =
        ["convert", "-q", "--dir", text(dir), "--kernel", text(&kernel), "--cmdline", CMDLINE, "-f", "raw", "--root", root, "--verity"];
    finish(moby().args(of_root).args(arguments).arg(dir.join("guest.tar"))).success();
    dir.join("guest.img")
}

/// The guest finds all of its root but for the devices in it, over which this kernel mounts its own.
fn comes_up(machine: &Machine, firmware: &str) {
    let console = machine.run_until("MOBY-MARKER-").expect(&format!("MOBY-FIRMWARE {firmware}\n")).expect("device-mapper: ioctl: dm-0 (root) is ready");
    let bad = console.serial.lines().filter(|line| line.starts_with("MOBY-BAD") && !line.contains("/dev/test"));
    assert_eq!(bad.count(), 0, "{console}");
}

#[test]
fn a_root_is_verified_by_the_kernel_alone() {
    for root in ["erofs", "squashfs"] {
        let dir = scratch(&format!("verity-{root}"));
        let disk = disk(&dir, root, &[]);
        for (machine, firmware) in [(Machine::bios(), "bios"), (Machine::uefi(), "efi")] {
            comes_up(&machine.disk(Bus::VirtioBlk, &disk, "raw"), firmware);
        }
    }
}

/// Under a signature, on firmware that checks it: the whole of it runs, and with one bit changed in the root nothing does.
#[test]
fn what_is_under_a_signature_runs_whole_or_not_at_all() {
    let dir = scratch("verity-signed");
    let keys = dir.join("keys");
    finish(moby().args(["keys", "-q", text(&keys)])).success();
    let disk = disk(&dir, "erofs", &["--secure-boot", text(&keys), "--efi-vars", "qemu", "--opt", "erofs_compression=none"]);
    let machine = |disk: &Path| Machine::guarded().variables(&dir.join("guest-efivars.fd")).disk(Bus::VirtioBlk, disk, "raw");
    comes_up(&machine(&disk), "efi");
    let table = run("sgdisk", ["-p", text(&disk)]);
    let start = |name: &str| -> u64 {
        let line = table.lines().find(|line| line.trim_end().ends_with(&format!("  {name}"))).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 512
    };
    // Data of a file, the superblock, the tree of hashes.
    for at in [start("root") + (4 << 20), start("root") + 1124, start("root verity") + 4096 + 4097] {
        let bad = Disk { path: dir.join("bad.img") };
        fs::copy(&disk, &bad.path).unwrap();
        let mut byte = [0];
        File::open(&bad.path).unwrap().read_exact_at(&mut byte, at).unwrap();
        bad.damage(at, &[byte[0] ^ 4]);
        machine(&bad.path).run().expect("Kernel panic").expect("dm-verity device corrupted").refuse("MOBY-MARKER-");
    }
}
