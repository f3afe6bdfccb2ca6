//! Disks against sgdisk, dosfstools and mtools.

use crate::support::{scratch, text, tools::run};
use formats::{
    Blob, Ids, Limits, Timestamp,
    kernel::Arch,
    units::{GIB, MIB, TIB},
};
use moby::{
    emit::{Manner, Target, emit},
    layout::{Entry, Firmware, Layout, Size},
    loaders::EfiLoader,
};
use std::{fs, path::Path};

fn entry(arch: Arch) -> Entry {
    Entry {
        title: "Linux".to_owned(),
        version: Some("6.6.71".to_owned()),
        efi: EfiLoader::of(arch).unwrap(),
        loader: EfiLoader::of(arch).unwrap().application(),
        kernel: Blob::bytes((0..1_000_003_u32).map(|i| (i >> 3).to_le_bytes()[0]).collect::<Vec<_>>()),
        initrd: Some(Blob::bytes((0..5_000_001_u32).map(|i| (i >> 5).to_le_bytes()[0]).collect::<Vec<_>>())),
        cmdline: "console=ttyS0 quiet".to_owned(),
        cmdline_max: None,
        has_efi_stub: true,
        signed: None,
        root: Vec::new(),
    }
}

fn write(disk: &Blob, path: &Path) {
    emit(&[(Target::Path(path.to_owned()), disk.clone().into())], Manner::default(), &formats::Silent).unwrap();
}

#[test]
fn foreign_programs_find_no_fault_and_every_file() {
    let desk = scratch("layout");
    for (boot, size, arch) in [
        (Firmware::Hybrid, Size::Auto, Arch::X86_64),
        (Firmware::Bios, Size::Fixed(300 * MIB), Arch::X86_64),
        (Firmware::Uefi, Size::Fixed(3 * GIB), Arch::X86_64),
        (Firmware::Hybrid, Size::Auto, Arch::Aarch64),
        (Firmware::Hybrid, Size::Fixed(10 * TIB), Arch::X86_64),
    ] {
        let entry = entry(arch);
        let disk = Layout { firmware: boot, size, ..Layout::default() }
            .disk(&entry, Limits::default(), &Ids::from_seed(b"x"), Timestamp(1_700_000_000))
            .unwrap();
        let image = desk.join("disk.img");
        write(&disk, &image);

        let verdict = run("sgdisk", ["-v", text(&image)]);
        assert!(verdict.contains("No problems found."), "{boot:?} {size:?}: {verdict}");

        // dosfstools knows no offset: it gets the partition as a file.
        let esp = moby::image::disk::partitions(&disk).unwrap().pop().unwrap();
        let volume = desk.join("esp.img");
        write(&disk.slice(esp.start..esp.start + esp.len), &volume);
        run("fsck.vfat", ["-n", text(&volume)]);

        let mtools = format!("{}@@1M", text(&image));
        let mut expected = vec![("moby/vmlinuz", entry.kernel.clone()), ("moby/initrd.img", entry.initrd.clone().unwrap())];
        if boot != Firmware::Bios {
            expected.push((entry.efi.path.trim_start_matches('/'), entry.loader.clone()));
        }
        for (path, body) in &expected {
            let copy = desk.join("copy");
            run("mcopy", ["-n", "-o", "-i", &mtools, &format!("::/{path}"), text(&copy)]);
            assert!(fs::read(&copy).unwrap() == body.to_vec(GIB).unwrap(), "{path} of {boot:?} {size:?}");
        }
        let list = run("mdir", ["-/", "-b", "-i", &mtools, "::/"]);
        let files = list.lines().filter(|line| !line.ends_with('/')).count();
        assert_eq!(files, expected.len() + 1, "{list}");
        assert!(run("mtype", ["-i", &mtools, "::/loader/entries/moby.conf"]).contains("options      console=ttyS0 quiet\n"));
    }
}

#[test]
fn sgdisk_sees_the_room_that_was_asked_for() {
    let desk = scratch("layout-room");
    for (size, room) in [("+64M", 64 * MIB), ("+2G", 2 * GIB)] {
        let layout = Layout { size: size.parse().unwrap(), ..Layout::default() };
        let disk = layout.disk(&entry(Arch::X86_64), Limits::default(), &Ids::from_seed(b"x"), Timestamp(0)).unwrap();
        let image = desk.join("disk.img");
        write(&disk, &image);
        assert!(run("sgdisk", ["-v", text(&image)]).contains("No problems found."));
        let table = run("sgdisk", ["-p", text(&image)]);
        let said = table.lines().find(|line| line.starts_with("Total free space")).unwrap();
        // Behind the last partition, and what alignment leaves before the backup table.
        let sectors: u64 = said.split(' ').find_map(|word| word.parse().ok()).unwrap();
        let wanted = room / 512;
        assert!((wanted..wanted + 2048).contains(&sectors), "{table}");
    }
}

#[test]
fn sgdisk_sees_data_partitions_as_they_were_asked_for() {
    let desk = scratch("layout-data");
    let parts = ["A=1G", "state=300M:var"].map(|part| part.parse().unwrap()).into();
    let layout = Layout { parts, ..Layout::default() };
    let disk = layout.disk(&entry(Arch::X86_64), Limits::default(), &Ids::from_seed(b"x"), Timestamp(0)).unwrap();
    let image = desk.join("disk.img");
    write(&disk, &image);
    assert!(run("sgdisk", ["-v", text(&image)]).contains("No problems found."));
    for (number, wanted) in [
        ("3", ["0FC63DAF-8483-4772-8E79-3D69D8477DE4", "Partition size: 2097152 sectors", "Partition name: 'A'"]),
        ("4", ["4D21B016-B534-45C2-A9FB-5C16E091FD2D", "Partition size: 614400 sectors", "Partition name: 'state'"]),
    ] {
        let info = run("sgdisk", ["-i", number, text(&image)]);
        assert!(wanted.iter().all(|wanted| info.contains(wanted)), "{info}");
    }
}
