//! Where two blobs differ, without looking at what both leave out.

use crate::{Blob, Env, Result, Stage, parallel, units};
use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

/// Data is looked at in whole pieces of this size, so that small gaps cost nothing.
const UNIT: u64 = 64 * units::KIB;
/// Most bytes that one worker compares in one go.
const STRIDE: u64 = units::MIB;

/// Offset of the first byte in which two blobs differ. A shorter one counts as if zeros followed it.
///
/// # Errors
/// When the data cannot be read.
pub fn first_difference(a: &Blob, b: &Blob, env: &Env) -> Result<Option<u64>> {
    let len = a.len().max(b.len());
    let pad = |blob: &Blob| {
        let mut padded = blob.clone();
        padded.extend_to(len);
        padded
    };
    let (a, b) = (pad(a), pad(b));
    // Strides are drawn in order: once one differs, all before it are at work, and none behind it can be the first.
    let first = AtomicU64::new(u64::MAX);
    let stage = Stage::new(&*env.progress, strides(&a, &b).map(|stride| stride.end - stride.start).sum());
    let strides = strides(&a, &b).take_while(|_| first.load(Ordering::Relaxed) == u64::MAX);
    let work = |stride: Range<u64>| {
        if let Some(at) = difference(&a, &b, &stride)? {
            first.fetch_min(at, Ordering::Relaxed);
        }
        stage.advance(stride.end - stride.start);
        Ok(())
    };
    parallel::ordered(env.threads, strides.map(Ok), work, |()| Ok(()))?;
    stage.finish();
    Ok(Some(first.into_inner()).filter(|at| *at != u64::MAX))
}

/// Whether two blobs have the same length and the same bytes. Tells nobody about progress, and works on one core: for small ones.
///
/// # Errors
/// When the data cannot be read.
pub fn same(a: &Blob, b: &Blob) -> Result<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for stride in strides(a, b) {
        if difference(a, b, &stride)?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The parts of two blobs of one length where either has data, in order.
fn strides(a: &Blob, b: &Blob) -> impl Iterator<Item = Range<u64>> + Send {
    let mut runs: Vec<_> = a.data_units(UNIT).chain(b.data_units(UNIT)).collect();
    runs.sort_unstable_by_key(|run| run.start);
    let (len, mut runs, mut at) = (a.len(), runs.into_iter(), 0..0);
    std::iter::from_fn(move || {
        while at.is_empty() {
            let run = runs.next()?;
            // What an earlier run of the other blob covered is done.
            at = (run.start * UNIT).max(at.end)..(run.end * UNIT).min(len).max(at.end);
        }
        let stride = at.start..at.end.min(at.start + STRIDE);
        at.start = stride.end;
        Some(stride)
    })
}

fn difference(a: &Blob, b: &Blob, stride: &Range<u64>) -> Result<Option<u64>> {
    let read = |blob: &Blob| {
        let mut bytes = vec![0; units::index(stride.end - stride.start)];
        blob.read_at(stride.start, &mut bytes).map(|()| bytes)
    };
    let (a, b) = (read(a)?, read(b)?);
    if a == b {
        return Ok(None);
    }
    let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    Ok(Some(stride.start + units::bytes(same)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::env;
    use proptest::prelude::*;

    #[test]
    fn zeros_and_gaps_are_the_same_and_so_is_a_missing_tail_of_zeros() {
        let mut a = Blob::zeros(5 * units::MIB);
        a.splice(units::MIB, &Blob::bytes(vec![0; 300_000]));
        let b = Blob::zeros(7 * units::MIB + 5);
        assert_eq!(first_difference(&a, &b, &env()).unwrap(), None);
        assert_eq!(first_difference(&b, &a, &env()).unwrap(), None);
        let mut c = b.clone();
        c.splice(7 * units::MIB, &Blob::bytes(vec![0, 0, 1]));
        assert_eq!(first_difference(&a, &c, &env()).unwrap(), Some(7 * units::MIB + 2));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn the_first_of_many_is_found(at in prop::collection::vec(0u64..3_000_000, 1..6), gap in 0u64..1_000_000) {
            let mut bytes = vec![7; 1_500_000];
            bytes.resize(3_000_000, 0);
            let mut other = bytes.clone();
            for at in &at {
                other[units::index(*at)] ^= 1;
            }
            let mut a = Blob::zeros(gap);
            a.append(&Blob::bytes(bytes));
            let mut b = Blob::zeros(gap);
            b.append(&Blob::bytes(other.as_slice()));
            let changed = (0..).zip(a.to_vec(u64::MAX).unwrap()).zip(b.to_vec(u64::MAX).unwrap()).find(|((_, a), b)| a != b);
            prop_assert_eq!(first_difference(&a, &b, &env()).unwrap(), changed.map(|((at, _), _)| at));
        }
    }
}
