//! `moby push`: images go to where machines start. Each target has a file.

mod aws;
mod azure;
mod disk;
mod oci;

use super::{Global, notes::with_exit_codes};
use crate::error::{self, Result};

const EXAMPLES: &str = "\
Examples:
  moby push aws app-1.0 app.yml --region eu-central-1       an image of Amazon EC2
  moby push azure app-1.0 app.tar --resource-group images   an image of Azure
  moby push oci registry.example/vms/app:1 app.qcow2        a containerDisk for KubeVirt";

fn notes() -> String {
    let remark = "All bytes go first, the name comes last; who interrupts it leaves nothing behind. moby push TARGET --help says more.";
    with_exit_codes(EXAMPLES, "Exit codes", error::EXIT_CODES, remark)
}

/// Push images to where machines start
#[derive(Debug, clap::Args)]
#[command(after_help = notes())]
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
