//! `moby cache`: what is in the cache.

use super::{CacheArgs, Global, place::Place};
use crate::{
    convert::Reporter,
    emit::{self, Manner, Target},
    error::{At, Error, Result},
    images::{Cache, archive_of},
    ui::Summary,
};
use clap::Subcommand;
use formats::{
    oci::{Descriptor, Index, Reference, Store, media_type},
    tree::ShowPath,
    units::show_size,
};
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

const EXAMPLES: &str = "\
Examples:
  moby cache ls
  moby cache import my-image.tar                     what docker save or skopeo wrote, or a directory
  moby cache export alpine:3.20 -o alpine.tar        for docker load, skopeo, or another cache
  moby cache clean                                   what no name leads to
  moby cache clean --all";

/// Look into the cache of images, and change it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(super) struct CacheCommand {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    cache: CacheArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the images
    Ls,
    /// Take in the images of an archive or of a layout
    Import {
        /// oci-layout:DIR, oci-archive:FILE, docker-archive:FILE, or a path alone
        #[arg(value_name = "PLACE")]
        place: Place,
    },
    /// Write an image as an OCI archive
    Export {
        /// Its name
        #[arg(value_name = "IMAGE")]
        image: Reference,
        /// Where to; - for standard output
        #[arg(long, short, value_name = "FILE|-")]
        output: PathBuf,
    },
    /// Remove what no name leads to, and what unfinished pulls left
    Clean {
        /// Remove every image
        #[arg(long)]
        all: bool,
        /// Remove these images
        #[arg(value_name = "IMAGE", conflicts_with = "all")]
        images: Vec<Reference>,
    },
}

impl CacheCommand {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let cache = Arc::new(Cache::new(self.cache.path()?));
        match &self.action {
            Action::Ls => list(&cache),
            Action::Import { place } => import(&cache, place, global),
            Action::Export { image, output } => export(&cache, image, output, global),
            Action::Clean { all, images } => clean(&cache, *all, images, global),
        }
    }
}

fn list(cache: &Cache) -> Result<()> {
    let mut text = String::new();
    for descriptor in cache.index()? {
        let name = descriptor.name().map_or_else(|| "-".into(), |name| ShowPath(name.as_bytes()).to_string());
        let all = (cache as &dyn Store).tree(&descriptor);
        let size = all.iter().filter(|blob| cache.has(blob)).map(|blob| blob.size).sum();
        let lacks = if all.iter().all(|blob| cache.has(blob)) { "" } else { ", in part" };
        text += &format!("{name}\n  {}  {}{lacks}  {}\n", descriptor.digest, show_size(size), platforms(cache, &descriptor));
    }
    super::print(&text)
}

fn platforms(cache: &Cache, descriptor: &Descriptor) -> String {
    let store: &dyn Store = cache;
    let index = store.document(descriptor).ok().filter(|_| media_type::is_index(&descriptor.media_type));
    index.and_then(|bytes| Index::parse(&bytes).ok()).map_or_else(String::new, |index| index.platforms())
}

fn import(cache: &Cache, place: &Place, global: &Global) -> Result<()> {
    let ui = global.ui();
    let mut env = super::env(global, &std::env::temp_dir())?;
    let store = place.open(&mut env).at(|| place.to_string())?;
    let mut count = 0;
    for descriptor in store.index()? {
        let Some(name) = descriptor.name() else {
            ui.warn(&format!("{place}: image {} has no name and is left out", descriptor.digest));
            continue;
        };
        let reference: Reference = name.parse().at(|| place.to_string())?;
        for blob in store.tree(&descriptor).iter().filter(|blob| !cache.has(blob)) {
            if let Some(body) = store.open(&blob.digest)? {
                cache.copy(&blob.digest, &body).at(|| format!("{place}: blob {}", blob.digest))?;
            }
        }
        cache.list(&descriptor, &reference.to_string())?;
        ui.note(format_args!("{:>8}: {reference}", "imported"));
        count += 1;
    }
    match count {
        0 => Err(Error::bad_input("it has no image with a name").hint("`docker save NAME` and `skopeo copy … oci:DIR:NAME` keep the name"))
            .at(|| place.to_string()),
        _ => Ok(()),
    }
}

fn export(cache: &Cache, image: &Reference, output: &Path, global: &Global) -> Result<()> {
    let (ui, summary) = (global.ui(), Summary::start());
    let name = image.to_string();
    let lost = || Error::bad_input(format!("image {name} is not in {}", cache.name())).hint("`moby cache ls` lists what is");
    let descriptor = cache.named(&name)?.ok_or_else(lost)?;
    let archive = archive_of(cache, &descriptor, &name, (cache as &dyn Store).tree(&descriptor))?;
    let target = if output.as_os_str() == "-" { Target::Stdout } else { Target::Path(output.to_owned()) };
    let files = [(target, archive.into())];
    let step = ui.step("write");
    let lens = emit::emit(&files, Manner::default(), &*step)?;
    drop(step);
    summary.tell(&ui, files.iter().map(|(target, _)| target).zip(lens));
    Ok(())
}

fn clean(cache: &Cache, all: bool, images: &[Reference], global: &Global) -> Result<()> {
    for image in images {
        let name = image.to_string();
        if cache.named(&name)?.is_none() {
            return Err(Error::bad_input(format!("image {name} is not in {}", cache.name())).hint("`moby cache ls` lists what is"));
        }
    }
    let names: Vec<_> = images.iter().map(Reference::to_string).collect();
    if all || !names.is_empty() {
        cache.forget(|name| all || name.is_some_and(|name| names.iter().any(|other| other == name)))?;
    }
    let freed = cache.prune(|| {
        let needed: HashSet<_> =
            cache.index()?.iter().flat_map(|descriptor| (cache as &dyn Store).tree(descriptor)).map(|blob| blob.digest).collect();
        Ok(needed)
    })?;
    global.ui().note(format_args!("{:>8}: {}", "freed", show_size(freed)));
    Ok(())
}
