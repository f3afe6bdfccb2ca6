//! `moby push azure`: an image of Azure, or a version of one in a gallery.

use super::{
    aws::tag,
    disk::{Disk, DiskArgs, Wanted},
};
use crate::{
    cli::{self, Global, notes::with_exit_codes, stores::StoreArgs, values::named},
    convert::Reporter,
    error::{self, At, Error, Result},
    input,
    push::azure,
    stores::Stores,
};
use formats::units::show_size;
use net::import::azure::{Generation, Image, Import, Version};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

const EXAMPLES: &str = "\
Examples:
  moby push azure app-1.0 app.vhd --resource-group images          the image app-1.0
  moby push azure app app.yml --resource-group images --gallery ours --definition app --version 1.0.0
  moby push azure app-1.0 app.vhd --resource-group images --disk   a managed disk
  moby push azure app-1.0 app.tar --resource-group images --tag team=db --json";

fn notes() -> String {
    let remark = "The blob NAME.vhd in the container is written without its zeros, and deleted when the image is made of it; who interrupts it leaves nothing \
behind. Logins are found as Azure's own programs find them; AZURE_STORAGE_ACCOUNT names the storage account. What moby lint --target azure refuses is refused.";
    with_exit_codes(EXAMPLES, "Exit codes", error::EXIT_CODES, remark)
}

/// To Microsoft Azure: an image, a version of one in a gallery, or a disk
#[derive(Debug, clap::Args)]
#[command(after_help = notes())]
pub(super) struct Azure {
    /// What the image is called there, and the blob on the way
    #[arg(value_name = "NAME")]
    name: String,
    /// A fixed VHD, plain or compressed; what is none, a tagged tar or a .yml becomes one on the way
    #[arg(value_name = "IMAGE")]
    input: PathBuf,
    /// The subscription [default: AZURE_SUBSCRIPTION_ID]
    #[arg(long, value_name = "ID")]
    subscription: Option<String>,
    /// The group that the image, or the gallery, is in
    #[arg(long, value_name = "NAME")]
    resource_group: String,
    /// Where the image is [default: where its group is]
    #[arg(long, value_name = "PLACE")]
    location: Option<String>,
    /// The container for the blob on the way
    #[arg(long, value_name = "NAME", default_value = "vhds")]
    container: String,
    /// A version in this gallery in the place of an image
    #[arg(long, value_name = "NAME", requires_all = ["definition", "version"])]
    gallery: Option<String>,
    /// The definition in the gallery
    #[arg(long, value_name = "NAME", requires = "gallery")]
    definition: Option<String>,
    /// The number of the version, as 1.0.0
    #[arg(long, value_name = "VERSION", requires = "gallery")]
    version: Option<String>,
    /// Another region that has a copy of the version. Repeatable
    #[arg(long = "replicate", value_name = "REGION", requires = "gallery")]
    regions: Vec<String>,
    /// Whom Secure Boot trusts on machines of the version, as convert --efi-vars azure writes it
    #[arg(long, value_name = "FILE", requires = "gallery")]
    efi_vars: Option<PathBuf>,
    /// A managed disk in the place of an image, which needs no storage account
    #[arg(long = "disk", conflicts_with = "gallery")]
    as_disk: bool,
    /// For which machines it is [default: what there are loaders for, the newer ones first]
    #[arg(long, value_name = "GENERATION", value_parser = named::<Generation>())]
    generation: Option<Generation>,
    /// A tag of the image. Repeatable
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    #[command(flatten)]
    stores: StoreArgs,
    #[command(flatten)]
    disk: DiskArgs,
}

impl Azure {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let ui = &global.ui();
        let early = self.image("x64", Generation::V2)?;
        early.check()?;
        let import = if self.disk.dry_run { None } else { Some(self.import(&early)?) };
        let location = import.as_ref().map(|import| import.refuse_taken(&early)).transpose()?.unwrap_or_default();
        let disk = self.disk.disk(&self.input, WANTED, global, ui)?;
        let image = self.made(&disk).at(|| input::show(&self.input))?;
        let Some(import) = import else { return cli::print(&self.planned(&image, &disk)) };
        import.refuse_other_machines(&image)?;
        let step = ui.step("push");
        let unnamed = azure::put(&import, &disk.file, &image, &location, &*step)?;
        drop(step);
        let id = unnamed.commit(&image, &location)?;
        if self.disk.json {
            let generation = image.generation.name();
            let all = json!({"name": self.name, "image": id, "location": location, "generation": generation});
            cli::print(&format!("{all:#}\n"))?;
        }
        ui.note(format_args!("{:>8}: {} is {id} in {location}", "pushed", self.name));
        Ok(())
    }

    fn import(&self, image: &Image) -> Result<Arc<Import>> {
        let StoreArgs { endpoint, connections } = self.stores.clone();
        let ca = self.disk.images.ca().map(Path::to_owned);
        // The endpoint is the resource manager's: that of blobs is in the connection string.
        let stores = Stores { ca, connections, ..Stores::default() };
        Import::new(stores.shared()?, endpoint, &self.container, image).map(Arc::new)
    }

    fn image(&self, architecture: &'static str, generation: Generation) -> Result<Image> {
        let variable = || net::process_variables("AZURE_SUBSCRIPTION_ID")?.into_string().ok();
        let lacks = || Error::bad_input("nothing names the subscription").hint("--subscription ID, or AZURE_SUBSCRIPTION_ID");
        let version = match (&self.gallery, &self.definition, &self.version) {
            (Some(gallery), Some(definition), Some(number)) => {
                Some(Version { gallery: gallery.clone(), definition: definition.clone(), number: number.clone() })
            }
            _ => None,
        };
        let read = |path: &PathBuf| {
            fs::read_to_string(path).map_err(Error::from).and_then(|text| azure::uefi_settings(&text)).at(|| path.display())
        };
        Ok(Image {
            name: self.name.clone(),
            subscription: self.subscription.clone().or_else(variable).ok_or_else(lacks)?,
            group: self.resource_group.clone(),
            location: self.location.clone(),
            version,
            regions: self.regions.clone(),
            uefi: self.efi_vars.as_ref().map(read).transpose().at(|| "--efi-vars")?,
            disk: self.as_disk,
            architecture,
            generation,
            tags: self.tags.clone(),
        })
    }

    /// What the image is to be, of a disk.
    fn made(&self, disk: &Disk) -> Result<Image> {
        let lacks = || Error::bad_input("nothing tells which machines it is for").hint("say it with --arch");
        let architecture = azure::architecture(disk.arch.ok_or_else(lacks)?)?;
        let generation = match self.generation {
            Some(generation) => generation,
            None => azure::generation(disk.firmware.bios && architecture == "x64", disk.firmware.uefi)?,
        };
        let image = self.image(architecture, generation)?;
        image.check()?;
        Ok(image)
    }

    /// What would be pushed.
    fn planned(&self, image: &Image, disk: &Disk) -> String {
        let (name, generation, data) = (&image.name, image.generation.name(), disk.file.data_len());
        if self.disk.json {
            let all = json!({
                "name": name, "architecture": image.architecture, "generation": generation, "size": disk.file.len(), "data": data,
            });
            return format!("{all:#}\n");
        }
        let (size, data) = (show_size(disk.file.len()), show_size(data));
        format!("{name}  {}, {generation}, {size} with {data} of data at most\n", image.architecture)
    }
}

const WANTED: Wanted = Wanted { platform: Some("azure"), takes: &["vhd"], by_blocks: false, output: "azure", compress: false };
