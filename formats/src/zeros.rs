//! Finding zeros: a disk that somebody else made may hold zeros as data.

use crate::{Blob, Env, Result, parallel, units};
use std::ops::Range;

/// Bytes that one worker looks at in one go.
const STRIDE: u64 = 4 << 20;
/// Bytes that it reads at a time: they are still in the processor's cache when they are looked at.
const PIECE: u64 = 128 << 10;

/// The same bytes with every whole unit (of `unit` bytes, a power of two up to 128 KiB) of zeros turned into a gap.
///
/// All data is read once, on all cores.
///
/// # Errors
/// When the data cannot be read.
pub fn drop_zeros(blob: &Blob, unit: u64, env: &Env) -> Result<Blob> {
    assert!(unit.is_power_of_two() && unit <= PIECE, "units of {unit} bytes");
    let strides = blob.data_units(STRIDE).flatten().map(|n| n * STRIDE..((n + 1) * STRIDE).min(blob.len()));
    let work = |stride: Range<u64>| {
        let runs = data_runs(blob, &stride, unit)?;
        env.progress.advance(stride.end - stride.start);
        Ok(runs)
    };
    let mut sparse = Blob::default();
    parallel::ordered(env.threads, strides.map(Ok), work, |runs| {
        for run in runs {
            sparse.extend_to(run.start);
            sparse.append(&blob.slice(run));
        }
        Ok(())
    })?;
    sparse.extend_to(blob.len());
    Ok(sparse)
}

/// The runs of units inside `stride` that hold anything but zeros.
fn data_runs(blob: &Blob, stride: &Range<u64>, unit: u64) -> Result<Vec<Range<u64>>> {
    let mut buffer = vec![0; units::index(PIECE)];
    let mut runs: Vec<Range<u64>> = Vec::new();
    let mut at = stride.start;
    while at < stride.end {
        let bytes = &mut buffer[..units::index(PIECE.min(stride.end - at))];
        blob.read_at(at, bytes)?;
        for unit in bytes.chunks(units::index(unit)) {
            let end = at + units::bytes(unit.len());
            match runs.last_mut() {
                _ if is_zero(unit) => {}
                Some(last) if last.end == at => last.end = end,
                _ => runs.push(at..end),
            }
            at = end;
        }
    }
    Ok(runs)
}

/// Whether all bytes are 0.
pub fn is_zero(bytes: &[u8]) -> bool {
    // Wide words, combined before the test: the compiler makes vector instructions of it.
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0) && rest.iter().all(|byte| *byte == 0)
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
        let sparse = drop_zeros(&blob, 4096, &env()).unwrap();
        assert_eq!(sparse.to_vec(1 << 23).unwrap(), blob.to_vec(1 << 23).unwrap());
        assert_eq!(sparse.data_len(), 4096 + 100);
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
