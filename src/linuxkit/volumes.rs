//! Volumes: a tree of an image or none, and what is mounted over it at run time.

use super::{
    config::Volume,
    filesystem::{self, Resolver},
    tagged::{Tag, Tagged},
};
use crate::{
    error::{At, Error, Result},
    images::Pulled,
};
use formats::{
    Blob,
    oci::{Platform, blob_name},
    tar::{typeflag, verbatim::Entry},
    tree::ShowPath,
};
use serde_json::{Map, Value, json};

/// The file that says that a directory is an OCI layout, as LinuxKit writes it.
const LAYOUT: &str = "{\n\t\t\"imageLayoutVersion\": \"1.0.0\"\n\t}";

/// Puts volume number `nth` into the tar. Gives what shows although an opaque whiteout hides it by OCI's rules.
///
/// # Errors
/// When the image is none of that kind, or a layer is damaged.
pub(super) fn put(to: &mut Tagged, nth: usize, volume: &Volume, image: Option<&Pulled>) -> Result<Option<String>> {
    let location = format!("volume[{nth}]");
    let path = format!("containers/volumes/{}", volume.name.value);
    let lower = format!("{path}/lower");
    let source = volume.image.as_ref().map_or("empty", |image| image.expanded.as_str());
    let tag = Tag::new(source, &location);
    let mut shown = None;
    match (image, volume.format.as_ref().map(|format| format.value.as_str())) {
        (None, _) => to.directories(&tag, &lower)?,
        (Some(image), Some("oci")) => {
            to.directories(&tag, &lower)?;
            layout(to, &tag, &lower, source, volume, image)?;
        }
        (Some(image), _) => shown = filesystem::put(to, &image.tars, &tag, &lower, Resolver::Link)?,
    }
    let tag = Tag::new("linuxkit.volumes", location);
    to.directory(&tag, &format!("{path}/tmp/"))?;
    to.directory(&tag, &format!("{path}/merged/"))?;
    Ok(shown)
}

/// Puts the image into the tar as it is stored: an OCI layout.
fn layout(to: &mut Tagged, tag: &Tag, path: &str, name: &str, volume: &Volume, image: &Pulled) -> Result<()> {
    let index = image.index.as_ref().ok_or_else(|| {
        let what = format!("{} is no index of images, which format: oci asks for", ShowPath(name.as_bytes()));
        Error::unsupported(what).hint("leave out format:, or build the image for several platforms").at(&volume.at)
    })?;
    let mut add = |kind: u8, name: &str, body: &Blob| {
        let mode = if kind == typeflag::DIRECTORY { 0o755 } else { 0o644 };
        let mut entry = Entry::new(kind, format!("{path}/{name}"), mode);
        tag.mark(&mut entry);
        to.add(&entry, body)
    };
    let wanted = volume.platforms.iter().map(|text| Ok((text, platform(text)?))).collect::<Result<Vec<_>>>()?;
    for (text, platform) in &wanted {
        if !index.manifests.iter().any(|manifest| manifest.platform.as_ref().is_some_and(|has| has.serves(platform))) {
            let what = format!("{} has no image for {platform}", ShowPath(name.as_bytes()));
            return Err(Error::bad_input(what).at(&text.at));
        }
    }
    add(typeflag::FILE, "oci-layout", &Blob::bytes(LAYOUT.as_bytes()))?;
    add(typeflag::DIRECTORY, "blobs", &Blob::default())?;
    add(typeflag::DIRECTORY, "blobs/sha256", &Blob::default())?;
    for manifest in &index.manifests {
        let is_wanted = wanted.is_empty() || wanted.iter().any(|(_, wish)| manifest.platform.as_ref().is_some_and(|has| has.serves(wish)));
        if is_wanted {
            for descriptor in image.parts(manifest).at(|| &volume.at)? {
                add(typeflag::FILE, &blob_name(&descriptor.digest), &image.checked(&descriptor)?)?;
            }
        }
    }
    add(typeflag::FILE, &blob_name(&index.descriptor.digest), &image.checked(&index.descriptor)?)?;
    let mut descriptor = Map::new();
    descriptor.insert("mediaType".into(), index.descriptor.media_type.as_str().into());
    descriptor.insert("size".into(), index.descriptor.size.into());
    descriptor.insert("digest".into(), index.descriptor.digest.as_str().into());
    descriptor.insert("annotations".into(), json!({"org.opencontainers.image.ref.name": name}));
    let list = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [Value::from(descriptor)]});
    add(typeflag::FILE, "index.json", &Blob::bytes(indented(&list).into_bytes()))
}

/// `os/architecture[/variant]`.
fn platform(text: &super::config::Text) -> Result<Platform> {
    let parts: Vec<_> = text.split('/').collect();
    let (os, architecture, variant) = match parts[..] {
        [os, architecture] => (os, architecture, ""),
        [os, architecture, variant] => (os, architecture, variant),
        _ => return Err(Error::bad_input(format!("'{}' must be OS/ARCHITECTURE[/VARIANT]", ShowPath(text.as_bytes()))).at(&text.at)),
    };
    Ok(Platform { os: os.into(), architecture: architecture.into(), variant: variant.into() })
}

/// JSON as go-containerregistry indents it: by three.
fn indented(value: &Value) -> String {
    super::go_json::indented(value, "   ")
}
