//! `moby push`: images go to where machines start. Each target has a file.

mod disk;
mod gcp;
mod oci;
mod openstack;

use super::Global;
use crate::error::Result;

const EXAMPLES: &str = "\
Examples:
  moby push oci registry.example/vms/app:1 app.qcow2
  moby push openstack app-1 app.yml
  moby push gcp app-1 app.tar --bucket gs://images

`moby help push TARGET` tells more of each.";

/// Push images to where machines start
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PushCommand {
    #[command(subcommand)]
    target: Target,
}

#[derive(Debug, clap::Subcommand)]
enum Target {
    Gcp(gcp::Gcp),
    Oci(oci::Oci),
    Openstack(openstack::Openstack),
}

impl PushCommand {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        match &self.target {
            Target::Gcp(target) => target.run(global),
            Target::Oci(target) => target.run(global),
            Target::Openstack(target) => target.run(global),
        }
    }
}
