//! Images and artifacts that are made here: what is put where, and in which order.
//!
//! Nothing is copied: a layer is a blob over the ranges of what is in it. The same input gives the same digests; the only time is the
//! one that is given.

use super::{Descriptor, Digest, Execution, Hasher, Platform, media_type};
use crate::{Blob, Error, Result, Timestamp, calendar::Moment, units};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Bytes that have a descriptor: a manifest or an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What names it.
    pub descriptor: Descriptor,
    /// JSON.
    pub bytes: Vec<u8>,
}

/// An image or an artifact, or an index of several, with all that it leads to.
#[derive(Clone, Debug)]
pub struct Made {
    /// What gets the tag: a manifest or an index.
    pub top: Document,
    /// The manifests of an index, in order.
    pub manifests: Vec<Document>,
    /// Configs and layers, each once.
    pub blobs: Vec<(Descriptor, Blob)>,
}

impl Document {
    fn new(media_type: &str, value: &Value) -> Self {
        let bytes = value.to_string().into_bytes();
        Self { descriptor: Descriptor::new(media_type, Digest::sha256(&bytes), units::bytes(bytes.len())), bytes }
    }
}

impl Made {
    /// An image of one layer, a tar that is not compressed.
    ///
    /// # Errors
    /// When the layer cannot be read.
    pub fn image(layer: &Blob, execution: &Execution, platform: &Platform, time: Timestamp) -> Result<Self> {
        let digest = Hasher::default().of(layer)?;
        let mut config = json!({"created": rfc_3339(time), "architecture": platform.architecture, "os": platform.os});
        if !platform.variant.is_empty() {
            config["variant"] = platform.variant.as_str().into();
        }
        config["config"] = execution.json();
        config["rootfs"] = json!({"type": "layers", "diff_ids": [digest.as_str()]});
        config["history"] = json!([{"created": rfc_3339(time), "created_by": "moby"}]);
        let config = config.to_string().into_bytes();
        let blobs = vec![
            (Descriptor::new(media_type::CONFIG, Digest::sha256(&config), units::bytes(config.len())), Blob::from(config)),
            (Descriptor::new(media_type::LAYER, digest, layer.len()), layer.clone()),
        ];
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::MANIFEST,
            "config": blobs[0].0.json(),
            "layers": [blobs[1].0.json()],
        });
        let mut top = Document::new(media_type::MANIFEST, &manifest);
        top.descriptor.platform = Some(platform.clone());
        Ok(Self { top, manifests: Vec::new(), blobs })
    }

    /// An artifact of one file, as ORAS has them: a config of nothing, and the file as it is under its name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn artifact(file: &Artifact<'_>, time: Timestamp) -> Result<Self> {
        let Artifact { artifact_type, media_type, name, body, platform } = file;
        let empty = Descriptor::new(media_type::EMPTY, Digest::sha256(EMPTY), units::bytes(EMPTY.len()));
        let mut layer = Descriptor::new(media_type, Hasher::default().of(body)?, body.len());
        layer.annotations.push((TITLE.to_owned(), (*name).to_owned()));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::MANIFEST,
            "artifactType": artifact_type,
            "config": empty.json(),
            "layers": [layer.json()],
            "annotations": {CREATED: rfc_3339(time)},
        });
        let mut top = Document::new(media_type::MANIFEST, &manifest);
        top.descriptor.platform = platform.clone();
        top.descriptor.artifact_type = (*artifact_type).to_owned();
        // So that who reads the index knows which is which.
        top.descriptor.annotations.push((TITLE.to_owned(), (*name).to_owned()));
        let blobs = vec![(empty, Blob::bytes(EMPTY)), (layer, (*body).clone())];
        Ok(Self { top, manifests: Vec::new(), blobs })
    }

    /// The same, with something said of what gets the tag. Panics when that is no JSON, as what is made here never is.
    #[must_use]
    pub fn saying(mut self, name: &str, value: &str) -> Self {
        let mut all: Value = serde_json::from_slice(&self.top.bytes).expect("it was made here");
        all["annotations"][name] = value.into();
        let Document { descriptor, bytes } = Document::new(&self.top.descriptor.media_type, &all);
        self.top = Document { descriptor: Descriptor { digest: descriptor.digest, size: descriptor.size, ..self.top.descriptor }, bytes };
        self
    }

    /// Several under one index; a single one stays what it is.
    ///
    /// # Errors
    /// When there is none, or two images are for the same machine.
    pub fn index(all: Vec<Self>) -> Result<Self> {
        let mut platforms = Vec::new();
        for one in all.iter().filter(|one| one.top.descriptor.artifact_type.is_empty()) {
            let Some(platform) = &one.top.descriptor.platform else { continue };
            if platforms.contains(platform) {
                let what = format!("two images are for {platform}, and a name leads each machine to one");
                return Err(Error::bad_input(what).hint("push them under two names"));
            }
            platforms.push(platform.clone());
        }
        let Ok([one]) = <[Self; 1]>::try_from(all.clone()) else {
            return Self::of_several(all);
        };
        Ok(one)
    }

    fn of_several(all: Vec<Self>) -> Result<Self> {
        let first = all.first().ok_or_else(|| Error::bad_input("there is nothing to make an index of"))?;
        let mut index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX});
        if !first.top.descriptor.artifact_type.is_empty() {
            index["artifactType"] = first.top.descriptor.artifact_type.as_str().into();
        }
        index["manifests"] = all.iter().map(|one| one.top.descriptor.json()).collect();
        let (mut manifests, mut blobs, mut once) = (Vec::new(), Vec::new(), BTreeSet::new());
        for Self { top, blobs: more, .. } in all {
            if once.insert(top.descriptor.digest.clone()) {
                manifests.push(top);
            }
            blobs.extend(more.into_iter().filter(|(descriptor, _)| once.insert(descriptor.digest.clone())));
        }
        Ok(Self { top: Document::new(media_type::INDEX, &index), manifests, blobs })
    }
}

/// A file that becomes an artifact.
#[derive(Clone, Debug)]
pub struct Artifact<'a> {
    /// What the artifact is.
    pub artifact_type: &'a str,
    /// What the file is.
    pub media_type: &'a str,
    /// What it is called.
    pub name: &'a str,
    /// Its bytes.
    pub body: &'a Blob,
    /// The machine that it is for, where that is known.
    pub platform: Option<Platform>,
}

/// What a config is that says nothing.
const EMPTY: &[u8] = b"{}";

/// The annotation that says what a file is called.
const TITLE: &str = "org.opencontainers.image.title";

/// The annotation that says when it was made.
const CREATED: &str = "org.opencontainers.image.created";

/// A time as RFC 3339 writes it; what its years do not have becomes the first or the last.
fn rfc_3339(time: Timestamp) -> String {
    let Moment { year, month, day, hour, minute, second } = Moment::nearest(time);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Config, Index, Manifest};

    fn image(architecture: &str, bytes: &[u8]) -> Made {
        Made::image(&Blob::bytes(bytes), &Execution::default(), &Platform::linux(architecture), Timestamp(1)).unwrap()
    }

    #[test]
    fn an_image_is_read_as_it_was_made() {
        let execution = Execution { entrypoint: vec!["/moby".into()], env: vec!["A=1".into()], ..Execution::default() };
        let made = Made::image(&Blob::bytes(*b"tar"), &execution, &Platform::linux("arm64"), Timestamp(0)).unwrap();
        let manifest = Manifest::parse(&made.top.bytes).unwrap();
        let (config, body) = &made.blobs[0];
        assert_eq!((&manifest.config, manifest.layers.as_slice()), (config, [made.blobs[1].0.clone()].as_slice()));
        let bytes = body.to_vec(9999).unwrap();
        let config = Config::parse(&bytes).unwrap();
        assert_eq!((config.execution, config.platform), (execution, Some(Platform::linux("arm64"))));
        assert_eq!(config.diff_ids, [Digest::sha256(b"tar")]);
        assert!(String::from_utf8(bytes).unwrap().contains(r#""created":"1970-01-01T00:00:00Z""#));
    }

    #[test]
    fn what_is_said_of_it_is_found_again() {
        let made = image("amd64", b"a").saying("key", "it's");
        assert_eq!(Manifest::parse(&made.top.bytes).unwrap().annotations, [("key".to_owned(), "it's".to_owned())]);
        assert_eq!(made.top.descriptor.digest, Digest::sha256(&made.top.bytes));
        assert_eq!(made.top.descriptor.platform, Some(Platform::linux("amd64")));
    }

    #[test]
    fn an_index_has_each_blob_once() {
        let made = Made::index(vec![image("amd64", b"a"), image("arm64", b"a")]).unwrap();
        let index = Index::parse(&made.top.bytes).unwrap();
        assert_eq!(index.platforms(), "linux/amd64, linux/arm64");
        assert_eq!((made.manifests.len(), made.blobs.len()), (2, 3));
        let alone = image("amd64", b"a");
        assert_eq!(Made::index(vec![alone.clone()]).unwrap().top, alone.top);
        let error = Made::index(vec![image("amd64", b"a"), image("amd64", b"b")]).unwrap_err().to_string();
        assert!(error.contains("two images are for linux/amd64"), "{error}");
    }

    #[test]
    fn an_artifact_is_what_oras_makes() {
        let body = Blob::bytes(*b"disk");
        let file = Artifact { artifact_type: "application/vnd.x", media_type: "application/x-y", name: "a.y", body: &body, platform: None };
        let made = Made::artifact(&file, Timestamp(0)).unwrap();
        let value: Value = serde_json::from_slice(&made.top.bytes).unwrap();
        // The digest that ORAS and the specification name.
        assert_eq!(value["config"]["digest"], "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
        assert_eq!(value["layers"][0]["annotations"][TITLE], "a.y");
        assert_eq!((&value["artifactType"], &value["config"]["size"]), (&json!("application/vnd.x"), &json!(2)));
        let two = Made::index(vec![made.clone(), Made::artifact(&Artifact { name: "b.y", ..file }, Timestamp(0)).unwrap()]).unwrap();
        let value: Value = serde_json::from_slice(&two.top.bytes).unwrap();
        assert_eq!((&value["artifactType"], &value["manifests"][1]["annotations"][TITLE]), (&json!("application/vnd.x"), &json!("b.y")));
        assert_eq!(two.blobs.len(), 2);
    }
}
