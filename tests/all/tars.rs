//! Tars as bad days and other programs leave them: read with words about what is odd, or refused.

use crate::support::{
    images::test_kernel,
    layouts, scratch, text,
    tools::{Finished, finish, moby, run, tool},
    ustar::{Kind, Ustar},
};
use formats::{
    Blob,
    tree::{Builder, Content, Inode},
};
use std::{fs, path::Path};

/// A tar that boots, with what the caller adds.
fn tar(add: impl FnOnce(&mut Ustar<Vec<u8>>)) -> Vec<u8> {
    let mut tar = Ustar::new(Vec::new());
    tar.entry("boot/kernel", 0o644, Kind::File(&fs::read(test_kernel()).unwrap())).unwrap();
    tar.entry("boot/cmdline", 0o644, Kind::File(b"quiet")).unwrap();
    add(&mut tar);
    tar.finish().unwrap()
}

fn moby_in(directory: &Path, arguments: &[&str]) -> Finished {
    finish(moby().args(arguments).current_dir(directory))
}

/// What every command that reads a tar says of one that is odd: a warning, and an error on request.
fn told(directory: &Path, warning: &str) {
    let commands: [&[&str]; 4] = [
        &["convert", "it.tar", "-f", "kernel+initrd", "--name", "out"],
        &["inspect", "it.tar"],
        &["inspect", "it.tar", "--files"],
        &["extract", "it.tar", "cmdline"],
    ];
    for command in commands {
        let done = moby_in(directory, command);
        let lines = done.errors().lines().filter(|line| line.contains("warning: it.tar: ")).map(str::to_owned).collect::<Vec<_>>();
        assert!(done.code() == 0 && lines.len() == 1 && lines[0].contains(warning), "{done}");
        let done = moby_in(directory, &[command, &["--strict"]].concat());
        assert!(done.code() == 2 && done.errors().contains(&format!("error: it.tar: {warning}")), "{done}");
    }
    moby_in(directory, &["compare", "--files", "it.tar", "it.tar"]).success();
}

#[test]
fn a_tar_that_lacks_its_end_is_told_of() {
    let directory = scratch("tars-no-end");
    let whole = tar(|tar| tar.entry("etc/last", 0o644, Kind::File(b"x")).unwrap());
    for (what, bytes) in [("no end: it may be cut", &whole[..whole.len() - 1024]), ("no end: it may be cut", &whole[..whole.len() - 2048])]
    {
        fs::write(directory.join("it.tar"), bytes).unwrap();
        told(&directory, &format!("the archive has {what}"));
    }
    let zeros = [&whole[..whole.len() - 2048], &[0; 512], &whole[whole.len() - 2048..]].concat();
    fs::write(directory.join("it.tar"), zeros).unwrap();
    told(&directory, "there is a single block of zeros at byte");
    assert!(moby_in(&directory, &["inspect", "it.tar", "--files"]).text().contains("etc/last"));
    fs::write(directory.join("it.tar"), whole).unwrap();
    let done = moby_in(&directory, &["inspect", "it.tar", "--strict"]).success();
    assert!(!done.errors().contains("warning"), "{done}");
    // It is for tars.
    moby_in(&directory, &["convert", "it.tar", "-o", "it.img"]).success();
    let done = moby_in(&directory, &["inspect", "it.img", "--strict"]);
    assert!(done.code() == 3 && done.errors().contains("--strict is for a tar"), "{done}");
}

/// Images in a tar, as `docker save` leaves them, too.
#[test]
fn images_in_a_tar_that_lacks_its_end_are_told_of() {
    let directory = scratch("tars-images");
    let layout = directory.join("layout");
    fs::create_dir(&layout).unwrap();
    let init = Inode::new(Content::File(Blob::bytes(*b"#!/bin/sh\n")), 0o755);
    let mut tree = Builder::default();
    tree.add(b"init", init).unwrap();
    layouts::write(&layout, &[("test/it:1", serde_json::json!({}), tree.finish())]);
    let whole = finish(tool("tar").args(["-cf", "-", "-C", text(&layout), "."])).success().stdout;
    let end = (whole.iter().rposition(|byte| *byte != 0).unwrap() + 1).next_multiple_of(512);
    fs::write(directory.join("it.tar"), &whole[..end]).unwrap();
    let done = moby_in(&directory, &["inspect", "it.tar", "--files"]).success();
    assert!(done.errors().contains("warning: it.tar: the archive has no end: it may be cut") && done.text().contains("init"), "{done}");
    let done = moby_in(&directory, &["inspect", "it.tar", "--files", "--strict"]);
    assert!(done.code() == 2 && done.errors().contains("error: it.tar: the archive has no end"), "{done}");
}

#[test]
fn an_archive_of_nothing_is_refused() {
    let directory = scratch("tars-empty");
    let mut empty_name = Ustar::new(Vec::new());
    empty_name.entry("", 0o755, Kind::Directory).unwrap();
    let empty_name = empty_name.finish().unwrap();
    for (bytes, words) in
        [(vec![0; 1 << 20], "the archive has no entries"), (Vec::new(), "the archive has no entries"), (empty_name, "its path is empty")]
    {
        fs::write(directory.join("it.tar"), bytes).unwrap();
        let kernel = test_kernel();
        let done = moby_in(
            &directory,
            &["convert", "it.tar", "--from", "tar", "--kernel", text(&kernel), "--cmdline", "x", "-f", "kernel+initrd"],
        );
        assert!(done.code() == 2 && done.errors().contains(words), "{done}");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }
}

#[test]
fn access_lists_are_kept_or_told_and_other_attributes_told() {
    const LIST: &str = "user::rw-,user:lp:r--:7,group::r--,mask::r--,other::---";
    let directory = scratch("tars-attributes");
    let bytes = tar(|tar| {
        for name in ["etc/one", "etc/two"] {
            tar.records(&[("SCHILY.acl.access", LIST), ("SCHILY.fflags", "nodump"), ("MSWINDOWS.rawsd", "AQ")]).unwrap();
            tar.entry(name, 0o640, Kind::File(b"x")).unwrap();
        }
    });
    fs::write(directory.join("it.tar"), bytes).unwrap();
    let not_kept = "it.tar: attributes of entries are not kept: MSWINDOWS.rawsd, SCHILY.fflags";
    let lost = "does not hold extended attributes: system.posix_acl_access stay behind, of etc/one, etc/two";
    for (format, holds) in [("kernel+erofs", true), ("kernel+squashfs", false), ("kernel+initrd", false), ("kernel+iso", false)] {
        let done = moby_in(&directory, &["convert", "it.tar", "-f", format, "--name", "out"]).success();
        let errors = done.errors();
        assert_eq!(errors.matches(not_kept).count(), 1, "{done}");
        assert_eq!(errors.matches(lost).count(), usize::from(!holds), "{done}");
    }
    let seen = run("dump.erofs", ["--path=/etc/one", text(&directory.join("out-erofs.img"))]);
    let inode = seen.lines().find_map(|line| line.split("Xattr size:").nth(1)).unwrap_or_else(|| panic!("{seen}"));
    // Header, entry, and a list of five: 12 + 4 + 44 bytes.
    assert_eq!(inode.trim(), "60", "{seen}");
}

#[test]
fn a_boot_that_is_a_link_or_a_file_comes_back() {
    let directory = scratch("tars-boot");
    for (nth, kind) in [Kind::Symlink("real"), Kind::File(b"a file")].into_iter().enumerate() {
        let mut tar = Ustar::new(Vec::new());
        tar.entry("real/z", 0o644, Kind::File(b"z")).unwrap();
        tar.entry("boot", 0o777, kind).unwrap();
        fs::write(directory.join("it.tar"), tar.finish().unwrap()).unwrap();
        let kernel = test_kernel();
        let [first, second] = ["first", "second"].map(|name| format!("{name}{nth}.img"));
        moby_in(&directory, &["convert", "it.tar", "--kernel", text(&kernel), "--cmdline", "x", "-f", "raw", "-o", &first]).success();
        moby_in(&directory, &["extract", &first, "tar", "-o", "back.tar"]).success();
        moby_in(&directory, &["convert", "back.tar", "-f", "raw", "-o", &second]).success();
        moby_in(&directory, &["compare", &first, &second]).success();
    }
}
