//! Where container images come from, and what is in them.

mod cache;
#[cfg_attr(not(feature = "net"), path = "images/no_daemon.rs")]
mod daemon;
mod export;
mod layout;
mod lock;
#[cfg_attr(not(feature = "net"), path = "images/no_pull.rs")]
mod pull;
mod sources;
mod trust;

pub(crate) use cache::Cache;
pub(crate) use daemon::Docker;
pub(crate) use export::archive_of;
#[cfg(feature = "net")]
pub(crate) use export::archive_of_made;
pub(crate) use layout::{Layout, file};
pub(crate) use lock::Lock;
use pull::PublicKey;
pub(crate) use pull::Puller;
pub(crate) use sources::Sources;
pub(crate) use trust::{Demand, covers, key};

use crate::error::{At, Result};
use formats::{
    Blob, Progress, Spool,
    kernel::Arch,
    oci::{self, Config, Descriptor, Digest, Image, Index, Layer, Manifest, Platform, Store, layer, merge},
    parallel,
    tar::{Dialect, Writer},
    tree::ShowPath,
};
use std::{
    collections::{HashMap, HashSet},
    num::NonZeroUsize,
    sync::Arc,
};

/// Go's name of this machine's architecture.
pub(crate) fn host_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// Go's name of an architecture.
pub(crate) fn go_arch(arch: Arch) -> &'static str {
    match arch {
        Arch::X86 => "386",
        Arch::X86_64 => "amd64",
        Arch::Aarch64 => "arm64",
        Arch::Riscv64 => "riscv64",
    }
}

/// What of an index is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted<'a> {
    /// The image for a platform.
    pub(crate) platform: &'a Platform,
    /// And all others.
    pub(crate) all: bool,
    /// Only the image of this digest will do.
    pub(crate) digest: Option<&'a Digest>,
}

/// An image with its layers unpacked.
pub(crate) struct Pulled {
    /// What it says of itself.
    pub(crate) config: Config,
    /// Its layers from the bottom up, unpacked, each with what messages call it.
    pub(crate) tars: Vec<(String, Blob)>,
    /// The index that it was chosen from, if there was one.
    pub(crate) index: Option<Listed>,
    /// Its manifest.
    pub(crate) manifest: Descriptor,
    store: Arc<dyn Store>,
}

/// An index of images.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// What names it.
    pub(crate) descriptor: Descriptor,
    /// The images, in order.
    pub(crate) manifests: Vec<Descriptor>,
}

/// An image as a store has it.
pub(crate) struct Found {
    /// Where.
    pub(crate) store: Arc<dyn Store>,
    /// The image.
    pub(crate) image: Image,
}

impl Found {
    /// The image of a name in a store, if it has one, and, where only one is wanted, that.
    fn of(store: &Arc<dyn Store>, name: &str, wanted: Option<&Digest>, platform: &Platform) -> Result<Option<Self>> {
        let index = store.index()?;
        let is_wanted = |descriptor: &&Descriptor| wanted.is_none_or(|digest| descriptor.digest == *digest);
        let Some(descriptor) = oci::named(&index, name).filter(is_wanted) else { return Ok(None) };
        let image = oci::select(&**store, descriptor, platform)?;
        Ok(Some(Self { store: Arc::clone(store), image }))
    }
}

impl Pulled {
    /// The blobs of an image of the index: its config, its layers, its manifest.
    ///
    /// # Errors
    /// When the manifest is missing or damaged.
    pub(crate) fn parts(&self, manifest: &Descriptor) -> Result<Vec<Descriptor>> {
        let Manifest { config, layers, .. } = Manifest::parse(&self.store.document(manifest)?)?;
        Ok([vec![config], layers, vec![manifest.clone()]].concat())
    }

    /// The same image with one layer: its layers over one another by OCI's rules.
    ///
    /// # Errors
    /// When they cannot be laid over one another; the error names layer and entry.
    pub(crate) fn merged(self) -> Result<Self> {
        let mut tar = Writer::new(Dialect::Pax);
        tar.tree(&merge::tree(&self.tars)?)?;
        Ok(Self { tars: vec![("layers".into(), tar.finish())], ..self })
    }

    /// A manifest, an index or a statement of its store.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub(crate) fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.store.document(descriptor)
    }

    /// A blob, held against its digest.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub(crate) fn checked(&self, descriptor: &Descriptor) -> Result<Blob> {
        let blob = self.store.blob(descriptor)?;
        descriptor.digest.check_blob(&blob).at(|| format!("{}: blob {}", self.store.name(), descriptor.digest))?;
        Ok(blob)
    }
}

/// Unpacks the layers of images, each once, on all cores.
///
/// # Errors
/// When a layer is damaged; the error names image and layer. When a spool cannot be written.
pub(crate) fn unpack(
    found: Vec<(String, Found)>,
    threads: NonZeroUsize,
    progress: &dyn Progress,
    spool: &(dyn Fn() -> Spool + Sync),
) -> Result<HashMap<String, Pulled>> {
    let mut once = HashSet::new();
    let mut work: Vec<(String, Layer)> = Vec::new();
    for (name, Found { image, .. }) in &found {
        for layer in &image.layers {
            if once.insert(layer.descriptor.digest.clone()) {
                work.push((name.clone(), layer.clone()));
            }
        }
    }
    // The largest first: the last to end is then a small one.
    work.sort_by_key(|(_, layer)| std::cmp::Reverse(layer.blob.len()));
    let tars = parallel::map(threads, work, |(name, layer)| {
        let tar = layer::unpack(&layer, &mut spool(), progress).at(|| format!("image {}", ShowPath(name.as_bytes())))?;
        Ok((layer.descriptor.digest, tar))
    })?;
    let tars: HashMap<_, _> = tars.into_iter().collect();
    let pulled = |(name, Found { store, image }): (String, Found)| {
        let index = image.index.map(|descriptor| listed(&*store, descriptor)).transpose()?;
        let tar = |layer: &Layer| {
            let digest = &layer.descriptor.digest;
            (format!("layer {digest}"), tars.get(digest).cloned().unwrap_or_default())
        };
        let tars = image.layers.iter().map(tar).collect();
        Ok((name, Pulled { config: image.config, tars, index, manifest: image.manifest, store }))
    };
    found.into_iter().map(pulled).collect()
}

fn listed(store: &dyn Store, descriptor: Descriptor) -> Result<Listed> {
    let manifests = Index::parse(&store.document(&descriptor)?)?.manifests;
    Ok(Listed { descriptor, manifests })
}
