//! What `qemu-img` writes, in each of its sub-formats, we read as the same disk.

use crate::support::{Desk, disks, env, identity, run};
use formats::{Blob, Error, Format, compare::first_difference, dump::Dump, units};

/// A container as `qemu-img convert -O NAME -o OPTIONS` makes it, and what we call the format.
pub(crate) struct Foreign {
    qemu: &'static str,
    options: &'static str,
    ours: &'static str,
}

pub(crate) const FOREIGN: &[Foreign] = &[
    Foreign { qemu: "vpc", options: "subformat=fixed", ours: "vhd" },
    Foreign { qemu: "vpc", options: "subformat=fixed,force_size=on", ours: "vhd" },
    Foreign { qemu: "vpc", options: "subformat=dynamic", ours: "vhd" },
    Foreign { qemu: "vpc", options: "subformat=dynamic,force_size=on", ours: "vhd" },
    Foreign { qemu: "vhdx", options: "subformat=dynamic", ours: "vhdx" },
    Foreign { qemu: "vhdx", options: "subformat=dynamic,block_size=1M,block_state_zero=off", ours: "vhdx" },
    Foreign { qemu: "vhdx", options: "subformat=fixed,block_size=4M,log_size=2M", ours: "vhdx" },
    Foreign { qemu: "vmdk", options: "subformat=monolithicSparse", ours: "vmdk" },
    Foreign { qemu: "vmdk", options: "subformat=monolithicSparse,zeroed_grain=on", ours: "vmdk" },
    Foreign { qemu: "vmdk", options: "subformat=streamOptimized", ours: "vmdk" },
    Foreign { qemu: "vdi", options: "static=off", ours: "vdi" },
    Foreign { qemu: "vdi", options: "static=on", ours: "vdi" },
    Foreign { qemu: "qed", options: "cluster_size=64K", ours: "qed" },
    Foreign { qemu: "qed", options: "cluster_size=4K,table_size=2", ours: "qed" },
    Foreign { qemu: "parallels", options: "cluster_size=1M", ours: "parallels" },
    Foreign { qemu: "parallels", options: "cluster_size=32256", ours: "parallels" },
    Foreign { qemu: "qcow2", options: "compat=1.1", ours: "qcow2" },
    Foreign { qemu: "qcow2", options: "compat=0.10,cluster_size=512", ours: "qcow2" },
    Foreign { qemu: "qcow2", options: "cluster_size=2M,preallocation=metadata,lazy_refcounts=on", ours: "qcow2" },
    Foreign { qemu: "qcow2", options: "extended_l2=on,cluster_size=32K", ours: "qcow2" },
    Foreign { qemu: "qcow2", options: "compression_type=zstd,refcount_bits=64", ours: "qcow2" },
];

/// What qemu-img compresses (`-c`).
const COMPRESSED: &[&str] =
    &["cluster_size=512", "cluster_size=2M", "compression_type=zstd,cluster_size=4K", "extended_l2=on", "compat=0.10"];

impl Foreign {
    pub(crate) fn format(&self) -> &'static dyn Format {
        formats::format(self.ours).unwrap()
    }

    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.qemu, self.options)
    }

    /// Makes `foreign` of a disk, and `wanted`, which is what qemu reads back: it may have rounded the size.
    pub(crate) fn convert(&self, desk: &Desk, disk: &Blob) {
        let raw = desk.put("raw", disk);
        let (foreign, wanted) = (desk.path("foreign"), desk.path("wanted"));
        run("qemu-img", &[&"convert", &"-f", &"raw", &"-O", &self.qemu, &"-o", &self.options, &raw, &foreign]);
        run("qemu-img", &[&"convert", &"-f", &self.qemu, &"-O", &"raw", &foreign, &wanted]);
    }
}

fn decode(format: &dyn Format, file: &Blob) -> Result<Blob, Error> {
    crate::support::decode(format, file, 1)
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
            let check = foreign.format().check(&file, &mut env(2)).unwrap();
            assert_eq!((check.corruptions, check.leaks), (0, 0), "{} {disk_name}: {:?}", foreign.name(), check.messages);
        }
    }
}

#[test]
fn what_qemu_compressed_is_read_and_written_back_in_every_format() {
    for (nth, options) in COMPRESSED.iter().enumerate() {
        for (disk_name, disk) in disks(512) {
            let desk = Desk::new();
            let (raw, file) = (desk.put("raw", &disk), desk.path("foreign"));
            run("qemu-img", &[&"convert", &"-c", &"-f", &"raw", &"-O", &"qcow2", &"-o", options, &raw, &file]);
            let decoded = decode(formats::format("qcow2").unwrap(), &desk.get("foreign")).unwrap();
            assert_eq!(first_difference(&decoded, &disk, &env(1)).unwrap(), None, "{options} {disk_name}");
            // However it was compressed, it is the same disk.
            for case in crate::support::CASES.iter().filter(|_| nth == 0) {
                let mut grown = decoded.clone();
                grown.pad_to(case.plan().limits().size_multiple);
                let back = decode(case.format(), &case.encode(&grown, 1)).unwrap();
                assert_eq!((back.len(), first_difference(&back, &grown, &env(1)).unwrap()), (grown.len(), None), "{case:?} {disk_name}");
            }
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

/// A log that was not written back: a sequence of two entries and a stale one behind them.
/// `qemu-img check -r all` writes it back, we replay it in memory.
#[test]
fn a_vhdx_log_is_replayed_as_qemu_does() {
    let (file, decoded) = with_log(40_960);
    let desk = Desk::new();
    let (foreign, raw) = (desk.put("foreign", &Blob::bytes(file)), desk.put("raw", &decoded));
    run("qemu-img", &[&"check", &"-r", &"all", &"-f", &"vhdx", &foreign]);
    run("qemu-img", &[&"compare", &"-f", &"vhdx", &"-F", &"raw", &foreign, &raw]);
}

/// The second entry is where the ring starts again. No oracle: qemu 7.2 replays only that one, for it compares the numbers
/// of first entries where the standard (section 2.3.2) wants those of last entries.
#[test]
fn a_vhdx_log_that_wraps_is_replayed_whole() {
    with_log((1 << 20) - 8192);
}

/// A file whose log starts at `tail`, and the disk that we find in it.
pub(crate) fn with_log(tail: usize) -> (Vec<u8>, Blob) {
    const GUID: [u8; 16] = *b"the guid of logs";
    let mut disk = Blob::zeros(4 * units::MIB);
    disk.splice(0, &Blob::bytes(vec![b'A'; 1 << 20]));
    let vhdx = formats::format("vhdx").unwrap();
    let plan = vhdx.plan(&formats::Options::defaults(vhdx.options())).unwrap();
    let mut file = plan.encode(&disk, &identity(), &mut env(1)).unwrap().to_vec(u64::MAX).unwrap();
    let (block, len) = (4 << 20, file.len());

    let first = log_entry(&GUID, 8, tail, len, &[Change::Data(block + 4096, b'B'), Change::Zero(block + 16384, 8192)]);
    let second = log_entry(&GUID, 9, tail, len, &[Change::Data(block + 8192, b'C'), Change::Data(block + 4096, b'D')]);
    let stale = log_entry(&GUID, 3, 81_920, len, &[Change::Data(block, b'X')]);
    let log = &mut file[1 << 20..2 << 20];
    for (at, entry) in [(tail, &first), ((tail + first.len()) % log.len(), &second), (81_920, &stale)] {
        log[at..at + entry.len()].copy_from_slice(entry);
    }
    let header = &mut file[128 << 10..132 << 10];
    header[48..64].copy_from_slice(&GUID);
    seal(header);

    let decoded = decode(vhdx, &Blob::bytes(file.as_slice())).unwrap();
    let at = [0, 4095, 4096, 8191, 8192, 12_287, 12_288, 16_383, 16_384, 24_575, 24_576];
    assert_eq!(at.map(|at| decoded.read_array::<1>(at).unwrap()[0]), *b"AADDCCAA\0\0A");
    (file, decoded)
}

enum Change {
    Data(usize, u8),
    Zero(usize, usize),
}

/// A log entry as [MS-VHDX] 2.3.1 describes it.
fn log_entry(guid: &[u8; 16], number: u64, tail: usize, file_len: usize, changes: &[Change]) -> Vec<u8> {
    let le = |value: usize| units::bytes(value).to_le_bytes();
    let data = changes.iter().filter(|change| matches!(change, Change::Data(..))).count();
    let mut entry = b"loge\0\0\0\0".to_vec();
    entry.extend(&le(4096 * (1 + data))[..4]);
    entry.extend(&le(tail)[..4]);
    entry.extend(number.to_le_bytes());
    entry.extend(le(changes.len()));
    entry.extend(guid);
    entry.extend(le(file_len));
    entry.extend(le(file_len));
    for change in changes {
        match *change {
            Change::Data(at, byte) => entry.extend([b"desc".as_slice(), &[byte; 12], &le(at)].concat()),
            Change::Zero(at, len) => entry.extend([b"zero\0\0\0\0".as_slice(), &le(len), &le(at)].concat()),
        }
        entry.extend(number.to_le_bytes());
    }
    entry.resize(4096, 0);
    for change in changes {
        if let Change::Data(_, byte) = change {
            let number = number.to_le_bytes();
            entry.extend([b"data".as_slice(), &number[4..], &[*byte; 4084], &number[..4]].concat());
        }
    }
    seal(&mut entry);
    entry
}

/// Puts the CRC-32C of a structure into its bytes 4 to 7.
fn seal(bytes: &mut [u8]) {
    bytes[4..8].fill(0);
    let step = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 });
    let crc = !bytes.iter().fold(u32::MAX, step);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
}
