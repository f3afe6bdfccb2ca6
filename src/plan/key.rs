//! The key of a run: what tells its outputs from those of any other run.
//!
//! It is the SHA-256 of moby's version, `SOURCE_DATE_EPOCH`, the architecture that is built for, the arguments, and what the files hold that
//! the arguments name. Two runs of one key write the same bytes. Nothing else enters: no clock, no directory that is not an argument.

use crate::{
    emit::is_address,
    error::{At, Result},
};
use formats::{Timestamp, units};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{self, File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// What files hold, each read once as long as it does not change: the rows of a plan share them.
#[derive(Debug, Default)]
pub(crate) struct Digests(Mutex<HashMap<PathBuf, (Stamp, [u8; 32])>>);

/// Whether a file is still as it was: its length, and when it was written.
type Stamp = (u64, Option<SystemTime>);

impl Digests {
    /// The key of a command line that reads these files and directories; none where one of them is elsewhere, or is a pipe, which can be
    /// read once.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn key(&self, time: Timestamp, arch: &str, line: &[OsString], files: &[&Path]) -> Result<Option<String>> {
        if files.iter().any(|path| is_elsewhere(path)) {
            return Ok(None);
        }
        let mut contents = Vec::new();
        for path in files {
            match self.of(path)? {
                Some(content) => contents.push(content),
                None => return Ok(None),
            }
        }
        let mut key = Sha256::new();
        part(&mut key, concat!("moby ", env!("CARGO_PKG_VERSION")).as_bytes());
        part(&mut key, time.0.to_string().as_bytes());
        part(&mut key, arch.as_bytes());
        part(&mut key, line.len().to_string().as_bytes());
        line.iter().for_each(|word| part(&mut key, word.as_encoded_bytes()));
        for (path, content) in files.iter().zip(&contents) {
            part(&mut key, path.as_os_str().as_encoded_bytes());
            part(&mut key, content);
        }
        Ok(Some(units::hex(&key.finalize())))
    }

    fn of(&self, path: &Path) -> Result<Option<[u8; 32]>> {
        let metadata = fs::metadata(path).at(|| path.display())?;
        if metadata.is_dir() {
            return directory(path).map(Some);
        }
        if !metadata.is_file() {
            return Ok(None);
        }
        let stamp = (metadata.len(), metadata.modified().ok());
        // Who panicked while he held it left nothing half done.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(path) {
            Some((then, digest)) if *then == stamp => Ok(Some(*digest)),
            _ => {
                let digest = file(path).at(|| path.display())?;
                known.insert(path.to_owned(), (stamp, digest));
                Ok(Some(digest))
            }
        }
    }
}

/// Whether a path is a URL: a place whose content is not to be had by reading a file.
pub(crate) fn is_elsewhere(path: &Path) -> bool {
    path.to_str().is_some_and(is_address)
}

/// With its length, so that no two lists of parts are alike.
fn part(to: &mut Sha256, bytes: &[u8]) {
    to.update(units::bytes(bytes.len()).to_le_bytes());
    to.update(bytes);
}

fn file(path: &Path) -> io::Result<[u8; 32]> {
    let (mut file, mut digest, mut chunk) = (File::open(path)?, Sha256::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(digest.finalize().into()),
            Ok(n) => digest.update(&chunk[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Names, permission bits and content of everything below a directory, in the order of the names.
fn directory(path: &Path) -> Result<[u8; 32]> {
    let names = fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>());
    let mut names = names.at(|| path.display())?;
    names.sort_unstable();
    let mut digest = Sha256::new();
    for name in names {
        let entry = path.join(&name);
        let metadata = entry.symlink_metadata().at(|| entry.display())?;
        part(&mut digest, name.as_encoded_bytes());
        part(&mut digest, &mode(&metadata).to_le_bytes());
        if metadata.is_symlink() {
            part(&mut digest, fs::read_link(&entry).at(|| entry.display())?.as_os_str().as_encoded_bytes());
            if entry.is_file() {
                part(&mut digest, &file(&entry).at(|| entry.display())?);
            }
        } else if metadata.is_dir() {
            part(&mut digest, &directory(&entry)?);
        } else if metadata.is_file() {
            part(&mut digest, &file(&entry).at(|| entry.display())?);
        }
    }
    Ok(digest.finalize().into())
}

/// What a file is and who may use it.
#[cfg(unix)]
fn mode(metadata: &Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::mode(metadata)
}

#[cfg(not(unix))]
fn mode(metadata: &Metadata) -> u32 {
    u32::from(metadata.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(words: &[&str], files: &[&Path]) -> String {
        let line: Vec<_> = words.iter().map(OsString::from).collect();
        Digests::default().key(Timestamp(0), "amd64", &line, files).unwrap().unwrap()
    }

    #[test]
    fn a_key_tells_content_words_and_time() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a.tar");
        fs::write(&path, "one").unwrap();
        let first = key(&["convert", "a.tar"], &[&path]);
        assert_eq!(first, key(&["convert", "a.tar"], &[&path]));
        assert_ne!(first, key(&["convert", "a", ".tar"], &[&path]), "words have ends");
        assert_ne!(first, Digests::default().key(Timestamp(1), "amd64", &["convert".into(), "a.tar".into()], &[&path]).unwrap().unwrap());
        let elsewhere = Digests::default().key(Timestamp(0), "arm64", &["convert".into(), "a.tar".into()], &[&path]).unwrap().unwrap();
        assert_ne!(first, elsewhere, "an image for several machines");
        fs::write(&path, "two").unwrap();
        assert_ne!(first, key(&["convert", "a.tar"], &[&path]));
    }

    #[test]
    fn a_file_that_changed_is_read_again() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a.tar");
        let digests = Digests::default();
        let key = |content: &str| {
            fs::write(&path, content).unwrap();
            digests.key(Timestamp(0), "amd64", &[], &[&path]).unwrap().unwrap()
        };
        let first = key("one");
        assert!(first != key("three") && first == key("one"));
    }

    #[test]
    fn a_directory_is_what_is_below_it() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        fs::write(at("sub/file"), "one").unwrap();
        let first = key(&[], &[scratch.path()]);
        fs::rename(at("sub/file"), at("sub/other")).unwrap();
        let renamed = key(&[], &[scratch.path()]);
        fs::write(at("sub/other"), "two").unwrap();
        assert!(first != renamed && renamed != key(&[], &[scratch.path()]));
    }

    /// To read a pipe for its key would take from the run what it is to read.
    #[cfg(unix)]
    #[test]
    fn a_pipe_has_no_key_and_is_not_read() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(Digests::default().key(Timestamp(0), "amd64", &[], &[&path]).unwrap(), None);
    }

    #[test]
    fn what_is_elsewhere_has_no_key() {
        assert_eq!(Digests::default().key(Timestamp(0), "amd64", &[], &[Path::new("s3://bucket/a.tar")]).unwrap(), None);
        let gone = Digests::default().key(Timestamp(0), "amd64", &[], &[Path::new("gone.tar")]).unwrap_err();
        assert!(gone.to_string().starts_with("gone.tar: "), "{gone}");
    }
}
