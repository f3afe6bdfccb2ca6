//! `moby push aws`: an image of EC2, by blocks and with no bucket.

use super::disk::{Disk, DiskArgs, Wanted};
use crate::{
    cli::{self, Global, notes::with_exit_codes, stores::StoreArgs, values::named},
    convert::Reporter,
    error::{self, At, Error, Result},
    input,
    push::aws,
    stores::Stores,
};
use formats::units::{self, show_size};
use net::import::aws::{BootMode, Image, Import};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

const EXAMPLES: &str = "\
Examples:
  moby push aws app-1.0 app.qcow2                        a snapshot, and the image app-1.0 on it
  moby push aws app-1.0 app.yml --region eu-central-1    built, made a disk and pushed, with no file here
  moby push aws app-1.0 app.tar --tag team=db --tag stage=test --json
  moby push aws app-1.0 app.raw --boot-mode uefi --tpm --uefi-data app-uefidata.b64";

fn notes() -> String {
    let remark = "Blocks of zeros are not sent. The image is registered last; who interrupts it leaves nothing behind. Keys, region and \
endpoints are found as Amazon's own programs find them. What moby lint --target aws refuses is refused.";
    with_exit_codes(EXAMPLES, "Exit codes", error::EXIT_CODES, remark)
}

/// To Amazon EC2: a snapshot, and an image on it
#[derive(Debug, clap::Args)]
#[command(after_help = notes())]
pub(super) struct Aws {
    /// What the image is called there
    #[arg(value_name = "NAME")]
    name: String,
    /// A disk in any format, plain or compressed, which goes block by block; a tagged tar or a .yml becomes one on the way
    #[arg(value_name = "IMAGE")]
    input: PathBuf,
    /// The region [default: as AWS_REGION or the profile says]
    #[arg(long)]
    region: Option<String>,
    /// A tag of image and snapshot. Repeatable
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// What people read of it
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// By what machines start it [default: what there are loaders for]
    #[arg(long, value_name = "MODE", value_parser = named::<BootMode>())]
    boot_mode: Option<BootMode>,
    /// Its machines have a TPM (2.0), for which they start by UEFI alone
    #[arg(long)]
    tpm: bool,
    /// The variables of its machines' firmware, as --efi-vars aws writes them: whom Secure Boot trusts
    #[arg(long, value_name = "FILE")]
    uefi_data: Option<PathBuf>,
    #[command(flatten)]
    stores: StoreArgs,
    #[command(flatten)]
    disk: DiskArgs,
}

pub(super) fn tag(text: &str) -> std::result::Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a tag is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Aws {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let ui = &global.ui();
        let StoreArgs { endpoint, connections } = self.stores.clone();
        let ca = self.disk.images.ca().map(Path::to_owned);
        let stores = Stores { ca, endpoint, connections, ..Stores::default() };
        let import = || Import::new(stores.shared()?, self.region.as_deref()).map(Arc::new);
        // What is asked of nobody is known first.
        let early = self.image(BootMode::Uefi, "x86_64")?;
        early.check()?;
        let import = if self.disk.dry_run { None } else { Some(import()?) };
        if let Some(import) = &import {
            import.refuse_taken(&early)?;
        }
        let disk = self.disk.disk(&self.input, WANTED, global, ui)?;
        let image = self.made(&disk).at(|| input::show(&self.input))?;
        let Some(import) = import else { return cli::print(&self.planned(&image, &disk)) };
        let step = ui.step("push");
        let unnamed = aws::put(&import, &disk.disk, image, &*step)?;
        drop(step);
        let snapshot = unnamed.snapshot.clone();
        let id = unnamed.commit()?;
        if self.disk.json {
            let all = json!({"name": self.name, "region": import.region(), "image": id, "snapshot": snapshot});
            cli::print(&format!("{all:#}\n"))?;
        }
        ui.note(format_args!("{:>8}: {} is {id} in {}, on {snapshot}", "pushed", self.name, import.region()));
        Ok(())
    }

    /// What the image is to be, of a disk.
    fn made(&self, disk: &Disk) -> Result<Image> {
        let lacks = || Error::bad_input("nothing tells which machines it is for").hint("say it with --arch");
        let architecture = aws::architecture(disk.arch.ok_or_else(lacks)?)?;
        let mode = match self.boot_mode {
            Some(mode) => mode,
            // Both are for machines with UEFI alone; where it does not start by that, it is said.
            None if disk.firmware.uefi && (self.tpm || self.uefi_data.is_some()) => BootMode::Uefi,
            None => aws::boot_mode(disk.firmware.bios && architecture == "x86_64", disk.firmware.uefi)?,
        };
        let image = self.image(mode, architecture)?;
        image.check()?;
        Ok(image)
    }

    fn image(&self, boot_mode: BootMode, architecture: &'static str) -> Result<Image> {
        let read = |path: &PathBuf| fs::read_to_string(path).map(|text| text.trim().to_owned()).at(|| path.display());
        let uefi_data = self.uefi_data.as_ref().map(read).transpose().at(|| "--uefi-data")?;
        let (name, description, tags) = (self.name.clone(), self.description.clone(), self.tags.clone());
        Ok(Image { name, description, architecture, boot_mode, tpm: self.tpm, uefi_data, tags })
    }

    /// What would be pushed.
    fn planned(&self, image: &Image, disk: &Disk) -> String {
        let (data, gib) = (disk.disk.data_len(), disk.disk.len().div_ceil(units::GIB).max(1));
        let (name, mode) = (&image.name, image.boot_mode.name());
        if self.disk.json {
            let all = json!({
                "name": name, "architecture": image.architecture, "boot-mode": mode, "tpm": image.tpm, "volume-gib": gib, "data": data,
            });
            return format!("{all:#}\n");
        }
        let tpm = if image.tpm { ", TPM 2.0" } else { "" };
        format!("{name}  {}, {mode}{tpm}, {gib} GiB with {} of data at most\n", image.architecture, show_size(data))
    }
}

const WANTED: Wanted = Wanted { platform: Some("aws"), takes: &[], by_blocks: true, output: "vhdx", compress: false };
