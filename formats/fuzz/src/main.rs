//! A deterministic mutator on stable Rust: `cargo run --release -- --executions 1000000 [--seed N]`.
//!
//! The corpus is made by `qemu-img`, small images in every sub-format; what is mutated is mostly what is not zero. Half of the mutated
//! VHDs get their checksums right again, else nothing behind these would be reached. A find is written beside the program and named.

use formats::{Blob, FORMATS, Format};
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

/// Longest time for one execution.
const PATIENCE: Duration = Duration::from_secs(10);

/// qemu's name of a format, ours, options.
const CORPUS: &[(&str, &str, &str)] = &[
    ("qcow2", "qcow2", "compat=1.1"),
    ("qcow2", "qcow2", "compat=0.10,cluster_size=512"),
    ("qcow2", "qcow2", "cluster_size=16K,extended_l2=on"),
    ("qcow2", "qcow2", "cluster_size=4K,refcount_bits=1,preallocation=metadata"),
    ("qcow2 -c", "qcow2", "cluster_size=4K"),
    ("qcow2 -c", "qcow2", "cluster_size=4K,compression_type=zstd"),
    ("vpc", "vhd", "subformat=fixed,force_size=on"),
    ("vpc", "vhd", "subformat=dynamic"),
    ("vhdx", "vhdx", "subformat=dynamic"),
    ("vhdx", "vhdx", "subformat=dynamic,block_size=1M,block_state_zero=off"),
    ("vmdk", "vmdk", "subformat=monolithicSparse"),
    ("vmdk", "vmdk", "subformat=monolithicSparse,zeroed_grain=on"),
    ("vmdk", "vmdk", "subformat=streamOptimized"),
    ("vdi", "vdi", "static=off"),
    ("vdi", "vdi", "static=on"),
    ("raw", "raw", ""),
];

/// An image, without its zeros.
struct Image {
    name: String,
    format: &'static dyn Format,
    len: u64,
    pieces: Vec<(u64, Vec<u8>)>,
}

/// Marsaglia's xorshift64: the same finds every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).expect("small")).expect("below a usize")
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut executions, mut seed) = (100_000_u64, 1_u64);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|text| text.parse().ok());
        match (name.as_str(), value) {
            ("--executions", Some(value)) => executions = value,
            ("--seed", Some(value)) => seed = value,
            _ => {
                eprintln!("usage: mutate [--executions N] [--seed N]");
                return ExitCode::FAILURE;
            }
        }
    }
    run(executions, seed)
}

fn run(executions: u64, seed: u64) -> ExitCode {
    let corpus = corpus();
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (since, mut finds) = (Instant::now(), 0);
    for turn in 0..executions {
        let began = Instant::now();
        let (name, result) = if turn % 64 == 0 {
            let bytes: Vec<u8> = (0..random.below(120)).flat_map(|_| random.next().to_le_bytes()).collect();
            ("encode".to_owned(), catch_unwind(AssertUnwindSafe(|| fuzz::encode(&bytes))).map_err(|_| bytes))
        } else {
            let image = &corpus[random.below(corpus.len())];
            let file = mutated(image, &mut random);
            // Now and then in the eyes of a format that it is not of.
            let format = if turn % 50 == 1 { FORMATS[random.below(FORMATS.len())] } else { image.format };
            let result = catch_unwind(AssertUnwindSafe(|| fuzz::decode_as(format, &file)));
            (image.name.clone(), result.map_err(|_| file.to_vec(u64::MAX).expect("it is in memory")))
        };
        if began.elapsed() > PATIENCE {
            println!("turn {turn}, {name}: {:?}", began.elapsed());
            finds += 1;
        }
        if let Err(bytes) = result {
            let path = format!("find-{seed}-{turn}");
            println!("turn {turn}, {name}: a panic; the input is in {path}");
            fs::write(path, bytes).expect("the directory can be written");
            finds += 1;
        }
        if turn % 100_000 == 99_999 {
            println!("{} executions, {finds} finds, {:.0} s", turn + 1, since.elapsed().as_secs_f64());
        }
    }
    println!("{executions} executions, seed {seed}, {finds} finds, {:.0} s", since.elapsed().as_secs_f64());
    if finds == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Makes the images that are not there yet, and reads them all.
fn corpus() -> Vec<Image> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    fs::create_dir_all(&directory).expect("a directory for the corpus");
    let raw = directory.join("disk.raw");
    let mut disk = vec![0; 1 << 20];
    disk[..3000].fill(0x41);
    disk[600_000..603_000].copy_from_slice(&(0..3000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect::<Vec<_>>());
    fs::write(&raw, disk).expect("the corpus can be written");
    let image = |(qemu, ours, options): &(&str, &str, &str)| {
        let path = directory.join(format!("{qemu}-{options}").replace([' ', ',', '='], "-"));
        if !path.exists() {
            let mut command = Command::new("qemu-img");
            command.args(["convert", "-f", "raw", "-O"]).args(qemu.split(' '));
            if !options.is_empty() {
                command.args(["-o", options]);
            }
            let status = command.arg(&raw).arg(&path).status().expect("qemu-img can be run");
            assert!(status.success(), "{command:?}");
        }
        let bytes = fs::read(&path).expect("what was just made");
        let format = formats::format(ours).expect("a format of ours");
        Image { name: format!("{qemu} {options}"), format, len: formats::units::bytes(bytes.len()), pieces: pieces(&bytes) }
    };
    CORPUS.iter().map(image).collect()
}

/// The parts of a file that are not zeros, in units of 512 bytes, and a little of what follows each.
fn pieces(bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut pieces: Vec<(u64, Vec<u8>)> = Vec::new();
    for (number, sector) in bytes.chunks(512).enumerate() {
        if sector.iter().all(|byte| *byte == 0) {
            continue;
        }
        let at = formats::units::bytes(number) * 512;
        match pieces.last_mut() {
            Some((start, piece)) if *start + formats::units::bytes(piece.len()) == at => piece.extend(sector),
            _ => pieces.push((at, sector.to_vec())),
        }
    }
    pieces
}

const INTERESTING: &[u64] = &[
    0,
    1,
    2,
    3,
    7,
    8,
    9,
    16,
    20,
    21,
    22,
    63,
    64,
    255,
    256,
    511,
    512,
    513,
    4095,
    4096,
    65_535,
    65_536,
    1 << 20,
    1 << 21,
    1 << 30,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    1 << 40,
    1 << 56,
    1 << 62,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 511,
    u64::MAX - 1,
    u64::MAX,
];

fn mutated(image: &Image, random: &mut Random) -> Blob {
    let mut pieces = image.pieces.clone();
    for _ in 0..=random.below(4) {
        let chosen = random.below(pieces.len());
        let bytes = &mut pieces[chosen].1;
        // The beginnings of pieces are headers and tables.
        let reach = if random.below(2) == 0 { bytes.len().min(128) } else { bytes.len() };
        let at = random.below(reach);
        let word = [4, 8][random.below(2)];
        let aligned = at / word * word;
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next().to_le_bytes()[0],
            2 | 3 if aligned + word <= bytes.len() => {
                let value = INTERESTING[random.below(INTERESTING.len())];
                let big = random.below(2) == 0;
                let encoded = if big { value.to_be_bytes()[8 - word..].to_vec() } else { value.to_le_bytes()[..word].to_vec() };
                bytes[aligned..aligned + word].copy_from_slice(&encoded);
            }
            4 => {
                let (from, len) = (random.below(bytes.len()), random.below(32));
                let len = len.min(bytes.len() - from).min(bytes.len() - at);
                bytes.copy_within(from..from + len, at);
            }
            _ => bytes[at] = bytes[at].wrapping_add([1, 255][random.below(2)]),
        }
    }
    if image.format.name() == "vhd" && random.below(2) == 0 {
        pieces.iter_mut().for_each(|(_, bytes)| seal_vhd(bytes));
    }
    let mut file = Blob::zeros(image.len);
    for (at, bytes) in pieces {
        let len = formats::units::bytes(bytes.len()).min(image.len - at);
        file.splice(at, &Blob::bytes(bytes).slice(0..len));
    }
    match random.below(40) {
        0 => file.slice(0..random.next() % (image.len + 1)),
        1 => {
            file.extend_to(image.len + random.next() % 100_000);
            file
        }
        _ => file,
    }
}

/// Makes the checksums of a VHD's footers and dynamic headers right.
fn seal_vhd(bytes: &mut [u8]) {
    for (cookie, len, at) in [(b"conectix", 512, 64), (b"cxsparse", 1024, 36)] {
        for start in (0..bytes.len()).step_by(512) {
            if bytes[start..].starts_with(cookie) && bytes.len() >= start + len {
                let structure = &mut bytes[start..start + len];
                structure[at..at + 4].fill(0);
                let sum = !structure.iter().map(|byte| u32::from(*byte)).sum::<u32>();
                structure[at..at + 4].copy_from_slice(&sum.to_be_bytes());
            }
        }
    }
}
