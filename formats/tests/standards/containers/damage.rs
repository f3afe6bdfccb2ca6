//! Files of `qemu-img`, cut short and with bits turned over: an error or the right disk, as far as a format has the means to know.

use super::{
    decode::FOREIGN,
    follow::{Beside, qemu},
};
use crate::support::{Desk, decode, env, noise};
use formats::{Blob, Check, Error, Format, Info, Reading, dump::Dump, units};
use std::ops::Range;

/// A file, and the disk in it.
struct Fixture {
    name: String,
    format: &'static dyn Format,
    file: Vec<u8>,
    wanted: Vec<u8>,
}

fn small() -> Blob {
    let mut disk = Blob::zeros(3 * units::MIB);
    disk.splice(70_000, &Blob::bytes(noise(5_000, 3)));
    disk.splice(3 * units::MIB - 9, &Blob::bytes(*b"the end!!"));
    disk
}

/// A small disk in every foreign format, and packed.
fn fixtures() -> impl Iterator<Item = Fixture> {
    let plain = FOREIGN.iter().map(|foreign| {
        let desk = Desk::new();
        foreign.convert(&desk, &small());
        let all = |name| desk.get(name).to_vec(u64::MAX).unwrap();
        Fixture { name: foreign.name(), format: foreign.format(), file: all("foreign"), wanted: all("wanted") }
    });
    let packed = ["cluster_size=4K", "compression_type=zstd"].into_iter().map(|options| {
        let desk = Desk::new();
        desk.put("raw", &small());
        qemu(&desk, "qemu-img", &format!("convert -c -f raw -O qcow2 -o {options} raw foreign"));
        let all = |name| desk.get(name).to_vec(u64::MAX).unwrap();
        Fixture { name: format!("packed {options}"), format: formats::format("qcow2").unwrap(), file: all("foreign"), wanted: all("raw") }
    });
    plain.chain(packed)
}

/// Where to cut: all over, and near the ends.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    let all_over = (0..200).map(move |i| len * i / 200);
    let near_the_ends = (0..600).step_by(7).flat_map(move |i| [i, len.saturating_sub(i + 1)]);
    all_over.chain(near_the_ends).filter(move |cut| *cut < len)
}

#[test]
fn a_truncated_file_is_refused_or_read_right() {
    for Fixture { name, format, file, wanted } in fixtures() {
        for len in cuts(file.len()) {
            let cut = Blob::bytes(&file[..len]);
            let _: Result<bool, _> = format.probe(&cut);
            let _: Result<(), _> = format.dump(&cut, &mut Dump::new());
            let _: Result<Info, _> = format.info(&cut);
            if len % 5 == 0 {
                let _: Result<Check, _> = format.check(&cut, &mut env(1));
            }
            if let Ok(disk) = decode(format, &cut, 1) {
                assert!(disk.to_vec(u64::MAX).unwrap() == wanted, "{name} cut to {len} of {} bytes", file.len());
            }
        }
    }
}

/// Each of the files that make a disk, cut short. What a raw file lost, nobody can tell; so only those are cut whose lengths are said
/// elsewhere.
#[test]
fn a_truncated_part_is_refused_or_read_right() {
    let cases: [(&str, &str, &[&str]); 5] = [
        ("vmdk", "convert -f raw -O vmdk -o subformat=monolithicFlat raw image", &["image-flat"]),
        ("vmdk", "convert -f raw -O vmdk -o subformat=twoGbMaxExtentFlat raw image", &["image-f001"]),
        ("vmdk", "convert -f raw -O vmdk -o subformat=twoGbMaxExtentSparse raw image", &["image-s001"]),
        ("qcow2", "convert -f raw -O qcow2 -o data_file=data raw image", &["image"]),
        ("qcow2", "convert -f raw -O qcow2 -B base -F qcow2 raw image", &["image", "base"]),
    ];
    for (name, command, parts) in cases {
        let desk = Desk::new();
        desk.put("raw", &small());
        qemu(&desk, "qemu-img", "create -q -f qcow2 base 3M");
        qemu(&desk, "qemu-io", "-f qcow2 -c 'write -q -P 1 2M 64k' base");
        qemu(&desk, "qemu-img", command);
        let (format, beside) = (formats::format(name).unwrap(), Beside(&desk));
        let reading = Reading { parts: Some(&beside), ..Reading::default() };
        let decode = || -> Result<Vec<u8>, Error> { format.decode(&desk.get("image"), &reading, &mut env(1))?.to_vec(u64::MAX) };
        let wanted = decode().unwrap();
        for part in parts {
            let whole = Blob::from(desk.get(part).to_vec(u64::MAX).unwrap());
            for len in cuts(units::index(whole.len())).step_by(3) {
                desk.put(part, &whole.slice(0..units::bytes(len)));
                if let Ok(disk) = decode() {
                    assert!(disk == wanted, "{command}: {part} cut to {len} of {} bytes", whole.len());
                }
            }
            desk.put(part, &whole);
        }
    }
}

/// The parts of a file that something else in it vouches for: checksums, and copies of what has one.
fn vouched_for(format: &str, name: &str, file: &[u8]) -> Vec<Range<usize>> {
    const KIB: usize = 1 << 10;
    let footer = file.len() - 512..file.len();
    match format {
        "vhd" if name.contains("dynamic") => vec![0..1536, footer],
        "vhd" => vec![footer],
        "vhdx" => vec![64 * KIB..68 * KIB, 128 * KIB..132 * KIB, 192 * KIB..320 * KIB],
        // The first grain: its marker says which it is, its stream ends in a checksum.
        "vmdk" if name.contains("streamOptimized") => {
            let marker = (1..file.len() / 512).map(|sector| sector * 512).find(|at| file[*at..at + 8] == 128_u64.to_le_bytes());
            let marker = marker.unwrap();
            let size = u32::from_le_bytes(file[marker + 8..marker + 12].try_into().unwrap());
            let grain = marker..marker + 12 + usize::try_from(size).unwrap();
            vec![grain]
        }
        _ => Vec::new(),
    }
}

/// Of what nothing vouches for, anything may come (the fuzzer tries more of it), but never a panic, nor more than the file can have.
#[test]
fn flipped_bits_are_seen_where_they_can_be() {
    for Fixture { name, format, mut file, wanted } in fixtures() {
        let len = file.len();
        let used: Vec<usize> = (0..len).filter(|at| file[*at] != 0).collect();
        let step = used.len().div_ceil(40).max(1);
        let sure = vouched_for(format.name(), &name, &file);
        let places = used.into_iter().step_by(step).flat_map(|at| [at, at ^ 8]).filter(|at| *at < len);
        let more = sure.iter().flat_map(|range| range.clone().step_by((range.len() / 20).max(1))).collect::<Vec<_>>();
        for (turn, at) in places.chain(more).enumerate() {
            let bit = 1 << (turn % 8);
            file[at] ^= bit;
            let broken = Blob::bytes(file.as_slice());
            let _: Result<(), _> = format.dump(&broken, &mut Dump::new());
            let _: Result<Info, _> = format.info(&broken);
            if turn % 5 == 0 {
                let _: Result<Check, _> = format.check(&broken, &mut env(1));
            }
            if let Ok(disk) = decode(format, &broken, 1) {
                assert!(disk.data_len() <= 8 * units::MIB + units::bytes(len), "{name} byte {at}");
                let is_sure = sure.iter().any(|range| range.contains(&at));
                assert!(!is_sure || disk.to_vec(u64::MAX).unwrap() == wanted, "{name}: byte {at} makes another disk");
            }
            file[at] ^= bit;
        }
    }
}
