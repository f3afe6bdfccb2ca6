//! What files are called in each hierarchy: identifiers of ECMA-119 (7.5, 7.6) for who knows nothing else, and Joliet's.
//!
//! POSIX names stand beside the former as RRIP has them. Both kinds of identifiers are unique in their directory: where two
//! names would get one identifier, the later in the order of the tree has a number at its end.

use crate::{numbers::Numbers, units};
use std::collections::HashSet;

/// Characters of an ECMA-119 identifier without its version, with the dot.
const ISO_MAX: usize = 30;
/// Characters of an extension that is kept whole.
const EXTENSION_MAX: usize = 8;
/// Characters of a Joliet identifier.
const JOLIET_MAX: usize = 64;
/// What follows the identifier of a file: version 1.
const VERSION: &str = ";1";

/// A kind of identifiers, and of a hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Capital letters, digits and `_`; RRIP's entries beside them.
    Iso,
    /// UCS-2.
    Joliet,
}

/// The identifiers that a directory has given out.
#[derive(Debug)]
pub(super) struct Identifiers {
    names: Names,
    taken: HashSet<Stem>,
    numbers: Numbers<Stem>,
}

/// Name and extension, by which identifiers are told apart and sorted (9.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Stem {
    name: String,
    extension: String,
}

impl Identifiers {
    pub(super) fn new(names: Names) -> Self {
        Self { names, taken: HashSet::new(), numbers: Numbers::default() }
    }

    /// The identifier of a name, as it is stored.
    pub(super) fn of(&mut self, name: &[u8], is_directory: bool) -> Vec<u8> {
        let stem = self.names.stem(name, is_directory);
        let unique = self.unique(stem);
        self.taken.insert(unique.clone());
        self.names.stored(&unique, is_directory)
    }

    fn unique(&mut self, stem: Stem) -> Stem {
        if !self.taken.contains(&stem) {
            return stem;
        }
        let Self { names, taken, numbers } = self;
        numbers.free(0, |digits| names.cut(&stem, digits), |number| names.numbered(&stem, number), |name| !taken.contains(name))
    }
}

impl Names {
    /// Characters that name and extension have together at most, the dot not counted.
    fn room(self) -> usize {
        match self {
            Self::Iso => ISO_MAX - 1,
            Self::Joliet => JOLIET_MAX - VERSION.len() - 1,
        }
    }

    fn stem(self, name: &[u8], is_directory: bool) -> Stem {
        let text = String::from_utf8_lossy(name);
        let (name, extension) = match text.rsplit_once('.') {
            Some((name, extension)) if !is_directory && !name.is_empty() && extension.len() <= EXTENSION_MAX => (name, extension),
            _ => (&*text, ""),
        };
        let extension: String = extension.chars().map(|c| self.character(c)).collect();
        let name = name.chars().map(|c| self.character(c)).take(self.room() - extension.chars().count()).collect();
        Stem { name, extension }
    }

    /// A character, or what stands for it.
    fn character(self, c: char) -> char {
        match self {
            Self::Iso => {
                let c = c.to_ascii_uppercase();
                if c.is_ascii_uppercase() || c.is_ascii_digit() { c } else { '_' }
            }
            // UCS-2 has the basic plane only.
            Self::Joliet if c.is_control() || "*/:;?\\".contains(c) || c.len_utf16() > 1 => '_',
            Self::Joliet => c,
        }
    }

    /// A stem whose name leaves room for `_` and a number of so many digits.
    fn cut(self, stem: &Stem, digits: u32) -> Stem {
        let room = self.room() - stem.extension.chars().count() - 1 - units::index(digits.into());
        Stem { name: stem.name.chars().take(room).collect(), extension: stem.extension.clone() }
    }

    /// A stem with a number at the end of its name.
    fn numbered(self, stem: &Stem, number: u32) -> Stem {
        let Stem { name, extension } = self.cut(stem, number.checked_ilog10().unwrap_or(0) + 1);
        Stem { name: format!("{name}_{number}"), extension }
    }

    fn stored(self, stem: &Stem, is_directory: bool) -> Vec<u8> {
        let Stem { name, extension } = stem;
        match (self, is_directory) {
            (Self::Iso, true) => name.clone().into_bytes(),
            // The dot stands there even without an extension (7.5.1).
            (Self::Iso, false) => format!("{name}.{extension}{VERSION}").into_bytes(),
            (Self::Joliet, true) => ucs2(name),
            (Self::Joliet, false) if extension.is_empty() => ucs2(&format!("{name}{VERSION}")),
            (Self::Joliet, false) => ucs2(&format!("{name}.{extension}{VERSION}")),
        }
    }

    /// The order of identifiers in a directory (9.3): by name, then by extension, as if filled up; versions are all the same.
    pub(super) fn order(self, identifier: &[u8]) -> (&[u8], &[u8]) {
        match self {
            Self::Iso => match identifier.iter().position(|byte| *byte == b'.') {
                Some(dot) => identifier.split_at(dot),
                None => (identifier, &[]),
            },
            Self::Joliet => (identifier.strip_suffix(ucs2(VERSION).as_slice()).unwrap_or(identifier), &[]),
        }
    }
}

fn ucs2(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(names: Names, files: &[&str]) -> Vec<String> {
        let mut identifiers = Identifiers::new(names);
        let text = |bytes: Vec<u8>| match names {
            Names::Iso => String::from_utf8(bytes).unwrap(),
            Names::Joliet => String::from_utf16(&bytes.chunks(2).map(|c| u16::from_be_bytes([c[0], c[1]])).collect::<Vec<_>>()).unwrap(),
        };
        files.iter().map(|name| text(identifiers.of(name.trim_end_matches('/').as_bytes(), name.ends_with('/')))).collect()
    }

    #[test]
    fn names_become_capitals_and_stay_apart() {
        let files = ["vmlinuz", "initrd.img", "etc/", "conf.d/", ".profile", "a-b", "a+b", "a_b/", "größe.tar.gz", "x.conf", "x.CONF"];
        let expected = [
            "VMLINUZ.;1",
            "INITRD.IMG;1",
            "ETC",
            "CONF_D",
            "_PROFILE.;1",
            "A_B.;1",
            "A_B_0.;1",
            "A_B_1",
            "GR__E_TAR.GZ;1",
            "X.CONF;1",
            "X_0.CONF;1",
        ];
        assert_eq!(all(Names::Iso, &files), expected);
    }

    #[test]
    fn long_names_are_cut_to_31_characters_with_the_version() {
        let long = "n".repeat(200);
        let found = all(Names::Iso, &[&long, &format!("{long}.so.6.123456789"), &format!("{long}.service"), &format!("{long}/")]);
        assert_eq!(found[0], format!("{}.;1", "N".repeat(29)));
        assert_eq!(found[1], format!("{}_0.;1", "N".repeat(27)));
        assert_eq!(found[2], format!("{}.SERVICE;1", "N".repeat(22)));
        assert_eq!(found[3], format!("{}_1", "N".repeat(27)));
    }

    #[test]
    fn joliet_keeps_what_it_can() {
        let files = ["größe.tar.gz", "a:b?", "a;b*", "🚀", "conf.d/", &"é".repeat(100)];
        assert_eq!(all(Names::Joliet, &files), ["größe.tar.gz;1", "a_b_;1", "a_b__0;1", "_;1", "conf.d", &format!("{};1", "é".repeat(61))]);
    }

    /// Every stem covers a hundred of these names, and all stems share their numbers: tried from 0 for each, it would take minutes.
    #[test]
    fn many_long_names_that_differ_at_their_end_take_little_time() {
        for names in [Names::Iso, Names::Joliet] {
            let mut identifiers = Identifiers::new(names);
            let long = "n".repeat(names.room() - "txt".len() - "0000".len());
            let found: HashSet<_> = (0..200_000).map(|n| identifiers.of(format!("{long}{n:06}.txt").as_bytes(), false)).collect();
            assert_eq!(found.len(), 200_000);
        }
    }

    proptest! {
        /// No two names of a directory meet, and none is too long.
        #[test]
        fn identifiers_are_unique(files in prop::collection::vec(("[ab.;_ü-]{1,40}", any::<bool>()), 1..60), joliet in any::<bool>()) {
            let names = if joliet { Names::Joliet } else { Names::Iso };
            let mut identifiers = Identifiers::new(names);
            let mut seen = HashSet::new();
            for (name, is_directory) in files {
                let identifier = identifiers.of(name.as_bytes(), is_directory);
                let max = if joliet { 128 } else { 32 };
                prop_assert!((1..=max).contains(&identifier.len()));
                let key = match identifier.strip_suffix(b".;1") {
                    Some(name) if !joliet => name.to_vec(),
                    _ => identifier,
                };
                prop_assert!(seen.insert(key));
            }
        }
    }
}
