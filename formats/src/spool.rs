//! `Spool`: where bytes go whose length is unknown until they are made.

use crate::{
    At, Blob, Result,
    blob::{self, Backing},
    units,
};
use std::{
    fmt,
    fs::File,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// How much is written before the place is asked again, in bytes.
const ASKED: u64 = 16 * units::MIB;

/// Where the file of a spool is; shown in errors.
pub trait Place: fmt::Display + Send + Sync {
    /// An empty file that is open for reading and writing, best one already unlinked.
    ///
    /// # Errors
    /// When there can be none.
    fn file(&self) -> Result<File>;

    /// Asked every 16 MiB that are written, zeros among them: the file, which holds so many bytes, may grow.
    ///
    /// # Errors
    /// When it may not.
    fn may_grow(&self, file: &File, len: u64) -> Result<()>;
}

/// An append-only file without a name. What is written comes back as a [`Blob`] that refers to it. Zeros become holes of it.
/// There is no file before something is written.
pub struct Spool {
    place: Box<dyn Place>,
    file: Option<Arc<Backing>>,
    len: u64,
    /// What was written since the place was asked.
    unasked: u64,
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").field("file", &self.file).field("len", &self.len).finish_non_exhaustive()
    }
}

impl Spool {
    /// A spool whose file will be at this place.
    pub fn new(place: impl Place + 'static) -> Self {
        Self { place: Box::new(place), file: None, len: 0, unasked: 0 }
    }

    /// A spool for tests and examples, wherever temporary files are.
    #[cfg(any(test, feature = "scratch"))]
    pub fn scratch() -> Self {
        Self::new(Scratch)
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

    /// Room for so many bytes, which several threads may fill at once. What none of them writes is zeros.
    pub fn room(&mut self, len: u64) -> Result<Room<'_>> {
        let (place, start, unasked) = (&*self.place, self.len, self.unasked);
        let file = opened(&mut self.file, place)?;
        file.file().set_len(start.saturating_add(len)).at(|| place)?;
        self.len += len;
        self.unasked = (unasked + len) % ASKED;
        Ok(Room { place, file: Arc::clone(file), start, len, unasked, written: AtomicU64::new(0) })
    }

    /// How much was written so far: a mark for [`Spool::since`].
    pub fn position(&self) -> u64 {
        self.len
    }

    /// Everything written since a mark.
    pub fn since(&self, mark: u64) -> Blob {
        assert!(mark <= self.len, "a mark of this spool");
        let file = self.file.as_ref().map(|file| Blob::file(Arc::clone(file), mark, self.len - mark));
        file.unwrap_or_default()
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = opened(&mut self.file, &*self.place)?;
        if self.unasked >= ASKED {
            self.place.may_grow(file.file(), self.len).at(|| &self.place)?;
            self.unasked = 0;
        }
        let written = match blob::is_zero(bytes) {
            // The file is as long as what was written, whatever of it is stored.
            true => file.file().set_len(self.len + units::bytes(bytes.len())).map(|()| bytes.len()),
            false => blob::write_at(file.file(), bytes, self.len),
        };
        let n = match written {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            other => other.at(|| &self.place)?,
        };
        self.len += units::bytes(n);
        self.unasked += units::bytes(n);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The file of a spool, made where there is none.
fn opened<'a>(file: &'a mut Option<Arc<Backing>>, place: &dyn Place) -> Result<&'a Arc<Backing>> {
    match file {
        Some(file) => Ok(file),
        None => Ok(file.insert(Arc::new(place.file().at(|| place)?.into()))),
    }
}

/// A piece of a spool that is written in any order.
pub struct Room<'a> {
    place: &'a dyn Place,
    file: Arc<Backing>,
    start: u64,
    len: u64,
    /// What of the spool was written since the place was asked, before there was this room.
    unasked: u64,
    /// What of the room was written.
    written: AtomicU64,
}

impl fmt::Debug for Room<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("start", &self.start).field("len", &self.len).finish_non_exhaustive()
    }
}

impl Room<'_> {
    /// Writes bytes at a place of the room. Panics where they do not fit: a planner bug.
    ///
    /// # Errors
    /// When the file cannot be written, or may not grow.
    pub fn write(&self, at: u64, mut bytes: &[u8]) -> Result<()> {
        let len = units::bytes(bytes.len());
        assert!(at + len <= self.len, "{len} bytes at {at} of a room of {}", self.len);
        let before = self.written.fetch_add(len, Ordering::Relaxed);
        let asked = |written: u64| (self.unasked + written) / ASKED;
        if asked(before) != asked(before + len) {
            self.place.may_grow(self.file.file(), self.start + before).at(|| self.place)?;
        }
        let mut at = self.start + at;
        // Zeros are there already.
        while !blob::is_zero(bytes) {
            match blob::write_at(self.file.file(), bytes, at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)).at(|| self.place),
                other => {
                    let n = other.at(|| self.place)?;
                    bytes = &bytes[n..];
                    at += units::bytes(n);
                }
            }
        }
        Ok(())
    }

    /// What is in it.
    pub fn blob(&self) -> Blob {
        Blob::file(Arc::clone(&self.file), self.start, self.len)
    }
}

/// Wherever temporary files are, as much as there is room for.
#[cfg(any(test, feature = "scratch"))]
struct Scratch;

#[cfg(any(test, feature = "scratch"))]
impl fmt::Display for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("scratch")
    }
}

#[cfg(any(test, feature = "scratch"))]
impl Place for Scratch {
    fn file(&self) -> Result<File> {
        Ok(tempfile::tempfile()?)
    }

    fn may_grow(&self, _: &File, _: u64) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Kind};

    #[test]
    fn what_was_written_comes_back() {
        let mut spool = Spool::scratch();
        let one = spool.append(b"one").unwrap();
        let mark = spool.position();
        spool.write_all(b"two").unwrap();
        spool.write_all(b"three").unwrap();
        assert_eq!(spool.since(mark).to_vec(64).unwrap(), b"twothree");
        assert_eq!(one.to_vec(64).unwrap(), b"one");
    }

    #[test]
    fn zeros_are_read_and_not_stored() {
        let mut spool = Spool::scratch();
        for _ in 0..64 {
            spool.write_all(&vec![0; 1 << 20]).unwrap();
        }
        spool.write_all(b"end").unwrap();
        spool.write_all(&[0; 5]).unwrap();
        let blob = spool.since(0);
        assert_eq!((blob.len(), blob.read_array::<8>(64 << 20).unwrap()), ((64 << 20) + 8, *b"end\0\0\0\0\0"));
        #[cfg(unix)]
        assert!(std::os::unix::fs::MetadataExt::blocks(&spool.file.unwrap().file().metadata().unwrap()) < 2048);
    }

    #[test]
    fn a_room_is_written_in_any_order() {
        let mut spool = Spool::scratch();
        spool.write_all(b"before").unwrap();
        let room = spool.room(10).unwrap();
        let write = |at, bytes: &'static [u8]| room.write(at, bytes).unwrap();
        std::thread::scope(|scope| {
            drop([(7, &b"end"[..]), (0, b"one"), (4, &[0; 2])].map(|(at, bytes)| scope.spawn(move || write(at, bytes))))
        });
        let room = room.blob();
        spool.write_all(b"behind").unwrap();
        assert_eq!(room.to_vec(64).unwrap(), b"one\0\0\0\0end");
        assert_eq!(spool.since(0).to_vec(64).unwrap(), b"beforeone\0\0\0\0endbehind");
        assert!(spool.room(0).unwrap().blob().is_empty());
    }

    /// Two askings long.
    struct Small;

    impl fmt::Display for Small {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("small")
        }
    }

    impl Place for Small {
        fn file(&self) -> Result<File> {
            Scratch.file()
        }

        fn may_grow(&self, _: &File, len: u64) -> Result<()> {
            if len < 48 * units::MIB { Ok(()) } else { Err(Error::new(Kind::Environment, "full")) }
        }
    }

    #[test]
    fn the_place_ends_what_grows() {
        for byte in [0, 1] {
            let (mut spool, piece) = (Spool::new(Small), vec![byte; 1 << 20]);
            let error = Error::from((0..100).find_map(|_| spool.write_all(&piece).err()).unwrap());
            assert_eq!((error.kind(), spool.position()), (Kind::Environment, 48 << 20));
        }
        let (mut spool, piece) = (Spool::new(Small), vec![1; 1 << 20]);
        spool.write_all(&piece).unwrap();
        let room = spool.room(99 << 20).unwrap();
        let refused = (0..99).find_map(|nth: u64| Some((nth, room.write(nth << 20, &piece).err()?.kind())));
        assert_eq!(refused, Some((62, Kind::Environment)));
    }

    #[test]
    fn what_is_not_used_needs_no_file() {
        struct Nowhere;
        impl fmt::Display for Nowhere {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("nowhere")
            }
        }
        impl Place for Nowhere {
            fn file(&self) -> Result<File> {
                Err(Error::new(Kind::Environment, "no room"))
            }

            fn may_grow(&self, _: &File, _: u64) -> Result<()> {
                Ok(())
            }
        }
        let mut spool = Spool::new(Nowhere);
        assert_eq!((spool.since(0).len(), spool.copy(&mut io::empty()).unwrap().len()), (0, 0));
        assert_eq!(spool.append(b"x").unwrap_err().to_string(), "nowhere: no room");
    }
}
