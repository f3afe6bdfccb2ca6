//! Golden files: the structures of one small disk in every container as text, and the checksum of every byte.
//!
//! They move only when what we write moves; the commit that moves them says why. `MOBY_BLESS=1` writes them anew.

use crate::support::{CASES, Case, noise};
use formats::{Blob, dump::Dump, units::MIB};
use sha2::{Digest, Sha256};
use std::{env::var_os, fmt::Write, fs, path::PathBuf};

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden")
}

/// Text, noise, and a gap before the last byte.
fn disk() -> Blob {
    let mut disk = Blob::zeros(9 * MIB);
    disk.splice(0, &Blob::bytes(b"all work and no play makes a dull disk\n".repeat(4_000)));
    disk.splice(5 * MIB - 700, &Blob::bytes(noise(100_000, 11)));
    disk.splice(9 * MIB - 1, &Blob::bytes([1]));
    disk
}

/// `qcow2,compressed=on,cluster_size=512`
fn name(case: &Case) -> String {
    let options = case.options.iter().fold(String::new(), |mut text, (key, value)| {
        write!(text, ",{key}={value}").unwrap();
        text
    });
    format!("{}{options}", case.format)
}

#[test]
fn every_container_is_as_it_was() {
    let bless = var_os("MOBY_BLESS").is_some();
    let (mut sums, mut moved) = (String::new(), Vec::new());
    let mut check = |file: String, text: &str| {
        let path = golden().join(&file);
        if bless {
            fs::write(&path, text).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != text {
            moved.push(file);
        }
    };
    for case in CASES {
        let file = case.encode(&disk(), 2);
        let mut dump = Dump::new();
        case.format().dump(&file, &mut dump).unwrap();
        assert!(case.decode(&file, 1).unwrap().to_vec(u64::MAX).unwrap() == disk().to_vec(u64::MAX).unwrap());
        check(format!("{}.dump", name(case)), &dump.finish());
        let sum = Sha256::digest(file.to_vec(u64::MAX).unwrap()).iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        });
        writeln!(sums, "{sum}  {}", name(case)).unwrap();
    }
    check("SHA256SUMS".to_owned(), &sums);
    assert!(moved.is_empty(), "golden files that no longer hold: {moved:?}; if that is meant, MOBY_BLESS=1 writes them");
}
