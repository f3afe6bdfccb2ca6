//! `Spool`: where bytes go whose length is unknown until they are made.

use crate::{Blob, Result, blob, units};
use std::{
    fs::File,
    io::{self, Write},
    sync::Arc,
};

/// An append-only file without a name. What is written comes back as a [`Blob`] that refers to it.
#[derive(Debug)]
pub struct Spool {
    file: Arc<File>,
    len: u64,
}

impl Spool {
    /// A spool over an empty file that is open for reading and writing, best one already unlinked.
    pub fn new(file: File) -> Self {
        Self { file: Arc::new(file), len: 0 }
    }

    /// Appends bytes and gives them back as a blob.
    pub fn append(&mut self, bytes: &[u8]) -> Result<Blob> {
        let at = self.len;
        self.write_all(bytes)?;
        Ok(self.since(at))
    }

    /// Copies a reader to its end and gives the bytes back as a blob.
    pub fn copy(&mut self, from: &mut dyn io::Read) -> Result<Blob> {
        let at = self.len;
        io::copy(from, self)?;
        Ok(self.since(at))
    }

    /// How much was written so far: a mark for [`Spool::since`].
    pub fn position(&self) -> u64 {
        self.len
    }

    /// Everything written since a mark.
    pub fn since(&self, mark: u64) -> Blob {
        assert!(mark <= self.len, "a mark of this spool");
        Blob::file(Arc::clone(&self.file), mark, self.len - mark)
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = blob::write_at(&self.file, bytes, self.len)?;
        self.len += units::bytes(n);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_comes_back() {
        let mut spool = Spool::new(tempfile::tempfile().unwrap());
        let one = spool.append(b"one").unwrap();
        let mark = spool.position();
        spool.write_all(b"two").unwrap();
        spool.write_all(b"three").unwrap();
        assert_eq!(spool.since(mark).to_vec(64).unwrap(), b"twothree");
        assert_eq!(one.to_vec(64).unwrap(), b"one");
    }
}
