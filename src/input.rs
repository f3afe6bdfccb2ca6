//! Opening what the user names: a file, `-` for standard input, compressed or not, as one [`Blob`].

use crate::error::{At, Error, Kind, Result};
use formats::{
    Blob, Env, Format, Progress, Spool,
    compress::{self, Codec},
    raw, tar, zeros,
};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

/// The path that means standard input.
pub const STDIN: &str = "-";

/// Opens an input. What has no length, or is compressed, is first copied to the spool.
///
/// Compression is told by magic: gzip, zstd, xz, lz4, bzip2; never by name.
///
/// # Errors
/// When the file cannot be opened or read, or its compression is damaged.
pub fn open(path: &Path, env: &mut Env) -> Result<Blob> {
    let place = || show(path);
    let file = open_plain(path, env).at(place)?;
    match Codec::of(&file).at(place)? {
        Codec::None => Ok(file),
        codec => {
            let progress = Arc::clone(&env.progress);
            let counted = Counted { inner: io::BufReader::with_capacity(1 << 18, file.reader()), progress: &*progress };
            unpack(codec, counted, &mut env.spool).at(place)
        }
    }
}

/// What an input is.
#[derive(Debug)]
pub enum Input {
    /// A tar.
    Tar(Blob),
    /// A disk, out of its container.
    Disk {
        /// The container's name.
        format: &'static str,
        /// What the guest sees.
        disk: Blob,
    },
}

/// Tells what a file is, by `from` if the user says it, else by its magic. Raw is never guessed for what another format claims.
///
/// # Errors
/// When nothing claims the file, or the container is malformed.
pub fn recognise(file: &Blob, from: Option<&str>, env: &mut Env) -> Result<Input> {
    match from {
        Some(TAR) => return Ok(Input::Tar(file.clone())),
        Some(name) => return decode(formats::format(name).ok_or_else(|| unknown_format(name))?, file, env),
        None => {}
    }
    for format in formats::FORMATS {
        if format.probe(file)? {
            return decode(*format, file, env);
        }
    }
    if tar::probe(file)? {
        return Ok(Input::Tar(file.clone()));
    }
    if has_boot_signature(file)? {
        return decode(&raw::Raw, file, env);
    }
    Err(Error::bad_input("is neither a tar nor a disk of a known format")
        .hint("a raw disk without a partition table must be named as such: --from raw"))
}

/// The value of `--from` that means a tar.
pub const TAR: &str = "tar";

/// Every value of `--from`.
pub fn kinds() -> Vec<&'static str> {
    [TAR].into_iter().chain(formats::FORMATS.iter().map(|f| f.name())).collect()
}

fn unknown_format(name: &str) -> Error {
    Error::unsupported(format!("--from {name} is unknown, the formats are: {}", kinds().join(", ")))
}

fn decode(format: &'static dyn Format, file: &Blob, env: &mut Env) -> Result<Input> {
    let disk = format.decode(file, env).at(|| format.name())?;
    // What others wrote may hold zeros as data; a unit as small as a page finds most of them.
    let disk = zeros::drop_zeros(&disk, 4096, env)?;
    Ok(Input::Disk { format: format.name(), disk })
}

/// A master boot record or a boot sector ends in 55 AA (UEFI 2.10, section 5.2.1).
fn has_boot_signature(file: &Blob) -> Result<bool> {
    Ok(file.len() >= 512 && file.read_array(510)? == [0x55, 0xaa])
}

/// How much there is to read, for the progress bar; `None` for a pipe.
pub fn len(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|m| m.len())
}

/// Opens an input as it is.
///
/// # Errors
/// When the file cannot be opened or read.
pub fn open_plain(path: &Path, env: &mut Env) -> Result<Blob> {
    if path == Path::new(STDIN) {
        return env.spool.copy(&mut io::stdin().lock());
    }
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(Error::bad_input("is a directory, must be a file or - for standard input"));
    }
    if !metadata.is_file() {
        return env.spool.copy(&mut file);
    }
    sparse(file, metadata.len())
}

fn unpack(codec: Codec, from: impl Read + Send, spool: &mut Spool) -> Result<Blob> {
    let mut reader = compress::reader(codec, from)?;
    spool.copy(&mut reader).map_err(|error| match error.kind() {
        // What a decoder says of its input is about the input.
        Kind::Io => Error::bad_input(format!("damaged {} data", codec.name())).because(error),
        _ => error,
    })
}

/// A file as a blob whose gaps are the holes of the file.
#[cfg(any(target_os = "linux", target_os = "freebsd", target_os = "macos"))]
fn sparse(file: File, len: u64) -> Result<Blob> {
    use rustix::fs::{SeekFrom, seek};
    let file = Arc::new(file);
    let mut blob = Blob::zeros(len);
    let mut at = 0;
    while at < len {
        let data = match seek(&*file, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => break,
            // A file system without this call has no holes to tell of.
            Err(_) => return Ok(Blob::file(file, 0, len)),
        };
        let hole = seek(&*file, SeekFrom::Hole(data)).map_err(io::Error::from)?.min(len);
        if data >= hole {
            break;
        }
        blob.splice(data, &Blob::file(Arc::clone(&file), data, hole - data));
        at = hole;
    }
    Ok(blob)
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "macos")))]
fn sparse(file: File, len: u64) -> Result<Blob> {
    Ok(Blob::file(Arc::new(file), 0, len))
}

/// A path for messages.
pub fn show(path: &Path) -> String {
    if path == Path::new(STDIN) { "standard input".to_owned() } else { path.display().to_string() }
}

struct Counted<'a, R> {
    inner: R,
    progress: &'a dyn Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(to)?;
        self.progress.advance(formats::units::bytes(n));
        Ok(n)
    }
}
