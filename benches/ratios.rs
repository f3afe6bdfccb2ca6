//! `make bench`: what a user would otherwise run, against ours, on the same input in one run. Prints ratios; asserts nothing.
//!
//! Every command runs three times, in turns, and finds no output of an earlier run; the best of each is compared, which is what
//! noise of a shared machine disturbs least. Processor time and peak memory are those of all processes of a command, by GNU time.
//! A row that begins with "limit" is what the machine can do at all. All rows go to `bench.json` too, which is held against the committed run.

#![allow(missing_docs, unreachable_pub)]

#[path = "ratios/boot.rs"]
mod boot;
#[path = "ratios/builds.rs"]
mod builds;
#[path = "ratios/growth.rs"]
mod growth;
#[path = "ratios/inputs.rs"]
mod inputs;
#[path = "ratios/limits.rs"]
mod limits;
#[path = "ratios/report.rs"]
mod report;
#[path = "../tests/support/mod.rs"]
mod support;

use formats::compress::Codec;
use std::{fs, path::Path, process::Command};

/// The best of several runs.
#[derive(Clone, Copy)]
struct Cost {
    /// Seconds on the clock.
    wall: f64,
    /// Seconds of processor time.
    cpu: f64,
    /// MiB.
    memory: f64,
}

impl Cost {
    const WORST: Self = Self { wall: f64::INFINITY, cpu: f64::INFINITY, memory: f64::INFINITY };

    fn or_better(self, other: Self) -> Self {
        Self { wall: self.wall.min(other.wall), cpu: self.cpu.min(other.cpu), memory: self.memory.min(other.memory) }
    }
}

/// How often each command runs.
const ROUNDS: usize = 3;

/// Prints its rows: in a working directory, of our program.
type Contest = fn(&Path, &str);

/// The contests: `cargo bench --bench ratios -- containers boot` runs these two.
const CONTESTS: &[(&str, Contest)] = &[
    ("initrd", initrds),
    ("iso", isos),
    ("erofs", erofs),
    ("squashfs", squashfs),
    ("containers", containers),
    ("disks", disks),
    ("boot", boot::race),
    ("build", builds::builds),
    ("pull", builds::pulls),
    ("start", builds::starts),
];

/// What runs only where it is named.
const NAMED: (&str, Contest) = ("growth", growth::growth);

fn main() {
    if limits::is_packing() {
        return;
    }
    let moby = env!("CARGO_BIN_EXE_moby");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let work = directory.join("ratios");
    fs::create_dir_all(&work).expect("a working directory");
    // Cargo adds words of its own.
    let chosen: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    println!("| what | command | wall s | cpu s | peak MiB | wall, ours = 1 | cpu | size MiB |");
    println!("|---|---|---|---|---|---|---|---|");
    for (name, contest) in CONTESTS.iter().chain([&NAMED]) {
        if chosen.is_empty() && *name != NAMED.0 || chosen.iter().any(|word| word == name) {
            contest(&work, moby);
        }
    }
    report::finish(directory);
}

/// Memory must not grow from the small tar to the large one.
fn initrds(work: &Path, moby: &str) {
    for (name, tar) in inputs::tars(work) {
        let tar = tar.display();
        let ours = |codec: &str| format!("{moby} -q convert {tar} --initrd-compression {codec} -f kernel+initrd --name {codec} --dir .");
        race(
            work,
            &format!("kernel+initrd, {name}"),
            &[
                ("moby (auto)", ours("auto"), "auto-initrd.img"),
                ("moby gzip", ours("gzip"), "gzip-initrd.img"),
                ("bsdtar \\| pigz", format!("bsdtar -cf - --format newc @{tar} | pigz -6 > peer.img"), "peer.img"),
                ("bsdtar \\| gzip", format!("bsdtar -cf - --format newc @{tar} | gzip -6 > peer.img"), "peer.img"),
                limits::pack(Codec::Gzip, 6, &tar.to_string()),
            ],
        );
        race(work, &format!("qcow2, {name}"), &[("moby", format!("{moby} -q convert {tar} -o ours.qcow2"), "ours.qcow2")]);
    }
}

fn isos(work: &Path, moby: &str) {
    for (name, tar) in inputs::tars(work) {
        let tar = tar.display();
        let unpack = format!("rm -rf tree && mkdir tree && tar -xf {tar} -C tree --exclude 'boot/*'");
        race(
            work,
            &format!("kernel+iso, {name}"),
            &[
                ("moby", format!("{moby} -q convert {tar} -f kernel+iso --name ours --dir ."), "ours.iso"),
                ("tar -x, xorriso", format!("{unpack} && xorriso -as mkisofs -quiet -R -o peer.iso tree"), "peer.iso"),
                limits::copy(&tar.to_string()),
            ],
        );
    }
}

/// A raw disk in every container: its name, our options, what `qemu-img` calls it and its options.
const CONTAINERS: &[(&str, &str, &str, &str)] = &[
    ("qcow2", "", "qcow2", ""),
    ("qcow2", "-c --opt compression_type=zlib", "qcow2", "-c -o compression_type=zlib"),
    ("qcow2", "-c --opt compression_type=zstd", "qcow2", "-c -o compression_type=zstd"),
    ("vhd", "", "vpc", "-o subformat=fixed,force_size=on"),
    ("dynamic-vhd", "", "vpc", "-o subformat=dynamic,force_size=on"),
    ("vhdx", "", "vhdx", "-o block_size=1M"),
    ("vmdk", "", "vmdk", "-o subformat=streamOptimized"),
    ("vmdk", "--opt subformat=monolithicSparse", "vmdk", "-o subformat=monolithicSparse"),
    ("vdi", "", "vdi", ""),
];

/// Against `qemu-img` as it is, and with as many coroutines as it takes and writes out of order; it does not sync, so nor do we.
fn containers(work: &Path, moby: &str) {
    let raw = inputs::raw_disk(work, moby);
    let raw = raw.to_str().expect("UTF-8");
    for (format, options, foreign, foreign_options) in CONTAINERS {
        let peer = |how: &str| format!("qemu-img convert -f raw {how} -O {foreign} {foreign_options} {raw} peer.out");
        race(
            work,
            &format!("raw to {format} {options}"),
            &[
                ("moby", format!("{moby} -q convert {raw} --from raw -f {format} {options} -o ours.out"), "ours.out"),
                ("qemu-img", peer(""), "peer.out"),
                ("qemu-img -m 16 -W", peer("-m 16 -W"), "peer.out"),
                match (*format, *options) {
                    (_, options) if options.ends_with("=zlib") => limits::pack(Codec::Gzip, 6, raw),
                    (_, options) if options.ends_with("=zstd") => limits::pack(Codec::Zstd, 3, raw),
                    ("vmdk", "") => limits::pack(Codec::Gzip, 6, raw),
                    _ => limits::copy(raw),
                },
            ],
        );
    }
}

/// Disks that others made: what it is, our format of the output, what `qemu-img` calls it and its options.
const CONVERSIONS: &[(&str, &str, &str, &str)] = &[
    ("qcow2", "raw", "raw", ""),
    ("packed.qcow2", "raw", "raw", ""),
    ("raw", "qcow2", "qcow2", ""),
    ("raw", "vhdx", "vhdx", "-o block_size=1M"),
    ("stream.vmdk", "qcow2", "qcow2", ""),
];

/// As [`containers`], and both again with a sync at the end: `-t writeback` is how `qemu-img` is made to.
fn disks(work: &Path, moby: &str) {
    inputs::disks(work);
    for (input, format, foreign, foreign_options) in CONVERSIONS {
        let from = if *input == "raw" { "--from raw" } else { "" };
        let ours = |how: &str| format!("{moby} -q convert disk.{input} {from} {how} -f {format} -o ours.out");
        let foreign_from = if *input == "raw" { "-f raw" } else { "" };
        let peer = |how: &str| format!("qemu-img convert {foreign_from} {how} -O {foreign} {foreign_options} disk.{input} peer.out");
        race(
            work,
            &format!("disk.{input} to {format}"),
            &[
                ("moby", ours(""), "ours.out"),
                ("qemu-img", peer(""), "peer.out"),
                ("qemu-img -m 16 -W", peer("-m 16 -W"), "peer.out"),
                ("moby --sync", ours("--sync"), "ours.out"),
                ("qemu-img -t writeback", peer("-t writeback"), "peer.out"),
                limits::copy("disk.raw"),
            ],
        );
    }
}

/// A root file system at the codecs and levels that the peers have by default. They see the whole tar, so ours does, too, but for
/// its 8 MiB of kernel, which becomes a file of its own.
fn squashfs(work: &Path, moby: &str) {
    let tar = inputs::tar(work, 500);
    let tar = tar.display();
    for (codec, level) in [("gzip", 9), ("zstd", 15), ("lz4", 1)] {
        let options = format!("squashfs_compression={codec},squashfs_level={level}");
        let ours = format!("{moby} -q convert {tar} -f kernel+squashfs --opt {options} --name ours --dir .");
        let extracted = format!(
            "rm -rf x && mkdir x && tar -xf {tar} -C x && mksquashfs x peer.img -comp {codec} -noappend -quiet -no-progress && rm -rf x"
        );
        let streamed = format!("sqfstar -comp {codec} -force -quiet -no-progress peer.img <{tar}");
        race(
            work,
            &format!("squashfs {codec}, 500 MiB tar"),
            &[
                ("moby", ours, "ours-squashfs.img"),
                ("tar -x, mksquashfs", extracted, "peer.img"),
                ("sqfstar", format!("rm -f peer.img && {streamed}"), "peer.img"),
            ],
        );
    }
}

/// `mkfs.erofs` of this Debian takes a directory, not a tar.
fn erofs(work: &Path, moby: &str) {
    let tar = inputs::tar(work, 500);
    let tar = tar.display();
    for (codec, options) in [("none", ""), ("lz4", "-zlz4 -C65536"), ("lz4hc", "-zlz4hc -C65536")] {
        let ours = format!("{moby} -q convert {tar} -f kernel+erofs --opt erofs_compression={codec} --name ours --dir .");
        let extracted = format!(
            "rm -rf x peer.img && mkdir x && tar -xf {tar} -C x --exclude 'boot/*' && mkfs.erofs --quiet {options} peer.img x && rm -rf x"
        );
        race(
            work,
            &format!("erofs {codec}, 500 MiB tar"),
            &[("moby", ours, "ours-erofs.img"), ("tar -x, mkfs.erofs", extracted, "peer.img")],
        );
    }
}

/// Runs each command in turns and prints a row for each; the first is ours.
fn race(work: &Path, what: &str, runners: &[(&str, String, &str)]) {
    let mut best = vec![(Cost::WORST, 0); runners.len()];
    for _ in 0..ROUNDS {
        for ((_, command, output), best) in runners.iter().zip(&mut best) {
            let output = work.join(output);
            if output.exists() {
                fs::remove_file(&output).expect("the output goes away");
            }
            best.0 = best.0.or_better(measure(work, command));
            best.1 = fs::metadata(&output).map_or(0, |m| m.len());
        }
    }
    let ours = best[0].0;
    for ((name, ..), (cost, size)) in runners.iter().zip(&best) {
        let mib = *size as f64 / f64::from(1 << 20);
        println!(
            "| {what} | {name} | {:.2} | {:.2} | {:.0} | {:.2} | {:.2} | {mib:.1} |",
            cost.wall,
            cost.cpu,
            cost.memory,
            cost.wall / ours.wall,
            cost.cpu / ours.cpu
        );
        report::record(report::Row { what: what.to_owned(), command: (*name).to_owned(), cost: *cost, size: *size });
    }
}

/// Runs a shell command once.
fn measure(work: &Path, command: &str) -> Cost {
    let report = work.join("cost");
    let status = Command::new("time")
        .args(["-f", "%e %U %S %M", "-o"])
        .arg(&report)
        .args(["bash", "-o", "pipefail", "-c", command])
        .current_dir(work)
        .status()
        .expect("GNU time is installed by tests/setup.sh");
    assert!(status.success(), "failed: {command}");
    let text = fs::read_to_string(&report).expect("GNU time reports");
    let numbers: Vec<f64> = text.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    Cost { wall: numbers[0], cpu: numbers[1] + numbers[2], memory: numbers[3] / 1024.0 }
}
