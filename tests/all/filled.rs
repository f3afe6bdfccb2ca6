//! Partitions that a user fills, as foreign programs find them.

use crate::support::{
    images, scratch, text,
    tools::{Finished, finish, moby, run},
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

/// A user's directory: an empty one in it, names of all lengths, a program; links where they are wanted.
fn fill(directory: &Path, with_links: bool) {
    fs::create_dir_all(directory.join("sub/empty")).unwrap();
    let put = |name: &str, bytes: &[u8], mode: u32| {
        fs::write(directory.join(name), bytes).unwrap();
        fs::set_permissions(directory.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    put("sub/A name that is longer than eight letters.config", &[7; 70_000], 0o644);
    put("run", b"#!/bin/sh\n", 0o755);
    put("none", b"", 0o644);
    if with_links {
        symlink("sub/../run", directory.join("link")).unwrap();
    }
}

fn cloud_init(directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("user-data"), "#cloud-config\nhostname: box\n").unwrap();
    fs::write(directory.join("meta-data"), "instance-id: i-1\n").unwrap();
}

/// A place with a tagged tar, directories and a file.
fn desk(name: &str) -> PathBuf {
    let dir = scratch(name);
    images::write_test_tar(&dir.join("guest.tar"), 1);
    fill(&dir.join("plain"), false);
    fill(&dir.join("linked"), true);
    cloud_init(&dir.join("seed"));
    fs::write(dir.join("bytes"), [5; 1_500_000]).unwrap();
    dir
}

fn convert(dir: &Path, out: &str, arguments: &[&str]) -> Finished {
    finish(moby().current_dir(dir).args(["convert", "guest.tar", "-o", out]).args(arguments))
}

const PARTS: [&str; 12] = [
    "--part",
    "conf=8M:fat=plain",
    "--part",
    "tools=auto:squashfs=linked",
    "--part",
    "lib=4M:erofs=linked",
    "--part",
    "blob=2M:var=bytes",
    "--data-part",
    "rest=3M",
    "--cloud-init",
    "seed",
];

/// The partition with this number as a file.
fn part(disk: &Path, number: u32) -> PathBuf {
    let info = run("sgdisk", ["-i", &number.to_string(), text(disk)]);
    let sector = |what: &str| info.split(what).nth(1).and_then(|rest| rest.split(' ').next()).and_then(|n| n.parse::<u64>().ok()).unwrap();
    let (first, count) = (sector("First sector: "), sector("Partition size: "));
    let to = disk.with_extension(format!("part{number}"));
    let (from, of) = (format!("if={}", text(disk)), format!("of={}", text(&to)));
    run("dd", [&from, &of, "bs=512", &format!("skip={first}"), &format!("count={count}"), "status=none"]);
    to
}

#[test]
fn foreign_programs_find_what_was_put_in() {
    let dir = desk("filled");
    convert(&dir, "disk.img", &[&["-f", "raw"], &PARTS[..]].concat()).success();
    let disk = dir.join("disk.img");
    assert!(run("sgdisk", ["-v", text(&disk)]).contains("No problems found."));
    for (number, name, type_guid, mib) in [
        (3, "conf", "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7", 8),
        (4, "tools", "0FC63DAF-8483-4772-8E79-3D69D8477DE4", 1),
        (5, "lib", "0FC63DAF-8483-4772-8E79-3D69D8477DE4", 4),
        (6, "blob", "4D21B016-B534-45C2-A9FB-5C16E091FD2D", 2),
        (7, "CIDATA", "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7", 1),
        (8, "rest", "0FC63DAF-8483-4772-8E79-3D69D8477DE4", 3),
    ] {
        let info = run("sgdisk", ["-i", &number.to_string(), text(&disk)]);
        let size = format!("Partition size: {} sectors", mib * 2048);
        assert!([type_guid, &size, &format!("Partition name: '{name}'")].iter().all(|wanted| info.contains(wanted)), "{info}");
    }
    for (number, label, source) in [(3, "CONF", "plain"), (7, "CIDATA", "seed")] {
        let (volume, back) = (part(&disk, number), dir.join(format!("back{number}")));
        run("fsck.vfat", ["-n", text(&volume)]);
        assert!(run("file", ["-s", text(&volume)]).contains(&format!("label: \"{label:<11}\"")));
        fs::create_dir(&back).unwrap();
        run("mcopy", ["-s", "-n", "-i", text(&volume), "::/", text(&back)]);
        run("diff", ["-r", text(&back), text(&dir.join(source))]);
    }
    let linked = dir.join("linked");
    let back = dir.join("unsquashed");
    run("unsquashfs", ["-d", text(&back), text(&part(&disk, 4))]);
    run("diff", ["-r", "--no-dereference", text(&back), text(&linked)]);
    assert_eq!(fs::metadata(back.join("run")).unwrap().permissions().mode() & 0o777, 0o755);
    let back = dir.join("un-erofs");
    run("fsck.erofs", [&format!("--extract={}", text(&back)), text(&part(&disk, 5))]);
    run("diff", ["-r", "--no-dereference", text(&back), text(&linked)]);
    run("cmp", ["-n", "1500000", text(&part(&disk, 6)), text(&dir.join("bytes"))]);
}

/// Neither times nor the order of a directory nor the machine's owners are on the disk.
#[test]
fn the_same_files_make_the_same_disk() {
    let sum = |name: &str| {
        let dir = desk(name);
        run("touch", ["-d", &format!("2001-02-03 04:05:0{}", name.len() % 10), text(&dir.join("plain/run"))]);
        convert(&dir, "disk.img", &[&["-f", "raw"], &PARTS[..]].concat()).success();
        run("sha256sum", [text(&dir.join("disk.img"))]).split(' ').next().map(str::to_owned)
    };
    assert_eq!(sum("filled-once"), sum("filled-once-more"));
}

#[test]
fn what_makes_no_partition_is_refused_with_words() {
    let dir = desk("filled-refused");
    fs::create_dir(dir.join("half")).unwrap();
    fs::write(dir.join("half/user-data"), "").unwrap();
    let refused = |arguments: &[&str], code: i32, words: &str| {
        let said = convert(&dir, "refused.img", &[&["-f", "raw"], arguments].concat());
        assert!(said.code() == code && said.errors().contains(words) && !dir.join("refused.img").exists(), "{words}: {said}");
    };
    refused(&["--part", "a=1M:fat"], 2, "must be NAME=SIZE:TYPE=DIR|FILE");
    refused(&["--part", "a=1M:ext4=plain"], 2, "write fat, squashfs, erofs, linux, swap, home, var, esp or a GUID");
    refused(&["--part", "a=1M:fat=linked"], 2, "partition a: link: is a link, which FAT does not hold");
    refused(&["--part", "a=1M:fat=bytes"], 2, "bytes: is a file, must be a directory");
    refused(&["--part", "a=1M:var=plain"], 2, "plain: is a directory, must be a file");
    refused(&["--part", "a=1M:var=bytes"], 2, "partition a: it has 1 MiB, its content needs 2 MiB");
    refused(&["--part", "a=1M:var=none"], 2, "--part: none: No such file");
    refused(&["--part", "a=1M:fat=plain", "--data-part", "a=1M"], 2, "two partitions would be called 'a'");
    refused(&["--cloud-init", "half"], 2, "half: there is no file meta-data in it");
    refused(&["--cloud-init", "bytes"], 2, "is no directory");
    refused(&["--part", "a=1M:erofs=plain", "--opt", "squashfs_compression=xz"], 2, "squashfs_compression");
    let said = convert(&dir, "refused", &["-f", "uki", "--cloud-init", "seed"]);
    assert!(said.code() == 3 && said.errors().contains("--cloud-init has no effect on uki"), "{said}");
    convert(&dir, "disk.img", &["-f", "raw"]).success();
    let said = finish(moby().current_dir(&dir).args(["convert", "disk.img", "-o", "again.qcow2", "--part", "a=1M:fat=plain"]));
    assert!(said.code() == 3 && said.errors().contains("--part is for a tar, and this is a disk"), "{said}");
}

/// Options go to the file system that has them, and no output replaces a file that goes into one.
#[test]
fn options_are_heeded_and_inputs_are_safe() {
    let dir = desk("filled-options");
    let options = ["-f", "raw", "--part", "a=auto:squashfs=plain", "--opt", "squashfs_compression=xz"];
    convert(&dir, "disk.img", &options).success();
    assert!(run("file", ["-s", text(&part(&dir.join("disk.img"), 3))]).contains("xz compressed"));
    let said = convert(&dir, "bytes", &["-f", "raw", "--part", "a=auto:var=bytes"]);
    assert!(said.code() != 0 && fs::read(dir.join("bytes")).unwrap() == [5; 1_500_000], "{said}");
}

/// FAT in a partition of a disk of large sectors has large sectors, too.
#[test]
fn partitions_have_the_sectors_of_their_disk() {
    let dir = desk("filled-4k");
    convert(&dir, "disk.img", &["-f", "raw", "--sector-size", "4096", "--part", "a=4M:fat=plain", "--cloud-init", "seed"]).success();
    let table = run("fdisk", ["-b", "4096", "-l", "-o", "Start,Sectors,Name", text(&dir.join("disk.img"))]);
    let line = table.lines().find(|line| line.trim_end().ends_with(" a")).unwrap_or_else(|| panic!("{table}"));
    let mut words = line.split_whitespace();
    let (first, count) = (words.next().unwrap(), words.next().unwrap());
    let volume = dir.join("volume");
    let (from, of) = (format!("if={}", text(&dir.join("disk.img"))), format!("of={}", text(&volume)));
    run("dd", [&from, &of, "bs=4096", &format!("skip={first}"), &format!("count={count}"), "status=none"]);
    run("fsck.vfat", ["-n", text(&volume)]);
    let back = dir.join("back");
    fs::create_dir(&back).unwrap();
    run("mcopy", ["-s", "-n", "-i", text(&volume), "::/", text(&back)]);
    run("diff", ["-r", text(&back), text(&dir.join("plain"))]);
}
