//! An image as an OCI archive: its layout in a tar.

use super::Cache;
use crate::error::{At, Result};
use formats::{
    Blob,
    oci::{Descriptor, LAYOUT, Store, blob_name, media_type},
    tar::{Dialect, Writer},
    tree::{Content, Inode},
};
use serde_json::json;
use std::collections::BTreeMap;

/// The archive of what a descriptor leads to, under a name. Every blob is held against its digest.
///
/// # Errors
/// When a blob is damaged.
pub(crate) fn archive_of(cache: &Cache, top: &Descriptor, name: &str, all: Vec<Descriptor>) -> Result<Blob> {
    let entry = top.clone().called(name).json();
    let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [entry]});
    let mut tar = Writer::new(Dialect::Ustar);
    let mut add = |path: &str, body: Blob| tar.add(path.as_bytes(), &Inode::new(Content::File(body), 0o644));
    add("oci-layout", Blob::bytes(LAYOUT.as_bytes()))?;
    add("index.json", Blob::bytes(index.to_string().into_bytes()))?;
    // Images for other platforms need not be there.
    let blobs: BTreeMap<_, _> = all.into_iter().filter(|blob| cache.has(blob)).map(|blob| (blob_name(&blob.digest), blob)).collect();
    for (path, descriptor) in blobs {
        let body = (cache as &dyn Store).blob(&descriptor)?;
        descriptor.digest.check_blob(&body).at(|| format!("{}: blob {}", cache.name(), descriptor.digest))?;
        add(&path, body)?;
    }
    Ok(tar.finish())
}
