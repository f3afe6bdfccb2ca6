//! The disk that the description of a machine names, out of the files beside it.

use super::{Opening, Parts};
use crate::error::{Error, Result};
use formats::{Blob, Env, Parts as _, ova};

/// The disk that a description on its own names, out of the files beside it, where they may be opened.
///
/// # Errors
/// As [`ova::disk`], and when they may not.
pub(super) fn described(envelope: &Blob, opening: &Opening, parts: &Parts, env: &mut Env) -> Result<Blob> {
    if opening.follow.is_none() {
        return Err(Error::unsupported("is the description of a machine, whose disks are in other files, which are not followed")
            .hint("if you trust the file, have the files opened that it names: --follow"));
    }
    let (name, manifest) = parts.described();
    let manifest = manifest.map(|manifest| parts.file(manifest.as_bytes(), env)).transpose()?;
    let file = |href: &str, env: &mut Env| parts.file(href.as_bytes(), env).map(Some);
    ova::disk((&name, envelope), manifest.as_ref(), opening.disk.as_deref(), &file, env)
}
