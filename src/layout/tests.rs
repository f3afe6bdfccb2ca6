use super::*;
use crate::{
    image::disk,
    loaders::{EFI_LOADERS, EfiLoader},
};
use formats::{Spool, kernel::Arch};

fn entry(initrd: u64) -> Entry {
    Entry {
        title: "Linux".to_owned(),
        version: Some("6.6.71".to_owned()),
        efi: &EFI_LOADERS[0],
        loader: EFI_LOADERS[0].application(),
        kernel: Blob::from(vec![3; 700_000]),
        initrd: Some(Blob::zeros(initrd)),
        cmdline: "console=ttyS0".to_owned(),
        cmdline_max: Some(2047),
        has_efi_stub: true,
        signed: None,
        root: Vec::new(),
    }
}

fn disk_for(firmware: Firmware, size: Size, entry: &Entry) -> Result<Blob> {
    Layout { firmware, size, ..Layout::default() }.disk(entry, Limits::default(), &Ids::from_seed(b"layout"), Timestamp(1_700_000_000))
}

#[test]
fn the_loaders_find_their_files() {
    for (boot, arch) in [
        (Firmware::Hybrid, Arch::X86_64),
        (Firmware::Bios, Arch::X86_64),
        (Firmware::Uefi, Arch::X86_64),
        (Firmware::Hybrid, Arch::Aarch64),
    ] {
        let entry = Entry { efi: EfiLoader::of(arch).unwrap(), ..entry(5 * MIB) };
        let disk = disk_for(boot, Size::Auto, &entry).unwrap();
        let mut spool = Spool::scratch();
        let found = disk::boot(&disk, EfiLoader::of(arch).unwrap().name, &mut spool).unwrap();
        assert_eq!(found.entry, "moby.conf");
        assert_eq!(found.cmdline, "console=ttyS0");
        assert_eq!(found.kernel.1.to_vec(MIB).unwrap(), entry.kernel.to_vec(MIB).unwrap());
        assert_eq!(found.initrds[0].1.len(), 5 * MIB);
    }
}

/// The loaders' own reader, as both of them run it, looks through sectors of 512 bytes here; `boot/` reads larger ones.
#[test]
fn large_sectors_are_counted_everywhere() {
    let sector_size = SectorSize::LARGE;
    let layout = Layout { sector_size, parts: vec!["A=5M".parse().unwrap()], ..Layout::default() };
    let disk = layout.disk(&entry(5 * MIB), Limits::default(), &Ids::from_seed(b"layout"), Timestamp(0)).unwrap();
    assert_eq!((disk.read_array(4096).unwrap(), disk.read_array(disk.len() - 4096).unwrap()), (*b"EFI PART", *b"EFI PART"));
    let parts: Vec<_> = disk::partitions(&disk).unwrap().into_iter().map(|part| (part.name, part.start, part.len)).collect();
    assert_eq!(parts[0], ("BIOS boot".to_owned(), 24 << 10, (1 << 20) - (24 << 10)));
    assert_eq!((parts[1].1, parts[2].2), (MIB, 5 * MIB));
    assert_eq!(u16::from_le_bytes(disk.read_array(MIB + 11).unwrap()), 4096, "FAT counts in them");
    assert_eq!(u32::from_le_bytes(disk.read_array(MIB + 28).unwrap()), 256, "hidden sectors");
    let first = u64::from_le_bytes(disk.read_array(0x19c).unwrap());
    assert!(bootfs::stage1::is_stage2(&disk.slice(first * 4096..(first * 4096) + loaders::stage2().len()).to_vec(MIB).unwrap()));
    let found = disk::boot(&disk, "x64", &mut Spool::scratch()).unwrap();
    assert_eq!(found.initrds[0].1.len(), 5 * MIB);
}

#[test]
fn only_what_has_a_bios_gets_stage2_where_stage1_looks() {
    let names = |disk: &Blob| disk::partitions(disk).unwrap().into_iter().map(|p| p.name).collect::<Vec<_>>();
    let hybrid = disk_for(Firmware::Hybrid, Size::Auto, &entry(1)).unwrap();
    assert_eq!(names(&hybrid), ["BIOS boot", "EFI system"]);
    let first = u64::from_le_bytes(hybrid.read_array(0x19c).unwrap());
    let count = u16::from_le_bytes(hybrid.read_array(0x1a4).unwrap());
    let stage2 = hybrid.slice(first * 512..(first + u64::from(count)) * 512).to_vec(MIB).unwrap();
    assert!(bootfs::stage1::is_stage2(&stage2));

    let uefi = disk_for(Firmware::Uefi, Size::Auto, &entry(1)).unwrap();
    assert_eq!(names(&uefi), ["EFI system"]);
    let arm = Entry { efi: &EFI_LOADERS[1], ..entry(1) };
    assert_eq!(names(&disk_for(Firmware::Hybrid, Size::Auto, &arm).unwrap()), ["EFI system"]);
    assert!(disk_for(Firmware::Bios, Size::Auto, &arm).unwrap_err().to_string().contains("aarch64"));
}

#[test]
fn an_iso_is_a_disk_to_the_loaders() {
    let iso = |boot, arch, rootfs| {
        let entry = Entry { efi: EfiLoader::of(arch).unwrap(), ..entry(5 * MIB) };
        let layout = Iso { firmware: boot, identifier: "MOBY", application: "", joliet: false, rootfs };
        layout.image(&entry, &Ids::from_seed(b"iso"), Timestamp(0))
    };
    let names = |disk: &Blob| disk::partitions(disk).unwrap().into_iter().map(|p| p.name).collect::<Vec<_>>();
    let tree = formats::Tree::default();
    for (boot, arch, rootfs, partitions) in [
        (Firmware::Hybrid, Arch::X86_64, None, &["BIOS boot", "EFI system"][..]),
        (Firmware::Bios, Arch::X86_64, None, &["BIOS boot", "EFI system"]),
        (Firmware::Uefi, Arch::X86_64, Some(&tree), &["EFI system"]),
        (Firmware::Hybrid, Arch::Aarch64, None, &["EFI system"]),
    ] {
        let iso = iso(boot, arch, rootfs).unwrap();
        assert_eq!(names(&iso), partitions);
        let mut spool = Spool::scratch();
        let found = disk::boot(&iso, EfiLoader::of(arch).unwrap().name, &mut spool).unwrap();
        assert_eq!(found.initrds[0].1.len(), 5 * MIB);
        let is_cd = boot != Firmware::Uefi && arch == Arch::X86_64;
        let stage1 = iso.slice(24 * 2048..25 * 2048).to_vec(2048).unwrap();
        assert_eq!(stage1.iter().any(|byte| *byte != 0), is_cd);
        if is_cd {
            // The same stage2, counted in sectors of a disk and of a CD.
            assert_eq!((iso.read_array(0x19c).unwrap(), &stage1[0x19c..0x1a4]), (100_u64.to_le_bytes(), &25_u64.to_le_bytes()[..]));
        }
    }
    assert!(iso(Firmware::Bios, Arch::Aarch64, None).unwrap_err().to_string().contains("aarch64"));
}

#[test]
fn a_size_is_kept_or_refused_with_one_that_would_do() {
    let fixed = |size, initrd| disk_for(Firmware::Hybrid, Size::Fixed(size), &entry(initrd));
    assert_eq!(fixed(64 * MIB, 1).unwrap().len(), 64 * MIB);
    assert_eq!(fixed(64 * MIB - 1, 1).unwrap().len(), 64 * MIB);
    let error = fixed(64 * MIB, 100 * MIB).unwrap_err();
    assert_eq!(error.to_string(), "a disk of 64 MiB is too small, 105 MiB are needed");
    assert_eq!(error.hint_text(), Some("use --size 105M or --size auto"));
    assert!(fixed(105 * MIB, 100 * MIB).is_ok());
    assert!(fixed(104 * MIB, 100 * MIB).is_err());
}

#[test]
fn more_room_is_behind_what_is_there_without_it() {
    let tables = |size: &str, multiple: u64| {
        let layout =
            Layout { firmware: Firmware::Hybrid, size: size.parse().unwrap(), parts: vec!["A=5M".parse().unwrap()], ..Layout::default() };
        let disk = layout.disk(&entry(1), Limits::multiple_of(multiple), &Ids::from_seed(b"a"), Timestamp(0)).unwrap();
        (disk.len(), disk::partitions(&disk).unwrap().into_iter().map(|part| (part.start, part.len, part.guid)).collect::<Vec<_>>())
    };
    let (len, parts) = tables("auto", MIB);
    assert_eq!(tables("+2G", MIB), (len + 2 * GIB, parts.clone()));
    assert_eq!(tables("+1", GIB), (GIB, parts));
    assert!(disk_for(Firmware::Hybrid, Size::More(u64::MAX), &entry(1)).is_err());
}

#[test]
fn a_disk_of_10_tib_is_planned_like_a_small_one() {
    let disk = disk_for(Firmware::Hybrid, Size::Fixed(10 * units::TIB), &entry(300 * MIB)).unwrap();
    assert_eq!(disk.len(), 10 * units::TIB);
    assert!(disk.data_len() < 4 * MIB, "{}", disk.data_len());
    let esp = disk::partitions(&disk).unwrap().pop().unwrap();
    assert!((GIB + 300 * MIB..GIB + 310 * MIB).contains(&esp.len), "{}", esp.len);
}

#[test]
fn the_container_rounds_the_size_and_bounds_it() {
    let plan = |size, size_multiple, size_max| {
        let layout = Layout { size, ..Layout::default() };
        layout.disk(&entry(1), Limits { size_multiple, size_max }, &Ids::from_seed(b""), Timestamp(0))
    };
    let disk = plan(Size::Auto, GIB, units::TIB).unwrap();
    assert_eq!(disk.len(), GIB);
    assert_eq!(disk.read_array(GIB - 512).unwrap(), *b"EFI PART");
    let error = plan(Size::Fixed(3 * GIB), MIB, 2 * GIB).unwrap_err().to_string();
    assert_eq!(error, "a disk of 3 GiB is too large for its container, which holds 2 GiB");
}

#[test]
fn identifiers_come_from_the_seed_alone() {
    let plan = |seed: &[u8]| {
        let layout = Layout::default();
        let disk = layout.disk(&entry(1), Limits::default(), &Ids::from_seed(seed), Timestamp(9));
        disk.unwrap().to_vec(GIB).unwrap()
    };
    assert!(plan(b"a") == plan(b"a"));
    assert!(plan(b"a") != plan(b"b"));
}

#[test]
fn data_partitions_follow_the_boot_partition() {
    let plan = |size, parts: &[&str]| {
        let parts = parts.iter().map(|part| part.parse().unwrap()).collect();
        let layout = Layout { size, parts, ..Layout::default() };
        layout.disk(&entry(1), Limits::default(), &Ids::from_seed(b"a"), Timestamp(9))
    };
    for size in [Size::Auto, Size::Fixed(5 * GIB)] {
        let parts = disk::partitions(&plan(size, &["A=1G", "B=300M:var"]).unwrap()).unwrap();
        let found: Vec<_> = parts.iter().map(|part| (part.name.as_str(), part.len)).collect();
        assert_eq!(found[2..], [("A", GIB), ("B", 300 * MIB)]);
        assert!(parts.windows(2).all(|pair| pair[0].start + pair[0].len <= pair[1].start));
    }
    let error = plan(Size::Fixed(300 * MIB), &["A=300M"]).unwrap_err().to_string();
    assert!(error.starts_with("a disk of 300 MiB is too small, "), "{error}");
    assert!(plan(Size::Auto, &["A=1G", "A=1G"]).unwrap_err().to_string().contains("'A'"));
    assert!(plan(Size::Auto, &["EFI system=1G"]).is_err());
    assert!(plan(Size::Auto, &["A=8388607T", "B=8388607T"]).is_err());
}
