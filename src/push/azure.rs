//! An image of Azure: pages into a blob, then the image that is made of it.

use super::{Abandon, UnderWay};
use crate::{
    error::{Error, Result},
    names::Named,
};
use formats::{Blob, Progress, kernel::Arch};
use net::import::azure::{Generation, Image, Import};
use serde_json::Value;
use std::{fmt, sync::Arc};

impl Abandon for Import {
    fn abandon(&self) -> Result<()> {
        Self::abandon(self)
    }
}

impl Named for Generation {
    const WHAT: &'static str = "generation";

    fn all() -> Vec<Self> {
        vec![Self::V1, Self::V2]
    }

    fn name(self) -> &'static str {
        self.name()
    }

    fn about(self) -> &'static str {
        match self {
            Self::V1 => "machines that start by BIOS",
            Self::V2 => "machines that start by UEFI",
        }
    }
}

/// For which machines a disk with these loaders is: the newer ones where it can be.
///
/// # Errors
/// Bad input: for none that are known.
pub fn generation(bios: bool, uefi: bool) -> Result<Generation> {
    match (bios, uefi) {
        (_, true) => Ok(Generation::V2),
        (true, false) => Ok(Generation::V1),
        (false, false) => Err(Error::bad_input("nothing tells by which firmware it starts").hint("say it with --generation")),
    }
}

/// What Azure calls an architecture.
///
/// # Errors
/// Unsupported: it has no such machines.
pub fn architecture(arch: Arch) -> Result<&'static str> {
    match arch {
        Arch::X86_64 => Ok("x64"),
        Arch::Aarch64 => Ok("Arm64"),
        other => Err(Error::unsupported(format!("it is for {}, Azure's machines are amd64 and arm64", other.name()))),
    }
}

/// `uefiSettings` of the file that `--efi-vars azure` makes.
///
/// # Errors
/// Bad input: it is another file.
pub fn uefi_settings(text: &str) -> Result<Value> {
    let json: Value = serde_json::from_str(text).map_err(|error| Error::bad_input(format!("is no JSON: {error}")))?;
    let settings = json.pointer("/securityProfile/uefiSettings").filter(|settings| settings.is_object()).cloned();
    settings
        .ok_or_else(|| Error::bad_input("has no securityProfile with uefiSettings").hint("moby convert --efi-vars azure makes the file"))
}

/// A blob of which no image was made yet.
pub struct Unnamed {
    import: Arc<Import>,
    under_way: UnderWay,
}

impl fmt::Debug for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unnamed({:?})", self.import)
    }
}

/// The first step: the blob, or a disk with its pages.
///
/// # Errors
/// As [`Import::send`]; then no blob is left.
pub fn put(import: &Arc<Import>, file: &Blob, image: &Image, location: &str, progress: &dyn Progress) -> Result<Unnamed> {
    let under_way = UnderWay::new(Arc::clone(import) as _, import.unfinished(image));
    import.send(file, image, location, progress).map_err(|error| under_way.failed(error))?;
    Ok(Unnamed { import: Arc::clone(import), under_way })
}

impl Unnamed {
    /// The second step: the image, at a place.
    ///
    /// # Errors
    /// As [`Import::make`]; then neither image nor blob is left.
    pub fn commit(self, image: &Image, location: &str) -> Result<String> {
        self.import.make(image, location).map_err(|error| self.under_way.failed(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_efi_vars() {
        let settings = uefi_settings(r#"{"securityProfile": {"uefiSettings": {"additionalSignatures": {}}}}"#).unwrap();
        assert_eq!(settings.to_string(), r#"{"additionalSignatures":{}}"#);
        assert!(uefi_settings("{}").is_err() && uefi_settings("AMZNUEFI").is_err());
    }
}
