//! The other files of a disk in several files. They are opened only where the user trusts the file that names them.

use super::{Input, Opening, format, open_plain, probe};
use crate::error::{At, Error, Result};
use formats::{Blob, Env, Format, Parts, Reading};
use std::path::{Path, PathBuf};

/// Longest chain of overlays; QEMU's own advice is to keep far below it. A loop ends here.
const DEPTH_MAX: u32 = 200;

/// The files beside a disk image.
#[derive(Debug)]
struct Neighbours<'a> {
    directory: &'a Path,
    force: bool,
    depth: u32,
}

/// The disk in a file.
pub(super) fn decode(file: &Blob, from: Option<&str>, opening: &Opening, env: &mut Env) -> Result<Input> {
    let directory = opening.follow.as_deref();
    let neighbours = directory.map(|directory| Neighbours { directory, force: opening.force, depth: 0 });
    let parts = neighbours.as_ref().map(|parts| parts as &dyn Parts);
    let reading = Reading { snapshot: opening.snapshot.as_deref(), force: opening.force, parts };
    let format = recognised(file, from)?;
    let disk = format.decode(file, &reading, env).at(|| format.name())?;
    Ok(Input::Disk { format, file: file.clone(), disk })
}

fn recognised(file: &Blob, from: Option<&str>) -> Result<&'static dyn Format> {
    match from {
        Some(name) => format(name),
        None => probe(file)?.ok_or_else(|| {
            Error::bad_input("is neither a tar nor a unified kernel image nor a disk of a known format")
                .hint("a raw disk without a partition table must be named as such: --from raw")
        }),
    }
}

impl Neighbours<'_> {
    /// The path of a file by the name that another one has for it.
    fn path(&self, name: &str) -> Result<PathBuf> {
        let refuse = |why| Err(Error::unsupported(format!("'{}' {why}", name.escape_debug())));
        let name = name.strip_prefix("file:").unwrap_or(name);
        match name.split_once(':') {
            // A scheme of QEMU's block drivers (`nbd:`, `json:`), not a Windows drive.
            Some((scheme, _)) if scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+') => {
                refuse("is not a file, which alone is followed")
            }
            _ if name.is_empty() => refuse("is no file name"),
            _ => Ok(self.directory.join(name)),
        }
    }
}

impl Parts for Neighbours<'_> {
    fn file(&self, name: &str, env: &mut Env) -> Result<Blob> {
        let path = self.path(name)?;
        open_plain(&path, env).at(|| path.display().to_string())
    }

    fn disk(&self, name: &str, format: Option<&str>, env: &mut Env) -> Result<Blob> {
        if self.depth >= DEPTH_MAX {
            return Err(Error::bad_input(format!("the disk is an overlay of an overlay and so on, {DEPTH_MAX} deep")));
        }
        let path = self.path(name)?;
        let place = || path.display().to_string();
        let file = open_plain(&path, env).at(place)?;
        let directory = path.parent().unwrap_or(Path::new(""));
        let below = Neighbours { directory, force: self.force, depth: self.depth + 1 };
        let format = recognised(&file, format).at(place)?;
        format.decode(&file, &Reading { snapshot: None, force: self.force, parts: Some(&below) }, env).at(place)
    }
}
