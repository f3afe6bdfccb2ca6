//! `Backing`: an open file that bytes of blobs are in.

use crate::{Error, Kind, Result, units};
use std::{
    fmt,
    fs::{File, Metadata},
    io,
    time::SystemTime,
};

/// An open file that bytes are read from.
pub struct Backing {
    file: File,
    /// What the file was like when it was opened, where it belongs to others.
    was: Option<Stamp>,
    /// How its machine is told what is read next.
    ahead: ReadAhead,
}

/// Tells the machine that so many bytes of a file, from a place on, are about to be read.
pub type ReadAhead = fn(&File, u64, u64);

/// What changes with the content of a file: its length in bytes, and when it was last written to.
#[derive(PartialEq, Eq)]
struct Stamp(u64, Option<SystemTime>);

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self(metadata.len(), metadata.modified().ok())
    }
}

/// A file of our own, which nobody else writes to.
impl From<File> for Backing {
    fn from(file: File) -> Self {
        Self { file, was: None, ahead: |_, _, _| {} }
    }
}

impl Backing {
    /// A file of others: what is read of it is an error once it is no longer as it was now.
    ///
    /// # Errors
    /// When nothing can be told of the file.
    pub fn of_others(file: File) -> Result<Self> {
        let was = Some(Stamp::of(&file.metadata()?));
        Ok(Self { was, ..Self::from(file) })
    }

    /// The same file, whose machine can be told what is read next: then it is read in large parts, whatever is asked for.
    #[must_use]
    pub fn with_read_ahead(self, ahead: ReadAhead) -> Self {
        Self { ahead, ..self }
    }

    /// That so many bytes, from `offset` on, are about to be read.
    pub(crate) fn read_ahead(&self, offset: u64, len: u64) {
        (self.ahead)(&self.file, offset, len);
    }

    /// The file. Who reads it by other ways asks [`Backing::refuse_changed`] behind that.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Fills `to` with the bytes from `offset`.
    ///
    /// # Errors
    /// When the file cannot be read, is shorter than that, or has changed.
    pub fn read_exact_at(&self, mut to: &mut [u8], mut offset: u64) -> Result<()> {
        while !to.is_empty() {
            match read_at(&self.file, to, offset) {
                Ok(0) => return Err(changed(&format!("it ended at byte {offset}, {} bytes early", to.len()))),
                Ok(n) => {
                    to = &mut to[n..];
                    offset += units::bytes(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.refuse_changed()
    }

    /// Refuses what was read of a file that has changed since it was opened: it may be the old and the new in one.
    ///
    /// # Errors
    /// When it has.
    pub fn refuse_changed(&self) -> Result<()> {
        match &self.was {
            Some(was) if *was != Stamp::of(&self.file.metadata()?) => Err(changed("somebody wrote to it")),
            _ => Ok(()),
        }
    }
}

fn changed(how: &str) -> Error {
    Error::new(Kind::Io, format!("the input changed while it was read: {how}")).hint("try again once nothing writes to it")
}

impl fmt::Debug for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backing").field("file", &self.file).finish_non_exhaustive()
    }
}

#[cfg(unix)]
fn read_at(file: &File, to: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, to, offset)
}

#[cfg(windows)]
fn read_at(file: &File, to: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, to, offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Blob;
    use std::{fs, time::Duration};

    #[test]
    fn a_file_that_shrank_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(10).unwrap();
        let blob = Blob::file(Backing::from(file), 5, 10);
        assert!(blob.to_vec(10).unwrap_err().to_string().contains("changed while it was read"));
    }

    #[test]
    fn a_file_of_others_that_was_written_to_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "before").unwrap();
        let blob = Blob::file(Backing::of_others(File::open(&path).unwrap()).unwrap(), 0, 6);
        assert_eq!(blob.to_vec(6).unwrap(), b"before");
        // As long as before; the clock of a file system has coarse ticks.
        fs::write(&path, "behind").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(SystemTime::now() + Duration::from_secs(5)).unwrap();
        let error = blob.to_vec(6).unwrap_err();
        assert!(error.kind() == Kind::Io && error.to_string().contains("somebody wrote to it"), "{error}");
    }
}
