//! Finding zeros: a disk that somebody else made may hold zeros as data.

pub use crate::blob::is_zero;
use crate::{Blob, Env, Result, Stage, parallel, units};
use std::ops::Range;

/// Bytes that one worker looks at in one go.
const STRIDE: u64 = 4 << 20;
/// Bytes that it reads at a time: they are still in the processor's cache when they are looked at.
const PIECE: u64 = 128 << 10;

/// The unit of zeros that is worth a gap: a page, which is also what file systems allocate.
pub const UNIT: u64 = 4 << 10;

/// The same bytes with every whole [`UNIT`] of zeros turned into a gap.
///
/// All data is read once, on all cores, but for bytes of `seen`, which were looked at when they were made.
///
/// # Errors
/// When the data cannot be read.
pub fn drop_zeros(blob: &Blob, seen: &Blob, env: &Env) -> Result<Blob> {
    let (seen, blob) = blob.split_by(seen);
    let strides = || blob.data_units(STRIDE).flatten().map(|n| n * STRIDE..((n + 1) * STRIDE).min(blob.len()));
    let stage = Stage::new(&*env.progress, strides().map(|stride| stride.end - stride.start).sum());
    let work = |stride: Range<u64>| {
        let runs = stride_runs(&blob, &stride)?;
        stage.advance(stride.end - stride.start);
        Ok(runs)
    };
    let mut sparse = Blob::default();
    parallel::ordered(env.threads, strides().map(Ok), work, |runs| {
        for run in runs {
            sparse.extend_to(run.start);
            sparse.append(&blob.slice(run));
        }
        Ok(())
    })?;
    stage.finish();
    sparse.extend_to(blob.len());
    Ok(sparse.joined_with(&seen))
}

/// The runs of units inside `stride` that hold anything but zeros.
fn stride_runs(blob: &Blob, stride: &Range<u64>) -> Result<Vec<Range<u64>>> {
    let mut buffer = vec![0; units::index(PIECE)];
    let mut runs: Vec<Range<u64>> = Vec::new();
    for at in (stride.start..stride.end).step_by(units::index(PIECE)) {
        let bytes = &mut buffer[..units::index(PIECE.min(stride.end - at))];
        blob.read_at(at, bytes)?;
        for run in data_runs(bytes) {
            let run = at + run.start..at + run.end;
            match runs.last_mut() {
                Some(last) if last.end == run.start => last.end = run.end,
                _ => runs.push(run),
            }
        }
    }
    Ok(runs)
}

/// The runs of units of `bytes` that hold anything but zeros.
pub(crate) fn data_runs(bytes: &[u8]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for (start, unit) in (0..).step_by(units::index(UNIT)).zip(bytes.chunks(units::index(UNIT))) {
        let end = start + units::bytes(unit.len());
        match runs.last_mut() {
            _ if is_zero(unit) => {}
            Some(last) if last.end == start => last.end = end,
            _ => runs.push(start..end),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::env;

    #[test]
    fn whole_units_of_zeros_become_gaps() {
        let mut bytes = vec![0; 10 * 4096 + 100];
        bytes[4096 * 3 + 7] = 1;
        bytes[10 * 4096 + 99] = 1;
        let mut blob = Blob::zeros(3 << 20);
        blob.append(&Blob::bytes(bytes));
        let sparse = drop_zeros(&blob, &Blob::default(), &env()).unwrap();
        assert_eq!(sparse.to_vec(1 << 23).unwrap(), blob.to_vec(1 << 23).unwrap());
        assert_eq!(sparse.data_len(), 4096 + 100);
    }

    #[test]
    fn what_was_seen_is_not_looked_at_again() {
        let seen = Blob::bytes(vec![0; 2 * 4096]);
        let mut blob = Blob::bytes(vec![0; 100]);
        blob.append(&seen);
        blob.append(&Blob::bytes(vec![1; 4096]));
        blob.append(&Blob::bytes(vec![0; 2 * 4096]));
        let sparse = drop_zeros(&blob, &seen, &env()).unwrap();
        assert_eq!(sparse.to_vec(1 << 20).unwrap(), blob.to_vec(1 << 20).unwrap());
        assert_eq!(sparse.data_len(), 2 * 4096 + 4096 + 100 + 3996 - 100);
    }

    #[test]
    fn any_set_bit_is_seen() {
        for at in [0, 63, 64, 127, 199] {
            let mut bytes = [0; 200];
            bytes[at] = 0x80;
            assert!(!is_zero(&bytes), "{at}");
        }
        assert!(is_zero(&[0; 200]));
    }
}
