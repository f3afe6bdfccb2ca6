//! The cache: an OCI layout that LinuxKit's own cache is too, each reading what the other wrote.
//!
//! ```text
//!  oci-layout, index.json           which images have a name; replaced whole, under the lock
//!  blobs/sha256/HEX                 complete, its digest seen to be right
//!  ingest/sha256-HEX                what has come so far of a blob; a later pull goes on from there
//!  .lock                            held while index.json is replaced, as LinuxKit holds it
//! ```
//! A run may be killed at any point: no blob has its name before it is complete, and no name leads to a blob that is not there.

use super::layout::Layout;
use crate::error::{At, Error, Result};
use formats::{
    Blob,
    oci::{Descriptor, Digest, Hasher, LAYOUT, Store, blob_name, named},
    units,
};
use serde_json::{Value, json};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A cache in a directory, which is made when something is put into it.
#[derive(Debug)]
pub(crate) struct Cache {
    path: PathBuf,
    /// POSIX locks are a process's, so its threads take turns by this one.
    turn: Mutex<()>,
}

/// A blob on its way into the cache.
#[derive(Debug)]
pub(crate) struct Ingest<'a> {
    cache: &'a Cache,
    digest: Digest,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    len: u64,
}

/// The right to replace the index.
struct Turn<'a> {
    _thread: MutexGuard<'a, ()>,
    _process: File,
}

impl Cache {
    /// The cache in a directory, which need not be there yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, turn: Mutex::new(()) }
    }

    /// The image of a name, if its index lists it.
    ///
    /// # Errors
    /// When the index is damaged.
    pub(crate) fn named(&self, name: &str) -> Result<Option<Descriptor>> {
        Ok(named(&self.index()?, name).cloned())
    }

    /// Whether a blob is there, of the length that its descriptor says.
    pub(crate) fn has(&self, descriptor: &Descriptor) -> bool {
        fs::metadata(self.blob_path(&descriptor.digest)).is_ok_and(|meta| meta.is_file() && meta.len() == descriptor.size)
    }

    /// Puts a document into the cache.
    ///
    /// # Errors
    /// When it has another digest, or cannot be written.
    #[cfg(feature = "net")]
    pub(crate) fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let mut ingest = self.ingest(digest)?;
        ingest.restart()?;
        ingest.write_all(bytes)?;
        ingest.finish()
    }

    /// Begins to take in a blob, or goes on where an earlier run ended. Waits while another one takes in the same.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub(crate) fn ingest(&self, digest: &Digest) -> Result<Ingest<'_>> {
        self.make()?;
        let path = self.path.join("ingest").join(format!("{}-{}", digest.algorithm(), digest.hex()));
        let place = || path.display().to_string();
        loop {
            let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).at(place)?;
            file.lock().at(place)?;
            // Whoever held it may have given it its name, or taken it away.
            if !is_same_file(&file, &path) {
                continue;
            }
            let mut hasher = digest.hasher();
            let len = hasher.read(&mut file).at(place)?;
            return Ok(Ingest { cache: self, digest: digest.clone(), path, file, hasher, len });
        }
    }

    /// Lists an image under a name, and nothing else under it any more.
    ///
    /// # Errors
    /// When the index is damaged or cannot be replaced.
    pub(crate) fn list(&self, descriptor: &Descriptor, name: &str) -> Result<()> {
        let entry = descriptor.clone().called(name).json();
        self.change(|manifests| {
            manifests.retain(|entry| !Descriptor::read(entry).is_ok_and(|entry| entry.is_called(name)));
            manifests.push(entry);
        })
    }

    /// Puts a copy of a blob into the cache.
    ///
    /// # Errors
    /// When it has another digest, or cannot be read or written.
    pub(crate) fn copy(&self, digest: &Digest, blob: &Blob) -> Result<()> {
        let mut ingest = self.ingest(digest)?;
        ingest.restart()?;
        io::copy(&mut io::BufReader::with_capacity(256 << 10, blob.reader()), &mut ingest)?;
        ingest.finish()
    }

    /// Takes images off the list, by their names; some have none. Their blobs stay until [`Cache::prune`].
    ///
    /// # Errors
    /// When the index is damaged or cannot be replaced.
    pub(crate) fn forget(&self, is_unwanted: impl Fn(Option<&str>) -> bool) -> Result<()> {
        let is_kept = |entry: &Value| !is_unwanted(Descriptor::read(entry).ok().as_ref().and_then(Descriptor::name));
        self.change(|manifests| manifests.retain(is_kept))
    }

    /// Changes the list of images.
    fn change(&self, change: impl FnOnce(&mut Vec<Value>)) -> Result<()> {
        self.make()?;
        let turn = self.turn()?;
        let path = self.path.join("index.json");
        let place = || path.display().to_string();
        let bytes = fs::read(&path).at(place)?;
        let mut index: Value =
            serde_json::from_slice(&bytes).map_err(|error| Error::bad_input("it is no JSON").because(error)).at(place)?;
        let Some(manifests) = index.get_mut("manifests").and_then(Value::as_array_mut) else {
            return Err(Error::bad_input("manifests must be a list")).at(place);
        };
        change(manifests);
        replace(&path, format!("{index:#}\n").as_bytes()).at(place)?;
        drop(turn);
        Ok(())
    }

    /// Removes blobs that no image needs, and what unfinished pulls left; gives how many bytes that were.
    ///
    /// # Errors
    /// When the cache cannot be read or changed.
    pub(crate) fn prune(&self, needed: impl Fn() -> Result<std::collections::HashSet<Digest>>) -> Result<u64> {
        if !self.path.join("index.json").exists() {
            return Ok(0);
        }
        let _turn = self.turn()?;
        let needed = needed()?;
        let mut freed = 0;
        for algorithm in ["sha256", "sha512"] {
            for (path, name, len) in entries(&self.path.join("blobs").join(algorithm))? {
                if format!("{algorithm}:{name}").parse().is_ok_and(|digest| !needed.contains(&digest)) {
                    fs::remove_file(&path).at(|| path.display())?;
                    freed += len;
                }
            }
        }
        for (path, _, len) in entries(&self.path.join("ingest"))? {
            // One that is being filled is locked.
            if File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
                fs::remove_file(&path).at(|| path.display())?;
                freed += len;
            }
        }
        Ok(freed)
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join(blob_name(digest))
    }

    /// Makes what a cache must have, where it is missing.
    fn make(&self) -> Result<()> {
        for directory in ["blobs/sha256", "ingest"] {
            let path = self.path.join(directory);
            fs::create_dir_all(&path).at(|| format!("cannot make the cache: {}", path.display()))?;
        }
        if self.path.join("index.json").exists() && self.path.join("oci-layout").exists() {
            return Ok(());
        }
        let _turn = self.turn()?;
        let empty = format!("{:#}\n", json!({"schemaVersion": 2, "mediaType": formats::oci::media_type::INDEX, "manifests": []}));
        for (name, text) in [("index.json", empty.as_str()), ("oci-layout", LAYOUT)] {
            let path = self.path.join(name);
            if !path.exists() {
                replace(&path, text.as_bytes()).at(|| path.display())?;
            }
        }
        Ok(())
    }

    fn turn(&self) -> Result<Turn<'_>> {
        let thread = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path.join(".lock");
        let process = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).at(|| path.display())?;
        lock(&process).at(|| path.display())?;
        Ok(Turn { _thread: thread, _process: process })
    }
}

impl Store for Cache {
    fn name(&self) -> String {
        format!("cache {}", self.path.display())
    }

    fn index(&self) -> Result<Vec<Descriptor>> {
        match self.path.join("index.json").exists() {
            true => Layout::open(&self.path)?.index(),
            false => Ok(Vec::new()),
        }
    }

    fn open(&self, digest: &Digest) -> Result<Option<Blob>> {
        let path = self.blob_path(digest);
        super::layout::file(&path).at(|| path.display())
    }
}

impl Ingest<'_> {
    /// How many bytes are there.
    #[cfg(feature = "net")]
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Begins anew.
    ///
    /// # Errors
    /// When the file cannot be changed.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hasher = self.digest.hasher();
        self.len = 0;
        Ok(())
    }

    /// Gives the blob its name, if its digest is right; else nothing of it is kept.
    ///
    /// # Errors
    /// When it is another, or the file cannot be named.
    pub(crate) fn finish(self) -> Result<()> {
        let Self { cache, digest, path, hasher, file, .. } = self;
        if let Err(error) = digest.expect(&hasher.finish()) {
            // Nothing of it can be gone on from.
            let _: io::Result<()> = fs::remove_file(&path);
            return Err(error.at(format!("blob {digest}")));
        }
        let to = cache.blob_path(&digest);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).at(|| parent.display())?;
        }
        fs::rename(&path, &to).at(|| to.display())?;
        drop(file);
        Ok(())
    }
}

impl Write for Ingest<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.file.write(bytes)?;
        self.hasher.update(&bytes[..len]);
        self.len += units::bytes(len);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file gets new content, whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = tempfile::Builder::new().prefix(".index-").tempfile_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(bytes)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The files of a directory: path, name, length. One that is missing has none.
fn entries(directory: &Path) -> Result<Vec<(PathBuf, String, u64)>> {
    let list = match fs::read_dir(directory) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::from(error).at(directory.display())),
    };
    let entry = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        Ok((entry.path(), entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len()))
    };
    list.map(entry).collect::<Result<_>>().at(|| directory.display())
}

/// Waits for the lock that LinuxKit takes too.
#[cfg(unix)]
fn lock(file: &File) -> Result<()> {
    Ok(rustix::fs::fcntl_lock(file, rustix::fs::FlockOperation::LockExclusive).map_err(io::Error::from)?)
}

#[cfg(not(unix))]
fn lock(file: &File) -> Result<()> {
    Ok(file.lock()?)
}

#[cfg(unix)]
fn is_same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
    matches!((file.metadata().map(id), fs::metadata(path).map(id)), (Ok(a), Ok(b)) if a == b)
}

/// A file that is open cannot be taken away there.
#[cfg(not(unix))]
fn is_same_file(_: &File, _: &Path) -> bool {
    true
}
