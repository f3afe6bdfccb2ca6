//! A system of our own from its yml to its services: Debian's kernel, busybox, runc and containerd, in images that we make here.

use crate::support::{
    guest::{Arch, containers},
    layouts,
    qemu::{Bus, Machine},
    scratch, text,
    tools::{finish, moby},
};
use formats::{
    Blob, Tree,
    tar::{Dialect, Writer},
    tree::{Builder, Content, Inode},
};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// What every system says, in this order.
const SAID: [&str; 8] = [
    "SYSTEM onboot first pid 1",
    "SYSTEM first may write",
    "SYSTEM onboot second finds kept",
    "SYSTEM second may not write",
    "SYSTEM service app reads configured as 1000",
    "SYSTEM app has a root of its own",
    "SYSTEM service still may not write",
    "SYSTEM done",
];

fn file(bytes: impl Into<Vec<u8>>, mode: u32) -> Inode {
    Inode::new(Content::File(Blob::bytes(bytes.into())), mode)
}

/// Busybox with a name for everything that scripts call.
fn busybox(tree: &mut Builder) {
    tree.add(b"bin/busybox", file(fs::read(Arch::Amd64.debian("busybox")).unwrap(), 0o755)).unwrap();
    let names = "sh mount mkdir cp switch_root dmesg insmod ip awk sed sleep tail cat poweroff touch grep id echo ls tr";
    for name in names.split(' ') {
        tree.add(format!("bin/{name}").as_bytes(), Inode::new(Content::Symlink(b"busybox".to_vec()), 0o777)).unwrap();
    }
}

fn kernel() -> Tree {
    let modules = Arch::Amd64.debian("modules");
    let mut tar = Builder::default();
    for entry in fs::read_dir(modules).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("modules/{}", path.file_name().unwrap().to_str().unwrap());
        tar.add(name.as_bytes(), file(fs::read(path).unwrap(), 0o644)).unwrap();
    }
    let mut writer = Writer::new(Dialect::Pax);
    writer.tree(&tar.finish()).unwrap();
    let mut tree = Builder::default();
    tree.add(b"kernel", file(fs::read(Arch::Amd64.debian("kernel")).unwrap(), 0o644)).unwrap();
    tree.add(b"kernel.tar", Inode::new(Content::File(writer.finish()), 0o644)).unwrap();
    tree.finish()
}

fn init() -> Tree {
    let mut tree = Builder::default();
    busybox(&mut tree);
    tree.add(b"init", file(include_bytes!("../support/system_init.sh").as_slice(), 0o755)).unwrap();
    for directory in ["proc", "sys", "dev", "run", "mnt", "var/lib"] {
        tree.add(directory.as_bytes(), Inode::new(Content::Directory, 0o755)).unwrap();
    }
    tree.add(b"dev/console", Inode::new(Content::CharacterDevice(formats::tree::Device { major: 5, minor: 1 }), 0o600)).unwrap();
    tree.finish()
}

/// runc, containerd, and the libraries that they name.
fn runtime() -> Tree {
    let packages = containers();
    let mut tree = Builder::default();
    for directory in ["usr/bin", "usr/sbin", "lib", "lib64", "usr/lib/x86_64-linux-gnu"] {
        let path = packages.join(directory);
        if path.is_dir() {
            layouts::of_directory(&mut tree, &path, &format!("{directory}/"));
        }
    }
    for unused in ["usr/bin/containerd-shim", "usr/bin/containerd-shim-runc-v1", "usr/lib/x86_64-linux-gnu/gconv"] {
        tree.remove(unused.as_bytes()).unwrap();
    }
    tree.finish()
}

fn tool() -> Tree {
    let mut tree = Builder::default();
    busybox(&mut tree);
    for directory in ["store", "given", "etc"] {
        tree.add(directory.as_bytes(), Inode::new(Content::Directory, 0o755)).unwrap();
    }
    tree.add(b"etc/app.conf", file(b"".as_slice(), 0o644)).unwrap();
    tree.finish()
}

static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = scratch("system");
    let images = [
        ("test/kernel:1", json!({}), kernel()),
        ("test/init:1", json!({}), init()),
        ("test/runtime:1", json!({}), runtime()),
        ("test/tool:1", json!({"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]}), tool()),
    ];
    layouts::write(&directory.join("images"), &images);
    fs::write(directory.join("system.yml"), include_bytes!("../support/system.yml")).unwrap();
    build(&directory, "qcow2,iso,tar");
    directory
});

fn build(directory: &Path, formats: &str) {
    let images = format!("oci-layout:{}", directory.join("images").display());
    let yml = directory.join("system.yml");
    finish(moby().args(["build", text(&yml), "-f", formats, "--offline", "--images", &images, "--dir", text(directory)])).success();
}

/// Boots it, and fails unless every container said what it found, one after the other.
fn runs(machine: Machine, bus: Bus, file: &str, format: &str, firmware: &str) {
    let console = machine.memory(1536).limit(400).disk(bus, &DIRECTORY.join(file), format).run_until("SYSTEM done");
    let mut console = console.refuse("SYSTEM BAD").expect(&format!("SYSTEM init on {firmware}"));
    for line in SAID {
        console = console.expect(line);
    }
    // The one capability that the second container has: CAP_NET_ADMIN, number 12.
    let console = console.expect("CapEff:\t0000000000001000");
    let places: Vec<_> = SAID.iter().map(|line| console.serial.find(line)).collect();
    assert!(places.is_sorted(), "in another order: {places:?}");
}

#[test]
fn it_runs_from_a_disk_on_bios() {
    runs(Machine::bios(), Bus::VirtioBlk, "system.qcow2", "qcow2", "bios");
}

#[test]
fn it_runs_from_a_cd_on_uefi() {
    runs(Machine::uefi(), Bus::Cd, "system.iso", "raw", "efi");
}

#[test]
fn it_runs_from_a_disk_on_uefi_and_from_a_cd_on_bios() {
    runs(Machine::uefi(), Bus::VirtioBlk, "system.qcow2", "qcow2", "efi");
    runs(Machine::bios(), Bus::Cd, "system.iso", "raw", "bios");
}

/// The way through the tar and the way in one go end at the same bytes.
#[test]
fn a_build_is_the_conversion_of_its_tar() {
    let converted = DIRECTORY.join("converted.qcow2");
    finish(moby().args(["convert", text(&DIRECTORY.join("system.tar")), "-o", text(&converted)])).success();
    assert!(fs::read(converted).unwrap() == fs::read(DIRECTORY.join("system.qcow2")).unwrap());
}
