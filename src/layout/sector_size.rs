//! Logical sectors, in which partition tables, FAT and firmware count: 512 bytes on most disks, 4096 on those that are called 4Kn.

use crate::{
    error::{Error, Result},
    names::Named,
};
use formats::{
    Plan,
    units::{KIB, SECTOR},
};

/// Bytes of a logical sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectorSize(u64);

impl SectorSize {
    /// What most disks have.
    pub const USUAL: Self = Self(SECTOR);
    /// What disks have that emulate nothing.
    pub const LARGE: Self = Self(4 * KIB);

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Refuses a container whose disks do not have such sectors.
    ///
    /// # Errors
    /// Says which do.
    pub(crate) fn check(self, plan: &dyn Plan) -> Result<()> {
        if self == Self::USUAL || plan.with_sectors(self.0).is_some() { Ok(()) } else { Err(not_had(self.0)) }
    }
}

impl Default for SectorSize {
    fn default() -> Self {
        Self::USUAL
    }
}

/// The refusal of a container that speaks of sectors of 512 bytes alone.
pub(crate) fn not_had(size: u64) -> Error {
    Error::unsupported(format!("the disk is partitioned for sectors of {size} bytes, of which this format cannot speak"))
        .hint("make it raw or vhdx, which has sectors of 4096 bytes, too, or have it rewritten: --sector-size 512")
}

impl Named for SectorSize {
    const WHAT: &'static str = "sector size";

    fn all() -> Vec<Self> {
        vec![Self::USUAL, Self::LARGE]
    }

    fn name(self) -> &'static str {
        if self == Self::USUAL { "512" } else { "4096" }
    }

    fn about(self) -> &'static str {
        if self == Self::USUAL { "what most disks have, or emulate" } else { "disks that emulate nothing (4Kn): raw and vhdx" }
    }
}
