//! Boot Loader Specification entries of type 1 (UAPI.1): parsing and order. Needs no file system.
//!
//! An entry is a text file `/loader/entries/NAME.conf` of lines `KEY VALUE`. We use `title`, `version`, `sort-key`,
//! `machine-id`, `architecture`, `linux`, `initrd`, `options` and `uki`, and ignore the others. `initrd` and `options` may be
//! repeated; of any other key the last line counts. An entry with `uki` and without `linux` boots what the unified kernel image
//! has, and nothing else: what firmware starts by itself reads no entry either.

use core::cmp::Ordering;
use core::fmt;

use crate::version;

/// Where the entries are.
pub const DIRECTORY: &str = "/loader/entries";
/// The largest entry file that is read, in bytes.
pub const MAX: usize = 8192;

/// What keeps a file in `/loader/entries` from being booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// There is no entry at all.
    NoEntry,
    /// The file is not UTF-8.
    NotText,
    /// The file is larger than [`MAX`].
    TooLarge,
    /// The entry names no kernel, as such or in a unified kernel image.
    NoKernel,
    /// The entry names no kernel, and the loader takes no unified kernel images.
    NoLinux,
    /// The entry's `architecture` is not this machine's.
    OtherArchitecture,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoEntry => f.write_str("no entry in /loader/entries"),
            Error::NotText => f.write_str("boot entry is not UTF-8 text"),
            Error::TooLarge => write!(f, "boot entry is larger than {MAX} bytes"),
            Error::NoKernel => f.write_str("boot entry has neither a linux nor a uki line"),
            Error::NoLinux => f.write_str("boot entry has no linux line"),
            Error::OtherArchitecture => f.write_str("boot entry is for another architecture"),
        }
    }
}

impl core::error::Error for Error {}

/// A parsed entry, borrowing from the text of its file.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    stem: &'a str,
    text: &'a str,
}

/// Whether a file in `/loader/entries` is an entry: `*.conf`.
#[must_use]
pub fn is_entry_name(file_name: &str) -> bool {
    stem(file_name).is_some()
}

/// The file name without `.conf`.
fn stem(file_name: &str) -> Option<&str> {
    let (stem, suffix) = file_name.split_at_checked(file_name.len().checked_sub(5)?)?;
    (suffix.eq_ignore_ascii_case(".conf") && !stem.is_empty()).then_some(stem)
}

impl<'a> Entry<'a> {
    /// Takes the text of the entry file called `file_name`.
    ///
    /// # Errors
    /// [`Error::NotText`].
    pub fn parse(file_name: &'a str, text: &'a [u8]) -> Result<Self, Error> {
        let text = core::str::from_utf8(text).map_err(|_| Error::NotText)?;
        Ok(Self { stem: stem(file_name).unwrap_or(file_name), text: text.strip_prefix('\u{feff}').unwrap_or(text) })
    }

    /// Whether a machine of this architecture (`x64`, `aa64`: the UEFI specification's names) can boot the entry.
    ///
    /// # Errors
    /// [`Error::NoKernel`], [`Error::OtherArchitecture`].
    pub fn check(&self, architecture: &str) -> Result<(), Error> {
        if self.linux().or(self.uki()).is_none() {
            return Err(Error::NoKernel);
        }
        match self.architecture() {
            Some(other) if !other.eq_ignore_ascii_case(architecture) => Err(Error::OtherArchitecture),
            _ => Ok(()),
        }
    }

    /// All lines that are neither empty nor comments, as (key, value).
    fn lines(&self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        let lines = self.text.lines().map(str::trim_ascii);
        lines.filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (key, value) = line.split_once([' ', '\t'])?;
            Some((key, value.trim_ascii_start()))
        })
    }

    /// The values of a key, in the order of the file.
    fn values(&self, key: &'static str) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.lines().filter(move |(found, _)| *found == key).map(|(_, value)| value)
    }

    /// The name for people.
    pub fn title(&self) -> Option<&'a str> {
        self.values("title").last()
    }

    /// The version, for people and for the order.
    pub fn version(&self) -> Option<&'a str> {
        self.values("version").last()
    }

    /// What entries are ordered by before anything else.
    pub fn sort_key(&self) -> Option<&'a str> {
        self.values("sort-key").last()
    }

    /// The machine that the entry was installed by.
    pub fn machine_id(&self) -> Option<&'a str> {
        self.values("machine-id").last()
    }

    /// The architecture it is for, in the UEFI specification's words.
    pub fn architecture(&self) -> Option<&'a str> {
        self.values("architecture").last()
    }

    /// Path of the kernel.
    pub fn linux(&self) -> Option<&'a str> {
        self.values("linux").last()
    }

    /// Path of a unified kernel image; only looked at where there is no `linux`.
    pub fn uki(&self) -> Option<&'a str> {
        self.values("uki").last()
    }

    /// Paths of the initrds, to be handed over one after the other.
    pub fn initrds(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.values("initrd")
    }

    /// The parts of the kernel command line, to be joined by single spaces.
    pub fn options(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.values("options")
    }

    /// Bytes of the whole command line.
    pub fn options_len(&self) -> usize {
        let lengths = self.options().map(|part| part.len().saturating_add(1));
        lengths.fold(0usize, usize::saturating_add).saturating_sub(1)
    }

    /// Writes the whole command line to the front of `into`; `None` when it does not fit.
    pub fn write_options<'b>(&self, into: &'b mut [u8]) -> Option<&'b str> {
        let mut len = 0usize;
        for (index, part) in self.options().enumerate() {
            for piece in [if index == 0 { "" } else { " " }, part] {
                let end = len.checked_add(piece.len())?;
                into.get_mut(len..end)?.copy_from_slice(piece.as_bytes());
                len = end;
            }
        }
        core::str::from_utf8(into.get(..len)?).ok()
    }

    /// How entries are ordered: the one that compares less is booted first (UAPI.1, "Sorting").
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        let (name, counter) = split_counter(self.stem);
        let (other_name, other_counter) = split_counter(other.stem);
        let is_bad = |counter: Option<Counter>| counter.is_some_and(|counter| counter.left_is_zero);
        is_bad(counter)
            .cmp(&is_bad(other_counter))
            .then_with(|| self.order_by_keys(other))
            .then_with(|| version::compare(other_name, name))
            .then_with(|| other.stem.cmp(self.stem))
    }

    /// Rules 2 and 3: sort-key and machine-id ascending, version descending; entries with a sort-key first.
    fn order_by_keys(&self, other: &Self) -> Ordering {
        match (self.sort_key(), other.sort_key()) {
            (None, None) => Ordering::Equal,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(key), Some(other_key)) => key.cmp(other_key).then_with(|| self.machine_id().cmp(&other.machine_id())).then_with(|| {
                let versions = (self.version().unwrap_or(""), other.version().unwrap_or(""));
                version::compare(versions.1, versions.0)
            }),
        }
    }
}

/// Boot counting: what a suffix `+LEFT` or `+LEFT-DONE` of the name says. We only read it: nothing here writes to a disk.
#[derive(Debug, Clone, Copy)]
struct Counter {
    /// The entry was tried as often as it may be and is "bad".
    left_is_zero: bool,
}

/// Splits the boot counter off a file name without its `.conf`.
fn split_counter(stem: &str) -> (&str, Option<Counter>) {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((name, counter)) = stem.rsplit_once('+') {
        let (left, done) = counter.split_once('-').map_or((counter, None), |(left, done)| (left, Some(done)));
        if is_number(left) && done.is_none_or(is_number) {
            let left_is_zero = left.bytes().all(|byte| byte == b'0');
            return (name, Some(Counter { left_is_zero }));
        }
    }
    (stem, None)
}

#[cfg(test)]
mod tests;
