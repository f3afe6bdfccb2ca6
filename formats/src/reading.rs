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

    /// The other files, or `refusal` with advice.
    pub(crate) fn parts(&self, refusal: impl FnOnce() -> String) -> Result<&dyn Parts> {
        self.parts.ok_or_else(|| {
            let hint = "if you trust the file, have the files opened that it names: --follow";
            Error::unsupported(refusal()).hint(hint)
        })
    }
}
