//! What an output is depends on its source and its own options alone, and two disks never share an identifier.

use crate::support::{
    guest::{self, Arch},
    images::write_test_tar,
    scratch,
    tools::{finish, moby, run},
};
use formats::{Blob, Env, blob::Backing, fat::File};
use moby::{
    convert::{Conversion, Quiet, Source},
    image,
    outputs::{OUTPUTS, Output},
    request::{Request, Root},
};
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

/// The checksums of all files of these outputs, made in one run, by the names of the outputs.
fn made(source: &Source, outputs: &[&'static Output], request: &Request) -> Result<BTreeMap<&'static str, Vec<[u8; 32]>>, formats::Error> {
    let artifacts = Conversion::new(outputs.to_vec(), request.clone())?.run(source.clone(), Env::scratch(2), &Quiet)?;
    let sums = |files: &[Blob]| files.iter().map(|file| file.sha256().unwrap()).collect();
    Ok(artifacts.iter().map(|artifact| (artifact.output.name, sums(&artifact.files))).collect())
}

fn source(tar: &Path) -> Source {
    let file = fs::File::open(tar).unwrap();
    let len = file.metadata().unwrap().len();
    Source::Image(Arc::new(image::tar::read(&Blob::file(Backing::from(file), 0, len)).unwrap()))
}

/// Every row alone, then all of them in one run, from the first to the last and back. Gives the names of the rows that there are none of.
fn in_any_company(source: &Source, request: &Request) -> Vec<&'static str> {
    let (mut alone, mut absent) = (BTreeMap::new(), Vec::new());
    for output in OUTPUTS {
        match made(source, &[output], request) {
            Ok(of_one) => alone.extend(of_one),
            Err(_) => absent.push(output.name),
        }
    }
    let mut rows: Vec<_> = OUTPUTS.iter().filter(|output| alone.contains_key(output.name)).collect();
    for order in ["forwards", "backwards"] {
        let together = made(source, &rows, request).unwrap();
        for (name, sums) in &alone {
            assert!(&together[name] == sums, "{name} is another one beside others, {order}");
        }
        rows.reverse();
    }
    absent
}

/// A stand-in for the files that a Raspberry Pi's firmware has.
fn pi_firmware() -> Vec<File> {
    ["bcm2710-rpi-3-b.dtb", "bcm2711-rpi-4-b.dtb", "bootcode.bin", "fixup.dat", "fixup4.dat", "start.elf", "start4.elf"]
        .map(|name| File::new(name, Blob::bytes(name.as_bytes())))
        .to_vec()
}

#[test]
fn no_output_depends_on_its_company() {
    let dir = scratch("identity-company");
    write_test_tar(&dir.join("x86.tar"), 2);
    let absent = in_any_company(&source(&dir.join("x86.tar")), &Request::default());
    assert_eq!(absent, ["rpi3", "rpi4"], "what an x86 tar does not make");
    guest::write_tagged_tar(&dir.join("arm.tar"), Arch::Arm64, 2).unwrap();
    let request = Request { pi_firmware: pi_firmware(), ..Request::default() };
    // The firmware is a wish that only cards heed, so the others are tried beside one.
    let arm = source(&dir.join("arm.tar"));
    let rows: Vec<_> = OUTPUTS.iter().filter(|output| !output.name.ends_with("-bios")).collect();
    let of = |name: &str| *rows.iter().find(|output| output.name == name).unwrap();
    let mut cards = made(&arm, &[of("rpi3")], &request).unwrap();
    cards.extend(made(&arm, &[of("rpi4")], &request).unwrap());
    let mut order = rows.clone();
    for _ in 0..2 {
        let together = made(&arm, &order, &request).unwrap();
        for (name, sums) in &cards {
            assert!(&together[name] == sums, "{name} is another one beside others");
        }
        order.reverse();
    }
}

/// The root of disks in a partition beside cards and raw disks, whose roots are in initrds: the combination that once went wrong.
#[test]
fn a_root_in_a_partition_changes_no_neighbour() {
    let dir = scratch("identity-roots");
    write_test_tar(&dir.join("x86.tar"), 2);
    let (source, squashfs) = (source(&dir.join("x86.tar")), moby::names::find::<Root>("squashfs").unwrap());
    let request = Request { root: squashfs, ..Request::default() };
    let absent = in_any_company_of(&source, &request, &["raw", "vdi", "iso", "uki", "kernel+erofs", "kernel+squashfs", "iso-efi"]);
    assert_eq!(absent, 0);
}

/// As `in_any_company`, of these rows; those that do not heed the request are made beside `raw`, which does.
fn in_any_company_of(source: &Source, request: &Request, names: &[&str]) -> usize {
    let of = |name: &str| OUTPUTS.iter().find(|output| output.name == name).unwrap();
    let all: Vec<_> = names.iter().map(|name| of(name)).collect();
    let mut wrong = 0;
    for order in [all.clone(), all.iter().rev().copied().collect()] {
        let together = made(source, &order, request).unwrap();
        for output in &all {
            let beside = made(source, &[output, of("raw")], request).unwrap();
            wrong += usize::from(beside[output.name] != together[output.name]);
        }
    }
    wrong
}

/// Where each container has what VirtualBox, Hyper-V and VMware tell disks apart by.
fn identifier(dir: &Path, disk: &str, format: &str) -> Vec<u8> {
    let path = dir.join(format!("{disk}.{format}"));
    finish(moby().current_dir(dir).args(["convert", "-q", disk, "-f", format, "-o"]).arg(&path)).success();
    let file = fs::read(path).unwrap();
    let at = match format {
        "vdi" => 392,
        "vhd" => file.len() - 512 + 68,
        "vhdx" => (2 << 20) + (64 << 10) + 16,
        "vmdk" => file.windows(17).position(|window| window == b"ddb.longContentID").expect("a descriptor"),
        _ => unreachable!("{format} has none"),
    };
    file[at..at + 16 + usize::from(format == "vmdk") * 40].to_vec()
}

#[test]
fn two_disks_have_two_identifiers_and_one_disk_has_one() {
    let dir = scratch("identity-disks");
    for (name, byte) in [("one", 1), ("two", 2)] {
        let mut disk = vec![0; 4 << 20];
        (disk[510], disk[511], disk[3 << 20]) = (0x55, 0xaa, byte);
        fs::write(dir.join(name), disk).unwrap();
    }
    run("qemu-img", ["convert".into(), "-O".into(), "qcow2".into(), dir.join("one"), dir.join("same")]);
    for format in ["vdi", "vhd", "vhdx", "vmdk"] {
        let [one, two, same] = ["one", "two", "same"].map(|disk| identifier(&dir, disk, format));
        assert_ne!(one, two, "{format}: two disks of one identifier");
        assert_eq!(one, same, "{format}: one disk of two identifiers");
        assert!(one.iter().any(|byte| *byte != 0), "{format}: no identifier");
    }
}
