//! Root file systems that are no initrd: judged by sgdisk and `veritysetup`, and mounted by a real kernel.

use crate::support::{
    guest::Arch,
    images::{Disk, partition},
    initrd,
    qemu::{Bus, Machine},
    text,
    tools::{finish, moby, run, tool},
};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

fn convert(dir: &Path, arguments: &[&str]) {
    finish(moby().args(["convert", "--quiet", "--dir", text(dir)]).args(arguments).arg(dir.join("guest.tar"))).success();
}

fn machine(dir: &Path, cmdline: &str) -> Machine {
    Machine::bios().direct(&Arch::Amd64.debian("kernel"), &initrd::make(dir, Arch::Amd64), cmdline)
}

/// Linux mounts what each codec makes, finds every byte, and runs the init of the first.
#[test]
fn linux_mounts_squashfs() {
    let dir = initrd::guest("root-squashfs", Arch::Amd64);
    let codecs = ["zstd", "gzip", "xz", "lz4", "none"];
    let mut machine = machine(&dir, "console=ttyS0 panic=-1 rootfstype=squashfs");
    for codec in codecs {
        convert(&dir, &["--format", "kernel+squashfs", "--name", codec, "--opt", &format!("squashfs_compression={codec}")]);
        machine = machine.disk(Bus::VirtioBlk, &dir.join(format!("{codec}-squashfs.img")), "raw");
    }
    assert_eq!(fs::read_to_string(dir.join("zstd-cmdline")).unwrap(), Arch::Amd64.cmdline());
    assert!(fs::read(dir.join("zstd-kernel")).unwrap() == fs::read(Arch::Amd64.debian("kernel")).unwrap());
    let mut console = machine.run_until("MOBY-MARKER-").expect("MOBY-MARKER-OK").refuse("MOBY-BAD");
    for disk in ["vda", "vdb", "vdc", "vdd", "vde"] {
        console = console.expect(&format!("MOBY-ROOT-GOOD {disk}\n"));
    }
}

/// A partition as a file of its own.
fn extract(disk: &Path, name: &str) -> PathBuf {
    let (start, len, _) = partition(disk, name);
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    File::open(disk).unwrap().read_exact_at(&mut bytes, start).unwrap();
    let path = disk.with_extension(name.replace(' ', "-"));
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_root_partition_is_what_the_command_line_says() {
    let dir = initrd::guest("root-partition", Arch::Amd64);
    convert(&dir, &["--format", "raw", "--root", "squashfs", "--opt", "squashfs_compression=lz4", "--data-part", "var=4M:var"]);
    let disk = Disk { path: dir.join("guest.img") };
    run("sgdisk", ["-v", text(&disk.path)]);
    let (_, _, guid) = partition(&disk.path, "root");
    let conf = String::from_utf8(disk.read("loader/entries/moby.conf")).unwrap();
    assert!(conf.contains(&format!("{} root=PARTUUID={guid} rootfstype=squashfs ro rootwait\n", Arch::Amd64.cmdline())), "{conf}");
    assert!(!conf.contains("initrd"), "{conf}");
    let listing = run("unsquashfs", ["-lln", text(&extract(&disk.path, "root"))]);
    assert!(listing.contains("squashfs-root/data/random.md5"), "{listing}");

    convert(&dir, &["--format", "raw", "--root", "squashfs", "--append", "root=/dev/sdz", "--name", "own"]);
    let conf = String::from_utf8(Disk { path: dir.join("own.img") }.read("loader/entries/moby.conf")).unwrap();
    assert!(conf.contains("root=/dev/sdz\n"), "{conf}");
    let refused = ["convert", "--root", "squashfs", "--verity", "--append", "root=/dev/sdz", "--dir", text(&dir), "--name", "no"];
    let refused = finish(moby().args(refused).arg(dir.join("guest.tar")));
    assert!(refused.code() == 2 && refused.errors().contains("has a root= of its own"), "{refused}");
}

/// Started by our loaders, Linux verifies a root against the hash on the command line, and refuses what was changed; `veritysetup` says
/// the same.
fn refuses_a_flipped_bit(root: &str, stored: &str, machine: Machine) {
    let dir = initrd::guest(&format!("root-verity-{root}"), Arch::Amd64);
    // Whatever is given as microcode stands in front as it is: here what loads Debian's modules.
    let initrd = initrd::make(&dir, Arch::Amd64);
    convert(&dir, &["--format", "raw", "--root", root, "--verity", "--opt", stored, "--ucode", text(&initrd)]);
    let good = Disk { path: dir.join("guest.img") };
    let conf = String::from_utf8(good.read("loader/entries/moby.conf")).unwrap();
    let options = conf.lines().find_map(|line| line.strip_prefix("options")).unwrap().trim();
    assert!(options.contains(&format!(" rootfstype={root} ")), "{options}");
    let (_, _, guid) = partition(&good.path, "root");
    let (_, _, hashes_guid) = partition(&good.path, "root verity");
    assert!(options.contains(&format!(" verity 1 PARTUUID={guid} PARTUUID={hashes_guid} 4096 4096 ")), "{options}");
    let root_hash = options.split_once(" sha256 ").unwrap().1.split(' ').next().unwrap();

    let (data, hashes) = (extract(&good.path, "root"), extract(&good.path, "root verity"));
    let verify = |data: &Path| finish(tool("veritysetup").args(["verify", text(data), text(&hashes), root_hash]));
    verify(&data).success();
    // Somewhere in the 5 MiB of random data, which is stored as it is.
    let bad = good.with_a_flipped_bit("root", 4 << 20);
    let verdict = verify(&extract(&bad.path, "root"));
    assert!(verdict.code() != 0, "{verdict}");

    let machine = machine.disk(Bus::VirtioBlk, &good.path, "raw").disk(Bus::VirtioBlk, &bad.path, "raw");
    let console = machine.run_until("MOBY-MARKER-").expect("MOBY-MARKER-OK").refuse("MOBY-BAD");
    console.expect("MOBY-ROOT-GOOD vda\n").expect("MOBY-ROOT-REFUSED vdb\n").expect("is corrupted");
}

/// Without a signature programs go on that cannot read a damaged block. With one nothing does; `tests/nightly` damages more.
#[test]
fn a_signed_root_that_was_changed_stops_the_machine() {
    let dir = initrd::guest("root-signed", Arch::Amd64);
    let (initrd, keys) = (initrd::make(&dir, Arch::Amd64), dir.join("keys"));
    finish(moby().args(["keys", "-q", text(&keys)])).success();
    let stored = ["--opt", "erofs_compression=none", "--ucode", text(&initrd), "--secure-boot", text(&keys)];
    convert(&dir, &[&["--format", "raw", "--root", "erofs", "--verity"], &stored[..]].concat());
    let good = Disk { path: dir.join("guest.img") };
    let machine = |disk: &Disk| Machine::bios().disk(Bus::VirtioBlk, &disk.path, "raw");
    machine(&good).run_until("MOBY-MARKER-").expect("MOBY-ROOT-GOOD vda\n").expect("MOBY-MARKER-OK");
    let console = machine(&good.with_a_flipped_bit("root", 4 << 20)).run();
    console.expect("Kernel panic").expect("dm-verity device corrupted").refuse("MOBY-MARKER");
}

#[test]
fn a_verified_squashfs_on_bios_refuses_a_flipped_bit() {
    refuses_a_flipped_bit("squashfs", "squashfs_compression=none", Machine::bios());
}

#[test]
fn a_verified_erofs_on_uefi_refuses_a_flipped_bit() {
    refuses_a_flipped_bit("erofs", "erofs_compression=none", Machine::uefi());
}

/// Without verity, and compressed.
#[test]
fn loaders_start_what_has_its_root_in_a_partition() {
    for (root, machine) in [("squashfs", Machine::uefi()), ("erofs", Machine::bios())] {
        let dir = initrd::guest(&format!("root-started-{root}"), Arch::Amd64);
        let initrd = initrd::make(&dir, Arch::Amd64);
        convert(&dir, &["--format", "qcow2", "--root", root, "--ucode", text(&initrd)]);
        let console = machine.disk(Bus::VirtioBlk, &dir.join("guest.qcow2"), "qcow2").run_until("MOBY-MARKER-");
        console.expect("MOBY-MARKER-OK").refuse("MOBY-BAD").expect("MOBY-ROOT-GOOD vda\n");
    }
}
