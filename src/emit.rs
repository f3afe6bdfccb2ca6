//! The only module that writes outputs: sparse files by temporary file and rename, or a stream front to back.
//!
//! All files of a run are finished before the first takes its final name, so that a run leaves either everything new or
//! everything as it was, however the process ends. Whether that also holds for the machine is [`Durability`].

mod attributes;
mod body;
mod debris;
mod destination;
mod sent;
mod unfinished;

use crate::error::{At, Error, Kind, Result};
#[cfg(target_os = "linux")]
use crate::in_use::{self, Use};
use formats::Progress;
use sent::Sent;
use std::{
    fs::{self, File, Metadata},
    io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};
use unfinished::Unfinished;

pub use body::Body;
pub(crate) use debris::sweep;
pub use debris::{NewDirectories, make_directory};
pub use destination::{Destination, is_address};

/// Where an output goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// A path: a regular file is replaced at the end; a device or a pipe is written to.
    Path(PathBuf),
    /// Standard output, front to back.
    Stdout,
    /// Elsewhere.
    Remote(Arc<dyn Destination>),
}

/// The same place.
impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Path(one), Self::Path(other)) => one == other,
            (Self::Stdout, Self::Stdout) => true,
            (Self::Remote(one), Self::Remote(other)) => one.to_string() == other.to_string(),
            _ => false,
        }
    }
}

impl Eq for Target {}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Stdout => f.write_str("standard output"),
            Self::Remote(destination) => write!(f, "{destination}"),
        }
    }
}

/// What the new files outlive once they have their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// This process. The kernel writes them to the disk in its own time, as it does for `cp`, `dd` and `qemu-img`; a power cut
    /// before that may cost the new file and the one it replaced.
    #[default]
    Process,
    /// A power cut, too: they are on the disk before they take their names.
    PowerCut,
}

/// How outputs are written.
#[derive(Clone, Copy, Debug)]
pub struct Manner<'a> {
    /// What they outlive.
    pub durability: Durability,
    /// Whether what has the name of an output stays, also what comes to have it during the run.
    pub no_clobber: bool,
    /// How many threads may work. It changes no byte.
    pub threads: NonZeroUsize,
    /// Whether the outputs may hold zeros as data, which become holes of files like their gaps.
    pub has_zeros: bool,
    /// Of what they are made, where that is kept with them.
    pub key: Option<&'a str>,
}

impl Default for Manner<'_> {
    fn default() -> Self {
        Self { durability: Durability::default(), no_clobber: false, threads: NonZeroUsize::MIN, has_zeros: false, key: None }
    }
}

/// Writes every body to its target, and gives how many bytes each of them has there. They take their names in this order.
///
/// # Errors
/// When a target cannot be written; then no target that is a regular file has changed, and elsewhere at most those in front of one
/// that could not take its name.
pub fn emit(outputs: &[(Target, Body)], manner: Manner<'_>, progress: &dyn Progress) -> Result<Vec<u64>> {
    let has_holes = |target: &Target| matches!(target, Target::Path(path) if special(path).is_none());
    // Who sends says itself how much that is.
    let here = outputs.iter().filter(|(target, _)| !matches!(target, Target::Remote(_)));
    progress.expect(here.map(|(target, body)| body.announced(has_holes(target))).sum());
    let (mut finished, mut sent, mut lens) = (Vec::new(), Vec::new(), Vec::new());
    for (target, body) in outputs {
        let one = match target {
            Target::Stdout => write_stdout(body, manner, progress).map(|len| (None, len)),
            Target::Remote(destination) => Sent::send(destination, body, manner, progress).map(|(there, len)| {
                sent.push(there);
                (None, len)
            }),
            Target::Path(path) => match special(path) {
                Some(metadata) => write_special(path, &metadata, body, manner, progress).map(|len| (None, len)),
                None => Unfinished::write(path, body, manner, progress).map(|(file, len)| (Some(file), len)),
            },
        };
        let (file, len) = one.at(|| target)?;
        finished.extend(file);
        lens.push(len);
    }
    // What is more likely to fail comes first: files can be taken back.
    sent.iter().try_for_each(|there| there.commit(progress).at(|| there.place()))?;
    commit(finished, manner)?;
    Ok(lens)
}

/// Whether a path leads to a device, which takes what is written to it for a disk or for a terminal's text, whatever it is.
#[cfg(unix)]
pub(crate) fn is_device(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    special(path).is_some_and(|metadata| metadata.file_type().is_block_device() || metadata.file_type().is_char_device())
}

/// What is no file is taken for a device where nothing says more.
#[cfg(not(unix))]
pub(crate) fn is_device(path: &Path) -> bool {
    special(path).is_some()
}

/// What stands there where it is something other than a regular file, so that it is written to and not replaced.
fn special(path: &Path) -> Option<Metadata> {
    fs::metadata(path).ok().filter(|metadata| !metadata.is_file() && !metadata.is_dir())
}

fn write_special(path: &Path, metadata: &Metadata, body: &Body, manner: Manner<'_>, progress: &dyn Progress) -> Result<u64> {
    let mut file = open_special(path, metadata)?;
    let len = body.stream(&mut file, manner.threads, progress)?;
    // What stands there is often pulled out next.
    match file.sync_all() {
        // A pipe or a character device has nothing to sync.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(len),
        other => Ok(other.map(|()| len)?),
    }
}

/// Opens a device or a pipe for writing; a disk that nobody else uses.
fn open_special(path: &Path, metadata: &Metadata) -> Result<File> {
    let mut options = File::options();
    options.write(true);
    #[cfg(target_os = "linux")]
    if std::os::unix::fs::FileTypeExt::is_block_device(&metadata.file_type()) {
        // A disk is opened for itself alone, and then neither it nor a part of it is mounted (open(2), O_EXCL).
        let excl = i32::try_from(rustix::fs::OFlags::EXCL.bits()).expect("a small constant");
        std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true), excl);
        let file = options.open(path).map_err(|error| match error.kind() {
            io::ErrorKind::ResourceBusy => {
                Error::new(Kind::Environment, "is in use: it or a part of it is mounted, or belongs to another device")
            }
            _ => Error::from(error),
        })?;
        in_use::take(&file, Use::Write)?;
        return Ok(file);
    }
    let _ = metadata;
    Ok(options.open(path)?)
}

fn write_stdout(body: &Body, manner: Manner<'_>, progress: &dyn Progress) -> Result<u64> {
    if is_stdout_closed() {
        let what = "is closed, or it is /dev/null opened for reading too: nothing of the output would be kept";
        return Err(Error::new(Kind::Environment, what).hint("redirect it, or name a file with -o"));
    }
    body.stream(&mut io::stdout().lock(), manner.threads, progress)
}

/// Whether the process was started without a standard output: Rust's runtime then opens `/dev/null` in its place, for reading and writing.
#[cfg(unix)]
fn is_stdout_closed() -> bool {
    use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
    let is_null = |of: rustix::fs::Stat| {
        FileType::from_raw_mode(of.st_mode) == FileType::CharacterDevice
            && rustix::fs::stat("/dev/null").is_ok_and(|null| (null.st_dev, null.st_ino) == (of.st_dev, of.st_ino))
    };
    let stdout = io::stdout();
    fstat(&stdout).is_ok_and(is_null) && fcntl_getfl(&stdout).is_ok_and(|flags| flags & OFlags::ACCMODE == OFlags::RDWR)
}

#[cfg(not(unix))]
fn is_stdout_closed() -> bool {
    false
}

/// Gives every file its name, or, interrupted before, none.
fn commit(mut files: Vec<Unfinished>, manner: Manner<'_>) -> Result<()> {
    // While this is held, a signal waits.
    let debris = debris::lock();
    let mut named = files.iter().try_for_each(Unfinished::may_be_named);
    for done in 0..files.len() {
        if named.is_ok() {
            named = files[done].name(!manner.no_clobber);
            if named.is_err() {
                // What was replaced is gone; of the new ones none stays alone.
                files[..done].iter().filter(|file| file.is_new).for_each(Unfinished::unname);
            }
        }
    }
    drop(debris);
    named?;
    match manner.durability {
        Durability::Process => Ok(()),
        Durability::PowerCut => files.iter().try_for_each(Unfinished::sync_name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::{
        Blob, Silent,
        blob::Backing,
        compress::{self, Codec, Encoding},
    };
    use std::io::{Read, Write};

    const POWER_CUT: Manner<'_> =
        Manner { durability: Durability::PowerCut, no_clobber: false, threads: NonZeroUsize::MIN, has_zeros: false, key: None };

    fn body() -> Body {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 5000]).unwrap();
        let mut body = Blob::zeros(1 << 20);
        body.append(&Blob::file(Backing::from(file), 1000, 4000));
        body.append(&Blob::zeros(1 << 20));
        body.append(&Blob::bytes(*b"end"));
        body.into()
    }

    fn streamed(body: &Body) -> Vec<u8> {
        let mut streamed = Vec::new();
        assert_eq!(body.stream(&mut streamed, NonZeroUsize::MIN, &Silent).unwrap(), u64::try_from(streamed.len()).unwrap());
        streamed
    }

    #[test]
    fn a_file_and_a_stream_hold_the_same_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.img");
        emit(&[(Target::Path(path.clone()), body())], POWER_CUT, &Silent).unwrap();
        assert_eq!(fs::read(&path).unwrap(), streamed(&body()));
        assert_eq!(streamed(&body()), body().blob.to_vec(1 << 22).unwrap());
    }

    #[test]
    fn what_is_compressed_on_its_way_is_the_same_in_a_file_and_a_stream() {
        let directory = tempfile::tempdir().unwrap();
        for codec in Codec::written() {
            let path = directory.path().join("out.img");
            let body = Body { encoding: Encoding::new(codec, None).unwrap(), ..body() };
            let lens = emit(&[(Target::Path(path.clone()), body.clone())], Manner::default(), &Silent).unwrap();
            let file = fs::read(&path).unwrap();
            assert_eq!((lens, &file), (vec![fs::metadata(&path).unwrap().len()], &streamed(&body)), "{codec}");
            let mut plain = Vec::new();
            compress::reader(codec, &file[..]).unwrap().read_to_end(&mut plain).unwrap();
            assert!(plain == body.blob.to_vec(1 << 22).unwrap(), "{codec}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn gaps_are_holes() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.img");
        emit(&[(Target::Path(path.clone()), body())], Manner::default(), &Silent).unwrap();
        assert!(fs::metadata(&path).unwrap().blocks() * 512 < 100_000);
    }

    /// Data and zeros by turns, from a place inside of a page, in memory and in a file, more than one worker takes.
    fn body_with_zeros() -> Body {
        let mut bytes = vec![0; 9 << 20];
        for at in [0, 4095, 70_000, 5 << 20, (9 << 20) - 1] {
            bytes[at] = 7;
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let mut body = Blob::zeros(1000);
        body.append(&Blob::file(Backing::from(file), 0, 9 << 20));
        body.append(&Blob::bytes(bytes));
        body.into()
    }

    #[test]
    fn a_file_depends_neither_on_threads_nor_on_looking_for_zeros() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.img");
        let wanted = body_with_zeros().blob.sha256().unwrap();
        for (threads, has_zeros) in [(1, false), (1, true), (3, false), (3, true)] {
            let manner = Manner { threads: NonZeroUsize::new(threads).unwrap(), has_zeros, ..Manner::default() };
            let progress = Told::default();
            emit(&[(Target::Path(path.clone()), body_with_zeros())], manner, &progress).unwrap();
            let made = fs::read(&path).unwrap();
            assert!(Blob::from(made).sha256().unwrap() == wanted, "{threads} {has_zeros}");
            assert_eq!(*progress.0.lock().unwrap(), (18 << 20, 18 << 20));
            #[cfg(unix)]
            assert_eq!(std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&path).unwrap()) * 512 < 1 << 20, has_zeros);
        }
    }

    /// What was expected, and what was advanced.
    #[derive(Debug, Default)]
    struct Told(std::sync::Mutex<(u64, u64)>);

    impl Progress for Told {
        fn expect(&self, bytes: u64) {
            self.0.lock().unwrap().0 += bytes;
        }

        fn advance(&self, bytes: u64) {
            self.0.lock().unwrap().1 += bytes;
        }
    }

    #[test]
    fn a_failure_leaves_every_old_file_and_no_debris() {
        let directory = tempfile::tempdir().unwrap();
        let old = directory.path().join("old.img");
        fs::write(&old, "old").unwrap();
        let shrunk = Blob::file(Backing::from(tempfile::tempfile().unwrap()), 0, 10);
        for encoding in [Encoding::default(), Encoding::new(Codec::Zstd, None).unwrap()] {
            let shrunk = Body { blob: shrunk.clone(), encoding };
            let outputs = [(Target::Path(old.clone()), body()), (Target::Path(directory.path().join("new.img")), shrunk)];
            assert!(emit(&outputs, Manner::default(), &Silent).is_err());
            assert_eq!(fs::read(&old).unwrap(), b"old");
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = emit(&[(Target::Path("/nonexistent/dir/x.img".into()), body())], Manner::default(), &Silent).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/dir"), "{error}");
    }

    #[test]
    fn what_comes_to_be_there_stays() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two] = ["one.img", "two.img"].map(|name| directory.path().join(name));
        fs::write(&two, "somebody's").unwrap();
        let outputs = [(Target::Path(one.clone()), body()), (Target::Path(two.clone()), body())];
        let error = emit(&outputs, Manner { no_clobber: true, ..Manner::default() }, &Silent).unwrap_err();
        assert!(error.kind() == Kind::BadInput && error.to_string().contains("two.img: somebody made it"), "{error}");
        assert!(!one.exists() && fs::read(&two).unwrap() == b"somebody's");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn new_files_have_their_names_all_or_none() {
        let directory = tempfile::tempdir().unwrap();
        let [old, new, taken] = ["old.img", "new.img", "taken.img"].map(|name| directory.path().join(name));
        fs::write(&old, "old").unwrap();
        let files = [&old, &new, &taken].map(|path| Unfinished::write(path, &body(), Manner::default(), &Silent).unwrap().0);
        // Somebody makes something that no file takes the place of.
        fs::create_dir(&taken).unwrap();
        assert!(commit(files.into(), Manner::default()).unwrap_err().to_string().contains("taken.img"));
        assert!(!new.exists() && fs::metadata(&old).unwrap().len() == body().blob.len());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_also_to_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("there")).unwrap();
        std::os::unix::fs::symlink("there/new.img", at("link.img")).unwrap();
        std::os::unix::fs::symlink("link.img", at("again.img")).unwrap();
        for _ in 0..2 {
            emit(&[(Target::Path(at("again.img")), body())], Manner::default(), &Silent).unwrap();
            assert!(at("again.img").is_symlink() && at("link.img").is_symlink());
            assert_eq!(fs::metadata(at("there/new.img")).unwrap().len(), body().blob.len());
            assert_eq!(fs::read_dir(at("there")).unwrap().count(), 1);
        }
        std::os::unix::fs::symlink("loop.img", at("loop.img")).unwrap();
        let error = emit(&[(Target::Path(at("loop.img")), body())], Manner::default(), &Silent).unwrap_err();
        assert!(error.to_string().contains("40 symbolic links"), "{error}");
    }

    #[test]
    fn the_longest_names_are_taken() {
        let directory = tempfile::tempdir().unwrap();
        for len in [241, 242, 243, 255] {
            let path = directory.path().join("n".repeat(len));
            for _ in 0..2 {
                emit(&[(Target::Path(path.clone()), body())], Manner::default(), &Silent).unwrap();
            }
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 4);
    }

    #[cfg(unix)]
    #[test]
    fn debris_of_the_dead_is_removed_and_that_of_the_living_stays() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let names = [".out.img.moby-abc123", ".out.img.moby-living", ".out.img.moby-longer-name", ".other.img.moby-abc123"];
        names.iter().for_each(|name| fs::write(at(name), "debris").unwrap());
        let living = File::open(at(names[1])).unwrap();
        living.lock().unwrap();
        emit(&[(Target::Path(at("out.img")), body())], Manner::default(), &Silent).unwrap();
        assert_eq!(names.map(|name| at(name).exists()), [false, true, true, true]);
    }

    #[cfg(unix)]
    #[test]
    fn a_private_file_stays_private() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.img");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        emit(&[(Target::Path(path.clone()), body())], Manner::default(), &Silent).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    }
}
