//! Partition tables and FAT volumes against sgdisk, dosfstools and mtools.
//!
//! `tests/setup.sh` installs the programs; a missing one is a failure.

use formats::{
    Blob, Ids, Timestamp,
    fat::{File, Volume, Width},
    gpt::{self, Gpt},
    mbr::Mbr,
    units::{GIB, KIB, MIB, SECTOR, TIB},
};
use std::{ffi::OsStr, fs, os::unix::fs::FileExt, path::Path, process::Command};

/// Runs a program that must succeed, and gives what it printed.
fn run(program: &str, args: &[&dyn AsRef<OsStr>]) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(program);
    command.args(args.iter().map(|arg| arg.as_ref())).env("PATH", path).env("TZ", "UTC").env("LC_ALL", "C.UTF-8").env_remove("MTOOLSRC");
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}; tests/setup.sh installs what the tests need"));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

/// Writes a blob as a sparse file.
fn put(path: &Path, blob: &Blob) {
    let file = fs::File::create(path).unwrap();
    file.set_len(blob.len()).unwrap();
    for extent in blob.extents() {
        let bytes = blob.slice(extent.start..extent.end()).to_vec(GIB).unwrap();
        file.write_all_at(&bytes, extent.start).unwrap();
    }
}

fn pattern(len: u64, seed: u64) -> Blob {
    Blob::from((0..len).map(|i| (i.wrapping_mul(seed + 1) >> 3).to_le_bytes()[0] ^ 0x5a).collect::<Vec<u8>>())
}

fn files() -> Vec<File> {
    vec![
        File::new("/EFI/BOOT/BOOTX64.EFI", pattern(25_088, 1)),
        File::new("/loader/entries/moby.conf", pattern(200, 2)),
        File::new("moby/vmlinuz", pattern(700_001, 3)),
        File::new("moby/initrd.img", pattern(65_536, 4)),
        File::new("moby/empty", Blob::default()),
        File::new("moby/a long näme, with spaces and ✓.conf", pattern(1, 5)),
        File::new("moby/A Long Name.configuration", pattern(513, 6)),
        File::new("moby/alongname.conf", pattern(4096, 7)),
    ]
}

/// sgdisk asks a device for its sectors; fdisk takes a user's word.
#[test]
fn fdisk_finds_no_fault_in_a_disk_of_large_sectors() {
    for size in [40 * MIB, 2 * TIB + 4 * KIB] {
        let desk = tempfile::tempdir().unwrap();
        let image = desk.path().join("disk");
        put(&image, &gpt_disk(size, 4 * KIB));
        let verdict = run(
            "sh",
            &[
                &"-c",
                &r#"printf 'v
i
3
q
' | fdisk -b 4096 "$0""#,
                &image,
            ],
        );
        assert!(verdict.contains("No errors detected."), "{verdict}");
        for line in ["Start: 4096", &format!("End: {}", size / 4096 - 6), "Name: a partition whose name fills 36 uni✓"] {
            assert!(verdict.contains(line), "{line} in {verdict}");
        }
    }
}

fn volume(files: Vec<File>) -> Volume {
    Volume {
        sector: SECTOR,
        label: "MOBY_ESP".to_owned(),
        serial: 0x0bad_cafe,
        time: Timestamp(1_700_000_001),
        hidden_sectors: 2048,
        fat32_only: false,
        cluster_min: SECTOR,
        files,
        directories: Vec::new(),
    }
}

/// fsck finds nothing, and every file comes back by mcopy.
fn check(volume: &Volume, size: u64) -> Width {
    let desk = tempfile::tempdir().unwrap();
    let image = desk.path().join("volume");
    let written = volume.write(size).unwrap();
    put(&image, &written.volume);
    let verdict = run("fsck.vfat", &[&"-n", &"-v", &image]);
    assert!(!verdict.contains("Free cluster summary") && !verdict.contains("differences"), "{verdict}");
    for (file, range) in volume.files.iter().zip(&written.files) {
        let copy = desk.path().join("copy");
        let path = format!("::/{}", file.path.trim_start_matches('/'));
        run("mcopy", &[&"-n", &"-i", &image, &path, &copy]);
        assert!(fs::read(&copy).unwrap() == file.body.to_vec(GIB).unwrap(), "{path} in {size}");
        assert!(range.start.is_multiple_of(volume.cluster_min.max(volume.sector)));
        assert_eq!(range.end - range.start, file.body.len());
        fs::remove_file(copy).unwrap();
    }
    written.width
}

#[test]
fn every_width_passes_fsck_and_gives_back_its_files() {
    for (size, sector, fat32_only, width) in [
        (16 * MIB, 4096, false, Width::Fat12),
        (40 * MIB, 4096, false, Width::Fat16),
        (258 * MIB, 4096, true, Width::Fat32),
        (20 * GIB, 4096, true, Width::Fat32),
        (3 * MIB, 2048, false, Width::Fat12),
    ] {
        let volume = Volume { sector, fat32_only, ..volume(files()) };
        assert_eq!(check(&volume, size), width, "{size}");
        check(&volume, volume.size_for(0).unwrap());
    }
    for (size, cluster_min, fat32_only, width) in [
        (MIB, 512, false, Width::Fat12),
        (1440 * KIB, 512, false, Width::Fat12),
        (3 * MIB, 512, false, Width::Fat16),
        (31 * MIB + 512, 512, false, Width::Fat16),
        (100 * MIB, 2048, false, Width::Fat16),
        (34 * MIB, 512, true, Width::Fat32),
        (140 * MIB, 2048, false, Width::Fat32),
        (2 * GIB, 512, true, Width::Fat32),
        (20 * GIB, 512, true, Width::Fat32),
    ] {
        let volume = Volume { cluster_min, fat32_only, ..volume(files()) };
        assert_eq!(check(&volume, size), width, "{size}");
    }
}

#[test]
fn a_volume_that_is_just_large_enough_is_sound() {
    for fat32_only in [false, true] {
        let volume = Volume { fat32_only, ..volume(files()) };
        check(&volume, volume.size_for(0).unwrap());
    }
}

#[test]
fn names_label_serial_and_times_are_seen_by_mtools() {
    let desk = tempfile::tempdir().unwrap();
    let image = desk.path().join("volume");
    put(&image, &volume(files()).write(3 * MIB).unwrap().volume);
    let list = run("mdir", &[&"-i", &image, &"::/moby"]);
    for line in [
        "Volume in drive : is MOBY_ESP",
        "Volume Serial Number is 0BAD-CAFE",
        "vmlinuz           700001 2023-11-14  22:13",
        "initrd   img       65536 2023-11-14  22:13",
        "ALONGN~3 CON      4096 2023-11-14  22:13  alongname.conf",
        "a long näme, with spaces and ✓.conf",
    ] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed(&list).contains(&squeezed(line)), "{line} in\n{list}");
    }
}

#[test]
fn directories_of_many_entries_are_sound() {
    let files: Vec<_> = (0..700).map(|i| File::new(format!("deep/er/A rather long name, number {i}"), pattern(10, i))).collect();
    let mut volume = volume(files);
    volume.fat32_only = true;
    volume.files.extend((0..600).map(|i| File::new(format!("f{i}"), Blob::default())));
    let desk = tempfile::tempdir().unwrap();
    let image = desk.path().join("volume");
    put(&image, &volume.write(40 * MIB).unwrap().volume);
    run("fsck.vfat", &[&"-n", &image]);
    volume.fat32_only = false;
    // More entries than a FAT16 root usually has.
    put(&image, &volume.write(20 * MIB).unwrap().volume);
    run("fsck.vfat", &[&"-n", &image]);
    assert_eq!(run("mdir", &[&"-b", &"-i", &image, &"::/deep/er"]).lines().count(), 700);
}

#[test]
fn the_user_can_change_what_is_on_the_volume() {
    let desk = tempfile::tempdir().unwrap();
    let (image, new) = (desk.path().join("volume"), desk.path().join("new"));
    put(&image, &Volume { fat32_only: true, ..volume(files()) }.write(40 * MIB).unwrap().volume);
    fs::write(&new, vec![7; 3_000_000]).unwrap();
    run("mcopy", &[&"-o", &"-i", &image, &new, &"::/moby/vmlinuz"]);
    run("mmd", &[&"-i", &image, &"::/moby/old"]);
    run("mcopy", &[&"-i", &image, &new, &"::/moby/old/copy of it"]);
    run("mdel", &[&"-i", &image, &"::/moby/initrd.img"]);
    run("fsck.vfat", &[&"-n", &image]);
}

/// A table over the whole of a disk.
fn gpt_disk(size: u64, block: u64) -> Blob {
    let ids = Ids::from_seed(b"volumes");
    let partition = |name: &str, type_guid, blocks: std::ops::Range<u64>| gpt::Partition {
        type_guid,
        guid: ids.guid(name),
        name: name.to_owned(),
        attributes: 0,
        bytes: blocks.start * block..blocks.end * block,
    };
    let last = (size - gpt::back_len(block)) / block;
    let table = Gpt {
        block,
        disk_guid: ids.guid("disk"),
        partitions: vec![
            partition("BIOS boot", gpt::BIOS_BOOT, gpt::front_len(block) / block..2048),
            partition("EFI system", gpt::ESP, 2048..4096),
            partition("a partition whose name fills 36 uni✓", gpt::LINUX_DATA, 4096..last),
        ],
    };
    let mut disk = Blob::zeros(size);
    disk.splice(0, &Blob::bytes(Mbr::protective([0; 440], size / block).to_bytes()));
    table.write(&mut disk).unwrap();
    disk
}

#[test]
fn sgdisk_finds_no_fault_in_a_disk_of_any_size() {
    for size in [3 * MIB, 40 * MIB + 512, 8 * GIB, 2 * TIB, 2 * TIB + 512, 10 * TIB] {
        let desk = tempfile::tempdir().unwrap();
        let image = desk.path().join("disk");
        put(&image, &gpt_disk(size, SECTOR));
        let verdict = run("sgdisk", &[&"-v", &image]);
        assert!(verdict.contains("No problems found."), "{size}: {verdict}");
        let table = run("sgdisk", &[&"-i", &"3", &image]);
        assert!(table.contains("Partition name: 'a partition whose name fills 36 uni✓'"), "{table}");
        assert!(table.contains("0FC63DAF-8483-4772-8E79-3D69D8477DE4"), "{table}");
        assert!(
            table.to_lowercase().contains(&Ids::from_seed(b"volumes").guid("a partition whose name fills 36 uni✓").to_string()),
            "{table}"
        );
    }
}
