//! `moby push vsphere`: a machine, or a template, of a vCenter or an ESXi.

use super::disk::{Disk, DiskArgs, Wanted};
use crate::{
    cli::{self, Global, notes::with_exit_codes, values::named},
    convert::Reporter,
    error::{self, At, Error, Result},
    input,
    names::Named,
    push::vsphere::{self, Wishes},
    stores::Stores,
};
use formats::{ova::Firmware, units::show_size};
use net::import::vsphere::{Import, Places};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

const EXAMPLES: &str = "\
Examples:
  moby push vsphere app-1.0 app.yml                      built, made a disk and pushed, with no file here
  moby push vsphere app-1.0 app.tar --template --folder templates
  moby push vsphere app-1.0 app.qcow2 --resource-pool cluster1 --datastore ssd --network dmz --json";

fn notes() -> String {
    let remark = "Server and login are those of govc: GOVC_URL, GOVC_USERNAME, GOVC_PASSWORD, GOVC_INSECURE, GOVC_TLS_CA_CERTS. The machine \
is there, switched off, when its disk is whole; who interrupts it leaves nothing behind. What moby lint --target vmware refuses is refused.";
    with_exit_codes(EXAMPLES, "Exit codes", error::EXIT_CODES, remark)
}

/// To vSphere: a machine, or a template
#[derive(Debug, clap::Args)]
#[command(after_help = notes())]
pub(super) struct Vsphere {
    /// What the machine is called there
    #[arg(value_name = "NAME")]
    name: String,
    /// A streamOptimized VMDK, which goes as it is, plain or compressed; a disk in any other format, a tagged tar or a .yml becomes one on
    /// the way
    #[arg(value_name = "IMAGE")]
    input: PathBuf,
    /// Make it a template, of which machines are made
    #[arg(long)]
    template: bool,
    /// Processors
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=128))]
    cpus: u64,
    /// MiB of memory
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(64..=1 << 24))]
    memory: u64,
    /// By what it starts [default: UEFI where the disk has a loader for it, else BIOS]
    #[arg(long, value_name = "FIRMWARE", value_parser = named::<Firmware>())]
    firmware: Option<Firmware>,
    /// Speak to this vCenter or ESXi [default: GOVC_URL]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    #[command(flatten)]
    places: PlaceArgs,
    #[command(flatten)]
    disk: DiskArgs,
}

/// Where it is: each by its name, its inventory path or the end of that; needless where there is one alone.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Places")]
struct PlaceArgs {
    /// The datacenter [default: GOVC_DATACENTER, or the only one]
    #[arg(long, value_name = "NAME")]
    datacenter: Option<String>,
    /// The folder of machines [default: GOVC_FOLDER, or the datacenter's own]
    #[arg(long, value_name = "NAME")]
    folder: Option<String>,
    /// The resource pool, or the cluster or host whose own it is [default: GOVC_RESOURCE_POOL, or the only one]
    #[arg(long, value_name = "NAME")]
    resource_pool: Option<String>,
    /// The host [default: GOVC_HOST, or the cluster's choice]
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// The datastore [default: GOVC_DATASTORE, or the only one]
    #[arg(long, value_name = "NAME")]
    datastore: Option<String>,
    /// The network [default: GOVC_NETWORK, or the only one]
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
}

/// What a lease takes.
const WANTED: Wanted = Wanted { platform: Some("vmware"), takes: &["vmdk"], by_blocks: false, output: "vmdk", compress: false };

impl Vsphere {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let ui = &global.ui();
        let import = if self.disk.dry_run { None } else { Some(self.import()?) };
        if let Some(import) = &import {
            if import.is_blind() {
                ui.warn("GOVC_INSECURE: no certificate is looked at, so that anybody could be the server and learn the password");
            }
            // What is wrong there is known before any work.
            import.greet(&self.name)?;
        }
        let disk = self.disk.disk(&self.input, WANTED, global, ui)?;
        let wishes = self.wishes(&disk).at(|| input::show(&self.input))?;
        let machine = vsphere::machine(&wishes, &disk.name, disk.disk.len(), &disk.file)?;
        let Some(import) = import else { return cli::print(&self.planned(&wishes, &disk)) };
        let step = ui.step("push");
        let made = vsphere::put(&import, &disk.file, &machine, &*step)?;
        drop(step);
        let size = disk.file.len();
        if self.disk.json {
            let all = json!({"name": self.name, "id": made.id, "path": made.path, "template": self.template, "firmware": machine.firmware, "size": size});
            cli::print(&format!("{all:#}\n"))?;
        }
        ui.note(format_args!("{:>8}: {} is {}, {} sent", "pushed", made.path, made.id, show_size(size)));
        Ok(())
    }

    fn import(&self) -> Result<Arc<Import>> {
        let stores = Stores { ca: self.disk.images.ca().map(Path::to_owned), endpoint: self.endpoint.clone(), ..Stores::default() };
        let PlaceArgs { datacenter, folder, resource_pool: pool, host, datastore, network } = &self.places;
        let [datacenter, folder, pool, host, datastore, network] = [datacenter, folder, pool, host, datastore, network].map(Option::clone);
        Ok(Arc::new(Import::new(stores.shared()?, Places { datacenter, folder, pool, host, datastore, network })?))
    }

    /// What the machine is to have, of a disk.
    fn wishes(&self, disk: &Disk) -> Result<Wishes> {
        if disk.format.name() != "vmdk" {
            return Err(Error::unsupported(format!("{} is no format of vSphere's", disk.format.name())));
        }
        let of_disk = vsphere::firmware(disk.arch, disk.firmware.uefi)?;
        let firmware = self.firmware.unwrap_or(of_disk);
        Ok(Wishes { name: self.name.clone(), firmware, cpus: self.cpus, memory_mib: self.memory, is_template: self.template })
    }

    /// What would be pushed.
    fn planned(&self, wishes: &Wishes, disk: &Disk) -> String {
        let (firmware, capacity, size) = (wishes.firmware.name(), disk.disk.len(), disk.file.len());
        if self.disk.json {
            let all = json!({"name": self.name, "template": self.template, "firmware": firmware, "capacity": capacity, "size": size});
            return format!("{all:#}\n");
        }
        format!("{}  {firmware}, {}, of which {} are sent\n", self.name, show_size(capacity), show_size(size))
    }
}
