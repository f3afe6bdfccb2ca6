//! Mutants of images, and the checksums that make a share of them look whole.

use crate::corpus::{Image, Random, Sparse};
use formats::{Blob, units};

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

/// A mutant of an image and of the file beside it, of one of the two.
pub(crate) fn mutated(image: &Image, random: &mut Random) -> (Blob, Blob) {
    let (mut file, mut beside) = (image.file.clone(), image.beside.clone());
    let is_beside = !beside.pieces.is_empty() && random.below(3) == 0;
    mutate(if is_beside { &mut beside } else { &mut file }, random);
    if random.below(4) > 0 {
        match image.format.name() {
            "vhd" => file.pieces.iter_mut().for_each(|(_, bytes)| seal_vhd(bytes)),
            "vhdx" => seal_vhdx(&mut file),
            _ => {}
        }
    }
    let mut file = blob(file);
    match random.below(40) {
        0 => file = file.slice(0..random.next() % (file.len() + 1)),
        1 => file.extend_to(file.len() + random.next() % 100_000),
        _ => {}
    }
    (file, blob(beside))
}

fn blob(sparse: Sparse) -> Blob {
    let mut blob = Blob::default();
    for (at, bytes) in sparse.pieces {
        blob.extend_to(at);
        blob.append(&Blob::bytes(bytes));
    }
    blob.extend_to(sparse.len);
    blob
}

fn mutate(file: &mut Sparse, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let chosen = random.below(file.pieces.len());
        // A word from anywhere: what is right elsewhere is most plausible here.
        let donor = &file.pieces[random.below(file.pieces.len())].1;
        let near = [64, 4096][random.below(2)];
        let from = random.below(donor.len().min(near)) & !3;
        let word: Vec<u8> = donor[from..].iter().copied().take([4, 8][random.below(2)]).collect();
        let bytes = &mut file.pieces[chosen].1;
        // The beginnings of pieces are headers and tables.
        let reach = if random.below(2) == 0 { bytes.len().min(128) } else { bytes.len() };
        let at = random.below(reach);
        let len = [4, 8][random.below(2)];
        let aligned = at / len * len;
        match random.below(8) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next().to_le_bytes()[0],
            2 | 3 if aligned + len <= bytes.len() => {
                let value = INTERESTING[random.below(INTERESTING.len())];
                let big = random.below(2) == 0;
                let encoded = if big { value.to_be_bytes()[8 - len..].to_vec() } else { value.to_le_bytes()[..len].to_vec() };
                bytes[aligned..aligned + len].copy_from_slice(&encoded);
            }
            4 => {
                let (from, len) = (random.below(bytes.len()), random.below(32));
                let len = len.min(bytes.len() - from).min(bytes.len() - at);
                bytes.copy_within(from..from + len, at);
            }
            5 | 6 if aligned + word.len() <= bytes.len() => bytes[aligned..aligned + word.len()].copy_from_slice(&word),
            _ => bytes[at] = bytes[at].wrapping_add([1, 255, 2, 8, 16][random.below(5)]),
        }
    }
}

/// What means something in a yml, in JSON, in a tar or in an archive of them.
const WORDS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"'",
    b": ",
    b"- ",
    b"\n",
    b"\t",
    b"\r\n",
    b"  ",
    b"&a ",
    b"*a",
    b"!!binary ",
    b"| ",
    b"> ",
    b"? ",
    b"#",
    b"%",
    b"---\n",
    b"...",
    b"<<: ",
    b"null",
    b"~",
    b"1e99",
    b"-1",
    b"18446744073709551616",
    b"0x7f",
    b"true",
    b"../",
    b"/",
    b".wh.",
    b".wh..wh..opq",
    b"\0",
    b"\x1b[2J",
    b"\xff",
    b"\xe2\x80\xae",
    b"@pkg:",
    b"sha256:",
    b"\\u0000",
];

/// One change, of those that binaries and texts break by; `donor` is another input of the same kind.
pub(crate) fn splice(bytes: &mut Vec<u8>, donor: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let reach = [4, 64, 1024][random.below(3)];
    let end = (at + random.below(reach)).min(bytes.len());
    match random.below(9) {
        0 => drop(bytes.drain(at..end)),
        1 => bytes.truncate(at),
        2 => {
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        3 | 4 => {
            let word = WORDS[random.below(WORDS.len())];
            bytes.splice(at..at, word.iter().copied().cycle().take(word.len() * [1, 1, 1, 2, 400][random.below(5)]));
        }
        5 => {
            let from = random.below(donor.len() + 1);
            let to = (from + random.below(512)).min(donor.len());
            bytes.splice(at..at, donor[from..to].iter().copied());
        }
        6 if at + 8 <= bytes.len() => {
            let value = INTERESTING[random.below(INTERESTING.len())];
            let octal = format!("{value:011o}\0");
            match random.below(3) {
                0 => bytes[at..at + 8].copy_from_slice(&value.to_le_bytes()),
                1 => bytes[at..at + 4].copy_from_slice(&value.to_be_bytes()[4..]),
                // Numbers of tar stand at multiples of four behind the beginning of a block.
                _ if at / 4 * 4 + 12 <= bytes.len() => {
                    bytes[at / 4 * 4..at / 4 * 4 + 12].copy_from_slice(&octal.as_bytes()[octal.len() - 12..])
                }
                _ => {}
            }
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
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

/// Makes the checksums of a VHDX's headers, region tables and log entries right.
fn seal_vhdx(file: &mut Sparse) {
    let structures = file.pieces.iter().filter_map(|(at, bytes)| match bytes.first_chunk()? {
        b"head" => Some((*at, 4096)),
        b"regi" => Some((*at, 65_536)),
        b"loge" => Some((*at, u64::from(u32::from_le_bytes(bytes[8..].first_chunk().copied()?)))),
        _ => None,
    });
    for (at, len) in structures.collect::<Vec<_>>() {
        if len <= 1 << 20 {
            seal(file, at, units::index(len));
        }
    }
}

/// Puts the CRC-32C of a structure into its bytes 4 to 7.
fn seal(file: &mut Sparse, at: u64, len: usize) {
    let mut structure = vec![0; len];
    for (start, bytes) in &file.pieces {
        let (Some(skip), true) = (start.checked_sub(at), *start < at + units::bytes(len)) else { continue };
        let skip = units::index(skip);
        let len = bytes.len().min(structure.len() - skip);
        structure[skip..skip + len].copy_from_slice(&bytes[..len]);
    }
    if let (Some(checksum), Some((_, piece))) = (structure.get_mut(4..8), file.pieces.iter_mut().find(|(start, _)| *start == at)) {
        checksum.fill(0);
        piece[4..8].copy_from_slice(&crc32c::crc32c(&structure).to_le_bytes());
    }
}
