//! What keeps an image from booting is said before it is tried.

use crate::support::{
    guest::Arch,
    images::write_test_tar,
    qemu::Machine,
    scratch, text,
    tools::{Finished, finish, moby},
    ustar::{Kind, Ustar},
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

/// A root file system as `docker export` gives it, without an init where Linux looks for one.
fn exported(dir: &Path, more: impl FnOnce(&mut Ustar<File>)) -> PathBuf {
    let path = dir.join("export.tar");
    let mut tar = Ustar::new(File::create(&path).unwrap());
    tar.entry("dev/console", 0o755, Kind::File(b"")).unwrap();
    tar.entry("bin/busybox", 0o755, Kind::File(&fs::read(Arch::Amd64.debian("busybox")).unwrap())).unwrap();
    tar.entry("bin/sh", 0o777, Kind::Symlink("busybox")).unwrap();
    tar.entry("etc/hostname", 0o644, Kind::File(b"")).unwrap();
    more(&mut tar);
    tar.finish().unwrap();
    path
}

fn convert(tar: &Path, kernel: &Path, arguments: &[&str]) -> Finished {
    let fixed = ["convert", "--cmdline", "console=ttyS0 quiet", "--progress", "plain", "--kernel", text(kernel)];
    finish(moby().current_dir(tar.parent().unwrap()).args(fixed).args(arguments).arg(tar))
}

#[test]
fn an_image_without_an_init_is_told_of() {
    let dir = scratch("bootable-init");
    let (plain, kernel) = (exported(&dir, |_| ()), Arch::Amd64.debian("kernel"));
    let said = convert(&plain, &kernel, &["-f", "raw"]).success().errors();
    assert!(said.contains("warning: it may not boot: /init is missing") && said.contains("rdinit="), "{said}");
    let said = convert(&plain, &kernel, &["-f", "raw", "--append", "rdinit=/bin/sh", "--name", "named"]).success().errors();
    assert!(!said.contains("may not boot"), "{said}");
    // As a root that is mounted it has a shell, and one of another machine has none that runs.
    let said = convert(&plain, &kernel, &["-f", "raw", "--root", "erofs", "--name", "mounted"]).success().errors();
    assert!(!said.contains("/sbin/init"), "{said}");
    let foreign =
        convert(&plain, &Arch::Arm64.debian("kernel"), &["-f", "kernel+initrd", "--append", "rdinit=/bin/busybox"]).success().errors();
    assert!(foreign.contains("/bin/busybox is a program for another machine (ELF 62), the kernel is for aarch64"), "{foreign}");
    // Looked at, it says the same.
    convert(&plain, &kernel, &["-f", "tar", "--name", "tagged"]).success();
    let looked = finish(moby().args(["inspect", text(&dir.join("tagged.tar"))])).success().text();
    assert!(looked.contains("/init is missing"), "{looked}");
    let linted = finish(moby().args(["lint", "-t", "openstack", text(&dir.join("export.img"))]));
    assert!(linted.code() == 2 && linted.text().contains("error boot: found /init is missing"), "{linted}");
}

/// A file of that name takes what init says; without it Linux makes the device, and with the device it is heard.
#[test]
fn a_console_that_is_a_file_is_mended_and_init_is_heard() {
    let dir = scratch("bootable-console");
    let init = b"#!/bin/sh\necho INIT-SPEAKS\n/bin/busybox poweroff -f\n";
    let tar = exported(&dir, |tar| tar.entry("init", 0o755, Kind::File(init)).unwrap());
    let run = convert(&tar, &Arch::Amd64.debian("kernel"), &["-f", "kernel+initrd", "--name", "box"]).success();
    assert!(run.errors().contains("dev/console") && !run.errors().contains("may not boot"), "{run}");
    let machine = Machine::bios().direct(&dir.join("box-kernel"), &dir.join("box-initrd.img"), "console=ttyS0 quiet");
    machine.run_until("INIT-SPEAKS").expect("INIT-SPEAKS");
}

/// Debian's kernel without its PE header: as LinuxKit's were, and Firecracker's and Kata's are built.
fn without_stub(dir: &Path) -> PathBuf {
    let mut kernel = fs::read(Arch::Amd64.debian("kernel")).unwrap();
    kernel[..2].copy_from_slice(&[0xea, 5]);
    kernel[0x3c..0x40].fill(0);
    let path = dir.join("no-stub");
    fs::write(&path, kernel).unwrap();
    path
}

#[test]
fn a_kernel_without_an_efi_stub_is_refused_for_uefi() {
    let dir = scratch("bootable-stub");
    let tar = dir.join("guest.tar");
    write_test_tar(&tar, 1);
    let kernel = without_stub(&dir);
    for format in ["uki", "raw-efi", "qcow2-efi", "iso-efi", "iso-efi-initrd", "ova"] {
        let arguments = ["-f", format, "--boot", "uefi"];
        let run = convert(&tar, &kernel, &arguments);
        assert!(run.code() == 3 && run.errors().contains("no EFI stub") && run.errors().contains("--boot bios"), "{format}\n{run}");
    }
    for format in ["raw", "iso"] {
        let run = convert(&tar, &kernel, &["-f", format]).success();
        assert!(run.errors().contains("warning: on UEFI it may not boot: the kernel has no EFI stub"), "{format}\n{run}");
    }
    for format in ["raw-bios", "kernel+initrd"] {
        let run = convert(&tar, &kernel, &["-f", format]).success();
        assert!(!run.errors().contains("EFI stub"), "{format}\n{run}");
    }
    let linted = finish(moby().args(["lint", "-t", "openstack", text(&dir.join("guest.img"))]));
    assert!(linted.text().contains("warning boot: found the kernel has no EFI stub"), "{linted}");
}

/// Linux would start with an empty one.
#[test]
fn a_command_line_that_the_kernel_does_not_take_is_refused_everywhere() {
    let dir = scratch("bootable-cmdline");
    let tar = dir.join("guest.tar");
    write_test_tar(&tar, 1);
    let long = "x".repeat(3000);
    for (kernel, format) in [("amd64", "kernel+initrd"), ("amd64", "raw"), ("amd64", "uki"), ("arm64", "kernel+initrd"), ("arm64", "uki")] {
        let arch = if kernel == "amd64" { Arch::Amd64 } else { Arch::Arm64 };
        let refused = convert(&tar, &arch.debian("kernel"), &["-f", format, "--append", &long]);
        assert!(refused.code() == 2 && refused.errors().contains("the kernel command line has 30"), "{refused}");
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing was made");
}
