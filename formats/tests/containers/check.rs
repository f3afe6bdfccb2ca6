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
fn image(options: &str) -> (Desk, Vec<u8>) {
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

fn be64(file: &[u8], at: usize) -> usize {
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
