//! Stores: where the blobs of images are, and which images have a name there (OCI image specification, "Image Layout").

use super::{
    Descriptor, Digest, json,
    manifest::{CONTAINERD_NAME, NAME},
};
use crate::{Blob, Result};

/// A place with images: a layout in a directory, an archive.
pub trait Store: Sync {
    /// What messages call it.
    fn name(&self) -> String;

    /// What its index lists, in order.
    ///
    /// # Errors
    /// When it cannot be read.
    fn index(&self) -> Result<Vec<Descriptor>>;

    /// A blob, not yet held against its digest; nothing where it is not there.
    ///
    /// # Errors
    /// When it cannot be read.
    fn open(&self, digest: &Digest) -> Result<Option<Blob>>;
}

/// The path of a blob in a layout.
pub fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

impl dyn Store + '_ {
    /// A blob, of the length that its descriptor says.
    ///
    /// # Errors
    /// When it is not there or has another length.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<Blob> {
        let Descriptor { digest, size, .. } = descriptor;
        let missing = || crate::Error::bad_input(format!("{}: blob {digest} is missing", self.name()));
        let blob = self.open(digest)?.ok_or_else(missing)?;
        match blob.len() {
            len if len == *size => Ok(blob),
            len => Err(crate::Error::bad_input(format!("{}: blob {digest} has {len} bytes, must have {size}", self.name()))),
        }
    }

    /// A manifest, an index or a config, whose digest is right.
    ///
    /// # Errors
    /// When it is not there or has another length, and when the digest is another or it is too large.
    pub fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let place = |error: crate::Error| error.at(format!("blob {}", descriptor.digest)).at(self.name());
        let bytes = self.blob(descriptor)?.to_vec(json::DOCUMENT_MAX).map_err(place)?;
        descriptor.digest.check(&bytes).map_err(place)?;
        Ok(bytes)
    }
}

/// The name that an index gives an image: the longer of both where there are two, for one may be a tag alone.
pub fn name_of(entry: &Descriptor) -> Option<&str> {
    [CONTAINERD_NAME, NAME].iter().filter_map(|key| entry.annotation(key)).max_by_key(|name| name.len())
}

/// What an index lists under a name: a whole reference, as LinuxKit and skopeo write it. Manifests come before indexes.
pub fn named<'a>(index: &'a [Descriptor], name: &str) -> Option<&'a Descriptor> {
    let has_name = |entry: &&Descriptor| [NAME, CONTAINERD_NAME].iter().any(|key| entry.annotation(key) == Some(name));
    let is_manifest = |entry: &&Descriptor| super::media_type::is_manifest(&entry.media_type);
    index.iter().filter(has_name).find(is_manifest).or_else(|| index.iter().find(has_name))
}
