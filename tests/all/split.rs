//! VMDKs in several files, judged by `qemu-img`: the files belong together, or none of them is there.

use crate::support::{
    images::write_test_tar,
    names, scratch, text,
    tools::{convert_in, finish, moby, run, tool},
};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

/// A disk of two extents and a bit, nearly all of it holes, with something across the first border.
fn large(path: &Path) {
    let file = File::create(path).unwrap();
    file.set_len((4100 << 20) + 512).unwrap();
    for (at, byte) in [(0, 1), ((2047 << 20) - 70_000, 2), ((2048 << 20) - 70_000, 3), (4000 << 20, 4), (4100 << 20, 5)] {
        file.write_all_at(&vec![byte; if byte == 5 { 512 } else { 140_000 }], at).unwrap();
    }
    run("sgdisk", ["-n", "1:2048:8000000", text(path)]);
}

#[test]
fn qemu_finds_the_disk_in_its_files() {
    let dir = scratch("split");
    large(&dir.join("disk.raw"));
    for (subformat, files, first) in [
        ("monolithicFlat", &["x-flat.vmdk", "x.vmdk"][..], "RW 8396801 FLAT \"x-flat.vmdk\" 0"),
        ("twoGbMaxExtentFlat", &["x-f001.vmdk", "x-f002.vmdk", "x-f003.vmdk", "x.vmdk"], "RW 4192256 FLAT \"x-f001.vmdk\" 0"),
        ("twoGbMaxExtentSparse", &["x-s001.vmdk", "x-s002.vmdk", "x-s003.vmdk", "x.vmdk"], "RW 4192256 SPARSE \"x-s001.vmdk\""),
    ] {
        let (out, option) = (dir.join(subformat), format!("subformat={subformat}"));
        fs::create_dir(&out).unwrap();
        convert_in(&out, &["../disk.raw", "-o", "x.vmdk", "--opt", &option]).success();
        assert_eq!(names(&out), files);
        assert!(fs::read_to_string(out.join("x.vmdk")).unwrap().lines().any(|line| line == first), "{subformat}");
        let vmdk = out.join("x.vmdk");
        let info = run("qemu-img", ["info", "--output=json", text(&vmdk)]);
        assert!(info.contains(&format!("\"create-type\": \"{subformat}\"")), "{info}");
        // Grains are whole, and so zeros fill up the last of them; what is flat is as long as it is.
        let len: u64 = if subformat.ends_with("Sparse") { (4100 << 20) + (64 << 10) } else { (4100 << 20) + 512 };
        assert!(info.contains(&format!("\"virtual-size\": {len}")), "{info}");
        if subformat.ends_with("Sparse") {
            run("qemu-img", ["check", "-f", "vmdk", text(&vmdk)]);
            // The backup GPT is at the new end, so only what is before its old place is the same.
            convert_in(&out, &["x.vmdk", "--follow", "-f", "raw", "-o", "../again.raw"]).success();
            run("qemu-img", ["compare", "-f", "raw", "-F", "vmdk", text(&dir.join("again.raw")), text(&vmdk)]);
            run("sgdisk", ["-v", text(&dir.join("again.raw"))]);
            let same = finish(
                tool("cmp")
                    .args(["-n", &((4100_u64 << 20) - 20_000).to_string(), "-i", "1024"])
                    .args([dir.join("disk.raw"), dir.join("again.raw")]),
            );
            assert_eq!(same.code(), 0, "{same}");
        } else {
            run("qemu-img", ["compare", "-f", "raw", "-F", "vmdk", text(&dir.join("disk.raw")), text(&vmdk)]);
            finish(moby().current_dir(&out).args(["compare", "-q", "x.vmdk", "../disk.raw", "--follow"])).success();
        }
        // A disk that is replaced takes its files with it.
        convert_in(&out, &["../disk.raw", "-o", "x.vmdk", "--opt", &option]).success();
        assert_eq!(names(&out), files);
    }
}

#[test]
fn the_files_of_an_image_begin_with_its_name() {
    let dir = scratch("split-image");
    write_test_tar(&dir.join("in.tar"), 1);
    let option = ["-f", "vmdk,qcow2", "--opt", "subformat=twoGbMaxExtentSparse"];
    convert_in(&dir, &[&["in.tar", "--name", "größe 1", "--dir", "out"], &option[..]].concat()).success();
    assert_eq!(names(&dir.join("out")), ["größe 1-s001.vmdk", "größe 1.qcow2", "größe 1.vmdk"]);
    run("qemu-img", ["compare", text(&dir.join("out/größe 1.vmdk")), text(&dir.join("out/größe 1.qcow2"))]);
}

#[test]
fn nothing_is_replaced_that_nobody_named() {
    let dir = scratch("split-refused");
    let at = |name: &str| dir.join(name);
    let file = File::create(at("x-flat.vmdk")).unwrap();
    file.set_len(4 << 20).unwrap();
    file.write_all_at(&[7; 512], 1 << 20).unwrap();
    fs::write(at("disk"), vec![1; 1 << 20]).unwrap();
    let refused = |input: &str, arguments: &[&str], code: i32, words: &str| {
        let before = names(&dir);
        let run = convert_in(&dir, &[&["--from", "raw", input, "-f", "vmdk", "--opt", "subformat=monolithicFlat"], arguments].concat());
        assert!(run.code() == code && run.errors().contains(words), "{arguments:?} should say {words:?}\n{run}");
        assert_eq!(names(&dir), before);
        assert_eq!(fs::metadata(at("x-flat.vmdk")).unwrap().len(), 4 << 20);
    };
    // It belongs to no disk that is replaced.
    refused("disk", &["-o", "x.vmdk"], 2, "x-flat.vmdk exists");
    fs::write(at("x.vmdk"), "another").unwrap();
    // It is what is read.
    refused("x-flat.vmdk", &["-o", "x.vmdk"], 2, "x-flat.vmdk is an input");
    fs::remove_file(at("x.vmdk")).unwrap();
    refused("disk", &["-o", "x.vmdk", "--no-clobber"], 2, "x-flat.vmdk exists");
    fs::create_dir(at("y-flat.vmdk")).unwrap();
    refused("disk", &["-o", "y.vmdk"], 2, "y-flat.vmdk exists");
    // Two directories would each have a part of it.
    std::os::unix::fs::symlink("elsewhere.vmdk", at("link.vmdk")).unwrap();
    refused("disk", &["-o", "link.vmdk"], 3, "link.vmdk is a symbolic link");
    // There are names for one file alone, or none that a descriptor can hold.
    refused("disk", &["-o", "-"], 3, "need names");
    refused("disk", &["-o", "/dev/null"], 3, "need names");
    refused("disk", &["-o", "z.vmdk.gz"], 3, "need names");
    refused("disk", &["-o", "z.vmdk", "--compress-output", "xz"], 3, "need names");
    refused("disk", &["-o", "a:b.vmdk"], 3, "which no name in a VMDK descriptor can have");
}

#[test]
fn a_failure_leaves_all_the_files_of_an_earlier_disk() {
    let dir = scratch("split-failure");
    let at = |name: &str| dir.join(name);
    fs::write(at("small"), vec![1; 1 << 20]).unwrap();
    fs::write(at("large"), vec![2; 8 << 20]).unwrap();
    let arguments = ["--from", "raw", "-o", "x.vmdk", "--opt", "subformat=twoGbMaxExtentSparse"];
    convert_in(&dir, &[&["small"], &arguments[..]].concat()).success();
    let before = ["x.vmdk", "x-s001.vmdk"].map(|name| fs::read(at(name)).unwrap());
    // No file may become larger than 4 MiB.
    let limited = ["-c", "ulimit -f 4096; exec \"$@\"", "sh"];
    let failed =
        finish(tool("bash").current_dir(&dir).args(limited).arg(moby().get_program()).args(["convert", "-q", "large"]).args(arguments));
    assert_eq!(failed.code(), 4, "{failed}");
    assert!(["x.vmdk", "x-s001.vmdk"].map(|name| fs::read(at(name)).unwrap()) == before);
    assert_eq!(names(&dir), ["large", "small", "x-s001.vmdk", "x.vmdk"]);
}
