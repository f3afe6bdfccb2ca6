//! Places with images, as the user names them.

use crate::{
    error::{At, Error, Result},
    images::Layout,
    input::{self, Opening},
};
use formats::{
    Env,
    oci::{Store, archive::Archive},
    tree::ShowPath,
};
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

/// A place with images that the user names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// An image layout in a directory.
    Layout(PathBuf),
    /// An image layout, or what `docker save` wrote, in a tar, compressed or not.
    Archive(PathBuf),
}

/// What the names of places begin with, and what a path without it is.
pub(super) const SCHEMES: [&str; 3] = ["oci-layout:", "oci-archive:", "docker-archive:"];

impl FromStr for Place {
    type Err = Error;

    /// `oci-layout:DIR`, `oci-archive:FILE`, `docker-archive:FILE`, or a path alone: a directory is a layout, a file an archive.
    fn from_str(text: &str) -> Result<Self> {
        let (scheme, path) = SCHEMES.iter().find_map(|scheme| Some((Some(*scheme), text.strip_prefix(scheme)?))).unwrap_or((None, text));
        if path.is_empty() {
            return Err(Error::bad_input(format!("'{}' names no path", ShowPath(text.as_bytes()))));
        }
        let path = PathBuf::from(path);
        Ok(match scheme {
            Some("oci-layout:") => Self::Layout(path),
            Some(_) => Self::Archive(path),
            None if path.is_dir() => Self::Layout(path),
            None => Self::Archive(path),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path().display())
    }
}

impl Place {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        let (Self::Layout(path) | Self::Archive(path)) = self;
        path
    }

    /// The images in it.
    ///
    /// # Errors
    /// When there are none, or they are damaged.
    pub(super) fn open(&self, env: &mut Env) -> Result<Arc<dyn Store>> {
        match self {
            Self::Layout(path) => Ok(Arc::new(Layout::open(path)?)),
            Self::Archive(path) => archive(path, env),
        }
    }
}

fn archive(path: &Path, env: &mut Env) -> Result<Arc<dyn Store>> {
    let place = || path.display().to_string();
    let tar = input::open(path, &Opening::default(), env).at(place)?;
    let archive = Archive::open(&tar, &place())?;
    let hint = "`docker save` and `skopeo copy docker://NAME oci-archive:FILE:NAME` make archives of images";
    let archive = archive.ok_or_else(|| Error::bad_input("it is no archive of images").hint(hint).at(place()))?;
    Ok(Arc::new(archive))
}
