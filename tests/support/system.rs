//! A system of our own: Debian's kernel, busybox, runc and containerd in container images that are made here, and its yml.

use super::{
    guest::{Arch, containers},
    layouts,
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
