//! The images that are mutated: small ones in every sub-format that `qemu-img` writes.

use formats::{Format, units};
use std::{fs, path::Path, process::Command};

/// Our name of the format, a name, and how a shell makes `image`, and sometimes `beside`, of `disk`.
const CORPUS: &[(&str, &str, &str)] = &[
    ("qcow2", "v3", "$convert -O qcow2 disk image"),
    ("qcow2", "v2-512", "$convert -O qcow2 -o compat=0.10,cluster_size=512 disk image"),
    ("qcow2", "extended", "$convert -O qcow2 -o cluster_size=16K,extended_l2=on disk image; qemu-io -c 'write -z 8k 1k' image"),
    ("qcow2", "refcount-1", "$convert -O qcow2 -o cluster_size=4K,refcount_bits=1,preallocation=metadata disk image"),
    ("qcow2", "zlib", "$convert -c -O qcow2 -o cluster_size=4K disk image"),
    ("qcow2", "zstd", "$convert -c -O qcow2 -o cluster_size=4K,compression_type=zstd disk image"),
    (
        "qcow2",
        "snapshots",
        "$convert -O qcow2 -o cluster_size=4K disk image; qemu-img snapshot -c one image; qemu-io -c 'write -z 0 2k' image
         qemu-img snapshot -c two image; qemu-io -c 'write -P 7 100k 9k' image; qemu-img bitmap --add --enable image bitmap
         qemu-io -c 'write -P 8 200k 9k' image",
    ),
    (
        "qcow2",
        "packed-snapshots",
        "$convert -c -O qcow2 -o cluster_size=4K,refcount_bits=64 disk image; qemu-img snapshot -c one image
         qemu-io -c 'write -P 7 100k 9k' image; qemu-img bitmap --add image bitmap",
    ),
    (
        "qcow2",
        "extended-snapshots",
        "$convert -O qcow2 -o cluster_size=16K,extended_l2=on disk image; qemu-img snapshot -c one image; qemu-io -c 'write -z 8k 1k' image
         qemu-io -c 'write -P 7 100k 3k' image",
    ),
    (
        "qcow2",
        "overlay",
        "$convert -O raw disk beside; qemu-img create -q -f qcow2 -o cluster_size=4K -F raw -b beside image
         qemu-io -c 'write -z 0 8k' -c 'write -P 3 100k 5k' image",
    ),
    (
        "qcow2",
        "data-file",
        "qemu-img create -q -f qcow2 -o cluster_size=4K,data_file=beside,data_file_raw=on image 1M
         $convert -n -O qcow2 disk image",
    ),
    ("vhd", "fixed", "$convert -O vpc -o subformat=fixed,force_size=on disk image"),
    ("vhd", "dynamic", "$convert -O vpc -o subformat=dynamic disk image"),
    ("vhd", "dynamic-large", "qemu-img resize -q -f raw disk 9M; $convert -O vpc -o subformat=dynamic,force_size=on disk image"),
    ("vhdx", "dynamic", "$convert -O vhdx -o subformat=dynamic disk image"),
    ("vhdx", "no-zero", "$convert -O vhdx -o subformat=dynamic,block_size=1M,block_state_zero=off disk image"),
    ("vhdx", "fixed", "$convert -O vhdx -o subformat=fixed,block_size=1M disk image"),
    ("vhdx", "two-chunks", "qemu-img resize -q -f raw disk 5G; $convert -O vhdx -o block_size=16M disk image"),
    ("vhdx", "log", "$convert -O vhdx -o block_size=1M disk image"),
    ("vmdk", "sparse", "$convert -O vmdk -o subformat=monolithicSparse disk image"),
    (
        "vmdk",
        "zeroed-grain",
        "$convert -O vmdk -o subformat=monolithicSparse,zeroed_grain=on disk image; qemu-io -f vmdk -c 'write -z 64k 64k' image",
    ),
    ("vmdk", "stream", "$convert -O vmdk -o subformat=streamOptimized disk image"),
    ("vmdk", "flat", "$convert -O vmdk -o subformat=monolithicFlat disk image; mv image-flat beside"),
    ("vmdk", "split", "$convert -O vmdk -o subformat=twoGbMaxExtentSparse disk image; mv image-s001 beside"),
    ("vdi", "dynamic", "$convert -O vdi -o static=off disk image"),
    ("vdi", "static", "qemu-img resize -q -f raw disk 5M; $convert -O vdi -o static=on disk image"),
    ("qed", "plain", "$convert -O qed -o cluster_size=4K,table_size=2 disk image; qemu-io -f qed -c 'write -z 8k 8k' image"),
    (
        "qed",
        "overlay",
        "$convert -O raw disk beside; qemu-img create -q -f qed -o cluster_size=4K,table_size=2 -F raw -b beside image
         qemu-io -f qed -c 'write -z 0 8k' -c 'write -P 3 100k 5k' image",
    ),
    ("parallels", "ext", "$convert -O parallels -o cluster_size=64K disk image"),
    ("parallels", "tracks-63", "$convert -O parallels -o cluster_size=32256 disk image"),
    ("raw", "raw", "cp disk image"),
];

/// An image, and the other file that it names.
pub(crate) struct Image {
    pub(crate) name: &'static str,
    pub(crate) format: &'static dyn Format,
    pub(crate) file: Sparse,
    pub(crate) beside: Sparse,
}

/// A file without its zeros: pieces of whole sectors, where they are not.
#[derive(Clone)]
pub(crate) struct Sparse {
    pub(crate) len: u64,
    pub(crate) pieces: Vec<(u64, Vec<u8>)>,
}

impl Sparse {
    fn new(bytes: &[u8]) -> Self {
        let mut pieces: Vec<(u64, Vec<u8>)> = Vec::new();
        for (number, sector) in bytes.chunks(512).enumerate().filter(|(_, sector)| sector.iter().any(|byte| *byte != 0)) {
            let at = units::bytes(number) * 512;
            match pieces.last_mut() {
                Some((start, piece)) if *start + units::bytes(piece.len()) == at => piece.extend(sector),
                _ => pieces.push((at, sector.to_vec())),
            }
        }
        Self { len: units::bytes(bytes.len()), pieces }
    }
}

/// Marsaglia's xorshift64: the same finds every time.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % units::bytes(bound.max(1))).expect("below a usize")
    }
}

/// Makes the images that are not there yet, and reads them all.
pub(crate) fn all() -> Vec<Image> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    CORPUS.iter().map(|(format, name, script)| image(&directory, format, name, script)).collect()
}

fn image(directory: &Path, format: &str, name: &'static str, script: &str) -> Image {
    let desk = directory.join(format!("{format}-{name}"));
    if !desk.join("image").exists() {
        fs::create_dir_all(&desk).expect("a directory for the image");
        fs::write(desk.join("disk"), disk()).expect("the corpus can be written");
        let script = format!("set -e; cd \"$0\"; convert='qemu-img convert -f raw'\n{script}");
        let output = Command::new("sh").args(["-c", &script]).arg(&desk).output().expect("sh and qemu-img can be run");
        assert!(output.status.success(), "{format} {name}: {output:?}");
    }
    let mut bytes = fs::read(desk.join("image")).expect("what was just made");
    if (format, name) == ("vhdx", "log") {
        add_log(&mut bytes);
    }
    let beside = fs::read(desk.join("beside")).unwrap_or_default();
    Image { name, format: formats::format(format).expect("a format of ours"), file: Sparse::new(&bytes), beside: Sparse::new(&beside) }
}

/// One MiB with something at the start and something in the middle.
fn disk() -> Vec<u8> {
    let mut disk = vec![0; 1 << 20];
    disk[..3000].fill(0x41);
    let noise = (0..3000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
    disk[600_000..603_000].copy_from_slice(&noise.collect::<Vec<_>>());
    disk
}

/// Bytes of a sector of a VHDX log.
const LOG_SECTOR: u64 = 4096;

/// Leaves two entries in the log of a VHDX, as a program does that dies: [MS-VHDX] 2.3.1.
fn add_log(file: &mut [u8]) {
    const GUID: &[u8; 16] = b"the guid of logs";
    let le = |value: usize| units::bytes(value).to_le_bytes();
    let number = |file: &[u8], at: usize| u64::from_le_bytes(*file[at..].first_chunk().expect("a header"));
    let (log, file_len) = (units::index(number(file, 65_536 + 72)), file.len());
    let block = file_len - (1 << 20);
    for (sequence, at, zero_at, data_at) in [(8_u64, 8192, block + 8192, block + 4096), (9, 16_384, block + 4096, block)] {
        let mut entry = [b"loge\0\0\0\0", &le(8192)[..4], &le(8192)[..4]].concat();
        entry.extend([sequence.to_le_bytes(), le(2)].concat());
        entry.extend([GUID.as_slice(), &le(file_len), &le(file_len)].concat());
        entry.extend([b"desc".as_slice(), &[b'B'; 12], &le(data_at), &sequence.to_le_bytes()].concat());
        entry.extend([b"zero\0\0\0\0".as_slice(), &le(4096), &le(zero_at), &sequence.to_le_bytes()].concat());
        entry.resize(units::index(LOG_SECTOR), 0);
        entry.extend([b"data\0\0\0\0".as_slice(), &[b'B'; 4084], &sequence.to_le_bytes()[..4]].concat());
        let checksum = crc32c::crc32c(&entry);
        entry[4..8].copy_from_slice(&checksum.to_le_bytes());
        file[log + at..log + at + entry.len()].copy_from_slice(&entry);
    }
    for header in [65_536, 131_072] {
        let header = &mut file[header..header + 4096];
        header[48..64].copy_from_slice(GUID);
        header[4..8].fill(0);
        let checksum = crc32c::crc32c(header);
        header[4..8].copy_from_slice(&checksum.to_le_bytes());
    }
}
