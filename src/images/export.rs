//! Images as OCI archives: their layout in a tar.

use super::Cache;
use crate::error::{At, Result};
#[cfg(feature = "net")]
use formats::oci::Made;
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
    // Images for other platforms need not be there.
    let there = all.into_iter().filter(|blob| cache.has(blob)).map(|descriptor| {
        let body = (cache as &dyn Store).blob(&descriptor)?;
        descriptor.digest.check_blob(&body).at(|| format!("{}: blob {}", cache.name(), descriptor.digest))?;
        Ok((blob_name(&descriptor.digest), body))
    });
    archive(top, name, there.collect::<Result<_>>()?)
}

/// The archive of what was made here, under a name.
///
/// # Errors
/// When it holds what no tar holds.
#[cfg(feature = "net")]
pub(crate) fn archive_of_made(made: &Made, name: &str) -> Result<Blob> {
    let documents = made.manifests.iter().chain([&made.top]);
    let documents = documents.map(|document| (blob_name(&document.descriptor.digest), Blob::bytes(document.bytes.clone())));
    let blobs = made.blobs.iter().map(|(descriptor, body)| (blob_name(&descriptor.digest), body.clone()));
    archive(&made.top.descriptor, name, documents.chain(blobs).collect())
}

/// A layout with one name in its index, and these blobs by their paths.
fn archive(top: &Descriptor, name: &str, blobs: BTreeMap<String, Blob>) -> Result<Blob> {
    let entry = top.clone().called(name).json();
    let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [entry]});
    let mut tar = Writer::new(Dialect::Ustar);
    let mut add = |path: &str, body: Blob| tar.add(path.as_bytes(), &Inode::new(Content::File(body), 0o644));
    add("oci-layout", Blob::bytes(LAYOUT.as_bytes()))?;
    add("index.json", Blob::bytes(index.to_string().into_bytes()))?;
    for (path, body) in blobs {
        add(&path, body)?;
    }
    Ok(tar.finish())
}
