//! `moby pull`: images come into the cache.

use super::{CacheArgs, Global, registries::RegistryArgs};
use crate::{
    convert::Reporter,
    error::Result,
    images::{self, Cache, Wanted},
};
use formats::oci::{Platform, Reference};
use std::sync::Arc;

const EXAMPLES: &str = "\
Examples:
  moby pull linuxkit/init:v1.2 linuxkit/runc:v1.2    what moby build looks for
  moby pull alpine:3.20 --arch arm64
  moby pull localhost:5000/app:1                     from a registry on this machine, by plain HTTP
  moby pull ghcr.io/me/app:1 --cache ~/.linuxkit/cache

Credentials are those of docker login and podman login. A transfer that breaks off, or a run that is killed, goes on where it was.";

/// Pull images into the cache
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Pull {
    /// Images, as alpine, alpine:3.20, ghcr.io/me/app:1 or localhost:5000/app@sha256:...
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<Reference>,
    /// The architecture, as Go names it: amd64, arm64, riscv64, ... [default: this machine's]
    #[arg(long, value_name = "ARCH", default_value = images::host_arch(), hide_default_value = true)]
    arch: String,
    /// Every architecture that an image has
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    registries: RegistryArgs,
}

impl Pull {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let ui = global.ui();
        let puller = self.registries.puller(Arc::new(Cache::new(self.cache.path()?)))?;
        let platform = Platform::linux(&self.arch);
        for image in &self.images {
            let step = ui.step("pull");
            let descriptor = puller.pull(image, Wanted { platform: &platform, all: self.all, digest: image.digest() }, &*step)?;
            drop(step);
            ui.note(format_args!("{:>8}: {image} is {}", "pulled", descriptor.digest));
        }
        Ok(())
    }
}
