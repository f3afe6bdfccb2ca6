//! Mutants that we read, before another judge: `qemu-img` refuses them or reads the same bytes.
//!
//! Known differences: `qemu-img` takes the size of a VHD by an unknown creator from its geometry, and does not look at the bitmaps of
//! its blocks, which say what is zeros. What is behind the last whole sector of a disk it leaves out, which is not counted.

use crate::{
    corpus::{Image, Random},
    mutants,
};
use formats::{Blob, Format, units::MIB};
use std::{collections::BTreeMap, fs, path::Path, process::Command};

/// Larger disks are left out: `qemu-img` would take long.
const DISK_MAX: u64 = 64 * MIB;

/// Compares, and gives the number of mutants that are read differently.
pub(crate) fn compare(corpus: &[Image], mutants: u64, mut random: Random) -> u64 {
    let images: Vec<_> = corpus.iter().filter(|image| image.format.name() != "raw" && image.beside.pieces.is_empty()).collect();
    let desk = tempfile::tempdir().expect("a temporary directory");
    let [file, raw] = ["file", "raw"].map(|name| desk.path().join(name));
    let mut tallies: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
    let mut refusals: BTreeMap<String, u64> = BTreeMap::new();
    for turn in 0..mutants {
        let image = images[random.below(images.len())];
        let (mutant, beside) = mutants::mutated(image, &mut random);
        let tally = tallies.entry(image.format.name()).or_default();
        tally[0] += 1;
        let Some(disk) = fuzz::decode_as(image.format, &mutant, &beside).filter(|disk| disk.len() <= DISK_MAX) else { continue };
        tally[1] += 1;
        let bytes = |blob: &Blob| blob.to_vec(u64::MAX).expect("it is in memory");
        fs::write(&file, bytes(&mutant)).expect("the temporary directory can be written");
        match converted(image.format, &file, &raw) {
            Err(refusal) => *refusals.entry(format!("{} {refusal}", image.format.name())).or_default() += 1,
            Ok(theirs) => {
                tally[2] += 1;
                let ours = bytes(&disk.slice(0..disk.len() / 512 * 512));
                if ours != theirs {
                    tally[3] += 1;
                    let at = ours.iter().zip(&theirs).position(|(a, b)| a != b);
                    let path = format!("differs-{}-{}-{turn}", image.format.name(), image.name);
                    println!("{path}: {} bytes, qemu-img {}; differ at {at:?}", ours.len(), theirs.len());
                    fs::write(path, bytes(&mutant)).expect("the directory can be written");
                }
            }
        }
    }
    for (refusal, count) in refusals {
        println!("{count:>7} refused: {refusal}");
    }
    for (format, [all, ours, both, differ]) in &tallies {
        println!("{format:8} {all:>7} mutants, we read {ours:>7}, qemu-img {both:>7} of these, {differ} differently");
    }
    tallies.values().map(|tally| tally[3]).sum()
}

/// The disk as `qemu-img` reads it, or why not, without what is special to this file.
fn converted(format: &dyn Format, file: &Path, raw: &Path) -> Result<Vec<u8>, String> {
    let qemu = *format.aliases().first().unwrap_or(&format.name());
    if format.name() == "vhdx" {
        // It reads no file whose log was not written back.
        let mut repair = Command::new("qemu-img");
        repair.args(["check", "-q", "-r", "all", "-f", qemu]).arg(file).output().expect("qemu-img can be run");
    }
    let mut command = Command::new("qemu-img");
    command.args(["convert", "-f", qemu, "-O", "raw"]).args([file, raw]);
    let output = command.output().expect("qemu-img can be run");
    if output.status.success() {
        return Ok(fs::read(raw).expect("what qemu-img wrote"));
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let text = text.replace(&file.display().to_string(), "FILE");
    Err(text.chars().filter(|c| !c.is_ascii_digit()).take(150).collect::<String>().replace('\n', " "))
}
