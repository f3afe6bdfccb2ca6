//! Stores: where the blobs of images are, and which images have a name there (OCI image specification, "Image Layout").

use super::{Descriptor, Digest, Index, Manifest, json};
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

/// The file `oci-layout` of a layout.
pub const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

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

    /// All that a descriptor leads to, itself first, as far as manifests and indexes are there.
    pub fn tree(&self, descriptor: &Descriptor) -> Vec<Descriptor> {
        let mut all = vec![descriptor.clone()];
        let Ok(bytes) = self.document(descriptor) else { return all };
        if let Ok(index) = Index::parse(&bytes) {
            all.extend(index.manifests.iter().flat_map(|manifest| self.tree(manifest)));
        } else if let Ok(Manifest { config, layers, .. }) = Manifest::parse(&bytes) {
            all.extend([config].into_iter().chain(layers));
        }
        all
    }
}

/// What an index lists under a name: a whole reference, as LinuxKit and skopeo write it. Manifests come before indexes.
pub fn named<'a>(index: &'a [Descriptor], name: &str) -> Option<&'a Descriptor> {
    let has_name = |entry: &&Descriptor| entry.is_called(name);
    let is_manifest = |entry: &&Descriptor| super::media_type::is_manifest(&entry.media_type);
    index.iter().filter(has_name).find(is_manifest).or_else(|| index.iter().find(has_name))
}
