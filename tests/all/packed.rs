//! Disks as they are handed around, in archives that are nothing but their packaging; and what is no input at all.

use crate::support::{
    scratch, text,
    tools::{Finished, finish, moby, run, tool},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A directory with a raw disk of one partition, and the same as qcow2.
fn disks(name: &str) -> PathBuf {
    let dir = scratch(name);
    let raw = dir.join("disk.img");
    fs::write(&raw, vec![0; 4 << 20]).unwrap();
    run("sgdisk", ["--new=1:2048:4095", text(&raw)]);
    run("qemu-img", ["convert", "-O", "qcow2", text(&raw), text(&dir.join("disk.qcow2"))]);
    dir
}

/// Packs files of a directory with a tool that runs there.
fn pack(dir: &Path, program: &str, arguments: &str) {
    finish(tool(program).args(arguments.split(' ')).current_dir(dir)).success();
}

fn convert(dir: &Path, input: &str, more: &[&str]) -> Finished {
    let out = dir.join("out.img");
    let finished = finish(moby().args(["convert", "--quiet", "--force", text(&dir.join(input)), "-o", text(&out)]).args(more));
    if finished.code() == 0 {
        assert!(fs::read(&out).unwrap() == fs::read(dir.join("disk.img")).unwrap(), "{input} is another disk");
        fs::remove_file(out).unwrap();
    }
    finished
}

#[test]
fn the_disk_in_an_archive_is_taken() {
    let dir = disks("packed-one");
    fs::create_dir(dir.join("release")).unwrap();
    fs::write(dir.join("README"), "how to boot it").unwrap();
    for name in ["disk.img", "disk.qcow2"] {
        run("cp", [text(&dir.join(name)), text(&dir.join("release"))]);
    }
    run("xz", ["--keep", text(&dir.join("release/disk.img"))]);
    for (archive, program, arguments) in [
        ("a.tar", "tar", "-cf a.tar README disk.qcow2"),
        ("a.tar.gz", "tar", "-czf a.tar.gz ./disk.img ./README"),
        ("a.tar.xz", "tar", "-cJf a.tar.xz release/disk.qcow2"),
        ("a.tar.zst", "tar", "--zstd -cf a.tar.zst release/disk.img.xz"),
        ("a.zip", "7z", "a -tzip a.zip README disk.qcow2"),
        ("stored.zip", "7z", "a -tzip -mx0 stored.zip disk.img"),
        ("bzip2.zip", "7z", "a -tzip -mm=BZip2 bzip2.zip disk.img"),
        ("xz.zip", "7z", "a -tzip xz.zip README release/disk.img.xz"),
        ("python.zip", "python3", "-m zipfile -c python.zip disk.img"),
    ] {
        pack(&dir, program, arguments);
        convert(&dir, archive, &[]).success();
    }
    // One directory, as it is packed by its name.
    fs::remove_file(dir.join("release/disk.img")).unwrap();
    fs::remove_file(dir.join("release/disk.img.xz")).unwrap();
    pack(&dir, "tar", "-czf dir.tgz release");
    convert(&dir, "dir.tgz", &[]).success();
}

/// As `vagrant package` makes one.
#[test]
fn a_vagrant_box_is_the_disk_in_it() {
    let dir = disks("packed-box");
    fs::rename(dir.join("disk.qcow2"), dir.join("box.img")).unwrap();
    fs::write(dir.join("metadata.json"), r#"{"provider":"libvirt","format":"qcow2","virtual_size":1}"#).unwrap();
    fs::write(dir.join("Vagrantfile"), "Vagrant.configure(\"2\") do |config|\nend\n").unwrap();
    pack(&dir, "tar", "-czf linux.box ./metadata.json ./Vagrantfile ./box.img");
    convert(&dir, "linux.box", &[]).success();
    let facts = finish(moby().args(["inspect", text(&dir.join("linux.box"))])).success().text();
    assert!(facts.contains("qcow2") && facts.contains("number 1"), "{facts}");
    let verdict = finish(moby().args(["check", text(&dir.join("linux.box"))])).success().text();
    assert!(verdict.contains("No errors"), "{verdict}");
}

#[test]
fn of_several_disks_one_is_named() {
    let dir = disks("packed-two");
    for (archive, program, arguments) in
        [("two.tar", "tar", "-cf two.tar disk.img disk.qcow2"), ("two.zip", "7z", "a -tzip two.zip disk.img disk.qcow2")]
    {
        pack(&dir, program, arguments);
        let refused = convert(&dir, archive, &[]);
        let said = refused.errors();
        assert!(
            refused.code() == 3 && said.contains("2 disks") && said.contains("'disk.img', 'disk.qcow2'") && said.contains("--disk"),
            "{refused}"
        );
        convert(&dir, archive, &["--disk", "disk.qcow2"]).success();
        let refused = convert(&dir, archive, &["--disk", "other"]);
        assert!(refused.code() == 2 && refused.errors().contains("no one disk 'other'"), "{refused}");
    }
}

/// A root file system may hold disks, and stays one.
#[test]
fn a_root_file_system_with_a_disk_in_it_is_no_packaging() {
    let dir = disks("packed-root");
    fs::create_dir_all(dir.join("root/var/lib")).unwrap();
    run("cp", [text(&dir.join("disk.qcow2")), text(&dir.join("root/var/lib"))]);
    pack(&dir, "tar", "-C root -cf root.tar var");
    let facts = finish(moby().args(["inspect", text(&dir.join("root.tar"))])).success().text();
    assert!(facts.contains("root") && !facts.contains("qcow2"), "{facts}");
}

#[test]
fn a_damaged_zip_is_an_error() {
    let dir = disks("packed-damaged");
    pack(&dir, "7z", "a -tzip -mx0 a.zip disk.img");
    let whole = fs::read(dir.join("a.zip")).unwrap();
    let mut broken = whole.clone();
    broken[3 << 20] ^= 1;
    fs::write(dir.join("broken.zip"), broken).unwrap();
    fs::write(dir.join("cut.zip"), &whole[..whole.len() - 30]).unwrap();
    for (name, words) in [("broken.zip", "CRC-32"), ("cut.zip", "damaged ZIP archive")] {
        let refused = convert(&dir, name, &[]);
        assert!(refused.code() == 2 && refused.errors().contains(words), "{refused}");
        assert!(!dir.join("out.img").exists());
    }
    pack(&dir, "7z", "a -tzip -psecret secret.zip disk.img");
    let refused = convert(&dir, "secret.zip", &[]);
    assert!(refused.code() == 3 && refused.errors().contains("is encrypted"), "{refused}");
}

/// What foreign programs make and we do not read is called by its name, and nobody is told to take it for a raw disk.
#[test]
fn a_file_of_others_is_named() {
    let dir = disks("packed-strangers");
    fs::write(dir.join("note"), "no disk\n").unwrap();
    fs::write(dir.join("empty"), "").unwrap();
    pack(&dir, "7z", "a a.7z disk.img");
    pack(&dir, "7z", "a -tzip note.zip note");
    pack(&dir, "sh", "-c gzip<disk.img|xz>twice.xz");
    run("mksquashfs", [text(&dir.join("note")), text(&dir.join("a.squashfs")), "-quiet"]);
    run("mke2fs", ["-q", "-t", "ext4", text(&dir.join("a.ext4")), "8M"]);
    pack(&dir, "sh", "-c echo\tnote|cpio\t-o\t-H\tnewc>a.cpio");
    fs::write(dir.join("app.yml"), "kernel:\n  image: linuxkit/kernel:6.6.71\n").unwrap();
    for (name, words) in [
        ("empty", "is empty"),
        ("a.7z", "7-Zip"),
        ("note.zip", "ZIP archive in which no disk is"),
        ("twice.xz", "compressed twice, with gzip inside"),
        ("a.squashfs", "volume of squashfs"),
        ("a.ext4", "volume of ext4 without a partition table"),
        ("a.cpio", "cpio"),
        ("app.yml", "moby build"),
        ("note", "is a text"),
    ] {
        let refused = convert(&dir, name, &[]);
        let said = refused.errors();
        assert!(refused.code() == 2 && said.contains(words), "{name}: {refused}");
        assert_eq!(said.contains("--from raw"), words.contains("volume"), "{refused}");
        assert!(!dir.join("out.img").exists());
    }
    let piped = finish(moby().args(["convert", "--quiet", "-", "-o", text(&dir.join("out.img"))]).stdin(std::process::Stdio::null()));
    assert!(piped.code() == 2 && piped.errors().contains("standard input: is empty"), "{piped}");
}
