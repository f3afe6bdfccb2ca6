//! What is measured on: tagged tars of this machine's own `/usr`, the content that images are made of.

use super::support::{guest, tools::run};
use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::FileExt,
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

/// Files of `/usr` in the order of their names, until their sizes come to `bytes`.
pub fn paths(bytes: u64) -> Vec<String> {
    files(&mut bytes.clone()).lines().map(str::to_owned).collect()
}

/// As [`paths`], one a line; `left` is what they do not come to.
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

/// A disk of 4 GiB with 1 GiB of data, half of it files of `/usr` and half of it random, in every form that is converted.
pub fn disks(work: &Path) {
    /// Bytes of files, then of noise; a hole follows.
    const PIECE: usize = 8 << 20;
    const PIECES: u64 = 64;
    const STRIDE: u64 = 64 << 20;
    let path = |name: &str| work.join(name);
    let mut files = File::open(tar(work, 520)).expect("the tar");
    let raw = File::create(path("disk.raw")).expect("a file");
    raw.set_len(PIECES * STRIDE).expect("room");
    let mut noise = Noise(1);
    let mut piece = vec![0; PIECE];
    for n in 0..PIECES {
        files.read_exact(&mut piece).expect("the tar is long enough");
        raw.write_all_at(&piece, n * STRIDE).expect("room");
        piece.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&noise.next().to_le_bytes()));
        raw.write_all_at(&piece, n * STRIDE + PIECE as u64).expect("room");
    }
    let forms: [(&str, &[&str]); 3] = [
        ("disk.qcow2", &["-O", "qcow2"]),
        ("disk.packed.qcow2", &["-c", "-O", "qcow2"]),
        ("disk.stream.vmdk", &["-O", "vmdk", "-o", "subformat=streamOptimized"]),
    ];
    for (name, options) in forms {
        let (raw, made) = (path("disk.raw"), path(name));
        let files = [raw.to_str().expect("UTF-8"), made.to_str().expect("UTF-8")];
        run("qemu-img", ["convert", "-f", "raw"].into_iter().chain(options.iter().copied()).chain(files));
    }
}

/// Marsaglia's xorshift: nothing compresses it.
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
