//! `moby push openstack`: an image of Glance.

use super::disk::{Disk, DiskArgs, Wanted};
use crate::{
    cli::{self, Global, notes::with_exit_codes, values::named},
    convert::Reporter,
    error::{self, At, Error, Result},
    input,
    push::openstack::{self, Firmware},
    stores::Stores,
};
use formats::units::show_size;
use net::import::openstack::{Image, Import, Made};
use serde_json::{Map, Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

const EXAMPLES: &str = "\
Examples:
  moby push openstack app-1.0 app.qcow2
  moby push openstack app-1.0 app.yml --json             built, made a disk and pushed, with no file here
  moby push openstack app-1.0 app.tar --property hw_vif_model=virtio --tag db --community
  moby push openstack app-1.0 app.tar --endpoint http://127.0.0.1:9292";

fn notes() -> String {
    let remark = "The login is that of OS_CLOUD in clouds.yaml, or of the variables OS_*. The hash that Glance computes is compared with the \
file's; who interrupts it leaves nothing behind. What moby lint --target openstack refuses is refused.";
    with_exit_codes(EXAMPLES, "Exit codes", error::EXIT_CODES, remark)
}

/// To OpenStack: an image of Glance
#[derive(Debug, clap::Args)]
#[command(after_help = notes())]
pub(super) struct Openstack {
    /// What the image is called there; others may be called the same
    #[arg(value_name = "NAME")]
    name: String,
    /// A disk that Glance takes, which goes as it is, plain or compressed: qcow2, raw, vmdk, vhdx, vdi; what is none of these, a tagged
    /// tar or a .yml becomes a compressed qcow2 on the way
    #[arg(value_name = "IMAGE")]
    input: PathBuf,
    /// A property of the image, beside or in the place of those that follow from the disk. Repeatable
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = pair)]
    properties: Vec<(String, String)>,
    /// A word by which it is found. Repeatable
    #[arg(long = "tag", value_name = "WORD")]
    tags: Vec<String>,
    /// Everybody sees it; in many clouds for administrators alone
    #[arg(long, conflicts_with_all = ["community", "shared"])]
    public: bool,
    /// Everybody can use it who knows its id
    #[arg(long, conflicts_with = "shared")]
    community: bool,
    /// Projects that are made members of it see it, too
    #[arg(long)]
    shared: bool,
    /// Nobody can delete it before that is taken back
    #[arg(long)]
    protected: bool,
    /// By what machines start it [default: BIOS on x86 where the disk has a loader for it, else UEFI]
    #[arg(long, value_name = "FIRMWARE", value_parser = named::<Firmware>())]
    firmware: Option<Firmware>,
    /// Speak to this Glance, and log in nowhere
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    #[command(flatten)]
    disk: DiskArgs,
}

/// Two words.
pub(super) fn pair(text: &str) -> std::result::Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// What Glance takes and its inspector knows. A VHD becomes another disk: most are fixed, which the inspector takes for raw ones.
const WANTED: Wanted = Wanted {
    platform: Some("openstack"),
    takes: &["qcow2", "raw", "vmdk", "vhdx", "vdi"],
    by_blocks: false,
    output: "qcow2",
    compress: true,
};

impl Openstack {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let ui = &global.ui();
        // What is wrong with the words is known before any work.
        self.image("qcow2", Vec::new()).check()?;
        let import = if self.disk.dry_run { None } else { Some(self.import()?) };
        if let Some(import) = &import {
            import.greet()?;
        }
        let disk = self.disk.disk(&self.input, WANTED, global, ui)?;
        let image = self.made(&disk).at(|| input::show(&self.input))?;
        if disk.format.name() == "raw" && disk.file.data_len() < disk.file.len() {
            let (all, data) = (show_size(disk.file.len()), show_size(disk.file.data_len()));
            ui.warn(&format!("a raw disk goes with its zeros: {all}, of which {data} are data; moby convert -f qcow2 -c leaves them out"));
        }
        let Some(import) = import else { return cli::print(&self.planned(&image, &disk)) };
        let step = ui.step("push");
        let made = openstack::put(&import, &disk.file, &image, &*step)?;
        drop(step);
        if self.disk.json {
            cli::print(&json(&image, &made))?;
        }
        ui.note(format_args!("{:>8}: {} is {}, {} sent", "pushed", self.name, made.id, show_size(made.size)));
        Ok(())
    }

    fn import(&self) -> Result<Arc<Import>> {
        let ca = self.disk.images.ca().map(Path::to_owned);
        let stores = Stores { ca, endpoint: self.endpoint.clone(), ..Stores::default() };
        Ok(Arc::new(Import::new(stores.shared()?)?))
    }

    /// What the image is to be, of a disk.
    fn made(&self, disk: &Disk) -> Result<Image> {
        let Some(format) = WANTED.takes.iter().find(|name| **name == disk.format.name()) else {
            return Err(Error::unsupported(format!("{} is no format of Glance's", disk.format.name())));
        };
        let firmware = match self.firmware {
            Some(firmware) => firmware,
            None => openstack::firmware(disk.arch, disk.firmware.bios, disk.firmware.uefi)?,
        };
        let image = self.image(format, openstack::properties(disk.arch, firmware, disk.disk.len()));
        image.check()?;
        Ok(image)
    }

    fn image(&self, disk_format: &'static str, mut properties: Vec<(String, String)>) -> Image {
        properties.extend(self.properties.iter().cloned());
        let visible = [("public", self.public), ("community", self.community), ("shared", self.shared)];
        let visibility = visible.into_iter().find(|(_, is_it)| *is_it).map_or("private", |(name, _)| name);
        Image { name: self.name.clone(), disk_format, visibility, is_protected: self.protected, tags: self.tags.clone(), properties }
    }

    /// What would be pushed.
    fn planned(&self, image: &Image, disk: &Disk) -> String {
        let mut all = described(image);
        all["size"] = disk.file.len().into();
        if self.disk.json {
            return format!("{all:#}\n");
        }
        let properties: String = image.properties.iter().map(|(name, value)| format!("  {name}={value}\n")).collect();
        format!("{}  {}, {}, {}\n{properties}", image.name, image.disk_format, image.visibility, show_size(disk.file.len()))
    }
}

fn described(image: &Image) -> Value {
    let properties: Map<_, _> = image.properties.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({"name": image.name, "disk-format": image.disk_format, "visibility": image.visibility, "properties": properties})
}

/// What was pushed.
fn json(image: &Image, made: &Made) -> String {
    let mut all = json!({"name": image.name, "id": made.id, "size": made.size});
    if let Some((algorithm, hash)) = &made.hash {
        all["checksum"] = json!({"algorithm": algorithm, "value": hash});
    }
    format!("{all:#}\n")
}
