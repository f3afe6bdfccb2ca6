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
    let mut found = false;
    let mut refused = entry::Error::NoEntry;
    while let Some(node) = directory.next(volume)? {
        let Some(mut file) = node.file().filter(|_| entry::is_entry_name(node.name().as_str())) else {
            continue;
        };
        spare.name = node.name().clone();
        spare.len = usize::try_from(file.size()).unwrap_or(usize::MAX);
        let Some(into) = spare.text.get_mut(..spare.len) else {
            refused = entry::Error::TooLarge;
            continue;
        };
        volume.read(&mut file, 0, into)?;
        match spare.entry().and_then(|entry| entry.check(architecture)) {
            Err(error) => refused = error,
            Ok(()) => {
                if !found || spare.precedes(best) {
                    swap(best, spare);
                }
                found = true;
            }
        }
    }
    if found { Ok(()) } else { Err(NoChoice::Entry(refused)) }
}
