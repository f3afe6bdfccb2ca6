//! Unified kernel images: binutils see their sections, firmware starts them, and the kernel gets everything.

use crate::support::{
    guest::{self, Arch},
    images::{CMDLINE, Disk, Entry, Images, disk_of_program},
    qemu::{Bus, Machine},
    scratch, text,
    tools::{finish, moby, run, ukify},
};
use std::{fs, path::Path};

#[test]
fn the_kernel_gets_everything() {
    Images::unified_boots("uki-5", 5);
}

#[test]
fn debian_boots() {
    let images = Images::of_debian("uki-debian", Arch::Amd64, 2, &["--format", "uki"]);
    let disk = disk_of_program(&images.path("guest.efi"), "BOOTX64.EFI");
    let console = Machine::uefi().disk(Bus::VirtioBlk, &disk, "raw").run_until("MOBY-MARKER-");
    console.expect("MOBY-MARKER-OK").expect("MOBY-FIRMWARE efi\n");
}

/// A hybrid disk with the bytes once: firmware starts the image, and the BIOS loader finds kernel and initrd in it by the entry.
fn disk_that_names_one(name: &str) -> (Images, Disk) {
    let images = Images::of_test_kernel(name, 5, "raw,uki,kernel+initrd");
    let disk = images.disk("named.img");
    let Entry { linux, initrd, .. } = disk.entry();
    for file in [linux, initrd] {
        disk.delete(&file);
    }
    disk.write(UKI, &fs::read(images.path("guest.efi")).unwrap());
    disk.write(ENTRY, format!("title test\narchitecture x64\nuki {UKI}\n").as_bytes());
    (images, disk)
}

const UKI: &str = "/EFI/BOOT/BOOTX64.EFI";
const ENTRY: &str = "/loader/entries/moby.conf";

#[test]
fn a_disk_that_names_one_boots_on_both_firmwares() {
    let (images, disk) = disk_that_names_one("uki-named");
    for machine in [Machine::bios(), Machine::uefi()] {
        let console = machine.disk(Bus::VirtioBlk, &disk.path, "raw").run().exited(33);
        console.expect(&format!("TESTKERNEL cmdline [{CMDLINE}]\n")).expect(&images.initrd_line()).expect(".linux ");
    }
}

#[test]
fn a_disk_that_names_one_is_looked_into() {
    let (images, disk) = disk_that_names_one("uki-named-parts");
    let facts: serde_json::Value =
        serde_json::from_str(&finish(moby().args(["inspect", "--json", text(&disk.path)])).success().text()).unwrap();
    let boot = &facts["boot"];
    assert_eq!((&boot["entry"], &boot["kernel-path"]), (&"moby.conf".into(), &format!("{UKI} .linux").into()), "{facts:#}");
    let part = |what: &str| finish(moby().args(["extract", text(&disk.path), what])).success().stdout;
    assert!(part("kernel") == fs::read(images.path("guest-kernel")).unwrap());
    assert!(part("initrd") == fs::read(images.path("guest-initrd.img")).unwrap());
    assert_eq!(part("cmdline"), CMDLINE.as_bytes());
    let tar = |disk: &Path| finish(moby().args(["extract", text(disk), "tar"])).success().stdout;
    assert!(tar(&disk.path) == tar(&images.path("guest.img")), "the same image as of the disk that it was");
}

/// The BIOS loader and `moby` say the same, as they are the same code.
#[test]
fn a_named_image_that_cannot_be_booted_says_why() {
    let (images, disk) = disk_that_names_one("uki-named-broken");
    let whole = fs::read(images.path("guest.efi")).unwrap();
    let loader = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/boot/prebuilt/bootx64.efi")).unwrap();
    for (bytes, words) in
        [(&whole[..whole.len() / 2], "unified kernel image cut short: "), (&loader, "no section .linux"), (b"#!/bin/sh", "no PE headers")]
    {
        disk.write(UKI, bytes);
        // One boot shows that the loader has the words; which it says of what is tested with the reader.
        if bytes.len() > 1 << 20 {
            let machine = Machine::bios().disk(Bus::VirtioBlk, &disk.path, "raw");
            machine.run_until("moby: cannot boot: ").expect(&format!("moby: cannot boot: {UKI}: ")).expect(words);
        }
        let refused = finish(moby().args(["extract", text(&disk.path), "kernel"]));
        assert!(refused.code() == 2 && refused.errors().contains(words), "{refused}");
    }
    disk.delete(UKI);
    let machine = Machine::bios().disk(Bus::VirtioBlk, &disk.path, "raw");
    machine.run_until("moby: cannot boot: ").expect(&format!("moby: cannot boot: {UKI}: file not found"));
}

/// Sections in the order of `ukify`, with the bytes that went in; microcode has one of its own.
#[test]
fn binutils_and_ukify_see_the_sections() {
    let dir = scratch("uki-sections");
    let (tar, ucode, image) = (dir.join("guest.tar"), dir.join("ucode.cpio"), dir.join("guest.efi"));
    guest::write_tagged_tar(&tar, Arch::Amd64, 1).unwrap();
    let early = "mkdir -p kernel/x86/microcode && echo microcode >kernel/x86/microcode/GenuineIntel.bin && find kernel | cpio -o -H newc --quiet >ucode.cpio";
    run("sh", ["-c", &format!("cd \"$1\" && {early}"), "sh", text(&dir)]);
    let arguments = ["-q", "-f", "uki,kernel+initrd", "--dir", text(&dir), "--ucode", text(&ucode), "--cmdline", "quiet"];
    finish(moby().arg("convert").args(arguments).arg(&tar)).success();
    let listed = run("objdump", ["-h", text(&image)]);
    let names: Vec<_> = listed.lines().filter_map(|line| line.split_whitespace().nth(1)).filter(|word| word.starts_with('.')).collect();
    let added = names.iter().position(|name| *name == ".sbat").unwrap();
    assert_eq!(names[added..], [".sbat", ".osrel", ".cmdline", ".uname", ".ucode", ".initrd", ".linux"], "{listed}");
    let inspected: serde_json::Value = serde_json::from_str(&ukify(&["--json=short", "inspect", text(&image)])).unwrap();
    let section = |name: &str| {
        let out = dir.join("section");
        run("objcopy", ["-O", "binary", "--only-section", name, text(&image), text(&out)]);
        let sum = run("sha256sum", [text(&out)]);
        assert_eq!(inspected[name]["sha256"].as_str(), sum.split_whitespace().next(), "{name}\n{inspected:#}");
        fs::read(out).unwrap()
    };
    assert_eq!(section(".cmdline"), b"quiet");
    assert_eq!(section(".ucode"), fs::read(&ucode).unwrap());
    assert!(section(".linux") == fs::read(dir.join("guest-kernel")).unwrap());
    assert_eq!(inspected[".cmdline"]["text"], "quiet");
    assert_eq!(inspected.as_object().unwrap().len(), 7, "{inspected:#}");
    let sbat = String::from_utf8(section(".sbat")).unwrap();
    let rows: Vec<_> = sbat.lines().map(|line| line.split(',').collect::<Vec<_>>()).collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), ["sbat", "moby.loader", "uki"]);
    assert!(rows.iter().all(|row| row.len() == 6 && row.iter().all(|field| !field.is_empty())), "{sbat}");
    let whole = [section(".ucode"), section(".initrd")].concat();
    assert!(whole == fs::read(dir.join("guest-initrd.img")).unwrap());
    assert!(String::from_utf8(section(".osrel")).unwrap().starts_with("ID=linux\n"));
    assert!(String::from_utf8(section(".uname")).unwrap().contains("cloud-amd64"));
}

/// A context for `docker build`: the Dockerfile first, then everything that the tar has.
#[test]
fn the_docker_output_is_the_tar_with_a_dockerfile() {
    let dir = scratch("docker");
    let tar = dir.join("guest.tar");
    guest::write_tagged_tar(&tar, Arch::Amd64, 1).unwrap();
    finish(moby().args(["convert", "-q", "-f", "docker", "--dir", text(&dir), text(&tar)])).success();
    let names = |path: &Path| {
        let listed = run("tar", ["-tf", text(path)]);
        listed
            .lines()
            .map(|line| line.trim_start_matches("./").trim_end_matches('/').to_owned())
            .filter(|name| !name.is_empty())
            .collect::<Vec<_>>()
    };
    let made = names(&dir.join("guest.docker"));
    assert_eq!(made[0], "Dockerfile");
    for name in names(&tar) {
        assert!(made.contains(&name), "{name} is missing");
    }
}
