//! What there is to know of each name of a tree, as lines that can be compared.

use formats::{
    Blob, Tree,
    tree::{Builder, Content, Device, Inode, ShowPath},
};
use std::{
    collections::HashMap,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::Path,
};

/// One line for each name, the root's first, with everything there is to know about it.
pub(super) fn facts(tree: &Tree) -> Vec<String> {
    let mut first: HashMap<usize, &[u8]> = HashMap::new();
    let root = (b"".as_slice(), 0);
    let names = std::iter::once(root).chain(tree.names.iter().map(|name| (name.path.as_slice(), name.inode)));
    let mut lines = Vec::new();
    for (path, number) in names {
        let first = ShowPath(first.entry(number).or_insert(path)).to_string();
        let inode = &tree.inodes[number];
        let Inode { mode, uid, gid, mtime, mtime_nanos, .. } = inode;
        let attributes: Vec<_> = inode.xattrs.iter().map(|(name, value)| format!("{}={}", ShowPath(name), digest(value))).collect();
        let what = what(inode);
        lines.push(format!("{} = {first}: {what} {mode:04o} {uid}:{gid} {mtime}.{mtime_nanos:09} {attributes:?}", ShowPath(path)));
    }
    lines
}

/// What is left of the facts when a program has extracted the tree that knows neither hard links nor attributes, and, unless
/// run by root, neither owners nor devices.
pub(super) fn extracted(tree: &Tree, by_root: bool) -> Vec<String> {
    let line = |(path, inode): (&[u8], &Inode)| {
        let is_device = matches!(inode.content, Content::CharacterDevice(_) | Content::BlockDevice(_));
        if is_device && !by_root {
            return None;
        }
        let owner = if by_root { format!("{}:{}", inode.uid, inode.gid) } else { String::new() };
        let time = format!("{}.{:09}", inode.mtime, inode.mtime_nanos);
        // A symbolic link has no mode of its own, and this program sets no time of it.
        let (mode, time) = match inode.content {
            Content::Symlink(_) => (0o777, String::new()),
            Content::Directory => (inode.mode, time),
            // It sets the owner after the mode, by which Linux takes the set-id bits away.
            _ => (inode.mode & 0o1777, time),
        };
        Some(format!("{}: {} {mode:04o} {owner} {time}", ShowPath(path), what(inode)))
    };
    let root = (b"".as_slice(), &tree.inodes[0]);
    std::iter::once(root).chain(tree.names.iter().map(|name| (name.path.as_slice(), &tree.inodes[name.inode]))).filter_map(line).collect()
}

fn what(inode: &Inode) -> String {
    match &inode.content {
        Content::File(blob) => format!("file {}", digest(&blob.to_vec(1 << 26).unwrap())),
        Content::Directory => "directory".into(),
        Content::Symlink(target) => format!("-> {}", digest(target)),
        Content::CharacterDevice(Device { major, minor }) => format!("c {major} {minor}"),
        Content::BlockDevice(Device { major, minor }) => format!("b {major} {minor}"),
        Content::Fifo => "fifo".into(),
    }
}

/// Fails with the lines that differ, and only those.
pub(super) fn assert_same(found: &[String], expected: &[String], what: &str) {
    let set = |lines: &[String]| lines.iter().cloned().collect::<std::collections::BTreeSet<_>>();
    let (found, expected) = (set(found), set(expected));
    let only = |a: &std::collections::BTreeSet<String>, b| a.difference(b).cloned().collect::<Vec<_>>();
    assert_eq!(only(&found, &expected), only(&expected, &found), "{what}");
}

/// Length and FNV-1a hash, so that a failing test prints no megabytes.
fn digest(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    format!("{} bytes {hash:016x}", bytes.len())
}

/// A directory as a tree, found by the operating system; every name is an inode of its own.
pub(super) fn walk(root: &Path) -> Tree {
    fn visit(directory: &Path, prefix: &[u8], builder: &mut Builder) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap().path();
            let path = [prefix, entry.file_name().unwrap().as_bytes()].concat();
            let inode = inode(&entry);
            let is_directory = matches!(inode.content, Content::Directory);
            builder.add(&path, inode).unwrap();
            if is_directory {
                visit(&entry, &[&path, b"/".as_slice()].concat(), builder);
            }
        }
    }
    let mut builder = Builder::default();
    builder.add(b"", inode(root)).unwrap();
    visit(root, b"", &mut builder);
    builder.finish()
}

fn inode(path: &Path) -> Inode {
    let metadata = fs::symlink_metadata(path).unwrap();
    let kind = metadata.file_type();
    // Linux' `new_decode_dev`, widened to 64 bits by glibc's `makedev`.
    let rdev = metadata.rdev();
    let number = |value: u64| u32::try_from(value).unwrap();
    let device = Device { major: number(rdev >> 8 & 0xfff), minor: number(rdev & 0xff | rdev >> 12 & 0xf_ff00) };
    let content = match () {
        () if kind.is_dir() => Content::Directory,
        () if kind.is_symlink() => Content::Symlink(fs::read_link(path).unwrap().as_os_str().as_bytes().into()),
        () if kind.is_fifo() => Content::Fifo,
        () if kind.is_char_device() => Content::CharacterDevice(device),
        () if kind.is_block_device() => Content::BlockDevice(device),
        () => Content::File(Blob::from(fs::read(path).unwrap())),
    };
    let mut inode = Inode::new(content, metadata.mode() & 0o7777);
    (inode.uid, inode.gid, inode.mtime) = (metadata.uid(), metadata.gid(), metadata.mtime());
    inode.mtime_nanos = metadata.mtime_nsec().try_into().unwrap();
    inode
}
