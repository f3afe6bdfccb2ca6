//! From power-on to the kernel's first line: our loaders against syslinux and systemd-boot, with the same kernel and initrd.

use super::{Cost, ROUNDS, report};
use crate::support::{
    guest,
    qemu::{Bus, Machine},
    tools::run,
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

/// What every Linux prints first.
const FIRST_LINE: &str = "Linux version";
const CMDLINE: &str = "console=ttyS0";

pub fn race(work: &Path, moby: &str) {
    println!("\n| to the kernel's first line | loader | s | ours = 1 |");
    println!("|---|---|---|---|");
    for mib in [5, 200] {
        let ours = our_disk(work, moby, mib);
        let [kernel, initrd] = ["kernel", "initrd.img"].map(|part| work.join(format!("boot{mib}-{part}")));
        let peers =
            [("BIOS", "syslinux", syslinux(work, &kernel, &initrd)), ("UEFI", "systemd-boot", systemd_boot(work, &kernel, &initrd))];
        for (firmware, name, peer) in peers {
            let mut best = [f64::INFINITY; 2];
            for _ in 0..ROUNDS {
                for (disk, best) in [&ours, &peer].into_iter().zip(&mut best) {
                    *best = best.min(seconds(firmware, disk));
                }
            }
            for (name, time) in ["moby", name].into_iter().zip(best) {
                let (what, cost) = (format!("{firmware}, {mib} MiB initrd"), Cost { wall: time, ..Cost::WORST });
                report::record(report::Row { what, command: name.to_owned(), cost, size: 0 });
                println!("| {firmware}, {mib} MiB initrd | {name} | {time:.2} | {:.2} |", time / best[0]);
            }
        }
    }
}

fn seconds(firmware: &str, disk: &Path) -> f64 {
    let machine = if firmware == "BIOS" { Machine::bios() } else { Machine::uefi() };
    let machine = machine.memory(1024).disk(Bus::VirtioBlk, disk, "raw");
    let since = Instant::now();
    machine.run_until(FIRST_LINE).expect(FIRST_LINE);
    since.elapsed().as_secs_f64()
}

/// Our disk, and the same kernel and initrd as files for the others.
fn our_disk(work: &Path, moby: &str, mib: u64) -> PathBuf {
    let tar = work.join(format!("boot{mib}.tar"));
    guest::write_tagged_tar(&tar, guest::Arch::Amd64, mib).expect("a tar");
    let [tar, dir] = [&tar, work].map(|path| path.to_str().expect("UTF-8"));
    run(moby, ["-q", "convert", tar, "--dir", dir, "--cmdline", CMDLINE, "-f", "raw,kernel+initrd"]);
    work.join(format!("boot{mib}.img"))
}

/// A disk of one FAT partition at 1 MiB, made as its users make one, with these files.
fn fat_disk(work: &Path, name: &str, kind: &str, files: &[(&str, &Path)]) -> PathBuf {
    let path = work.join(format!("{name}.img"));
    let size: u64 = files.iter().map(|(_, file)| fs::metadata(file).expect("a file").len()).sum();
    fs::File::create(&path).expect("a file").set_len((size + (64 << 20)).next_multiple_of(1 << 20)).expect("a size");
    let disk = path.to_str().expect("UTF-8");
    run("sgdisk", ["-n", "1:2048:0", "-t", &format!("1:{kind}"), "-A", "1:set:2", disk]);
    let at = format!("{disk}@@1M");
    run("mformat", ["-i", &at, "-F", "-T", &((size >> 9) + 100_000).to_string(), "::"]);
    for directory in directories(files) {
        run("mmd", ["-i", &at, &format!("::/{directory}")]);
    }
    for (to, from) in files {
        run("mcopy", ["-i", &at, from.to_str().expect("UTF-8"), &format!("::/{to}")]);
    }
    path
}

/// The directories of these files, parents first.
fn directories(files: &[(&str, &Path)]) -> BTreeSet<String> {
    let above = |path: &str| path.match_indices('/').map(|(end, _)| path[..end].to_owned()).collect::<Vec<_>>();
    files.iter().flat_map(|(path, _)| above(path)).collect()
}

fn syslinux(work: &Path, kernel: &Path, initrd: &Path) -> PathBuf {
    let config = work.join("syslinux.cfg");
    fs::write(&config, format!("DEFAULT linux\nLABEL linux\nKERNEL /kernel\nINITRD /initrd.img\nAPPEND {CMDLINE}\n")).expect("a file");
    let name = format!("syslinux-{}", kernel.file_name().and_then(|n| n.to_str()).expect("UTF-8"));
    let path = fat_disk(work, &name, "8300", &[("kernel", kernel), ("initrd.img", initrd), ("syslinux.cfg", &config)]);
    let disk = path.to_str().expect("UTF-8");
    run("syslinux", ["--offset", "1048576", "--install", disk]);
    // Boots the GPT partition with the attribute "legacy BIOS bootable".
    run("dd", ["conv=notrunc", "bs=440", "count=1", "status=none", "if=/usr/lib/syslinux/mbr/gptmbr.bin", &format!("of={disk}")]);
    path
}

fn systemd_boot(work: &Path, kernel: &Path, initrd: &Path) -> PathBuf {
    let (config, entry) = (work.join("loader.conf"), work.join("linux.conf"));
    fs::write(&config, "timeout 0\n").expect("a file");
    fs::write(&entry, format!("title linux\nlinux /kernel\ninitrd /initrd.img\noptions {CMDLINE}\n")).expect("a file");
    let loader = Path::new("/usr/lib/systemd/boot/efi/systemd-bootx64.efi");
    let name = format!("systemd-{}", kernel.file_name().and_then(|n| n.to_str()).expect("UTF-8"));
    fat_disk(
        work,
        &name,
        "ef00",
        &[
            ("EFI/BOOT/BOOTX64.EFI", loader),
            ("loader/loader.conf", &config),
            ("loader/entries/linux.conf", &entry),
            ("kernel", kernel),
            ("initrd.img", initrd),
        ],
    )
}
