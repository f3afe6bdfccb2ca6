//! The committed EFI loader on disks that sgdisk, mkfs.vfat and mtools wrote, with the committed test kernel; and the test kernel
//! by itself, started by QEMU.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::support::qemu::{Board, Bus, Console, Firmware, Machine};
use crate::support::{scratch, text, tools};

const LOADER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/boot/prebuilt/bootx64.efi");
const KERNEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/boot/prebuilt/testkernel.bzimage");
const CMDLINE: &str = r#"console=ttyS0 a="b c" %s \n"#;

/// What QEMU exits with when the test kernel found no fault.
const NO_FAULT: i32 = 33;

/// A disk with one partition, the ESP, made by foreign tools.
struct Esp {
    dir: PathBuf,
    disk: PathBuf,
}

impl Esp {
    /// With the loader, the kernel, and an entry that names `initrds` files, which are not there yet.
    fn new(name: &str, options: &str, initrds: usize) -> Self {
        let dir = scratch(&format!("boot-efi-{name}"));
        let disk = dir.join("disk.img");
        let esp = Self { dir, disk };
        let disk = text(&esp.disk);
        fs::File::create(&esp.disk).unwrap().set_len(68 << 20).unwrap();
        tools::run("sgdisk", ["-n", "1:2048:+66M", "-t", "1:EF00", disk]);
        tools::run("mkfs.vfat", ["-F", "32", "-s", "1", "--offset", "2048", disk, "67584"]);
        esp.mtools("mmd", &["::/EFI", "::/EFI/BOOT", "::/loader", "::/loader/entries", "::/moby"]);
        esp.copy(Path::new(LOADER), "/EFI/BOOT/BOOTX64.EFI");
        esp.copy(Path::new(KERNEL), "/moby/vmlinuz");
        let initrds: String = (0..initrds).map(|n| format!("initrd /moby/initrd{n}.img\n")).collect();
        esp.write("/loader/entries/moby.conf", format!("title test\nlinux /moby/vmlinuz\n{initrds}options {options}\n").as_bytes());
        esp
    }

    fn mtools(&self, program: &str, arguments: &[&str]) -> String {
        let volume = format!("{}@@1M", text(&self.disk));
        tools::run(program, ["-i", &volume].iter().chain(arguments))
    }

    fn copy(&self, from: &Path, to: &str) {
        self.mtools("mcopy", &["-o", text(from), &format!("::{to}")]);
    }

    fn write(&self, to: &str, bytes: &[u8]) {
        let file = self.dir.join("file");
        fs::write(&file, bytes).unwrap();
        self.copy(&file, to);
    }

    fn delete(&self, path: &str) {
        self.mtools("mdel", &[&format!("::{path}")]);
    }

    /// Ends the cluster chain of a file in its middle, in both FATs; its directory entry keeps the size.
    fn cut_chain(&self, path: &str) {
        // "::/moby/initrd0.img <1234-5678>"
        let shown = self.mtools("mshowfat", &[&format!("::{path}")]);
        let clusters = shown.split_once('<').and_then(|(_, rest)| rest.split_once('>')).expect("a run of clusters").0;
        let (first, last) = clusters.split_once('-').expect("more than one cluster");
        let middle = first.parse::<u64>().unwrap().midpoint(last.parse().unwrap());
        let disk = fs::File::options().read(true).write(true).open(&self.disk).unwrap();
        let mut boot_sector = [0; 512];
        disk.read_exact_at(&mut boot_sector, 1 << 20).unwrap();
        let reserved = u64::from(u16::from_le_bytes([boot_sector[14], boot_sector[15]]));
        let fat_len = u64::from(u32::from_le_bytes(boot_sector[36..40].try_into().unwrap()));
        for fat in 0..2 {
            let at = (1 << 20) + (reserved + fat * fat_len) * 512 + middle * 4;
            disk.write_all_at(&0x0fff_ffffu32.to_le_bytes(), at).unwrap();
        }
    }

    fn machine(&self, board: Board, bus: Bus) -> Machine {
        Machine::new(board, Firmware::Ovmf4M).memory(256).disk(bus, &self.disk, "raw")
    }

    /// Boots a disk that cannot be booted, up to the last line of the loader.
    fn refused(&self) -> Console {
        self.machine(Board::Q35, Bus::VirtioBlk).run_until("moby: restarting in 30 s, or at a key").refuse("TESTKERNEL")
    }
}

/// `len` bytes without a pattern.
fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..len).map(step).collect()
}

/// The test kernel's line about an initrd of these bytes; the checksum is gzip's, from the end of its file.
fn initrd_line(bytes: &[u8]) -> String {
    let zipped = tools::finish_with(tools::tool("gzip").arg("-1c"), bytes).success().stdout;
    let crc = zipped[zipped.len() - 8..].first_chunk().copied().map(u32::from_le_bytes).unwrap();
    format!("TESTKERNEL initrd {} bytes crc32 {crc:08x} at ", bytes.len())
}

#[test]
fn the_test_kernel_reports_what_qemu_hands_it() {
    let dir = scratch("boot-efi-direct");
    let (initrd, bytes) = (dir.join("initrd"), noise(1, 1_000_003));
    fs::write(&initrd, &bytes).unwrap();
    for (machine, firmware, verdict) in
        [(Machine::bios(), "bios", "TESTKERNEL zero-page ok"), (Machine::uefi(), "efi", "TESTKERNEL hand-over ok")]
    {
        let console = machine.direct(Path::new(KERNEL), &initrd, CMDLINE).run().exited(NO_FAULT);
        let console = console.expect(&format!("TESTKERNEL firmware {firmware}\n")).expect(&format!("TESTKERNEL cmdline [{CMDLINE}"));
        console.expect(&initrd_line(&bytes)).expect(verdict).expect("TESTKERNEL done");
    }
}

#[test]
fn several_initrds_arrive_whole_in_order_and_aligned() {
    let esp = Esp::new("initrds", CMDLINE, 3);
    let mut all = Vec::new();
    for (n, len) in [1_234_567, 33, 3_000_000].into_iter().enumerate() {
        let part = noise(u32::try_from(n).unwrap(), len);
        esp.write(&format!("/moby/initrd{n}.img"), &part);
        all.extend(part);
        all.resize(all.len().next_multiple_of(4), 0);
    }
    for (board, bus) in [(Board::Pc, Bus::VirtioBlk), (Board::Q35, Bus::Nvme)] {
        let console = esp.machine(board, bus).run().exited(NO_FAULT).expect("moby loader (UEFI)");
        let console = console.expect(&format!("TESTKERNEL cmdline [{CMDLINE}]\n")).expect(&initrd_line(&all));
        console.expect("TESTKERNEL hand-over ok");
    }
}

#[test]
fn an_entry_without_initrd_boots() {
    let esp = Esp::new("no-initrd", "quiet", 0);
    let console = esp.machine(Board::Q35, Bus::VirtioBlk).run().exited(NO_FAULT);
    console.expect("TESTKERNEL initrd none").expect("TESTKERNEL cmdline [quiet]");
}

#[test]
fn the_longest_command_line_arrives_and_a_longer_one_is_refused() {
    let esp = Esp::new("cmdline", &"y".repeat(2047), 0);
    let console = esp.machine(Board::Q35, Bus::VirtioBlk).run().exited(NO_FAULT);
    console.expect(&format!("TESTKERNEL cmdline [{}]", "y".repeat(2047)));
    let esp = Esp::new("cmdline-too-long", &"y".repeat(2048), 0);
    esp.refused().expect("moby: cannot boot: options: too long: 2048 bytes, the kernel takes 2047");
}

#[test]
fn entries_for_other_machines_are_passed_over() {
    let esp = Esp::new("architecture", "ours", 0);
    esp.write("/loader/entries/z-newer.conf", b"sort-key a\nversion 9\narchitecture aa64\nlinux /moby/vmlinuz\noptions theirs\n");
    let console = esp.machine(Board::Q35, Bus::VirtioBlk).run().exited(NO_FAULT);
    console.expect("TESTKERNEL cmdline [ours]");
    esp.delete("/loader/entries/moby.conf");
    esp.refused().expect("moby: cannot boot: boot entry: boot entry is for another architecture");
}

#[test]
fn a_missing_entry_is_named() {
    let esp = Esp::new("no-entry", "x", 0);
    esp.delete("/loader/entries/moby.conf");
    esp.refused().expect("moby: cannot boot: /loader/entries: no entry in /loader/entries");
}

#[test]
fn a_missing_kernel_is_named() {
    let esp = Esp::new("no-kernel", "x", 0);
    esp.delete("/moby/vmlinuz");
    esp.refused().expect("moby: cannot boot: /moby/vmlinuz: file not found");
}

#[test]
fn a_kernel_that_is_none_is_named() {
    let esp = Esp::new("not-a-kernel", "x", 0);
    esp.write("/moby/vmlinuz", &noise(7, 100_000));
    esp.refused().expect("moby: cannot boot: /moby/vmlinuz: not an x86 Linux kernel (bzImage)");
    esp.write("/moby/vmlinuz", &fs::read(KERNEL).unwrap()[..20_000]);
    esp.refused().expect("moby: cannot boot: /moby/vmlinuz: kernel cut short: 20000 bytes, not ");
}

#[test]
fn an_initrd_missing_or_truncated_is_named() {
    let esp = Esp::new("initrd", "x", 1);
    esp.refused().expect("moby: cannot boot: /moby/initrd0.img: file not found");
    esp.write("/moby/initrd0.img", &noise(3, 5_000_000));
    esp.cut_chain("/moby/initrd0.img");
    esp.refused().expect("moby: cannot boot: /moby/initrd0.img: file system damaged (FAT chain broken, truncated)");
}

#[test]
fn too_little_memory_is_said() {
    let esp = Esp::new("memory", "x", 1);
    esp.write("/moby/initrd0.img", &noise(4, 50_000_000));
    let console = esp.machine(Board::Pc, Bus::VirtioBlk).memory(100).run_until("moby: restarting in 30 s");
    console.expect("moby: cannot boot: not enough memory: kernel needs 32 MiB, initrd 48 MiB").refuse("TESTKERNEL");
}
