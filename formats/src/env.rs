//! `Env`: everything that a pure function may not invent, and so is given.

use crate::Spool;
use std::{
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Everything that a pure function may not invent.
///
/// Identifiers are not in it: they belong to a content, and whoever makes the content has them ([`crate::Ids`]).
#[derive(Debug)]
pub struct Env {
    /// Where bytes of unknown length go.
    pub spool: Spool,
    /// The time that is written where a format demands one.
    pub time: Timestamp,
    /// How many threads may work. It never changes a result.
    pub threads: NonZeroUsize,
    /// Who is told about progress.
    pub progress: Arc<dyn Progress>,
}

/// Seconds since 1970-01-01 00:00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// Is told how long work goes on. What succeeds has advanced by as many bytes as it made expect, however it is put together; so the one
/// against the other says how far everything is.
pub trait Progress: fmt::Debug + Send + Sync {
    /// That work on so many more bytes is about to begin.
    fn expect(&self, _bytes: u64) {}

    /// That many more bytes of input were worked on.
    fn advance(&self, bytes: u64);

    /// A part of the work that is shown by itself while it lasts, where there is somebody to look at it; what is done of it is done of the
    /// whole, too.
    fn part<'a>(&'a self, _name: &str) -> Option<Box<dyn Progress + 'a>> {
        None
    }

    /// Something that the user should know of the input and that is no error.
    fn warn(&self, _text: &str) {}
}

/// A piece of work as somebody is told of it: of so many bytes, whatever its steps add up to.
#[derive(Debug)]
pub struct Stage<'a> {
    progress: &'a dyn Progress,
    left: AtomicU64,
}

impl<'a> Stage<'a> {
    /// Announces work on so many bytes.
    pub fn new(progress: &'a dyn Progress, bytes: u64) -> Self {
        progress.expect(bytes);
        Self { progress, left: AtomicU64::new(bytes) }
    }

    /// That many more were worked on; what is more than was announced is not told.
    pub fn advance(&self, bytes: u64) {
        let before = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(bytes)));
        self.progress.advance(bytes.min(before.unwrap_or_default()));
    }

    /// That the work is done, also where its end came early.
    pub fn finish(self) {
        self.advance(u64::MAX);
    }
}

/// Tells nobody.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {
    fn advance(&self, _: u64) {}
}

#[cfg(any(test, feature = "scratch"))]
impl Env {
    /// An environment for tests and examples: so many threads, a time that never changes, nobody to tell.
    ///
    /// # Panics
    /// When `threads` is 0.
    pub fn scratch(threads: usize) -> Self {
        Self {
            spool: Spool::scratch(),
            time: Timestamp(1_700_000_000),
            threads: NonZeroUsize::new(threads).expect("at least one thread"),
            progress: Arc::new(Silent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Blob, FORMATS, Guid, Options, Reading, compare, erofs, squashfs,
        testing::{self, Counting, ids},
        tree::{Builder, Content, Inode},
        units::{KIB, MIB},
        verity::Verity,
        zeros,
    };

    #[test]
    fn a_stage_ends_where_it_said() {
        for steps in [&[3, 4, 3][..], &[9, 9], &[], &[1]] {
            let counting = Counting::default();
            let stage = Stage::new(&counting, 10);
            steps.iter().for_each(|step| stage.advance(*step));
            stage.finish();
            assert_eq!(counting.told(), (10, 10), "{steps:?}");
        }
    }

    /// Text, zeros as data, gaps, and an end inside of everything's unit.
    fn disk() -> Blob {
        let mut disk = Blob::zeros(5 * MIB);
        disk.splice(3, &Blob::bytes(b"all work and no play makes a dull disk\n".repeat(40_000)));
        disk.splice(3 * MIB, &Blob::bytes(vec![0; 700_000]));
        disk.splice(5 * MIB - 1, &Blob::bytes([1]));
        disk
    }

    /// Fails unless all that `work` made expect was done, and gives how much that was.
    fn told(name: &str, work: impl FnOnce(&mut Env)) -> u64 {
        let counting = Arc::new(Counting::default());
        let mut env = Env { progress: Arc::clone(&counting) as Arc<dyn Progress>, ..testing::env() };
        work(&mut env);
        let (expected, advanced) = counting.told();
        assert_eq!(expected, advanced, "{name}");
        advanced
    }

    #[test]
    fn containers_end_where_they_said() {
        let packed: &[(&str, &str)] = &[("compressed", "on")];
        let cases = FORMATS.iter().filter(|format| format.is_written()).map(|format| (*format, [].as_slice()));
        for (format, options) in cases.chain([(crate::format("qcow2").unwrap(), packed)]) {
            let name = format!("{} {options:?}", format.name());
            let plan = format.plan(&Options::parse(format.options(), options.iter().copied()).unwrap()).unwrap();
            let mut file = Blob::default();
            let written = told(&name, |env| file = plan.encode(&disk(), &ids().into(), env).unwrap());
            let read = told(&name, |env| drop(format.decode(&file, &Reading::default(), env).unwrap()));
            let is_packed = !options.is_empty() || format.name() == "vmdk";
            assert_eq!((written > MIB, read > MIB), (is_packed, is_packed), "{name}: {written} written, {read} read");
        }
    }

    #[test]
    fn looking_at_all_bytes_ends_where_it_said() {
        let (disk, mut other) = (disk(), disk().slice(0..MIB));
        other.append(&Blob::bytes(*b"different"));
        assert!(told("zeros", |env| drop(zeros::drop_zeros(&disk, &Blob::default(), env).unwrap())) > 2 * MIB);
        assert!(told("same", |env| assert!(compare::first_difference(&disk, &disk, env).unwrap().is_none())) > 2 * MIB);
        assert!(told("different", |env| assert!(compare::first_difference(&disk, &other, env).unwrap().is_some())) > 2 * MIB);
        let verity = Verity { salt: [0; 16], uuid: Guid::NIL };
        assert_eq!(told("verity", |env| drop(verity.hash(&disk, env).unwrap())), 5 * MIB + 10 * 4 * KIB);
    }

    #[test]
    fn file_systems_end_where_they_said() {
        let mut builder = Builder::default();
        let whole = Blob::bytes(b"all work and no play makes a dull file\n".repeat(60_000));
        let files = [("large", disk()), ("again", disk()), ("small", Blob::bytes(*b"small")), ("gap", Blob::zeros(MIB)), ("whole", whole)];
        for (name, body) in files {
            builder.add(name.as_bytes(), Inode::new(Content::File(body), 0o644)).unwrap();
        }
        let tree = builder.finish();
        let settings = squashfs::Settings::new(&Options::defaults(&squashfs::OPTIONS), &[]).unwrap();
        assert!(told("squashfs", |env| drop(squashfs::write(&tree, &settings, env).unwrap())) > 2 * MIB);
        for compression in ["none", "lz4", "zstd"] {
            let options = Options::parse(&erofs::OPTIONS, [("erofs_compression", compression)]).unwrap();
            let done = told(compression, |env| drop(erofs::write(&tree, &options, &ids(), env).unwrap()));
            assert_eq!(done > 2 * MIB, compression != "none", "{compression}: {done}");
        }
    }
}
