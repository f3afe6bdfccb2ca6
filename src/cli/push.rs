//! `moby push`: images go to where machines start. Each target has a file.

mod aws;
mod azure;
mod disk;
mod gcp;
mod oci;
mod openstack;
mod vsphere;

use super::{Global, notes::with_exit_codes};
use crate::error::{self, Result};

const EXAMPLES: &str = "\
Examples:
  moby push oci registry.example/vms/app:1 app.yml       built, made a disk and pushed, with no file here
  moby push aws app-1 app.qcow2 --region eu-central-1
  moby push azure app-1 app.tar --resource-group images
  moby push openstack app-1 app.qcow2
  moby push gcp app-1 app.tar --bucket gs://images
  moby push vsphere app-1 app.tar --template

`moby help push TARGET` tells more of each.";

fn notes() -> String {
    let remark = "Others see an image when all of it is there; who interrupts it leaves nothing behind. What moby lint --target would \
refuse is refused before anything is sent.";
    with_exit_codes(EXAMPLES, "Exit codes", error::EXIT_CODES, remark)
}

/// Push images to where machines start
#[derive(Debug, clap::Args)]
#[command(after_help = notes(), arg_required_else_help = true)]
pub(super) struct PushCommand {
    #[command(subcommand)]
    target: Target,
}

#[derive(Debug, clap::Subcommand)]
enum Target {
    Aws(aws::Aws),
    Azure(azure::Azure),
    Gcp(gcp::Gcp),
    Oci(oci::Oci),
    Openstack(openstack::Openstack),
    Vsphere(vsphere::Vsphere),
}

impl PushCommand {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        match &self.target {
            Target::Aws(target) => target.run(global),
            Target::Azure(target) => target.run(global),
            Target::Gcp(target) => target.run(global),
            Target::Oci(target) => target.run(global),
            Target::Openstack(target) => target.run(global),
            Target::Vsphere(target) => target.run(global),
        }
    }
}
