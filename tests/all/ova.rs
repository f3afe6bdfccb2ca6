//! The OVA as importers take it apart: members in order, a manifest that verifies, an envelope that is valid, a disk that is the disk.

use crate::support::{
    images::write_test_tar,
    scratch, text,
    tools::{finish, moby, oracle, run, tool},
};
use std::{fs, path::Path};

/// Makes an OVA, takes it apart with GNU tar, checks what every flavour must be, and gives the envelope and what COT says.
fn ova(dir: &Path, name: &str, arguments: &[&str]) -> (String, String) {
    let tar = dir.join("guest.tar");
    let path = dir.join(format!("{name}.ova"));
    finish(moby().args(["convert", "--quiet", text(&tar), "-o", text(&path)]).args(arguments)).success();
    assert_eq!(run("tar", ["-tf", text(&path)]), "moby.ovf\nmoby.mf\ndisk.vmdk\n");
    let inside = dir.join(name);
    fs::create_dir(&inside).unwrap();
    run("tar", ["-xf", text(&path), "-C", text(&inside)]);

    let manifest = fs::read_to_string(inside.join("moby.mf")).unwrap();
    let sums: String = manifest
        .lines()
        .map(|line| {
            let (file, sum) = line.strip_prefix("SHA256(").and_then(|line| line.split_once(")= ")).expect("SHA256(FILE)= SUM");
            format!("{sum}  {file}\n")
        })
        .collect();
    fs::write(inside.join("sums"), sums).unwrap();
    let verdict = finish(tool("sha256sum").args(["--check", "--strict", "sums"]).current_dir(&inside)).success().text();
    assert_eq!(verdict, "moby.ovf: OK\ndisk.vmdk: OK\n");

    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ovf.rng");
    run("xmllint", ["--noout", "--nonet", "--relaxng", text(&schema), text(&inside.join("moby.ovf"))]);
    run("7z", ["t", text(&path)]);
    let raw = dir.join("guest.img");
    run("qemu-img", ["compare", "-f", "raw", "-F", "vmdk", text(&raw), text(&inside.join("disk.vmdk"))]);

    let envelope = fs::read_to_string(inside.join("moby.ovf")).unwrap();
    for (key, value) in [("size", fs::metadata(inside.join("disk.vmdk")).unwrap().len()), ("capacity", fs::metadata(&raw).unwrap().len())] {
        assert!(envelope.contains(&format!("ovf:{key}=\"{value}\"")), "{envelope}");
    }
    let info = finish(tool(oracle("cot")).args(["info", text(&inside.join("moby.ovf"))])).success().text();
    (envelope, info)
}

#[test]
fn importers_find_a_machine_and_its_disk() {
    let dir = scratch("ova");
    let tar = dir.join("guest.tar");
    write_test_tar(&tar, 2);
    finish(moby().args(["convert", "--quiet", "--dir", text(&dir), "-f", "raw", text(&tar)])).success();

    let (envelope, info) = ova(&dir, "vmware", &["--opt", "cpus=3,memory=2048"]);
    assert!(envelope.contains(r#"vmw:key="firmware" vmw:value="efi""#), "{envelope}");
    for wanted in ["vmx-13", "harddisk @ SCSI 0:0", "VmxNet3", "3     2 GiB    1"] {
        assert!(info.contains(wanted), "COT does not see {wanted}:\n{info}");
    }
    let (envelope, _) = ova(&dir, "vmware-bios", &["--opt", "firmware=bios"]);
    assert!(envelope.contains(r#"vmw:key="firmware" vmw:value="bios""#), "{envelope}");
    let (envelope, info) = ova(&dir, "virtualbox", &["--opt", "flavour=virtualbox"]);
    assert!(!envelope.contains("vmw:Config") && info.contains("virtualbox-2.2") && info.contains("harddisk @ SATA 0:0"), "{info}");

    let refused =
        finish(moby().args(["convert", "-q", text(&tar), "-o", "-", "-f", "ova", "--boot", "uefi", "--opt", "flavour=virtualbox"]));
    assert!(refused.code() == 3 && refused.errors().contains("VirtualBox"), "{refused}");
}

/// A description as VMware exports it: files by name and size, and which of them are disks, by the identifier of each.
fn description(files: &[&str], disks: &[(&str, usize)]) -> String {
    let references: String =
        files.iter().enumerate().map(|(n, name)| format!(r#"<File ovf:href="{name}" ovf:id="file{n}" ovf:size="1"/>"#)).collect();
    let disks: String = disks
        .iter()
        .map(|(id, file)| {
            format!(r#"<Disk ovf:capacity="9" ovf:capacityAllocationUnits="byte * 2^20" ovf:diskId="{id}" ovf:fileRef="file{file}"/>"#)
        })
        .collect();
    format!(
        r#"<?xml version="1.0"?><Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
        <References>{references}</References><DiskSection><Info>d</Info>{disks}</DiskSection></Envelope>"#
    )
}

/// The disk is the one that the description names, whatever else is in the archive and in whatever order; sums are verified.
#[test]
fn descriptions_of_others_are_read_and_not_guessed() {
    let dir = scratch("ova-others");
    let moby = |arguments: &[&str]| finish(moby().current_dir(&dir).args(arguments));
    run("truncate", ["-s", "9M", text(&dir.join("disk.raw"))]);
    run("sgdisk", ["-n", "1:2048:0", text(&dir.join("disk.raw"))]);
    moby(&["convert", "-q", "disk.raw", "-f", "vmdk", "-o", "vm.vmdk"]).success();
    fs::write(dir.join("vm.nvram"), b"MRVN").unwrap();
    fs::write(dir.join("cd.iso"), vec![0; 40_960]).unwrap();
    let pack =
        |name: &str, files: &[&str]| run("tar", [&["--format=ustar", "-C", text(&dir), "-cf", text(&dir.join(name))], files].concat());
    let sums = |tool: &str, label: &str, files: &[&str]| -> String {
        let sum = |file: &&str| run(tool, [text(&dir.join(file))]).split(' ').next().unwrap().to_owned();
        files.iter().map(|file| format!("{label}({file})= {}\n", sum(file))).collect()
    };
    let same = |name: &str, more: &[&str]| {
        let made = moby(&[&["convert", "-q", name, "-f", "raw", "-o", "out.raw"], more].concat()).success();
        run("cmp", [text(&dir.join("disk.raw")), text(&dir.join("out.raw"))]);
        made
    };
    fs::write(dir.join("vm.ovf"), description(&["vm.vmdk", "vm.nvram", "cd.iso"], &[("vmdisk1", 0)])).unwrap();
    for (tool, label) in [("sha1sum", "SHA1"), ("sha256sum", "SHA256"), ("sha512sum", "SHA512 ")] {
        fs::write(dir.join("vm.mf"), sums(tool, label, &["vm.ovf", "vm.vmdk", "vm.nvram"])).unwrap();
        pack("whole.ova", &["vm.ovf", "vm.mf", "vm.vmdk", "vm.nvram", "cd.iso"]);
        same("whole.ova", &[]);
        assert_eq!(moby(&["check", "whole.ova"]).code(), 0);
    }
    pack("order.ova", &["cd.iso", "vm.mf", "vm.nvram", "vm.vmdk", "vm.ovf"]);
    same("order.ova", &[]);
    // Beside its files the description is as good, where they may be opened.
    same("vm.ovf", &["--follow"]);
    let refused = moby(&["convert", "vm.ovf", "-f", "raw", "-o", "refused"]);
    assert!(refused.code() == 3 && refused.errors().contains("--follow"), "{refused}");

    fs::write(dir.join("vm.mf"), sums("sha256sum", "SHA256", &["vm.ovf"]) + "SHA256(vm.vmdk)= 00\n").unwrap();
    pack("wrong.ova", &["vm.ovf", "vm.mf", "vm.vmdk"]);
    for input in [&["wrong.ova"][..], &["vm.ovf", "--follow"]] {
        let refused = moby(&[&["convert", "-f", "raw", "-o", "refused"], input].concat());
        assert!(refused.code() == 2 && refused.errors().contains("the manifest has the SHA256 00 for vm.vmdk"), "{refused}");
    }
    let checked = moby(&["check", "wrong.ova"]);
    assert!(checked.code() == 2 && checked.text().contains("the manifest has the SHA256 00"), "{checked}");

    fs::write(dir.join("two.ovf"), description(&["cd.iso", "vm.vmdk"], &[("first", 0), ("second", 1)])).unwrap();
    pack("two.ova", &["two.ovf", "cd.iso", "vm.vmdk"]);
    let refused = moby(&["convert", "two.ova", "-f", "raw", "-o", "refused"]);
    assert!(refused.code() == 3 && refused.errors().contains("'first' in cd.iso, 'second' in vm.vmdk"), "{refused}");
    same("two.ova", &["--disk", "second"]);
    for input in ["vm.vmdk", "disk.raw"] {
        let refused = moby(&["convert", input, "--disk", "second", "-f", "raw", "-o", "refused"]);
        assert!(refused.code() == 3 && refused.errors().contains("--disk is for an OVA"), "{refused}");
    }
}
