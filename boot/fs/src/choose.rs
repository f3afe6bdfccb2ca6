//! Which entry of a file system is booted.

use core::fmt;
use core::mem::swap;

use crate::fat::Name;
use crate::{BlockDevice, Entry, Error, Volume, entry};

/// An entry file in memory.
#[derive(Debug, Clone)]
pub struct EntryFile {
    name: Name,
    text: [u8; entry::MAX],
    len: usize,
}

impl Default for EntryFile {
    fn default() -> Self {
        Self::new()
    }
}

impl EntryFile {
    /// Room for an entry file.
    #[must_use]
    pub const fn new() -> Self {
        Self { name: Name::empty(), text: [0; entry::MAX], len: 0 }
    }

    /// Its file name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The entry in it.
    ///
    /// # Errors
    /// [`entry::Error::NotText`].
    pub fn entry(&self) -> Result<Entry<'_>, entry::Error> {
        Entry::parse(self.name(), self.text.get(..self.len).unwrap_or_default())
    }

    /// Whether it is to be booted rather than `other`.
    fn precedes(&self, other: &Self) -> bool {
        match (self.entry(), other.entry()) {
            (Ok(entry), Ok(other)) => entry.order(&other).is_lt(),
            (entry, _) => entry.is_ok(),
        }
    }
}

/// Why there is nothing to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoChoice<E> {
    /// The directory or a file in it could not be read.
    File(Error<E>),
    /// There is no entry, or none that this machine can boot: what was wrong with the last one.
    Entry(entry::Error),
}

impl<E: fmt::Display> fmt::Display for NoChoice<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoChoice::File(error) => error.fmt(f),
            NoChoice::Entry(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for NoChoice<E> {}

impl<E> From<Error<E>> for NoChoice<E> {
    fn from(error: Error<E>) -> Self {
        NoChoice::File(error)
    }
}

/// The choice among entry files that are offered one by one, by whatever reads them.
#[derive(Debug)]
pub struct Choice<'r> {
    architecture: &'r str,
    best: &'r mut EntryFile,
    spare: &'r mut EntryFile,
    takes_ukis: bool,
    found: bool,
    refused: entry::Error,
}

impl<'r> Choice<'r> {
    /// No entry so far. The one to boot will be left in `best`; `spare` is room to read the others into.
    pub fn new(architecture: &'r str, best: &'r mut EntryFile, spare: &'r mut EntryFile) -> Self {
        Self { architecture, best, spare, takes_ukis: true, found: false, refused: entry::Error::NoEntry }
    }

    /// Passes over entries that name a unified kernel image alone: firmware starts those by itself, and verifies them.
    #[must_use]
    pub fn without_ukis(self) -> Self {
        Self { takes_ukis: false, ..self }
    }

    /// Whether this machine can boot the file in `spare`.
    fn check(&self) -> Result<(), entry::Error> {
        let entry = self.spare.entry()?;
        entry.check(self.architecture)?;
        if self.takes_ukis || entry.linux().is_some() { Ok(()) } else { Err(entry::Error::NoLinux) }
    }

    /// Considers the file `name` of [`entry::DIRECTORY`], of `size` bytes; `read` fills a buffer of that size with it.
    ///
    /// # Errors
    /// Those of `read`. A file that is no entry for this machine is no error.
    pub fn offer<E>(&mut self, name: &Name, size: u64, read: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<(), E> {
        if !entry::is_entry_name(name.as_str()) {
            return Ok(());
        }
        let len = usize::try_from(size).unwrap_or(usize::MAX);
        let Some(into) = self.spare.text.get_mut(..len) else {
            self.refused = entry::Error::TooLarge;
            return Ok(());
        };
        read(into)?;
        self.spare.name = name.clone();
        self.spare.len = len;
        match self.check() {
            Err(error) => self.refused = error,
            Ok(()) => {
                if !self.found || self.spare.precedes(self.best) {
                    swap(self.best, self.spare);
                }
                self.found = true;
            }
        }
        Ok(())
    }

    /// Ends the choice: whether `best` holds an entry.
    ///
    /// # Errors
    /// What was wrong with the last file, when none can be booted.
    pub const fn end(&self) -> Result<(), entry::Error> {
        if self.found { Ok(()) } else { Err(self.refused) }
    }
}

/// Leaves in `best` the entry of [`entry::DIRECTORY`] that comes first among those for this architecture; `spare` is room
/// to read the others into.
///
/// # Errors
/// [`NoChoice::Entry`] when there is no entry that can be booted, [`NoChoice::File`] when the disk cannot be read.
pub fn choose<D: BlockDevice>(
    volume: &mut Volume<D>,
    architecture: &str,
    best: &mut EntryFile,
    spare: &mut EntryFile,
) -> Result<(), NoChoice<D::Error>> {
    let mut directory = match volume.directory(entry::DIRECTORY) {
        Err(Error::NotFound) => return Err(NoChoice::Entry(entry::Error::NoEntry)),
        other => other?,
    };
    let mut choice = Choice::new(architecture, best, spare);
    while let Some(node) = directory.next(volume)? {
        if let Some(mut file) = node.file() {
            choice.offer(node.name(), file.size().into(), |into| volume.read(&mut file, 0, into))?;
        }
    }
    choice.end().map_err(NoChoice::Entry)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// What is left in `best` after these files were offered, or why nothing is.
    fn chosen(files: &[(&str, &str)], takes_ukis: bool) -> Result<EntryFile, entry::Error> {
        let (mut best, mut spare) = (EntryFile::new(), EntryFile::new());
        let choice = Choice::new("x64", &mut best, &mut spare);
        let mut choice = if takes_ukis { choice } else { choice.without_ukis() };
        for (name, text) in files {
            let name = Name::long(&name.encode_utf16().collect::<Vec<_>>());
            let read = |into: &mut [u8]| {
                into.copy_from_slice(text.as_bytes());
                Ok::<_, ()>(())
            };
            choice.offer(&name, u64::try_from(text.len()).unwrap(), read).unwrap();
        }
        choice.end().map(|()| best)
    }

    #[test]
    fn a_loader_that_firmware_starts_passes_over_ukis() {
        let (uki, linux) = (("b.conf", "uki /u\n"), ("a.conf", "linux /k\n"));
        assert_eq!(chosen(&[uki, linux], true).unwrap().entry().unwrap().uki(), Some("/u"), "the newer name");
        assert_eq!(chosen(&[uki, linux], false).unwrap().entry().unwrap().linux(), Some("/k"));
        assert_eq!(chosen(&[uki], false).err(), Some(entry::Error::NoLinux));
        assert_eq!(chosen(&[("c.conf", "uki /u\nlinux /k\n")], false).unwrap().name(), "c.conf");
        assert_eq!(chosen(&[("d.conf", "efi /e\n")], false).err(), Some(entry::Error::NoKernel));
    }
}
