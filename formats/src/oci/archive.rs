//! Images in a tar: an OCI layout in one, and what `docker save` writes.
//!
//! ```text
//!  oci-layout, index.json, blobs/sha256/HEX             OCI image layout; docker save since 25
//!  manifest.json  [{Config, RepoTags, Layers}]          docker save before that: a config and layers by path, no manifest
//! ```
//! An image without a manifest gets the one that OCI would give it.

use super::{Config, Descriptor, Digest, Index, Reference, Store, blob_name, json, media_type};
use crate::{
    At, Blob, Error, Result,
    tar::{
        Entry, Members,
        verbatim::{clean, split},
    },
    tree::{Content, Inode, ShowPath},
};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Bytes of a path: those that images have are shorter.
const PATH_MAX: usize = 255;
/// Members of an archive that are looked at, and links that are followed for one.
const MEMBERS_MAX: usize = 1 << 16;
const LINKS_MAX: usize = 8;

/// A store in a tar.
#[derive(Debug)]
pub struct Archive {
    name: String,
    files: HashMap<Vec<u8>, File>,
    index: Vec<Descriptor>,
    /// Blobs that have no path of their own.
    blobs: HashMap<Digest, Blob>,
    warnings: Vec<String>,
}

#[derive(Debug)]
enum File {
    Body(Blob),
    /// The path that a link leads to.
    Link(Vec<u8>),
}

impl Archive {
    /// The store in a tar that is not compressed; nothing where it holds no images. `name` is what messages call it.
    ///
    /// # Errors
    /// When it says that it holds images and is malformed.
    pub fn open(tar: &Blob, name: &str) -> Result<Option<Self>> {
        let mut members = Members::new(tar);
        let Some(files) = files(&mut members)? else { return Ok(None) };
        let warnings = members.warnings();
        let mut archive = Self { name: name.to_owned(), files, index: Vec::new(), blobs: HashMap::new(), warnings };
        if let Some(index) = archive.file(b"index.json").filter(|_| archive.file(b"oci-layout").is_some()) {
            archive.index = Index::parse(&index.to_vec(json::DOCUMENT_MAX)?).at(|| format!("{name}: index.json"))?.manifests;
            return Ok(Some(archive));
        }
        let Some(manifest) = archive.file(b"manifest.json") else { return Ok(None) };
        let value = json::parse(&manifest.to_vec(json::DOCUMENT_MAX)?).at(|| format!("{name}: manifest.json"))?;
        // Any tar may have a file of this name.
        let Some(images) = value.as_array().filter(|images| images.iter().all(|image| image.get("Config").is_some())) else {
            return Ok(None);
        };
        for (nth, image) in images.iter().enumerate() {
            archive.saved(image).at(|| format!("{name}: manifest.json: image {nth}"))?;
        }
        Ok(Some(archive))
    }

    /// What is odd about the tar and no error ([`Members::warnings`]).
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Takes in an image as `docker save` describes it.
    fn saved(&mut self, image: &Value) -> Result<()> {
        let image = json::Object::of(image)?;
        let path = image.required("Config", image.text("Config")?)?;
        let config_blob = self.file(path.as_bytes()).ok_or_else(|| missing(path.as_bytes()))?;
        let config_bytes = config_blob.to_vec(json::DOCUMENT_MAX).at(|| format!("config {}", ShowPath(path.as_bytes())))?;
        let config = Config::parse(&config_bytes).at(|| format!("config {}", ShowPath(path.as_bytes())))?;
        let paths = image.texts("Layers")?.unwrap_or_default();
        if paths.len() != config.diff_ids.len() {
            return Err(Error::bad_input(format!("it has {} layers, its config names {}", paths.len(), config.diff_ids.len())));
        }
        let mut layers = Vec::new();
        for (path, diff_id) in paths.iter().zip(&config.diff_ids) {
            let blob = self.file(path.as_bytes()).ok_or_else(|| missing(path.as_bytes()))?;
            // Docker writes plain tars, which their diff_id names; others may compress them.
            let is_plain = super::layer::codec(&blob)?.is_none();
            let digest = if is_plain { diff_id.clone() } else { super::Hasher::default().of(&blob)? };
            layers.push(Descriptor::new(media_type::LAYER, digest.clone(), blob.len()).json());
            self.blobs.insert(digest, blob);
        }
        let config_digest = Digest::sha256(&config_bytes);
        let config_descriptor = Descriptor::new(media_type::CONFIG, config_digest.clone(), config_blob.len()).json();
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config_descriptor, "layers": layers});
        let manifest = manifest.to_string().into_bytes();
        let (digest, size) = (Digest::sha256(&manifest), crate::units::bytes(manifest.len()));
        self.blobs.insert(config_digest, config_blob);
        self.blobs.insert(digest.clone(), Blob::bytes(manifest));
        let tags = image.texts("RepoTags")?.unwrap_or_default();
        let names = tags.iter().map(|tag| tag.parse::<Reference>().map(|reference| Some(reference.to_string())));
        let names = if tags.is_empty() { vec![None] } else { names.collect::<Result<_>>()? };
        for name in names {
            let descriptor = Descriptor::new(media_type::MANIFEST, digest.clone(), size);
            self.index.push(match name {
                Some(name) => descriptor.called(&name),
                None => descriptor,
            });
        }
        Ok(())
    }

    /// A file by its path, through links.
    fn file(&self, path: &[u8]) -> Option<Blob> {
        let mut path = path;
        for _ in 0..LINKS_MAX {
            match self.files.get(path)? {
                File::Body(blob) => return Some(blob.clone()),
                File::Link(target) => path = target,
            }
        }
        None
    }
}

impl Store for Archive {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn index(&self) -> Result<Vec<Descriptor>> {
        Ok(self.index.clone())
    }

    fn open(&self, digest: &Digest) -> Result<Option<Blob>> {
        Ok(self.blobs.get(digest).cloned().or_else(|| self.file(blob_name(digest).as_bytes())))
    }
}

fn missing(path: &[u8]) -> Error {
    Error::bad_input(format!("it names {}, which is not in the archive", ShowPath(path)))
}

/// The files of a tar by path, if it begins as images in a tar may; else nothing is read but its first entries.
fn files(members: &mut Members<'_>) -> Result<Option<HashMap<Vec<u8>, File>>> {
    let mut files = HashMap::new();
    for (nth, member) in members.enumerate() {
        let Ok(member) = member else { return Ok(None) };
        let path = clean(&member.path);
        if nth >= MEMBERS_MAX || !may_stand_in_an_archive(&path) {
            return Ok(None);
        }
        let file = match member.entry {
            Entry::Inode(Inode { content: Content::File(body), .. }) => File::Body(body),
            Entry::Inode(Inode { content: Content::Symlink(target), .. }) => File::Link(clean(&[split(&path).0, &target].concat())),
            Entry::HardLink(target) => File::Link(clean(&target)),
            Entry::Inode(Inode { content: Content::Directory, .. }) => continue,
            Entry::Inode(_) => return Ok(None),
        };
        files.insert(path, file);
    }
    Ok(Some(files))
}

/// Whether images in a tar have such a path: so no other tar is read to its end to find out.
fn may_stand_in_an_archive(path: &[u8]) -> bool {
    if path.len() > PATH_MAX {
        return false;
    }
    let path = String::from_utf8_lossy(path);
    let (first, rest) = path.split_once('/').map_or((&*path, ""), |(first, rest)| (first, rest));
    let is_id = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match first {
        "." | "blobs" | "oci-layout" | "index.json" | "manifest.json" | "repositories" => true,
        _ if is_id(first) => matches!(rest, "" | "VERSION" | "json" | "layer.tar"),
        _ => rest.is_empty() && first.split('.').next().is_some_and(is_id),
    }
}
