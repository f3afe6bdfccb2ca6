//! A machine and its disk for VMware or VirtualBox to import.

use super::{Job, Recipe, heeded_by_disks};
use crate::{
    error::{Error, Result},
    layout::Firmware as Boots,
    request::{Request, Setting},
};
use formats::{
    Format, OptionSpec, Options, Values,
    ova::{self, Firmware, Flavour, Machine},
    vmdk::Vmdk,
};

/// Processors of a machine.
pub(super) const CPUS: OptionSpec =
    OptionSpec { name: "cpus", values: Values::Number { min: 1, max: 128 }, default: "2", help: "processors" };
/// Memory of a machine.
pub(super) const MEMORY: OptionSpec =
    OptionSpec { name: "memory", values: Values::Number { min: 64, max: 1 << 24 }, default: "1024", help: "MiB of memory" };

static OPTIONS: [OptionSpec; 4] = [
    OptionSpec { name: "flavour", values: Values::Choice(&["vmware", "virtualbox"]), default: "vmware", help: "whose machine it is" },
    OptionSpec {
        name: "firmware",
        values: Values::Choice(&["auto", "bios", "efi"]),
        default: "auto",
        help: "auto: UEFI on VMware where the disk has it, else BIOS",
    },
    CPUS,
    MEMORY,
];

/// A machine with a streamOptimized VMDK, the only kind of disk that both importers take.
#[derive(Debug)]
pub(crate) struct Ova;

impl Recipe for Ova {
    fn options(&self) -> &'static [OptionSpec] {
        &OPTIONS
    }

    fn heeds(&self, request: &Request) -> Vec<&'static Setting> {
        heeded_by_disks(request, request.firmware)
    }

    fn container(&self) -> Option<&'static str> {
        Some(Vmdk.name())
    }

    fn plan(&self, request: &Request) -> Result<Job> {
        let machine = machine(&request.options_of(&OPTIONS, &[])?, request.firmware)?;
        let (firmware, plan) = (request.firmware, Vmdk.plan(&Options::defaults(Vmdk.options()))?);
        request.check_disk(&*plan, plan.limits())?;
        Ok(Box::new(move |run| {
            let disk = run.disk(firmware, plan.limits())?;
            let file = disk.encode(&*plan, &mut run.env)?;
            Ok([ova::package(&machine, disk.blob.len(), &file, run.env.time)?].into())
        }))
    }
}

fn machine(options: &Options, boots: Boots) -> Result<Machine> {
    let flavour = if options.word("flavour") == "vmware" { Flavour::Vmware } else { Flavour::VirtualBox };
    let firmware = match (options.word("firmware"), flavour, boots) {
        ("bios", ..) | ("auto", _, Boots::Bios) | ("auto", Flavour::VirtualBox, Boots::Hybrid) => Firmware::Bios,
        (_, Flavour::Vmware, _) => Firmware::Efi,
        (_, Flavour::VirtualBox, _) => {
            return Err(Error::unsupported("an OVA cannot tell VirtualBox to use UEFI")
                .hint("leave out --boot uefi and firmware=efi; the machine's settings have \"Enable EFI\" after the import"));
        }
    };
    Ok(Machine { flavour, firmware, cpus: options.number("cpus"), memory_mib: options.number("memory") })
}
