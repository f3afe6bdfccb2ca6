//! Every sub-format and option of `qemu-img`: what it made, and `qemu-io` wrote over in parts, is read as `qemu-img convert -O raw`
//! reads it; and what was read, written in every row of `FORMATS`, `qemu-img compare` finds identical.

use super::follow::{Beside, qemu};
use crate::support::{Desk, env, identity, noise, run};
use formats::{Blob, FORMATS, Reading, compare::first_difference, units};

/// Writes of all kinds, so that data, zeros by write, by flag and by discard, and what was never written stand side by side in one
/// cluster and in neighbours.
const WRITES: &str = "-c 'write -q -P 0xaa 100k 70k' -c 'write -q -z 300k 200k' -c 'discard -q 1M 640k' -c 'write -q -z -u 2M 2M' \
                      -c 'write -q -P 0 4100k 64k' -c 'write -q -P 0x5c 2500k 4k' -c 'write -q -z 6M 1k' -c 'discard -q 6300k 64k' \
                      -c 'write -q -P 7 6655k 1k'";

/// Bytes that do not shrink, text, a pattern, and gaps; whole MiB, and small.
fn source(desk: &Desk) {
    let mut disk = Blob::zeros(7 * units::MIB);
    disk.splice(0, &Blob::bytes(noise(450_000, 41)));
    disk.splice(units::MIB, &Blob::bytes(b"all work and no play makes a dull disk\n".repeat(30_000)));
    disk.splice(units::MIB * 5 / 2, &Blob::bytes(noise(700_000, 42)));
    disk.splice(5 * units::MIB + 777, &Blob::bytes(vec![0x55; 900_000]));
    disk.splice(7 * units::MIB - 1, &Blob::bytes([9]));
    desk.put("raw", &disk);
}

/// What is in `image`, as the file itself and those that it names say.
#[track_caller]
fn judge(desk: &Desk, ours: &str, foreign: &str, name: &str) {
    qemu(desk, "qemu-img", &format!("convert -f {foreign} -O raw image wanted"));
    let (format, beside) = (formats::format(ours).unwrap(), Beside(desk));
    let reading = Reading { parts: Some(&beside), ..Reading::default() };
    let disk = format.decode(&desk.get("image"), &reading, &mut env(1)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let wanted = desk.get("wanted");
    assert_eq!((disk.len(), first_difference(&disk, &wanted, &env(1)).unwrap()), (wanted.len(), None), "{name}");
    match format.check(&desk.get("image"), &mut env(1)) {
        Ok(check) => assert_eq!((check.corruptions, check.leaks), (0, 0), "{name}: {:?}", check.messages),
        Err(error) => assert_eq!(error.kind(), formats::Kind::Unsupported, "{name}: {error}"),
    }
    for row in FORMATS.iter().filter(|row| row.is_written()) {
        let plan = row.plan(&formats::Options::defaults(row.options())).unwrap();
        let mut grown = disk.clone();
        grown.pad_to(plan.limits().size_multiple);
        desk.put("back", &plan.encode(&grown, &identity(), &mut env(1)).unwrap());
        let theirs = *row.aliases().first().unwrap_or(&row.name());
        run("qemu-img", &[&"compare", &"-f", &theirs, &"-F", &"raw", &desk.path("back"), &desk.path("wanted")]);
    }
}

/// Images that `qemu-img convert` makes with each of the options, before and after more is written to them.
fn converted(ours: &str, foreign: &str, flags: &str, options: &[&str]) {
    for options in options {
        let desk = Desk::new();
        source(&desk);
        let chosen = if options.is_empty() { String::new() } else { format!("-o {options}") };
        qemu(&desk, "qemu-img", &format!("convert {flags} -f raw -O {foreign} {chosen} raw image"));
        // Streams are written once.
        if !options.contains("streamOptimized") {
            qemu(&desk, "qemu-io", &format!("-d unmap -f {foreign} {WRITES} image"));
        }
        judge(&desk, ours, foreign, &format!("{foreign} {flags} {options}"));
    }
}

#[test]
fn qcow2_of_every_cluster_size() {
    let sizes: Vec<String> = (9..=21).map(|bits| format!("cluster_size={}", 1 << bits)).collect();
    converted("qcow2", "qcow2", "", &sizes.iter().map(String::as_str).collect::<Vec<_>>());
    converted("qcow2", "qcow2", "", &["compat=0.10", "compat=0.10,cluster_size=512", "compat=0.10,cluster_size=2M"]);
}

#[test]
fn qcow2_of_every_refcount_width_and_preallocation() {
    let widths: Vec<String> = (0..=6).map(|order| format!("refcount_bits={},cluster_size=4K", 1 << order)).collect();
    converted("qcow2", "qcow2", "", &widths.iter().map(String::as_str).collect::<Vec<_>>());
    let allocated = ["metadata", "falloc", "full"].map(|kind| format!("preallocation={kind}"));
    converted("qcow2", "qcow2", "", &allocated.each_ref().map(String::as_str));
    converted("qcow2", "qcow2", "", &["compat=0.10,preallocation=metadata,cluster_size=1K", "lazy_refcounts=on"]);
}

#[test]
fn qcow2_packed_and_with_subclusters() {
    let packed = ["", "cluster_size=512", "cluster_size=2M", "compat=0.10", "compression_type=zstd", "extended_l2=on"];
    converted("qcow2", "qcow2", "-c", &packed);
    converted("qcow2", "qcow2", "-c", &["compression_type=zstd,cluster_size=4K", "compression_type=zstd,extended_l2=on,cluster_size=2M"]);
    let extended = ["", ",cluster_size=16K", ",cluster_size=2M", ",preallocation=metadata"].map(|more| format!("extended_l2=on{more}"));
    converted("qcow2", "qcow2", "", &extended.each_ref().map(String::as_str));
}

#[test]
fn qcow2_with_other_files() {
    for options in ["", ",data_file_raw=on", ",extended_l2=on", ",preallocation=metadata", ",data_file_raw=on,preallocation=falloc"] {
        let desk = Desk::new();
        source(&desk);
        qemu(&desk, "qemu-img", &format!("create -q -f qcow2 -o data_file=data{options} image 7M"));
        qemu(&desk, "qemu-img", "convert -n -f raw -O qcow2 raw image");
        qemu(&desk, "qemu-io", &format!("-d unmap -f qcow2 {WRITES} image"));
        judge(&desk, "qcow2", "qcow2", &format!("data_file{options}"));
    }
    // Over a disk of each kind, through one more overlay.
    for (below, options) in [("raw", ""), ("qcow2", "-o extended_l2=on"), ("vpc", ""), ("vhdx", ""), ("vmdk", ""), ("vdi", "")] {
        let desk = Desk::new();
        source(&desk);
        qemu(&desk, "qemu-img", &format!("convert -f raw -O {below} raw base"));
        qemu(&desk, "qemu-img", &format!("create -q -f qcow2 {options} -F {below} -b base middle"));
        qemu(&desk, "qemu-io", &format!("-d unmap -f qcow2 {WRITES} middle"));
        qemu(&desk, "qemu-img", &format!("create -q -f qcow2 {options} -F qcow2 -b middle image 9M"));
        qemu(&desk, "qemu-io", "-d unmap -f qcow2 -c 'write -q -z 96k 9k' -c 'write -q -P 3 3M 5k' -c 'discard -q 2M 1M' image");
        judge(&desk, "qcow2", "qcow2", &format!("over {below} {options}"));
    }
}

#[test]
fn vpc_and_vdi() {
    let kinds = ["subformat=fixed", "subformat=fixed,force_size=on", "subformat=dynamic", "subformat=dynamic,force_size=on"];
    converted("vhd", "vpc", "", &kinds);
    converted("vdi", "vdi", "", &["", "static=on", "static=off"]);
    converted("raw", "raw", "", &["", "preallocation=falloc", "preallocation=full"]);
}

#[test]
fn qed_of_every_cluster_and_table_size() {
    let clusters: Vec<String> = (12..=20).map(|bits| format!("cluster_size={}", 1 << bits)).collect();
    // Of one cluster qemu makes tables that it refuses to read.
    let tables = [2, 8, 16].map(|tables| format!("table_size={tables},cluster_size=4K"));
    converted("qed", "qed", "", &clusters.iter().chain(&tables).map(String::as_str).collect::<Vec<_>>());
    for (below, format) in [("raw", "raw"), ("qcow2", "qcow2"), ("qed", "qed")] {
        let desk = Desk::new();
        source(&desk);
        qemu(&desk, "qemu-img", &format!("convert -f raw -O {below} raw base"));
        qemu(&desk, "qemu-img", &format!("create -q -f qed -o cluster_size=16K -F {format} -b base image 9M"));
        qemu(&desk, "qemu-io", &format!("-d unmap -f qed {WRITES} image"));
        judge(&desk, "qed", "qed", &format!("over {below}"));
    }
}

#[test]
fn parallels_of_both_kinds() {
    // 63 sectors, 252 and 256 KiB are what older programs used.
    let sizes = ["", "cluster_size=32256", "cluster_size=258048", "cluster_size=256K", "cluster_size=512", "cluster_size=4M"];
    converted("parallels", "parallels", "", &sizes);
    for cluster in [512_u64, 32_256, 1 << 20] {
        let desk = Desk::new();
        source(&desk);
        qemu(&desk, "qemu-img", &format!("convert -f raw -O parallels -o cluster_size={cluster} raw image"));
        qemu(&desk, "qemu-io", &format!("-d unmap -f parallels {WRITES} image"));
        // Qemu writes the newer kind. The older one counts sectors.
        let mut file = desk.get("image").to_vec(u64::MAX).unwrap();
        file[..16].copy_from_slice(b"WithoutFreeSpace");
        let entries = units::index((7 * units::MIB).div_ceil(cluster));
        for entry in file[64..64 + 4 * entries].as_chunks_mut::<4>().0 {
            let clusters = u64::from(u32::from_le_bytes(*entry));
            *entry = u32::try_from(clusters * cluster / 512).unwrap().to_le_bytes();
        }
        desk.put("image", &Blob::from(file));
        judge(&desk, "parallels", "parallels", &format!("WithoutFreeSpace, {cluster}"));
    }
}

#[test]
fn vhdx_of_every_block_size() {
    let sizes: Vec<String> = (0..=8).map(|bits| format!("block_size={}M", 1 << bits)).collect();
    let others = ["subformat=fixed", "block_state_zero=off", "block_state_zero=off,block_size=1M", "subformat=fixed,block_size=1M"];
    let rest = ["subformat=fixed,block_size=256M,block_state_zero=off", "block_state_zero=off,block_size=256M", "log_size=4M"];
    let all: Vec<&str> = sizes.iter().map(String::as_str).chain(others).chain(rest).collect();
    converted("vhdx", "vhdx", "", &all);
}

#[test]
fn vmdk_of_every_subformat() {
    for subformat in ["monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"] {
        let more = if subformat.contains("Sparse") {
            &["", ",zeroed_grain=on", ",hwversion=17", ",compat6=on"][..]
        } else {
            &["", ",hwversion=17"]
        };
        let options: Vec<String> = more.iter().map(|more| format!("subformat={subformat}{more}")).collect();
        converted("vmdk", "vmdk", "", &options.iter().map(String::as_str).collect::<Vec<_>>());
    }
    converted("vmdk", "vmdk", "", &["adapter_type=lsilogic,toolsversion=2147483647"]);
}
