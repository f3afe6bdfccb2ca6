//! What we write, foreign programs read as the same disk.

use crate::support::{CASES, Case, Desk, disks, python, run};
use formats::{Blob, Options, units};

/// Calls `check` with every disk in every container: the raw file, the container file, the disk.
fn each(check: impl Fn(&Case, &str, &std::path::Path, &std::path::Path, &Blob)) {
    for case in CASES {
        for (name, disk) in disks(case.plan().limits().size_multiple) {
            let desk = Desk::new();
            let raw = desk.put("disk.raw", &disk);
            let file = desk.put("disk.image", &case.encode(&disk, 2));
            check(case, name, &raw, &file, &disk);
        }
    }
}

#[test]
fn qemu_reads_the_same_disk() {
    each(|case, name, raw, file, disk| {
        let info = run("qemu-img", &[&"info", &"--output=json", &"-f", &case.qemu, &file]);
        let size = format!("\"virtual-size\": {},", disk.len());
        assert!(info.contains(&size), "{case:?} {name}: {info}");
        run("qemu-img", &[&"compare", &"-f", &"raw", &"-F", &case.qemu, &raw, &file]);
        if case.qemu != "vpc" {
            run("qemu-img", &[&"check", &"-f", &case.qemu, &file]);
        }
    });
}

/// Every disk in one container, for a program that takes long to start: the directory, and name, raw file, container file, size.
fn all(case: &Case) -> (Desk, Vec<[String; 4]>) {
    let desk = Desk::new();
    let put = |(name, disk): (&str, Blob)| {
        let put = |suffix: &str, blob: &Blob| desk.put(&format!("{name}.{suffix}"), blob).display().to_string();
        [name.to_owned(), put("raw", &disk), put("image", &case.encode(&disk, 2)), disk.len().to_string()]
    };
    let files = disks(case.plan().limits().size_multiple).into_iter().map(put).collect();
    (desk, files)
}

/// Glance refuses what does not pass this. It has no name for a fixed VHD, which is raw but for its last sector.
#[test]
fn oslo_utils_finds_nothing_unsafe() {
    const INSPECT: &str = "import sys
from oslo_utils.imageutils import format_inspector
wanted, files = sys.argv[1], sys.argv[2:]
for name, raw, path, size in zip(*[iter(files)] * 4):
    found = format_inspector.detect_file_format(path)
    found.safety_check()
    assert str(found) == wanted, (name, found)
    assert wanted == 'raw' or found.virtual_size == int(size), (name, found.virtual_size)";
    for case in CASES {
        let (_desk, files) = all(case);
        let wanted = if (case.format, case.options) == ("vhd", &[]) { "raw" } else { case.format };
        python(INSPECT, wanted, files.as_flattened());
    }
}

/// A reader that shares no code with qemu.
#[test]
fn dissect_reads_the_same_disk() {
    const READ: &str = "import sys
from dissect.hypervisor.disk import qcow2, vdi, vhd, vhdx, vmdk
readers = {'qcow2': lambda file: qcow2.QCow2(file).open(), 'vhd': vhd.VHD, 'vhdx': vhdx.VHDX, 'vdi': lambda file: vdi.VDI(file).open(), 'vmdk': vmdk.VMDK}
kind, files = sys.argv[1], sys.argv[2:]
for name, raw, path, size in zip(*[iter(files)] * 4):
    disk, raw, left = readers[kind](open(path, 'rb')), open(raw, 'rb'), int(size)
    assert disk.size == left, (name, disk.size)
    while left:
        n = min(left, 1 << 20)
        a, b = disk.read(n), raw.read(n)
        assert a == b, (name, left)
        left -= n";
    for case in CASES {
        let (_desk, files) = all(case);
        python(READ, case.format, files.as_flattened());
    }
}

/// 7-Zip opens these as archives with the disk as the one member. It knows qcow2 with deflate only.
#[test]
fn seven_zip_reads_the_same_disk() {
    each(|case, name, raw, file, _| {
        if case.options.contains(&("compression_type", "zstd")) {
            return;
        }
        let kind = format!("-t{}", if case.format == "qcow2" { "qcow" } else { case.format });
        run("7z", &[&"t", &kind, &file]);
        let out = file.with_extension("out");
        run("7z", &[&"x", &kind, &"-y", &format!("-o{}", out.display()), &file]);
        let member = std::fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
        run("qemu-img", &[&"compare", &"-f", &"raw", &"-F", &"raw", &raw, &member]);
        assert!(!name.is_empty());
    });
}

#[test]
fn our_reader_agrees() {
    each(|case, name, raw, _, disk| {
        let decoded = case.decode(&case.encode(disk, 2), 2).unwrap();
        assert_eq!(decoded.len(), disk.len(), "{case:?} {name}");
        let again = Desk::new();
        let path = again.put("again.raw", &decoded);
        run("cmp", &[&raw, &path]);
    });
}

#[test]
fn threads_change_nothing() {
    each(|case, name, _, file, disk| {
        for threads in [1, 5] {
            let again = Desk::new();
            let path = again.put("again", &case.encode(disk, threads));
            run("cmp", &[&file, &path]);
        }
        assert!(!name.is_empty());
    });
}

/// A disk of 10 TiB, or the largest that the format holds, with a byte at each end.
#[test]
fn a_huge_sparse_disk_takes_little() {
    for case in CASES {
        let limits = case.plan().limits();
        let len = limits.size_max.min(10 * units::TIB) / limits.size_multiple * limits.size_multiple;
        let mut disk = Blob::zeros(len);
        disk.splice(0, &Blob::bytes([1]));
        disk.splice(len - 1, &Blob::bytes([2]));
        let file = case.encode(&disk, 2);
        assert!(file.extents().len() < 20_000, "{case:?}: {} extents", file.extents().len());
        let decoded = case.decode(&file, 2).unwrap();
        assert_eq!((decoded.len(), decoded.read_array(0).unwrap(), decoded.read_array(len - 1).unwrap()), (len, [1], [2]), "{case:?}");
        assert!(decoded.data_len() <= 512 * units::MIB);
        if file.data_len() < units::GIB && file.len() < 8 * units::TIB {
            let desk = Desk::new();
            let path = desk.put("huge", &file);
            let info = run("qemu-img", &[&"info", &"--output=json", &"-f", &case.qemu, &path]);
            assert!(info.contains(&format!("\"virtual-size\": {len},")), "{case:?}: {info}");
        }
    }
}

#[test]
#[should_panic(expected = "must be a multiple of")]
fn a_disk_past_the_limit_is_a_bug_of_the_caller() {
    let vhd = formats::format("vhd").unwrap();
    let plan = vhd.plan(&Options::defaults(vhd.options())).unwrap();
    let _: Result<Blob, _> = plan.encode(&Blob::zeros(3 * units::TIB), &crate::support::identity(), &mut crate::support::env(1));
}
