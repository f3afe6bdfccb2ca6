//! Fuzz targets over the table of formats: one for each direction. libFuzzer calls them, and so does the mutator in `main.rs`.
//!
//! A target panics when a promise is broken: bad input gives an error and never a fault of ours, and a disk that was read can be
//! read again; a disk survives every format.

use formats::{
    Blob, Env, FORMATS, Format, Ids, Kind, Options, Result, Silent, Spool, Timestamp, compare::first_difference, dump::Dump, units,
};
use std::{cell::RefCell, num::NonZeroUsize, sync::Arc};

/// Largest disk of the encode direction.
const DISK_MAX: u64 = 64 * units::MIB;
/// How much is spooled before the spool is replaced.
const SPOOL_MAX: u64 = 256 * units::MIB;

thread_local! {
    static ENV: RefCell<Env> = RefCell::new(env());
}

fn env() -> Env {
    Env {
        spool: Spool::new(tempfile::tempfile().expect("a temporary file")),
        ids: Ids::from_seed(b"fuzz"),
        time: Timestamp(1_700_000_000),
        threads: NonZeroUsize::MIN,
        progress: Arc::new(Silent),
    }
}

fn with_env<R>(work: impl FnOnce(&mut Env) -> R) -> R {
    ENV.with_borrow_mut(|held| {
        if held.spool.position() > SPOOL_MAX {
            *held = env();
        }
        work(held)
    })
}

/// A file in the eyes of every format.
pub fn decode(bytes: &[u8]) {
    let file = Blob::bytes(bytes);
    FORMATS.iter().for_each(|format| decode_as(*format, &file));
}

/// A file in the eyes of one format, whatever its magic.
pub fn decode_as(format: &dyn Format, file: &Blob) {
    with_env(|env| {
        let _: Option<bool> = expected(format, format.probe(file));
        expected(format, format.info(file));
        expected(format, format.dump(file, &mut Dump::new()));
        let decoded = expected(format, format.decode(file, env));
        expected(format, format.check(file, env));
        if let Some(disk) = decoded {
            // What was promised can be read.
            for extent in disk.extents().iter().take(16) {
                let mut byte = [0];
                disk.read_at(extent.start, &mut byte).expect("the start of an extent");
                disk.read_at(extent.end() - 1, &mut byte).expect("the end of an extent");
            }
        }
    });
}

/// The value of a result that may only fail for the right reasons.
fn expected<T>(format: &dyn Format, result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) if matches!(error.kind(), Kind::BadInput | Kind::Unsupported) => None,
        Err(error) => panic!("{}: {error:?}", format.name()),
    }
}

/// A disk that the bytes describe, through every format and back. Four bytes a piece: where, how long, of what.
pub fn encode(bytes: &[u8]) {
    let Some((head, pieces)) = bytes.split_first_chunk::<2>() else { return };
    for format in FORMATS {
        let options = Options::defaults(format.options());
        let multiple = format.limits(&options).size_multiple;
        let wanted = u64::from(u16::from_le_bytes(*head)) * 1021 % DISK_MAX;
        let disk = disk(wanted.next_multiple_of(multiple).max(multiple), pieces);
        with_env(|env| {
            let file = format.encode(&disk, &options, env).expect("a disk that keeps to the limits");
            let back = format.decode(&file, env).expect("what was just written");
            assert_eq!(disk.len(), back.len(), "{}", format.name());
            let difference = first_difference(&disk, &back, env).expect("both can be read");
            assert_eq!(difference, None, "{}", format.name());
            if let Ok(check) = format.check(&file, env) {
                assert_eq!((check.corruptions, check.leaks), (0, 0), "{}: {:?}", format.name(), check.messages);
            }
        });
    }
}

fn disk(len: u64, pieces: &[u8]) -> Blob {
    let mut disk = Blob::default();
    for piece in pieces.as_chunks::<4>().0.iter().take(64) {
        let [gap, gap_kind, size, byte] = *piece;
        let unit = [1, 509, 4096, 65_536][usize::from(gap_kind % 4)];
        disk.append(&Blob::zeros(u64::from(gap) * unit));
        disk.append(&Blob::bytes(vec![byte; usize::from(size) * if gap_kind & 4 == 0 { 1 } else { 513 }]));
    }
    let mut disk = disk.slice(0..disk.len().min(len));
    disk.extend_to(len);
    disk
}
