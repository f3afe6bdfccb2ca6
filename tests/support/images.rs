//! Images that our program made, and ways to spoil them.

use super::{
    guest::{self, Arch, Random},
    qemu::{Board, Bus, Firmware, Machine},
    scratch, text,
    tools::{self, finish, moby, run},
    ustar::{Kind, Ustar},
};
use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// The test kernel of `boot/testkernel`: it reports what its loader handed over.
pub fn test_kernel() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("boot/prebuilt/testkernel.bzimage")
}

/// QEMU's exit code when the test kernel found nothing wrong.
const TEST_KERNEL_PASSED: i32 = 33;

/// The command line of [`write_test_tar`]'s images.
pub const CMDLINE: &str = "moby.test=1 quiet";

/// As much of an x86_64 program as anybody looks at.
const PROGRAM: [u8; 20] = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0";

/// Writes a tagged tar with the test kernel and `random_mib` MiB that do not compress.
pub fn write_test_tar(to: &Path, random_mib: u64) {
    let mut tar = Ustar::new(BufWriter::new(File::create(to).expect("the scratch directory can be written")));
    let mut write = || {
        tar.entry("boot", 0o755, Kind::Directory)?;
        tar.entry("boot/kernel", 0o644, Kind::File(&fs::read(test_kernel())?))?;
        tar.entry("boot/cmdline", 0o644, Kind::File(CMDLINE.as_bytes()))?;
        tar.entry("init", 0o755, Kind::File(&PROGRAM))?;
        tar.entry("etc", 0o755, Kind::Directory)?;
        tar.entry("etc/hostname", 0o644, Kind::File(b"moby\n"))?;
        tar.stream("random", 0o644, random_mib << 20, &mut Random::new(random_mib << 20))
    };
    write().and_then(|()| tar.finish()?.flush()).unwrap_or_else(|error| panic!("{}: {error}", to.display()));
}

/// What [`Images::convert_to_containers`] makes: each file, and what QEMU calls its format.
pub const CONTAINERS: [(&str, &str); 7] = [
    ("guest.vhd", "vpc"),
    ("dynamic.vhd", "vpc"),
    ("guest.vhdx", "vhdx"),
    ("guest.vmdk", "vmdk"),
    ("sparse.vmdk", "vmdk"),
    ("guest.vdi", "vdi"),
    ("packed.qcow2", "qcow2"),
];

/// The outputs of one or more conversions of one tar, in a directory of their own.
pub struct Images {
    dir: PathBuf,
}

/// Every disk that one run can write side by side, and the payload by itself.
const EVERY_FORMAT: &str = "kernel+initrd,raw,qcow2,raw-bios,raw-efi,qcow2-efi";

impl Images {
    /// The test kernel with so much to check, uncompressed. `kernel+initrd` is among the formats.
    pub fn of_test_kernel(name: &str, random_mib: u64, formats: &str) -> Self {
        let images = Self { dir: scratch(name) };
        write_test_tar(&images.tar(), random_mib);
        images.convert(&["--format", formats, "--initrd-compression", "none"]);
        images
    }

    /// The test kernel with 5 MiB of random data as every disk; `bios.qcow2` is the one whose name would be the hybrid's.
    pub fn small(name: &str) -> Self {
        let images = Self::of_test_kernel(name, 5, EVERY_FORMAT);
        images.convert(&["--format", "qcow2-bios", "--name", "bios", "--initrd-compression", "none"]);
        images
    }

    /// What is in each of [`CONTAINERS`], with more arguments for all of them.
    pub fn convert_to_containers(&self, more: &[&str]) {
        let every: [&[&str]; 4] = [
            &["--format", "vhd,vhdx,vmdk,vdi"],
            &["--format", "dynamic-vhd", "--name", "dynamic"],
            &["--format", "vmdk", "--opt", "subformat=monolithicSparse", "--name", "sparse"],
            &["--format", "qcow2", "-c", "--opt", "compression_type=zstd", "--name", "packed"],
        ];
        every.into_iter().for_each(|arguments| self.convert(&[arguments, more].concat()));
    }

    /// A Debian guest for arm64 whose kernel has to be unpacked.
    pub fn of_debian_compressed(name: &str, formats: &str) -> Self {
        let kernel = scratch(&format!("{name}-kernel")).join("kernel.gz");
        run("sh", ["-c", "gzip -1 <\"$1\" >\"$2\"", "sh", text(&Arch::Arm64.debian("kernel")), text(&kernel)]);
        Self::of_debian(name, Arch::Arm64, 2, &["--format", formats, "--kernel", text(&kernel), "--arch", "arm64"])
    }

    /// A Debian guest, converted as the arguments say.
    pub fn of_debian(name: &str, arch: Arch, random_mib: u64, arguments: &[&str]) -> Self {
        let images = Self { dir: scratch(name) };
        guest::write_tagged_tar(&images.tar(), arch, random_mib).expect("the scratch directory can be written");
        images.convert(arguments);
        images
    }

    fn tar(&self) -> PathBuf {
        self.dir.join("guest.tar")
    }

    /// Converts the tar once more. Names are `guest…` unless the arguments say otherwise.
    pub fn convert(&self, arguments: &[&str]) {
        finish(moby().args(["convert", "--quiet", "--dir", text(&self.dir)]).args(arguments).arg(self.tar())).success();
    }

    /// An output by its file name.
    pub fn path(&self, name: &str) -> PathBuf {
        let path = self.dir.join(name);
        assert!(path.exists(), "{} was not made", path.display());
        path
    }

    /// Boots one output with the test kernel in it, which reports what it was handed.
    pub fn boots_test_kernel(&self, file: &str, format: &str, bus: Bus, machine: Machine) {
        machine
            .disk(bus, &self.path(file), format)
            .run()
            .expect(&format!("TESTKERNEL cmdline [{CMDLINE}]\n"))
            .expect(&self.initrd_line())
            .expect("TESTKERNEL done")
            .exited(TEST_KERNEL_PASSED);
    }

    /// Boots a CD with so many MiB of the test kernel on both firmwares.
    pub fn large_cd_boots(name: &str, random_mib: u64) {
        let images = Self::of_test_kernel(name, random_mib, "kernel+initrd,iso");
        for machine in [Machine::new(Board::Q35, Firmware::SeaBios), Machine::uefi()] {
            images.boots_test_kernel("guest.iso", "raw", Bus::Cd, machine.memory(1024));
        }
        images.remove();
    }

    /// Boots a unified kernel image with so many MiB of the test kernel.
    pub fn unified_boots(name: &str, random_mib: u64) {
        let images = Self::of_test_kernel(name, random_mib, "uki,kernel+initrd");
        let disk = disk_of_program(&images.path("guest.efi"), "BOOTX64.EFI");
        let console = Machine::uefi().memory(1536).disk(Bus::VirtioBlk, &disk, "raw").run().exited(TEST_KERNEL_PASSED);
        let console = console.expect(&format!("TESTKERNEL cmdline [{CMDLINE}]\n")).expect(&images.initrd_line());
        console.expect("TESTKERNEL hand-over ok");
        images.remove();
    }

    /// Boots one output of a Debian guest, which checks everything that it was given and finds this firmware.
    pub fn boots_debian(&self, file: &str, format: &str, bus: Bus, machine: Machine, firmware: &str) {
        let console = machine.disk(bus, &self.path(file), format).run_until("MOBY-MARKER-");
        console.expect("MOBY-MARKER-OK").expect(&format!("MOBY-FIRMWARE {firmware}\n"));
    }

    /// What the test kernel must say of its initrd.
    pub fn initrd_line(&self) -> String {
        let initrd = fs::read(self.path("guest-initrd.img")).expect("it can be read");
        format!("TESTKERNEL initrd {} bytes crc32 {:08x} ", initrd.len(), crc32fast::hash(&initrd))
    }

    /// A copy of the hybrid raw disk, to be changed.
    pub fn disk(&self, name: &str) -> Disk {
        let path = self.dir.join(name);
        run("cp", ["--sparse=always", text(&self.path("guest.img")), text(&path)]);
        Disk { path }
    }

    /// Gives the space back: for the big ones.
    pub fn remove(self) {
        fs::remove_dir_all(self.dir).expect("the scratch directory can be removed");
    }
}

/// A disk whose only file is an EFI program, where firmware looks for it.
pub fn disk_of_program(program: &Path, name: &str) -> PathBuf {
    let disk = program.with_extension("disk");
    let mib = fs::metadata(program).expect("the program exists").len().div_ceil(1 << 20) + 40;
    File::create(&disk).and_then(|file| file.set_len((mib + 2) << 20)).expect("the scratch directory can be written");
    run("sgdisk", ["-n", &format!("1:2048:+{mib}M"), "-t", "1:EF00", text(&disk)]);
    let volume = format!("{}@@1M", text(&disk));
    run("mkfs.vfat", ["-F", "32", "-s", "1", "--offset", "2048", text(&disk), &(mib << 10).to_string()]);
    run("mmd", ["-i", &volume, "::/EFI", "::/EFI/BOOT"]);
    run("mcopy", ["-i", &volume, text(program), &format!("::/EFI/BOOT/{name}")]);
    disk
}

/// First byte and bytes of the partition of a name, its number and its GUID.
pub fn partition(disk: &Path, name: &str) -> (u64, u64, String) {
    let table = run("sgdisk", ["-p", text(disk)]);
    let line = table.lines().find(|line| line.trim_end().ends_with(&format!("  {name}"))).unwrap_or_else(|| panic!("no {name}:\n{table}"));
    let column = |n: usize| line.split_whitespace().nth(n).expect("a column").parse::<u64>().expect("a number");
    let about = run("sgdisk", [&format!("-i{}", column(0)), text(disk)]);
    let guid = about.lines().find_map(|line| line.strip_prefix("Partition unique GUID: ")).expect("a GUID").to_lowercase();
    (column(1) * 512, (column(2) + 1 - column(1)) * 512, guid)
}

/// A raw disk of ours in the hands of a user with mtools, or of fate.
pub struct Disk {
    pub path: PathBuf,
}

/// What `loader/entries/moby.conf` says.
#[derive(Debug)]
pub struct Entry {
    pub linux: String,
    pub initrd: String,
    pub options: String,
}

const ENTRY: &str = "::/loader/entries/moby.conf";

impl Disk {
    /// Where the EFI system partition lies, in bytes, as sgdisk sees it.
    fn esp_range(&self) -> Range<u64> {
        let table = run("sgdisk", ["-p", text(&self.path)]);
        let line = table.lines().find(|line| line.split_whitespace().nth(5) == Some("EF00"));
        let sector = |column| line.and_then(|line| line.split_whitespace().nth(column)?.parse::<u64>().ok());
        match (sector(1), sector(2)) {
            (Some(first), Some(last)) => first * 512..(last + 1) * 512,
            _ => panic!("sgdisk sees no EFI system partition:\n{table}"),
        }
    }

    /// Where the EFI system partition starts, in bytes.
    pub fn esp(&self) -> u64 {
        self.esp_range().start
    }

    /// The EFI system partition's length in bytes.
    pub fn esp_len(&self) -> u64 {
        self.esp_range().end - self.esp()
    }

    /// The disk's EFI system partition, as mtools name it.
    fn drive(&self) -> String {
        format!("{}@@{}", text(&self.path), self.esp())
    }

    /// A file of the EFI system partition.
    pub fn read(&self, file: &str) -> Vec<u8> {
        finish(tools::tool("mtype").args(["-i", &self.drive(), &format!("::{file}")])).success().stdout
    }

    /// Puts a file on the EFI system partition in place of another.
    pub fn write(&self, file: &str, bytes: &[u8]) {
        let new = self.path.with_extension("new");
        fs::write(&new, bytes).expect("the scratch directory can be written");
        run("mcopy", ["-o", "-i", &self.drive(), text(&new), &format!("::{file}")]);
    }

    /// Deletes a file of the EFI system partition.
    pub fn delete(&self, file: &str) {
        run("mdel", ["-i", &self.drive(), &format!("::{file}")]);
    }

    /// The one boot entry.
    pub fn entry(&self) -> Entry {
        let text = String::from_utf8(self.read(&ENTRY[2..])).expect("a boot entry is UTF-8");
        let value = |key: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix([' ', '\t']));
            found.unwrap_or_else(|| panic!("the boot entry has no {key}:\n{text}")).trim().to_owned()
        };
        Entry { linux: value("linux"), initrd: value("initrd"), options: value("options") }
    }

    /// Edits the entry's command line as a user would.
    pub fn set_options(&self, options: &str) {
        let old = String::from_utf8(self.read(&ENTRY[2..])).expect("a boot entry is UTF-8");
        let lines = old.lines().map(|line| if line.starts_with("options") { format!("options {options}\n") } else { format!("{line}\n") });
        self.write(&ENTRY[2..], lines.collect::<String>().as_bytes());
    }

    pub fn delete_entry(&self) {
        self.delete(&ENTRY[2..]);
    }

    /// A copy with a bit changed at a byte of a partition.
    pub fn with_a_flipped_bit(&self, name: &str, at: u64) -> Self {
        let bad = Self { path: self.path.with_extension("bad") };
        fs::copy(&self.path, &bad.path).expect("the scratch directory can be written");
        let at = partition(&bad.path, name).0 + at;
        let mut byte = [0];
        File::open(&bad.path).and_then(|disk| disk.read_exact_at(&mut byte, at)).expect("the partition is there");
        bad.damage(at, &[byte[0] ^ 4]);
        bad
    }

    /// Overwrites bytes, as a failing disk does.
    pub fn damage(&self, at: u64, bytes: &[u8]) {
        let disk = File::options().write(true).open(&self.path).expect("the disk is ours");
        disk.write_all_at(bytes, at).expect("the disk can be written");
    }

    pub fn len(&self) -> u64 {
        fs::metadata(&self.path).expect("the disk exists").len()
    }

    /// Ends a file's cluster chain after its first cluster, in both copies of the FAT32.
    pub fn break_chain(&self, file: &str) {
        let shown = run("mshowfat", ["-i", &self.drive(), &format!("::{file}")]);
        let digits = shown.rsplit_once('<').expect("mshowfat shows clusters").1;
        let first: u64 = digits.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).expect("a cluster number");
        let esp = self.esp();
        let mut boot = [0; 512];
        File::open(&self.path).expect("the disk exists").read_exact_at(&mut boot, esp).expect("it has an ESP");
        let field = |at: usize, len: usize| boot[at..at + len].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let (sector, reserved, copies, fat_sectors) = (field(11, 2), field(14, 2), field(16, 1), field(36, 4));
        for copy in 0..copies {
            let fat = esp + (reserved + copy * fat_sectors) * sector;
            self.damage(fat + first * 4, &0x0fff_ffff_u32.to_le_bytes());
        }
    }
}
