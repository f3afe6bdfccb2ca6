//! `check` of qcow2 before another judge: `qemu-img check` says of a mutant that it is sound, leaks or is corrupt, or it cannot say.
//!
//! We say the same; what it does not open or cannot check we call corrupt or name as unsupported. Where we find more by decision,
//! [`DECISIONS`] says why.

use crate::{
    corpus::{Image, Random},
    mutants,
};
use formats::{Blob, Env, Kind};
use std::{collections::BTreeMap, fs, path::Path, process::Command};

/// What we find and `qemu-img` does not: a part of our words, and why.
const DECISIONS: &[(&str, &str)] = &[
    ("marked corrupt", "an image is marked so that nobody writes to it: that is a finding"),
    ("deflate data", "a packed cluster that does not unpack is lost data; qemu-img does not look"),
    ("zstd data", "a packed cluster that does not unpack is lost data; qemu-img does not look"),
    ("two structures use byte", "one cluster in two places of one state: a write to the one would change the other"),
    ("past the end of the file", "data that ends with the file inside of a cluster: qemu-img reads zeros, which nobody wrote"),
    ("L1 entries, must be", "a snapshot whose table is too short for its disk: it cannot be read"),
    ("a multiple of 8", "the specification wants the header's length to be one; qemu-img does not look"),
    ("encrypted", "what is encrypted is not read, and so not checked"),
];

/// Exit codes of both.
const SOUND: i32 = 0;
const CORRUPT: i32 = 2;
const LEAKS: i32 = 3;
const GIVES_UP: i32 = 1;
const NOT_SUPPORTED: i32 = 63;

/// Compares, and gives the number of mutants that are judged differently without a decision.
pub(crate) fn compare(corpus: &[Image], mutants: u64, mut random: Random) -> u64 {
    let images: Vec<_> = corpus.iter().filter(|image| image.format.name() == "qcow2" && image.beside.pieces.is_empty()).collect();
    let desk = tempfile::tempdir().expect("a temporary directory");
    let file = desk.path().join("file");
    let mut tally: BTreeMap<(i32, i32), u64> = BTreeMap::new();
    let mut decided: BTreeMap<&str, u64> = BTreeMap::new();
    let mut finds = 0;
    for turn in 0..mutants {
        let image = images[random.below(images.len())];
        let (mutant, _) = mutants::mutated(image, &mut random);
        let bytes = mutant.to_vec(u64::MAX).expect("it is in memory");
        fs::write(&file, &bytes).expect("the temporary directory can be written");
        let (ours, messages) = our_verdict(image, &mutant);
        let theirs = their_verdict(&file);
        *tally.entry((ours, theirs)).or_default() += 1;
        let agree = ours == theirs || theirs == GIVES_UP && [CORRUPT, NOT_SUPPORTED].contains(&ours);
        if agree {
            continue;
        }
        let decision = |message: &String| DECISIONS.iter().find(|(words, _)| message.contains(words));
        let found: Vec<_> = messages.iter().filter(|message| !message.contains("is leaked")).collect();
        if let (false, Some(reasons)) = (found.is_empty(), found.into_iter().map(decision).collect::<Option<Vec<_>>>()) {
            reasons.into_iter().for_each(|(words, _)| *decided.entry(words).or_default() += 1);
            continue;
        }
        finds += 1;
        let path = format!("judged-{}-{turn}", image.name);
        println!("{path}: {ours}, qemu-img {theirs}: {messages:?}");
        fs::write(path, bytes).expect("the directory can be written");
    }
    for ((ours, theirs), count) in tally {
        println!("{count:>7} mutants: we say {ours}, qemu-img {theirs}");
    }
    for (words, reason) in DECISIONS {
        println!("{:>7} decided: '{words}': {reason}", decided.get(words).unwrap_or(&0));
    }
    println!("{mutants} mutants, {finds} judged differently");
    finds
}

fn our_verdict(image: &Image, mutant: &Blob) -> (i32, Vec<String>) {
    match image.format.check(mutant, &mut Env::scratch(1)) {
        Ok(check) if check.corruptions > 0 => (CORRUPT, check.messages),
        Ok(check) if check.leaks > 0 => (LEAKS, check.messages),
        Ok(check) => (SOUND, check.messages),
        Err(error) if error.kind() == Kind::Unsupported => (NOT_SUPPORTED, vec![error.to_string()]),
        Err(error) => (GIVES_UP, vec![error.to_string()]),
    }
}

fn their_verdict(file: &Path) -> i32 {
    let output = Command::new("qemu-img").args(["check", "-q", "-f", "qcow2"]).arg(file).output().expect("qemu-img can be run");
    output.status.code().unwrap_or(GIVES_UP)
}
