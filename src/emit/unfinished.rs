//! `Unfinished`: an output that does not have its name yet.

use super::{Body, Durability, Manner, attributes, debris};
#[cfg(windows)]
use crate::error::Kind;
use crate::error::{At, Error, Result};
use formats::Progress;
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// A finished file that does not have its name yet.
#[derive(Debug)]
pub(super) struct Unfinished {
    /// Held until the file has its name: while it is locked, nobody else takes it for debris.
    file: File,
    /// Its name until then, where it needs one.
    temporary: Option<PathBuf>,
    /// Its name then.
    path: PathBuf,
    /// The path by which the user knows it, for messages.
    shown: PathBuf,
    /// Whether there was none of its name when it was begun.
    pub(super) is_new: bool,
}

impl Unfinished {
    /// The file, and how long it is.
    pub(super) fn write(shown: &Path, body: &Body, manner: Manner<'_>, progress: &dyn Progress) -> Result<(Self, u64)> {
        let path = followed(shown)?;
        if path.is_dir() {
            return Err(Error::bad_input("is a directory, must be a file"));
        }
        let (directory, prefix) = (parent(&path), prefix(&path)?);
        debris::remove_abandoned(directory, &prefix);
        let this = Self::create(directory, &prefix, &path, shown).at(|| format!("cannot create a file in {}", directory.display()))?;
        if !this.is_new {
            // Before there is anything in it that somebody else should not read.
            attributes::keep(&path, &this.file)?;
        }
        let len = body.store(&this.file, manner, progress)?;
        if manner.durability == Durability::PowerCut || tells_late(&this.file)? {
            this.file.sync_all()?;
        }
        Ok((this, len))
    }

    fn create(directory: &Path, prefix: &str, path: &Path, shown: &Path) -> io::Result<Self> {
        let (path, shown, is_new) = (path.to_owned(), shown.to_owned(), !path.exists());
        if let Some(file) = unnamed(directory) {
            hold(&file)?;
            return Ok(Self { file, temporary: None, path, shown, is_new });
        }
        // Known as debris from the first moment.
        let mut debris = debris::lock();
        let mut builder = tempfile::Builder::new();
        builder.prefix(prefix).rand_bytes(debris::RANDOM);
        // As any program creates files: the umask takes away from this.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(CREATED));
        let (file, temporary) = builder.tempfile_in(directory)?.keep().map_err(|error| error.error)?;
        debris.paths.push(temporary.clone());
        drop(debris);
        let this = Self { file, temporary: Some(temporary), path, shown, is_new };
        hold(&this.file)?;
        Ok(this)
    }

    /// Refuses to replace a file that somebody has open and keeps for himself. Only Windows has such: asked of every file before
    /// the first is replaced.
    pub(super) fn may_be_named(&self) -> Result<()> {
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

    /// Gives the file its name. The debris is locked.
    pub(super) fn name(&mut self, replaces: bool) -> Result<()> {
        let named = match (self.temporary.take(), replaces) {
            (None, _) => link(&self.file, &self.path).or_else(|error| match error.kind() {
                io::ErrorKind::AlreadyExists if replaces => self.link_over(),
                _ => Err(error),
            }),
            (Some(temporary), true) => rename(&temporary, &self.path).inspect_err(|_| remove(&temporary)),
            (Some(temporary), false) => rename_new(&temporary, &self.path).inspect_err(|_| remove(&temporary)),
        };
        named.map_err(|error| self.unnamed_because(error)).at(|| self.shown.display())
    }

    fn unnamed_because(&self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::AlreadyExists => Error::bad_input("somebody made it during this run, and --no-clobber is given"),
            _ => Error::from(error),
        }
    }

    /// Gives a file that has no name the name of one that is there.
    fn link_over(&self) -> io::Result<()> {
        let prefix = prefix(&self.path).map_err(io::Error::from)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).rand_bytes(debris::RANDOM);
        let (_, temporary) = builder.make_in(parent(&self.path), |path| link(&self.file, path))?.keep().map_err(|error| error.error)?;
        rename(&temporary, &self.path).inspect_err(|_| remove(&temporary))
    }

    /// Takes back the name of a file that was made new. The debris is locked.
    pub(super) fn unname(&self) {
        remove(&self.path);
    }

    /// Makes the name outlive a power cut, too.
    pub(super) fn sync_name(&self) -> Result<()> {
        sync_directory(parent(&self.path)).at(|| self.shown.display())
    }
}

/// Removes what it did not come to name.
impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            remove(&temporary);
            debris::lock().paths.retain(|path| *path != temporary);
        }
    }
}

/// The first error is the one to tell.
fn remove(path: &Path) {
    let _: io::Result<()> = fs::remove_file(path);
}

/// The mode of a new file.
#[cfg(unix)]
const CREATED: u32 = 0o666;

/// Where a path leads to: a link is followed, also to what is not there yet, so that what it points to is written and the link stays.
fn followed(path: &Path) -> Result<PathBuf> {
    /// Linux's own limit, path_resolution(7).
    const LINKS_MAX: u32 = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            Ok(target) => path = parent(&path).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(Error::bad_input(format!("leads through more than {LINKS_MAX} symbolic links")))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What the temporary name of an output begins with: its own name, as far as there is room.
fn prefix(path: &Path) -> Result<String> {
    /// Bytes of a name, in every file system that matters.
    const NAME_MAX: usize = 255;
    const MARK: &str = ".moby-";
    let name = path.file_name().ok_or_else(|| Error::bad_input("has no file name"))?.to_string_lossy();
    let room = NAME_MAX - 1 - MARK.len() - debris::RANDOM;
    let name = &name[..name.floor_char_boundary(room)];
    Ok(format!(".{name}{MARK}"))
}

/// A file in a directory that needs no name before it is finished, so that nothing is left of it however the process ends.
#[cfg(target_os = "linux")]
fn unnamed(directory: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags, open};
    // It gets its name by way of /proc.
    if !Path::new(OPENED).is_dir() {
        return None;
    }
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    // A file system that has no such files, or a directory that takes none: the other way tells.
    open(directory, flags, Mode::from_raw_mode(CREATED)).ok().map(File::from)
}

#[cfg(not(target_os = "linux"))]
fn unnamed(_: &Path) -> Option<File> {
    None
}

/// The files that this process has open.
#[cfg(target_os = "linux")]
const OPENED: &str = "/proc/self/fd";

/// Gives a file that has no name one that nobody has.
#[cfg(target_os = "linux")]
fn link(file: &File, path: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};
    use std::os::fd::AsRawFd;
    Ok(linkat(CWD, format!("{OPENED}/{}", file.as_raw_fd()), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(not(target_os = "linux"))]
fn link(_: &File, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Tells other runs that the file is being written. On a file system without locks they cannot know.
#[cfg(unix)]
fn hold(file: &File) -> io::Result<()> {
    match file.try_lock() {
        Err(fs::TryLockError::WouldBlock) => Err(io::Error::other("another process took the new file for its own; try again")),
        _ => Ok(()),
    }
}

/// There a lock keeps even its owner's other handles away.
#[cfg(not(unix))]
fn hold(_: &File) -> io::Result<()> {
    Ok(())
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

/// Renames a file to a name that nobody has.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // A file system or a kernel that does not know this.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {}
            done => return Ok(done?),
        }
    }
    // An empty file keeps the name free of others.
    drop(File::create_new(to)?);
    rename(from, to).inspect_err(|_| remove(to))
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
