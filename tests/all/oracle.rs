//! Somebody else's programs judge what we write.

use crate::support::{
    guest::{self, Arch},
    images::{Disk, Images, test_kernel},
    scratch, text,
    tools::{self, finish, moby, run, tool},
};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
};

/// The test kernel and 5 MiB of random data as every disk.
fn small() -> &'static Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    IMAGES.get_or_init(|| Images::small("oracle-small"))
}

const RAW_DISKS: [&str; 3] = ["guest.img", "guest-bios.img", "guest-efi.img"];

#[test]
fn sgdisk_finds_no_problems() {
    for name in RAW_DISKS {
        let verdict = run("sgdisk", ["-v", text(&small().path(name))]);
        assert!(verdict.contains("No problems found"), "{name}: {verdict}");
        // It says these as if in passing.
        for word in ["Caution", "Warning", "Problem:", "overlap"] {
            assert!(!verdict.contains(word), "{name}: {verdict}");
        }
    }
}

/// OpenStack refuses a hybrid MBR: exactly one entry, of type 0xEE.
#[test]
fn the_protective_mbr_is_strict() {
    for name in RAW_DISKS {
        let disk = fs::read(small().path(name)).unwrap();
        let sectors = u32::try_from(disk.len() / 512 - 1).unwrap();
        let mut entry = [0, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0];
        entry[12..].copy_from_slice(&sectors.to_le_bytes());
        // The CHS end is either unrepresentable or the true one.
        entry[5..8].copy_from_slice(&disk[451..454]);
        assert_eq!(&disk[446..462], &entry, "{name}");
        assert_eq!(&disk[462..510], &[0; 48], "{name}: the other three entries");
        assert_eq!(&disk[510..512], &[0x55, 0xaa], "{name}");
    }
}

#[test]
fn fsck_accepts_the_fat_volume() {
    for name in RAW_DISKS {
        let disk = Disk { path: small().path(name) };
        let volume = disk.path.with_extension("fat");
        let skip = format!("skip={}", disk.esp() / 512);
        let count = format!("count={}", disk.esp_len() / 512);
        let (from, to) = (format!("if={}", text(&disk.path)), format!("of={}", text(&volume)));
        run("dd", ["bs=512", "status=none", &skip, &count, &from, &to]);
        let verdict = finish(tool("fsck.vfat").args(["-n", "-v", text(&volume)])).success();
        assert!(verdict.text().contains("32 bit entries"), "{name}: {verdict}");
        assert!(!verdict.text().contains("less than the required"), "{name}: {verdict}");
    }
}

#[test]
fn mtools_read_every_file_back() {
    for name in RAW_DISKS {
        let disk = Disk { path: small().path(name) };
        let entry = disk.entry();
        assert_eq!(entry.options, crate::support::images::CMDLINE, "{name}");
        assert!(disk.read(&entry.linux) == fs::read(test_kernel()).unwrap(), "{name}: the kernel differs");
        assert!(disk.read(&entry.initrd) == fs::read(small().path("guest-initrd.img")).unwrap(), "{name}: the initrd differs");
    }
    let loader = Disk { path: small().path("guest.img") }.read("/EFI/BOOT/BOOTX64.EFI");
    assert!(loader == fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("boot/prebuilt/bootx64.efi")).unwrap(), "the EFI loader differs");
}

#[test]
fn qemu_img_checks_and_compares_every_qcow2() {
    let images = Images::small("oracle-qcow2");
    images.convert(&["--format", "qcow2", "--name", "deflated", "-c", "--initrd-compression", "none"]);
    for (qcow2, raw) in [
        ("guest.qcow2", "guest.img"),
        ("guest-efi.qcow2", "guest-efi.img"),
        ("bios.qcow2", "guest-bios.img"),
        ("deflated.qcow2", "guest.img"),
    ] {
        let (qcow2, raw) = (images.path(qcow2), images.path(raw));
        let verdict = run("qemu-img", ["check", "-f", "qcow2", text(&qcow2)]);
        assert!(verdict.contains("No errors were found"), "{verdict}");
        run("qemu-img", ["compare", "-f", "raw", "-F", "qcow2", text(&raw), text(&qcow2)]);
        assert!(fs::metadata(&qcow2).unwrap().len() < fs::metadata(&raw).unwrap().len(), "zeros take space in {}", qcow2.display());
    }
}

/// The tar's own list against that of another reader of the initrd, in every compression.
#[test]
fn cpio_and_lsinitramfs_list_every_file() {
    let dir = scratch("oracle-initrd");
    let tar = dir.join("guest.tar");
    guest::write_tagged_tar(&tar, Arch::Amd64, 2).unwrap();
    let listed = run("tar", ["tf", text(&tar)]);
    let mut expected: BTreeSet<String> = listed.lines().map(|line| line.trim_end_matches('/').to_owned()).collect();
    // The directory stays, what is in it is not the guest's.
    expected.retain(|path| !path.starts_with("boot/"));
    expected.extend(["no", "no/entry", "no/entry/here"].map(String::from));
    for compression in ["none", "gzip", "zstd", "xz", "lz4", "auto"] {
        let arguments = ["--format", "kernel+initrd", "--name", compression, "--initrd-compression", compression];
        finish(moby().args(["convert", "--quiet", "--dir", text(&dir)]).args(arguments).arg(&tar)).success();
        let initrd = dir.join(format!("{compression}-initrd.img"));
        let names = match compression {
            // lsinitramfs takes a plain archive for microcode and wants another behind it.
            "none" => tools::finish_with(tool("cpio").args(["-t", "--quiet"]), &fs::read(&initrd).unwrap()).success().text(),
            "lz4" => run("lsinitramfs", [text(&without_padding(&initrd))]),
            _ => run("lsinitramfs", [text(&initrd)]),
        };
        let names: BTreeSet<String> = names.lines().filter(|line| *line != ".").map(String::from).collect();
        assert_eq!(names, expected, "{compression}");
    }
    let plain = fs::read(dir.join("none-initrd.img")).unwrap();
    let verbose = tools::finish_with(tool("cpio").args(["-tv", "--quiet", "--numeric-uid-gid"]), &plain).success().text();
    for line in [
        "-rwsr-xr-x   1 1000     100 ",
        "drwxrwxrwt   2 0        0 ",
        "crw-rw-rw-   1 0        0          1,   3",
        "brw-rw----   1 0        0          1,   0",
        "prw-r-----   1 0        0 ",
        "data/link -> random.md5",
    ] {
        assert!(verbose.contains(line), "{line:?} is not in\n{verbose}");
    }
}

/// The program lz4, unlike Linux, minds the zeros behind the last block that make an initrd a multiple of 4 bytes long.
fn without_padding(initrd: &Path) -> PathBuf {
    let bytes = fs::read(initrd).unwrap();
    let mut end = 4;
    while let Some(size) = bytes.get(end..end + 4) {
        end += 4 + u32::from_le_bytes(size.try_into().unwrap()) as usize;
    }
    assert!(bytes.len() - end < 4 && bytes[end..].iter().all(|byte| *byte == 0), "more than padding behind the last block");
    let path = initrd.with_extension("lz4");
    fs::write(&path, &bytes[..end]).unwrap();
    path
}

fn convert(tar: &Path, to: &Path, more: &[&str]) -> Vec<u8> {
    let arguments = ["convert", "--quiet", "--format", "qcow2", "-c", "-o", text(to)];
    finish(moby().args(arguments).args(more).arg(tar)).success();
    fs::read(to).unwrap()
}

/// Nothing but the input decides the bytes: not the run, the place, the name, the way in or out, nor the number of cores.
#[test]
fn the_same_input_gives_the_same_bytes() {
    let (here, there) = (scratch("oracle-here"), scratch("oracle-there"));
    let tar = here.join("guest.tar");
    crate::support::images::write_test_tar(&tar, 5);
    let copy = there.join("other-name.tar");
    fs::copy(&tar, &copy).unwrap();
    let first = convert(&tar, &here.join("first.qcow2"), &[]);
    let same =
        |what: &str, bytes: &[u8]| assert!(bytes == first, "{what}: {} bytes, not the {} of the first run", bytes.len(), first.len());

    same("a second run", &convert(&tar, &here.join("second.qcow2"), &[]));
    same("another directory", &convert(&copy, &there.join("first.qcow2"), &[]));

    let through = ["convert", "-", "--quiet", "--format", "qcow2", "-c", "-o", "-"];
    let redirected = moby().args(through).stdin(File::open(&tar).unwrap()).output().unwrap();
    same("a file as standard input", &redirected.stdout);
    same("a pipe as standard input", &tools::finish_with(moby().args(through), &fs::read(&tar).unwrap()).success().stdout);

    let mut pinned = tool("taskset");
    let one_core = finish(pinned.args(["-c", "0"]).arg(moby().get_program()).args(&through[..1]).arg(&tar).args(&through[2..]));
    same("one core", &one_core.success().stdout);

    let seeded = |seed: &str| convert(&tar, &here.join("seeded.qcow2"), &["--seed", seed]);
    assert!(seeded("another") != first && seeded("another") != seeded("yet another"), "--seed changes nothing");
}

/// A tar in a wrapper is told by its magic, and its disk's payload is the same.
#[test]
fn compressed_tars_are_the_same_tars() {
    let dir = scratch("oracle-wrapped");
    let tar = dir.join("guest.tar");
    crate::support::images::write_test_tar(&tar, 2);
    let initrd = |input: &Path, name: &str| -> Vec<u8> {
        finish(moby().args(["convert", "--quiet", "--format", "kernel+initrd", "--dir", text(&dir), "--name", name]).arg(input)).success();
        fs::read(dir.join(format!("{name}-initrd.img"))).unwrap()
    };
    let plain = initrd(&tar, "plain");
    for program in ["gzip", "zstd", "xz"] {
        let wrapped: PathBuf = dir.join(format!("wrapped-by-{program}"));
        let out = File::create(&wrapped).unwrap();
        let status = tool(program).args(["-c", text(&tar)]).stdout(Stdio::from(out)).status().unwrap();
        assert!(status.success(), "{program}");
        assert!(initrd(&wrapped, program) == plain, "{program}: another initrd");
    }
}
