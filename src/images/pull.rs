//! From registries into the cache: only what is wanted and not there, several blobs at a time.

use super::{Cache, Wanted, cache::Ingest};
use crate::error::{At, Error, Result};
use formats::{
    Progress,
    oci::{Descriptor, Digest, Index, Manifest, Reference, Store, cosign, is_index, media_type},
    parallel, units,
};
pub(crate) use net::PublicKey;
use net::{Client, Repository};
use std::{io::Write, num::NonZeroUsize, sync::Arc};

/// Blobs that are under way at once.
const AT_ONCE: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// Pulls images.
pub(crate) struct Puller {
    client: Client,
    cache: Arc<Cache>,
}

impl Puller {
    pub(crate) fn new(client: Client, cache: Arc<Cache>) -> Self {
        Self { client, cache }
    }

    /// Brings an image into the cache, and lists it there under its name.
    ///
    /// # Errors
    /// When the registry does not have it or fails, what comes is damaged, or the cache cannot be written.
    pub(crate) fn pull(&self, reference: &Reference, wanted: Wanted<'_>, progress: &dyn Progress) -> Result<Descriptor> {
        let repository = Repository::new(reference.host(), reference.path())?;
        let place = || format!("image {reference}");
        let top = self.document(&repository, wanted.digest.map_or(reference.object(), Digest::as_str))?;
        let manifests = match self.manifests(&top, wanted).at(place)? {
            None => vec![top.clone()],
            Some(list) => list.iter().map(|descriptor| self.listed(&repository, descriptor)).collect::<Result<_>>().at(place)?,
        };
        let mut blobs: Vec<Descriptor> = Vec::new();
        for (_, bytes) in &manifests {
            let Manifest { config, layers, .. } = Manifest::parse(bytes).at(place)?;
            for blob in [config].into_iter().chain(layers) {
                if !blobs.iter().any(|other| other.digest == blob.digest) && !self.cache.has(&blob) {
                    blobs.push(blob);
                }
            }
        }
        parallel::map(AT_ONCE, blobs, |blob| self.blob(&repository, &blob, progress))?;
        let (descriptor, _) = top;
        self.cache.list(&descriptor, &reference.to_string())?;
        Ok(descriptor)
    }

    /// Brings the signatures of a manifest or an index into the cache, and lists them there under their tags. There may be none.
    ///
    /// # Errors
    /// As [`Puller::pull`].
    pub(crate) fn signatures(&self, reference: &Reference, digest: &Digest, progress: &dyn Progress) -> Result<()> {
        let repository = Repository::new(reference.host(), reference.path())?;
        let [signed, referrers] = cosign::tags(digest);
        let found =
            [(self.client.tagged(&repository, &signed)?, signed), (self.client.referrers(&repository, digest.as_str())?, referrers)];
        for (manifest, tag) in found {
            let Some(manifest) = manifest else { continue };
            let place = || format!("{repository}:{tag}");
            let (descriptor, bytes) = self.keep(manifest)?;
            let manifests = match is_index(&descriptor.media_type, &bytes) {
                false => vec![(descriptor.clone(), bytes)],
                true => {
                    let list = Index::parse(&bytes).at(place)?.manifests;
                    list.iter().map(|descriptor| self.listed(&repository, descriptor)).collect::<Result<_>>()?
                }
            };
            for (_, bytes) in manifests {
                for layer in Manifest::parse(&bytes).at(place)?.layers.iter().filter(|layer| cosign::is_signature(layer)) {
                    if layer.size > net::registry::MANIFEST_MAX {
                        return Err(Error::bad_input(format!("signature {} has {} bytes", layer.digest, layer.size)).at(place()));
                    }
                    if !self.cache.has(layer) {
                        self.blob(&repository, layer, progress)?;
                    }
                }
            }
            self.cache.list(&descriptor, &reference.tagged(&tag))?;
        }
        Ok(())
    }

    /// The images of an index that are wanted, with what is attested about them; nothing of what is no index.
    fn manifests(&self, (descriptor, bytes): &(Descriptor, Vec<u8>), wanted: Wanted<'_>) -> Result<Option<Vec<Descriptor>>> {
        if !media_type::is_index(&descriptor.media_type) {
            return Ok(None);
        }
        let index = Index::parse(bytes)?;
        if wanted.all {
            return Ok(Some(index.manifests));
        }
        let serves = |manifest: &&Descriptor| manifest.platform.as_ref().is_some_and(|has| has.serves(wanted.platform));
        let chosen = index.manifests.iter().find(serves).ok_or_else(|| {
            let what = format!("it has no image for {}; there are: {}", wanted.platform, index.platforms());
            Error::bad_input(what).hint("choose another with --arch, or name an image that has it")
        })?;
        let is_about = |manifest: &&Descriptor| manifest.refers_to(&chosen.digest);
        Ok(Some([chosen].into_iter().chain(index.manifests.iter().filter(is_about)).cloned().collect()))
    }

    /// A manifest of an index: from the cache, or from the registry.
    fn listed(&self, repository: &Repository, descriptor: &Descriptor) -> Result<(Descriptor, Vec<u8>)> {
        if self.cache.has(descriptor)
            && let Ok(bytes) = (&*self.cache as &dyn Store).document(descriptor)
        {
            return Ok((descriptor.clone(), bytes));
        }
        let (_, bytes) = self.document(repository, descriptor.digest.as_str())?;
        Ok((descriptor.clone(), bytes))
    }

    /// A manifest or an index, put into the cache.
    fn document(&self, repository: &Repository, object: &str) -> Result<(Descriptor, Vec<u8>)> {
        self.keep(self.client.manifest(repository, object)?)
    }

    fn keep(&self, net::Manifest { bytes, media_type, digest }: net::Manifest) -> Result<(Descriptor, Vec<u8>)> {
        let digest: Digest = digest.parse()?;
        self.cache.put(&digest, &bytes)?;
        let size = units::bytes(bytes.len());
        Ok((Descriptor::new(&known(media_type, &bytes), digest, size), bytes))
    }

    fn blob(&self, repository: &Repository, descriptor: &Descriptor, progress: &dyn Progress) -> Result<()> {
        let Descriptor { digest, size, .. } = descriptor;
        let mut sink = Sink(self.cache.ingest(digest)?);
        // Another run may have had it while we waited for our turn.
        if self.cache.has(descriptor) {
            return Ok(());
        }
        if sink.0.len() > *size {
            sink.0.restart()?;
        }
        let from = sink.0.len();
        let part = progress.part(&digest.hex()[..8]);
        let progress = part.as_deref().unwrap_or(progress);
        self.client.blob(repository, digest.as_str(), *size, from, &mut sink, progress)?;
        sink.0.finish()
    }
}

/// The media type, which some registries leave out.
fn known(media_type: String, bytes: &[u8]) -> String {
    if media_type::is_index(&media_type) || media_type::is_manifest(&media_type) {
        return media_type;
    }
    if is_index(&media_type, bytes) { media_type::INDEX.into() } else { media_type::MANIFEST.into() }
}

struct Sink<'a>(Ingest<'a>);

impl net::Sink for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.0.write_all(bytes)?)
    }

    fn restart(&mut self) -> Result<()> {
        Ok(self.0.restart()?)
    }
}
