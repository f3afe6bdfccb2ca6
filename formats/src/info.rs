//! What a container says about itself besides the disk, under the keys of `qemu-img info --output=json`.

use std::fmt;

/// Facts about a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// `cluster-size`: bytes of the unit of allocation.
    pub cluster_size: Option<u64>,
    /// `dirty-flag`: it is in use, or was not closed properly.
    pub dirty: bool,
    /// `backing-filename`, where the disk is an overlay.
    pub backing_file: Option<String>,
    /// `backing-filename-format`.
    pub backing_format: Option<String>,
    /// `snapshots`.
    pub snapshots: Vec<SnapshotInfo>,
    /// `format-specific`.
    pub specific: Vec<(&'static str, Fact)>,
}

/// An internal snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Its number, as text.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was taken: seconds since 1970.
    pub seconds: u32,
    /// Bytes of the disk then.
    pub size: u64,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Text.
    Text(String),
    /// A number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
        }
    }
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Fact {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Fact {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}
