//! The table of platforms (`--target`): what each cloud and hypervisor asks of an image, beyond the format that it takes.
//!
//! A platform is an output, a size rule, the options of its container, and the consoles in the order that suits the platform: the
//! kernel opens the last `console=` as `/dev/console`, and writes to all of them.

use crate::error::{Error, Result};
use formats::{
    kernel::Arch,
    units::{GIB, MIB, SECTOR},
};

/// A platform that images go to.
#[derive(Debug)]
pub struct Platform {
    /// What the user says.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// The output, unless the user asks for another.
    pub output: &'static str,
    /// The disk's size is a multiple of this.
    pub size_multiple: u64,
    /// Options of the output, which the user's go before.
    pub options: &'static [(&'static str, &'static str)],
    /// The consoles of its machines.
    pub consoles: Consoles,
}

/// Values of `console=`, in order, for each architecture. Where there are none, the command line is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consoles {
    /// On x86.
    pub x86: &'static [&'static str],
    /// On 64-bit Arm.
    pub arm64: &'static [&'static str],
}

impl Consoles {
    /// Those of an architecture.
    pub fn on(&self, arch: Arch) -> &'static [&'static str] {
        match arch {
            Arch::X86 | Arch::X86_64 => self.x86,
            Arch::Aarch64 => self.arm64,
            _ => &[],
        }
    }
}

/// Logs are read from the serial port.
const SERIAL: Consoles = Consoles { x86: &["tty0", "ttyS0,115200n8"], arm64: &["tty0", "ttyAMA0,115200n8"] };
/// People look at the screen; the serial port, where there is one, gets a copy.
const SCREEN: Consoles = Consoles { x86: &["ttyS0,115200n8", "tty0"], arm64: &["ttyAMA0,115200n8", "tty0"] };

const fn row(name: &'static str, about: &'static str, output: &'static str, consoles: Consoles) -> Platform {
    Platform { name, about, output, size_multiple: SECTOR, options: &[], consoles }
}

/// Every platform, in the order of `moby formats --targets`.
pub static PLATFORMS: &[Platform] = &[
    Platform {
        size_multiple: GIB,
        consoles: Consoles { arm64: &["ttyS0,115200n8"], ..SERIAL },
        ..row("aws", "Amazon EC2: ImportSnapshot, RegisterImage", "aws", SERIAL)
    },
    Platform { size_multiple: MIB, ..row("azure", "Microsoft Azure, generation 1 and 2", "azure", SERIAL) },
    row("digitalocean", "DigitalOcean custom images", "qcow2", SERIAL),
    Platform { size_multiple: GIB, ..row("gcp", "Google Compute Engine", "gcp", SERIAL) },
    row("hyperv", "Microsoft Hyper-V, generation 2 (turn Secure Boot off) and 1", "vhdx", SCREEN),
    row("kubevirt", "KubeVirt", "qcow2", SCREEN),
    row("libvirt", "libvirt, virt-manager, plain QEMU", "qcow2", SERIAL),
    row("metal", "disks and USB sticks of real machines; consoles as they are", "raw", Consoles { x86: &[], arm64: &[] }),
    row("openstack", "OpenStack Glance", "qcow2", SCREEN),
    row("oracle", "Oracle Cloud Infrastructure", "qcow2", SERIAL),
    row("proxmox", "Proxmox VE", "qcow2", SCREEN),
    row("scaleway", "Scaleway snapshots", "qcow2", SERIAL),
    Platform { options: &[("flavour", "virtualbox")], ..row("virtualbox", "VirtualBox, by import", "ova", SCREEN) },
    Platform {
        options: &[("flavour", "vmware")],
        ..row("vmware", "VMware ESXi, vSphere, Workstation and Fusion, by import", "ova", SCREEN)
    },
    row("vultr", "Vultr snapshots", "raw", SERIAL),
];

/// The platform called `name`.
///
/// # Errors
/// When there is none; the error lists all names.
pub fn platform(name: &str) -> Result<&'static Platform> {
    let known = || PLATFORMS.iter().map(|platform| platform.name).collect::<Vec<_>>().join(", ");
    let unknown = || Error::unsupported(format!("target '{name}' is unknown, the targets are: {}", known()));
    PLATFORMS.iter().find(|platform| platform.name == name).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outputs;

    #[test]
    fn every_row_is_sound() {
        assert!(PLATFORMS.is_sorted_by_key(|platform| platform.name));
        for row in PLATFORMS {
            assert_eq!(platform(row.name).unwrap().name, row.name);
            let output = outputs::output(row.output).unwrap();
            for (key, _) in row.options {
                assert!(output.recipe.option_specs().iter().any(|spec| spec.name == *key), "{} has no {key}", output.name);
            }
            let options: Vec<_> = row.options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            output.recipe.options(&options).unwrap();
            assert!(row.size_multiple.is_power_of_two());
        }
        assert!(platform("mars").unwrap_err().to_string().contains("aws, azure"));
    }
}
