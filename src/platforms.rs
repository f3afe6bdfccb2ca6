//! The table of platforms (`--target`): what each cloud and hypervisor asks of an image, beyond the format that it takes.
//!
//! A platform is an output, a size rule, the options of its container, the consoles in the order that suits the platform (the kernel
//! opens the last `console=` as `/dev/console`, and writes to all of them), and what it refuses or does not boot (`moby lint`).
//!
//! The rows are what the platforms' own documents and importers say; none was tried here.

mod drivers;

use crate::names::Named;
pub use drivers::Driver;
use formats::{
    kernel::Arch,
    units::{GIB, MIB, SECTOR, TIB},
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
    /// What it refuses, or does not boot.
    pub rules: Rules,
}

/// What a platform takes and boots.
#[derive(Debug)]
pub struct Rules {
    /// Containers that it imports; the first is best.
    pub containers: &'static [&'static str],
    /// Containers and the sub-formats of them that alone are taken, as `inspect` names these.
    pub subformats: &'static [(&'static str, &'static str)],
    /// Largest disk in bytes.
    pub size_max: u64,
    /// Whether it looks at the protective MBR as Glance's inspector does.
    pub strict_mbr: bool,
    /// Which firmware its x86 machines have.
    pub firmware: Machines,
    /// What the kernel must have: of each row, one.
    pub drivers: &'static [Driver],
    /// Whose signatures its machines take.
    pub secure_boot: SecureBoot,
}

/// Secure Boot on a platform.
#[derive(Clone, Copy, Debug)]
pub struct SecureBoot {
    /// Whether it is on where nobody says otherwise.
    pub is_default: bool,
    /// Whose keys machines trust.
    pub keys: Keys,
}

/// Whose keys machines trust.
#[derive(Clone, Copy, Debug)]
pub enum Keys {
    /// Those of the image's owner, and how they come to know them.
    Own(&'static str),
    /// Microsoft's and the platform's alone, and what to do then.
    None(&'static str),
}

/// Which firmware machines have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machines {
    /// Either, as the image says when it is registered.
    Either,
    /// BIOS unless the user asks for something else.
    BiosFirst,
    /// UEFI alone.
    Uefi,
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

/// Those of a machine of which nothing is known: a screen, and a serial port that logs are read from.
pub(crate) const CONSOLES: Consoles = Consoles { x86: &["tty0", "ttyS0"], arm64: &["tty0", "ttyAMA0"] };
/// Logs are read from the serial port.
const SERIAL: Consoles = Consoles { x86: &["tty0", "ttyS0,115200n8"], arm64: &["tty0", "ttyAMA0,115200n8"] };
/// People look at the screen; the serial port, where there is one, gets a copy.
const SCREEN: Consoles = Consoles { x86: &["ttyS0,115200n8", "tty0"], arm64: &["ttyAMA0,115200n8", "tty0"] };

/// EC2 and Compute Engine take disks of whole GiB.
pub const WHOLE_GIB: u64 = GIB;
/// Azure takes disks of whole MiB.
const WHOLE_MIB: u64 = MIB;

/// A platform that takes these containers, makes machines of this kind, and shows a console.
const fn row(
    name: &'static str,
    about: &'static str,
    output: &'static str,
    consoles: Consoles,
    containers: &'static [&'static str],
    (firmware, drivers): (Machines, &'static [Driver]),
) -> Platform {
    let secure_boot = SecureBoot { is_default: false, keys: Keys::None("turn Secure Boot off") };
    let rules = Rules { containers, subformats: &[], size_max: u64::MAX, strict_mbr: false, firmware, drivers, secure_boot };
    Platform { name, about, output, size_multiple: SECTOR, options: &[], consoles, rules }
}

impl Platform {
    const fn size_multiple(self, size_multiple: u64) -> Self {
        Self { size_multiple, ..self }
    }

    const fn size_max(self, size_max: u64) -> Self {
        Self { rules: Rules { size_max, ..self.rules }, ..self }
    }

    const fn subformats(self, subformats: &'static [(&'static str, &'static str)]) -> Self {
        Self { rules: Rules { subformats, ..self.rules }, ..self }
    }

    const fn options(self, options: &'static [(&'static str, &'static str)]) -> Self {
        Self { options, ..self }
    }

    /// Machines trust keys of one's own, where they are told so.
    const fn own_keys(self, way: &'static str) -> Self {
        let secure_boot = SecureBoot { keys: Keys::Own(way), ..self.rules.secure_boot };
        Self { rules: Rules { secure_boot, ..self.rules }, ..self }
    }

    /// Machines have Secure Boot on unless somebody turns it off.
    const fn secure_boot_on(self) -> Self {
        let secure_boot = SecureBoot { is_default: true, ..self.rules.secure_boot };
        Self { rules: Rules { secure_boot, ..self.rules }, ..self }
    }

    const fn strict_mbr(self) -> Self {
        Self { rules: Rules { strict_mbr: true, ..self.rules }, ..self }
    }
}

/// Machines of QEMU, with BIOS unless UEFI is asked for.
const QEMU: (Machines, &[Driver]) = (Machines::BiosFirst, drivers::VIRTIO);
const AS_IT_IS: Consoles = Consoles { x86: &[], arm64: &[] };
const EC2: Consoles = Consoles { arm64: &["ttyS0,115200n8"], ..SERIAL };

/// Every platform, in the order of `moby formats --targets`.
pub static PLATFORMS: &[Platform] = &[
    row("aws", "Amazon EC2: ImportSnapshot, RegisterImage", "aws", EC2, &["raw", "vhd", "vhdx", "vmdk"], (Machines::Either, drivers::AWS))
        .own_keys("register the image with UefiData: --efi-vars aws")
        .size_multiple(WHOLE_GIB)
        .size_max(16 * TIB),
    row("azure", "Microsoft Azure, generation 1 and 2", "azure", SERIAL, &["vhd"], (Machines::Either, drivers::AZURE))
        .own_keys("make the image version of a gallery with uefiSettings: --efi-vars azure, for Trusted Launch")
        .size_multiple(WHOLE_MIB)
        .subformats(&[("vhd", "fixed")])
        .size_max(1023 * GIB),
    row("digitalocean", "DigitalOcean custom images", "qcow2", SERIAL, &["raw", "qcow2", "vhdx", "vdi", "vmdk"], QEMU).size_max(100 * GIB),
    row("gcp", "Google Compute Engine", "gcp", SERIAL, &["raw"], (Machines::Either, drivers::GCP))
        .own_keys("insert the image with shieldedInstanceInitialState: --efi-vars gcp, for Shielded VMs")
        .size_multiple(WHOLE_GIB),
    row(
        "hyperv",
        "Microsoft Hyper-V, generation 2 (turn Secure Boot off) and 1",
        "vhdx",
        SCREEN,
        &["vhdx", "vhd"],
        (Machines::Either, drivers::HYPERV),
    )
    .secure_boot_on(),
    row("kubevirt", "KubeVirt", "qcow2", SCREEN, &["qcow2", "raw"], QEMU),
    row("libvirt", "libvirt, virt-manager, plain QEMU", "qcow2", SERIAL, &["qcow2", "raw"], QEMU)
        .own_keys("give the machine the flash of --efi-vars qemu as its NVRAM, or blank ones: the loader enrols the keys of --enroll-keys"),
    row("metal", "disks and USB sticks of real machines; consoles as they are", "raw", AS_IT_IS, &["raw"], (Machines::Either, &[]))
        .own_keys("enrol PK, KEK and db by the firmware's menu: --efi-vars auth"),
    row("openstack", "OpenStack Glance", "qcow2", SCREEN, &["qcow2", "raw", "vmdk", "vhd", "vhdx", "vdi"], QEMU)
        // A fixed VHD has its footer alone, and is a raw disk to the inspector.
        .subformats(&[("vhd", "dynamic"), ("vmdk", "monolithicSparse"), ("vmdk", "streamOptimized")])
        .strict_mbr(),
    row("oracle", "Oracle Cloud Infrastructure", "qcow2", SERIAL, &["qcow2", "vmdk"], (Machines::Either, drivers::VIRTIO))
        .size_max(400 * GIB),
    row("proxmox", "Proxmox VE", "qcow2", SCREEN, &["qcow2", "raw", "vmdk"], QEMU)
        .own_keys("make the EFI disk with pre-enrolled-keys=0: the loader enrols the keys of --enroll-keys"),
    row("scaleway", "Scaleway snapshots", "qcow2", SERIAL, &["qcow2"], (Machines::Uefi, drivers::VIRTIO)),
    row("virtualbox", "VirtualBox, by import", "ova", SCREEN, &["vdi", "vmdk", "vhd"], (Machines::BiosFirst, drivers::VIRTUALBOX))
        .options(&[("flavour", "virtualbox")]),
    row(
        "vmware",
        "VMware ESXi, vSphere, Workstation and Fusion, by import",
        "ova",
        SCREEN,
        &["vmdk"],
        (Machines::BiosFirst, drivers::VMWARE),
    )
    .own_keys("name the certificates in the machine's .vmx: uefi.secureBoot.dbDefault.file0 and its like")
    .options(&[("flavour", "vmware")])
    .subformats(&[("vmdk", "streamOptimized")]),
    row("vultr", "Vultr snapshots", "raw", SERIAL, &["raw"], QEMU).size_max(150 * GIB),
];

impl Named for &'static Platform {
    const WHAT: &'static str = "target";
    const LISTED_BY: Option<&'static str> = Some("moby formats --targets");

    fn all() -> Vec<Self> {
        PLATFORMS.iter().collect()
    }

    fn name(self) -> &'static str {
        self.name
    }

    fn about(self) -> &'static str {
        self.about
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_sound() {
        assert!(PLATFORMS.is_sorted_by_key(|platform| platform.name));
        for row in PLATFORMS {
            assert!(row.size_multiple.is_power_of_two());
            assert!(row.rules.containers.iter().all(|name| formats::format(name).is_some()), "{}", row.name);
            assert!(row.rules.subformats.iter().all(|(name, _)| row.rules.containers.contains(name)), "{}", row.name);
            assert!(row.rules.drivers.iter().flat_map(|driver| driver.any).all(|(option, _)| option.starts_with("CONFIG_")));
        }
    }
}
