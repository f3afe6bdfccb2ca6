//! A machine of vSphere: what it is like, and how it gets there.

use super::{Abandon, UnderWay};
use crate::{
    error::{Error, Result},
    names::Named,
};
use formats::{
    Blob, Progress,
    kernel::Arch,
    ova::{self, Firmware, Flavour},
};
use net::import::vsphere::{Import, Machine, Made};
use std::sync::Arc;

/// Most bytes of a description.
const ENVELOPE_MAX: u64 = 1 << 20;

impl Abandon for Import {
    fn abandon(&self) -> Result<()> {
        Self::abandon(self)
    }
}

/// As vSphere says it.
impl Named for Firmware {
    const WHAT: &'static str = "firmware";

    fn all() -> Vec<Self> {
        vec![Self::Bios, Self::Efi]
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Efi => "efi",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::Bios => "a BIOS",
            Self::Efi => "UEFI, without Secure Boot",
        }
    }
}

/// What a machine is to have.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// What it is called.
    pub name: String,
    /// What starts it.
    pub firmware: Firmware,
    /// Processors.
    pub cpus: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Whether it is a template.
    pub is_template: bool,
}

/// By what a machine of a disk with these loaders is started: by UEFI where it can be, as an OVA's.
///
/// # Errors
/// Unsupported: the disk is for machines that vSphere's description has none of.
pub fn firmware(arch: Option<Arch>, uefi: bool) -> Result<Firmware> {
    match arch {
        None | Some(Arch::X86 | Arch::X86_64) if uefi => Ok(Firmware::Efi),
        None | Some(Arch::X86 | Arch::X86_64) => Ok(Firmware::Bios),
        Some(other) => Err(Error::unsupported(format!("it is for {}, and vSphere's machines are x86_64", other.name()))),
    }
}

/// The machine around a disk of so many bytes, which goes as this file.
///
/// # Errors
/// Never but for a fault of ours.
pub fn machine(wishes: &Wishes, file: &str, capacity: u64, vmdk: &Blob) -> Result<Machine> {
    let Wishes { firmware, cpus, memory_mib, is_template, .. } = *wishes;
    let machine = ova::Machine { flavour: Flavour::Vmware, firmware, cpus, memory_mib };
    let envelope = machine.envelope(file, capacity, vmdk).to_vec(ENVELOPE_MAX)?;
    Ok(Machine {
        name: wishes.name.clone(),
        envelope: String::from_utf8_lossy(&envelope).into_owned(),
        network: ova::NETWORK,
        firmware: firmware.name(),
        is_template,
    })
}

/// Brings a disk, and makes it a machine.
///
/// # Errors
/// As [`Import::send`] and [`Import::finish`]; then no machine is left.
pub fn put(import: &Arc<Import>, file: &Blob, machine: &Machine, progress: &dyn Progress) -> Result<Made> {
    let under_way = UnderWay::new(Arc::clone(import) as _, format!("the machine '{}'", machine.name));
    let made = import.send(file, machine, progress).and_then(|()| import.finish(machine));
    made.map_err(|error| under_way.failed(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_as_the_disk_needs_them() {
        assert_eq!(firmware(Some(Arch::X86_64), true).unwrap(), Firmware::Efi);
        assert_eq!(firmware(None, false).unwrap(), Firmware::Bios);
        assert!(firmware(Some(Arch::Aarch64), true).is_err());
        let wishes = Wishes { name: "app".to_owned(), firmware: Firmware::Efi, cpus: 3, memory_mib: 2048, is_template: false };
        let machine = machine(&wishes, "app.vmdk", 1 << 20, &Blob::bytes(*b"disk")).unwrap();
        for wanted in [
            r#"<File ovf:href="app.vmdk" ovf:id="file1" ovf:size="4"/>"#,
            r#"ovf:capacity="1048576""#,
            r#"vmw:key="firmware" vmw:value="efi""#,
            "<rasd:VirtualQuantity>3<",
            "<rasd:VirtualQuantity>2048<",
            "<rasd:Connection>VM Network<",
        ] {
            assert!(machine.envelope.contains(wanted), "{wanted} is not in {}", machine.envelope);
        }
    }
}
