//! How stores are reached, for every command that makes artifacts.

use std::num::NonZeroUsize;

/// How stores are reached.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Stores")]
pub(super) struct StoreArgs {
    /// Speak to this server in the place of the vendor's: MinIO, Ceph, R2, an emulator [default: as the vendor's variables say]
    #[arg(long, value_name = "URL")]
    pub(super) endpoint: Option<String>,
    /// How many parts of a file go at a time [default: 8]
    #[arg(long, value_name = "N")]
    pub(super) connections: Option<NonZeroUsize>,
}
