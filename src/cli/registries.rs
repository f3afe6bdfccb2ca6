//! How registries are spoken to, for every command that pulls or pushes.

use crate::{
    error::Result,
    images::{Cache, Puller},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// How registries are spoken to.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Images")]
pub(super) struct RegistryArgs {
    /// Certificates (PEM) of who may vouch for registries and stores, in the place of the machine's; one registry's go into certs.d, as Docker and
    /// Podman have it
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Ask another registry: for all images, or for those of one. Repeatable; also LINUXKIT_MIRROR
    #[arg(long, value_name = "[REGISTRY=]URL")]
    mirror: Vec<String>,
}

impl RegistryArgs {
    /// Who pulls into a cache.
    ///
    /// # Errors
    /// When a mirror is malformed, or the file of `--ca` cannot be read.
    pub(super) fn puller(&self, cache: Arc<Cache>) -> Result<Puller> {
        let mut settings = self.settings()?;
        for mirror in &self.mirror {
            settings.mirrors.push(net::Mirror::parse(mirror)?);
        }
        Ok(Puller::new(net::Client::new(settings, Arc::new(net::clock::Machine))?, cache))
    }

    /// The file of `--ca`.
    pub(super) fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// Who puts things into registries.
    ///
    /// # Errors
    /// When the file of `--ca` cannot be read.
    pub(super) fn client(&self) -> Result<Arc<net::Client>> {
        Ok(Arc::new(net::Client::new(self.settings()?, Arc::new(net::clock::Machine))?))
    }

    /// What a URL names, of at most so many bytes.
    ///
    /// # Errors
    /// When it is not to be had.
    pub(super) fn document(&self, url: &str, most: u64) -> Result<Vec<u8>> {
        net::document(url, most, self.settings()?.transport, Arc::new(net::clock::Machine))
    }

    fn settings(&self) -> Result<net::Settings> {
        let mut settings = net::Settings::from_env(&net::process_variables)?;
        settings.transport.roots.ca = self.ca.clone();
        Ok(settings)
    }
}
