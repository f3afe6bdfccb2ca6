//! `moby push`: images go to where machines start. Each target has a file.

mod aws;
mod azure;
mod disk;
mod oci;

use super::Global;
use crate::error::Result;

/// Push images to where machines start
#[derive(Debug, clap::Args)]
pub(super) struct PushCommand {
    #[command(subcommand)]
    target: Target,
}

#[derive(Debug, clap::Subcommand)]
enum Target {
    Aws(aws::Aws),
    Azure(azure::Azure),
    Oci(oci::Oci),
}

impl PushCommand {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        match &self.target {
            Target::Aws(target) => target.run(global),
            Target::Azure(target) => target.run(global),
            Target::Oci(target) => target.run(global),
        }
    }
}
