//! Locks: which images a build took, so that another takes the same.
//!
//! ```text
//! # comments, and one line an image: name, platform, digest of manifest or index
//! docker.io/linuxkit/init:v1 linux/amd64 sha256:0123...
//! ```

use crate::error::{At, Error, Result};
use formats::{oci::Digest, tree::ShowPath};
use std::{collections::BTreeMap, fmt};

/// What it is called for: name and platform.
type Key = (String, String);

/// Images by name and platform, and the one that each is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lock {
    images: BTreeMap<Key, Digest>,
}

impl Lock {
    /// Reads a lock.
    ///
    /// # Errors
    /// When a line is malformed, or two contradict each other.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut lock = Self::default();
        for (nth, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
            let place = || format!("line {}", nth + 1);
            let [name, platform, digest] = line.split_whitespace().collect::<Vec<_>>()[..] else {
                let shown = ShowPath(line.as_bytes());
                return Err(Error::bad_input(format!("'{shown}' must be an image, a platform and a digest")).at(place()));
            };
            let digest = digest.parse().at(place)?;
            if let Some(other) = lock.images.insert((name.to_owned(), platform.to_owned()), digest) {
                return Err(Error::bad_input(format!("{} is locked twice, to {other} before", ShowPath(name.as_bytes()))).at(place()));
            }
        }
        Ok(lock)
    }

    /// Locks an image.
    pub(crate) fn insert(&mut self, name: &str, platform: &str, digest: Digest) {
        self.images.insert((name.to_owned(), platform.to_owned()), digest);
    }

    /// What an image is locked to.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn get(&self, name: &str, platform: &str) -> Result<&Digest> {
        self.images.get(&(name.to_owned(), platform.to_owned())).ok_or_else(|| {
            let what = format!("image {} for {platform} is not locked", ShowPath(name.as_bytes()));
            Error::bad_input(what).hint("`moby lock` writes a new lock")
        })
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Which images `moby build --locked` takes. Written by `moby lock`.")?;
        self.images.iter().try_for_each(|((name, platform), digest)| writeln!(f, "{name} {platform} {digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut lock = Lock::default();
        lock.insert("docker.io/library/b:1", "linux/amd64", Digest::sha256(b"b"));
        lock.insert("docker.io/library/a", "linux/arm64", Digest::sha256(b"a"));
        assert_eq!(Lock::parse(&lock.to_string()).unwrap(), lock);
        assert_eq!(lock.get("docker.io/library/a", "linux/arm64").unwrap(), &Digest::sha256(b"a"));
        assert!(lock.get("docker.io/library/a", "linux/amd64").unwrap_err().to_string().ends_with("is not locked"));
    }

    #[test]
    fn what_is_no_lock_is_refused_by_line() {
        let one = format!("a linux/amd64 {}\n", Digest::sha256(b""));
        for (text, words) in
            [("a b", "line 1: 'a b' must be"), ("#\na b c", "line 2: 'c' is no digest"), (&one.repeat(2), "line 2: a is locked twice")]
        {
            assert!(Lock::parse(text).unwrap_err().to_string().starts_with(words), "{text}");
        }
    }
}
