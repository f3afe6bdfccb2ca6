//! What `qemu-img check` finds wrong, we find, and count it alike.

use crate::support::{Desk, env, noise, run};
use formats::{Blob, Check, units};
use std::process::Command;

fn check(file: &[u8]) -> Check {
    formats::format("qcow2").unwrap().check(&Blob::bytes(file), &mut env(2)).unwrap()
}

/// Corruptions, leaks, and allocated, compressed and total clusters, as qemu counts them.
fn qemu_check(desk: &Desk, file: &[u8]) -> [u64; 5] {
    let path = desk.put("judged", &Blob::bytes(file));
    let output = Command::new("qemu-img").args(["check", "--output=json", "-f", "qcow2"]).arg(path).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 2 | 3)), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let number = |key: &str| {
        let found = text.split_once(&format!("\"{key}\": ")).map(|(_, rest)| rest.split([',', '\n']).next().unwrap());
        found.map_or(0, |digits| digits.parse().unwrap())
    };
    ["corruptions", "leaks", "allocated-clusters", "compressed-clusters", "total-clusters"].map(number)
}

fn ours(file: &[u8]) -> [u64; 5] {
    let found = check(file);
    let clusters = found.clusters.unwrap();
    [found.corruptions, found.leaks, clusters.allocated, clusters.compressed, clusters.total]
}

/// An image with everything that has references: packed and plain clusters, snapshots that share them, a bitmap.
pub(super) fn image(options: &str) -> (Desk, Vec<u8>) {
    let desk = Desk::new();
    let mut disk = Blob::zeros(20 * units::MIB);
    disk.splice(0, &Blob::bytes(noise(300_000, 5)));
    disk.splice(5 * units::MIB, &Blob::bytes(vec![3; 400_000]));
    let (raw, file) = (desk.put("raw", &disk), desk.path("image"));
    run("qemu-img", &[&"convert", &"-c", &"-f", &"raw", &"-O", &"qcow2", &"-o", &options, &raw, &file]);
    for (snapshot, write) in [("one", "write -P 7 1M 1M"), ("two", "write -z 1M 64k"), ("three", "write -P 9 1500k 1M")] {
        run("qemu-img", &[&"snapshot", &"-c", &snapshot, &file]);
        run("qemu-io", &[&"-f", &"qcow2", &"-c", &write, &file]);
    }
    if !options.contains("0.10") {
        run("qemu-img", &[&"bitmap", &"--add", &file, &"bitmap"]);
    }
    let bytes = desk.get("image").to_vec(u64::MAX).unwrap();
    (desk, bytes)
}

pub(super) fn be64(file: &[u8], at: usize) -> usize {
    usize::try_from(u64::from_be_bytes(file[at..at + 8].try_into().unwrap())).unwrap()
}

#[test]
fn refcounts_are_compared_as_qemu_compares_them() {
    for options in
        ["compat=1.1", "compat=0.10", "cluster_size=512", "extended_l2=on", "refcount_bits=8", "refcount_bits=64,compression_type=zstd"]
    {
        let (desk, file) = image(options);
        assert_eq!(ours(&file), qemu_check(&desk, &file), "{options}");
        assert_eq!(ours(&file)[..2], [0, 0], "{options}");
    }
}

#[test]
fn leaks_and_corruptions_are_counted_as_qemu_counts_them() {
    let (desk, file) = image("refcount_bits=8");
    let block = be64(&file, be64(&file, 48));
    let used: Vec<usize> = (1..60).filter(|cluster| file[block + cluster] != 0).collect();
    // A refcount one too high, one too low, and one of a cluster that nobody uses.
    for (step, change) in [(3, 1_u8), (5, 255), (7, 2)] {
        let mut broken = file.clone();
        for cluster in used.iter().skip(4).step_by(step) {
            broken[block + cluster] = broken[block + cluster].wrapping_add(change);
        }
        let (found, wanted) = (ours(&broken), qemu_check(&desk, &broken));
        // Both say which flags contradict a refcount; how often qemu says it of one cluster is its own affair.
        assert_eq!(found[1], wanted[1], "leaks, step {step}");
        assert_eq!(found[0] > 0, wanted[0] > 0, "corruptions, step {step}: {found:?} {wanted:?}");
    }
    let mut orphan = file.clone();
    let free = (1..200).find(|cluster| file[block + cluster] == 0 && cluster * 65_536 < file.len());
    if let Some(free) = free {
        orphan[block + free] = 1;
        assert_eq!(ours(&orphan), qemu_check(&desk, &orphan));
    }
}

/// A directory of bitmaps is no longer than it says, however many it counts and however long the file is.
#[test]
fn bitmaps_are_sought_in_their_directory_only() {
    let (_, file) = image("compat=1.1");
    let extension = file.windows(4).position(|word| word == [0x23, 0x85, 0x28, 0x75]).unwrap();
    let mut broken = file.clone();
    broken[extension + 10..extension + 12].fill(0xff);
    let mut broken = Blob::from(broken);
    broken.extend_to(1 << 50);
    let found = formats::format("qcow2").unwrap().check(&broken, &mut env(1)).unwrap();
    assert!(found.corruptions > 0 && found.messages.iter().any(|message| message.contains("the directory ends before")), "{found:?}");
}

/// Tables that lead to themselves and to each other: an end and an answer, whatever it is.
#[test]
fn loops_end() {
    let (_, file) = image("cluster_size=4k");
    let (l1, refcount_table) = (be64(&file, 40), be64(&file, 48));
    for (at, to) in [(l1, l1), (l1, 0), (refcount_table, refcount_table), (refcount_table, l1), (48, l1), (40, refcount_table)] {
        let mut broken = file.clone();
        broken[at..at + 8].copy_from_slice(&(units::bytes(to) | if at == l1 { 1 << 63 } else { 0 }).to_be_bytes());
        let Check { corruptions, leaks, .. } = check(&broken);
        // An L1 entry of 0 is an absent table, whose clusters are leaked.
        assert!(corruptions > 0 || at == l1 && to == 0 && leaks > 0, "{at} {to}");
    }
}

/// What a program that checks says to a shell.
fn exit_code(check: &Check) -> i32 {
    if check.corruptions > 0 {
        2
    } else if check.leaks > 0 {
        3
    } else {
        0
    }
}

/// What `qemu-img check` makes of a damaged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Qemu {
    /// Exit code 2 or 3, as we have it.
    FindsIt,
    /// 1: it does not open the file, or gives up.
    GivesUp,
    /// 0.
    Overlooks,
    /// 0, and so do we.
    Sound,
    /// 63: it has no check for the format.
    CannotCheck,
}

/// What is damaged, what qemu makes of it, and how.
pub(super) type Damage = (&'static str, Qemu, fn(&mut Vec<u8>));

/// Checks a file that qemu-img made of a small disk, as it is and with each damage: we find all of it.
pub(super) fn same_verdicts(ours: &str, foreign: &str, options: &str, damages: &[Damage]) {
    let desk = Desk::new();
    let mut disk = Blob::zeros(40 * units::MIB);
    disk.splice(0, &Blob::bytes(noise(300_000, 5)));
    disk.splice(5 * units::MIB, &Blob::bytes(noise(200_000, 6)));
    disk.splice(39 * units::MIB, &Blob::bytes(noise(100_000, 7)));
    let raw = desk.put("raw", &disk);
    run("qemu-img", &[&"convert", &"-f", &"raw", &"-O", &foreign, &"-o", &options, &raw, &desk.path("image")]);
    let sound = desk.get("image").to_vec(u64::MAX).unwrap();
    same_verdicts_of(&sound, ours, foreign, options, damages);
}

/// The same with a file that is there.
pub(super) fn same_verdicts_of(sound: &[u8], ours: &str, foreign: &str, options: &str, damages: &[Damage]) {
    let desk = Desk::new();
    let verdicts = |file: &[u8]| {
        let path = desk.put("judged", &Blob::bytes(file));
        let output = Command::new("qemu-img").args(["check", "-f", foreign]).arg(path).output().unwrap();
        let found = formats::format(ours).unwrap().check(&Blob::bytes(file), &mut env(1)).unwrap();
        (exit_code(&found), output.status.code().unwrap(), found.messages)
    };
    assert_eq!(verdicts(sound).0, 0, "{foreign} {options}");
    for (name, qemu, damage) in damages {
        let mut broken = sound.to_vec();
        damage(&mut broken);
        assert_ne!(broken, sound, "{name}");
        let (ours, theirs, messages) = verdicts(&broken);
        let wanted = match qemu {
            Qemu::FindsIt => ours,
            Qemu::GivesUp => 1,
            Qemu::Overlooks | Qemu::Sound => 0,
            Qemu::CannotCheck => 63,
        };
        assert!(
            (ours == 0) == (*qemu == Qemu::Sound) && theirs == wanted,
            "{foreign} {options} {name}: {ours}, qemu-img {theirs}: {messages:?}"
        );
    }
}

/// Puts bytes where `at` finds the place for them.
pub(super) fn put(file: &mut [u8], at: impl Fn(&[u8]) -> usize, bytes: &[u8]) {
    let at = at(file);
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn le32(file: &[u8], at: usize) -> usize {
    usize::try_from(u32::from_le_bytes(file[at..at + 4].try_into().unwrap())).unwrap()
}

#[test]
fn damaged_vdis_are_found_out() {
    const BLOCK_5: fn(&[u8]) -> usize = |file| le32(file, 340) + 4 * 5;
    let damages: &[Damage] = &[
        ("two blocks on one place", Qemu::FindsIt, |file| put(file, BLOCK_5, &[0; 4])),
        ("a block past all blocks", Qemu::FindsIt, |file| put(file, BLOCK_5, &[0, 0, 1, 0])),
        ("a count that is not right", Qemu::FindsIt, |file| file[388] += 1),
        ("a map past the end", Qemu::FindsIt, |file| put(file, |_| 340, &[0, 0, 0xff, 0x7f])),
    ];
    same_verdicts("vdi", "vdi", "static=off", damages);
    same_verdicts("vdi", "vdi", "static=on", &damages[..3]);
}

#[test]
fn damaged_vmdks_are_found_out() {
    const DIRECTORY: fn(&[u8]) -> usize = |file| 512 * le32(file, 56);
    const TABLE: fn(&[u8]) -> usize = |file| 512 * le32(file, DIRECTORY(file));
    let damages: &[Damage] = &[
        ("a grain past the end", Qemu::GivesUp, |file| put(file, TABLE, &[0, 0, 0, 1])),
        ("a table past the end", Qemu::Overlooks, |file| put(file, DIRECTORY, &[0, 0, 0, 1])),
        ("a directory past the end", Qemu::Overlooks, |file| put(file, |_| 56, &[0, 0, 0, 1])),
    ];
    same_verdicts("vmdk", "vmdk", "subformat=monolithicSparse", damages);
}

/// Where the BAT of a VHDX is.
fn bat(file: &[u8]) -> usize {
    let table = &file[192 << 10..256 << 10];
    let entry = table.windows(4).position(|guid| guid == [0x66, 0x77, 0xc2, 0x2d]).unwrap();
    le32(table, entry + 16)
}

#[test]
fn damaged_vhdxs_are_found_out() {
    let damages: &[Damage] = &[
        ("a block past the end", Qemu::FindsIt, |file| {
            put(file, bat, &(1_u64 << 40 | 6).to_le_bytes());
        }),
        ("a block in the BAT", Qemu::FindsIt, |file| {
            let itself = units::bytes(bat(file)) | 6;
            put(file, bat, &itself.to_le_bytes());
        }),
        ("both headers", Qemu::GivesUp, |file| [64 << 10, 128 << 10].into_iter().for_each(|at: usize| file[at + 20] ^= 1)),
        ("both region tables", Qemu::GivesUp, |file| [192 << 10, 256 << 10].into_iter().for_each(|at: usize| file[at + 20] ^= 1)),
        ("no metadata", Qemu::GivesUp, |file| {
            let at = file.windows(8).position(|word| word == b"metadata").unwrap();
            file[at] ^= 1;
        }),
    ];
    same_verdicts("vhdx", "vhdx", "block_size=1M", damages);
}

/// qemu refuses to open it, and repairs it when asked to: a finding, though we can read it.
#[test]
fn a_vhdx_log_that_was_not_written_back_is_a_finding() {
    let (file, _) = super::decode::with_log(40_960);
    let (desk, vhdx) = (Desk::new(), formats::format("vhdx").unwrap());
    let path = desk.put("image", &Blob::bytes(file.as_slice()));
    let refused = Command::new("qemu-img").args(["check", "-f", "vhdx"]).arg(&path).output().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let found = vhdx.check(&Blob::bytes(file), &mut env(1)).unwrap();
    assert!(found.corruptions == 1 && found.messages[0].contains("log"), "{found:?}");
    run("qemu-img", &[&"check", &"-r", &"all", &"-f", &"vhdx", &path]);
    let repaired = vhdx.check(&desk.get("image"), &mut env(1)).unwrap();
    assert_eq!(repaired, Check::default());
}

#[test]
fn damaged_vhds_are_found_out() {
    const FIRST: fn(&[u8]) -> usize = |file| 1536 + 512 * usize::from(file[1536] == 255);
    let damages: &[Damage] = &[
        ("two blocks on one place", Qemu::CannotCheck, |file| file.copy_within(1536..1540, 1536 + 4 * 2)),
        ("a block past the end", Qemu::GivesUp, |file| put(file, FIRST, &[0, 0xff, 0, 0])),
        ("a block in the header", Qemu::CannotCheck, |file| put(file, FIRST, &[0, 0, 0, 1])),
        ("the footer", Qemu::CannotCheck, |file| {
            let at = file.len() - 500;
            file[at] ^= 1;
        }),
        ("the copy of the footer", Qemu::GivesUp, |file| file[40] ^= 1),
        ("the dynamic header", Qemu::GivesUp, |file| file[512 + 30] ^= 1),
    ];
    same_verdicts("vhd", "vpc", "subformat=dynamic", damages);
}

fn le64(file: &[u8], at: usize) -> usize {
    usize::try_from(u64::from_le_bytes(file[at..at + 8].try_into().unwrap())).unwrap()
}

#[test]
fn damaged_qeds_are_found_out() {
    const L1: fn(&[u8]) -> usize = |file| le64(file, 40);
    const L2: fn(&[u8]) -> usize = |file| le64(file, L1(file));
    let damages: &[Damage] = &[
        ("two clusters on one place", Qemu::FindsIt, |file| {
            let at = L2(file);
            file.copy_within(at..at + 8, at + 8);
        }),
        ("a cluster past the end", Qemu::FindsIt, |file| put(file, L2, &(1_u64 << 40).to_le_bytes())),
        ("a cluster on the L1 table", Qemu::FindsIt, |file| {
            let l1 = units::bytes(L1(file));
            put(file, L2, &l1.to_le_bytes());
        }),
        ("an entry that is not aligned", Qemu::FindsIt, |file| {
            let at = L2(file);
            file[at + 1] |= 2;
        }),
        ("a table past the end", Qemu::FindsIt, |file| put(file, L1, &(1_u64 << 40).to_le_bytes())),
        ("a table that is absent", Qemu::FindsIt, |file| put(file, L1, &[0; 8])),
        ("a cluster that is absent", Qemu::FindsIt, |file| put(file, L2, &[0; 8])),
        ("an L1 table past the end", Qemu::GivesUp, |file| put(file, |_| 40, &(1_u64 << 40).to_le_bytes())),
    ];
    same_verdicts("qed", "qed", "cluster_size=64K", damages);
    same_verdicts("qed", "qed", "cluster_size=4K,table_size=2", damages);
}

#[test]
fn damaged_parallels_are_found_out() {
    let damages: &[Damage] = &[
        ("two clusters on one place", Qemu::Overlooks, |file| file.copy_within(64..68, 68)),
        ("a cluster past the end", Qemu::FindsIt, |file| put(file, |_| 64, &[0, 0, 1, 0])),
        ("a cluster behind the others that is absent", Qemu::FindsIt, |file| file.resize(file.len() + (3 << 20), 0)),
        ("a cluster on the BAT", Qemu::Overlooks, |file| file[28] = 1),
        ("not closed", Qemu::FindsIt, |file| put(file, |_| 44, b"Ynot")),
        ("no clusters", Qemu::GivesUp, |file| put(file, |_| 28, &[0; 4])),
    ];
    same_verdicts("parallels", "parallels", "cluster_size=1M", damages);
}
