//! `moby run`: the machine that it starts, and that the guest in it comes up.

use crate::support::{
    guest::Arch,
    images::Images,
    scratch, text,
    tools::{Finished, finish, moby},
};
use std::{path::Path, sync::LazyLock};

static IMAGES: LazyLock<Images> = LazyLock::new(|| Images::of_debian("run", Arch::Amd64, 1, &["-f", "qcow2,iso,vhd,qcow2-efi,uki"]));

fn run(file: &str, arguments: &[&str]) -> Finished {
    finish(moby().arg("run").arg(IMAGES.path(file)).args(arguments))
}

/// The command of a dry run.
fn command(file: &str, arguments: &[&str]) -> String {
    run(file, &[arguments, &["--dry-run"]].concat()).success().text()
}

#[test]
fn the_machine_suits_the_image() {
    let cases: [(&str, &[&str], &[&str]); 7] = [
        ("guest.qcow2", &[], &["qemu-system-x86_64 -machine pc,accel=", "if=virtio,format=qcow2,", ",snapshot=on", "-m 1024M"]),
        ("guest.qcow2", &["--uefi", "--keep"], &["-machine q35,", "OVMF_CODE_4M.fd", "format=qcow2,file="]),
        ("guest-efi.qcow2", &[], &["-machine q35,", "if=pflash"]),
        ("guest.vhd", &["--memory", "2G", "--cpus", "3"], &["format=vpc,", "-m 2048M", "-smp 3"]),
        ("guest.iso", &["--bios"], &["media=cdrom,readonly=on,format=raw,", "-machine pc,"]),
        ("guest.efi", &[], &["-machine q35,", "-kernel ", "guest.efi"]),
        ("guest.tar", &["--publish", "8080:80"], &["image.qcow2", "hostfwd=tcp::8080-:80"]),
    ];
    for (file, arguments, words) in cases {
        let command = command(file, arguments);
        for word in words {
            assert!(command.contains(word), "{word} is not in {command}");
        }
    }
    assert!(!command("guest.qcow2", &["--keep"]).contains("snapshot"));
    IMAGES.convert(&["-f", "raw", "--sector-size", "4096"]);
    let large = command("guest.img", &[]);
    assert!(large.contains("nvme,serial=moby,drive=disk,logical_block_size=4096") && !large.contains("if=virtio"), "{large}");
}

/// With the keys of the disk in its variables, or without any: then the loader sets them and restarts the machine.
#[test]
fn a_signed_guest_has_the_firmware_that_it_wants() {
    let keys = scratch("run-keys").join("keys");
    finish(moby().args(["keys", "-q", text(&keys)])).success();
    IMAGES.convert(&["-f", "qcow2", "--secure-boot", text(&keys), "--efi-vars", "qemu", "--name", "signed"]);
    let variables = IMAGES.path("signed-efivars.fd");
    assert!(command("signed.qcow2", &["--efi-vars", text(&variables)]).contains("OVMF_CODE_4M.fd"));
    assert!(command("signed.qcow2", &["--efi-vars", text(&variables), "--keep"]).contains(text(&variables)));
    let restarts = |arguments: &[&str]| !command("signed.qcow2", arguments).contains("-no-reboot");
    assert!(restarts(&["--uefi"]) && !restarts(&["--bios"]) && command("guest.qcow2", &["--uefi"]).contains("-no-reboot"));
}

#[test]
fn what_is_missing_is_named_with_its_package() {
    let image = IMAGES.path("guest.qcow2");
    let done = finish(moby().arg("run").arg(&image).env("PATH", "/nowhere"));
    assert!(done.code() == 4 && done.errors().contains("qemu-system-x86"), "{done}");
    let done = run("guest.qcow2", &["--disk", text(Path::new(file!()))]);
    assert!(done.code() == 2, "{done}");
}

#[test]
fn the_guest_comes_up() {
    // KVM is there on machines where it does not work.
    let done = run("guest.qcow2", &["--accel", "tcg"]).success();
    assert!(done.text().contains("MOBY-MARKER-OK"), "{done}");
}

#[test]
fn the_guest_comes_up_from_a_cd_by_uefi() {
    let done = run("guest.iso", &["--uefi", "--accel", "tcg"]).success();
    assert!(done.text().contains("MOBY-MARKER-OK"), "{done}");
}
