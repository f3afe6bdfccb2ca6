//! Files that hold the same bytes, found without reading those that cannot be equal: first by length, then by a digest of
//! their beginnings, then by one of everything.

use crate::{Blob, Result, parallel, units};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, hash::Hash, num::NonZeroUsize};

/// How much of the beginning is compared first.
const BEGINNING: u64 = 4 * units::KIB;
/// How much is read at once.
const PIECE: u64 = 256 * units::KIB;

/// For each body, the first one that holds the same: itself, unless it is a duplicate.
///
/// # Errors
/// When a body cannot be read.
pub(super) fn firsts(bodies: &[&Blob], threads: NonZeroUsize) -> Result<Vec<usize>> {
    let len = |n: usize| bodies[n].len();
    let same_len = groups(0..bodies.len(), |n| len(*n)).concat();
    let begin = |n: usize| Ok((n, digest(&bodies[n].slice(0..len(n).min(BEGINNING)))?));
    let begins = parallel::map(threads, same_len, begin)?;
    let same_begin = groups(begins, |(n, digest)| (len(*n), *digest)).concat();
    // What is no longer than a beginning was compared whole.
    let whole = |(n, begin)| Ok((n, if len(n) <= BEGINNING { begin } else { digest(bodies[n])? }));
    let wholes = parallel::map(threads, same_begin, whole)?;
    let mut firsts: Vec<usize> = (0..bodies.len()).collect();
    for group in groups(wholes, |(n, digest)| (len(*n), *digest)) {
        for (n, _) in &group {
            firsts[*n] = group[0].0;
        }
    }
    Ok(firsts)
}

/// The items that share a key with another, in groups; groups and members in the order of the items.
fn groups<T, K: Hash + Eq>(items: impl IntoIterator<Item = T>, key: impl Fn(&T) -> K) -> Vec<Vec<T>> {
    let mut numbers: HashMap<K, usize> = HashMap::new();
    let mut groups: Vec<Vec<T>> = Vec::new();
    for item in items {
        let number = *numbers.entry(key(&item)).or_insert(groups.len());
        match groups.get_mut(number) {
            Some(group) => group.push(item),
            None => groups.push(vec![item]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

/// A digest of the data and of where it is; gaps are not read.
fn digest(body: &Blob) -> Result<[u8; 32]> {
    let mut digest = Sha256::new();
    let mut buffer = Vec::new();
    for run in body.data_units(BEGINNING) {
        let run = run.start * BEGINNING..(run.end * BEGINNING).min(body.len());
        digest.update(run.start.to_le_bytes());
        digest.update(run.end.to_le_bytes());
        let mut at = run.start;
        while at < run.end {
            buffer.resize(units::index(PIECE.min(run.end - at)), 0);
            body.read_at(at, &mut buffer)?;
            digest.update(&buffer);
            at += units::bytes(buffer.len());
        }
    }
    Ok(digest.finalize().into())
}
