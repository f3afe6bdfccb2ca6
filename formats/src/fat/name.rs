//! Names: which are allowed, and the 8.3 short name that stands for each (fatgen103, "FAT Long Directory Entries").

use crate::{Error, Result, numbers::Numbers, units};
use std::collections::HashSet;

/// A short name as it is stored: base and extension padded with spaces, without the dot.
pub(super) type Short = [u8; 11];

/// The base is shown in lower case, though stored in upper case.
const LOWER_BASE: u8 = 0x08;
/// The same of the extension.
const LOWER_EXTENSION: u8 = 0x10;
const LONG_MAX: usize = 255;

/// How a name is stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) short: Short,
    /// [`LOWER_BASE`] and [`LOWER_EXTENSION`], in the byte that Windows NT uses for them.
    pub(super) case: u8,
    /// The long name in UTF-16 without a terminator; empty when the short name says it all.
    pub(super) long: Vec<u16>,
}

/// Refuses what Windows cannot open.
pub(super) fn check(name: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::bad_input(format!("the name '{}' {why}", name.escape_debug())));
    if name.is_empty() || name == "." || name == ".." {
        return refuse("is not a file's");
    }
    if let Some(bad) = name.chars().find(|c| u32::from(*c) < 0x20 || "\"*/:<>?\\|\x7f".contains(*c)) {
        return refuse(&format!("has {bad:?}, which FAT does not hold"));
    }
    if name.ends_with(['.', ' ']) {
        return refuse("ends in a dot or a space, which FAT does not hold");
    }
    let len = name.encode_utf16().count();
    if len > LONG_MAX {
        return refuse(&format!("has {len} UTF-16 units, FAT holds {LONG_MAX}"));
    }
    Ok(())
}

/// What names are compared by: FAT keeps case but does not tell by it.
pub(super) fn folded(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).collect()
}

/// The short names of one directory.
#[derive(Debug, Default)]
pub(super) struct ShortNames {
    taken: HashSet<Short>,
    tails: Numbers<Short>,
}

impl ShortNames {
    /// Finds a short name for a name that passed [`check`] and is not in the directory yet.
    pub(super) fn store(&mut self, name: &str) -> Stored {
        if let Some((short, case)) = plain(name)
            && self.taken.insert(short)
        {
            return Stored { short, case, long: Vec::new() };
        }
        let basis = basis(name);
        let Self { taken, tails } = self;
        let short = tails.free(1, |digits| cut(basis, digits), |tail| with_tail(basis, tail), |short| taken.insert(*short));
        Stored { short, case: 0, long: name.encode_utf16().collect() }
    }
}

fn is_short_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"$%'-_@~`!(){}^#&".contains(&byte)
}

/// The short name and case bits of a name that needs no long one.
fn plain(name: &str) -> Option<(Short, u8)> {
    let (base, extension) = name.split_once('.').unwrap_or((name, ""));
    let fits = !base.is_empty() && base.len() <= 8 && extension.len() <= 3;
    let is_short = fits && base.bytes().chain(extension.bytes()).all(is_short_char);
    let is_mixed = |part: &str| part.bytes().any(|b| b.is_ascii_lowercase()) && part.bytes().any(|b| b.is_ascii_uppercase());
    if !is_short || is_mixed(base) || is_mixed(extension) {
        return None;
    }
    let bit = |part: &str, bit| if part.bytes().any(|b| b.is_ascii_lowercase()) { bit } else { 0 };
    Some((padded(base.as_bytes(), extension.as_bytes()), bit(base, LOWER_BASE) | bit(extension, LOWER_EXTENSION)))
}

fn padded(base: &[u8], extension: &[u8]) -> Short {
    let mut short = [b' '; 11];
    short[..base.len()].copy_from_slice(base);
    short[8..8 + extension.len()].copy_from_slice(extension);
    short.to_ascii_uppercase().try_into().expect("the length does not change")
}

/// The basis of a generated short name: what can be kept of the long one.
fn basis(name: &str) -> Short {
    let kept: String = name.trim_start_matches('.').chars().filter(|c| *c != ' ').collect();
    let (base, extension) = kept.rsplit_once('.').unwrap_or((&kept, ""));
    let part = |text: &str, max| -> Vec<u8> {
        let stored = text.chars().filter(|c| *c != '.').map(|c| u8::try_from(c).ok().filter(|b| is_short_char(*b)).unwrap_or(b'_'));
        stored.take(max).collect()
    };
    padded(&part(base, 8), &part(extension, 3))
}

/// The basis, with room for `~` and so many digits at its end.
fn cut(basis: Short, digits: u32) -> Short {
    let base = basis[..8].trim_ascii_end();
    padded(&base[..base.len().min(7 - units::index(digits.into()))], &basis[8..])
}

/// The basis with `~n` at its end.
fn with_tail(basis: Short, n: u32) -> Short {
    let tail = format!("~{n}");
    let cut = cut(basis, n.ilog10() + 1);
    padded(&[cut[..8].trim_ascii_end(), tail.as_bytes()].concat(), &cut[8..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(names: &[&str]) -> Vec<String> {
        let mut shorts = ShortNames::default();
        let show = |name: &&str| {
            let stored = shorts.store(name);
            format!(
                "{}|{:02x}|{}",
                String::from_utf8(stored.short.to_vec()).unwrap(),
                stored.case,
                String::from_utf16(&stored.long).unwrap()
            )
        };
        names.iter().map(show).collect()
    }

    #[test]
    fn a_name_of_one_case_needs_no_long_name() {
        assert_eq!(
            stored(&["BOOTX64.EFI", "initrd.img", "VMLINUZ.old", "efi"]),
            ["BOOTX64 EFI|00|", "INITRD  IMG|18|", "VMLINUZ OLD|10|", "EFI        |08|",]
        );
    }

    #[test]
    fn other_names_get_a_short_one_of_their_own() {
        assert_eq!(
            stored(&["moby.conf", "moby.config", "Moby.txt", "vmlinuz-6.1", "MOBY~1.CON", ".profile", "a b+c", "ünï", "MOBY~3.CON"]),
            [
                "MOBY~1  CON|00|moby.conf",
                "MOBY~2  CON|00|moby.config",
                "MOBY~1  TXT|00|Moby.txt",
                "VMLINU~11  |00|vmlinuz-6.1",
                "MOBY~1~1CON|00|MOBY~1.CON",
                "PROFIL~1   |00|.profile",
                "AB_C~1     |00|a b+c",
                "_N_~1      |00|ünï",
                "MOBY~3  CON|00|",
            ]
        );
    }

    #[test]
    fn tails_take_what_room_they_need() {
        let names: Vec<_> = (0..12).map(|i| format!("a long name {i}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        assert!(stored(&names)[11].starts_with("ALONG~12   |"));
    }

    /// Names of which each has a basis of its own, and all share their tails.
    #[test]
    fn many_names_take_little_time() {
        let mut shorts = ShortNames::default();
        let found: HashSet<_> = (0..200_000).map(|n| shorts.store(&format!("{n:08} and more.txt")).short).collect();
        assert_eq!(found.len(), 200_000);
    }

    #[test]
    fn names_that_windows_cannot_open_are_refused() {
        for bad in ["", ".", "..", "a:b", "a\\b", "tail.", "tail ", "nul\0", &"x".repeat(256)] {
            assert!(check(bad).is_err(), "{bad}");
        }
        for good in ["a", ".a", "a b", "ünï 🚀", &"x".repeat(255)] {
            assert!(check(good).is_ok(), "{good}");
        }
    }
}
