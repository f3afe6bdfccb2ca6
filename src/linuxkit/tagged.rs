//! The tagged tar in the making: every entry says which image it came from and which part of the configuration named it.

use crate::error::Result;
use formats::{
    Blob, Spool,
    tar::{
        typeflag,
        verbatim::{Entry, Time, Writer},
    },
};

/// The time of all that no image brings: 2017-04-18 16:30:00 UTC.
pub(crate) const T0: Time = Time { seconds: 1_492_533_000, nanos: 0 };

/// What an entry is marked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    /// `LINUXKIT.source`: a reference, or what LinuxKit itself adds.
    pub source: String,
    /// `LINUXKIT.location`: the key of the configuration.
    pub location: String,
}

impl Tag {
    pub(super) fn new(source: impl Into<String>, location: impl Into<String>) -> Self {
        Self { source: source.into(), location: location.into() }
    }

    /// Marks an entry.
    pub(super) fn mark(&self, entry: &mut Entry) {
        for (keyword, value) in [("LINUXKIT.source", &self.source), ("LINUXKIT.location", &self.location)] {
            entry.records.insert(keyword.into(), value.clone().into_bytes());
        }
    }
}

/// A tar whose entries are marked.
#[derive(Debug)]
pub(crate) struct Tagged {
    tar: Writer,
}

impl Tagged {
    /// A tar without entries, and where its headers go.
    pub(crate) fn new(headers: Spool) -> Self {
        Self { tar: Writer::new(headers) }
    }

    /// Adds an entry as it is.
    pub(super) fn add(&mut self, entry: &Entry, body: &Blob) -> Result<()> {
        self.tar.add(entry, body)
    }

    /// Adds an entry of root's, made by us.
    pub(super) fn made(&mut self, tag: &Tag, kind: u8, path: &str, mode: i64, link: &str, body: &Blob) -> Result<()> {
        let mut entry = Entry { mtime: T0, link: link.into(), ..Entry::new(kind, path, mode) };
        tag.mark(&mut entry);
        self.add(&entry, body)
    }

    pub(super) fn directory(&mut self, tag: &Tag, path: &str) -> Result<()> {
        self.made(tag, typeflag::DIRECTORY, path, 0o755, "", &Blob::default())
    }

    pub(super) fn file(&mut self, tag: &Tag, path: &str, text: String) -> Result<()> {
        self.made(tag, typeflag::FILE, path, 0o644, "", &Blob::bytes(text.into_bytes()))
    }

    /// Adds the directories that lead to a path, every time anew as LinuxKit does.
    pub(super) fn directories(&mut self, tag: &Tag, path: &str) -> Result<()> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        ends.filter(|_| !path.is_empty()).try_for_each(|end| self.directory(tag, &path[..end]))
    }

    /// The tar.
    pub(crate) fn finish(self) -> Result<Blob> {
        self.tar.finish()
    }
}
