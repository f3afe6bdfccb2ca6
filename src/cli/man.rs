//! `moby man`: the manual page.

use crate::error::Result;
use clap::CommandFactory;

/// Print the manual page (roff) of moby or of one command
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: moby man convert | man -l -")]
pub(super) struct Man {
    /// The command [default: the overview]
    #[arg(value_parser = ["convert", "inspect", "extract", "check", "compare", "lint", "formats", "completion", "man"])]
    command: Option<String>,
}

impl Man {
    pub(super) fn run(&self) -> Result<()> {
        let mut command = super::Cli::command();
        command.build();
        let chosen = self.command.as_deref().and_then(|name| command.find_subcommand(name).cloned()).unwrap_or(command);
        let mut page = Vec::new();
        clap_mangen::Man::new(chosen).render(&mut page)?;
        super::print(&String::from_utf8_lossy(&page))
    }
}
