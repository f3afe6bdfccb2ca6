//! `moby completion`: scripts for shells.

use crate::error::Result;
use clap::CommandFactory;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  moby completion bash > /etc/bash_completion.d/moby
  moby completion fish > ~/.config/fish/completions/moby.fish")]
pub(super) struct Completion {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completion {
    pub(super) fn run(&self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "moby", &mut script);
        super::print(&String::from_utf8_lossy(&script))
    }
}
