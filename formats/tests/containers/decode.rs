//! What `qemu-img` writes, in each of its sub-formats, we read as the same disk; damaged files are refused or read right.

use crate::support::{Desk, disks, env, run};
use formats::{Blob, Error, Format, dump::Dump, units};

/// A container as `qemu-img convert -O NAME -o OPTIONS` makes it, and what we call the format.
struct Foreign {
    qemu: &'static str,
    options: &'static str,
    ours: &'static str,
}

const FOREIGN: &[Foreign] = &[
    Foreign { qemu: "vpc", options: "subformat=fixed", ours: "vhd" },
    Foreign { qemu: "vpc", options: "subformat=fixed,force_size=on", ours: "vhd" },
    Foreign { qemu: "vpc", options: "subformat=dynamic", ours: "vhd" },
    Foreign { qemu: "vpc", options: "subformat=dynamic,force_size=on", ours: "vhd" },
    Foreign { qemu: "vmdk", options: "subformat=monolithicSparse", ours: "vmdk" },
    Foreign { qemu: "vmdk", options: "subformat=monolithicSparse,zeroed_grain=on", ours: "vmdk" },
    Foreign { qemu: "vmdk", options: "subformat=streamOptimized", ours: "vmdk" },
    Foreign { qemu: "vdi", options: "static=off", ours: "vdi" },
    Foreign { qemu: "vdi", options: "static=on", ours: "vdi" },
    Foreign { qemu: "qcow2", options: "compat=1.1", ours: "qcow2" },
    Foreign { qemu: "qcow2", options: "compat=0.10,cluster_size=512", ours: "qcow2" },
    Foreign { qemu: "qcow2", options: "cluster_size=2M,preallocation=metadata,lazy_refcounts=on", ours: "qcow2" },
    Foreign { qemu: "qcow2", options: "extended_l2=on,cluster_size=32K", ours: "qcow2" },
    Foreign { qemu: "qcow2", options: "compression_type=zstd,refcount_bits=64", ours: "qcow2" },
];

impl Foreign {
    fn format(&self) -> &'static dyn Format {
        formats::format(self.ours).unwrap()
    }

    fn name(&self) -> String {
        format!("{} {}", self.qemu, self.options)
    }

    /// Makes `foreign` of a disk, and `wanted`, which is what qemu reads back: it may have rounded the size.
    fn convert(&self, desk: &Desk, disk: &Blob) {
        let raw = desk.put("raw", disk);
        let (foreign, wanted) = (desk.path("foreign"), desk.path("wanted"));
        run("qemu-img", &[&"convert", &"-f", &"raw", &"-O", &self.qemu, &"-o", &self.options, &raw, &foreign]);
        run("qemu-img", &[&"convert", &"-f", &self.qemu, &"-O", &"raw", &foreign, &wanted]);
    }
}

fn decode(format: &dyn Format, file: &Blob) -> Result<Blob, Error> {
    format.decode(file, &mut env(2))
}

#[test]
fn every_qemu_subformat_is_read_as_qemu_reads_it() {
    for foreign in FOREIGN {
        for (disk_name, disk) in disks(512) {
            let desk = Desk::new();
            foreign.convert(&desk, &disk);
            let file = desk.get("foreign");
            let claimed: Vec<_> = formats::FORMATS.iter().filter(|f| f.probe(&file).unwrap()).map(|f| f.name()).collect();
            assert_eq!(claimed, [foreign.ours], "{} {disk_name}", foreign.name());
            let decoded = decode(foreign.format(), &file).unwrap_or_else(|e| panic!("{} {disk_name}: {e}", foreign.name()));
            let path = desk.put("decoded", &decoded);
            run("cmp", &[&path, &desk.path("wanted")]);
            foreign.format().dump(&file, &mut Dump::new()).unwrap();
        }
    }
}

/// A small disk in every foreign format: the name, the format, the file, the disk in it.
fn fixtures() -> impl Iterator<Item = (String, &'static dyn Format, Vec<u8>, Vec<u8>)> {
    FOREIGN.iter().map(|foreign| {
        let desk = Desk::new();
        let mut disk = Blob::zeros(3 * units::MIB);
        disk.splice(70_000, &Blob::bytes(crate::support::noise(5_000, 3)));
        disk.splice(3 * units::MIB - 9, &Blob::bytes(*b"the end!!"));
        foreign.convert(&desk, &disk);
        let all = |name| desk.get(name).to_vec(u64::MAX).unwrap();
        (foreign.name(), foreign.format(), all("foreign"), all("wanted"))
    })
}

#[test]
fn a_truncated_file_is_refused_or_read_right() {
    for (name, format, file, wanted) in fixtures() {
        let points = (0..200).map(|i| file.len() * i / 200);
        let near_the_ends = (0..600).step_by(7).flat_map(|i| [i, file.len().saturating_sub(i + 1)]);
        for len in points.chain(near_the_ends).filter(|len| *len < file.len()) {
            let cut = Blob::bytes(&file[..len]);
            let _: Result<bool, _> = format.probe(&cut);
            let _: Result<(), _> = format.dump(&cut, &mut Dump::new());
            if let Ok(disk) = decode(format, &cut) {
                assert!(disk.to_vec(u64::MAX).unwrap() == wanted, "{name} cut to {len} of {} bytes", file.len());
            }
        }
    }
}

#[test]
fn flipped_bits_never_panic_or_claim_much() {
    for (name, format, mut file, _) in fixtures() {
        let len = file.len();
        let used: Vec<usize> = (0..file.len()).filter(|at| file[*at] != 0).collect();
        let step = used.len().div_ceil(3_000).max(1);
        for (turn, at) in used.into_iter().step_by(step).flat_map(|at| [at, at ^ 8]).enumerate().filter(|(_, at)| *at < len) {
            let bit = 1 << (turn % 8);
            file[at] ^= bit;
            let broken = Blob::bytes(file.as_slice());
            let _: Result<(), _> = format.dump(&broken, &mut Dump::new());
            if let Ok(disk) = decode(format, &broken) {
                assert!(disk.data_len() <= 8 * units::MIB + units::bytes(file.len()), "{name} byte {at}");
            }
            file[at] ^= bit;
        }
    }
}

/// No other file is opened on the word of this one.
#[test]
fn disks_in_several_files_are_refused_by_name() {
    for subformat in ["monolithicFlat", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse"] {
        let desk = Desk::new();
        let disk = desk.path("disk.vmdk");
        run("qemu-img", &[&"create", &"-f", &"vmdk", &"-o", &format!("subformat={subformat}"), &disk, &"1M"]);
        let error = decode(formats::format("vmdk").unwrap(), &desk.get("disk.vmdk")).unwrap_err().to_string();
        assert!(error.contains(subformat), "{error}");
    }
    let desk = Desk::new();
    let (parent, child) = (desk.path("parent"), desk.path("child"));
    run("qemu-img", &[&"create", &"-f", &"vmdk", &parent, &"1M"]);
    run("qemu-img", &[&"create", &"-f", &"vmdk", &"-F", &"vmdk", &"-b", &parent, &child]);
    let error = decode(formats::format("vmdk").unwrap(), &desk.get("child")).unwrap_err().to_string();
    assert!(error.contains("parent"), "{error}");
}
