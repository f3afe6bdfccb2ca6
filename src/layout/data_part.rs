//! Partitions that a user asks for: empty, for data that outlives an image.

use crate::error::{Error, Result};
use formats::{
    Guid,
    gpt::{self, ALIGNMENT, ESP, LINUX_DATA, LINUX_HOME, LINUX_SWAP, LINUX_VAR},
    units::{self, show_size},
};
use std::str::FromStr;

/// The words for types. Linux's are those of the Discoverable Partitions Specification (UAPI.2).
const TYPES: &[(&str, Guid)] = &[("linux", LINUX_DATA), ("swap", LINUX_SWAP), ("home", LINUX_HOME), ("var", LINUX_VAR), ("esp", ESP)];

/// An empty partition: `NAME=SIZE[:TYPE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataPart {
    /// Its name, of which its GUID is made, too.
    pub name: String,
    /// Bytes: whole units of alignment.
    pub size: u64,
    /// What it is for.
    pub type_guid: Guid,
}

impl FromStr for DataPart {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::bad_input(format!("'{text}' must be NAME=SIZE[:TYPE], as in data=2G or state=512M:var"));
        let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
        let (size, kind) = rest.split_once(':').map_or((rest, TYPES[0].0), |(size, kind)| (size, kind));
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(wrong());
        }
        gpt::Partition::check_name(name)?;
        let size = units::parse_size(size)?;
        let rounded = units::round_up(size, ALIGNMENT).filter(|size| *size > 0);
        let size = rounded.ok_or_else(|| Error::bad_input(format!("the partition {name} has {}, must have some", show_size(size))))?;
        Ok(Self { name: name.to_owned(), size, type_guid: type_guid(kind)? })
    }
}

fn type_guid(text: &str) -> Result<Guid> {
    if let Some((_, guid)) = TYPES.iter().find(|(word, _)| *word == text) {
        return Ok(*guid);
    }
    let words: Vec<_> = TYPES.iter().map(|(word, _)| *word).collect();
    let wrong = || Error::unsupported(format!("the partition type '{text}' is unknown: write {} or a GUID", words.join(", ")));
    text.parse().ok().filter(|guid| *guid != Guid::NIL).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::units::MIB;

    #[test]
    fn name_size_and_type_are_read() {
        let part: DataPart = "data=512M".parse().unwrap();
        assert_eq!(part, DataPart { name: "data".to_owned(), size: 512 * MIB, type_guid: LINUX_DATA });
        assert_eq!("a=1:var".parse::<DataPart>().unwrap(), DataPart { name: "a".to_owned(), size: MIB, type_guid: LINUX_VAR });
        let guid: DataPart = "b=1M:0FC63DAF-8483-4772-8E79-3D69D8477DE4".parse().unwrap();
        assert_eq!(guid.type_guid, LINUX_DATA);
    }

    #[test]
    fn what_makes_no_partition_is_refused() {
        for bad in ["data", "=1M", "data=0", "data=lots", "data=1M:fat", "data=1M:00000000-0000-0000-0000-000000000000", "a\nb=1M"] {
            assert!(bad.parse::<DataPart>().is_err(), "{bad}");
        }
        assert!(format!("{}=1M", "x".repeat(37)).parse::<DataPart>().unwrap_err().to_string().contains("holds 36"));
    }
}
