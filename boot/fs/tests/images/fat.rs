//! FAT file systems written by mkfs.vfat and mtools.

use std::path::PathBuf;

use crate::support::{Image, Memory, Scratch, pattern, run};
use bootfs::choose::{EntryFile, NoChoice, choose};
use bootfs::fat::Width;
use bootfs::{Disk, Error, Volume, entry};

/// An empty file system of `kib` KiB.
fn mkfs(scratch: &Scratch, kib: u64, options: &[&str]) -> PathBuf {
    let image = scratch.zeros("fat.img", kib * 1024);
    let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> = options.iter().map(|option| option as _).collect();
    args.push(&image);
    run("mkfs.vfat", &args);
    image
}

fn open(image: &PathBuf, sector: u32) -> Volume<Image> {
    let len = std::fs::metadata(image).unwrap().len();
    Volume::open(Disk::new(Image::open(image, sector)).unwrap(), 0, len).unwrap()
}

fn contents(volume: &mut Volume<Image>, path: &str) -> Vec<u8> {
    let mut file = volume.file(path).unwrap();
    let mut bytes = vec![0; file.size() as usize];
    volume.read(&mut file, 0, &mut bytes).unwrap();
    bytes
}

#[test]
fn every_width_and_sector_size_gives_back_what_mcopy_wrote() {
    for (width, kib, options, sector) in [
        (Width::Fat12, 2880, ["-F", "12", "-S", "512"], 512),
        (Width::Fat16, 32 << 10, ["-F", "16", "-S", "512"], 512),
        (Width::Fat16, 32 << 10, ["-F", "16", "-S", "512"], 2048),
        (Width::Fat32, 64 << 10, ["-F", "32", "-S", "512"], 512),
        (Width::Fat32, 300 << 10, ["-F", "32", "-S", "4096"], 4096),
    ] {
        let scratch = Scratch::new();
        let image = mkfs(&scratch, kib, &options);
        let long = "a long name, with spaces and ünïcödé, that needs five entries of thirteen.img";
        let (small, large) = (pattern(3, 1), pattern(1_234_567, 2));
        let (small_file, large_file) = (scratch.file("small", &small), scratch.file("large", &large));
        run("mmd", &[&"-i", &image, &"::/moby"]);
        run("mcopy", &[&"-i", &image, &small_file, &"::/moby/KERNEL.BIN"]);
        run("mcopy", &[&"-i", &image, &large_file, &format!("::/moby/{long}")]);
        let mut volume = open(&image, sector);
        assert_eq!(volume.width(), width);
        assert_eq!(contents(&mut volume, "/MOBY/kernel.bin"), small);
        assert_eq!(contents(&mut volume, &format!("moby//{long}")), large);

        // Any range, backwards too.
        let mut file = volume.file(&format!("/moby/{long}")).unwrap();
        for (start, len) in [(1_000_000, 234_567), (4095, 2), (0, 1), (512, 4096), (1_234_567, 0)] {
            let mut bytes = vec![0; len];
            volume.read(&mut file, u32::try_from(start).unwrap(), &mut bytes).unwrap();
            assert_eq!(bytes, large[start..start + len], "{start} + {len}");
        }
        assert!(matches!(volume.read(&mut file, 1_234_567, &mut [0]), Err(Error::PastEndOfFile)));

        let mut names = Vec::new();
        let mut directory = volume.directory("/moby").unwrap();
        while let Some(node) = directory.next(&mut volume).unwrap() {
            names.push((node.name().to_string(), node.size()));
        }
        assert_eq!(names, [("KERNEL.BIN".to_owned(), 3), (long.to_owned(), 1_234_567)]);

        assert!(matches!(volume.file("/moby"), Err(Error::IsDirectory)));
        assert!(matches!(volume.file("/moby/none"), Err(Error::NotFound)));
        assert!(matches!(volume.file("/moby/kernel.bin/x"), Err(Error::NotDirectory)));
        assert!(matches!(volume.file(""), Err(Error::NotFound)));
    }
}

#[test]
fn a_contiguous_file_is_one_device_read() {
    let scratch = Scratch::new();
    let image = mkfs(&scratch, 64 << 10, &["-F", "32", "-s", "1"]);
    let bytes = pattern(20 << 20, 3);
    run("mcopy", &[&"-i", &image, &scratch.file("k", &bytes), &"::/k"]);
    let mut volume = open(&image, 512);
    assert!(contents(&mut volume, "/k") == bytes);
    let large = volume.into_disk().device().reads.iter().filter(|(_, len)| *len > 8192).count();
    assert_eq!(large, 1);
}

#[test]
fn a_kernel_in_many_fragments_is_put_together() {
    let scratch = Scratch::new();
    let image = mkfs(&scratch, 40 << 10, &["-F", "32", "-s", "1"]);
    // Fill the volume with small files, delete every other one, and let the kernel take the holes.
    let filler = scratch.file("filler", &pattern(200 << 10, 4));
    let names: Vec<_> = (0..190).map(|i| format!("f{i:03}")).collect();
    for name in &names {
        std::fs::copy(&filler, scratch.path(name)).unwrap();
    }
    let files: Vec<_> = names.iter().map(|name| scratch.path(name)).collect();
    let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"-i", &image];
    args.extend(files.iter().map(|file| file as &dyn AsRef<std::ffi::OsStr>));
    args.push(&"::/");
    run("mcopy", &args);
    let holes: Vec<_> = names.iter().step_by(2).map(|name| format!("::/{name}")).collect();
    let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"-i", &image];
    args.extend(holes.iter().map(|hole| hole as &dyn AsRef<std::ffi::OsStr>));
    run("mdel", &args);
    let kernel = pattern(14 << 20, 5);
    run("mcopy", &[&"-i", &image, &scratch.file("kernel", &kernel), &"::/kernel"]);

    let mut volume = open(&image, 512);
    assert!(contents(&mut volume, "/kernel") == kernel);
    let runs = volume.into_disk().device().reads.iter().filter(|(_, len)| *len > 64 << 10).count();
    assert!(runs > 60, "the kernel lies in {runs} runs only: this test no longer tests fragments");
}

#[test]
fn the_entry_to_boot_is_chosen_among_those_of_the_directory() {
    let scratch = Scratch::new();
    let image = mkfs(&scratch, 2880, &[]);
    let mut volume = open(&image, 512);
    let (mut best, mut spare) = (EntryFile::new(), EntryFile::new());
    assert!(matches!(choose(&mut volume, "x64", &mut best, &mut spare), Err(NoChoice::Entry(entry::Error::NoEntry))));
    run("mmd", &[&"-i", &image, &"::/loader", &"::/loader/entries"]);
    for (name, text, architecture, expected) in [
        ("broken.conf", "title x\n".to_owned(), "x64", Err(entry::Error::NoKernel)),
        ("huge.conf", format!("linux /huge\n#{}", "x".repeat(entry::MAX)), "x64", Err(entry::Error::TooLarge)),
        ("arm.conf", "linux /arm\nsort-key a\narchitecture aa64\n".to_owned(), "x64", Err(entry::Error::OtherArchitecture)),
        ("readme.txt", "linux /readme\n".to_owned(), "aa64", Ok("/arm")),
        ("linux-6.9.conf", "linux /nine\nsort-key linux\nversion 6.9\n".to_owned(), "x64", Ok("/nine")),
        ("linux-6.10.conf", "linux /ten\nsort-key linux\nversion 6.10\n".to_owned(), "x64", Ok("/ten")),
        ("linux-6.8.conf", "linux /eight\nsort-key linux\nversion 6.8\n".to_owned(), "x64", Ok("/ten")),
    ] {
        let file = scratch.file(name, text.as_bytes());
        run("mcopy", &[&"-i", &image, &file, &"::/loader/entries/"]);
        if name == "huge.conf" {
            run("mdel", &[&"-i", &image, &"::/loader/entries/broken.conf"]);
        }
        if name == "arm.conf" {
            run("mdel", &[&"-i", &image, &"::/loader/entries/huge.conf"]);
        }
        let mut volume = open(&image, 512);
        match (choose(&mut volume, architecture, &mut best, &mut spare), expected) {
            (Ok(()), Ok(linux)) => assert_eq!(best.entry().unwrap().linux(), Some(linux), "after {name}"),
            (Err(NoChoice::Entry(error)), Err(expected)) => assert_eq!(error, expected, "after {name}"),
            (other, _) => panic!("after {name}: {other:?}"),
        }
    }
}

#[test]
fn a_truncated_or_looping_chain_is_an_error() {
    let scratch = Scratch::new();
    let image = mkfs(&scratch, 64 << 10, &["-F", "32", "-s", "1"]);
    run("mcopy", &[&"-i", &image, &scratch.file("k", &pattern(8192, 6)), &"::/k"]);
    let bytes = std::fs::read(&image).unwrap();
    let fat = usize::from(u16::from_le_bytes([bytes[14], bytes[15]])) * 512;
    // mcopy gives the file clusters 3 to 18.
    for (cluster, value) in [(3usize, 0u32), (18, 2), (10, 0x0fff_ffff), (10, 0x0fff_fff7), (10, 1), (10, 0x00ff_ffff)] {
        let mut damaged = bytes.clone();
        damaged[fat + 4 * cluster..][..4].copy_from_slice(&value.to_le_bytes());
        let mut volume = Volume::open(Disk::new(Memory(damaged)).unwrap(), 0, 64 << 20).unwrap();
        let mut file = volume.file("/k").unwrap();
        let result = volume.read(&mut file, 0, &mut [0; 8192]);
        match cluster {
            // The end of the chain is not needed to read the file.
            18 => result.unwrap(),
            _ => assert_eq!(result, Err(Error::ChainBroken), "cluster {cluster} -> {value:#x}"),
        }
    }
    // A root directory that loops, and a file that claims to be larger than the volume.
    let mut looping = bytes.clone();
    looping[fat + 8..][..4].copy_from_slice(&2u32.to_le_bytes());
    let root = fat + 2 * 512 * usize::try_from(u32::from_le_bytes(bytes[36..40].try_into().unwrap())).unwrap();
    looping[root..root + 512].fill(0xe5);
    let mut volume = Volume::open(Disk::new(Memory(looping)).unwrap(), 0, 64 << 20).unwrap();
    assert!(matches!(volume.file("/k"), Err(Error::ChainBroken)));

    let mut large = bytes;
    large[fat + 4 * 18..][..4].copy_from_slice(&3u32.to_le_bytes());
    let entry = (root..).step_by(32).find(|at| large[*at] == b'K').unwrap();
    large[entry + 28..][..4].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut volume = Volume::open(Disk::new(Memory(large)).unwrap(), 0, 64 << 20).unwrap();
    let mut file = volume.file("/k").unwrap();
    assert_eq!(volume.read(&mut file, u32::MAX - 1, &mut [0]), Err(Error::ChainBroken));
}

#[test]
fn what_is_not_fat_is_refused() {
    let empty = Volume::open(Disk::new(Memory(vec![0; 4096])).unwrap(), 0, 4096);
    assert_eq!(empty.err(), Some(Error::NotFat));
    let scratch = Scratch::new();
    let image = mkfs(&scratch, 2880, &[]);
    let short = Volume::open(Disk::new(Image::open(&image, 512)).unwrap(), 0, 1 << 20);
    assert!(matches!(short, Err(Error::PastEndOfDisk)));
    assert_eq!(Error::<&str>::NotFat.to_string(), "EFI system partition is not FAT");
}

#[test]
fn damaged_tables_never_panic_nor_hang() {
    let scratch = Scratch::new();
    let image = mkfs(&scratch, 2880, &[]);
    run("mmd", &[&"-i", &image, &"::/loader", &"::/loader/entries"]);
    run("mcopy", &[&"-i", &image, &scratch.file("k", &pattern(300_000, 7)), &"::/a long name for a kernel"]);
    run("mcopy", &[&"-i", &image, &scratch.file("e", b"linux /k\n"), &"::/loader/entries/e.conf"]);
    let sound = std::fs::read(&image).unwrap();
    let (mut best, mut spare) = (EntryFile::new(), EntryFile::new());
    for round in 0..2000 {
        let noise = pattern(16, round);
        let mut damaged = sound.clone();
        for pair in noise.chunks(4) {
            // Boot sector, tables and root directory lie in the first 16 KiB.
            let at = usize::from(u16::from_le_bytes([pair[0], pair[1]])) % if pair[2] < 128 { 64 } else { 20 << 10 };
            damaged[at] = pair[3];
        }
        let Ok(mut volume) = Volume::open(Disk::new(Memory(damaged)).unwrap(), 0, 2880 << 10) else {
            continue;
        };
        let _ = choose(&mut volume, "x64", &mut best, &mut spare);
        let mut root = volume.root();
        while let Ok(Some(node)) = root.next(&mut volume) {
            if let Some(mut file) = node.file() {
                let mut bytes = vec![0; file.size().min(1 << 20) as usize];
                let _ = volume.read(&mut file, 0, &mut bytes);
            }
        }
    }
}
