//! Disks and CDs that others made to boot, with the loaders of Debian's packages: what they are is said, and what cannot be told is no error.

use crate::support::{
    guest::{Arch, foreign_loader},
    scratch, text,
    tools::{finish, finish_with, moby, oracle, run, tool, ukify},
};
use serde_json::Value;
use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// A disk of 64 MiB, to be filled.
struct Foreign {
    path: PathBuf,
}

/// Where its first partition is, as mtools say it.
const FIRST: &str = "@@1M";

impl Foreign {
    fn new(dir: &Path, name: &str) -> Self {
        let path = dir.join(name);
        fs::File::create(&path).unwrap().set_len(64 << 20).unwrap();
        Self { path }
    }

    /// Partitions it by a script of sfdisk.
    fn partition(&self, script: &str) -> &Self {
        let mut sfdisk = tool("sfdisk");
        finish_with(sfdisk.args(["--quiet", text(&self.path)]), script.as_bytes()).success();
        self
    }

    /// Puts bytes at a place, but the table of an MBR.
    fn put(&self, at: u64, bytes: &[u8]) -> &Self {
        let mut disk = fs::File::options().write(true).open(&self.path).unwrap();
        disk.seek(SeekFrom::Start(at)).unwrap();
        disk.write_all(bytes).unwrap();
        self
    }

    /// The boot code of a file of Debian's.
    fn boot_code(&self, path: &str) -> &Self {
        let code = fs::read(foreign_loader(path)).unwrap();
        self.put(0, &code[..code.len().min(440)])
    }

    /// Makes a FAT file system of the first partition, or of the whole disk, with these files.
    fn fat(&self, offset: &str, files: &[(&str, &Path)]) -> &Self {
        let image = format!("{}{offset}", text(&self.path));
        let sectors = if offset.is_empty() { "131072" } else { "100000" };
        run("mformat", ["-i", &image, "-T", sectors, "-h", "64", "-s", "32", "::"]);
        for (to, from) in files {
            let parents = to.match_indices('/').skip(1).map(|(at, _)| &to[..at]);
            for parent in parents {
                // It may be there.
                finish(tool("mmd").args(["-D", "s", "-i", &image, &format!("::{parent}")]));
            }
            run("mcopy", ["-i", &image, text(from), &format!("::{to}")]);
        }
        self
    }

    /// What `inspect` says.
    fn facts(&self) -> Value {
        serde_json::from_slice(&finish(moby().args(["inspect", "--json", text(&self.path)])).success().stdout).unwrap()
    }

    /// What `lint` says for a platform: its exit code, and its lines.
    fn lint(&self, platform: &str) -> (i32, String) {
        let finished = finish(moby().args(["lint", text(&self.path), "--target", platform]));
        (finished.code(), finished.text())
    }

    /// Boots, as far as anybody can tell: no error, and the loaders are named where lint cannot look at what they start.
    fn is_not_known(&self, loaders: &str) -> &Self {
        let (code, said) = self.lint("openstack");
        assert!(code == 0 && said.contains(&format!("unknown boot: found {loaders};")) && !said.contains("error"), "{said}");
        self.converts()
    }

    /// The disk is the same in another container.
    fn converts(&self) -> &Self {
        let out = self.path.with_extension("qcow2");
        finish(moby().args(["convert", "--quiet", text(&self.path), "-o", text(&out)])).success();
        run("qemu-img", ["compare", "-f", "raw", "-F", "qcow2", text(&self.path), text(&out)]);
        self
    }
}

fn names(facts: &Value) -> Vec<String> {
    let uefi = facts["loaders"]["uefi"].as_array().unwrap();
    uefi.iter().map(|program| format!("{} {}", program["path"].as_str().unwrap(), program["name"].as_str().unwrap())).collect()
}

/// As `grub-install` leaves a disk of Debian with an MBR: GRUB in front of the first partition, its files on ext4.
#[test]
fn grub_with_an_mbr() {
    let dir = scratch("foreign-grub-mbr");
    let disk = Foreign::new(&dir, "disk.img");
    disk.partition("label: dos\nstart=2048, size=100000, type=83, bootable\nstart=102400, type=5\nstart=104448, type=82\n");
    disk.boot_code("usr/lib/grub/i386-pc/boot.img");
    let ext4 = dir.join("ext4");
    run("mke2fs", ["-q", "-t", "ext4", text(&ext4), "48M"]);
    disk.put(1 << 20, &fs::read(ext4).unwrap());
    disk.is_not_known("GRUB (BIOS)");
    let facts = disk.facts();
    assert_eq!((&facts["partition-table"], &facts["loaders"]["bios"]), (&"mbr".into(), &"GRUB".into()));
    let rows: Vec<_> = facts["partitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["number"].clone(), row["type"].clone(), row["active"].clone()))
        .collect();
    assert_eq!(rows, [(1.into(), "0x83".into(), true.into()), (5.into(), "0x82".into(), Value::Null)]);
    assert_eq!(facts["partitions"][0]["file-system"], "ext4");
    let sfdisk: Value = serde_json::from_str(&run("sfdisk", ["--json", text(&disk.path)])).unwrap();
    let starts =
        |rows: &Value, unit: u64| rows.as_array().unwrap().iter().map(|row| row["start"].as_u64().unwrap() * unit).collect::<Vec<_>>();
    let theirs: Vec<_> = starts(&sfdisk["partitiontable"]["partitions"], 512);
    assert_eq!(starts(&facts["partitions"], 1), [theirs[0], theirs[2]], "all but the extended one");
}

/// As Debian's installer leaves a disk for UEFI: shim and GRUB, signed.
#[test]
fn grub_with_shim() {
    let dir = scratch("foreign-grub-efi");
    let disk = Foreign::new(&dir, "disk.img");
    disk.partition("label: gpt\nstart=2048, size=100000, type=uefi\nsize=20000, type=linux\n");
    let (shim, grub) =
        (foreign_loader("usr/lib/shim/shimx64.efi.signed"), foreign_loader("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"));
    let files: [(&str, &Path); 3] =
        [("/EFI/BOOT/BOOTX64.EFI", &shim), ("/EFI/debian/shimx64.efi", &shim), ("/EFI/debian/grubx64.efi", &grub)];
    disk.fat(FIRST, &files).is_not_known("shim (UEFI), GRUB (UEFI)");
    let facts = disk.facts();
    assert_eq!(names(&facts), ["/EFI/BOOT/BOOTX64.EFI shim", "/EFI/debian/shimx64.efi shim", "/EFI/debian/grubx64.efi GRUB"]);
    // Nothing starts by itself what no machine was told of.
    let disk = Foreign::new(&dir, "installed.img");
    disk.partition("label: gpt\nstart=2048, size=100000, type=uefi\n").fat(FIRST, &files[1..]);
    let (code, said) = disk.lint("openstack");
    assert!(code == 2 && said.contains("error boot: found no loader that firmware starts by itself"), "{said}");
}

#[test]
fn syslinux_on_a_whole_disk_and_in_a_partition() {
    let dir = scratch("foreign-syslinux");
    let kernel = Arch::Amd64.debian("kernel");
    let disk = Foreign::new(&dir, "whole.img");
    disk.fat("", &[("/vmlinuz", &kernel)]);
    run(text(&foreign_loader("usr/bin/syslinux")), ["--install", text(&disk.path)]);
    disk.is_not_known("SYSLINUX (BIOS)");
    assert!(disk.facts()["partitions"]["error"].is_string() && disk.facts()["file-system"] == "FAT16");

    let disk = Foreign::new(&dir, "partition.img");
    disk.partition("label: dos\nstart=2048, size=100000, type=e, bootable\n").fat(FIRST, &[("/vmlinuz", &kernel)]);
    run(text(&foreign_loader("usr/bin/syslinux")), ["--install", "--offset", "1048576", text(&disk.path)]);
    disk.boot_code("usr/lib/SYSLINUX/mbr.bin").is_not_known("SYSLINUX (BIOS)");
}

/// Whose kernels and entries are where we can read them: as ours are.
#[test]
fn systemd_boot_with_unified_kernel_images_and_with_entries() {
    let dir = scratch("foreign-systemd-boot");
    let (kernel, initrd) = (Arch::Amd64.debian("kernel"), dir.join("initrd"));
    fs::write(dir.join("init"), "#!/bin/sh\n").unwrap();
    run("sh", ["-c", "cd \"$1\" && chmod +x init && echo init | cpio -o -H newc >initrd", "sh", text(&dir)]);
    let loader = foreign_loader("usr/lib/systemd/boot/efi/systemd-bootx64.efi");
    let image = |name: &str, cmdline: &str| {
        let path = dir.join(name);
        let stub = foreign_loader("usr/lib/systemd/boot/efi/linuxx64.efi.stub");
        let arguments = ["build", "--linux", text(&kernel), "--initrd", text(&initrd), "--cmdline", cmdline, "--uname", "6.1"];
        ukify(&[&arguments[..], &["--stub", text(&stub), "--output", text(&path)]].concat());
        path
    };
    let (old, new) = (image("old.efi", "console=ttyS0 old"), image("new.efi", "console=ttyS0 new"));
    let disk = Foreign::new(&dir, "uki.img");
    disk.partition("label: gpt\nstart=2048, size=110000, type=uefi\n")
        .fat(FIRST, &[("/EFI/BOOT/BOOTX64.EFI", &loader), ("/EFI/Linux/debian-6.1.9.efi", &old), ("/EFI/Linux/debian-6.1.10.efi", &new)]);
    let facts = disk.facts();
    assert_eq!(facts["boot"]["entry"], "/EFI/Linux/debian-6.1.10.efi");
    assert_eq!(facts["boot"]["cmdline"], "console=ttyS0 new");
    assert_eq!(names(&facts)[0], "/EFI/BOOT/BOOTX64.EFI systemd-boot");
    let extracted = finish(moby().args(["extract", text(&disk.path), "kernel", "-o", "-"])).success().stdout;
    assert!(extracted == fs::read(&kernel).unwrap());
    // It is looked into, and so is judged as a disk of ours.
    let (_, said) = disk.lint("openstack");
    assert!(!said.contains("unknown") && said.contains("error boot: found /init is a script for /bin/sh, which is missing"), "{said}");
    disk.converts();

    let disk = Foreign::new(&dir, "entries.img");
    let conf = dir.join("debian.conf");
    fs::write(&conf, "title Debian\nlinux /debian/linux\ninitrd /debian/initrd\noptions console=ttyS0 root=/dev/vda2\n").unwrap();
    disk.partition("label: dos\nstart=2048, size=100000, type=ef\n").fat(
        FIRST,
        &[
            ("/EFI/BOOT/BOOTX64.EFI", &loader),
            ("/loader/entries/debian.conf", &conf),
            ("/debian/linux", &kernel),
            ("/debian/initrd", &initrd),
        ],
    );
    let facts = disk.facts();
    assert_eq!((&facts["partition-table"], &facts["boot"]["entry"]), (&"mbr".into(), &"debian.conf".into()));
    let (_, said) = disk.lint("openstack");
    assert!(!said.contains("unknown") && said.contains("error boot: found /init is a script for /bin/sh, which is missing"), "{said}");
}

#[test]
fn cds_of_others() {
    let dir = scratch("foreign-cds");
    let iso = Foreign { path: dir.join("memtest.iso") };
    fs::copy(foreign_loader("usr/lib/memtest86+/memtest86+x64.iso"), &iso.path).unwrap();
    iso.is_not_known("Memtest86+ (BIOS), Memtest86+ (UEFI)");

    let files = dir.join("isolinux");
    fs::create_dir(&files).unwrap();
    fs::copy(foreign_loader("usr/lib/ISOLINUX/isolinux.bin"), files.join("isolinux.bin")).unwrap();
    let iso = Foreign { path: dir.join("isolinux.iso") };
    let boot = ["-b", "isolinux.bin", "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"];
    let (hybrid, from) = (foreign_loader("usr/lib/ISOLINUX/isohdpfx.bin"), text(&files));
    run("xorriso", [&["-as", "mkisofs", "-quiet", "-isohybrid-mbr", text(&hybrid), "-o", text(&iso.path)], &boot[..], &[from]].concat());
    iso.is_not_known("ISOLINUX (BIOS)");

    let (image, modules) = (files.join("eltorito.img"), foreign_loader("usr/lib/grub/i386-pc"));
    let arguments = ["-O", "i386-pc-eltorito", "-d", text(&modules), "-o", text(&image), "-p", "/boot/grub", "biosdisk", "iso9660"];
    run(text(&foreign_loader("usr/bin/grub-mkimage")), arguments);
    let iso = Foreign { path: dir.join("grub.iso") };
    let boot = ["-b", "eltorito.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"];
    run("xorriso", [&["-as", "mkisofs", "-quiet", "-o", text(&iso.path)], &boot[..], &[from]].concat());
    iso.is_not_known("GRUB (BIOS)");
}

/// Disks that hold nothing to start them do not boot, whoever made them.
#[test]
fn what_has_no_loader_does_not_boot() {
    let dir = scratch("foreign-none");
    let disk = Foreign::new(&dir, "mbr.img");
    disk.partition("label: dos\nstart=2048, type=83, bootable\n");
    let (code, said) = disk.lint("openstack");
    assert!(code == 2 && said.contains("error boot: found no loader that firmware starts by itself"), "{said}");
    // Code that only says that there is nothing.
    let disk = Foreign::new(&dir, "fat.img");
    run("mkfs.fat", [text(&disk.path)]);
    let (code, said) = disk.lint("openstack");
    assert!(code == 2 && said.contains("error boot: found no loader that firmware starts by itself"), "{said}");
    // A loader that nobody knows may start it.
    let disk = Foreign::new(&dir, "unknown.img");
    disk.partition("label: dos\nstart=2048, type=83, bootable\n").put(0, b"\xeb\x63\x90").is_not_known("a loader of unknown make (BIOS)");
}

/// What Glance asks of a table that others wrote.
#[test]
fn openstack_takes_an_mbr() {
    let dir = scratch("foreign-glance");
    let disk = Foreign::new(&dir, "mbr.img");
    disk.partition("label: dos\nstart=2048, type=83, bootable\n").boot_code("usr/lib/SYSLINUX/mbr.bin");
    let script = "import sys; from oslo_utils.imageutils import format_inspector as f; i = f.detect_file_format(sys.argv[1]); i.safety_check(); print(i)";
    let verdict = run(text(&oracle("python3")), ["-c", script, text(&disk.path)]);
    assert!(verdict.contains("gpt") || verdict.contains("raw"), "{verdict}");
    let mut sector = [0; 512];
    fs::File::open(&disk.path).unwrap().read_exact(&mut sector).unwrap();
    assert_eq!(sector[510..], [0x55, 0xaa]);
    assert_eq!(disk.lint("openstack").0, 0);
}
