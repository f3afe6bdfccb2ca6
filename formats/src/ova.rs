//! OVA: the Open Virtualization Format 1.1 (DMTF DSP0243) as one file: a machine's description, a manifest and its disk.
//!
//! ```text
//!  ustar:  moby.ovf (envelope, XML) | moby.mf (SHA-256 of the two others) | disk.vmdk (streamOptimized)
//! ```
//! In this order, which section 5.3 demands and importers stream by; in ustar, as the standard says, so that a disk file ends
//! at 8 GiB. Written for one of two importers: VMware, whose machines carry a firmware, and VirtualBox, whose dialect of OVF
//! has none: its machines start with BIOS. Nothing is signed.
//! Read: the disk that the description names, of several the one that is asked for, in an archive or beside its description; what the
//! description says of the machine is not looked at. Sums of a manifest are held against description and disk; signatures are not.
//!
//! Oracles: `xmllint` with a schema, the manifest by `sha256sum`, COT, 7-Zip, `qemu-img` for the disk.

mod read;
mod xml;

pub use read::{FileOf, disk};

use crate::{
    Blob, Env, Error, Result, Timestamp,
    tar::{self, Dialect},
    tree::{Content, Inode},
    units,
};
use encoding_rs::UTF_8;
use std::fmt::Write;

const ENVELOPE: &str = "moby.ovf";
const MANIFEST: &str = "moby.mf";
const DISK: &str = "disk.vmdk";

/// Whose dialect of OVF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// ESXi 6.5 and later, vSphere, Workstation, Fusion.
    Vmware,
    /// VirtualBox.
    VirtualBox,
}

/// What starts the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// BIOS.
    Bios,
    /// UEFI, without Secure Boot.
    Efi,
}

/// The machine around the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Whose dialect.
    pub flavour: Flavour,
    /// What starts it; [`Flavour::VirtualBox`] cannot say [`Firmware::Efi`].
    pub firmware: Firmware,
    /// Processors.
    pub cpus: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
}

/// The package of a machine and its one disk: `capacity` bytes, in a streamOptimized VMDK.
///
/// # Errors
/// When the VMDK cannot be read or has 8 GiB or more, which ustar does not hold.
pub fn package(machine: &Machine, capacity: u64, vmdk: &Blob, time: Timestamp) -> Result<Blob> {
    let envelope = machine.envelope(DISK, capacity, vmdk);
    let mut manifest = String::new();
    for (name, body) in [(ENVELOPE, &envelope), (DISK, vmdk)] {
        manifest += &format!("SHA256({name})= {}\n", units::hex(&body.sha256()?));
    }
    let mut tar = tar::Writer::new(Dialect::Ustar);
    for (name, body) in [(ENVELOPE, envelope), (MANIFEST, Blob::from(manifest.into_bytes())), (DISK, vmdk.clone())] {
        tar.add(name.as_bytes(), &Inode { mtime: time.0, ..Inode::new(Content::File(body), 0o644) })?;
    }
    Ok(tar.finish())
}

/// The disk of an OVA among the files of a tar ([`tar::files`]), whatever else is there and in whatever order: nothing where none of them is a
/// description. See [`disk`].
///
/// # Errors
/// As [`disk`], and when there are several descriptions.
pub fn unwrap(files: &[(Vec<u8>, Blob)], wanted: Option<&str>, env: &mut Env) -> Result<Option<Blob>> {
    let named = |path: &[u8]| String::from_utf8_lossy(path.strip_prefix(b"./").unwrap_or(path)).into_owned();
    let files_ending = |end: &str| {
        let named = files.iter().map(|(path, body)| (named(path), body));
        named.filter(|(name, _)| name.to_ascii_lowercase().ends_with(end)).collect::<Vec<_>>()
    };
    let (descriptions, manifests) = (files_ending(".ovf"), files_ending(".mf"));
    let (name, envelope) = match descriptions.as_slice() {
        [] => return Ok(None),
        [one] => one,
        _ => return Err(Error::bad_input(format!("is an OVA with {} descriptions, must have one", descriptions.len()))),
    };
    let file = |href: &str, _: &mut Env| Ok(files.iter().find(|(path, _)| named(path) == href).map(|(_, body)| body.clone()));
    disk((name, envelope), manifests.first().map(|(_, body)| *body), wanted, &file, env).map(Some)
}

/// Whether a file is a description, to go with files beside it.
///
/// # Errors
/// When the file cannot be read.
pub fn is_envelope(file: &Blob) -> Result<bool> {
    let head = file.slice(0..file.len().min(4096)).to_vec(4096)?;
    let (text, ..) = UTF_8.decode(&head);
    Ok(text.trim_start().starts_with('<') && text.contains("Envelope") && text.contains("/ovf/envelope/"))
}

/// An `Item` of the hardware section: a CIM_ResourceAllocationSettingData. The schema wants its elements sorted by name.
struct Item {
    instance: u64,
    /// What it is: CIM's `ResourceType`.
    kind: u64,
    name: String,
    /// Its elements but `ElementName`, `InstanceID` and `ResourceType`.
    more: Vec<(&'static str, String)>,
}

/// Values of `ResourceType` (DSP0243, section 8.1, and CIM_ResourceAllocationSettingData).
mod resource_type {
    pub(super) const PROCESSOR: u64 = 3;
    pub(super) const MEMORY: u64 = 4;
    pub(super) const SCSI_CONTROLLER: u64 = 6;
    pub(super) const ETHERNET: u64 = 10;
    pub(super) const DISK: u64 = 17;
    pub(super) const OTHER_STORAGE_CONTROLLER: u64 = 20;
}

/// Instance of the controller, which the disk names as its parent.
const CONTROLLER: u64 = 3;
/// What a description calls the one network of its machine.
pub const NETWORK: &str = "VM Network";

impl Machine {
    /// The description of the machine and its one disk: `capacity` bytes, in a streamOptimized VMDK that is a file of this name.
    pub fn envelope(&self, name: &str, capacity: u64, vmdk: &Blob) -> Blob {
        assert!(self.flavour == Flavour::Vmware || self.firmware == Firmware::Bios, "{self:?} cannot be said");
        let file_len = vmdk.len();
        let mut xml = String::from(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
  xmlns:vmw="http://www.vmware.com/schema/ovf">
"#,
        );
        xml += &format!(
            r#"  <References>
    <File ovf:href="{name}" ovf:id="file1" ovf:size="{file_len}"/>
  </References>
  <DiskSection>
    <Info>The virtual disk</Info>
    <Disk ovf:capacity="{capacity}" ovf:capacityAllocationUnits="byte" ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection>
    <Info>The networks</Info>
    <Network ovf:name="{NETWORK}">
      <Description>The network of the machine</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="moby">
    <Info>A virtual machine</Info>
    <Name>moby</Name>
    <OperatingSystemSection {}>
      <Info>The guest operating system</Info>
      <Description>Linux, 64-bit</Description>
    </OperatingSystemSection>
    <VirtualHardwareSection{}>
      <Info>The virtual hardware</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>moby</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>{}</vssd:VirtualSystemType>
      </System>
"#,
            self.operating_system(),
            if self.flavour == Flavour::Vmware { r#" ovf:transport="com.vmware.guestInfo""# } else { "" },
            self.system_type(),
        );
        for item in self.items() {
            xml += &item.xml();
        }
        xml += &self.config();
        xml += "    </VirtualHardwareSection>\n  </VirtualSystem>\n</Envelope>\n";
        Blob::from(xml.into_bytes())
    }

    /// 101: Linux, 64-bit, in CIM_OperatingSystem's `OsType`.
    fn operating_system(&self) -> &'static str {
        match self.flavour {
            Flavour::Vmware => r#"ovf:id="101" vmw:osType="other3xLinux64Guest""#,
            Flavour::VirtualBox => r#"ovf:id="101""#,
        }
    }

    fn system_type(&self) -> &'static str {
        match self.flavour {
            // ESXi 6.5, Workstation 12.5.
            Flavour::Vmware => "vmx-13",
            Flavour::VirtualBox => "virtualbox-2.2",
        }
    }

    fn items(&self) -> Vec<Item> {
        use resource_type::{DISK, ETHERNET, MEMORY, OTHER_STORAGE_CONTROLLER, PROCESSOR, SCSI_CONTROLLER};
        let (controller, name, model, card) = match self.flavour {
            Flavour::Vmware => (SCSI_CONTROLLER, "SCSI controller", "VirtualSCSI", "VmxNet3"),
            Flavour::VirtualBox => (OTHER_STORAGE_CONTROLLER, "SATA controller", "AHCI", "82540EM"),
        };
        let item = |instance, kind, name: &str, more: &[(&'static str, &str)]| Item {
            instance,
            kind,
            name: name.to_owned(),
            more: more.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(),
        };
        let (cpus, memory) = (self.cpus.to_string(), self.memory_mib.to_string());
        vec![
            item(1, PROCESSOR, &format!("{cpus} processors"), &[("AllocationUnits", "hertz * 10^6"), ("VirtualQuantity", &cpus)]),
            item(2, MEMORY, &format!("{memory} MiB of memory"), &[("AllocationUnits", "byte * 2^20"), ("VirtualQuantity", &memory)]),
            item(CONTROLLER, controller, name, &[("Address", "0"), ("ResourceSubType", model)]),
            item(4, DISK, "Disk", &[("AddressOnParent", "0"), ("HostResource", "ovf:/disk/vmdisk1"), ("Parent", &CONTROLLER.to_string())]),
            item(5, ETHERNET, "Network adapter", &[("AutomaticAllocation", "true"), ("Connection", NETWORK), ("ResourceSubType", card)]),
        ]
    }

    /// What VMware's machines have besides.
    fn config(&self) -> String {
        let firmware = match (self.flavour, self.firmware) {
            (Flavour::VirtualBox, _) => return String::new(),
            (Flavour::Vmware, Firmware::Bios) => [("firmware", "bios")].as_slice(),
            (Flavour::Vmware, Firmware::Efi) => &[("firmware", "efi"), ("bootOptions.efiSecureBootEnabled", "false")],
        };
        let line = |(key, value): &(_, _)| format!("      <vmw:Config ovf:required=\"false\" vmw:key=\"{key}\" vmw:value=\"{value}\"/>\n");
        firmware.iter().map(line).collect()
    }
}

impl Item {
    fn xml(mut self) -> String {
        self.more.extend([("ElementName", self.name), ("InstanceID", self.instance.to_string()), ("ResourceType", self.kind.to_string())]);
        self.more.sort_unstable_by_key(|(name, _)| *name);
        let mut xml = String::from("      <Item>\n");
        for (name, value) in &self.more {
            writeln!(xml, "        <rasd:{name}>{value}</rasd:{name}>").expect("a String takes every write");
        }
        xml + "      </Item>\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compress::{self, Codec},
        testing::env,
    };

    fn machine(flavour: Flavour, firmware: Firmware) -> Machine {
        Machine { flavour, firmware, cpus: 2, memory_mib: 1024 }
    }

    #[test]
    fn the_envelope_comes_first_and_the_manifest_before_the_disk() {
        let vmdk = Blob::bytes(*b"disk");
        let ova = package(&machine(Flavour::Vmware, Firmware::Efi), 1 << 20, &vmdk, Timestamp(7)).unwrap();
        let names: Vec<_> = tar::Members::new(&ova).map(|member| String::from_utf8(member.unwrap().path).unwrap()).collect();
        assert_eq!(names, [ENVELOPE, MANIFEST, DISK]);
    }

    #[test]
    fn what_was_packaged_is_unwrapped() {
        let vmdk = Blob::bytes(*b"disk");
        let ova = package(&machine(Flavour::VirtualBox, Firmware::Bios), 1 << 20, &vmdk, Timestamp(7)).unwrap();
        let disk = unwrap(&tar::files(&ova).unwrap(), None, &mut env()).unwrap().unwrap();
        assert_eq!(disk.to_vec(9).unwrap(), b"disk");
    }

    const BOX: &[u8] =
        br#"<Envelope><References><File id="f" href="disk1.vmdk.gz"/></References><Disk diskId="d" fileRef="f"/></Envelope>"#;

    #[test]
    fn a_compressed_disk_is_unpacked_whatever_stands_around_it() {
        let file = |name: &str, body: &Blob| (name.as_bytes().to_vec(), body.clone());
        let (mut env, text, envelope) = (env(), Blob::bytes(*b"text"), Blob::bytes(BOX));
        let packed = compress::Encoding::new(Codec::Gzip, None).unwrap().compress(&Blob::bytes(*b"disk"), &mut env).unwrap();
        let files = [file("./Box.nvram", &text), file("disk1.vmdk.gz", &packed), file("cd.iso", &text), file("./Box.OVF", &envelope)];
        assert_eq!(unwrap(&files, None, &mut env).unwrap().unwrap().to_vec(9).unwrap(), b"disk");
        let damaged = [file("box.ovf", &envelope), file("disk1.vmdk.gz", &packed.slice(0..packed.len() - 6))];
        let error = unwrap(&damaged, None, &mut env).unwrap_err();
        assert!(error.kind() == crate::Kind::BadInput && error.to_string().starts_with("disk1.vmdk.gz"), "{error}");
        let wrong = [file("box.ovf", &envelope), file("disk1.vmdk.gz", &packed), file("box.mf", &Blob::bytes(*b"SHA1(disk1.vmdk.gz)= 00"))];
        assert!(unwrap(&wrong, None, &mut env).unwrap_err().to_string().contains("SHA1 00"));
        assert!(unwrap(&files[..3], None, &mut env).unwrap().is_none() && unwrap(&[], None, &mut env).unwrap().is_none());
        assert!(
            unwrap(&[file("a.ovf", &envelope), file("b.ovf", &envelope)], None, &mut env)
                .unwrap_err()
                .to_string()
                .contains("2 descriptions")
        );
    }

    #[test]
    fn a_description_is_told_by_its_root() {
        assert!(is_envelope(&machine(Flavour::Vmware, Firmware::Efi).envelope(DISK, 1, &Blob::default())).unwrap());
        assert!(!is_envelope(&Blob::bytes(*b"<html>")).unwrap() && !is_envelope(&Blob::default()).unwrap());
    }

    #[test]
    fn only_vmware_is_told_of_firmware() {
        let envelope = |flavour, firmware| {
            let bytes = machine(flavour, firmware).envelope(DISK, 1, &Blob::default()).to_vec(1 << 20).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        assert!(envelope(Flavour::Vmware, Firmware::Efi).contains(r#"vmw:key="firmware" vmw:value="efi""#));
        assert!(envelope(Flavour::Vmware, Firmware::Bios).contains(r#"vmw:value="bios""#));
        assert!(!envelope(Flavour::VirtualBox, Firmware::Bios).contains("vmw:Config"));
    }

    #[test]
    fn elements_of_an_item_are_sorted() {
        for item in machine(Flavour::VirtualBox, Firmware::Bios).items() {
            let xml = item.xml();
            let names: Vec<_> =
                xml.lines().filter_map(|line| line.trim().strip_prefix("<rasd:")?.split_once('>')).map(|(n, _)| n).collect();
            assert!(names.is_sorted() && names.len() > 3, "{names:?}");
        }
    }
}
