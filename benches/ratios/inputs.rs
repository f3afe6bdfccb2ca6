//! What is measured on: tagged tars of this machine's own `/usr`, the content that images are made of.

use super::support::{guest, tools::run};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A small tar and a large one. Memory must not grow from the one to the other.
pub fn tars(work: &Path) -> Vec<(String, PathBuf)> {
    [40, 300, 1500].map(|mib| (format!("{mib} MiB tar"), tar(work, mib))).into()
}

/// A tar of about `mib` MiB: kernel, command line, and files of `/usr`, repeated under other names where they do not suffice.
pub fn tar(work: &Path, mib: u64) -> PathBuf {
    let path = work.join(format!("{mib}.tar"));
    if path.exists() {
        return path;
    }
    let stage = work.join("stage/boot");
    fs::create_dir_all(&stage).expect("a directory");
    fs::copy(guest::Arch::Amd64.debian("kernel"), stage.join("kernel")).expect("the kernel");
    fs::write(stage.join("cmdline"), "console=ttyS0\n").expect("the command line");
    let partial = work.join("partial.tar");
    run("tar", ["--format=pax", "-cf", partial.to_str().expect("UTF-8"), "-C", work.join("stage").to_str().expect("UTF-8"), "boot"]);
    let mut left = (mib << 20).saturating_sub(fs::metadata(&partial).expect("the tar").len());
    for round in 0.. {
        let list = files(&mut left);
        append(&partial, round, &list);
        if left == 0 {
            break;
        }
    }
    fs::rename(&partial, &path).expect("a name");
    path
}

/// Files of `/usr` in the order of their names, until their sizes use up `left`.
fn files(left: &mut u64) -> String {
    let listing = run("find", ["/usr/bin", "/usr/lib", "/usr/share", "-xdev", "-type", "f", "-size", "-32M", "-printf", "%s %p\n"]);
    let mut lines: Vec<_> = listing.lines().filter_map(|line| line.split_once(' ')).collect();
    lines.sort_by_key(|(_, name)| *name);
    let mut list = String::new();
    for (size, name) in lines {
        if *left == 0 {
            break;
        }
        *left = left.saturating_sub(size.parse().expect("find prints numbers"));
        list += name;
        list.push('\n');
    }
    list
}

fn append(tar: &Path, round: u32, list: &str) {
    let mut child = Command::new("tar")
        .args(["--format=pax", "-P", "--transform", &format!("s,^/,{round}/,"), "-T", "-", "-rf"])
        .arg(tar)
        .stdin(Stdio::piped())
        .spawn()
        .expect("tar runs");
    child.stdin.take().expect("a pipe").write_all(list.as_bytes()).expect("tar listens");
    assert!(child.wait().expect("tar ends").success());
}

/// A raw disk with a partition table and files in it, sparse as disks are: the 300 MiB tar as a disk, and its tar beside the files.
pub fn raw_disk(work: &Path, moby: &str) -> PathBuf {
    let path = work.join("disk.img");
    let tar = tar(work, 300);
    let arguments = ["-q", "convert", tar.to_str().expect("UTF-8"), "--initrd-compression", "none", "--size", "4G", "-o"];
    run(moby, arguments.into_iter().chain([path.to_str().expect("UTF-8")]));
    path
}
