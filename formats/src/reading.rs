//! How a file is read where there is a choice, and the other files that some disks consist of.

use crate::{Blob, Env, Error, Result, error::At, tree::ShowPath};
use std::fmt;

/// What to read of a file, and how far to trust it. The default: its present state, if it was closed properly, and no other file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading<'a> {
    /// An internal snapshot, by its name or else its number, and not the present state.
    pub snapshot: Option<&'a str>,
    /// Read also what was not closed properly.
    pub force: bool,
    /// Where other files come from; without it, a disk that needs some is refused by name.
    pub parts: Option<&'a dyn Parts>,
}

/// Gives the other files of a disk in several files. A name comes out of a file that may be hostile: whoever implements this
/// decides whether it is opened. Names are bytes, as on Unix: what they are text of, few formats say.
pub trait Parts: fmt::Debug {
    /// A file as it is.
    ///
    /// # Errors
    /// When it is not to be had.
    fn file(&self, name: &[u8], env: &mut Env) -> Result<Blob>;

    /// The disk in a file, which is of the format that is named, or of what it turns out to be.
    ///
    /// # Errors
    /// As [`Parts::file`], and when it holds no disk.
    fn disk(&self, name: &[u8], format: Option<&str>, env: &mut Env) -> Result<Blob>;

    /// The names of files near by that end so, for who knows what he looks for and not what it is called.
    ///
    /// # Errors
    /// When nobody can tell.
    fn near(&self, ending: &str) -> Result<Vec<Vec<u8>>>;
}

/// The parent of a differencing disk.
pub(crate) struct Parent<'a> {
    /// What it is called, as Windows has it: the first that is there. Where there is no name, it is looked for.
    pub(crate) names: Vec<String>,
    /// What it is known by.
    pub(crate) identifier: String,
    /// How files of its format end.
    pub(crate) ending: &'static str,
    /// Whether a file is the parent, as the child has left it.
    pub(crate) is_it: &'a dyn Fn(&Blob) -> Result<bool>,
}

/// How a file is called here that Windows calls so: what is relative stays so, of another the last part is left.
fn beside(name: &str) -> Vec<String> {
    let name = name.replace('\\', "/");
    let last = name.rsplit('/').next().unwrap_or_default().to_owned();
    let is_absolute = name.starts_with('/') || name.as_bytes().get(1) == Some(&b':');
    let relative = Some(name.trim_start_matches("./").to_owned()).filter(|relative| !is_absolute && *relative != last);
    relative.into_iter().chain([last]).filter(|name| !name.is_empty()).collect()
}

impl Reading<'_> {
    /// Refuses what only some formats have.
    pub(crate) fn refuse_snapshot(&self, format: &str) -> Result<()> {
        match self.snapshot {
            None => Ok(()),
            Some(name) => Err(Error::unsupported(format!("snapshot '{name}' is asked for, {format} files have no internal snapshots"))),
        }
    }

    /// Refuses what was not closed properly, unless reading is forced.
    pub(crate) fn refuse_unclean(&self, what: &str) -> Result<()> {
        if self.force {
            return Ok(());
        }
        Err(Error::bad_input(what).hint("repair it first: qemu-img check -r all; or read it as it is: --force"))
    }

    /// What lies under an overlay of `size` bytes: the disk in the file that it names, as long as the overlay.
    pub(crate) fn below(&self, name: &[u8], format: Option<&str>, size: u64, env: &mut Env) -> Result<Blob> {
        let parts = self.parts(|| format!("the disk is an overlay of '{}', which is not followed", ShowPath(name)))?;
        let mut below = parts.disk(name, format, env).at(|| "backing file")?;
        if below.len() > size {
            below = below.slice(0..size);
        }
        below.extend_to(size);
        Ok(below)
    }

    /// What lies under a differencing disk of `size` bytes.
    pub(crate) fn parent(&self, parent: &Parent<'_>, size: u64, env: &mut Env) -> Result<Blob> {
        let Parent { names, identifier, ending, is_it } = parent;
        let shown = names.first().unwrap_or(identifier);
        let parts =
            self.parts(|| format!("the disk is what differs from its parent '{}', which is not followed", ShowPath(shown.as_bytes())))?;
        let mut candidates: Vec<_> = names.iter().flat_map(|name| beside(name)).map(String::into_bytes).collect();
        if candidates.is_empty() {
            candidates = parts.near(ending)?;
        }
        let mut refused = None;
        for name in candidates {
            match parts.file(&name, env).and_then(|file| is_it(&file)) {
                Ok(true) => return self.below(&name, None, size, env),
                Ok(false) if names.is_empty() => {}
                Ok(false) => {
                    let what = format!("'{}' is not the parent that the disk was made for, or was changed since", ShowPath(&name));
                    refused = Some(Error::bad_input(what));
                }
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.unwrap_or_else(|| Error::bad_input(format!("no file near by is the parent {identifier} of the disk"))))
    }

    /// The other files, or `refusal` with advice.
    pub(crate) fn parts(&self, refusal: impl FnOnce() -> String) -> Result<&dyn Parts> {
        self.parts.ok_or_else(|| {
            let hint = "if you trust the file, have the files opened that it names: --follow";
            Error::unsupported(refusal()).hint(hint)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_windows_are_found_beside() {
        assert_eq!(beside(".\\base.vhdx"), ["base.vhdx"]);
        assert_eq!(beside("..\\disks\\base.vhdx"), ["../disks/base.vhdx", "base.vhdx"]);
        assert_eq!(beside("C:\\VMs\\base.vhd"), ["base.vhd"]);
        assert_eq!(beside("\\\\server\\share\\base.vhd"), ["base.vhd"]);
        assert!(beside("").is_empty());
    }
}
