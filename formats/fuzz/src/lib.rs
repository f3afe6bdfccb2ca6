//! Fuzz targets over the table of formats: one for each direction. The mutator in `main.rs` calls them.
//!
//! A target panics when a promise is broken: bad input gives an error and never a fault of ours; a disk that was read can be
//! read again, and its extents and what was unpacked stay in proportion to the file; a disk survives every format.

use formats::{
    Blob, Env, FORMATS, Format, Ids, Kind, OptionSpec, Options, Parts, Reading, Result, Values, compare::first_difference, dump::Dump,
    units,
};
use std::cell::RefCell;

/// Largest disk of the encode direction.
const DISK_MAX: u64 = 64 * units::MIB;
/// Most bytes that a byte of zstd becomes, about; deflate stays below 1,032.
const UNPACKED_MAX: u64 = 1 << 15;
/// How much is spooled before the spool is replaced.
const SPOOL_MAX: u64 = 256 * units::MIB;

thread_local! {
    static ENV: RefCell<Env> = RefCell::new(env());
}

fn env() -> Env {
    Env::scratch(1)
}

/// Work with an environment whose spool is not full.
pub fn with_env<R>(work: impl FnOnce(&mut Env) -> R) -> R {
    ENV.with_borrow_mut(|held| {
        if held.spool.position() > SPOOL_MAX {
            *held = env();
        }
        work(held)
    })
}

/// Whatever name a file asks for, it gets this one.
#[derive(Debug)]
struct Beside<'a>(&'a Blob);

impl Parts for Beside<'_> {
    fn file(&self, _: &[u8], _: &mut Env) -> Result<Blob> {
        Ok(self.0.clone())
    }

    fn disk(&self, _: &[u8], _: Option<&str>, _: &mut Env) -> Result<Blob> {
        Ok(self.0.clone())
    }

    fn near(&self, ending: &str) -> Result<Vec<Vec<u8>>> {
        Ok(vec![format!("near{ending}").into_bytes()])
    }
}

/// A file in the eyes of every format.
pub fn decode(bytes: &[u8]) {
    let file = Blob::bytes(bytes);
    for format in FORMATS {
        decode_as(*format, &file, &file);
    }
}

/// A file in the eyes of one format, whatever its magic, and the file that it gets for any other that it names. Gives back the
/// disk, where there is one.
pub fn decode_as(format: &dyn Format, file: &Blob, beside: &Blob) -> Option<Blob> {
    with_env(|env| {
        let _: Option<bool> = expected(format, format.probe(file));
        expected(format, format.info(file));
        expected(format, format.dump(file, &mut Dump::new()));
        let (before, room) = (env.spool.position(), (file.len() + beside.len()).saturating_mul(UNPACKED_MAX));
        let decoded = expected(format, format.decode(file, &Reading::default(), env));
        let beside = Beside(beside);
        let mut reading = Reading { force: true, parts: Some(&beside), snapshot: None };
        // What is refused may be a disk in several files, or not closed.
        let forced = if decoded.is_none() { expected(format, format.decode(file, &reading, env)) } else { None };
        reading.snapshot = Some("1");
        let snapshot = expected(format, format.decode(file, &reading, env));
        assert!((env.spool.position() - before) / 3 <= room, "{}: too much was unpacked", format.name());
        expected(format, format.check(file, env));
        [&decoded, &forced, &snapshot].into_iter().flatten().for_each(|disk| read(format, disk, file.len() + beside.0.len()));
        decoded.or(forced)
    })
}

/// What was promised can be read.
fn read(format: &dyn Format, disk: &Blob, file_len: u64) {
    assert!(units::bytes(disk.extents().len()) <= file_len + 1, "{}: {} extents", format.name(), disk.extents().len());
    for extent in disk.extents().iter().take(16) {
        let mut byte = [0];
        disk.read_at(extent.start, &mut byte).expect("the start of an extent");
        disk.read_at(extent.end() - 1, &mut byte).expect("the end of an extent");
    }
    assert!(disk.extents().last().is_none_or(|last| last.end() <= disk.len()), "{}: an extent past the end", format.name());
}

/// The value of a result that may only fail for the right reasons.
fn expected<T>(format: &dyn Format, result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) if matches!(error.kind(), Kind::BadInput | Kind::Unsupported) => None,
        Err(error) => panic!("{}: {error:?}", format.name()),
    }
}

/// A disk that the bytes describe, through every format and back.
pub fn encode(bytes: &[u8]) {
    for format in FORMATS {
        encode_as(*format, bytes);
    }
}

/// A disk that the bytes describe, through one format and back: a byte for each option, two for the size, then four for each piece.
/// Gives back whether the options go together.
pub fn encode_as(format: &dyn Format, bytes: &[u8]) -> bool {
    let Some((choices, rest)) = bytes.split_at_checked(format.options().len()) else { return false };
    let Some((head, pieces)) = rest.split_first_chunk::<2>() else { return false };
    let options = options(format.options(), choices);
    let Some(plan) = expected(format, format.plan(&options)) else { return false };
    let multiple = plan.limits().size_multiple;
    let wanted = u64::from(u16::from_le_bytes(*head)) * 1021 % DISK_MAX;
    let disk = disk(wanted.next_multiple_of(multiple).max(multiple), pieces);
    with_env(|env| {
        let file = plan.encode(&disk, &Ids::from_seed(b"fuzz").into(), env).expect("a disk that keeps to the limits");
        let back = format.decode(&file, &Reading::default(), env).expect("what was just written");
        assert_eq!(disk.len(), back.len(), "{} {options:?}", format.name());
        let difference = first_difference(&disk, &back, env).expect("both can be read");
        assert_eq!(difference, None, "{} {options:?}", format.name());
        if let Ok(check) = format.check(&file, env) {
            assert_eq!((check.corruptions, check.leaks), (0, 0), "{} {options:?}: {:?}", format.name(), check.messages);
        }
        true
    })
}

/// A value for each option; numbers stay low, for effort is not what is tested.
fn options(specs: &'static [OptionSpec], choices: &[u8]) -> Options {
    let value = |values: &Values, choice: u64| match values {
        Values::Choice(words) => Some(words[units::index(choice % units::bytes(words.len()))].to_owned()),
        Values::Flag => Some(["on", "off"][units::index(choice % 2)].to_owned()),
        Values::PowerOfTwo { min, max } => Some((min << (choice % (u64::from(max.ilog2() - min.ilog2()) + 1))).to_string()),
        Values::Number { min, max } | Values::NumberOrAuto { min, max } => Some((min + choice % 4).min(*max).to_string()),
        Values::Text { .. } => None,
    };
    let pairs = specs.iter().zip(choices).filter_map(|(spec, choice)| Some((spec.name, value(&spec.values, u64::from(*choice))?)));
    let pairs: Vec<_> = pairs.collect();
    Options::parse(specs, pairs.iter().map(|(key, value)| (*key, value.as_str()))).expect("values of the table")
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
