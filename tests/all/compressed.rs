//! Outputs that are compressed as a whole, judged by the codecs' own programs: what they unpack is the output as it is without.

use crate::support::{
    images::write_test_tar,
    names, scratch, text,
    tools::{Finished, finish, moby, run, tool},
};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

fn ours(dir: &Path, arguments: &[&str]) -> Finished {
    finish(moby().current_dir(dir).arg("--quiet").args(arguments))
}

/// What a codec's own program finds in a stream that it calls sound.
fn unpacked(program: &str, path: &Path) -> Vec<u8> {
    run(program, ["-t", "-q", text(path)]);
    finish(tool(program).args(["-dc", text(path)])).success().stdout
}

#[test]
fn a_name_says_how_an_output_is_compressed() {
    let dir = scratch("compressed-names");
    write_test_tar(&dir.join("in.tar"), 2);
    for (name, format, program) in [
        ("x.img.zst", "raw", "zstd"),
        ("x.img.gz", "raw", "gzip"),
        ("x.raw.xz", "aws", "xz"),
        ("x.iso.gz", "iso", "gzip"),
        ("x.iso.lz4", "iso", "lz4"),
        ("x.qcow2.xz", "qcow2", "xz"),
        ("x.tar.zst", "tar", "zstd"),
        ("x.efi.gz", "uki", "gzip"),
    ] {
        ours(&dir, &["convert", "in.tar", "-o", "plain", "-f", format]).success();
        ours(&dir, &["convert", "in.tar", "-o", name, "-j", "3"]).success();
        assert!(unpacked(program, &dir.join(name)) == fs::read(dir.join("plain")).unwrap(), "{name} holds something else");
    }
    // No number of threads decides.
    for name in ["x.img.zst", "x.img.gz", "x.raw.xz", "x.iso.lz4"] {
        let of_three = fs::read(dir.join(name)).unwrap();
        ours(&dir, &["convert", "in.tar", "-o", name, "-j", "1"]).success();
        assert!(of_three == fs::read(dir.join(name)).unwrap(), "{name}");
    }
    // Read again it is what it holds.
    ours(&dir, &["convert", "in.tar", "-o", "plain.img"]).success();
    ours(&dir, &["compare", "plain.img", "x.img.zst"]).success();
    ours(&dir, &["convert", "x.img.gz", "-o", "back.img"]).success();
    run("cmp", [dir.join("plain.img"), dir.join("back.img")]);
    assert_eq!(names(&dir).iter().filter(|name| name.contains("moby-")).count(), 0, "debris");
}

#[test]
fn compressed_outputs_are_named_so_and_go_into_a_pipe() {
    let dir = scratch("compressed-option");
    write_test_tar(&dir.join("in.tar"), 2);
    ours(&dir, &["convert", "in.tar", "-f", "raw,vhd,kernel+initrd,gcp", "--compress-output", "zst", "--dir", "out"]).success();
    let made = ["in-cmdline", "in-initrd.img", "in-kernel", "in.img.tar.gz", "in.img.zst", "in.vhd.zst"];
    assert_eq!(names(&dir.join("out")), made);
    ours(&dir, &["convert", "in.tar", "-f", "raw", "-o", "plain.img"]).success();
    let plain = fs::read(dir.join("plain.img")).unwrap();
    assert!(unpacked("zstd", &dir.join("out/in.img.zst")) == plain);

    for (codec, program, ending) in [("gz", "gzip", "gz"), ("gzip", "gzip", "gz"), ("zstd", "zstd", "zst"), ("xz", "xz", "xz")] {
        let piped = ours(&dir, &["convert", "in.tar", "-f", "raw", "-o", "-", "--compress-output", codec]).success().stdout;
        let path = dir.join(format!("piped.{ending}"));
        fs::write(&path, &piped).unwrap();
        assert!(unpacked(program, &path) == plain, "{codec}");
        ours(&dir, &["convert", "in.tar", "-f", "raw", "--name", "file", "--compress-output", codec]).success();
        assert!(fs::read(dir.join(format!("file.img.{ending}"))).unwrap() == piped, "{codec}: a file is another stream than a pipe");
    }
    let level = |level: &str| {
        ours(&dir, &["convert", "in.tar", "-o", "level.img.zst", "--output-level", level]).success();
        assert!(unpacked("zstd", &dir.join("level.img.zst")) == plain, "level {level}");
        fs::metadata(dir.join("level.img.zst")).unwrap().len()
    };
    assert!(level("19") <= level("1"));
}

#[test]
fn what_cannot_be_compressed_is_refused() {
    let dir = scratch("compressed-refused");
    write_test_tar(&dir.join("in.tar"), 1);
    let refused = |arguments: &[&str], code: i32, words: &str| {
        let run = ours(&dir, &[&["convert", "in.tar"], arguments].concat());
        assert!(run.code() == code && run.errors().contains(words), "{arguments:?} should say {words:?}\n{run}");
        assert_eq!(names(&dir), ["in.tar"], "{arguments:?}");
    };
    refused(&["-f", "kernel+initrd", "--compress-output", "gz"], 3, "--compress-output has no effect on kernel+initrd");
    refused(&["-f", "gcp", "--compress-output", "gz"], 3, "--compress-output has no effect on gcp");
    refused(&["-f", "gcp", "-o", "x.zst"], 3, "has no effect on gcp");
    refused(&["-f", "raw", "--output-level", "3"], 3, "--output-level has no effect on raw");
    refused(&["-o", "x.img.zst", "--output-level", "40"], 3, "level 40 of zstd");
    refused(&["-o", "x.img.zst", "--compress-output", "gz"], 2, "says zstd, --compress-output gzip");
    refused(&["-o", "x.img.bz2"], 3, "bzip2 is read, never written");
    refused(&["-f", "raw", "-o", "/dev/null", "--compress-output", "gz"], 3, "/dev/null is a device");
    refused(&["-f", "raw", "--compress-output", "rar"], 2, "the output compression 'rar' is unknown");
}

/// Zeros cost neither memory nor time, however many they are.
#[test]
fn ten_gib_of_zeros_are_compressed_in_little_memory() {
    let dir = scratch("compressed-zeros");
    let disk = File::create(dir.join("disk.raw")).unwrap();
    disk.set_len(10 << 30).unwrap();
    disk.write_all_at(b"begin", 0).unwrap();
    disk.write_all_at(b"end", (10 << 30) - 3).unwrap();
    for name in ["x.img.zst", "x.img.xz", "x.img.gz"] {
        let script = "ulimit -v 800000; exec \"$@\"";
        let arguments = ["convert", "-q", "-j", "2", "--from", "raw", "disk.raw", "-o", name];
        finish(tool("sh").current_dir(&dir).args(["-c", script, "sh"]).arg(moby().get_program()).args(arguments)).success();
        assert!(fs::metadata(dir.join(name)).unwrap().len() < 20 << 20, "{name}");
    }
    for (program, options, name) in [("zstd", "-lv", "x.img.zst"), ("xz", "-lvv", "x.img.xz")] {
        let said = run(program, [options, text(&dir.join(name))]);
        assert!(said.replace(',', "").contains("10737418240"), "{said}");
    }
    // Of the length gzip keeps 32 bits.
    assert!(fs::read(dir.join("x.img.gz")).unwrap().ends_with(&(2_u32 << 30).to_le_bytes()));
}

/// A seed is for identifiers that are made, and packed clusters are for containers that have some.
#[test]
fn wishes_that_nothing_heeds_are_refused_for_disks_too() {
    let dir = scratch("compressed-wishes");
    let disk = File::create(dir.join("disk.raw")).unwrap();
    disk.set_len(4 << 20).unwrap();
    disk.write_all_at(&[0x55, 0xaa], 510).unwrap();
    let convert = |arguments: &[&str]| ours(&dir, &[&["convert", "disk.raw", "--from", "raw"], arguments].concat());
    for (arguments, words) in [
        (&["-f", "raw", "--seed", "a", "-o", "x"][..], "--seed has no effect on raw of a disk"),
        (&["-f", "qcow2", "--seed", "a", "-o", "x"], "--seed has no effect on qcow2 of a disk"),
        (&["-f", "vhd", "--compress", "-o", "x"], "--compress has no effect on vhd"),
        (&["-f", "vhd", "--data-part", "a=1M", "-o", "x"], "--data-part is for a tar"),
    ] {
        let refused = convert(arguments);
        assert!(refused.code() == 3 && refused.errors().contains(words), "{refused}");
    }
    assert_eq!(names(&dir), ["disk.raw"]);
    let seeded = |format: &str, seed: &str| {
        convert(&["-f", format, "--seed", seed, "-o", "seeded"]).success();
        fs::read(dir.join("seeded")).unwrap()
    };
    for format in ["vhd", "dynamic-vhd", "vhdx", "vmdk", "vdi", "ova"] {
        assert!(seeded(format, "a") != seeded(format, "b"), "{format} has no identifiers");
    }
    convert(&["-f", "raw,vhd", "--seed", "a", "--dir", "both"]).success();
    convert(&["-f", "raw", "-o", "x.img.gz"]).success();
    convert(&["-f", "qcow2,vhd", "-c", "--dir", "packed"]).success();
}
