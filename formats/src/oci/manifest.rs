//! Descriptors, indexes, manifests and configs: OCI image specification 1.1 and Docker's schema 2, which differ in media types alone.

use super::{
    Digest,
    json::{self, Object},
};
use crate::{At, Error, Result, tree::ShowPath};
use serde_json::{Value, json};
use std::fmt;

/// The annotations of a layout's index that name an image: the specification's, and containerd's, which holds the whole reference where the
/// other may be a tag alone.
const NAMES: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];

/// Media types that we know by name.
pub mod media_type {
    /// OCI's index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI's manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI's config.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A config that says nothing.
    pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
    /// A layer that is not compressed.
    pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// Docker's manifest list, as an index.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

    /// Whether it is an index's.
    pub fn is_index(text: &str) -> bool {
        matches!(text, INDEX | DOCKER_LIST)
    }

    /// Whether it is a manifest's.
    pub fn is_manifest(text: &str) -> bool {
        matches!(text, MANIFEST | DOCKER_MANIFEST)
    }
}

/// What names a blob: its type, digest and length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// What it is; empty where nobody said.
    pub media_type: String,
    /// Its name.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The machine that it is for.
    pub platform: Option<Platform>,
    /// What else was said of it.
    pub annotations: Vec<(String, String)>,
    /// What the artifact is that it names; empty of an image.
    pub artifact_type: String,
}

/// The machine that an image is for, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, ...
    pub architecture: String,
    /// `v7`, `v8`, ...; empty where there is none.
    pub variant: String,
}

/// Images for several platforms.
#[derive(Clone, Debug)]
pub struct Index {
    /// Them, in order.
    pub manifests: Vec<Descriptor>,
}

/// An image.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// What to run.
    pub config: Descriptor,
    /// Its file system, from the bottom up.
    pub layers: Vec<Descriptor>,
    /// What else was said of it.
    pub annotations: Vec<(String, String)>,
}

/// What an image says of itself.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The machine that it is for.
    pub platform: Option<Platform>,
    /// What to run.
    pub execution: Execution,
    /// Digests of the layers unpacked, from the bottom up.
    pub diff_ids: Vec<Digest>,
    /// Labels.
    pub labels: Vec<(String, String)>,
}

/// What a container of an image runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Execution {
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// The arguments behind those, or program and arguments.
    pub cmd: Vec<String>,
    /// The environment: `NAME=VALUE`.
    pub env: Vec<String>,
    /// Where it begins; empty for `/`.
    pub working_dir: String,
    /// As whom; empty for root.
    pub user: String,
    /// The signal that asks it to end; empty for SIGTERM.
    pub stop_signal: String,
    /// Seconds until it is killed then.
    pub stop_timeout: Option<u64>,
    /// Where it keeps what outlives a container.
    pub volumes: Vec<String>,
}

impl Descriptor {
    /// One that says no more than it must.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        let (platform, annotations, artifact_type) = (None, Vec::new(), String::new());
        Self { media_type: media_type.to_owned(), digest, size, platform, annotations, artifact_type }
    }

    /// The value of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The same, under a name in the index of a layout, and under no other.
    #[must_use]
    pub fn called(mut self, name: &str) -> Self {
        self.annotations.retain(|(key, _)| !NAMES.contains(&key.as_str()));
        self.annotations.extend(NAMES.map(|key| (key.to_owned(), name.to_owned())));
        self
    }

    /// Whether the index of a layout has it under a name: a whole reference, as LinuxKit, containerd and skopeo write it.
    pub fn is_called(&self, name: &str) -> bool {
        NAMES.iter().any(|key| self.annotation(key) == Some(name))
    }

    /// The name in the index of a layout: the longer of two, for one may be a tag alone.
    pub fn name(&self) -> Option<&str> {
        NAMES.iter().filter_map(|key| self.annotation(key)).max_by_key(|name| name.len())
    }

    /// Whether it is about the manifest of a digest, as BuildKit's attestations are.
    pub fn refers_to(&self, digest: &Digest) -> bool {
        self.annotation("vnd.docker.reference.digest") == Some(digest.as_str())
    }

    /// As a manifest or an index has it.
    pub fn json(&self) -> Value {
        let mut value = json!({"mediaType": self.media_type, "digest": self.digest.as_str(), "size": self.size});
        if !self.artifact_type.is_empty() {
            value["artifactType"] = self.artifact_type.as_str().into();
        }
        if let Some(Platform { os, architecture, variant }) = &self.platform {
            value["platform"] = json!({"os": os, "architecture": architecture});
            if !variant.is_empty() {
                value["platform"]["variant"] = variant.as_str().into();
            }
        }
        if !self.annotations.is_empty() {
            value["annotations"] = self.annotations.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
        }
        value
    }

    /// Reads one out of a manifest or an index.
    ///
    /// # Errors
    /// When it is malformed; the error names the field.
    pub fn read(value: &Value) -> Result<Self> {
        let object = Object::of(value)?;
        Ok(Self {
            media_type: object.text("mediaType")?.unwrap_or_default().to_owned(),
            digest: object.required("digest", object.text("digest")?)?.parse()?,
            size: object.required("size", object.size("size")?)?,
            platform: object.object("platform")?.map(Platform::read).transpose().at(|| "platform")?,
            annotations: object.pairs("annotations")?,
            artifact_type: object.text("artifactType")?.unwrap_or_default().to_owned(),
        })
    }

    fn list(object: Object<'_>, name: &str) -> Result<Vec<Self>> {
        let list = object.required(name, object.list(name)?)?;
        list.iter().enumerate().map(|(nth, value)| Self::read(value).at(|| format!("{name}[{nth}]"))).collect()
    }
}

impl Platform {
    /// Linux on an architecture, by Go's name.
    pub fn linux(architecture: &str) -> Self {
        Self { os: "linux".into(), architecture: architecture.into(), variant: String::new() }
    }

    fn read(object: Object<'_>) -> Result<Self> {
        let text = |name| Ok::<_, Error>(object.text(name)?.unwrap_or_default().to_owned());
        Ok(Self { os: text("os")?, architecture: text("architecture")?, variant: text("variant")? })
    }

    /// Whether an image for this machine serves who wants another: the variant counts only where it is asked for.
    pub fn serves(&self, wanted: &Self) -> bool {
        let same = self.os == wanted.os && self.architecture == wanted.architecture;
        same && (wanted.variant.is_empty() || self.variant == wanted.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |text: &str| ShowPath(text.as_bytes()).to_string();
        write!(f, "{}/{}", show(&self.os), show(&self.architecture))?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", show(&self.variant)) }
    }
}

impl Index {
    /// Reads an index, also the `index.json` of a layout.
    ///
    /// # Errors
    /// When it is malformed; the error names the field.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let value = json::parse(bytes)?;
        Ok(Self { manifests: Descriptor::list(Object::of(&value)?, "manifests")? })
    }

    /// The platforms that it has, for messages.
    pub fn platforms(&self) -> String {
        let all: Vec<_> = self.manifests.iter().filter_map(|manifest| manifest.platform.as_ref()).map(Platform::to_string).collect();
        if all.is_empty() { "none".into() } else { all.join(", ") }
    }
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// When it is malformed, or an old one of Docker's (schema 1).
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let value = json::parse(bytes)?;
        let object = Object::of(&value)?;
        if object.get("fsLayers").is_some() {
            return Err(
                Error::unsupported("it is a manifest of Docker's schema 1, which nobody makes since 2016").hint("push the image again")
            );
        }
        Ok(Self {
            config: Descriptor::read(object.required("config", object.get("config"))?).at(|| "config")?,
            layers: Descriptor::list(object, "layers")?,
            annotations: object.pairs("annotations")?,
        })
    }
}

impl Config {
    /// Reads a config.
    ///
    /// # Errors
    /// When it is malformed; the error names the field.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let value = json::parse(bytes)?;
        let object = Object::of(&value)?;
        let rootfs = object.object("rootfs")?;
        let diff_ids = rootfs.map(|rootfs| rootfs.texts("diff_ids")).transpose().at(|| "rootfs")?.flatten().unwrap_or_default();
        let config = object.object("config")?;
        let is_named = object.get("architecture").is_some();
        Ok(Self {
            platform: is_named.then(|| Platform::read(object)).transpose()?,
            execution: config.map(Execution::read).transpose().at(|| "config")?.unwrap_or_default(),
            diff_ids: diff_ids.iter().map(|text| text.parse()).collect::<Result<_>>().at(|| "rootfs: diff_ids")?,
            labels: config.map(|config| config.pairs("Labels")).transpose().at(|| "config")?.unwrap_or_default(),
        })
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Execution {
    fn read(object: Object<'_>) -> Result<Self> {
        let texts = |name| Ok::<_, Error>(object.texts(name)?.unwrap_or_default());
        let text = |name| Ok::<_, Error>(object.text(name)?.unwrap_or_default().to_owned());
        Ok(Self {
            entrypoint: texts("Entrypoint")?,
            cmd: texts("Cmd")?,
            env: texts("Env")?,
            working_dir: text("WorkingDir")?,
            user: text("User")?,
            stop_signal: text("StopSignal")?,
            stop_timeout: object.size("StopTimeout")?,
            volumes: object.object("Volumes")?.map(|volumes| volumes.names().map(str::to_owned).collect()).unwrap_or_default(),
        })
    }

    /// As a config has it: only what it says.
    pub(super) fn json(&self) -> Value {
        let mut all = serde_json::Map::new();
        for (name, texts) in [("Entrypoint", &self.entrypoint), ("Cmd", &self.cmd), ("Env", &self.env)] {
            if !texts.is_empty() {
                all.insert(name.to_owned(), texts.as_slice().into());
            }
        }
        for (name, text) in [("WorkingDir", &self.working_dir), ("User", &self.user), ("StopSignal", &self.stop_signal)] {
            if !text.is_empty() {
                all.insert(name.to_owned(), text.as_str().into());
            }
        }
        if let Some(seconds) = self.stop_timeout {
            all.insert("StopTimeout".to_owned(), seconds.into());
        }
        if !self.volumes.is_empty() {
            all.insert("Volumes".to_owned(), self.volumes.iter().map(|volume| (volume.clone(), json!({}))).collect());
        }
        Value::Object(all)
    }

    /// Program and arguments: the entrypoint and what follows it.
    pub fn args(&self) -> Vec<String> {
        [self.entrypoint.as_slice(), &self.cmd].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_manifest_names_its_config_and_layers() {
        let text = format!(
            r#"{{"schemaVersion":2,"unknown":[],"config":{{"digest":"{DIGEST}","size":2,"mediaType":"c"}},"layers":[{{"digest":"{DIGEST}","size":3}}]}}"#
        );
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!((manifest.config.size, manifest.config.media_type.as_str(), manifest.layers[0].size), (2, "c", 3));
    }

    #[test]
    fn an_error_names_the_field() {
        let cases = [
            (r#"{"config":{},"layers":[]}"#, "config: digest is missing"),
            (r#"{"layers":[]}"#, "config is missing"),
            (r#"{"config":{"digest":"x","size":1},"layers":[]}"#, "config: 'x' is no digest"),
            (
                &format!(r#"{{"config":{{"digest":"{DIGEST}","size":-1}},"layers":[]}}"#),
                "config: size is a number, must be a whole number below 2^64",
            ),
            (&format!(r#"{{"config":{{"digest":"{DIGEST}","size":1}},"layers":[[]]}}"#), "layers[0]: it is a list, must be an object"),
            ("[]", "it is a list, must be an object"),
            ("{", "it is no JSON"),
            (r#"{"fsLayers":[]}"#, "schema 1"),
        ];
        for (text, words) in cases {
            let error = Manifest::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(words) || words == "schema 1" && error.contains(words), "{text}: {error}");
        }
        let deep = "[".repeat(10_000);
        assert!(Config::parse(format!(r#"{{"config":{deep}"#).as_bytes()).unwrap_err().to_string().contains("no JSON"));
    }

    #[test]
    fn null_is_as_good_as_nothing() {
        let config =
            Config::parse(br#"{"architecture":"arm64","os":"linux","config":{"Cmd":null,"Env":["A=1"],"Labels":null},"rootfs":null}"#)
                .unwrap();
        assert_eq!((config.platform, config.execution.env.clone()), (Some(Platform::linux("arm64")), vec!["A=1".to_owned()]));
        assert!(config.execution.args().is_empty() && config.labels.is_empty() && config.diff_ids.is_empty());
    }

    #[test]
    fn a_variant_counts_where_it_is_asked_for() {
        let arm = |variant: &str| Platform { variant: variant.into(), ..Platform::linux("arm") };
        assert!(arm("v7").serves(&arm("")) && arm("v7").serves(&arm("v7")) && !arm("v6").serves(&arm("v7")) && !arm("").serves(&arm("v7")));
        assert!(!Platform::linux("amd64").serves(&Platform::linux("arm64")));
        assert_eq!(arm("v7").to_string(), "linux/arm/v7");
    }
}
