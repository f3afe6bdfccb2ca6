//! Which firmware boots a disk.

use super::entry::Entry;
use crate::{
    bootable,
    error::{Error, Result},
    names::Named,
};
use formats::kernel::Arch;

/// Which firmware a disk is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Firmware {
    /// BIOS and UEFI, as far as the kernel's architecture has both.
    #[default]
    Hybrid,
    /// BIOS alone.
    Bios,
    /// UEFI alone.
    Uefi,
}

impl Named for Firmware {
    const WHAT: &'static str = "firmware";

    fn all() -> Vec<Self> {
        vec![Self::Hybrid, Self::Bios, Self::Uefi]
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hybrid => "hybrid",
            Self::Bios => "bios",
            Self::Uefi => "uefi",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::Hybrid => "BIOS and UEFI, as far as the kernel's architecture has both",
            Self::Bios => "BIOS alone",
            Self::Uefi => "UEFI alone",
        }
    }
}

impl Firmware {
    /// What this means for what is booted: there is no BIOS but on x86, and UEFI starts a kernel by its EFI stub.
    ///
    /// # Errors
    /// When nothing is left.
    pub fn of(self, entry: &Entry) -> Result<Self> {
        let firmware = match (self, entry.efi.arch) {
            (Self::Bios, Arch::Aarch64) => {
                return Err(
                    Error::unsupported("the kernel is for aarch64, which has no BIOS").hint("use --boot uefi, or a format for UEFI")
                );
            }
            (Self::Hybrid, Arch::Aarch64) => Self::Uefi,
            (firmware, _) => firmware,
        };
        match bootable::without_stub(entry.has_efi_stub) {
            Some(doubt) if firmware == Self::Uefi => Err(Error::unsupported(doubt.found).hint(doubt.fix)),
            _ => Ok(firmware),
        }
    }

    /// What a row of the outputs and the user's `--boot` say together.
    ///
    /// # Errors
    /// When they contradict each other.
    pub fn and(self, users: Self) -> Result<Self> {
        match (self, users) {
            (Self::Hybrid, firmware) | (firmware, Self::Hybrid) => Ok(firmware),
            (row, users) if row == users => Ok(row),
            (row, users) => Err(Error::unsupported(format!("is for {} and --boot {} is given", row.name(), users.name()))),
        }
    }

    pub(super) fn has_bios(self) -> bool {
        self != Self::Uefi
    }

    pub(super) fn has_uefi(self) -> bool {
        self != Self::Bios
    }
}
