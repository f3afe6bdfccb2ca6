//! An image of EC2: blocks into a snapshot, then the image that has a name.

use super::{Abandon, UnderWay};
use crate::{
    error::{Error, Result},
    names::Named,
};
use formats::{Blob, Progress, kernel::Arch};
use net::import::aws::{BootMode, Image, Import};
use std::{fmt, sync::Arc};

impl Abandon for Import {
    fn abandon(&self) -> Result<()> {
        Self::abandon(self)
    }
}

impl Named for BootMode {
    const WHAT: &'static str = "boot mode";

    fn all() -> Vec<Self> {
        vec![Self::LegacyBios, Self::Uefi, Self::UefiPreferred]
    }

    fn name(self) -> &'static str {
        self.name()
    }

    fn about(self) -> &'static str {
        match self {
            Self::LegacyBios => "BIOS",
            Self::Uefi => "UEFI, on types of machines that have it",
            Self::UefiPreferred => "UEFI where the type of machine has it, else BIOS",
        }
    }
}

/// By what a disk with these loaders is started.
///
/// # Errors
/// Bad input: by nothing that is known.
pub fn boot_mode(bios: bool, uefi: bool) -> Result<BootMode> {
    match (bios, uefi) {
        (true, true) => Ok(BootMode::UefiPreferred),
        (false, true) => Ok(BootMode::Uefi),
        (true, false) => Ok(BootMode::LegacyBios),
        (false, false) => Err(Error::bad_input("nothing tells by which firmware it starts").hint("say it with --boot-mode")),
    }
}

/// What EC2 calls an architecture.
///
/// # Errors
/// Unsupported: it has no such machines.
pub fn architecture(arch: Arch) -> Result<&'static str> {
    match arch {
        Arch::X86_64 => Ok("x86_64"),
        Arch::Aarch64 => Ok("arm64"),
        other => Err(Error::unsupported(format!("it is for {}, EC2's machines are amd64 and arm64", other.name()))),
    }
}

/// A snapshot of which no image was made yet.
pub struct Unnamed {
    import: Arc<Import>,
    image: Image,
    /// The snapshot.
    pub snapshot: String,
    under_way: UnderWay,
}

impl fmt::Debug for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unnamed({})", self.snapshot)
    }
}

/// The first step: the snapshot.
///
/// # Errors
/// As [`Import::send`]; then no snapshot is left.
pub fn put(import: &Arc<Import>, disk: &Blob, image: Image, progress: &dyn Progress) -> Result<Unnamed> {
    let under_way = UnderWay::new(Arc::clone(import) as _, format!("the snapshot of '{}' in {}", image.name, import.region()));
    let snapshot = import.send(disk, &image, progress).map_err(|error| under_way.failed(error))?;
    Ok(Unnamed { import: Arc::clone(import), image, snapshot, under_way })
}

impl Unnamed {
    /// The second step: the image, which is named.
    ///
    /// # Errors
    /// As [`Import::register`]; then no snapshot is left.
    pub fn commit(self) -> Result<String> {
        self.import.register(&self.image).map_err(|error| self.under_way.failed(error))
    }
}
