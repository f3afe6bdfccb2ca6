//! `Env`: everything that a pure function may not invent, and so is given.

use crate::Spool;
use std::{fmt, num::NonZeroUsize, sync::Arc};

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

/// Is told how long work goes on.
pub trait Progress: fmt::Debug + Send + Sync {
    /// That many more bytes of input were worked on.
    fn advance(&self, bytes: u64);

    /// Something that the user should know of the input and that is no error.
    fn warn(&self, _text: &str) {}
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
    /// When there is no room for temporary files, or `threads` is 0.
    pub fn scratch(threads: usize) -> Self {
        Self {
            spool: Spool::new(tempfile::tempfile().expect("a temporary file")),
            time: Timestamp(1_700_000_000),
            threads: NonZeroUsize::new(threads).expect("at least one thread"),
            progress: Arc::new(Silent),
        }
    }
}
