//! An image layout in a directory (OCI image specification, "Image Layout"): what `skopeo copy oci:` makes, and LinuxKit's cache is.

use crate::error::{At, Error, Result};
use formats::{
    Blob,
    blob::Backing,
    oci::{Descriptor, Digest, Index, Store, blob_name},
    units,
};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

/// Most bytes of an index.
const INDEX_MAX: u64 = 64 * units::MIB;

/// A layout in a directory, read.
#[derive(Debug)]
pub(crate) struct Layout {
    path: PathBuf,
    index: Vec<Descriptor>,
}

impl Layout {
    /// The layout in a directory.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let index = path.join("index.json");
        let bytes = file(&index).at(|| path.display())?.ok_or_else(|| {
            let what = format!("{}: there is no image layout, index.json is missing", path.display());
            Error::bad_input(what).hint("`skopeo copy docker://NAME oci:DIR:TAG` makes one")
        })?;
        let index = Index::parse(&bytes.to_vec(INDEX_MAX)?).at(|| index.display())?.manifests;
        Ok(Self { path: path.to_owned(), index })
    }
}

impl Store for Layout {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn index(&self) -> Result<Vec<Descriptor>> {
        Ok(self.index.clone())
    }

    fn open(&self, digest: &Digest) -> Result<Option<Blob>> {
        let path = self.path.join(blob_name(digest));
        file(&path).at(|| path.display())
    }
}

/// A file as a blob; nothing where there is none.
pub(crate) fn file(path: &Path) -> Result<Option<Blob>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let meta = file.metadata()?;
    match meta.is_file() {
        true => Ok(Some(Blob::file(Backing::of_others(file)?, 0, meta.len()))),
        false => Err(Error::bad_input("it is no file")),
    }
}
