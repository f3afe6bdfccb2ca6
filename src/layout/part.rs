//! Partitions beside those of the firmware: of the root file system, and those that a user asks for.

use crate::error::{Error, Result};
use formats::{
    Blob, Guid,
    gpt::{self, ALIGNMENT, ESP, LINUX_DATA, LINUX_HOME, LINUX_SWAP, LINUX_VAR},
    units::{self, show_size},
};
use std::str::FromStr;

/// The words for types. Linux's are those of the Discoverable Partitions Specification (UAPI.2).
const TYPES: &[(&str, Guid)] = &[("linux", LINUX_DATA), ("swap", LINUX_SWAP), ("home", LINUX_HOME), ("var", LINUX_VAR), ("esp", ESP)];

/// A partition.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its name, of which its GUID is made, too.
    pub name: String,
    /// Bytes: whole units of alignment.
    pub size: u64,
    /// What it is for.
    pub type_guid: Guid,
    /// Its content; zeros follow.
    pub body: Blob,
}

impl Part {
    /// A partition just as large as its content; none is empty.
    pub fn around(name: impl Into<String>, type_guid: Guid, body: Blob) -> Self {
        Self { name: name.into(), size: body.len().max(1).next_multiple_of(ALIGNMENT), type_guid, body }
    }
}

/// An empty partition, for data that outlives an image: `NAME=SIZE[:TYPE]`.
impl FromStr for Part {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::bad_input(format!("'{text}' must be NAME=SIZE[:TYPE], as in data=2G or state=512M:var"));
        let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
        let (size, kind) = rest.split_once(':').map_or((rest, TYPES[0].0), |(size, kind)| (size, kind));
        if !is_name(name)? {
            return Err(wrong());
        }
        Ok(Self { name: name.to_owned(), size: size_of(name, size)?, type_guid: type_guid(kind, &[])?, body: Blob::default() })
    }
}

/// Whether a partition can be called so.
///
/// # Errors
/// When the name is too long.
pub(crate) fn is_name(name: &str) -> Result<bool> {
    gpt::Partition::check_name(name)?;
    Ok(!name.is_empty() && !name.chars().any(char::is_control))
}

/// The size of a partition, of whole units of alignment.
///
/// # Errors
/// When it is none.
pub(crate) fn size_of(name: &str, size: &str) -> Result<u64> {
    let size = units::parse_size(size)?;
    let rounded = units::round_up(size, ALIGNMENT).filter(|size| *size > 0);
    rounded.ok_or_else(|| Error::bad_input(format!("the partition {name} has {}, must have some", show_size(size))))
}

/// The type of a partition, by a word or as a GUID. `others` are words that are known elsewhere.
///
/// # Errors
/// When it is neither.
pub(crate) fn type_guid(text: &str, others: &[&str]) -> Result<Guid> {
    if let Some((_, guid)) = TYPES.iter().find(|(word, _)| *word == text) {
        return Ok(*guid);
    }
    let words: Vec<_> = others.iter().copied().chain(TYPES.iter().map(|(word, _)| *word)).collect();
    let wrong = || Error::unsupported(format!("the partition type '{text}' is unknown: write {} or a GUID", words.join(", ")));
    text.parse().ok().filter(|guid| *guid != Guid::NIL).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::units::MIB;

    #[test]
    fn name_size_and_type_are_read() {
        let parsed = |text: &str| text.parse::<Part>().map(|part| (part.name, part.size, part.type_guid)).unwrap();
        assert_eq!(parsed("data=512M"), ("data".to_owned(), 512 * MIB, LINUX_DATA));
        assert_eq!(parsed("a=1:var"), ("a".to_owned(), MIB, LINUX_VAR));
        assert_eq!(parsed("b=1M:0FC63DAF-8483-4772-8E79-3D69D8477DE4").2, LINUX_DATA);
    }

    #[test]
    fn what_makes_no_partition_is_refused() {
        for bad in ["data", "=1M", "data=0", "data=lots", "data=1M:fat", "data=1M:00000000-0000-0000-0000-000000000000", "a\nb=1M"] {
            assert!(bad.parse::<Part>().is_err(), "{bad}");
        }
        assert!(format!("{}=1M", "x".repeat(37)).parse::<Part>().unwrap_err().to_string().contains("holds 36"));
    }
}
