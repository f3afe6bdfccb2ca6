//! What goes to clouds and hypervisors: their formats, their sizes, their consoles.

use crate::support::{
    images::{CMDLINE, write_test_tar},
    scratch, text,
    tools::{finish, moby, run},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

const GIB: u64 = 1 << 30;

fn test_tar(name: &str) -> (PathBuf, PathBuf) {
    let dir = scratch(name);
    let tar = dir.join("guest.tar");
    write_test_tar(&tar, 2);
    (dir, tar)
}

/// The command line that the loaders find on a disk of ours.
fn cmdline(disk: &Path) -> String {
    let inspected = finish(moby().args(["inspect", "--json", text(disk)])).success().text();
    let json: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    json["boot"]["cmdline"].as_str().unwrap_or_else(|| panic!("no command line in {inspected}")).to_owned()
}

#[test]
fn every_target_is_made_in_its_format_and_size() {
    let (dir, tar) = test_tar("platforms");
    let listed = finish(moby().args(["formats", "--targets", "--json"])).success().text();
    let targets: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert!(targets.as_array().unwrap().len() > 10);
    for target in targets.as_array().unwrap() {
        let name = target["name"].as_str().unwrap();
        let out = dir.join(name);
        fs::create_dir(&out).unwrap();
        // Every platform takes some raw disk: its size and consoles are those of what is uploaded.
        finish(moby().args(["convert", "-q", "--target", name, "--dir", text(&out), text(&tar)])).success();
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "{name}");
        let raw = dir.join("raw.img");
        finish(moby().args(["convert", "-q", "--target", name, "-f", "raw", "-o", text(&raw), text(&tar)])).success();
        assert!(fs::metadata(&raw).unwrap().len().is_multiple_of(target["size-multiple"].as_u64().unwrap()), "{name}");
        let consoles = target["consoles"]["x86"].as_array().unwrap().iter();
        let wanted: String = consoles.map(|console| format!("console={} ", console.as_str().unwrap())).collect();
        assert_eq!(cmdline(&raw), wanted + CMDLINE, "{name}");
    }
}

#[test]
fn the_consoles_of_a_target_replace_those_of_the_tar_and_what_is_appended_comes_last() {
    let (dir, tar) = test_tar("platforms-consoles");
    let disk = dir.join("disk.img");
    let arguments = ["--cmdline", "console=ttyS1 root=/dev/x console=tty1 -- console=init", "--append", "console=hvc0"];
    finish(moby().args(["convert", "-q", "--target", "openstack", text(&tar), "-o", text(&disk), "-f", "raw"]).args(arguments)).success();
    assert_eq!(cmdline(&disk), "console=ttyS0,115200n8 console=tty0 root=/dev/x -- console=hvc0");
}

/// A disk is converted as it is; what would change it is refused, not ignored.
#[test]
fn a_disk_keeps_its_command_line_and_says_so() {
    let (dir, tar) = test_tar("platforms-disk");
    let (raw, vhdx) = (dir.join("raw.img"), dir.join("disk.vhdx"));
    finish(moby().args(["convert", "-q", text(&tar), "-o", text(&raw)])).success();
    let made = finish(moby().args(["convert", "--target", "hyperv", text(&raw), "-o", text(&vhdx)])).success();
    assert!(made.errors().contains("its consoles stay as they are"), "{made}");
    assert_eq!(cmdline(&vhdx), CMDLINE);
    for option in [
        ["--cmdline", "x"],
        ["--append", "x"],
        ["--data-part", "a=1M"],
        ["--boot", "bios"],
        ["--initrd-level", "1"],
        ["--initrd-compression", "xz"],
    ] {
        let refused = finish(moby().args(["convert", "-q", text(&raw), "-o", text(&dir.join("no.qcow2"))]).args(option));
        assert!(refused.code() == 3 && refused.errors().contains(option[0]), "{refused}");
    }
}

/// Compute Engine: gzip, the old GNU format, one member `disk.raw`, whole GiB.
#[test]
fn compute_engine_gets_its_tar() {
    let (dir, tar) = test_tar("platforms-gcp");
    finish(moby().args(["convert", "-q", "-f", "gcp,raw", "--dir", text(&dir), text(&tar)])).success();
    let packed = dir.join("guest.img.tar.gz");
    let listed = run("tar", ["--list", "--verbose", "--file", text(&packed)]);
    assert!(listed.lines().count() == 1 && listed.contains(&format!(" {GIB} ")) && listed.ends_with(" disk.raw\n"), "{listed}");
    let header = run("sh", ["-c", "gzip -dc \"$1\" | head -c 265 | tail -c 8", "sh", text(&packed)]);
    assert_eq!(header, "ustar  \0", "not the old GNU format");
    run("tar", ["-xSf", text(&packed), "-C", text(&dir)]);
    let disk = dir.join("disk.raw");
    assert_eq!(fs::metadata(&disk).unwrap().len(), GIB);
    assert!(run("sgdisk", ["-v", text(&disk)]).contains("No problems found."));
    assert_eq!(cmdline(&disk), CMDLINE);
}

/// EC2 and Azure take the size as it is: whole GiB, and whole MiB with a footer.
#[test]
fn ec2_and_azure_get_whole_sizes() {
    let (dir, tar) = test_tar("platforms-sizes");
    finish(moby().args(["convert", "-q", "-f", "aws,azure", "--dir", text(&dir), text(&tar)])).success();
    assert_eq!(fs::metadata(dir.join("guest.raw")).unwrap().len(), GIB);
    let vhd = fs::metadata(dir.join("guest.vhd")).unwrap().len();
    assert_eq!(vhd % (1 << 20), 512);
    let info = run("qemu-img", ["info", "--output=json", "-f", "vpc", text(&dir.join("guest.vhd"))]);
    assert!(info.contains(&format!("\"virtual-size\": {},", vhd - 512)), "{info}");
}

/// What goes to a pipe is what goes to a file, for every format of one file.
#[test]
fn a_pipe_gets_the_bytes_of_a_file() {
    let (dir, tar) = test_tar("platforms-pipe");
    let listed = finish(moby().args(["formats", "--json"])).success().text();
    let formats: serde_json::Value = serde_json::from_str(&listed).unwrap();
    for format in formats.as_array().unwrap().iter().filter(|format| format["files"].as_array().unwrap().len() == 1) {
        let name = format["name"].as_str().unwrap();
        // Cards need another kernel, and firmware: tests/sd_card.rs.
        if name.starts_with("rpi") {
            continue;
        }
        let (file, pipe) = (dir.join(format!("{name}.file")), dir.join(format!("{name}.pipe")));
        finish(moby().args(["convert", "-q", "-f", name, "-o", text(&file), text(&tar)])).success();
        let stdout = fs::File::create(&pipe).unwrap();
        let piped = moby().args(["convert", "-q", "-f", name, "-o", "-", text(&tar)]).stdout(stdout).status().unwrap();
        assert!(piped.success(), "{name}");
        run("cmp", [text(&file), text(&pipe)]);
        fs::remove_file(&pipe).unwrap();
    }
}
