//! Opening what the user names: a file, `-` for standard input, compressed or not, as one [`Blob`].

pub(crate) mod container;
mod directory;
mod file_id;
mod firmware;
mod kernel;
mod ovf;
mod packed;
mod parts;
mod stranger;
mod tar;

use crate::{
    error::{self, At, Error, Result},
    image::{self, Image},
    in_use::{self, Use},
    names::Named,
    stores::Stores,
};
use formats::{
    Blob, Env, FORMATS, Format, Reading, Stage, Tree,
    blob::Backing,
    compress::{self, Codec},
    gcp, iso9660,
    kernel::{Arch, is_bzimage},
    oci::{Execution, Platform, Reference},
    ova, raw, tar as archive, uki, units, zip,
};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

pub use directory::directory;
pub use file_id::FileId;
pub use firmware::firmware;
pub use kernel::kernel;
pub use packed::disk as packed;
use parts::Parts;
pub use tar::Tar;

/// The path that means standard input.
pub const STDIN: &str = "-";

/// Opens an input. What has no length, or is compressed, is first copied to the spool.
///
/// Compression is told by magic: gzip, zstd, xz, lz4, bzip2; never by name.
///
/// # Errors
/// When the file cannot be opened or read, or its compression is damaged.
pub fn open(path: &Path, opening: &Opening, env: &mut Env) -> Result<Blob> {
    let place = show(path);
    let file = open_plain(path, opening, env).at(|| place.clone())?;
    decompressed(file, &place, env).at(|| place.clone())
}

/// What is in a file, where it is compressed. `place` is what warnings call it.
fn decompressed(file: Blob, place: &str, env: &mut Env) -> Result<Blob> {
    match Codec::of(&file)? {
        Codec::None => Ok(file),
        codec => with_progress(file.reader(), file.len(), env, |content, env| unpack(codec, content, place, env)),
    }
}

/// Reads `len` bytes while progress is shown.
fn with_progress<T>(
    from: impl Read + Send,
    len: u64,
    env: &mut Env,
    read: impl FnOnce(&mut (dyn Read + Send), &mut Env) -> Result<T>,
) -> Result<T> {
    let progress = Arc::clone(&env.progress);
    let stage = Stage::new(&*progress, len);
    let made = read(&mut Counted { inner: io::BufReader::with_capacity(1 << 18, from), stage: &stage }, env)?;
    stage.finish();
    Ok(made)
}

/// What an input is.
#[derive(Debug)]
pub enum Input {
    /// A tar.
    Tar(Tar),
    /// A unified kernel image.
    Uki(Blob),
    /// A container image.
    Container(Container),
    /// A disk, out of its container.
    Disk {
        /// The container's format.
        format: &'static dyn Format,
        /// The container: the file itself, or a member of it where the file is a tar around a disk (OVA, Compute Engine).
        file: Blob,
        /// What the guest sees.
        disk: Blob,
        /// What of it was unpacked: zeros are left out there already.
        unpacked: Blob,
    },
}

impl Input {
    /// The image in it, as it is; a plain root file system is one without a kernel.
    ///
    /// # Errors
    /// When there is none, or it is damaged.
    pub fn image(&self, env: &mut Env) -> Result<Image> {
        match self {
            Self::Tar(tar) => tar.draft(env)?.contents(),
            Self::Uki(file) => image::uki::boot(file)?.image(env),
            Self::Container(Container { tree, .. }) => image::tar::of_tree(tree).contents(),
            Self::Disk { disk, .. } => image::disk::image(disk, env),
        }
    }
}

/// A container image.
#[derive(Debug)]
pub struct Container {
    /// Its layers over one another.
    pub tree: Tree,
    /// What it says is to be run.
    pub execution: Execution,
}

/// An input, and every file that was opened for it.
#[derive(Debug)]
pub struct Opened {
    /// What it is.
    pub input: Input,
    /// The files, those that a disk in several files names among them.
    pub files: Vec<FileId>,
}

/// What the user says that an input is: a value of `--from`.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A tar.
    Tar,
    /// A disk in this container.
    Disk(&'static dyn Format),
}

impl Named for Kind {
    const WHAT: &'static str = "format";

    fn all() -> Vec<Self> {
        [Self::Tar].into_iter().chain(FORMATS.iter().map(|format| Self::Disk(*format))).collect()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::Disk(format) => format.name(),
        }
    }

    fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::Tar => &[],
            Self::Disk(format) => format.aliases(),
        }
    }
}

/// How an input is opened where there is a choice.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// An internal snapshot, and not the present state.
    pub snapshot: Option<String>,
    /// Of the disks of an OVA the one with this identifier, of those in an archive the one with this name.
    pub disk: Option<String>,
    /// Also what was not closed properly, and what somebody writes to.
    pub force: bool,
    /// No tar that is read only with a warning.
    pub strict: bool,
    /// Where the other files are looked for that the disk names; without it they are not opened.
    pub follow: Option<PathBuf>,
    /// Of several container images this one.
    pub image: Option<Reference>,
    /// Of a container image's architectures this one [default: this machine's].
    pub arch: Option<Arch>,
    /// How inputs are reached that are no files of this machine.
    pub(crate) stores: Stores,
    /// Whether all of an input will be read: what is elsewhere is then fetched at once, and not as it is asked for.
    pub(crate) whole: bool,
}

impl Opening {
    /// The machine that a container image has to be for.
    pub(crate) fn platform(&self) -> Platform {
        Platform::linux(self.arch.map_or_else(crate::images::host_arch, crate::images::go_arch))
    }

    /// Refuses a choice that only disks have where there is none among the inputs, and one that only container images have.
    ///
    /// # Errors
    /// Names the option.
    pub fn refuse_unless_heeded(&self, inputs: &[&Input]) -> Result<()> {
        if self.image.is_some() && !inputs.iter().any(|input| matches!(input, Input::Container(_))) {
            return Err(Error::unsupported("--image is for container images, and this is none").hint("leave it out"));
        }
        if self.strict && inputs.iter().any(|input| matches!(input, Input::Disk { .. } | Input::Uki(_))) {
            return Err(Error::unsupported("--strict is for a tar, and this is none").hint("leave it out"));
        }
        let choices = [
            ("--snapshot", self.snapshot.is_some()),
            ("--disk", self.disk.is_some()),
            ("--force", self.force),
            ("--follow", self.follow.is_some()),
        ];
        match choices.into_iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) if !inputs.iter().any(|input| matches!(input, Input::Disk { .. })) => {
                Err(Error::unsupported(format!("{option} is for a disk, and this is none")).hint("leave it out"))
            }
            _ => Ok(()),
        }
    }
}

/// Opens an input and tells what it is: as [`open`], then by what `from` says or by magic.
///
/// # Errors
/// As those two, and when a choice is made that only disks have. The place is named.
pub fn read(path: &Path, from: Option<Kind>, opening: &Opening, env: &mut Env) -> Result<Opened> {
    let opened = read_any(path, from, opening, env)?;
    opening.refuse_unless_heeded(&[&opened.input]).at(|| show(path))?;
    Ok(opened)
}

/// As [`read`], where the choices may be meant for another input.
///
/// # Errors
/// As [`open`], and when nothing claims the file, or it is malformed.
pub fn read_any(path: &Path, from: Option<Kind>, opening: &Opening, env: &mut Env) -> Result<Opened> {
    if path.is_dir() {
        let input = container::of_layout(path, opening, env).at(|| show(path))?;
        return Ok(Opened { input, files: Vec::new() });
    }
    let file = open(path, opening, env)?;
    let parts = Parts::new(path, opening);
    let input = recognise(&file, &show(path), from, opening, &parts, env).at(|| show(path))?;
    Ok(Opened { input, files: FileId::of(path).into_iter().chain(parts.opened()).collect() })
}

/// Tells what a file is, by `from` if the user says it, else by its magic. Raw is never guessed for what another format claims.
fn recognise(file: &Blob, name: &str, from: Option<Kind>, opening: &Opening, parts: &Parts, env: &mut Env) -> Result<Input> {
    let as_tar = || Input::Tar(Tar { file: file.clone(), name: name.to_owned(), strict: opening.strict });
    match from {
        Some(Kind::Tar) => return Ok(as_tar()),
        Some(Kind::Disk(format)) => return disk(file, format, opening, parts, env),
        None => {}
    }
    if uki::probe(file)? {
        return Ok(Input::Uki(file.clone()));
    }
    if let Some(format) = container(file)? {
        return disk(file, format, opening, parts, env);
    }
    if ova::is_envelope(file)? {
        return unpacked(&ovf::described(file, opening, parts, env)?, opening, parts, env);
    }
    let is_tar = archive::probe(file)?;
    if !is_tar && !zip::probe(file)? {
        return disk(file, recognised(file)?, opening, parts, env);
    }
    if is_tar {
        if let Some(image) = container::of_archive(file, name, opening, env)? {
            return Ok(image);
        }
        // Whatever is in the disk.
        if let Some(member) = gcp::unwrap(&archive::files(file).unwrap_or_default()) {
            return disk(&member, &raw::Raw, opening, parts, env);
        }
    }
    match packed::disk(file, opening, env)? {
        Some(member) => unpacked(&member, opening, parts, env),
        None if is_tar => Ok(as_tar()),
        None => Err(stranger::refuse(file)?),
    }
}

/// The disk in a container that was chosen out of what was around it.
fn unpacked(member: &Blob, opening: &Opening, parts: &Parts, env: &mut Env) -> Result<Input> {
    disk(member, recognised(member)?, &Opening { disk: None, ..opening.clone() }, parts, env)
}

/// The disk in a container.
fn disk(file: &Blob, format: &'static dyn Format, opening: &Opening, parts: &Parts, env: &mut Env) -> Result<Input> {
    if opening.disk.is_some() {
        return Err(Error::unsupported(format!("--disk is for an OVA or an archive with several disks, and this is {}", format.name()))
            .hint("leave it out"));
    }
    let mark = env.spool.position();
    let beside = opening.follow.is_some().then_some(parts as &dyn formats::Parts);
    let reading = Reading { snapshot: opening.snapshot.as_deref(), force: opening.force, parts: beside };
    let disk = format.decode(file, &reading, env).at(|| format.name())?;
    Ok(Input::Disk { format, file: file.clone(), disk, unpacked: env.spool.since(mark) })
}

/// The container of a file by its magic.
fn container(file: &Blob) -> Result<Option<&'static dyn Format>> {
    for format in FORMATS {
        if format.probe(file)? {
            return Ok(Some(*format));
        }
    }
    Ok(None)
}

/// The format of a file by its magic; raw only where there is a boot sector or a CD's file system and nothing else claims the file.
///
/// # Errors
/// When the file cannot be read.
pub fn probe(file: &Blob) -> Result<Option<&'static dyn Format>> {
    if let Some(format) = container(file)? {
        return Ok(Some(format));
    }
    Ok(is_raw(file)?.then_some(&raw::Raw as &dyn Format))
}

/// Whether a file that no container claims is a disk as it is.
fn is_raw(file: &Blob) -> Result<bool> {
    Ok(!archive::probe(file)? && !is_bzimage(file)? && (has_boot_signature(file)? || iso9660::probe(file)?))
}

/// As [`probe`], where there must be one.
fn recognised(file: &Blob) -> Result<&'static dyn Format> {
    match probe(file)? {
        Some(format) => Ok(format),
        None => Err(stranger::refuse(file)?),
    }
}

/// A master boot record or a boot sector ends in 55 AA (UEFI 2.10, section 5.2.1).
fn has_boot_signature(file: &Blob) -> Result<bool> {
    Ok(file.len() >= 512 && file.read_array(510)? == [0x55, 0xaa])
}

/// How much room a file takes where it is stored; `None` for a pipe.
pub fn allocated(path: &Path) -> Option<u64> {
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    #[cfg(unix)]
    let len = std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
    #[cfg(not(unix))]
    let len = metadata.len();
    Some(len)
}

/// Tells what is odd about a tar, or refuses it for that.
fn heed(warnings: &[String], name: &str, is_strict: bool, env: &Env) -> Result<()> {
    match warnings.first() {
        Some(first) if is_strict => Err(Error::bad_input(first).hint("without --strict this is a warning")),
        _ => {
            warnings.iter().for_each(|warning| env.progress.warn(&format!("{name}: {warning}")));
            Ok(())
        }
    }
}

/// Opens an input as it is.
///
/// # Errors
/// When the file cannot be opened or read, or somebody writes to it and nothing is forced.
pub fn open_plain(path: &Path, opening: &Opening, env: &mut Env) -> Result<Blob> {
    if path == Path::new(STDIN) {
        return env.spool.copy(&mut io::stdin().lock());
    }
    if let Some(file) = path.to_str().map(|address| opening.stores.open(address)).transpose()?.flatten() {
        return if opening.whole { with_progress(file.reader(), file.len(), env, |from, env| env.spool.copy(from)) } else { Ok(file) };
    }
    let mut file = File::open(path)?;
    if !opening.force {
        in_use::take(&file, Use::Read).map_err(|error| error.hint("stop what uses it, or read it as it is: --force"))?;
    }
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(Error::bad_input("is a directory, must be a file or - for standard input"));
    }
    if !metadata.is_file() {
        return env.spool.copy(&mut file);
    }
    sparse(file, metadata.len())
}

/// What is compressed. What the codec's own tool warns of and passes over, so do we.
fn unpack(codec: Codec, from: impl Read + Send, place: &str, env: &mut Env) -> Result<Blob> {
    let mut reader = compress::reader(codec, from)?.tolerant();
    let unpacked = env.spool.copy(&mut reader).map_err(|error| match error.kind() {
        // What a decoder says of its input is about the input.
        error::Kind::Io => Error::bad_input(format!("damaged {} data", codec.name())).because(error),
        _ => error,
    })?;
    if let Some(garbage) = reader.garbage() {
        env.progress.warn(&format!("{place}: behind the {codec} data stands something else, which is left out: {garbage}"));
    }
    Ok(unpacked)
}

/// A file as a blob whose gaps are the holes of the file.
#[cfg(any(target_os = "linux", target_os = "freebsd", target_os = "macos"))]
fn sparse(file: File, len: u64) -> Result<Blob> {
    use rustix::fs::{SeekFrom, seek};
    let file = Arc::new(Backing::of_others(file)?.with_read_ahead(read_ahead));
    let mut blob = Blob::zeros(len);
    let mut at = 0;
    while at < len {
        let data = match seek(file.file(), SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => break,
            // A file system without this call has no holes to tell of.
            Err(_) => return Ok(Blob::file(file, 0, len)),
        };
        let hole = seek(file.file(), SeekFrom::Hole(data)).map_err(io::Error::from)?.min(len);
        if data >= hole {
            break;
        }
        blob.splice(data, &Blob::file(Arc::clone(&file), data, hole - data));
        at = hole;
    }
    Ok(blob)
}

/// Has the kernel read a part of a file at once, which takes no more than a moment where it has it already.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn read_ahead(file: &File, offset: u64, len: u64) {
    /// No more than this is read for one such wish.
    const WISH: u64 = 128 * units::KIB;
    for at in (offset..offset + len).step_by(units::index(WISH)) {
        let wish = std::num::NonZero::new(WISH.min(offset + len - at));
        // It is a wish.
        let _: rustix::io::Result<()> = rustix::fs::fadvise(file, at, wish, rustix::fs::Advice::WillNeed);
    }
}

#[cfg(target_os = "macos")]
fn read_ahead(_: &File, _: u64, _: u64) {}

#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "macos")))]
fn sparse(file: File, len: u64) -> Result<Blob> {
    Ok(Blob::file(Backing::of_others(file)?, 0, len))
}

/// A path for messages.
pub fn show(path: &Path) -> String {
    if path == Path::new(STDIN) { "standard input".to_owned() } else { path.display().to_string() }
}

struct Counted<'a, R> {
    inner: R,
    stage: &'a Stage<'a>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(to)?;
        self.stage.advance(units::bytes(n));
        Ok(n)
    }
}
