//! An image of Glance: what machines of it are like, and how it gets there.

use super::{Abandon, UnderWay};
use crate::{
    error::{Error, Result},
    names::Named,
};
use formats::{Blob, Progress, kernel::Arch, units::GIB};
use net::import::openstack::{Image, Import, Made};
use std::sync::Arc;

impl Abandon for Import {
    fn abandon(&self) -> Result<()> {
        Self::abandon(self)
    }
}

/// What machines of an image are started by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// What Nova takes where nobody says anything.
    Bios,
    /// What Secure Boot and Arm need.
    Uefi,
}

impl Named for Firmware {
    const WHAT: &'static str = "firmware";

    fn all() -> Vec<Self> {
        vec![Self::Bios, Self::Uefi]
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Uefi => "uefi",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::Bios => "what clouds have unless asked",
            Self::Uefi => "what Secure Boot and Arm need",
        }
    }
}

/// By what a disk with these loaders is started: by BIOS where it can be, which every cloud has on x86.
///
/// # Errors
/// Bad input: by nothing that is known.
pub fn firmware(arch: Option<Arch>, bios: bool, uefi: bool) -> Result<Firmware> {
    let has_bios = matches!(arch, None | Some(Arch::X86 | Arch::X86_64));
    match (bios && has_bios, uefi || !has_bios) {
        (true, _) => Ok(Firmware::Bios),
        (false, true) => Ok(Firmware::Uefi),
        (false, false) => Err(Error::bad_input("nothing tells by which firmware it starts").hint("say it with --firmware")),
    }
}

/// What machines of a disk of so many bytes are like, as Glance's properties have it.
pub fn properties(arch: Option<Arch>, firmware: Firmware, size: u64) -> Vec<(String, String)> {
    let machine = if matches!(arch, Some(Arch::X86 | Arch::X86_64)) { "q35" } else { "virt" };
    let arch = arch.map(|arch| if arch == Arch::X86 { "i686" } else { arch.name() });
    let of_arch = [("architecture", arch), ("hw_machine_type", arch.map(|_| machine))];
    let all = [("hw_firmware_type", firmware.name()), ("hw_disk_bus", "virtio"), ("os_type", "linux")];
    let mut properties: Vec<_> = of_arch.into_iter().filter_map(|(name, value)| Some((name, value?.to_owned()))).collect();
    properties.extend(all.map(|(name, value)| (name, value.to_owned())));
    properties.push(("min_disk", size.div_ceil(GIB).to_string()));
    properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Brings a file, and waits until it is an image.
///
/// # Errors
/// As [`Import::send`] and [`Import::finish`]; then no image is left.
pub fn put(import: &Arc<Import>, file: &Blob, image: &Image, progress: &dyn Progress) -> Result<Made> {
    let under_way = UnderWay::new(Arc::clone(import) as _, format!("the image '{}'", image.name));
    let made = import.send(file, image, progress).and_then(|id| import.finish(&id, file));
    made.map_err(|error| under_way.failed(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_as_the_disk_needs_them() {
        let said = |arch, bios, uefi| {
            let properties = properties(Some(arch), firmware(Some(arch), bios, uefi).unwrap(), GIB + 1);
            properties.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        let rest = "hw_disk_bus=virtio os_type=linux min_disk=2";
        assert_eq!(said(Arch::X86_64, true, true), format!("architecture=x86_64 hw_machine_type=q35 hw_firmware_type=bios {rest}"));
        assert_eq!(said(Arch::X86_64, false, true), format!("architecture=x86_64 hw_machine_type=q35 hw_firmware_type=uefi {rest}"));
        assert_eq!(said(Arch::Aarch64, true, true), format!("architecture=aarch64 hw_machine_type=virt hw_firmware_type=uefi {rest}"));
        assert!(firmware(None, false, false).is_err() && !properties(None, Firmware::Bios, 1)[0].0.contains("arch"));
    }
}
