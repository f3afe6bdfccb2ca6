//! Disks that others made: what they are stays, whatever they are converted to; what has to change is said.

use crate::support::{
    images, scratch, text,
    tools::{Finished, finish, moby, run, tool},
};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

fn ours(arguments: &[&str]) -> Finished {
    finish(moby().args(arguments))
}

fn convert(from: &Path, to: &Path, more: &[&str]) -> Finished {
    ours(&[&["convert", text(from), "-o", text(to)], more].concat())
}

/// The disk in a file as qemu-img reads it.
fn back(file: &Path, format: &str) -> PathBuf {
    let raw = file.with_extension("back");
    finish(tool("qemu-img").args(["convert", "-f", format, "-O", "raw", text(file), text(&raw)])).success();
    raw
}

/// A GPT disk of so many bytes with a partition up to its end.
fn partitioned(path: &Path, len: u64) {
    File::create(path).unwrap().set_len(len).unwrap();
    run("sgdisk", ["-n", "1:2048:0", "-c", "1:data", text(path)]);
}

/// What sgdisk says of the first partition, and that it finds no problem.
fn sound(disk: &Path) -> String {
    let verdict = run("sgdisk", ["-v", text(disk)]);
    assert!(verdict.contains("No problems found."), "{verdict}");
    run("sgdisk", ["-i", "1", text(disk)])
}

const ODD: u64 = (64 << 20) + 33 * 512;

/// A disk whose size is no whole MiB keeps it where the container can, and so its backup GPT stays at its end.
#[test]
fn a_disk_keeps_its_size() {
    let dir = scratch("given-size");
    let disk = dir.join("odd.raw");
    partitioned(&disk, ODD);
    for format in ["raw", "qcow2", "vdi"] {
        let made = dir.join(format!("made.{format}"));
        let said = convert(&disk, &made, &["-f", format]).success();
        assert!(!said.errors().contains("GPT"), "{said}");
        run("cmp", [text(&disk), text(&back(&made, format))]);
        assert_eq!(ours(&["compare", "--strict", text(&disk), text(&made)]).code(), 0);
    }
}

/// Where a container or a platform takes no such size, the table grows with the disk, and that is said.
#[test]
fn a_disk_that_has_to_grow_takes_its_backup_gpt_along() {
    let dir = scratch("given-grown");
    let disk = dir.join("odd.raw");
    partitioned(&disk, ODD);
    let before = sound(&disk);
    let cases: [(&str, &[&str], u64); 5] = [
        ("vpc", &["-f", "vhd"], 1 << 20),
        ("vhdx", &["-f", "vhdx"], 4096),
        ("vmdk", &["-f", "vmdk"], 64 << 10),
        ("vpc", &["--target", "azure"], 1 << 20),
        ("raw", &["--target", "aws"], 1 << 30),
    ];
    for (nth, (format, options, multiple)) in cases.into_iter().enumerate() {
        let made = dir.join(format!("made{nth}"));
        let said = convert(&disk, &made, options).success();
        assert!(said.errors().contains("moved the backup GPT to the new end of the disk"), "{said}");
        let raw = back(&made, format);
        assert_eq!(fs::metadata(&raw).unwrap().len(), ODD.next_multiple_of(multiple), "{options:?}");
        assert_eq!(sound(&raw), before, "{options:?}");
        // Moved once, it stays where it is.
        let again = convert(&raw, &dir.join("again"), &["-f", "vmdk"]).success();
        assert_eq!(again.errors().contains("moved"), multiple < 64 << 10, "{again}");
        fs::remove_file(raw).unwrap();
    }
}

/// `--size` makes a disk larger, never smaller.
#[test]
fn a_disk_is_as_large_as_is_asked_for() {
    let dir = scratch("given-size-asked");
    let disk = dir.join("odd.raw");
    partitioned(&disk, ODD);
    let before = sound(&disk);
    let cases: [(&str, &str, &str, u64); 4] = [
        ("qcow2", "qcow2", "200M", 200 << 20),
        ("raw", "raw", "+64M", ODD + (64 << 20)),
        ("vhdx", "vhdx", "200M", 200 << 20),
        ("vhd", "vpc", "+1", 65 << 20),
    ];
    for (format, theirs, size, len) in cases {
        let made = dir.join(format!("made.{format}"));
        let said = convert(&disk, &made, &["-f", format, "--size", size]).success();
        assert!(said.errors().contains(&format!("grown from {ODD} to {len} bytes")), "{said}");
        assert!(said.errors().contains("moved the backup GPT to the new end of the disk"), "{said}");
        let info = finish(tool("qemu-img").args(["info", "--output=json", "-f", theirs, text(&made)])).success().text();
        assert!(info.contains(&format!("\"virtual-size\": {len}")), "{info}");
        assert_eq!(sound(&back(&made, theirs)), before, "{format}");
    }
    for (size, code, found) in
        [("64M", 2, "is too small, the input has 67125760 (64.0 MiB)"), ("+8388608T", 3, "is too large for its container"), ("-1G", 2, "")]
    {
        let refused = convert(&disk, &dir.join("refused"), &["-f", "raw", &format!("--size={size}")]);
        assert!(refused.code() == code && refused.errors().contains(found) && !dir.join("refused").exists(), "{refused}");
    }
    let refused = convert(&disk, &dir.join("refused"), &["-f", "uki", "--size", "1G"]);
    assert!(refused.errors().contains("--size has no effect"), "{refused}");
}

/// Without a sound GPT there is nothing to move; a file that is no whole sectors is filled up, as qemu-img does.
#[test]
fn growing_is_said() {
    let dir = scratch("given-notices");
    let (disk, made) = (dir.join("plain.raw"), dir.join("made"));
    let file = File::create(&disk).unwrap();
    file.set_len((1 << 20) + 100).unwrap();
    file.write_all_at(&[0x55, 0xaa], 510).unwrap();
    for (format, len) in [("raw", (1 << 20) + 512), ("qcow2", (1 << 20) + 512), ("vmdk", (1 << 20) + (64 << 10))] {
        let said = convert(&disk, &made, &["-f", format]).success();
        assert!(said.errors().contains(&format!("grown from 1048676 to {len} bytes")), "{said}");
        assert!(said.errors().contains("no sound GPT"), "{said}");
        assert_eq!(ours(&["compare", text(&disk), text(&made)]).code(), 0);
        assert_eq!(fs::metadata(back(&made, format)).unwrap().len(), len);
    }
}

/// A disk of 4096-byte sectors: that of a disk of 512 ones, each block in a sector of its own.
fn of_large_sectors(path: &Path) {
    let small = path.with_extension("512");
    partitioned(&small, 4 << 20);
    let (bytes, disk) = (fs::read(&small).unwrap(), File::create(path).unwrap());
    let last = bytes.len() / 512 - 1;
    disk.set_len(4096 * (bytes.len() as u64 / 512)).unwrap();
    for (block, len) in [(0, 512), (1, 512), (2, 32 * 512), (last - 32, 32 * 512), (last, 512)] {
        disk.write_all_at(&bytes[block * 512..][..len], 4096 * block as u64).unwrap();
    }
    disk.write_all_at(b"what the partition holds", 4096 * 2048).unwrap();
}

#[test]
fn sectors_of_4096_bytes_stay_what_they_are() {
    let dir = scratch("given-4k");
    let (disk, vhdx, again) = (dir.join("disk.raw"), dir.join("disk.vhdx"), dir.join("again.vhdx"));
    of_large_sectors(&disk);
    convert(&disk, &vhdx, &["-f", "vhdx"]).success();
    convert(&vhdx, &again, &["-f", "vhdx"]).success();
    for made in [&vhdx, &again] {
        let facts = ours(&["inspect", "--json", text(made)]).success().text();
        assert!(facts.contains("\"logical-sector-size\": 4096") && facts.contains("\"name\": \"data\""), "{facts}");
        assert_eq!(ours(&["compare", "--strict", text(&disk), text(made)]).code(), 0);
    }
    for input in [&disk, &vhdx] {
        let raw = dir.join("again.raw");
        let said = convert(input, &raw, &["-f", "raw"]).success();
        assert!(said.errors().contains("a raw file does not say that"), "{said}");
        run("cmp", [text(&disk), text(&raw)]);
        for format in ["aws", "qcow2", "vhd", "vmdk", "vdi", "ova", "gcp"] {
            let refused = convert(input, &dir.join("refused"), &["-f", format]);
            assert!(refused.code() == 3 && refused.errors().contains("partitioned for sectors of 4096 bytes"), "{refused}");
            assert!(refused.errors().contains("make it raw or vhdx"), "{refused}");
        }
    }
}

/// What fdisk finds wrong with a disk of 4096-byte sectors: nothing.
fn sound_in_large_sectors(disk: &Path) -> String {
    let said = run("sh", ["-c", r#"printf 'v\np\nq\n' | fdisk -b 4096 "$1""#, "sh", text(disk)]);
    assert!(said.contains("No errors detected."), "{said}");
    said
}

/// What partitions hold stays where it is; only their table counts otherwise.
#[test]
fn a_gpt_is_rewritten_for_other_sectors() {
    let dir = scratch("given-rewritten");
    let (disk, large, vhdx, again) = (dir.join("disk.raw"), dir.join("large.raw"), dir.join("large.vhdx"), dir.join("again.qcow2"));
    File::create(&disk).unwrap().set_len(ODD).unwrap();
    run("sgdisk", ["-n", "1:2048:+32M", "-c", "1:data", "-A", "1:set:2", text(&disk)]);
    let file = File::options().write(true).open(&disk).unwrap();
    file.write_all_at(b"what the partition holds", 1 << 20).unwrap();
    let before = sound(&disk);
    let said = convert(&disk, &large, &["-f", "raw", "--sector-size", "4096"]).success();
    assert!(said.errors().contains("the GPT was rewritten for sectors of 4096 bytes"), "{said}");
    assert!(said.errors().contains("grown from 67125760 to 67129344 bytes, to whole sectors"), "{said}");
    let table = sound_in_large_sectors(&large);
    assert!(table.contains("Disk identifier") && table.contains("  256 "), "{table}");
    convert(&large, &vhdx, &["-f", "vhdx", "--sector-size", "4096"]).success();
    let facts = ours(&["inspect", "--json", text(&vhdx)]).success().text();
    assert!(facts.contains("\"start\": 1048576") && facts.contains("\"size\": 33554432"), "{facts}");
    // And back.
    for input in [&large, &vhdx] {
        convert(input, &again, &["-f", "qcow2", "--sector-size", "512", "--size", "100M"]).success();
        let back = back(&again, "qcow2");
        assert_eq!(sound(&back), before);
        let mut held = [0; 24];
        File::open(&back).unwrap().read_exact_at(&mut held, 1 << 20).unwrap();
        assert_eq!(&held, b"what the partition holds");
    }
}

#[test]
fn what_has_no_place_in_other_sectors_is_named() {
    let dir = scratch("given-unaligned");
    let (disk, made) = (dir.join("disk.raw"), dir.join("made"));
    File::create(&disk).unwrap().set_len(ODD).unwrap();
    run("sgdisk", ["-a", "1", "-n", "1:2048:12288", "-c", "1:data", text(&disk)]);
    let refused = convert(&disk, &made, &["-f", "raw", "--sector-size", "4096"]);
    assert!(refused.code() == 3 && refused.errors().contains("partition 1 'data' ends at byte 6291968"), "{refused}");
    for format in ["qcow2", "aws", "gcp", "ova", "vhd", "vmdk", "vdi"] {
        let refused = convert(&disk, &made, &["-f", format, "--sector-size", "4096"]);
        assert!(refused.code() == 3 && refused.errors().contains("make it raw or vhdx"), "{refused}");
    }
    let refused = convert(&disk, &made, &["-f", "iso", "--sector-size", "4096"]);
    assert!(refused.code() == 3 && refused.errors().contains("--sector-size has no effect on iso") && !made.exists(), "{refused}");
}

/// Old writers leave the last byte of the footer out, others put something behind it.
#[test]
fn a_vhd_is_one_wherever_its_footer_is() {
    let dir = scratch("given-vhd");
    let (disk, vhd, made) = (dir.join("disk.raw"), dir.join("disk.vhd"), dir.join("made.raw"));
    partitioned(&disk, 8 << 20);
    finish(tool("qemu-img").args(["convert", "-O", "vpc", "-o", "subformat=fixed,force_size=on", "-f", "raw", text(&disk), text(&vhd)]))
        .success();
    let len = fs::metadata(&vhd).unwrap().len();
    assert_eq!(len, (8 << 20) + 512);
    for other in [len - 1, len + 1, len + 512, len + 65_536] {
        File::options().write(true).open(&vhd).unwrap().set_len(other).unwrap();
        convert(&vhd, &made, &["-f", "raw"]).success();
        run("cmp", [text(&disk), text(&made)]);
    }
}

/// It ends its first sector like a disk with an MBR.
#[test]
fn a_kernel_is_no_disk() {
    let dir = scratch("given-kernel");
    let kernel = images::test_kernel();
    let refused = convert(&kernel, &dir.join("made"), &["-f", "qcow2"]);
    assert!(refused.code() == 2 && refused.errors().contains("is a Linux kernel"), "{refused}");
    assert!(refused.errors().contains("--kernel"), "{refused}");
    // Who insists gets what he asked for.
    convert(&kernel, &dir.join("made"), &["-f", "raw", "--from", "raw"]).success();
}

/// A container whose version or features are of tomorrow is named, and is no raw disk.
#[test]
fn containers_of_tomorrow_are_unsupported_by_name() {
    let dir = scratch("given-tomorrow");
    let disk = dir.join("disk.raw");
    partitioned(&disk, 8 << 20);
    // Ours, theirs, where, what, and how the refusal names it.
    let cases: [(&str, &str, u64, &[u8], &str); 7] = [
        ("qcow2", "", 7, &[4], "version 4"),
        ("qcow2", "", 72, &[0x80], "unknown incompatible features 0x8000000000000000"),
        ("vmdk", "subformat=monolithicSparse", 4, &[9], "version is 9"),
        ("vdi", "", 70, &[2], "version is 0x2"),
        ("qed", "", 16, &[0x80], "unknown features 0x80"),
        ("parallels", "", 16, &[3], "version is 3"),
        ("vpc", "subformat=dynamic", 512 + 24, &[9], ""),
    ];
    for (format, options, at, bytes, named) in cases {
        let (made, out) = (dir.join(format!("made.{format}")), dir.join("out"));
        let options: &[&str] = if options.is_empty() { &[] } else { &["-o", options] };
        finish(tool("qemu-img").args([&["convert", "-f", "raw", "-O", format], options, &[text(&disk), text(&made)]].concat())).success();
        File::options().write(true).open(&made).unwrap().write_all_at(bytes, at).unwrap();
        let refused = convert(&made, &out, &["-f", "raw"]);
        let code = if named.is_empty() { 2 } else { 3 };
        assert!(refused.code() == code && refused.errors().contains(named) && !out.exists(), "{format}: {refused}");
    }
}
