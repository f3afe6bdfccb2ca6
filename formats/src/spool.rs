//! `Spool`: where bytes go whose length is unknown until they are made.

use crate::{Blob, Result, blob, units};
use std::{
    fmt,
    fs::File,
    io::{self, Write},
    sync::Arc,
};

/// How much is written before the guard is asked again, in bytes.
const GUARDED: u64 = 16 * units::MIB;

/// Says whether more may be written.
pub type Guard = Box<dyn Fn(&File) -> Result<()> + Send + Sync>;

/// An append-only file without a name. What is written comes back as a [`Blob`] that refers to it. Zeros become holes of it.
pub struct Spool {
    file: Arc<File>,
    len: u64,
    guard: Option<Guard>,
    /// What was stored since the guard was asked.
    stored: u64,
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").field("file", &self.file).field("len", &self.len).finish_non_exhaustive()
    }
}

impl Spool {
    /// A spool over an empty file that is open for reading and writing, best one already unlinked.
    pub fn new(file: File) -> Self {
        Self { file: Arc::new(file), len: 0, guard: None, stored: 0 }
    }

    /// The same, with somebody who is asked every 16 MiB that are stored whether there may be more.
    pub fn guarded(file: File, guard: Guard) -> Self {
        Self { guard: Some(guard), ..Self::new(file) }
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
        if self.stored >= GUARDED {
            self.guard.as_ref().map_or(Ok(()), |guard| guard(&self.file))?;
            self.stored = 0;
        }
        let n = match blob::is_zero(bytes) {
            // The file is as long as what was written, whatever of it is stored.
            true => self.file.set_len(self.len + units::bytes(bytes.len())).map(|()| bytes.len())?,
            false => {
                let n = blob::write_at(&self.file, bytes, self.len)?;
                self.stored += units::bytes(n);
                n
            }
        };
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
    use crate::{Error, Kind};

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

    #[test]
    fn zeros_are_read_and_not_stored() {
        let mut spool = Spool::new(tempfile::tempfile().unwrap());
        for _ in 0..64 {
            spool.write_all(&vec![0; 1 << 20]).unwrap();
        }
        spool.write_all(b"end").unwrap();
        spool.write_all(&[0; 5]).unwrap();
        let blob = spool.since(0);
        assert_eq!((blob.len(), blob.read_array::<8>(64 << 20).unwrap()), ((64 << 20) + 8, *b"end\0\0\0\0\0"));
        #[cfg(unix)]
        assert!(std::os::unix::fs::MetadataExt::blocks(&spool.file.metadata().unwrap()) < 2048);
    }

    #[test]
    fn the_guard_ends_what_grows() {
        let room = std::sync::atomic::AtomicUsize::new(2);
        let guard = move |_: &File| match room.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) {
            0 => Err(Error::new(Kind::Environment, "full")),
            _ => Ok(()),
        };
        let mut spool = Spool::guarded(tempfile::tempfile().unwrap(), Box::new(guard));
        let piece = vec![1; 1 << 20];
        let error = Error::from((0..100).find_map(|_| spool.write_all(&piece).err()).unwrap());
        assert_eq!((error.kind(), spool.position()), (Kind::Environment, 48 << 20));
    }
}
