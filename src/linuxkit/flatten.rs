//! Layers over one another as LinuxKit lays them (go-containerregistry's `mutate.Extract`): from the top down, and of every name the first.
//!
//! That differs from OCI's rules, for which there is [`formats::oci::merge`]: an opaque whiteout does nothing, a whiteout hides what
//! comes behind it in its own layer too, and of two entries of one layer the first counts.

use crate::error::{At, Result};
use formats::{
    Blob,
    oci::merge::{OPAQUE, WHITEOUT},
    tar::{
        typeflag,
        verbatim::{Entries, Entry, clean, split},
    },
    tree::{NAMES_MAX, ShowPath, too_many_names},
};
use std::collections::{HashMap, HashSet};

/// A layer unpacked, with what messages call it.
pub(crate) type Tar = (String, Blob);

/// What of the layers below is not to be seen any more.
#[derive(Default)]
struct Seen {
    /// Names that came by; `true` where they hide what is below them.
    names: HashMap<Vec<u8>, bool>,
    /// Directories that an opaque whiteout empties by OCI's rules, of the layers above.
    opaque: HashSet<Vec<u8>>,
    /// The same of this layer.
    opaque_here: Vec<Vec<u8>>,
    /// Bytes of all of them.
    len: usize,
}

/// Hands on the entries of layers, which stand from the bottom up, with clean names.
///
/// Gives the first file that shows although an opaque whiteout hides it by OCI's rules, if there is one.
///
/// # Errors
/// When a layer is no tar; the error names layer and entry.
pub(crate) fn each(layers: &[Tar], mut take: impl FnMut(Entry, Blob) -> Result<()>) -> Result<Option<String>> {
    let mut seen = Seen::default();
    let mut shown = None;
    for (name, layer) in layers.iter().rev() {
        for entry in Entries::new(layer) {
            let (mut entry, body) = entry.at(|| name)?;
            entry.path = clean(&entry.path);
            if seen.is_visible(&entry).at(|| format!("entry {}", ShowPath(&entry.path))).at(|| name)? {
                if shown.is_none() && seen.is_opaque(&entry.path) {
                    shown = Some(ShowPath(&entry.path).to_string());
                }
                take(entry, body).at(|| name)?;
            }
        }
        seen.opaque.extend(seen.opaque_here.drain(..));
    }
    Ok(shown)
}

impl Seen {
    /// Whether an entry is part of the result; remembers it.
    fn is_visible(&mut self, entry: &Entry) -> Result<bool> {
        let path = &entry.path;
        let (directory, name) = split(path);
        let hidden = name.strip_prefix(WHITEOUT);
        let is_directory = entry.kind == typeflag::DIRECTORY;
        if name == OPAQUE {
            self.count(directory)?;
            self.opaque_here.push(clean(directory));
        }
        let key = match hidden {
            Some(name) if !is_directory => clean(&[directory, name].concat()),
            _ => path.clone(),
        };
        if self.names.contains_key(&key) || parents(&key).any(|parent| self.names.get(parent) == Some(&true)) {
            return Ok(false);
        }
        self.count(&key)?;
        self.names.insert(key, hidden.is_some() || !is_directory);
        Ok(hidden.is_none())
    }

    /// Counts a path that stays in memory.
    fn count(&mut self, path: &[u8]) -> Result<()> {
        self.len += path.len();
        if self.len > NAMES_MAX { Err(too_many_names()) } else { Ok(()) }
    }

    fn is_opaque(&self, path: &[u8]) -> bool {
        !self.opaque.is_empty() && parents(path).any(|parent| self.opaque.contains(parent))
    }
}

/// The directories above a clean path, from the bottom up; the last is `.` or `/`.
fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(parent(path), |path| parent(path))
}

fn parent(path: &[u8]) -> Option<&[u8]> {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) if path.len() == 1 => None,
        Some(0) => Some(b"/"),
        Some(at) => Some(&path[..at]),
        None if path == b"." => None,
        None => Some(b"."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded() {
        let mut seen = Seen::default();
        let mut visible = |path: String| seen.is_visible(&Entry::new(typeflag::FILE, path, 0));
        assert!(visible("a".into()).unwrap() && !visible("a".into()).unwrap());
        let error = (0..20_000).find_map(|nth| visible(format!("{nth:0>8192}")).err()).unwrap();
        assert!(error.to_string().contains("more than 128 MiB"), "{error}");
    }

    #[test]
    fn the_way_up_ends() {
        let all = |path: &[u8]| parents(path).map(|path| ShowPath(path).to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!((all(b"a/b/c"), all(b"/a/b"), all(b"."), all(b"/")), ("a/b a .".into(), "/a /".into(), String::new(), String::new()));
    }
}
