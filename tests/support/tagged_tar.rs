//! Tagged tars as LinuxKit's, made by our own writer: PAX headers that name the component of every entry, duplicates included.
//! `ustar.rs` is the independent writer by which our reader is judged; this one is for what that cannot hold.

use formats::{
    Blob, Tree,
    tar::{Dialect, Writer},
    tree::{Builder, Content, Device, Inode, Origin},
};
use std::{fs::File, io, path::Path, sync::Arc};

/// 2017-04-18 16:30:00 UTC, the time that LinuxKit gives what it makes itself.
const MTIME: i64 = 1_492_533_000;

/// An inode of a component.
pub fn inode(content: Content, mode: u32, component: &str) -> Inode {
    let origin = Origin { source: format!("linuxkit/{component}:v1.0"), location: format!("{component}[0]") };
    Inode { mtime: MTIME, origin: Some(Arc::new(origin)), ..Inode::new(content, mode) }
}

/// A regular file of a component.
pub fn file(bytes: &[u8], mode: u32, component: &str) -> Inode {
    inode(Content::File(Blob::bytes(bytes)), mode, component)
}

/// A tagged tar of a kernel, its command line and a root file system.
pub fn tagged_tar(kernel: &Blob, cmdline: &str, rootfs: &Tree) -> Blob {
    let mut writer = Writer::new(Dialect::Pax);
    let mut add = |path: &str, inode: Inode| writer.add(path.as_bytes(), &inode).expect("PAX holds everything");
    add("boot", inode(Content::Directory, 0o755, "kernel"));
    add("boot/cmdline", file(cmdline.as_bytes(), 0o644, "kernel"));
    add("boot/kernel", inode(Content::File(kernel.clone()), 0o644, "kernel"));
    // As LinuxKit does: an entry that a later one replaces.
    add("etc/os-release", file(b"NAME=first", 0o644, "init"));
    add("etc/os-release", file(b"NAME=second", 0o644, "init"));
    writer.tree(rootfs).expect("PAX holds everything");
    writer.finish()
}

/// A root file system with everything that is awkward: links, devices, set-id bits, attributes, long and foreign names, odd times.
pub fn odd_rootfs() -> Tree {
    let mut builder = Builder::default();
    let mut add = |path: &[u8], inode: Inode| builder.add(path, inode).expect("it is a tree");
    let device = |major, minor| Device { major, minor };
    add(b"init", file(b"#!/bin/sh\n", 0o755, "init"));
    add(b"bin/su", file(b"set-user-ID", 0o4755, "init"));
    add(b"bin/sh", inode(Content::Symlink(b"busybox".into()), 0o777, "init"));
    add(b"dev/console", inode(Content::CharacterDevice(device(5, 1)), 0o600, "init"));
    add(b"dev/sda", inode(Content::BlockDevice(device(8, 0)), 0o660, "init"));
    add(b"dev/initctl", inode(Content::Fifo, 0o600, "init"));
    add(b"tmp", inode(Content::Directory, 0o1777, "init"));
    add(b"empty", file(b"", 0o600, "service"));
    add(&[b"long/".repeat(40), b"n".repeat(200)].concat(), file(b"long", 0o644, "service"));
    add(b"not utf-8 \xff, new\nline", file(b"x", 0o644, "service"));
    add(b"owned", Inode { uid: 100_000, gid: 4_000_000, mtime_nanos: 1, ..file(b"", 0o640, "service") });
    let capability = vec![(b"security.capability".to_vec(), vec![1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])];
    add(b"bin/ping", Inode { xattrs: capability, ..file(b"ping", 0o755, "service") });
    builder.hard_link(b"bin/zsu", b"bin/su").expect("bin/su is there");
    builder.finish()
}

/// A root file system of `total` bytes in files of `each`, of which about half compresses away.
pub fn big_rootfs(total: u64, each: u64) -> Tree {
    let pool: Arc<[u8]> = half_random(8 << 20).into();
    let mut builder = Builder::default();
    for n in 0..total.div_ceil(each) {
        let mut content = Blob::default();
        // Every file begins elsewhere in the pool, so that no two are alike.
        let skip = n * 4099 % (4 << 20);
        while content.len() < each {
            let pool = Blob::bytes(pool.clone());
            content.append(&pool.slice(skip..pool.len().min(skip + each - content.len())));
        }
        let path = format!("data/{}/{n}", n / 100);
        builder.add(path.as_bytes(), inode(Content::File(content), 0o644, "service")).expect("it is a tree");
    }
    builder.finish()
}

/// Always the same bytes: 4 KiB that look random, 4 KiB that repeat, and so on.
fn half_random(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // Marsaglia's xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let word = if bytes.len() / 4096 % 2 == 0 { state } else { 0x2a };
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Writes a tar to a file.
///
/// # Errors
/// When the file cannot be written.
pub fn write(tar: &Blob, to: &Path) -> io::Result<()> {
    let mut reader = io::BufReader::with_capacity(1 << 20, tar.reader());
    io::copy(&mut reader, &mut File::create(to)?).map(drop)
}
