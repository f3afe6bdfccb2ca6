//! Finding zeros: a disk that somebody else made may hold zeros as data.

pub use crate::blob::is_zero;
use crate::{Blob, Env, Result, Stage, blob::Source, parallel, units};
use std::ops::Range;

/// Bytes that one worker looks at in one go.
const STRIDE: u64 = 4 << 20;
/// Bytes that it reads at a time: they are still in the processor's cache when they are looked at.
const PIECE: u64 = 128 << 10;
/// Bytes of a larger unit that are looked at first, and how many times as many are looked at next: what is in use seldom begins with zeros.
const FIRST: u64 = 512;
const GROWTH: u64 = 8;

/// The unit of zeros that is worth a gap: a page, which is also what file systems allocate.
pub const UNIT: u64 = 4 << 10;

/// The same bytes with every whole [`UNIT`] of zeros turned into a gap.
///
/// All data is read once, on all cores, but for bytes of `seen`, which were looked at when they were made.
///
/// # Errors
/// When the data cannot be read.
pub fn drop_zeros(blob: &Blob, seen: &Blob, env: &Env) -> Result<Blob> {
    drop_units(blob, seen, UNIT, env)
}

/// The same on this thread, for a piece that is not large.
///
/// # Errors
/// When the data cannot be read.
pub fn drop_here(piece: &Blob) -> Result<Blob> {
    let mut sparse = Blob::default();
    for run in stride_runs(piece, &(0..piece.len()))? {
        sparse.extend_to(run.start);
        sparse.append(&piece.slice(run));
    }
    sparse.extend_to(piece.len());
    Ok(sparse)
}

/// The same for whole units of so many bytes, a power of two: of a unit that holds something often its first bytes alone are read.
///
/// # Errors
/// When the data cannot be read.
pub fn drop_units(blob: &Blob, seen: &Blob, unit: u64, env: &Env) -> Result<Blob> {
    let (seen, blob) = blob.split_by(seen);
    let strides = || blob.data_units(STRIDE).flatten().map(|n| n * STRIDE..((n + 1) * STRIDE).min(blob.len()));
    let stage = Stage::new(&*env.progress, strides().map(|stride| stride.end - stride.start).sum());
    // What is elsewhere is not fetched in crumbs.
    let is_here = |stride: &Range<u64>| !blob.slice(stride.clone()).extents().iter().any(|e| matches!(e.source, Source::Elsewhere { .. }));
    let work = |stride: Range<u64>| {
        let runs =
            if unit > UNIT && is_here(&stride) { unit_runs(&blob, &stride, unit.min(STRIDE))? } else { stride_runs(&blob, &stride)? };
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

/// The runs of [`UNIT`]s inside `stride` that hold anything but zeros.
fn stride_runs(blob: &Blob, stride: &Range<u64>) -> Result<Vec<Range<u64>>> {
    let mut buffer = vec![0; units::index(PIECE)];
    let mut runs = Vec::new();
    for at in (stride.start..stride.end).step_by(units::index(PIECE)) {
        let bytes = &mut buffer[..units::index(PIECE.min(stride.end - at))];
        blob.read_at(at, bytes)?;
        data_runs(bytes).into_iter().for_each(|run| push(&mut runs, at + run.start..at + run.end));
    }
    Ok(runs)
}

/// The runs of units of `unit` bytes inside `stride` that hold anything but zeros.
fn unit_runs(blob: &Blob, stride: &Range<u64>, unit: u64) -> Result<Vec<Range<u64>>> {
    let mut buffer = vec![0; units::index(PIECE)];
    let mut runs = Vec::new();
    let blob = blob.slice(stride.clone());
    blob.read_ahead();
    for n in blob.data_units(unit).flatten() {
        let unit = n * unit..((n + 1) * unit).min(blob.len());
        if holds_data(&blob, &unit, &mut buffer)? {
            push(&mut runs, stride.start + unit.start..stride.start + unit.end);
        }
    }
    Ok(runs)
}

/// Whether there is anything but zeros in a range. It is read from its front in ever larger parts.
fn holds_data(blob: &Blob, range: &Range<u64>, buffer: &mut [u8]) -> Result<bool> {
    let (mut at, mut len) = (range.start, FIRST);
    while at < range.end {
        len = len.min(range.end - at).min(units::bytes(buffer.len()));
        let bytes = &mut buffer[..units::index(len)];
        blob.read_at(at, bytes)?;
        if !is_zero(bytes) {
            return Ok(true);
        }
        at += len;
        len *= GROWTH;
    }
    Ok(false)
}

/// Puts a run behind others, as one with the last where it goes on.
fn push(runs: &mut Vec<Range<u64>>, run: Range<u64>) {
    match runs.last_mut() {
        Some(last) if last.end == run.start => last.end = run.end,
        _ => runs.push(run),
    }
}

/// The runs of [`UNIT`]s of `bytes` that hold anything but zeros.
pub fn data_runs(bytes: &[u8]) -> Vec<Range<u64>> {
    let mut runs = Vec::new();
    for (start, unit) in (0..).step_by(units::index(UNIT)).zip(bytes.chunks(units::index(UNIT))) {
        if !is_zero(unit) {
            push(&mut runs, start..start + units::bytes(unit.len()));
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        FORMATS, Options,
        testing::{env, ids},
    };

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
    fn a_larger_unit_stays_where_any_of_it_is_data() {
        const UNIT: u64 = 64 << 10;
        let mut blob = Blob::zeros(3 * UNIT);
        // At the front of one, at the end of one; one of zeros; one that is cut short, beyond what is looked at first.
        let lens = [(0, UNIT), (UNIT - 1, UNIT), (UNIT, UNIT), (5000, 6000)];
        for (at, len) in lens {
            let mut bytes = vec![0; units::index(len)];
            bytes.iter_mut().skip(units::index(at)).take(1).for_each(|byte| *byte = 1);
            blob.append(&Blob::bytes(bytes));
        }
        for threads in [1, 3] {
            let sparse = drop_units(&blob, &Blob::default(), UNIT, &Env::scratch(threads)).unwrap();
            assert_eq!(sparse.to_vec(1 << 20).unwrap(), blob.to_vec(1 << 20).unwrap());
            assert_eq!(sparse.data_units(UNIT).collect::<Vec<_>>(), [3..5, 6..7]);
            // Whoever asks for units that are larger than what one worker takes gets smaller ones.
            assert_eq!(drop_units(&blob, &Blob::default(), 1 << 40, &Env::scratch(threads)).unwrap().data_len(), 3 * UNIT + 6000);
        }
    }

    /// Zeros as data, of a page, of clusters, of blocks and of more than one worker takes, and data of a byte here and there.
    fn disk_with_zeros() -> Blob {
        let mut bytes = vec![0; units::index(24 * units::MIB)];
        for at in [0, 5000, 64 << 10, 200 << 10, (1 << 20) + 700, (3 << 20) - 1, 6 << 20, (18 << 20) + 512, (24 << 20) - 1] {
            bytes[at] = 7;
        }
        bytes[12 << 20..13 << 20].fill(9);
        let mut disk = Blob::zeros(2 * units::MIB);
        disk.append(&Blob::from(bytes));
        disk.append(&Blob::zeros(6 * units::MIB));
        disk
    }

    #[test]
    fn no_byte_of_a_file_depends_on_zeros_smaller_than_its_plan_asks_for() {
        let mut cases: Vec<(&str, &[(&str, &str)])> =
            FORMATS.iter().filter(|format| format.is_written()).map(|format| (format.name(), [].as_slice())).collect();
        cases.extend([
            ("qcow2", [("cluster_size", "512")].as_slice()),
            ("qcow2", &[("cluster_size", "2M")]),
            ("qcow2", &[("compressed", "on")]),
            ("qcow2", &[("compressed", "on"), ("cluster_size", "1K")]),
            ("vhd", &[("subformat", "dynamic")]),
            ("vhdx", &[("block_size", "8M")]),
            ("vmdk", &[("subformat", "monolithicSparse")]),
        ]);
        let (disk, mut env) = (disk_with_zeros(), env());
        for (name, options) in cases {
            let format = crate::format(name).unwrap();
            let plan = format.plan(&Options::parse(format.options(), options.iter().copied()).unwrap()).unwrap();
            let mut file = |disk: &Blob| plan.encode(disk, &ids().into(), &mut env).unwrap().sha256().unwrap();
            let exact = file(&drop_zeros(&disk, &Blob::default(), &Env::scratch(2)).unwrap());
            let enough = match plan.unit() {
                Some(unit) => drop_units(&disk, &Blob::default(), unit, &Env::scratch(2)).unwrap(),
                None => disk.clone(),
            };
            assert_eq!(file(&enough), exact, "{name} {options:?}");
        }
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
