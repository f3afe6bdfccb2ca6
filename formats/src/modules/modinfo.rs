//! What a module says of itself: section `.modinfo`, `KEY=VALUE` one after the other, each ended by a NUL (Linux `include/linux/moduleparam.h`).

use crate::{Blob, Error, Result, elf, plain, units};

/// Most bytes of the section; those of Linux have 100 KiB at most.
const SECTION_MAX: u64 = 4 * units::MIB;

/// The values that matter.
#[derive(Debug, Default)]
pub(super) struct Modinfo {
    depends: Vec<String>,
    aliases: Vec<String>,
    softdeps: Vec<String>,
}

impl Modinfo {
    /// Of a module that is not compressed.
    pub(super) fn of(module: &Blob) -> Result<Self> {
        let section =
            elf::section(module, ".modinfo")?.ok_or_else(|| Error::bad_input("it has no section .modinfo, as every module has"))?;
        let mut info = Self::default();
        for pair in section.to_vec(SECTION_MAX)?.split(|byte| *byte == 0) {
            let Some((key, value)) = split(pair) else { continue };
            let values = match key {
                b"depends" => &mut info.depends,
                b"alias" => &mut info.aliases,
                b"softdep" => &mut info.softdeps,
                _ => continue,
            };
            // One line of an index.
            let value = std::str::from_utf8(value).ok().filter(|value| value.chars().all(plain::is_plain)).ok_or_else(|| {
                let (key, value) = (key.escape_ascii(), value.escape_ascii());
                Error::bad_input(format!("its {key} is '{value}', must be one line of UTF-8"))
            })?;
            values.push(value.to_owned());
        }
        Ok(info)
    }

    /// Bytes that it takes, about.
    pub(super) fn len(&self) -> u64 {
        [&self.depends, &self.aliases, &self.softdeps]
            .into_iter()
            .flatten()
            .map(|value| units::bytes(value.len() + size_of::<String>()))
            .sum()
    }

    /// The modules that it needs: `a,b`.
    pub(super) fn depends(&self) -> impl Iterator<Item = &str> {
        self.depends.iter().flat_map(|value| value.split(',')).map(str::trim).filter(|name| !name.is_empty())
    }

    /// The devices that it drives, and other names.
    pub(super) fn aliases(&self) -> impl Iterator<Item = &str> {
        self.aliases.iter().map(String::as_str)
    }

    /// Its soft dependencies, a line each: `pre: a b post: c`.
    pub(super) fn softdeps(&self) -> impl Iterator<Item = &str> {
        self.softdeps.iter().map(String::as_str)
    }

    /// The modules that it wants. What stands in front of `pre:` and `post:` is nothing to modprobe either.
    pub(super) fn soft(&self) -> impl Iterator<Item = &str> {
        self.softdeps().flat_map(|line| {
            let words = line.split_whitespace().skip_while(|word| !is_mark(word));
            words.filter(|word| !is_mark(word))
        })
    }
}

fn is_mark(word: &str) -> bool {
    matches!(word, "pre:" | "post:")
}

fn split(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = pair.iter().position(|byte| *byte == b'=')?;
    Some((&pair[..at], &pair[at + 1..]))
}
