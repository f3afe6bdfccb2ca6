//! The files of an image, for the commands that list and compare them.

use crate::{
    error::{At, Result},
    image::Image,
    input::{self, Opening},
};
use formats::{
    Blob, Env,
    compare::first_difference,
    tree::{Content, Device, Inode, ShowPath},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Every name of an image with its inode and the inode's number: the root file system and what stands in `boot/`.
pub(super) type Files<'a> = BTreeMap<&'a [u8], (usize, &'a Inode)>;

/// The image in an input.
pub(super) fn image(path: &Path, from: Option<input::Kind>, opening: &Opening, env: &mut Env) -> Result<Image> {
    input::read(path, from, opening, env)?.input.image(env).at(|| input::show(path))
}

pub(super) fn files(image: &Image) -> Files<'_> {
    let root = image.rootfs.names.iter().map(|name| (name.path.as_slice(), (name.inode, &image.rootfs.inodes[name.inode])));
    let apart = image.rootfs.inodes.len();
    let boot = image.boot.names.iter().map(|name| (name.path.as_slice(), (apart + name.inode, &image.boot.inodes[name.inode])));
    boot.chain(root).collect()
}

/// A line as `ls -l` has it, and the component that the file is from.
pub(super) fn line(path: &[u8], inode: &Inode) -> String {
    let kind = match inode.content {
        Content::Directory => 'd',
        Content::File(_) => '-',
        Content::Symlink(_) => 'l',
        Content::CharacterDevice(_) => 'c',
        Content::BlockDevice(_) => 'b',
        Content::Fifo => 'p',
    };
    let size = match &inode.content {
        Content::File(body) => body.len().to_string(),
        Content::CharacterDevice(Device { major, minor }) | Content::BlockDevice(Device { major, minor }) => format!("{major}, {minor}"),
        _ => "-".to_owned(),
    };
    let target = match &inode.content {
        Content::Symlink(target) => format!(" -> {}", ShowPath(target)),
        _ => String::new(),
    };
    let origin = inode.origin.as_ref().map_or_else(String::new, |origin| format!("  [{}]", origin.source.escape_debug()));
    format!("{kind}{:04o} {:>5} {:>5} {size:>11} {}{target}{origin}\n", inode.mode, inode.uid, inode.gid, ShowPath(path))
}

/// Files of the same content: how many bytes all but one of them take, the bytes of one, the names of all.
pub(super) struct Duplicate<'a> {
    pub(super) waste: u64,
    pub(super) len: u64,
    pub(super) paths: Vec<&'a [u8]>,
}

/// Equal files that are not hard links of each other, the costliest first. Only files of one length are read.
pub(super) fn duplicates<'a>(files: &Files<'a>) -> Result<Vec<Duplicate<'a>>> {
    let mut by_len: BTreeMap<u64, Vec<(&[u8], &Blob)>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (path, (number, inode)) in files {
        if let Content::File(body) = &inode.content
            && !body.is_empty()
            && seen.insert(number)
        {
            by_len.entry(body.len()).or_default().push((path, body));
        }
    }
    let mut found = Vec::new();
    for (len, same) in by_len.into_iter().filter(|(_, same)| same.len() > 1) {
        let mut by_sum: BTreeMap<[u8; 32], Vec<&[u8]>> = BTreeMap::new();
        for (path, body) in same {
            by_sum.entry(body.sha256().at(|| ShowPath(path).to_string())?).or_default().push(path);
        }
        found.extend(by_sum.into_values().filter(|paths| paths.len() > 1).map(|paths| {
            let spare = u64::try_from(paths.len() - 1).unwrap_or(u64::MAX);
            Duplicate { waste: len.saturating_mul(spare), len, paths }
        }));
    }
    found.sort_by_key(|duplicate| std::cmp::Reverse(duplicate.waste));
    Ok(found)
}

/// What is not the same in two images, one line each; the kernel, the command line and the microcode count as files.
/// Times are no difference, nor is which component a file is from.
pub(super) fn differences(a: &Image, b: &Image, env: &Env) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    if first_difference(&a.kernel, &b.kernel, env)?.is_some() || a.kernel.len() != b.kernel.len() {
        lines.push("kernel: content".to_owned());
    }
    if a.cmdline != b.cmdline {
        lines.push(format!("cmdline: '{}' and '{}'", a.cmdline, b.cmdline));
    }
    let none = Blob::default();
    if first_difference(a.ucode.as_ref().unwrap_or(&none), b.ucode.as_ref().unwrap_or(&none), env)?.is_some() {
        lines.push("ucode: content".to_owned());
    }
    let (a, b) = (files_of_root(a), files_of_root(b));
    let paths: BTreeSet<&[u8]> = a.keys().chain(b.keys()).copied().collect();
    for path in paths {
        let what = match (a.get(path), b.get(path)) {
            (Some((_, a)), Some((_, b))) => difference(a, b, env).at(|| ShowPath(path).to_string())?,
            (Some((_, inode)), None) => Some(format!("only in the first{}", of(inode))),
            (None, Some((_, inode))) => Some(format!("only in the second{}", of(inode))),
            (None, None) => None,
        };
        lines.extend(what.map(|what| format!("{}: {what}", ShowPath(path))));
    }
    Ok(lines)
}

fn files_of_root(image: &Image) -> Files<'_> {
    image.rootfs.names.iter().map(|name| (name.path.as_slice(), (name.inode, &image.rootfs.inodes[name.inode]))).collect()
}

fn of(inode: &Inode) -> String {
    inode.origin.as_ref().map_or_else(String::new, |origin| format!(", of {}", origin.source.escape_debug()))
}

/// How two files of one name differ.
fn difference(a: &Inode, b: &Inode, env: &Env) -> Result<Option<String>> {
    let mut what = Vec::new();
    match (&a.content, &b.content) {
        (Content::File(a), Content::File(b)) => match first_difference(a, b, env)? {
            _ if a.len() != b.len() => what.push(format!("{} and {} bytes", a.len(), b.len())),
            Some(at) => what.push(format!("content from byte {at}")),
            None => {}
        },
        (Content::Symlink(a), Content::Symlink(b)) if a != b => what.push(format!("target {} and {}", ShowPath(a), ShowPath(b))),
        (Content::CharacterDevice(a), Content::CharacterDevice(b)) | (Content::BlockDevice(a), Content::BlockDevice(b)) if a != b => {
            what.push("device number".to_owned());
        }
        (x, y) if x.type_bits() != y.type_bits() => what.push("type".to_owned()),
        _ => {}
    }
    if a.mode != b.mode {
        what.push(format!("mode {:04o} and {:04o}", a.mode, b.mode));
    }
    if (a.uid, a.gid) != (b.uid, b.gid) {
        what.push(format!("owner {}:{} and {}:{}", a.uid, a.gid, b.uid, b.gid));
    }
    let components = match (&a.origin, &b.origin) {
        (Some(x), Some(y)) if x.source != y.source => format!(" ({} and {})", x.source.escape_debug(), y.source.escape_debug()),
        _ => of(a.origin.as_ref().map_or(b, |_| a)),
    };
    Ok((!what.is_empty()).then(|| what.join(", ") + &components))
}
