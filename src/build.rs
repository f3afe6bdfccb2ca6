//! `Build`: what one run makes out of one source. Everything that outputs share is made once.

mod iso;
mod sd_card;
mod uki;

use crate::{
    error::{At, Error, Result},
    image::{Cmdline, Image},
    layout::{Boot, DataPart, Entry, Layout, Size},
    loaders::Arch,
    outputs::{self, Output, Recipe},
    payload::{InitrdCompression, Payload},
    platforms::Platform,
    root::{self, Root, RootFs, RootImage},
};
use formats::{
    Blob, Env, Format, Identity, Ids, Limits, Options, Silent, Timestamp, Tree,
    compress::Encoding,
    fat::File,
    guid,
    kernel::{Form, Kernel},
    tree::{Content, Inode},
    units,
};
use std::{fmt, sync::Arc};

pub use iso::OPTIONS as ISO_OPTIONS;

/// What the user asked for, apart from the outputs.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which firmware the disk is for, where the output leaves it open.
    pub boot: Boot,
    /// Size of the disk.
    pub size: Size,
    /// Empty partitions.
    pub data_parts: Vec<DataPart>,
    /// Compression of the initrd.
    pub compression: InitrdCompression,
    /// Its level; the codec's own when absent.
    pub level: Option<u32>,
    /// Where identifiers come from; the content when absent.
    pub seed: Option<String>,
    /// Where the root file system of disks is.
    pub root: Root,
    /// Whether the kernel is to verify it.
    pub verity: bool,
    /// Options of the outputs: `--opt`.
    pub options: Vec<(String, String)>,
    /// The platform that the outputs are for.
    pub platform: Option<&'static Platform>,
    /// Whether kernels that are files of their own are unpacked.
    pub decompress_kernel: bool,
    /// A Raspberry Pi's firmware: the files of its boot directory.
    pub firmware: Vec<File>,
}

/// What a user can ask for that not every output heeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Which firmware boots it.
    Boot,
    /// Size of the disk.
    Size,
    /// Empty partitions.
    DataPart,
    /// Where the root file system is.
    Root,
    /// Whether the kernel is unpacked.
    DecompressKernel,
    /// A Raspberry Pi's firmware.
    Firmware,
}

/// As users spell it.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boot => "--boot",
            Self::Size => "--size",
            Self::DataPart => "--data-part",
            Self::Root => "--root",
            Self::DecompressKernel => "--decompress-kernel",
            Self::Firmware => "--firmware",
        })
    }
}

impl Request {
    /// Refuses what cannot be met before any work is done.
    ///
    /// # Errors
    /// When an option belongs to none of the outputs or has a wrong value, or an output and `--boot` contradict each other.
    pub fn checked(self, outputs: &[&Output]) -> Result<Self> {
        for (key, _) in &self.options {
            let of_outputs = || outputs.iter().flat_map(|output| output.recipe.option_specs());
            let known = || of_outputs().chain(self.root.option_specs()).map(|spec| spec.name);
            if !known().any(|name| name == key) {
                let names: Vec<_> = outputs.iter().map(|o| o.name).collect();
                let known: Vec<_> = known().collect();
                return Err(Error::unsupported(format!("option {key} is unknown to {}", names.join(", "))).hint(match known.as_slice() {
                    [] => "there are no options for it".to_owned(),
                    known => format!("known options: {}", known.join(", ")),
                }));
            }
        }
        for setting in self.settings() {
            if !outputs.iter().any(|output| output.recipe.settings().contains(&setting)) {
                let names: Vec<_> = outputs.iter().map(|o| o.name).collect();
                return Err(Error::unsupported(format!("{setting} has no effect on {}", names.join(", "))).hint("leave it out"));
            }
        }
        if self.verity && matches!(self.root, Root::Initrd) {
            return Err(Error::unsupported("--verity is for a root in a partition").hint("say which, with --root squashfs"));
        }
        self.root_options()?;
        for output in outputs {
            let boot = output.recipe.disk().map(|disk| disk.boot(self.boot)).transpose();
            boot.and_then(|_| self.options_of(output)).at(|| format!("format {}", output.name))?;
        }
        Ok(self)
    }

    /// What was asked for of that which not every output heeds.
    fn settings(&self) -> impl Iterator<Item = Setting> {
        let given = [
            (Setting::Boot, self.boot != Boot::Hybrid),
            (Setting::Size, self.size != Size::Auto),
            (Setting::DataPart, !self.data_parts.is_empty()),
            (Setting::Root, matches!(self.root, Root::Partition(_))),
            (Setting::DecompressKernel, self.decompress_kernel),
            (Setting::Firmware, !self.firmware.is_empty()),
        ];
        given.into_iter().filter_map(|(setting, is_given)| is_given.then_some(setting))
    }

    /// The platform's options, then the user's, as far as the output has them.
    fn options_of(&self, output: &Output) -> Result<Options> {
        let own = self.platform.map_or(&[][..], |platform| platform.options);
        let own = own.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        output.recipe.options(&own.chain(self.options.iter().cloned()).collect::<Vec<_>>())
    }

    /// The size rule of the platform.
    fn limits(&self) -> Limits {
        self.platform.map_or_else(Limits::default, |platform| Limits::multiple_of(platform.size_multiple))
    }

    /// The options of the root file system.
    fn root_options(&self) -> Result<Options> {
        Options::parse_known(self.root.option_specs(), self.options.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

impl outputs::Disk {
    /// The firmware: the row's, or the user's where the row leaves it open.
    fn boot(&self, users: Boot) -> Result<Boot> {
        self.boot.and(users)
    }
}

/// What a run starts from.
#[derive(Debug)]
pub enum Source {
    /// A tagged tar.
    Image(Box<Image>),
    /// A disk, whatever container it came in.
    Disk(Blob),
}

impl Source {
    /// The tagged tar.
    ///
    /// # Errors
    /// When it is a disk.
    pub fn image(&self) -> Result<&Image> {
        match self {
            Self::Image(image) => Ok(image),
            Self::Disk(_) => Err(Error::unsupported("the input is a disk, this output needs a tagged tar")),
        }
    }

    /// Bytes of content, for progress.
    pub fn size(&self) -> u64 {
        match self {
            Self::Image(image) => image.kernel.len() + content_size(&image.rootfs),
            Self::Disk(disk) => disk.data_len(),
        }
    }
}

/// A disk, and whose identifiers its container gets.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    blob: Blob,
    identity: Identity,
}

/// One run: a source on its way to artifacts.
#[derive(Debug)]
pub struct Build {
    source: Source,
    request: Request,
    env: Env,
    payload: Option<Payload>,
    roots: Vec<((&'static str, Options), RootImage)>,
    disks: Vec<((Boot, Limits), Disk)>,
    warnings: Vec<String>,
}

impl Build {
    /// A run over a source.
    pub fn new(source: Source, request: Request, env: Env) -> Self {
        Self { source, request, env, payload: None, roots: Vec::new(), disks: Vec::new(), warnings: Vec::new() }
    }

    /// The files of one output, in the order of its row.
    ///
    /// # Errors
    /// When the image cannot become this output, or reading or spooling fails.
    pub fn make(&mut self, output: &Output) -> Result<Vec<Blob>> {
        let options = self.request.options_of(output)?;
        match &output.recipe {
            Recipe::Files(files) => (files.make)(self, &options),
            Recipe::Disk(recipe) => {
                let boot = recipe.boot(self.request.boot)?;
                let (_, file) = self.contain(boot, recipe.format(), &options, Limits::multiple_of(recipe.size_multiple))?;
                Ok(vec![file])
            }
        }
    }

    /// The disk that the user asked for, of a size that is a multiple of so many bytes.
    ///
    /// # Errors
    /// When the image does not make such a disk.
    pub fn disk_of_multiple(&mut self, size_multiple: u64) -> Result<Blob> {
        Ok(self.disk(self.request.boot, Limits::multiple_of(size_multiple))?.blob)
    }

    /// A disk for a firmware, within a size rule and the container's own, and the container's file of it.
    ///
    /// # Errors
    /// When the image does not make such a disk, or it cannot be read or spooled.
    pub fn contain(&mut self, boot: Boot, container: &dyn Format, options: &Options, limits: Limits) -> Result<(Blob, Blob)> {
        let plan = container.plan(options)?;
        let disk = self.disk(boot, plan.limits().and(limits))?;
        let file = plan.encode(&disk.blob, &disk.identity, &mut self.env)?;
        Ok((disk.blob, file))
    }

    /// The same bytes, compressed.
    ///
    /// # Errors
    /// When they cannot be read, or the spool not be written.
    pub fn compress(&mut self, blob: &Blob, encoding: Encoding) -> Result<Blob> {
        encoding.compress(blob, &mut self.env)
    }

    /// The disk for a firmware and a container's limits.
    fn disk(&mut self, boot: Boot, limits: Limits) -> Result<Disk> {
        let limits = limits.and(self.request.limits());
        if let Some((_, disk)) = self.disks.iter().find(|(key, _)| *key == (boot, limits)) {
            return Ok(disk.clone());
        }
        let disk = match (&self.source, self.request.root) {
            (Source::Disk(disk), Root::Initrd) => Disk { blob: fit(disk, limits)?, identity: self.identity_of(disk) },
            (Source::Disk(_), Root::Partition(_)) => return Err(Error::unsupported("the input is a disk, --root needs a tagged tar")),
            (Source::Image(_), root) => {
                let (entry, ids) = match root {
                    Root::Initrd => {
                        let payload = self.payload()?.clone();
                        (entry(&payload)?, self.ids_of(payload.digest()))
                    }
                    Root::Partition(root) => self.rooted(root)?,
                };
                let layout = Layout { boot, size: self.request.size, data_parts: self.request.data_parts.clone() };
                Disk { blob: layout.disk(&entry, limits, &ids, self.env.time)?, identity: ids.into() }
            }
        };
        self.disks.push(((boot, limits), disk.clone()));
        Ok(disk)
    }

    /// Kernel, initrd and command line, made when first asked for.
    ///
    /// # Errors
    /// When the initrd cannot be made.
    pub fn payload(&mut self) -> Result<&Payload> {
        if self.payload.is_none() {
            let image = self.source.image()?;
            self.payload = Some(Payload::build(image, self.request.compression, self.request.level, &mut self.env)?);
        }
        Ok(self.payload.as_ref().expect("it was just made"))
    }

    /// The kernel as a file of its own: as it was given, or unpacked where the user wants that.
    ///
    /// # Errors
    /// When the input is a disk, the kernel cannot be unpacked, or the spool cannot be written.
    pub fn kernel_file(&mut self) -> Result<Blob> {
        let kernel = &self.source.image()?.kernel;
        if self.request.decompress_kernel { Kernel::identify(kernel)?.unpack(&mut self.env.spool) } else { Ok(kernel.clone()) }
    }

    /// What is booted, as it was given.
    ///
    /// # Errors
    /// When the input is a disk.
    pub fn image(&self) -> Result<&Image> {
        self.source.image()
    }

    /// The root file system as an image, made when first asked for. Its identifiers are the same whatever else the run makes.
    ///
    /// # Errors
    /// When the file system cannot hold a file, or reading or spooling fails.
    pub fn root(&mut self, root: &'static RootFs, options: &Options) -> Result<Blob> {
        if let Some((_, made)) = self.roots.iter().find(|((name, with), _)| *name == root.name && with == options) {
            return Ok(made.image.clone());
        }
        let image = self.source.image()?;
        let facts = Kernel::identify(&image.kernel)?.facts();
        let ids = self.ids_of(&image.rootfs.fingerprint());
        let mut made = root.make(&image.rootfs, options, &facts, &ids, &mut self.env)?;
        if self.request.verity {
            made.warnings.extend(root::verity_warning(&facts));
        }
        let blob = made.image.clone();
        self.roots.push(((root.name, options.clone()), made));
        Ok(blob)
    }

    /// What the loaders are to boot when the root is in a partition.
    fn rooted(&mut self, root: &'static RootFs) -> Result<(Entry, Ids)> {
        let blob = self.root(root, &self.request.root_options()?)?;
        let mut payload = Payload::without_rootfs(self.source.image()?, &guid::digest(&blob, &self.env)?, &mut self.env)?;
        let ids = self.ids_of(payload.digest());
        let arch = Kernel::identify(&payload.kernel)?.arch;
        let (parts, arguments) = root::partitions(root, &blob, self.request.verity, arch, &payload.cmdline, &ids, &mut self.env)?;
        payload.cmdline.append(&arguments)?;
        Ok((Entry { root: parts, ..entry(&payload)? }, ids))
    }

    /// The user's identifiers, else those of a content: whatever else the run makes does not decide about them.
    fn ids_of(&self, digest: &[u8]) -> Ids {
        Ids::from_seed(self.request.seed.as_ref().map_or(digest, |seed| seed.as_bytes()))
    }

    /// The same for a content that is read only where somebody asks.
    fn identity_of(&self, content: &Blob) -> Identity {
        match &self.request.seed {
            Some(seed) => Ids::from_seed(seed.as_bytes()).into(),
            None => Identity::of_content(content),
        }
    }

    /// What the user should know.
    pub fn warnings(&self) -> Vec<String> {
        let of_roots = self.roots.iter().flat_map(|(_, made)| made.warnings.clone());
        self.payload.iter().flat_map(Payload::warnings).chain(of_roots).chain(self.warnings.iter().cloned()).collect()
    }

    /// Which firmware the user asked for.
    pub fn boot(&self) -> Boot {
        self.request.boot
    }

    /// The time for formats that demand one.
    pub fn time(&self) -> Timestamp {
        self.env.time
    }

    /// Tells nobody about progress any more.
    pub fn silence(&mut self) {
        self.env.progress = Arc::new(Silent);
    }
}

/// A disk made as large as a container demands: zeros are added behind its end.
fn fit(disk: &Blob, limits: Limits) -> Result<Blob> {
    let size = units::round_up(disk.len(), limits.size_multiple)
        .filter(|size| *size <= limits.size_max)
        .ok_or_else(|| Error::unsupported(format!("the disk has {} bytes, this format holds at most {}", disk.len(), limits.size_max)))?;
    let mut disk = disk.clone();
    disk.extend_to(size);
    Ok(disk)
}

/// Bytes of all regular files of a tree.
pub fn content_size(tree: &Tree) -> u64 {
    let size = |inode: &Inode| match &inode.content {
        Content::File(body) => body.len(),
        _ => 0,
    };
    tree.inodes.iter().map(size).sum()
}

/// What the loaders are to boot.
fn entry(payload: &Payload) -> Result<Entry> {
    entry_of(&payload.kernel, payload.initrd.clone(), &payload.cmdline)
}

/// A kernel, an initrd and a command line as a boot entry.
fn entry_of(kernel: &Blob, initrd: Option<Blob>, cmdline: &Cmdline) -> Result<Entry> {
    let identified = Kernel::identify(kernel)?;
    let cmdline_max = match identified.form {
        Form::BzImage { cmdline_max, .. } => Some(cmdline_max),
        _ => None,
    };
    Ok(Entry {
        title: "Linux".to_owned(),
        version: identified.version.as_deref().and_then(|v| v.split_whitespace().next()).map(str::to_owned),
        arch: Arch::try_from(identified.arch)?,
        kernel: kernel.clone(),
        initrd,
        cmdline: cmdline.as_str().to_owned(),
        cmdline_max,
        root: Vec::new(),
    })
}
