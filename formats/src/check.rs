//! What checking a container found, counted as `qemu-img check` counts it.

use crate::{Blob, Kind, Result};

/// How many findings keep their words; all are counted.
const MESSAGES_MAX: usize = 100;

/// What is wrong with a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// What makes the disk wrong, or will once the file is written to.
    pub corruptions: u64,
    /// What takes space for nothing: harmless.
    pub leaks: u64,
    /// The first findings in words.
    pub messages: Vec<String>,
    /// How full the file is, where the format counts clusters.
    pub clusters: Option<Clusters>,
}

/// How full a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clusters {
    /// Clusters of the disk.
    pub total: u64,
    /// Those that the file has.
    pub allocated: u64,
    /// Those of them that are compressed.
    pub compressed: u64,
    /// One past the last byte of the file that is used.
    pub end: u64,
}

impl Check {
    /// Counts a corruption.
    pub fn corrupt(&mut self, what: impl FnOnce() -> String) {
        self.corrupt_many(1, what);
    }

    /// Counts corruptions that one sentence tells of.
    pub(crate) fn corrupt_many(&mut self, count: u64, what: impl FnOnce() -> String) {
        self.corruptions = self.corruptions.saturating_add(count);
        self.say(what);
    }

    /// Counts leaks that one sentence tells of.
    pub(crate) fn leak(&mut self, count: u64, what: impl FnOnce() -> String) {
        self.leaks = self.leaks.saturating_add(count);
        self.say(what);
    }

    fn say(&mut self, what: impl FnOnce() -> String) {
        if self.messages.len() < MESSAGES_MAX {
            self.messages.push(what());
        }
    }

    /// Counts what decoding refused, and gives back what it did not.
    ///
    /// # Errors
    /// When decoding failed for another reason than the content of the file.
    pub(crate) fn decoded(&mut self, decoded: Result<Blob>) -> Result<Option<Blob>> {
        match decoded {
            Ok(disk) => Ok(Some(disk)),
            Err(error) if error.kind() == Kind::BadInput => {
                self.corrupt(|| error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
