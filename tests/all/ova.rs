//! The OVA as importers take it apart: members in order, a manifest that verifies, an envelope that is valid, a disk that is the disk.

use crate::support::{
    images::write_test_tar,
    scratch, text,
    tools::{finish, moby, run, tool},
};
use std::{fs, path::Path};

/// COT, an independent reader of OVF, which `tests/setup.sh` installs.
const COT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.cache/oracles/bin/cot");

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
    let info = finish(tool(COT).args(["info", text(&inside.join("moby.ovf"))])).success().text();
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
