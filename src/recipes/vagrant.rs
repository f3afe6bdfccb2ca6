//! Boxes of Vagrant: a disk, or a machine with its disk, and beside it what Vagrant and its provider want to know, in a tar that is gzipped.
//!
//! ```text
//!  libvirt      metadata.json (provider, format, virtual_size) | Vagrantfile | box.img (qcow2)
//!  virtualbox   metadata.json (provider) | Vagrantfile (base_mac) | box.ovf | box-disk001.vmdk (streamOptimized)
//! ```
//! As Vagrant's page "Box File Format" and vagrant-libvirt's page "Boxes" (version 1) say. A box starts on BIOS: where a host has its UEFI
//! firmware, no box can know.

use super::{
    Job, Recipe, heeded_by_disks,
    ova::{CPUS, MEMORY},
};
use crate::{
    error::{Error, Result},
    layout::Firmware as Boots,
    platforms::WHOLE_GIB,
    request::{Request, Setting},
    run::{Disk, Run},
};
use formats::{
    Blob, Format, Limits, OptionSpec, Options, Plan,
    compress::{Codec, Encoding},
    ova::{Firmware, Flavour, Machine},
    qcow2::Qcow2,
    tar::{self, Dialect},
    tree::{Content, Inode},
    units::SECTOR,
    vmdk::Vmdk,
};
use serde_json::json;

static OPTIONS: [OptionSpec; 2] = [CPUS, MEMORY];

/// What VirtualBox's own network cards have in front of their addresses.
const VIRTUALBOX_OUI: &str = "080027";

/// A box, by its provider.
#[derive(Debug)]
pub(crate) enum Vagrant {
    /// The plugin vagrant-libvirt: QEMU. It makes a machine's disk as large as `virtual_size` says, which is whole GiB: so is ours.
    Libvirt,
    /// VirtualBox, which imports the machine.
    VirtualBox,
}

impl Recipe for Vagrant {
    fn options(&self) -> &'static [OptionSpec] {
        &OPTIONS
    }

    fn heeds(&self, request: &Request) -> Vec<&'static Setting> {
        heeded_by_disks(request, Boots::Bios)
    }

    fn container(&self) -> Option<&'static str> {
        Some(self.format().name())
    }

    fn codec(&self) -> Codec {
        Codec::Gzip
    }

    fn plan(&self, request: &Request) -> Result<Job> {
        if request.firmware == Boots::Uefi {
            let hint = "leave out --boot uefi; who has the firmware says so in a Vagrantfile of his own";
            return Err(Error::unsupported("a Vagrant box starts on BIOS").hint(hint));
        }
        let options = request.options_of(&OPTIONS, &[])?;
        let (firmware, plan) = (request.firmware, self.format().plan(&Options::defaults(self.format().options()))?);
        let (unit, members): (_, Inside) = match self {
            Self::Libvirt => (WHOLE_GIB, libvirt),
            Self::VirtualBox => (SECTOR, virtualbox),
        };
        let limits = plan.limits().and(Limits::multiple_of(unit));
        request.check_disk(&*plan, limits)?;
        Ok(Box::new(move |run| {
            let disk = run.disk(firmware, limits)?;
            let members = members(&disk, &*plan, &options, run)?;
            Ok([pack(members, run)?].into())
        }))
    }
}

impl Vagrant {
    fn format(&self) -> &'static dyn Format {
        match self {
            Self::Libvirt => &Qcow2,
            Self::VirtualBox => &Vmdk,
        }
    }
}

/// Files of a box, by their names.
type Members = Vec<(&'static str, Blob)>;

/// What a provider finds in a box.
type Inside = fn(&Disk, &dyn Plan, &Options, &mut Run) -> Result<Members>;

fn libvirt(disk: &Disk, plan: &dyn Plan, options: &Options, run: &mut Run) -> Result<Members> {
    let metadata = json!({"provider": "libvirt", "format": Qcow2.name(), "virtual_size": disk.blob.len() / WHOLE_GIB});
    let settings = ["cpus", "memory"].map(|name| format!("libvirt.{name} = {}", options.number(name)));
    let defaults = [provider("libvirt", &settings)];
    Ok([about(&metadata, &defaults).as_slice(), &[("box.img", disk.encode(plan, &mut run.env)?)]].concat())
}

fn virtualbox(disk: &Disk, plan: &dyn Plan, options: &Options, run: &mut Run) -> Result<Members> {
    const DISK: &str = "box-disk001.vmdk";
    let (cpus, memory_mib) = (options.number("cpus"), options.number("memory"));
    let machine = Machine { flavour: Flavour::VirtualBox, firmware: Firmware::Bios, cpus, memory_mib };
    let mac = disk.ids(&run.env)?.serial("vagrant mac") & 0xff_ffff;
    // There are no guest additions, so nobody shall look for them.
    let settings = ["check_guest_additions", "functional_vboxsf"].map(|name| format!("virtualbox.{name} = false"));
    let defaults = [format!("  config.vm.base_mac = \"{VIRTUALBOX_OUI}{mac:06X}\"\n"), provider("virtualbox", &settings)];
    let vmdk = disk.encode(plan, &mut run.env)?;
    let envelope = machine.envelope(DISK, disk.blob.len(), &vmdk);
    Ok([about(&json!({"provider": "virtualbox"}), &defaults).as_slice(), &[("box.ovf", envelope), (DISK, vmdk)]].concat())
}

/// The part of a Vagrantfile that is for one provider.
fn provider(name: &str, settings: &[String]) -> String {
    let settings: String = settings.iter().map(|setting| format!("    {setting}\n")).collect();
    format!("  config.vm.provider :{name} do |{name}|\n{settings}  end\n")
}

/// What Vagrant reads of every box. It is not to look for a program in the guest that mounts the directory of the user's Vagrantfile.
fn about(metadata: &serde_json::Value, defaults: &[String]) -> [(&'static str, Blob); 2] {
    let no_folder = "  config.vm.synced_folder \".\", \"/vagrant\", disabled: true\n";
    let vagrantfile = format!("Vagrant.configure(\"2\") do |config|\n{no_folder}{}end\n", defaults.concat());
    [("metadata.json", Blob::from(format!("{metadata}\n").into_bytes())), ("Vagrantfile", Blob::from(vagrantfile.into_bytes()))]
}

fn pack(members: Members, run: &mut Run) -> Result<Blob> {
    let mut tar = tar::Writer::new(Dialect::Pax);
    for (name, body) in members {
        tar.add(name.as_bytes(), &Inode { mtime: run.env.time.0, ..Inode::new(Content::File(body), 0o644) })?;
    }
    Encoding::new(Codec::Gzip, None)?.compress(&tar.finish(), &mut run.env)
}
