//! Options of a format: `--opt cluster_size=64K,compression_type=zstd`, checked against the format's own list.

use crate::{Error, Result, units};
use std::collections::BTreeMap;

/// One option that a format understands.
#[derive(Debug)]
pub struct OptionSpec {
    /// The key, spelled as `qemu-img` spells it where it has the same option.
    pub name: &'static str,
    /// Which values are right.
    pub values: Values,
    /// The value when the user gives none.
    pub default: &'static str,
    /// One line of help.
    pub help: &'static str,
}

/// Which values an option takes.
#[derive(Debug)]
pub enum Values {
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `on` or `off`.
    Flag,
    /// A size in bytes that is a power of two, from min to max.
    PowerOfTwo {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A whole number, from min to max.
    Number {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A text of printable ASCII.
    Text {
        /// Its most characters.
        max: usize,
    },
    /// A whole number, from min to max, or `auto`.
    NumberOrAuto {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
}

/// Leaves a number to the format.
const AUTO: &str = "auto";

impl Values {
    /// What is right, in words: for help and for errors.
    pub fn describe(&self) -> String {
        match self {
            Self::Choice(words) => words.join("|"),
            Self::Flag => "on|off".to_owned(),
            Self::PowerOfTwo { min, max } => format!("a power of two from {} to {}", units::show_size(*min), units::show_size(*max)),
            Self::Number { min, max } => format!("{min} to {max}"),
            Self::Text { max } => format!("a text of at most {max} characters of ASCII"),
            Self::NumberOrAuto { min, max } => format!("{AUTO}|{min} to {max}"),
        }
    }

    fn parse(&self, text: &str) -> Option<Value> {
        match self {
            Self::Choice(words) => words.iter().find(|w| **w == text).map(|w| Value::Word(w)),
            Self::Flag => ["on", "off"].iter().find(|w| **w == text).map(|w| Value::Word(w)),
            Self::PowerOfTwo { min, max } => {
                units::parse_size(text).ok().filter(|n| n.is_power_of_two() && (min..=max).contains(&n)).map(Value::Number)
            }
            Self::Text { max } => {
                let is_right = text.len() <= *max && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
                is_right.then(|| Value::Text(text.to_owned()))
            }
            Self::NumberOrAuto { .. } if text == AUTO => Some(Value::Word(AUTO)),
            Self::Number { min, max } | Self::NumberOrAuto { min, max } => {
                text.parse().ok().filter(|n| (min..=max).contains(&n)).map(Value::Number)
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Word(&'static str),
    Text(String),
    Number(u64),
}

/// A complete set of options for one format: what the user gave, the defaults for the rest; and what files are to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    values: BTreeMap<&'static str, Value>,
    name: Option<String>,
}

impl Options {
    /// Checks `key=value` pairs against a format's list.
    ///
    /// # Errors
    /// An unknown key or value; the error lists the right ones.
    pub fn parse<'a>(specs: &'static [OptionSpec], pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let value = |spec: &'static OptionSpec, text: &str| {
            let wrong = || Error::bad_input(format!("option {}={text}: the value must be {}", spec.name, spec.values.describe()));
            spec.values.parse(text).ok_or_else(wrong)
        };
        let mut values = BTreeMap::new();
        for spec in specs {
            values.insert(spec.name, value(spec, spec.default)?);
        }
        for (key, text) in pairs {
            let spec = specs.iter().find(|spec| spec.name == key).ok_or_else(|| unknown(key, specs))?;
            values.insert(spec.name, value(spec, text)?);
        }
        Ok(Self { values, name: None })
    }

    /// As [`Options::parse`], of those pairs whose key is on the list: the others are for another one.
    ///
    /// # Errors
    /// A wrong value; the error lists the right ones.
    pub fn parse_known<'a>(specs: &'static [OptionSpec], pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        Self::parse(specs, pairs.into_iter().filter(|(key, _)| specs.iter().any(|spec| spec.name == *key)))
    }

    /// The defaults of a format.
    pub fn defaults(specs: &'static [OptionSpec]) -> Self {
        Self::parse(specs, []).expect("a default is a right value")
    }

    /// The same for files whose names begin with this, which those of a disk in several files must say of each other.
    #[must_use]
    pub fn named(self, name: Option<String>) -> Self {
        Self { name, ..self }
    }

    /// What the names of the files begin with, where they have any.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// A word option. Panics when the format lists no such option.
    pub fn word(&self, name: &str) -> &'static str {
        match self.values.get(name) {
            Some(Value::Word(word)) => word,
            other => panic!("option {name} is {other:?}, not a word"),
        }
    }

    /// A text option. Panics when the format lists no such option.
    pub fn text(&self, name: &str) -> &str {
        match self.values.get(name) {
            Some(Value::Text(text)) => text,
            other => panic!("option {name} is {other:?}, not a text"),
        }
    }

    /// Whether a flag is on. Panics when the format lists no such option.
    pub fn flag(&self, name: &str) -> bool {
        self.word(name) == "on"
    }

    /// A number or size option. Panics when the format lists no such option.
    pub fn number(&self, name: &str) -> u64 {
        self.number_or_auto(name).unwrap_or_else(|| panic!("option {name} is {AUTO}, not a number"))
    }

    /// A number, `None` where it is left to the format. Panics when the format lists no such option.
    pub fn number_or_auto(&self, name: &str) -> Option<u64> {
        match self.values.get(name) {
            Some(Value::Number(number)) => Some(*number),
            Some(Value::Word(AUTO)) => None,
            other => panic!("option {name} is {other:?}, not a number"),
        }
    }
}

fn unknown(key: &str, specs: &[OptionSpec]) -> Error {
    let known: Vec<_> = specs.iter().map(|spec| format!("{}={}", spec.name, spec.values.describe())).collect();
    match known.as_slice() {
        [] => Error::bad_input(format!("option {key} is unknown: this format has no options")),
        known => Error::bad_input(format!("option {key} is unknown, this format has: {}", known.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SPECS: [OptionSpec; 4] = [
        OptionSpec { name: "label", values: Values::Text { max: 8 }, default: "", help: "" },
        OptionSpec { name: "level", values: Values::NumberOrAuto { min: 1, max: 9 }, default: "auto", help: "" },
        OptionSpec { name: "cluster_size", values: Values::PowerOfTwo { min: 512, max: 2 << 20 }, default: "64K", help: "" },
        OptionSpec { name: "lazy_refcounts", values: Values::Flag, default: "off", help: "" },
    ];

    #[test]
    fn defaults_fill_what_the_user_left_out() {
        let options = Options::parse(&SPECS, [("lazy_refcounts", "on")]).unwrap();
        assert_eq!(options.number("cluster_size"), 65536);
        assert!(options.flag("lazy_refcounts"));
        assert_eq!(options.number_or_auto("level"), None);
        assert_eq!(options.text("label"), "");
        assert_eq!(Options::parse(&SPECS, [("label", "a = b")]).unwrap().text("label"), "a = b");
        assert_eq!(Options::parse(&SPECS, [("level", "9")]).unwrap().number_or_auto("level"), Some(9));
    }

    #[test]
    fn wrong_keys_and_values_list_the_right_ones() {
        let key = Options::parse(&SPECS, [("size", "1")]).unwrap_err().to_string();
        assert!(key.contains("cluster_size=a power of two from 512 bytes to 2 MiB"), "{key}");
        let value = Options::parse(&SPECS, [("lazy_refcounts", "yes")]).unwrap_err().to_string();
        assert!(value.contains("on|off"), "{value}");
        for label in ["123456789", "größe", "a\nb"] {
            let text = Options::parse(&SPECS, [("label", label)]).unwrap_err().to_string();
            assert!(text.contains("at most 8 characters of ASCII"), "{text}");
        }
        let level = Options::parse(&SPECS, [("level", "10")]).unwrap_err().to_string();
        assert!(level.contains("auto|1 to 9"), "{level}");
    }
}
