//! The only module that writes outputs: sparse files by temporary file and rename, or a stream front to back.
//!
//! All files of a run are finished before the first takes its final name, so that a run leaves either everything new or
//! everything as it was, however the process ends. Whether that also holds for the machine is [`Durability`].

use crate::error::{At, Error, Kind, Result};
use formats::{
    Blob, Progress,
    blob::{Extent, Source, write_at},
    units,
};
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};
use tempfile::{NamedTempFile, TempPath};

/// Bytes copied at a time where user space must touch them.
const CHUNK: usize = 1 << 20;

/// Where an output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A path: a regular file is replaced at the end; a device or a pipe is written to.
    Path(PathBuf),
    /// Standard output, front to back.
    Stdout,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Stdout => f.write_str("standard output"),
        }
    }
}

/// What the new files outlive once they have their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// This process. The kernel writes them to the disk in its own time, as it does for `cp`, `dd` and `qemu-img`; a power cut
    /// before that may cost the new file and the one it replaced.
    Process,
    /// A power cut, too: they are on the disk before they take their names.
    PowerCut,
}

/// Writes every body to its target.
///
/// # Errors
/// When a target cannot be written; then no target that is a regular file has changed.
pub fn emit(outputs: &[(Target, Blob)], durability: Durability, progress: &dyn Progress) -> Result<()> {
    let holes = |target: &Target| matches!(target, Target::Path(path) if !is_special(path));
    progress.expect(outputs.iter().map(|(target, body)| if holes(target) { body.data_len() } else { body.len() }).sum());
    let mut finished = Vec::new();
    for (target, body) in outputs {
        let one = match target {
            Target::Stdout => stream(body, &mut io::stdout().lock(), progress).map(|()| None),
            Target::Path(path) if is_special(path) => write_special(path, body, progress).map(|()| None),
            Target::Path(path) => Unfinished::write(path, body, durability, progress).map(Some),
        };
        finished.extend(one.at(|| target)?);
    }
    commit(finished, durability)
}

/// Something other than a regular file stands there, so that it is written to and not replaced.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir())
}

fn write_special(path: &Path, body: &Blob, progress: &dyn Progress) -> Result<()> {
    let mut file = File::options().write(true).open(path)?;
    stream(body, &mut file, progress)?;
    // What stands there is often pulled out next.
    match file.sync_all() {
        // A pipe or a character device has nothing to sync.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => Ok(other?),
    }
}

/// Writes a body front to back.
///
/// # Errors
/// When the source cannot be read or the destination not be written.
pub fn stream(body: &Blob, to: &mut dyn Write, progress: &dyn Progress) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < body.len() {
        let n = units::index((body.len() - at).min(units::bytes(CHUNK)));
        body.read_at(at, &mut buffer[..n])?;
        to.write_all(&buffer[..n])?;
        at += units::bytes(n);
        progress.advance(units::bytes(n));
    }
    Ok(to.flush()?)
}

/// A finished file that does not have its name yet.
#[derive(Debug)]
struct Unfinished {
    /// Gone once the file has its name.
    temporary: Option<TempPath>,
    path: PathBuf,
    /// The path by which the user knows it, for messages.
    shown: PathBuf,
}

impl Unfinished {
    fn write(path: &Path, body: &Blob, durability: Durability, progress: &dyn Progress) -> Result<Self> {
        // A link is followed, so that what it points to is replaced and the link stays.
        let (path, shown) = (fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()), path.to_owned());
        if path.is_dir() {
            return Err(Error::bad_input("is a directory, must be a file"));
        }
        let directory = parent(&path);
        let mut prefix = OsString::from(".");
        prefix.push(path.file_name().ok_or_else(|| Error::bad_input("has no file name"))?);
        prefix.push(".moby-");
        // Known as debris from the first moment.
        let mut debris = DEBRIS.lock();
        let file = temporary(directory, &prefix).at(|| format!("cannot create a file in {}", directory.display()))?;
        debris.push(file.path().to_owned());
        drop(debris);
        let (file, temporary) = file.into_parts();
        let this = Self { temporary: Some(temporary), path, shown };
        sparse(body, &file, progress)?;
        if durability == Durability::PowerCut || tells_late(&file)? {
            file.sync_all()?;
        }
        Ok(this)
    }

    /// Refuses to replace a file that somebody has open and keeps for himself. Only Windows has such: asked of every file before
    /// the first is replaced.
    fn may_be_named(&self) -> Result<()> {
        #[cfg(windows)]
        {
            /// The right to delete, winnt.h.
            const DELETE: u32 = 0x1_0000;
            use std::os::windows::fs::OpenOptionsExt;
            match File::options().access_mode(DELETE).open(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let hint = "close it in the program that has it open, or choose another name";
                    return Err(Error::new(Kind::Environment, format!("cannot be replaced: {error}")).hint(hint).at(self.shown.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Gives the file its name.
    fn name(&mut self) -> Result<()> {
        let Some(temporary) = self.temporary.take() else { return Ok(()) };
        // Not `persist`: on Windows that replaces no file that is open, even where its reader lets it be removed.
        let from = temporary.keep().map_err(|error| error.error).at(|| self.shown.display().to_string())?;
        rename(&from, &self.path).at(|| self.shown.display().to_string()).inspect_err(|_| {
            // The first error is the one to tell.
            let _: io::Result<()> = fs::remove_file(&from);
        })
    }
}

#[cfg(not(windows))]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Where a file that is open cannot be replaced (before Windows 10, and in Wine) it is moved aside first: it is gone once it is closed.
#[cfg(windows)]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let refused = match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => error,
        other => return other,
    };
    let mut aside = from.as_os_str().to_owned();
    aside.push("-old");
    fs::rename(to, &aside).map_err(|_| refused)?;
    fs::rename(from, to).inspect_err(|_| {
        // The first error is the one to tell.
        let _: io::Result<()> = fs::rename(&aside, to);
    })?;
    fs::remove_file(&aside)
}

/// Removes what it did not come to name.
impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let path = temporary.to_path_buf();
            drop(temporary);
            DEBRIS.lock().retain(|p| *p != path);
        }
    }
}

/// Directories that were made for outputs, removed again where nothing came to be in them.
#[derive(Debug)]
pub struct NewDirectories(Vec<PathBuf>);

/// Makes a directory and what of its parents is missing.
///
/// # Errors
/// When it cannot be made.
pub fn make_directory(path: &Path) -> Result<NewDirectories> {
    let missing = path.ancestors().filter(|above| !above.as_os_str().is_empty()).take_while(|above| !above.exists());
    let made = NewDirectories(missing.map(Path::to_owned).collect());
    let mut debris = DEBRIS.lock();
    debris.extend(made.0.iter().cloned());
    fs::create_dir_all(path).at(|| format!("cannot make the directory {}", path.display()))?;
    Ok(made)
}

impl Drop for NewDirectories {
    fn drop(&mut self) {
        let mut debris = DEBRIS.lock();
        for path in &self.0 {
            // One with an output in it stays.
            let _: io::Result<()> = fs::remove_dir(path);
        }
        debris.retain(|path| !self.0.contains(path));
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn temporary(directory: &Path, prefix: &std::ffi::OsStr) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    // As any program creates files: the umask takes away from this.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(directory)
}

/// Whether the file system accepts bytes that it may find no room for later. It flushes a file that is closed, but nobody hears
/// of a failure then; syncing before costs nothing more and tells.
#[cfg(target_os = "linux")]
fn tells_late(file: &File) -> io::Result<bool> {
    Ok(TELL_LATE.contains(&(i128::from(rustix::fs::fstatfs(file)?.f_type) & 0xffff_ffff)))
}

#[cfg(not(target_os = "linux"))]
fn tells_late(_: &File) -> io::Result<bool> {
    Ok(true)
}

/// The magic numbers (statfs(2)) of file systems that are elsewhere: NFS, SMB, CIFS, SMB2, 9P, AFS, Ceph, Lustre, and FUSE, which may be.
#[cfg(target_os = "linux")]
const TELL_LATE: [i128; 9] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x5346_414f, 0x00c3_6400, 0x0bd0_0bd0, 0x6573_5546];

/// Gives every file its name, or, interrupted before, none.
fn commit(mut files: Vec<Unfinished>, durability: Durability) -> Result<()> {
    // While this is held, a signal waits.
    let debris = DEBRIS.lock();
    let named = files.iter().try_for_each(Unfinished::may_be_named).and_then(|()| files.iter_mut().try_for_each(Unfinished::name));
    drop(debris);
    named?;
    if durability == Durability::PowerCut {
        for file in &files {
            sync_directory(parent(&file.path)).at(|| file.shown.display().to_string())?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some file systems do not sync directories.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Writes a body into an empty file; gaps become holes.
fn sparse(body: &Blob, file: &File, progress: &dyn Progress) -> Result<()> {
    file.set_len(body.len())?;
    for extent in body.extents() {
        match &extent.source {
            Source::Memory { bytes, offset } => {
                let from = units::index(*offset);
                write_all_at(file, &bytes[from..from + units::index(extent.len)], extent.start)?;
                progress.advance(extent.len);
            }
            Source::File { file: source, offset } => {
                let copied = kernel_copy(source, *offset, file, extent.start, extent.len, progress)?;
                copy(body, extent, copied, file, progress)?;
            }
        }
    }
    Ok(())
}

/// Copies what `done` leaves of an extent through memory.
fn copy(body: &Blob, extent: &Extent, done: u64, file: &File, progress: &dyn Progress) -> Result<()> {
    let mut at = extent.start + done;
    if at == extent.end() {
        return Ok(());
    }
    let mut buffer = vec![0; CHUNK];
    while at < extent.end() {
        let n = units::index((extent.end() - at).min(units::bytes(CHUNK)));
        body.read_at(at, &mut buffer[..n])?;
        write_all_at(file, &buffer[..n], at)?;
        at += units::bytes(n);
        progress.advance(units::bytes(n));
    }
    Ok(())
}

/// Copies as much as the kernel does by itself, by reference where the file system can, and says how much that was.
#[cfg(target_os = "linux")]
fn kernel_copy(from: &File, from_at: u64, to: &File, to_at: u64, len: u64, progress: &dyn Progress) -> Result<u64> {
    /// At most this much in one call, so that progress shows.
    const STEP: u64 = 64 << 20;
    let (mut from_at, mut to_at) = (from_at, to_at);
    let mut done = 0;
    while done < len {
        let step = units::index((len - done).min(STEP));
        match rustix::fs::copy_file_range(from, Some(&mut from_at), to, Some(&mut to_at), step) {
            Ok(0) => break,
            Ok(n) => {
                done += units::bytes(n);
                progress.advance(units::bytes(n));
            }
            Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => return Err(io::Error::from(io::ErrorKind::StorageFull).into()),
            Err(rustix::io::Errno::INTR) => {}
            // Across file systems, old kernels: reads and writes do it.
            Err(_) => break,
        }
    }
    Ok(done)
}

#[cfg(not(target_os = "linux"))]
fn kernel_copy(_: &File, _: u64, _: &File, _: u64, _: u64, _: &dyn Progress) -> Result<u64> {
    Ok(0)
}

fn write_all_at(file: &File, mut bytes: &[u8], mut at: u64) -> Result<()> {
    while !bytes.is_empty() {
        match write_at(file, bytes, at) {
            Ok(0) => return Err(Error::new(Kind::Io, "nothing more can be written")),
            Ok(n) => {
                bytes = &bytes[n..];
                at += units::bytes(n);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The temporary files of this process, so that a signal can remove them.
static DEBRIS: Debris = Debris(Mutex::new(Vec::new()));

struct Debris(Mutex<Vec<PathBuf>>);

impl Debris {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes every unfinished file. Called when the program is interrupted, and waits while files take their names.
/// Gives back a guard that keeps new ones from being named.
pub fn sweep() -> impl Drop {
    let debris = DEBRIS.lock();
    for path in debris.iter() {
        // There is nobody left to tell.
        let _: io::Result<()> = fs::remove_file(path);
    }
    for path in debris.iter() {
        // Empty again, the inner ones first.
        let _: io::Result<()> = fs::remove_dir(path);
    }
    debris
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::Silent;
    use std::sync::Arc;

    fn body() -> Blob {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 5000]).unwrap();
        let mut body = Blob::zeros(1 << 20);
        body.append(&Blob::file(Arc::new(file), 1000, 4000));
        body.append(&Blob::zeros(1 << 20));
        body.append(&Blob::bytes(*b"end"));
        body
    }

    #[test]
    fn a_file_and_a_stream_hold_the_same_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.img");
        emit(&[(Target::Path(path.clone()), body())], Durability::PowerCut, &Silent).unwrap();
        let mut streamed = Vec::new();
        stream(&body(), &mut streamed, &Silent).unwrap();
        assert_eq!(fs::read(&path).unwrap(), streamed);
        assert_eq!(streamed, body().to_vec(1 << 22).unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn gaps_are_holes() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.img");
        emit(&[(Target::Path(path.clone()), body())], Durability::Process, &Silent).unwrap();
        assert!(fs::metadata(&path).unwrap().blocks() * 512 < 100_000);
    }

    #[test]
    fn a_failure_leaves_every_old_file_and_no_debris() {
        let directory = tempfile::tempdir().unwrap();
        let old = directory.path().join("old.img");
        fs::write(&old, "old").unwrap();
        let shrunk = Blob::file(Arc::new(tempfile::tempfile().unwrap()), 0, 10);
        let outputs = [(Target::Path(old.clone()), body()), (Target::Path(directory.path().join("new.img")), shrunk)];
        assert!(emit(&outputs, Durability::Process, &Silent).is_err());
        assert_eq!(fs::read(&old).unwrap(), b"old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = emit(&[(Target::Path("/nonexistent/dir/x.img".into()), body())], Durability::Process, &Silent).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/dir"), "{error}");
    }
}
