//! ISOs of ours against xorriso, isoinfo, sgdisk, dosfstools, mtools and Glance's inspector.

use crate::support::{
    images::{Disk, Images, test_kernel},
    scratch, tagged_tar, text,
    tools::{finish, moby, oracle, run, tool},
};
use formats::{
    Blob, Tree,
    tar::Members,
    tree::{Builder, Content, Inode},
    units::{GIB, MIB},
};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    process::Command,
    sync::OnceLock,
};

/// The test kernel and 5 MiB of random data as every ISO.
fn small() -> &'static Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let images = Images::of_test_kernel("iso-small", 5, "kernel+initrd,iso,iso-efi-initrd,iso-efi");
        images.convert(&["--format", "iso-bios", "--name", "bios", "--initrd-compression", "none"]);
        images
    })
}

const BOOTABLE: [&str; 4] = ["guest.iso", "bios.iso", "guest-efi-initrd.iso", "guest-efi.iso"];

/// xorriso reads an image and has nothing to complain of.
fn xorriso(image: &Path, commands: &[&str]) -> String {
    let judged = ["-report_about", "NOTE", "-return_with", "WARNING", "32", "-indev", text(image)];
    let said = finish(tool("xorriso").args(judged).args(commands)).success();
    for word in ["WARNING", "SORRY", "FAILURE"] {
        assert!(!said.errors().contains(word), "{said}");
    }
    said.text()
}

#[test]
fn xorriso_sees_what_each_firmware_boots() {
    for (name, bios, uefi) in
        [("guest.iso", true, true), ("bios.iso", true, false), ("guest-efi-initrd.iso", false, true), ("guest-efi.iso", false, true)]
    {
        let report = xorriso(&small().path(name), &["-report_el_torito", "plain", "-report_system_area", "plain"]);
        assert!(report.contains("System area summary: MBR protective-msdos-label cyl-align-off GPT"), "{name}: {report}");
        assert_eq!(report.contains("BIOS  y   none  0x0000  0x00      4          24"), bios, "{name}: {report}");
        assert_eq!(report.contains("UEFI  y   none  0x0000  0x00"), uefi, "{name}: {report}");
        assert!(report.contains("GPT partname local :   1  BIOS boot") == bios, "{name}: {report}");
    }
}

#[test]
fn sgdisk_and_fsck_find_no_fault_in_the_disk() {
    for name in BOOTABLE {
        let disk = Disk { path: small().path(name) };
        let verdict = run("sgdisk", ["-v", text(&disk.path)]);
        assert!(verdict.contains("No problems found"), "{name}: {verdict}");
        for word in ["Caution", "Warning", "Problem:", "overlap"] {
            assert!(!verdict.contains(word), "{name}: {verdict}");
        }
        assert!(disk.len().is_multiple_of(64 << 10), "{name}");
        let volume = disk.path.with_extension("fat");
        let (skip, count) = (format!("skip={}", disk.esp() / 512), format!("count={}", disk.esp_len() / 512));
        run("dd", ["bs=512", "status=none", &skip, &count, &format!("if={}", text(&disk.path)), &format!("of={}", text(&volume))]);
        run("fsck.vfat", ["-n", text(&volume)]);
        assert!(disk.read("/moby/vmlinuz") == fs::read(test_kernel()).unwrap(), "{name}: the kernel differs");
    }
}

/// What ISO 9660 shows is what lies in the FAT volume, once.
#[test]
fn the_files_of_the_cd_are_those_of_the_disk() {
    for name in ["guest.iso", "bios.iso", "guest-efi-initrd.iso"] {
        let image = small().path(name);
        let out = scratch(&format!("iso-extracted-{name}"));
        run("bsdtar", ["-xf", text(&image), "-C", text(&out)]);
        let expected = fs::read(small().path("guest-initrd.img")).unwrap();
        assert!(fs::read(out.join("moby/initrd.img")).unwrap() == expected, "{name}: the initrd differs");
        assert!(fs::read(out.join("moby/vmlinuz")).unwrap() == fs::read(test_kernel()).unwrap(), "{name}: the kernel differs");
        let entry = fs::read_to_string(out.join("loader/entries/moby.conf")).unwrap();
        assert!(entry.contains(crate::support::images::CMDLINE), "{name}: {entry}");
        assert_eq!(out.join("EFI/BOOT/BOOTX64.EFI").exists(), name != "bios.iso");
        let len = fs::metadata(&image).unwrap().len();
        assert!(len < expected.len() as u64 + 4 * MIB, "{name} has {len} bytes: something is there twice");
    }
    let listed = run("isoinfo", ["-R", "-l", "-i", text(&small().path("guest.iso"))]);
    assert!(listed.contains("vmlinuz") && listed.contains("initrd.img"), "{listed}");
}

/// Glance takes a hybrid ISO for an ISO that has a GPT too, of which it wants the strict protective MBR.
#[test]
fn glance_knows_an_iso() {
    let script = "
import sys
from oslo_utils.imageutils import format_inspector
for path in sys.argv[2:]:
    with open(path, 'rb') as file:
        wrapper = format_inspector.InspectWrapper(file)
        while wrapper.read(65536):
            pass
        wrapper.close()
        for found in wrapper.formats:
            found.safety_check()
        names = sorted(str(found) for found in wrapper.formats)
        assert names == sys.argv[1].split(','), (path, names)
";
    let python = oracle("python3");
    let paths: Vec<_> = BOOTABLE.iter().map(|name| small().path(name)).collect();
    finish(Command::new(&python).args(["-c", script, "gpt,iso"]).args(&paths)).success();
    let images = Images::of_test_kernel("iso-kernel", 1, "kernel+initrd,kernel+iso");
    finish(Command::new(python).args(["-c", script, "iso"]).arg(images.path("guest.iso"))).success();
}

#[test]
fn identifiers_are_the_users() {
    let options = ["volume_id=CIDATA", "application_id=made by hand", "joliet=on"].map(|option| format!("--opt={option}"));
    small().convert(&["--format", "iso", "--name", "labelled", &options[0], &options[1], &options[2]]);
    let facts = run("isoinfo", ["-d", "-i", text(&small().path("labelled.iso"))]);
    for line in
        ["Volume id: CIDATA", "Application id: made by hand", "Joliet with UCS level 3 found", "Rock Ridge signatures version 1 found"]
    {
        assert!(facts.contains(line), "{line:?} is not in\n{facts}");
    }
}

/// Type, mode, owner, time, target, device number and content of each path, and which paths are one file.
fn facts(tree: &Tree) -> BTreeMap<Vec<u8>, String> {
    let mut first: HashMap<usize, &[u8]> = HashMap::new();
    let fact = |name: &'_ formats::tree::Name| {
        let Inode { content, mode, uid, gid, mtime, .. } = &tree.inodes[name.inode];
        let what = match content {
            Content::File(body) => format!("{} bytes {:08x}", body.len(), crc32fast::hash(&body.to_vec(GIB).unwrap())),
            other => format!("{other:?}"),
        };
        let mode = content.type_bits() | mode;
        (name.path.clone(), format!("{mode:o} {uid}:{gid} {mtime} {what}"))
    };
    let mut facts: BTreeMap<_, _> = tree.names.iter().map(fact).collect();
    for name in &tree.names {
        let first = first.entry(name.inode).or_insert(&name.path);
        *facts.get_mut(&name.path).unwrap() += &format!(" is {first:?}");
    }
    facts
}

/// The tree that bsdtar finds in a file, by way of a tar.
fn read_by_bsdtar(file: &Path, tar: &Path) -> Tree {
    run("bsdtar", ["-cf", text(tar), "--format", "pax", &format!("@{}", text(file))]);
    let mut builder = Builder::default();
    for member in Members::new(&Blob::from(fs::read(tar).unwrap())) {
        member.unwrap().add_to(&mut builder).unwrap();
    }
    builder.finish()
}

#[test]
fn the_root_file_system_comes_back_as_it_was() {
    let dir = scratch("iso-root");
    let rootfs = tagged_tar::odd_rootfs();
    let kernel = Blob::from(fs::read(test_kernel()).unwrap());
    let tar = dir.join("guest.tar");
    tagged_tar::write(&tagged_tar::tagged_tar(&kernel, "quiet root=LABEL=x", &rootfs), &tar).unwrap();
    let said = finish(moby().args(["convert", "--dir", text(&dir), "-f", "kernel+iso,iso-efi"]).arg(&tar)).success();
    let warning = "an ISO does not hold extended attributes: security.capability stay behind, of bin/ping";
    assert_eq!(said.errors().matches(warning).count(), 1, "{said}");
    assert_eq!(fs::read_to_string(dir.join("guest-cmdline")).unwrap(), "quiet root=LABEL=x");
    assert!(fs::read(dir.join("guest-kernel")).unwrap() == fs::read(test_kernel()).unwrap());

    let mut expected = facts(&rootfs);
    let odd: Vec<_> = expected.keys().filter(|path| path.starts_with(b"bin/")).cloned().collect();
    assert!(odd.len() > 3, "the tree has something in it");
    // The tar has these besides.
    let extra = facts(&read_by_bsdtar(&tar, &dir.join("reference.tar")));
    expected.extend([&b"boot"[..], b"etc", b"etc/os-release"].map(|path| (path.to_vec(), extra[path].clone())));
    for name in ["guest.iso", "guest-efi.iso"] {
        let found = facts(&read_by_bsdtar(&dir.join(name), &dir.join("found.tar")));
        for (path, fact) in &expected {
            assert_eq!(found.get(path), Some(fact), "{} in {name}", String::from_utf8_lossy(path));
        }
        assert_eq!(found.len(), expected.len(), "{name}");
    }
    let entry = Disk { path: dir.join("guest-efi.iso") };
    assert!(String::from_utf8(entry.read("/loader/entries/moby.conf")).unwrap().contains("options      quiet root=LABEL=x\n"));
}

/// An output's bytes do not depend on what else is made in the run.
#[test]
fn the_same_input_gives_the_same_bytes() {
    let again = Images::of_test_kernel("iso-again", 5, "kernel+initrd,iso-efi");
    assert!(fs::read(again.path("guest-efi.iso")).unwrap() == fs::read(small().path("guest-efi.iso")).unwrap(), "another iso-efi");
    again.convert(&["--format", "iso,raw", "--initrd-compression", "none"]);
    assert!(fs::read(again.path("guest.iso")).unwrap() == fs::read(small().path("guest.iso")).unwrap(), "another iso");
    again.convert(&["--format", "kernel+initrd,raw,iso", "--root", "squashfs", "--initrd-compression", "none"]);
    assert!(fs::read(again.path("guest.iso")).unwrap() == fs::read(small().path("guest.iso")).unwrap(), "another iso beside a root");
    let seeded = |seed: &str| {
        again.convert(&["--format", "iso-efi", "--name", "seeded", "--seed", seed]);
        fs::read(again.path("seeded-efi.iso")).unwrap()
    };
    assert!(seeded("a") != seeded("b"), "--seed changes nothing");
}
