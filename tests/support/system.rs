//! A system of our own: Debian's kernel, busybox, runc and containerd in container images that are made here, and its yml.

use super::{
    guest::{Arch, containers},
    layouts,
    qemu::{Bus, Machine},
    text,
    tools::{finish, moby},
};
use formats::{
    Blob, Tree,
    tar::{Dialect, Writer},
    tree::{Builder, Content, Device, Inode},
};
use serde_json::json;
use std::{fs, path::Path};

/// The images: what the yml calls them.
pub const IMAGES: [&str; 4] = ["test/kernel:1", "test/init:1", "test/runtime:1", "test/tool:1"];

/// Why nothing of it fails.
const WHOLE: &str = "what tests/setup.sh got is whole";

/// What every system says, in this order.
pub const SAID: [&str; 8] = [
    "SYSTEM onboot first pid 1",
    "SYSTEM first may write",
    "SYSTEM onboot second finds kept",
    "SYSTEM second may not write",
    "SYSTEM service app reads configured as 1000",
    "SYSTEM app has a root of its own",
    "SYSTEM service still may not write",
    "SYSTEM done",
];

/// Writes the images into the layout `images` of a directory, and `system.yml` beside it.
pub fn write(directory: &Path) {
    let command = json!({"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]});
    let configs = [json!({}), json!({}), json!({}), command];
    let trees = [kernel(), init(), runtime(), tool()];
    let images: Vec<_> = IMAGES.into_iter().zip(configs).zip(trees).map(|((name, config), tree)| (name, config, tree)).collect();
    layouts::write(&directory.join("images"), &images);
    fs::write(directory.join("system.yml"), include_bytes!("system.yml")).expect("the scratch directory can be written");
}

/// Builds what [`write`] wrote, in its directory.
pub fn build(directory: &Path, formats: &str) {
    let images = format!("oci-layout:{}", directory.join("images").display());
    let yml = directory.join("system.yml");
    finish(moby().args(["build", text(&yml), "-f", formats, "--offline", "--images", &images, "--dir", text(directory)])).success();
}

/// Boots what was built, and fails unless every container said what it found, one after the other.
pub fn runs(directory: &Path, machine: Machine, bus: Bus, file: &str, format: &str, firmware: &str) {
    let console = machine.memory(1536).limit(400).disk(bus, &directory.join(file), format).run_until("SYSTEM done");
    let mut console = console.refuse("SYSTEM BAD").expect(&format!("SYSTEM init on {firmware}"));
    for line in SAID {
        console = console.expect(line);
    }
    // The one capability that the second container has: CAP_NET_ADMIN, number 12.
    let console = console.expect("CapEff:\t0000000000001000");
    let places: Vec<_> = SAID.iter().map(|line| console.serial.find(line)).collect();
    assert!(places.is_sorted(), "in another order: {places:?}");
}

fn file(bytes: impl Into<Vec<u8>>, mode: u32) -> Inode {
    Inode::new(Content::File(Blob::bytes(bytes.into())), mode)
}

/// Busybox with a name for everything that scripts call.
fn busybox(tree: &mut Builder) {
    tree.add(b"bin/busybox", file(fs::read(Arch::Amd64.debian("busybox")).expect(WHOLE), 0o755)).expect(WHOLE);
    let names = "sh mount mkdir cp switch_root dmesg insmod ip awk sed sleep tail cat poweroff touch grep id echo ls tr";
    for name in names.split(' ') {
        tree.add(format!("bin/{name}").as_bytes(), Inode::new(Content::Symlink(b"busybox".to_vec()), 0o777)).expect(WHOLE);
    }
}

fn kernel() -> Tree {
    let modules = Arch::Amd64.debian("modules");
    let mut tar = Builder::default();
    for entry in fs::read_dir(modules).expect(WHOLE) {
        let path = entry.expect(WHOLE).path();
        let name = format!("modules/{}", path.file_name().expect(WHOLE).to_str().expect(WHOLE));
        tar.add(name.as_bytes(), file(fs::read(path).expect(WHOLE), 0o644)).expect(WHOLE);
    }
    let mut writer = Writer::new(Dialect::Pax);
    writer.tree(&tar.finish()).expect(WHOLE);
    let mut tree = Builder::default();
    tree.add(b"kernel", file(fs::read(Arch::Amd64.debian("kernel")).expect(WHOLE), 0o644)).expect(WHOLE);
    tree.add(b"kernel.tar", Inode::new(Content::File(writer.finish()), 0o644)).expect(WHOLE);
    tree.finish()
}

fn init() -> Tree {
    let mut tree = Builder::default();
    busybox(&mut tree);
    tree.add(b"init", file(include_bytes!("system_init.sh").as_slice(), 0o755)).expect(WHOLE);
    for directory in ["proc", "sys", "dev", "run", "mnt", "var/lib"] {
        tree.add(directory.as_bytes(), Inode::new(Content::Directory, 0o755)).expect(WHOLE);
    }
    tree.add(b"dev/console", Inode::new(Content::CharacterDevice(Device { major: 5, minor: 1 }), 0o600)).expect(WHOLE);
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
        tree.remove(unused.as_bytes()).expect(WHOLE);
    }
    tree.finish()
}

fn tool() -> Tree {
    let mut tree = Builder::default();
    busybox(&mut tree);
    for directory in ["store", "given", "etc"] {
        tree.add(directory.as_bytes(), Inode::new(Content::Directory, 0o755)).expect(WHOLE);
    }
    tree.add(b"etc/app.conf", file(b"".as_slice(), 0o644)).expect(WHOLE);
    tree.finish()
}
