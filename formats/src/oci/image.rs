//! Which image of a store serves a platform, and what it consists of.

use super::{Config, Descriptor, Digest, Index, Manifest, Platform, Store, manifest::media_type};
use crate::{At, Blob, Error, Result};

/// An image whose manifest and config are known; its layers are still to be unpacked.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its manifest.
    pub manifest: Descriptor,
    /// What it says of itself.
    pub config: Config,
    /// Its layers from the bottom up: what names each, the digest of what is in it, and its bytes.
    pub layers: Vec<Layer>,
    /// The index that the manifest was chosen from, if there was one.
    pub index: Option<Descriptor>,
}

/// A layer as it is stored.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What names it.
    pub descriptor: Descriptor,
    /// The digest of the tar that is in it, where the config says it.
    pub diff_id: Option<Digest>,
    /// Its bytes, not yet held against the digest.
    pub blob: Blob,
}

/// The image for a platform that a descriptor leads to: itself, or the first of an index that serves it.
///
/// A lone manifest serves whoever names it: what it says about its platform is for the caller to judge.
///
/// # Errors
/// When there is none, or something is missing, damaged or no image; the error names the store and the blob.
pub fn select(store: &dyn Store, descriptor: &Descriptor, platform: &Platform) -> Result<Image> {
    let bytes = store.document(descriptor)?;
    let place = || format!("{}: blob {}", store.name(), descriptor.digest);
    if !is_index(&descriptor.media_type, &bytes) {
        return open(store, descriptor.clone(), &bytes, None);
    }
    let index = Index::parse(&bytes).at(place)?;
    let chosen = index.manifests.iter().find(|manifest| manifest.platform.as_ref().is_some_and(|has| has.serves(platform)));
    let chosen = chosen.ok_or_else(|| {
        let what = format!("it has no image for {platform}; there are: {}", index.platforms());
        Error::bad_input(what).hint("choose another with --arch, or name an image that has it").at(place())
    })?;
    if media_type::is_index(&chosen.media_type) {
        return Err(Error::unsupported(format!("an index in an index: {}", chosen.digest)).at(place()));
    }
    let bytes = store.document(chosen)?;
    open(store, chosen.clone(), &bytes, Some(descriptor.clone()))
}

/// Whether a document is an index: by its media type where that is known, else by what only an index has.
pub fn is_index(media_type: &str, bytes: &[u8]) -> bool {
    media_type::is_index(media_type) || !media_type::is_manifest(media_type) && Index::parse(bytes).is_ok()
}

fn open(store: &dyn Store, descriptor: Descriptor, bytes: &[u8], index: Option<Descriptor>) -> Result<Image> {
    let place = || format!("{}: manifest {}", store.name(), descriptor.digest);
    let manifest = Manifest::parse(bytes).at(place)?;
    let config = store.document(&manifest.config).at(place)?;
    let config = Config::parse(&config).at(|| format!("{}: config {}", store.name(), manifest.config.digest))?;
    let (ids, layers) = (config.diff_ids.len(), manifest.layers.len());
    if ids != layers {
        return Err(Error::bad_input(format!("it has {layers} layers, its config names {ids}")).at(place()));
    }
    let layer = |(descriptor, diff_id): (Descriptor, &Digest)| {
        let blob = store.blob(&descriptor).at(place)?;
        Ok(Layer { descriptor, diff_id: Some(diff_id.clone()), blob })
    };
    let layers = manifest.layers.into_iter().zip(&config.diff_ids).map(layer).collect::<Result<_>>()?;
    Ok(Image { manifest: descriptor, config, layers, index })
}
