//! Where images are looked for, for every command that builds.

#[cfg(feature = "net")]
use super::registries::RegistryArgs;
use super::{CacheArgs, place::Place};
use crate::{
    error::{At, Error, Result},
    images::{Cache, Demand, Puller, Sources, file, key},
};
use formats::Env;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where images are looked for.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Images")]
pub(super) struct ImageArgs {
    /// A place with images that is asked before the cache: oci-layout:DIR, oci-archive:FILE, docker-archive:FILE. Repeatable
    #[arg(long = "images", value_name = "PLACE")]
    places: Vec<Place>,
    #[command(flatten)]
    cache: CacheArgs,
    #[cfg(feature = "net")]
    #[command(flatten)]
    registries: RegistryArgs,
    /// Ask the registries for every image, also for those in the cache
    #[cfg(feature = "net")]
    #[arg(long, conflicts_with = "offline")]
    pull: bool,
    /// Every image must be signed by this key, or by one of several: a public key in PEM, as cosign.pub. Repeatable
    #[arg(long, value_name = "FILE")]
    verify_key: Vec<PathBuf>,
    /// Ask no registry
    #[arg(long)]
    offline: bool,
}

impl ImageArgs {
    /// All places, in the order in which they are asked.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(super) fn sources(&self, env: &mut Env) -> Result<Sources> {
        let named = self.places.iter().map(|place| place.open(env).at(|| format!("--images {place}"))).collect::<Result<_>>()?;
        let cache = Arc::new(Cache::new(self.cache.path()?));
        let registries = if self.offline { None } else { self.puller(&cache)? };
        let key = |path: &PathBuf| key(&path.to_string_lossy(), file(path)).at(|| "--verify-key");
        let keys: Vec<_> = self.verify_key.iter().map(key).collect::<Result<_>>()?;
        let trust = if keys.is_empty() { Vec::new() } else { vec![Demand { keys, images: Vec::new() }] };
        Ok(Sources { named, docker: None, cache, registries, always: self.always(), lock: None, trust })
    }

    /// Who puts things into registries.
    ///
    /// # Errors
    /// When the file of `--ca` cannot be read.
    #[cfg(feature = "net")]
    pub(super) fn client(&self) -> Result<Arc<net::Client>> {
        self.registries.client()
    }

    /// The files and directories that are read.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.places.iter().map(Place::path).chain(self.verify_key.iter().map(PathBuf::as_path))
    }

    /// What a URL names, of at most so many bytes.
    ///
    /// # Errors
    /// When it is not to be had.
    #[cfg(feature = "net")]
    pub(super) fn document(&self, url: &str, most: u64) -> Result<Vec<u8>> {
        match self.offline {
            true => Err(Error::bad_input("--offline asks nobody for it").hint("save it as a file")),
            false => self.registries.document(url, most),
        }
    }

    #[cfg(not(feature = "net"))]
    pub(super) fn document(&self, _: &str, _: u64) -> Result<Vec<u8>> {
        Err(Error::unsupported("this program was built without network code").hint("save it as a file"))
    }

    /// Who may vouch for servers.
    #[cfg(feature = "net")]
    pub(super) fn ca(&self) -> Option<&Path> {
        self.registries.ca()
    }

    #[cfg(not(feature = "net"))]
    pub(super) fn ca(&self) -> Option<&Path> {
        None
    }

    #[cfg(feature = "net")]
    fn puller(&self, cache: &Arc<Cache>) -> Result<Option<Puller>> {
        self.registries.puller(Arc::clone(cache)).map(Some)
    }

    #[cfg(feature = "net")]
    pub(super) fn always(&self) -> bool {
        self.pull
    }

    #[cfg(not(feature = "net"))]
    fn puller(&self, _: &Arc<Cache>) -> Result<Option<Puller>> {
        Ok(None)
    }

    #[cfg(not(feature = "net"))]
    pub(super) fn always(&self) -> bool {
        false
    }
}
