//! An image of Compute Engine: what its guest can do, and how it gets there.

use super::{Abandon, UnderWay};
use crate::error::{Error, Result};
use formats::{Blob, Progress, kernel::Arch};
use net::import::google::{Image, Import, Made};
use serde_json::Value;
use std::sync::Arc;

impl Abandon for Import {
    fn abandon(&self) -> Result<()> {
        Self::abandon(self)
    }
}

/// The option and the module of Google's own network card.
pub(crate) const GVNIC: (&str, &str) = ("CONFIG_GVE", "gve");

/// What Compute Engine calls an architecture.
///
/// # Errors
/// Unsupported: it has no such machines.
pub fn architecture(arch: Arch) -> Result<&'static str> {
    match arch {
        Arch::X86_64 => Ok("X86_64"),
        Arch::Aarch64 => Ok("ARM64"),
        other => Err(Error::unsupported(format!("it is for {}, Compute Engine's machines are amd64 and arm64", other.name()))),
    }
}

/// What a guest can do, as `guestOsFeatures` has it: a wrong word here is a machine that does not start.
pub fn features(arch: Arch, has_uefi: bool, has_gvnic: bool) -> Vec<&'static str> {
    let all = [
        ("UEFI_COMPATIBLE", has_uefi),
        ("GVNIC", has_gvnic),
        // Arm's are refused with it.
        ("VIRTIO_SCSI_MULTIQUEUE", arch == Arch::X86_64),
    ];
    all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
}

/// `shieldedInstanceInitialState` of the file that `--efi-vars gcp` makes.
///
/// # Errors
/// Bad input: it is another file.
pub fn shielded(text: &str) -> Result<Value> {
    let mut json: Value = serde_json::from_str(text).map_err(|error| Error::bad_input(format!("is no JSON: {error}")))?;
    let state = json.get_mut("shieldedInstanceInitialState").map(Value::take).filter(Value::is_object);
    state.ok_or_else(|| Error::bad_input("has no shieldedInstanceInitialState").hint("moby convert --efi-vars gcp makes the file"))
}

/// Brings a tar, has it made an image, and deletes it.
///
/// # Errors
/// As [`Import::send`] and [`Import::register`]; then neither tar nor image is left.
pub fn put(import: &Arc<Import>, tar: &Blob, image: &Image, progress: &dyn Progress) -> Result<Made> {
    let under_way =
        UnderWay::new(Arc::clone(import) as _, format!("the image {} in the project {}, and its tar", image.name, import.project()));
    let made = import.send(tar, image, progress).and_then(|address| import.register(image, &address));
    made.map_err(|error| under_way.failed(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_can_do_what_its_disk_has() {
        assert_eq!(features(Arch::X86_64, true, true), ["UEFI_COMPATIBLE", "GVNIC", "VIRTIO_SCSI_MULTIQUEUE"]);
        assert_eq!(features(Arch::X86_64, false, false), ["VIRTIO_SCSI_MULTIQUEUE"]);
        assert_eq!(features(Arch::Aarch64, true, false), ["UEFI_COMPATIBLE"]);
        assert_eq!(architecture(Arch::Aarch64).unwrap(), "ARM64");
        assert!(architecture(Arch::Riscv64).is_err());
    }

    #[test]
    fn keys_are_those_of_efi_vars() {
        assert_eq!(shielded(r#"{"shieldedInstanceInitialState": {"dbs": []}}"#).unwrap().to_string(), r#"{"dbs":[]}"#);
        assert!(shielded("{}").is_err() && shielded("AMZNUEFI").is_err());
    }
}
