//! Linux judges the root file system of an ISO: it mounts the CD and tells what it sees.

use crate::support::{
    guest::Arch,
    qemu::{Board, Bus, Firmware, Machine},
    scratch, tagged_tar, text,
    tools::{finish, moby},
};
use formats::{
    Blob, Tree, cpio,
    tree::{Builder, Content, Device, Inode},
};
use md5::{Digest, Md5};
use std::{fs, path::Path};

const INIT: &[u8] = include_bytes!("../../support/isofs.sh");

/// An initrd with busybox, the drivers of a CD and a script.
fn write_initrd(to: &Path) {
    let mut builder = Builder::default();
    let file = |path: &Path| Content::File(Blob::from(fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))));
    let mut add = |path: &str, content, mode| builder.add(path.as_bytes(), Inode::new(content, mode)).expect("it is a tree");
    add("init", Content::File(Blob::bytes(INIT)), 0o755);
    add("bin/busybox", file(&Arch::Amd64.debian("busybox")), 0o755);
    add("dev/console", Content::CharacterDevice(Device { major: 5, minor: 1 }), 0o600);
    add("mnt", Content::Directory, 0o755);
    let modules = Arch::Amd64.debian("modules");
    for entry in fs::read_dir(&modules).expect("tests/setup.sh made it") {
        let name = entry.expect("a name").file_name().into_string().expect("ASCII");
        add(&format!("modules/{name}"), file(&modules.join(&name)), 0o644);
    }
    tagged_tar::write(&cpio::archive(&builder.finish()).expect("newc holds it"), to).expect("the scratch directory can be written");
}

/// What the guest must print of a tree; names that a line cannot hold are left to other tests.
fn expected(tree: &Tree) -> Vec<String> {
    let counts = tree.name_counts();
    let mut lines = Vec::new();
    for name in &tree.names {
        let Ok(path) = std::str::from_utf8(&name.path) else { continue };
        let Inode { content, mode, uid, gid, mtime, .. } = &tree.inodes[name.inode];
        let inside =
            |path: &[u8]| path.strip_prefix(name.path.as_slice()).is_some_and(|rest| rest.starts_with(b"/") && !rest[1..].contains(&b'/'));
        let is_directory = |inode: usize| matches!(tree.inodes[inode].content, Content::Directory);
        let links = match content {
            Content::Directory => 2 + tree.names.iter().filter(|other| is_directory(other.inode) && inside(&other.path)).count(),
            _ => usize::try_from(counts[name.inode]).expect("a small number"),
        };
        let device = match content {
            Content::CharacterDevice(Device { major, minor }) | Content::BlockDevice(Device { major, minor }) => {
                format!("{major:x}:{minor:x}")
            }
            _ => "0:0".into(),
        };
        let mode = content.type_bits() | mode;
        lines.push(format!("STAT {mode:x} {links} {uid}:{gid} {mtime} {device} ./{path}\n"));
        match content {
            Content::Symlink(target) => lines.push(format!("LINK ./{path} -> {}\n", std::str::from_utf8(target).expect("ours are ASCII"))),
            Content::File(body) => {
                let sum = Md5::digest(body.to_vec(1 << 20).expect("it is small"));
                let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
                lines.push(format!("FILE {sum}  ./{path}\n"));
            }
            _ => {}
        }
    }
    lines
}

/// The odd tree, and more of what other readers do not take: a large minor number, long targets, names of every length.
fn tree() -> Tree {
    let odd = tagged_tar::odd_rootfs();
    let mut builder = Builder::default();
    for name in &odd.names {
        builder.add(&name.path, odd.inodes[name.inode].clone()).expect("it was in a tree");
    }
    builder.hard_link(b"bin/zsu", b"bin/su").expect("bin/su is there");
    let mut add = |path: String, content| builder.add(path.as_bytes(), tagged_tar::inode(content, 0o644, "init")).expect("it is new");
    add("dev/nvme".into(), Content::BlockDevice(Device { major: 259, minor: 70_000 }));
    for (n, target) in ["/", "../x", ".", "a//b/", &"t".repeat(255), &"long/".repeat(800)].into_iter().enumerate() {
        add(format!("links/{n}"), Content::Symlink(target.into()));
    }
    (1..=253).rev().step_by(4).for_each(|len| add(format!("many/{}", "n".repeat(len)), Content::File(Blob::bytes(*b"x"))));
    builder.finish()
}

#[test]
fn linux_sees_the_tree_of_the_tar() {
    let dir = scratch("boot-isofs");
    let rootfs = tree();
    let tar = dir.join("guest.tar");
    let kernel = Blob::from(fs::read(Arch::Amd64.debian("kernel")).expect("tests/setup.sh made it"));
    tagged_tar::write(&tagged_tar::tagged_tar(&kernel, "console=ttyS0", &rootfs), &tar).expect("the scratch directory can be written");
    finish(moby().args(["convert", "--quiet", "--dir", text(&dir), "-f", "kernel+iso"]).arg(&tar)).success();
    let initrd = dir.join("initrd");
    write_initrd(&initrd);

    let machine = Machine::new(Board::Q35, Firmware::SeaBios).direct(&dir.join("guest-kernel"), &initrd, "console=ttyS0 panic=-1");
    let mut console = machine.disk(Bus::CdScsi, &dir.join("guest.iso"), "raw").run_until("MOBY-MARKER-END");
    for line in expected(&rootfs) {
        console = console.expect(&line);
    }
}
