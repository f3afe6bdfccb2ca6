//! Secure Boot: what was signed starts on firmware that trusts it, and nothing else does.
//!
//! Firmware says "Access Denied" of what it may not start, and "Not Found" of what is not there.

use crate::support::{
    guest::{Arch, foreign_loader},
    images::{Images, disk_of_program},
    qemu::{Board, Bus, Firmware, Machine},
    scratch, text,
    tools::{self, finish, moby, run},
    tpm::Tpm,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

const REFUSED: &str = "Access Denied";
const MISSING: &str = "Not Found";

/// Keys of one's own, as `moby keys` makes them.
fn keys(name: &str) -> PathBuf {
    let keys = scratch(name).join("keys");
    finish(moby().args(["keys", "-q", text(&keys)])).success();
    keys
}

/// A copy of an EFI program with one bit changed in the middle of a section.
fn with_a_flipped_bit(program: &Path, section: &str) -> PathBuf {
    let listed = run("objdump", ["-h", text(program)]);
    let row = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|row| row.get(1) == Some(&section));
    let row = row.unwrap_or_else(|| panic!("there is no section {section}\n{listed}"));
    let number = |column: usize| usize::from_str_radix(row[column], 16).expect("hexadecimal digits");
    let mut bytes = fs::read(program).unwrap();
    bytes[number(5) + number(2) / 2] ^= 1;
    let changed = program.with_extension(format!("{}.efi", section.trim_start_matches('.')));
    fs::write(&changed, bytes).unwrap();
    changed
}

#[test]
fn what_was_signed_starts_and_nothing_else() {
    let keys = keys("secure-keys");
    let images = Images::of_test_kernel("secure", 5, "kernel+initrd");
    images.convert(&["-f", "qcow2,iso,uki", "--secure-boot", text(&keys), "--efi-vars", "qemu", "--initrd-compression", "none"]);
    let variables = images.path("guest-efivars.fd");
    for (file, format, bus) in [("guest.qcow2", "qcow2", Bus::VirtioBlk), ("guest.iso", "raw", Bus::Cd)] {
        images.boots_test_kernel(file, format, bus, Machine::guarded().variables(&variables));
        // The same file where nobody looks at signatures.
        images.boots_test_kernel(file, format, bus, Machine::new(Board::Q35, Firmware::SeaBios));
    }

    // A disk of each kind that must not start, one behind the other, and behind them the one that must.
    let signed = images.path("guest.efi");
    let mut refused: Vec<_> = [".linux", ".initrd", ".cmdline", ".text"].map(|section| with_a_flipped_bit(&signed, section)).into();
    images.convert(&["-f", "uki", "--name", "unsigned", "--initrd-compression", "none"]);
    refused.push(images.path("unsigned.efi"));
    let others = self::keys("secure-other-keys");
    images.convert(&[
        "-f",
        "uki",
        "--name",
        "others",
        "--initrd-compression",
        "none",
        "--sign-key",
        text(&others.join("db.key")),
        "--sign-cert",
        text(&others.join("db.crt")),
    ]);
    refused.push(images.path("others.efi"));
    let mut machine = Machine::guarded().variables(&variables).memory(1024);
    for program in refused.iter().chain([&signed]) {
        machine = machine.disk(Bus::VirtioBlk, &disk_of_program(program, "BOOTX64.EFI"), "raw");
    }
    let console = machine.run().expect(&images.initrd_line()).refuse(MISSING).exited(33);
    assert_eq!(console.serial.matches(REFUSED).count(), refused.len(), "{console}");
    images.remove();
}

/// The firmware has no keys yet: our loader hands it those on the disk, restarts, and from then on only what was signed starts.
#[test]
fn a_machine_without_keys_takes_those_of_the_disk() {
    let keys = keys("enrol-keys");
    let images = Images::of_test_kernel("enrol", 5, "kernel+initrd,raw-efi");
    images.convert(&["-f", "qcow2", "--secure-boot", text(&keys), "--initrd-compression", "none"]);
    let variables = scratch("enrol-variables").join("vars.fd");
    fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &variables).unwrap();
    let machine = || Machine::guarded().variables(&variables);
    images.boots_test_kernel("guest.qcow2", "qcow2", Bus::VirtioBlk, machine().restarts());
    let printed = run(text(&tools::oracle("virt-fw-vars")), ["-i", text(&variables), "-p"]);
    for name in ["PK", "KEK", "db"] {
        assert!(printed.lines().any(|line| line.split_whitespace().any(|word| word == name)), "there is no {name}\n{printed}");
    }
    let console =
        machine().disk(Bus::VirtioBlk, &images.path("guest-efi.img"), "raw").disk(Bus::Ahci, &images.path("guest.qcow2"), "qcow2").run();
    let console = console.expect(&images.initrd_line()).refuse(MISSING).exited(33);
    assert_eq!(console.serial.matches(REFUSED).count(), 1, "{console}");
    images.remove();
}

#[test]
fn arm64_starts_what_was_signed() {
    let keys = keys("secure-arm64-keys");
    let images = Images::of_debian("secure-arm64", Arch::Arm64, 1, &["-f", "qcow2", "--secure-boot", text(&keys), "--efi-vars", "aavmf"]);
    images.convert(&["-f", "qcow2", "--name", "unsigned"]);
    let machine = Machine::arm64().variables(&images.path("guest-efivars.fd")).limit(400);
    let machine =
        machine.disk(Bus::VirtioBlk, &images.path("unsigned.qcow2"), "qcow2").disk(Bus::VirtioBlk, &images.path("guest.qcow2"), "qcow2");
    let console = machine.run_until("MOBY-MARKER-").refuse(MISSING).expect("MOBY-MARKER-OK aarch64").expect("MOBY-FIRMWARE efi\n");
    assert_eq!(console.serial.matches(REFUSED).count(), 1, "{console}");
}

/// Firmware, our loader and Linux measure what `inspect` said that they would.
#[test]
fn a_tpm_holds_what_was_said_in_advance() {
    let keys = keys("measured-keys");
    let key = keys.join("db.key");
    let arguments = ["-f", "qcow2", "--secure-boot", text(&keys), "--efi-vars", "qemu", "--pcr-key", text(&key)];
    let images = Images::of_debian("measured", Arch::Amd64, 1, &arguments);
    let (disk, variables) = (images.path("guest.qcow2"), images.path("guest-efivars.fd"));
    let said = finish(moby().args(["inspect", "--json", "--pcrs", "--efi-vars", text(&variables), text(&disk)])).success();
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let state = tempfile::tempdir().unwrap();
    let tpm = Tpm::start(state.path());
    let machine = Machine::guarded().variables(&variables).tpm(&tpm.socket).disk(Bus::VirtioBlk, &disk, "qcow2");
    let mut console = machine.run_until("MOBY-MARKER-").expect("MOBY-MARKER-OK").expect("secureboot: Secure boot enabled");
    for number in ["4", "7", "9", "11"] {
        let pcr = said["pcrs"][number].as_str().unwrap_or_else(|| panic!("no PCR {number}: {said:#}")).to_uppercase();
        console = console.expect(&format!("MOBY-PCR {number} {pcr}\n"));
    }
}

/// Debian's shim, which Microsoft signed, with the owner's certificate in its list.
#[test]
fn debians_shim_starts_what_its_owner_trusts() {
    let keys = keys("shim-keys");
    let (key, certificate) = (keys.join("db.key"), keys.join("db.crt"));
    let images = Images::of_test_kernel("shim", 5, "kernel+initrd");
    let shim = foreign_loader("usr/lib/shim/shimx64.efi.signed");
    let arguments = ["--sign-key", text(&key), "--sign-cert", text(&certificate), "--shim", text(&shim)];
    images.convert(&[&["-f", "qcow2", "--initrd-compression", "none"], &arguments[..]].concat());
    let variables = scratch("shim-variables").join("vars.fd");
    let owner = fs::read_to_string(keys.join("GUID.txt")).unwrap();
    let arguments = ["-i", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd", "-o", text(&variables), "--add-mok", owner.trim(), text(&certificate)];
    run(text(&tools::oracle("virt-fw-vars")), arguments);
    images.boots_test_kernel("guest.qcow2", "qcow2", Bus::VirtioBlk, Machine::guarded().variables(&variables));
    images.remove();
}
