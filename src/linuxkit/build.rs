//! A configuration and its images become the tagged tar.
//!
//! | part | where | location |
//! |---|---|---|
//! | `kernel` | `boot/`, and its modules at the root | `kernel` |
//! | `init` | the root | `init[N]` |
//! | `volumes` | `containers/volumes/NAME` | `volume[N]` |
//! | `onboot`, `onshutdown` | `containers/SECTION/NNN-NAME` | `SECTION[N]` |
//! | `services` | `containers/services/NAME` | `services[N]` |
//! | `files` | as they say | `files[N]` |
//! | what the images say of their packages | `sbom.spdx.json` | |

use super::{
    bundle::{Container, Roots},
    config::{Config, Image, ImageConfig, Reference},
    files::{self, Sources},
    filesystem::{self, Resolver},
    kernel,
    sbom::{self, Sbom},
    spec::Ids,
    tagged::{T0, Tag, Tagged},
    volumes,
};
use crate::{
    error::{At, Error, Result},
    images::Pulled,
};
use formats::{
    Blob, Spool,
    tar::{typeflag, verbatim::Entry},
    tree::ShowPath,
};
use std::collections::{BTreeMap, HashMap};

/// The label that says how an image wants to be run.
const LABEL: &str = "org.mobyproject.config";
/// Where Alpine keeps what is installed; those of all init images are joined.
const APK: &[u8] = b"lib/apk/db/installed";
/// Most bytes of one of them.
const APK_MAX: u64 = 64 << 20;
/// The first number of a container, for users and groups by name.
const FIRST_ID: u32 = 100;

/// How the tar is to be.
#[derive(Debug)]
pub(crate) struct Wishes {
    /// Unpack the kernel.
    pub(crate) decompress_kernel: bool,
    /// Where the list of packages goes, if it is wanted.
    pub(crate) sbom: Option<String>,
}

/// What a build works with.
pub(crate) struct Parts<'a> {
    /// Every image of the configuration, by its reference.
    pub(crate) images: &'a HashMap<String, Pulled>,
    /// The files that it names.
    pub(crate) sources: &'a dyn Sources,
    /// Where the headers of the tar go.
    pub(crate) headers: Spool,
    /// Where an unpacked kernel goes.
    pub(crate) spool: &'a mut Spool,
    /// Is told what the user should know.
    pub(crate) warn: &'a dyn Fn(String),
}

/// Every image that a configuration names, once, and whether it is taken as it is stored.
pub(crate) fn references(config: &Config) -> Vec<(&Reference, bool)> {
    let containers = [&config.onboot, &config.onshutdown, &config.services].into_iter().flatten().map(|image| (&image.image, false));
    let is_layout = |format: &Option<super::config::Text>| format.as_ref().is_some_and(|format| format.value == "oci");
    let volumes = config.volumes.iter().filter_map(|volume| Some((volume.image.as_ref()?, is_layout(&volume.format))));
    let first = config.kernel.image.iter().chain(&config.init).map(|image| (image, false));
    let mut all: Vec<(&Reference, bool)> = Vec::new();
    for (image, layout) in first.chain(volumes).chain(containers) {
        if !all.iter().any(|(other, other_layout)| other.expanded == image.expanded && *other_layout == layout) {
            all.push((image, layout));
        }
    }
    all
}

/// The tagged tar.
///
/// # Errors
/// When the configuration asks for what cannot be, or an image is damaged; the error says where it was written, or names image, layer
/// and entry.
pub(crate) fn tar(config: &Config, wishes: &Wishes, parts: Parts<'_>) -> Result<Blob> {
    let Parts { images, sources, headers, spool, warn } = parts;
    let mut build = Build { images, warn, to: Tagged::new(headers), sbom: wishes.sbom.as_ref().map(|_| Sbom::default()) };
    if let Some(reference) = &config.kernel.image {
        let image = build.image(reference)?;
        let unpack = wishes.decompress_kernel.then_some(spool);
        let tag = Tag::new(&reference.expanded, "kernel");
        kernel::put(&mut build.to, &config.kernel, &image.tars, &tag, unpack).at(|| place(reference))?;
        build.packages("", image)?;
    }
    build.init(&config.init)?;
    for (nth, volume) in config.volumes.iter().enumerate() {
        let image = volume.image.as_ref().map(|reference| build.image(reference)).transpose()?;
        let shown = volumes::put(&mut build.to, nth, volume, image);
        build.tell(volume.image.as_ref(), shown)?;
        if let Some(image) = image.filter(|_| volume.format.as_ref().is_none_or(|format| format.value != "oci")) {
            build.packages(&format!("containers/volumes/{}/lower/", volume.name.value), image)?;
        }
    }
    build.containers(config)?;
    files::put(&mut build.to, config, &ids(config), sources)?;
    if let (Some(path), Some(sbom)) = (&wishes.sbom, build.sbom.take()) {
        build.plain(path, sbom.document())?;
    }
    build.to.finish()
}

/// Containers have numbers, which users and groups may be named after; of two with one name the last counts.
fn ids(config: &Config) -> Ids {
    let containers = config.onboot.iter().chain(&config.onshutdown).chain(&config.services);
    containers.zip(FIRST_ID..).map(|(image, id)| (image.name.value.clone(), id)).collect::<BTreeMap<_, _>>()
}

fn place(reference: &Reference) -> String {
    format!("{}: image {}", reference.written.at, ShowPath(reference.expanded.as_bytes()))
}

/// The tar in the making.
struct Build<'a> {
    images: &'a HashMap<String, Pulled>,
    warn: &'a dyn Fn(String),
    to: Tagged,
    sbom: Option<Sbom>,
}

impl<'a> Build<'a> {
    fn image(&self, reference: &Reference) -> Result<&'a Pulled> {
        let missing = || Error::new(crate::error::Kind::Bug, format!("image {} was not fetched", reference.expanded));
        self.images.get(&reference.expanded).ok_or_else(missing)
    }

    /// Warns of what shows although OCI's rules hide it.
    fn tell(&self, reference: Option<&Reference>, shown: Result<Option<String>>) -> Result<()> {
        let Some(reference) = reference else { return shown.map(drop) };
        if let Some(path) = shown.at(|| place(reference))? {
            let place = place(reference);
            (self.warn)(format!("{place}: {path} shows, which an opaque whiteout hides by OCI's rules; --layers oci follows them"));
        }
        Ok(())
    }

    fn packages(&mut self, prefix: &str, image: &Pulled) -> Result<()> {
        self.sbom.as_mut().map_or(Ok(()), |sbom| sbom::add(sbom, prefix, image))
    }

    fn init(&mut self, init: &[Reference]) -> Result<()> {
        let mut installed = Vec::new();
        for (nth, reference) in init.iter().enumerate() {
            let image = self.image(reference)?;
            let tag = Tag::new(&reference.expanded, format!("init[{nth}]"));
            let to = &mut self.to;
            let shown = filesystem::each(&image.tars, &tag, "", Resolver::Link, |entry, body| {
                if entry.path == APK {
                    installed.push(body.to_vec(APK_MAX).at(|| format!("entry {}", ShowPath(APK)))?);
                }
                to.add(&entry, &body)
            });
            self.tell(Some(reference), shown)?;
            self.packages("", image)?;
        }
        if installed.len() > 1 {
            let mut entry = Entry::new(typeflag::FILE, APK, 0o644);
            Tag::new("LINUXKIT.apkinit", "init").mark(&mut entry);
            let all: Vec<u8> = installed.into_iter().flat_map(|database| [database, b"\n\n".to_vec()].concat()).collect();
            self.to.add(&entry, &Blob::bytes(all))?;
        }
        Ok(())
    }

    fn containers(&mut self, config: &Config) -> Result<()> {
        let (ids, mut roots) = (ids(config), Roots::new());
        for (section, images) in [("onboot", &config.onboot), ("onshutdown", &config.onshutdown), ("services", &config.services)] {
            for (nth, image) in images.iter().enumerate() {
                let number = if section == "services" { String::new() } else { format!("{nth:03}-") };
                let path = format!("containers/{section}/{number}{}", image.name.value);
                let tag = Tag::new(&image.image.expanded, format!("{section}[{nth}]"));
                self.container(config, image, path, tag, &ids, &mut roots)?;
            }
        }
        Ok(())
    }

    fn container(&mut self, config: &Config, image: &Image, path: String, tag: Tag, ids: &Ids, roots: &mut Roots) -> Result<()> {
        let pulled = self.image(&image.image)?;
        let label = pulled.config.label(LABEL).filter(|label| !label.is_empty());
        let what = format!("label {LABEL} of {}", ShowPath(image.image.expanded.as_bytes()));
        let (label, warnings) = match label {
            Some(label) => ImageConfig::parse(&what, label).at(|| place(&image.image))?,
            None => <_>::default(),
        };
        warnings.into_iter().for_each(self.warn);
        if !pulled.config.execution.user.is_empty() && image.config.uid.is_none() && label.uid.is_none() {
            let user = ShowPath(pulled.config.execution.user.as_bytes());
            (self.warn)(format!(
                "{}: the image wants to run as user {user}, LinuxKit runs it as root: say uid: and gid:",
                place(&image.image)
            ));
        }
        let is_new = !roots.contains_key(&tag.source);
        let execution = &pulled.config.execution;
        let container = Container { image, label: &label, execution, layers: &pulled.tars, path, tag };
        let shown = container.put(&mut self.to, config, ids, roots);
        self.tell(Some(&image.image), shown)?;
        match roots.get(&container.tag.source).filter(|_| is_new) {
            Some(root) => self.packages(&format!("{root}/"), pulled),
            None => Ok(()),
        }
    }

    /// A file without marks.
    fn plain(&mut self, path: &str, text: String) -> Result<()> {
        let entry = Entry { mtime: T0, ..Entry::new(typeflag::FILE, path, 0o644) };
        self.to.add(&entry, &Blob::bytes(text.into_bytes()))
    }
}
