//! Vagrant boxes as Vagrant's providers take them apart: members, metadata, disks that are sound.

use crate::support::{
    images::write_test_tar,
    names, scratch, text,
    tools::{convert_in, finish, oracle, run, tool},
};
use std::{fs, path::Path};

/// Unpacks a box as Vagrant does, by bsdtar, and gives its metadata and its Vagrantfile.
fn unpacked(dir: &Path, name: &str, members: &str) -> (serde_json::Value, String) {
    let (path, inside) = (dir.join(name), dir.join(format!("{name}.d")));
    run("gzip", ["-t", text(&path)]);
    assert_eq!(run("bsdtar", ["-tf", text(&path)]), members);
    fs::create_dir(&inside).unwrap();
    run("bsdtar", ["-xf", text(&path), "-C", text(&inside)]);
    let metadata = serde_json::from_slice(&fs::read(inside.join("metadata.json")).unwrap()).unwrap();
    (metadata, fs::read_to_string(inside.join("Vagrantfile")).unwrap())
}

#[test]
fn libvirt_finds_a_disk_of_the_size_that_is_said() {
    let dir = scratch("vagrant-libvirt");
    write_test_tar(&dir.join("in.tar"), 2);
    convert_in(&dir, &["in.tar", "-f", "vagrant-libvirt,raw", "--size", "3G", "--opt", "cpus=3,memory=2048"]).success();
    let (metadata, vagrantfile) = unpacked(&dir, "in-libvirt.box", "metadata.json\nVagrantfile\nbox.img\n");
    assert_eq!(metadata, serde_json::json!({"provider": "libvirt", "format": "qcow2", "virtual_size": 3}));
    for line in ["libvirt.cpus = 3", "libvirt.memory = 2048", "disabled: true"] {
        assert!(vagrantfile.contains(line), "{vagrantfile}");
    }
    let image = dir.join("in-libvirt.box.d/box.img");
    run("qemu-img", ["check", "-f", "qcow2", text(&image)]);
    run("qemu-img", ["compare", "-f", "qcow2", "-F", "raw", text(&image), text(&dir.join("in.img"))]);

    // Of a disk that has no whole GiB, one that has.
    convert_in(&dir, &["in.tar", "-f", "raw", "--size", "1100M", "-o", "odd.img"]).success();
    convert_in(&dir, &["odd.img", "-o", "odd-libvirt.box"]).success();
    let (metadata, _) = unpacked(&dir, "odd-libvirt.box", "metadata.json\nVagrantfile\nbox.img\n");
    assert_eq!(metadata["virtual_size"], 2);
    run("qemu-img", ["convert", "-O", "raw", text(&dir.join("odd-libvirt.box.d/box.img")), text(&dir.join("back.img"))]);
    assert_eq!(fs::metadata(dir.join("back.img")).unwrap().len(), 2 << 30);
    run("sgdisk", ["-v", text(&dir.join("back.img"))]);
}

#[test]
fn virtualbox_finds_a_machine_with_an_address() {
    let dir = scratch("vagrant-virtualbox");
    write_test_tar(&dir.join("in.tar"), 2);
    convert_in(&dir, &["in.tar", "-f", "vagrant-virtualbox,raw", "--opt", "memory=2048"]).success();
    let (metadata, vagrantfile) = unpacked(&dir, "in-virtualbox.box", "metadata.json\nVagrantfile\nbox.ovf\nbox-disk001.vmdk\n");
    assert_eq!(metadata, serde_json::json!({"provider": "virtualbox"}));
    let address = |vagrantfile: &str| {
        let (_, rest) = vagrantfile.split_once("config.vm.base_mac = \"").unwrap_or_else(|| panic!("{vagrantfile}"));
        rest.split('"').next().unwrap().to_owned()
    };
    let first = address(&vagrantfile);
    assert!(first.len() == 12 && first.starts_with("080027") && first.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");

    let inside = dir.join("in-virtualbox.box.d");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ovf.rng");
    run("xmllint", ["--noout", "--nonet", "--relaxng", text(&schema), text(&inside.join("box.ovf"))]);
    let info = finish(tool(oracle("cot")).args(["info", text(&inside.join("box.ovf"))])).success().text();
    for wanted in ["virtualbox-2.2", "harddisk @ SATA 0:0", "2     2 GiB    1"] {
        assert!(info.contains(wanted), "COT does not see {wanted}:\n{info}");
    }
    let vmdk = inside.join("box-disk001.vmdk");
    run("qemu-img", ["check", "-f", "vmdk", text(&vmdk)]);
    run("qemu-img", ["compare", "-f", "vmdk", "-F", "raw", text(&vmdk), text(&dir.join("in.img"))]);

    convert_in(&dir, &["in.tar", "-f", "vagrant-virtualbox", "--seed", "another", "--name", "seeded"]).success();
    let (_, vagrantfile) = unpacked(&dir, "seeded-virtualbox.box", "metadata.json\nVagrantfile\nbox.ovf\nbox-disk001.vmdk\n");
    assert_ne!(address(&vagrantfile), first, "two boxes of one address");
}

#[test]
fn boxes_are_for_bios_and_compressed_once() {
    let dir = scratch("vagrant-refused");
    write_test_tar(&dir.join("in.tar"), 1);
    for (arguments, words) in [
        (["--boot", "uefi"], "starts on BIOS"),
        (["--compress-output", "zst"], "--compress-output has no effect on vagrant-libvirt, vagrant-virtualbox"),
        (["--opt", "firmware=efi"], "option"),
        (["--sector-size", "4096"], "sectors of 4096 bytes"),
    ] {
        let refused = convert_in(&dir, &[&["in.tar", "-f", "vagrant-libvirt,vagrant-virtualbox"], &arguments[..]].concat());
        assert!([2, 3].contains(&refused.code()) && refused.errors().contains(words), "{refused}");
    }
    assert_eq!(names(&dir), ["in.tar"]);
    // A box is a tar that is gzipped, and may be called so.
    convert_in(&dir, &["in.tar", "-f", "vagrant-libvirt", "-o", "box.tar.gz"]).success();
    assert!(run("bsdtar", ["-tf", text(&dir.join("box.tar.gz"))]).starts_with("metadata.json\n"));
}
