//! `moby push gcp`: an image of Compute Engine, by way of a bucket.

use super::{
    disk::{Disk, DiskArgs, Wanted},
    openstack::pair,
};
use crate::{
    cli::{self, Global, notes::with_exit_codes},
    convert::Reporter,
    error::{self, At, Error, Result},
    input, lint,
    push::gcp,
    stores::Stores,
};
use formats::{Silent, kernel::Arch, units::show_size};
use net::import::google::{Image, Import};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

const EXAMPLES: &str = "\
Examples:
  moby push gcp app-1 app.tar --bucket gs://images/tmp
  moby push gcp app-1 app.yml --bucket gs://images --family app --label team=db --json
  moby push gcp app-1 app.tar --bucket gs://images --efi-vars app-gcp.json";

fn notes() -> String {
    let remark = "The file in the bucket is deleted once the image is made; who interrupts it leaves nothing behind. Login and project are \
found as Google's own programs find them. What moby lint --target gcp refuses is refused.";
    with_exit_codes(EXAMPLES, "Exit codes", error::EXIT_CODES, remark)
}

/// To Google Compute Engine: an image, by way of a bucket
#[derive(Debug, clap::Args)]
#[command(after_help = notes())]
pub(super) struct Gcp {
    /// What the image is called there
    #[arg(value_name = "NAME")]
    name: String,
    /// A disk in any format, plain or compressed, a tagged tar or a .yml: the file that Compute Engine takes is made on the way
    #[arg(value_name = "IMAGE")]
    input: PathBuf,
    /// Where the file is while the image is made
    #[arg(long, value_name = "gs://BUCKET[/PREFIX]")]
    bucket: String,
    /// The project [default: that of the login, or GOOGLE_CLOUD_PROJECT]
    #[arg(long)]
    project: Option<String>,
    /// The family whose newest image it is then
    #[arg(long, value_name = "NAME")]
    family: Option<String>,
    /// A label of the image. Repeatable
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// What people read of it
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// Whom Secure Boot trusts on its machines, as convert --efi-vars gcp writes it
    #[arg(long, value_name = "FILE")]
    efi_vars: Option<PathBuf>,
    #[command(flatten)]
    disk: DiskArgs,
}

/// The tar is made here: of every disk, that it has whole GiB.
const WANTED: Wanted = Wanted { platform: Some("gcp"), takes: &[], by_blocks: false, output: "raw", compress: false };

impl Gcp {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let ui = &global.ui();
        // What is asked of nobody is known first.
        let early = self.image("X86_64", Vec::new())?;
        early.check()?;
        let import = if self.disk.dry_run { None } else { Some(self.import()?) };
        if let Some(import) = &import {
            import.refuse_taken(&early)?;
        }
        let disk = self.disk.disk(&self.input, WANTED, global, ui)?;
        let image = self.made(&disk, global).at(|| input::show(&self.input))?;
        let Some(import) = import else { return cli::print(&self.planned(&image, &disk)) };
        let mut env = cli::env(global, &std::env::temp_dir())?;
        env.progress = Arc::new(Silent);
        let tar = formats::gcp::pack(&disk.disk, &mut env)?;
        let step = ui.step("push");
        let made = gcp::put(&import, &tar, &image, &*step)?;
        drop(step);
        if self.disk.json {
            let all = json!({"name": self.name, "project": import.project(), "id": made.id, "selfLink": made.link});
            cli::print(&format!("{all:#}\n"))?;
        }
        ui.note(format_args!("{:>8}: {} is an image of {}, {} sent", "pushed", self.name, import.project(), show_size(tar.len())));
        Ok(())
    }

    fn import(&self) -> Result<Arc<Import>> {
        let stores = Stores { ca: self.disk.images.ca().map(Path::to_owned), ..Stores::default() };
        Ok(Arc::new(Import::new(stores.shared()?, self.project.as_deref(), &self.bucket)?))
    }

    /// What the image is to be, of a disk.
    fn made(&self, disk: &Disk, global: &Global) -> Result<Image> {
        let lacks = || Error::bad_input("nothing tells which machines it is for").hint("say it with --arch");
        let arch = disk.arch.ok_or_else(lacks)?;
        let mut env = cli::env(global, &std::env::temp_dir())?;
        let has_gvnic = lint::has_driver(&disk.disk, gcp::GVNIC, &mut env);
        let has_uefi = disk.firmware.uefi || arch == Arch::Aarch64;
        self.image(gcp::architecture(arch)?, gcp::features(arch, has_uefi, has_gvnic))
    }

    fn image(&self, architecture: &'static str, features: Vec<&'static str>) -> Result<Image> {
        let read =
            |path: &PathBuf| fs::read_to_string(path).at(|| path.display()).and_then(|text| gcp::shielded(&text).at(|| path.display()));
        let shielded = self.efi_vars.as_ref().map(read).transpose().at(|| "--efi-vars")?;
        let (name, family, description, labels) = (self.name.clone(), self.family.clone(), self.description.clone(), self.labels.clone());
        Ok(Image { name, family, description, architecture, features, labels, shielded })
    }

    /// What would be pushed.
    fn planned(&self, image: &Image, disk: &Disk) -> String {
        let (name, size, data) = (&image.name, disk.disk.len(), disk.disk.data_len());
        if self.disk.json {
            let all = json!({
                "name": name, "family": image.family, "architecture": image.architecture, "features": image.features, "size": size, "data": data,
            });
            return format!("{all:#}\n");
        }
        let features = image.features.join(" ");
        format!("{name}  {}, {}, of which {} are data\n  {features}\n", image.architecture, show_size(size), show_size(data))
    }
}
