//! Where the spool of a run is, and how much it may hold.

use super::Global;
use crate::error::{Error, Kind, Result};
use formats::{
    Spool,
    spool::Place,
    units::{self, show_size},
};
use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
};

/// A spool: an unlinked file in `directory`, which is empty for the current one.
pub(super) fn in_directory(directory: &Path, global: &Global) -> Spool {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    Spool::new(Directory { path: directory.to_owned(), max: global.max_unpacked })
}

struct Directory {
    path: PathBuf,
    /// Most bytes, where the user says so.
    max: Option<u64>,
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "temporary file in {}", self.path.display())
    }
}

impl Place for Directory {
    fn file(&self) -> Result<File> {
        Ok(tempfile::tempfile_in(&self.path)?)
    }

    fn may_grow(&self, file: &File, len: u64) -> Result<()> {
        if let Some(max) = self.max.filter(|max| len >= *max) {
            let what = format!("the input unpacks to more than {}, which --max-unpacked allows", show_size(max));
            return Err(Error::new(Kind::Environment, what).hint("allow more, if you trust the input"));
        }
        room(file).map_or(Ok(()), |(free, size)| is_enough(free, size))
    }
}

/// Whatever an input unpacks to, the machine goes on: of the file system that it goes to, a part stays free.
fn is_enough(free: u64, size: u64) -> Result<()> {
    let kept = units::GIB.min(size / 8);
    if free >= kept {
        return Ok(());
    }
    let what = format!("{} are free, and {} are left free", show_size(free), show_size(kept));
    let hint = "name another place for temporary files: TMPDIR, or --dir; or the input unpacks to more than it should";
    Err(Error::new(Kind::Environment, what).hint(hint))
}

/// What is free for us on the file system of a file, and its size, in bytes.
#[cfg(unix)]
fn room(file: &File) -> Option<(u64, u64)> {
    rustix::fs::fstatvfs(file).ok().map(|all| (all.f_bavail.saturating_mul(all.f_frsize), all.f_blocks.saturating_mul(all.f_frsize)))
}

#[cfg(not(unix))]
fn room(_: &File) -> Option<(u64, u64)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_file_system_stays_free() {
        is_enough(units::GIB, 100 * units::GIB).unwrap();
        is_enough(units::MIB, 8 * units::MIB).unwrap();
        let error = is_enough(units::GIB - 1, 100 * units::GIB).unwrap_err();
        assert!(error.kind() == Kind::Environment && error.to_string().contains("left free"), "{error}");
    }
}
