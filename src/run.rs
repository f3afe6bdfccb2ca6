//! `Run`: what one conversion makes out of one source. Everything that outputs share is made once, and what one output asks for never
//! changes what another gets.

use crate::{
    bootable::{self, Doubt, Start},
    error::{Error, Kind, Result},
    image::{self, Image, Init, content_size},
    layout::{self, Entry, Firmware, Fitted, Given, Layout, Part, Sectors},
    names::Named,
    payload::Payload,
    request::{InitrdCompression, Request},
    root::{self, Placed, ROOT_FILE_SYSTEMS, Root, RootFs, RootImage},
    unified,
};
use formats::{
    Blob, Env, Identity, Ids, Limits, Options, Plan, Silent,
    compress::Codec,
    cpio, guid,
    kernel::{Facts, Kernel},
    units::{MIB, SECTOR},
    verity::OnDamage,
    zeros,
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// What a run starts from.
#[derive(Clone, Debug)]
pub enum Source {
    /// What is booted, wherever it came from.
    Image(Arc<Image>),
    /// The tagged tar that a build made, which outputs take as it is, with the image in it where an output needs that.
    Tagged(Option<Arc<Image>>, Blob),
    /// A disk, out of its container.
    Disk(Given),
}

impl Source {
    /// Whether outputs of it may hold zeros as data, which whoever writes them is to look for.
    pub fn has_zeros(&self) -> bool {
        matches!(self, Self::Disk(given) if given.seen.is_some())
    }

    fn image(&self) -> Result<&Arc<Image>> {
        match self {
            Self::Image(image) | Self::Tagged(Some(image), _) => Ok(image),
            Self::Tagged(None, _) => Err(Error::new(Kind::Bug, "an output needs the image that it said it does not need")),
            Self::Disk(_) => Err(Error::unsupported("the input is a disk, this output needs a tagged tar")),
        }
    }
}

/// A disk, and whose identifiers its container gets.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) blob: Blob,
    identity: Identity,
    sectors: Sectors,
    /// See [`Given::seen`].
    seen: Option<Blob>,
}

impl Disk {
    /// The identifiers of what holds it.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub(crate) fn ids(&self, env: &Env) -> Result<&Ids> {
        self.identity.ids(env)
    }

    /// The file that holds the disk.
    ///
    /// # Errors
    /// When the disk is partitioned for other sectors than the container can speak of; when it cannot be read or spooled.
    pub(crate) fn encode(&self, plan: &dyn Plan, env: &mut Env) -> Result<Blob> {
        self.encoded(&self.looked_at(Some(zeros::UNIT), env)?, plan, env)
    }

    /// The same and the files that it names, for somebody who looks for zeros when he writes them: before that, only for those that decide
    /// over more than themselves.
    ///
    /// # Errors
    /// As [`Disk::encode`].
    pub(crate) fn files(&self, plan: &dyn Plan, env: &mut Env) -> Result<(Blob, Vec<(String, Blob)>)> {
        let disk = self.looked_at(plan.unit(), env)?;
        Ok((self.encoded(&disk, plan, env)?, plan.extents(&disk)))
    }

    /// The disk without units of zeros, where it may have any.
    fn looked_at(&self, unit: Option<u64>, env: &Env) -> Result<Blob> {
        match (&self.seen, unit) {
            (Some(seen), Some(unit)) => Ok(zeros::drop_units(&self.blob, seen, unit, env)?),
            _ => Ok(self.blob.clone()),
        }
    }

    fn encoded(&self, disk: &Blob, plan: &dyn Plan, env: &mut Env) -> Result<Blob> {
        let Sectors { size, are_counted } = self.sectors;
        let other = if size == SECTOR { None } else { plan.with_sectors(size) };
        match other {
            None if are_counted => Err(layout::not_had(size)),
            other => other.as_deref().unwrap_or(plan).encode(disk, &self.identity, env),
        }
    }

    /// Bytes of its sectors, where it is not the same disk with the usual ones.
    pub(crate) fn large_sectors(&self) -> Option<u64> {
        self.sectors.are_counted.then_some(self.sectors.size)
    }
}

/// One run: a source on its way to artifacts.
#[derive(Debug)]
pub(crate) struct Run {
    source: Source,
    request: Request,
    /// For the outputs' own work.
    pub(crate) env: Env,
    init: Option<Option<Arc<Init>>>,
    facts: Option<Arc<Result<Facts>>>,
    payload: Option<Arc<Payload>>,
    roots: Vec<((&'static str, Options), RootImage)>,
    entries: Vec<(&'static str, Entry, Ids)>,
    parts: Option<Vec<Part>>,
    disks: Vec<((Firmware, Limits), Disk)>,
    warnings: Vec<String>,
}

impl Run {
    /// A run over a source.
    pub(crate) fn new(source: Source, request: Request, env: Env) -> Self {
        Self {
            source,
            request,
            env,
            init: None,
            facts: None,
            payload: None,
            roots: Vec::new(),
            entries: Vec::new(),
            parts: None,
            disks: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// What the user asked for.
    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    /// What is booted, as it was given.
    ///
    /// # Errors
    /// When the input is a disk.
    pub(crate) fn image(&self) -> Result<Arc<Image>> {
        self.source.image().cloned()
    }

    /// The tagged tar: the one that was built, or one that makes the same image.
    ///
    /// # Errors
    /// When the input is a disk, or a tar cannot hold a file.
    pub(crate) fn tagged(&self) -> Result<Blob> {
        match &self.source {
            Source::Tagged(_, tar) => Ok(tar.clone()),
            source => image::tar::write(source.image()?),
        }
    }

    /// The tagged tar that was built, where one was.
    pub(crate) fn built(&self) -> Option<&Blob> {
        match &self.source {
            Source::Tagged(_, tar) => Some(tar),
            _ => None,
        }
    }

    /// The disk for a firmware and a container's limits.
    ///
    /// # Errors
    /// When the source does not make such a disk, or it cannot be read or spooled.
    pub(crate) fn disk(&mut self, firmware: Firmware, limits: Limits) -> Result<Disk> {
        let limits = self.request.platform.map_or(limits, |platform| limits.and(Limits::multiple_of(platform.size_multiple)));
        if let Some((_, disk)) = self.disks.iter().find(|(key, _)| *key == (firmware, limits)) {
            return Ok(disk.clone());
        }
        let disk = match self.source.clone() {
            Source::Disk(given) => {
                let Fitted { disk, sectors, notices } = given.fit(self.request.size, self.request.sector_size, limits)?;
                self.warn(notices);
                Disk { blob: disk, identity: self.identity_of(&given.disk), sectors, seen: given.seen }
            }
            Source::Image(_) | Source::Tagged(..) => {
                let place = self.place()?;
                let (entry, ids) = self.entry(place)?;
                self.doubt_stub(firmware, &entry);
                let sector_size = self.request.sector_size.unwrap_or_default();
                let parts = self.parts(&ids)?;
                let layout = Layout { firmware, size: self.request.size, sector_size, parts };
                let blob = layout.disk(&entry, limits, &ids, self.env.time)?;
                Disk { blob, identity: ids.into(), sectors: Sectors::counted(sector_size), seen: None }
            }
        };
        self.disks.push(((firmware, limits), disk.clone()));
        Ok(disk)
    }

    /// Kernel, initrd and command line, made when first asked for.
    ///
    /// # Errors
    /// When the initrd cannot be made.
    pub(crate) fn payload(&mut self) -> Result<Arc<Payload>> {
        if let Some(payload) = &self.payload {
            return Ok(Arc::clone(payload));
        }
        let payload = self.build(&*self.image()?)?;
        self.doubt(Start::Initramfs)?;
        Ok(Arc::clone(self.payload.insert(Arc::new(payload))))
    }

    fn build(&mut self, image: &Image) -> Result<Payload> {
        let compression = self.request.compression;
        let facts = if compression == InitrdCompression::Fixed(Codec::None) { None } else { Some(self.facts()?) };
        Payload::build(image, compression, self.request.level, facts.as_deref(), &mut self.env)
    }

    /// The kernel as a file of its own: as it was given, or unpacked where the user wants that.
    ///
    /// # Errors
    /// When the input is a disk, the kernel cannot be unpacked, or the spool cannot be written.
    pub(crate) fn kernel_file(&mut self) -> Result<Blob> {
        let kernel = &self.source.image()?.kernel;
        if self.request.decompress_kernel { Kernel::identify(kernel)?.unpack(&mut self.env.spool) } else { Ok(kernel.clone()) }
    }

    /// The root file system as an image that a kernel mounts by itself, made when first asked for.
    ///
    /// # Errors
    /// When nobody would start its process, the file system cannot hold a file, or reading or spooling fails.
    pub(crate) fn root(&mut self, root: &'static RootFs, options: &Options) -> Result<Blob> {
        self.refuse_init()?;
        self.mounted(root, options)
    }

    /// Refuses an image whose process is started out of an initrd, for an output that has none.
    ///
    /// # Errors
    /// Says what to make instead.
    pub(crate) fn refuse_init(&mut self) -> Result<()> {
        match self.init()? {
            None => Ok(()),
            Some(_) => Err(Error::unsupported("the image's process is started out of an initrd, and here is none")
                .hint("make a disk with --root squashfs, or kernel+initrd; or start the image's own init: --init none")),
        }
    }

    /// The same, whoever mounts it.
    fn mounted(&mut self, root: &'static RootFs, options: &Options) -> Result<Blob> {
        if let Some((_, made)) = self.roots.iter().find(|((name, with), _)| *name == root.name && with == options) {
            return Ok(made.image.clone());
        }
        let (image, init, mut facts) = (self.image()?, self.init()?, self.facts()?);
        let tree = init.as_ref().map_or(&image.rootfs, |init| &init.own);
        let ids = self.ids_of(&tree.fingerprint());
        let made = match init.as_ref().filter(|init| init.has_module(root.name)) {
            Some(init) => {
                let squashfs_codecs = init.squashfs_codecs()?;
                facts = Arc::new(Ok(Facts { squashfs_codecs, ..(*facts).as_ref().map_or_else(|_| Facts::default(), Facts::clone) }));
                root.write(tree, options, &facts, &ids, &mut self.env)?
            }
            None => root.make(tree, options, &facts, &ids, &mut self.env)?,
        };
        if self.request.verity && !init.as_ref().is_some_and(|init| init.has_module("dm-verity")) {
            self.warn(root::verity_warning(&facts).into_iter().collect());
        }
        let blob = made.image.clone();
        if init.is_none() {
            self.doubt(Start::Mounted)?;
        }
        self.roots.push(((root.name, options.clone()), made));
        Ok(blob)
    }

    /// What the loaders are to boot with this root, signed where the user wants that, and the identifiers of what it stands on.
    ///
    /// # Errors
    /// When a part of it cannot be made or signed.
    pub(crate) fn entry(&mut self, root: Root) -> Result<(Entry, Ids)> {
        if let Some((_, entry, ids)) = self.entries.iter().find(|(name, ..)| *name == root.name()) {
            return Ok((entry.clone(), ids.clone()));
        }
        let (mut entry, ids) = match root {
            Root::Auto | Root::Initrd => {
                let payload = self.payload()?;
                (payload.entry()?, self.ids_of(payload.digest()))
            }
            Root::Partition(root) => self.rooted(root)?,
        };
        let secure_boot = &self.request.secure_boot;
        if secure_boot.signing.is_some() {
            let uki = unified::unite(&entry, self.source.image()?, secure_boot)?;
            entry.signed = Some(secure_boot.signed(uki, entry.efi));
        }
        self.entries.push((root.name(), entry.clone(), ids.clone()));
        Ok((entry, ids))
    }

    /// The same when the root is in a partition: the kernel mounts it by what the command line says, or process 1 of ours, which is all
    /// that is unpacked into memory then, by what it is told.
    fn rooted(&mut self, root: &'static RootFs) -> Result<(Entry, Ids)> {
        let (image, init) = (self.image()?, self.init()?);
        let options = self.request.options_of(root.options, &[])?;
        let blob = self.mounted(root, &options)?;
        let mut payload = Payload::without_rootfs(&image, &guid::digest(&blob, &self.env)?, &mut self.env)?;
        let mut digest = Sha256::new_with_prefix(payload.digest());
        if let Some(init) = &init {
            digest.update(cpio::archive(&init.alone(None)?)?.sha256()?);
        }
        let ids = if init.is_some() { self.ids_of(&digest.finalize()) } else { self.ids_of(payload.digest()) };
        let arch = Kernel::identify(&payload.kernel)?.arch;
        // Whoever signs says that nothing else runs: what is damaged stops, for programs would go on without what they cannot read.
        let on_damage = if self.request.secure_boot.signing.is_some() { OnDamage::Panic } else { OnDamage::Error };
        let verified = self.request.verity.then_some(on_damage);
        let Placed { parts, device, arguments } = root::partitions(root, &blob, verified, arch, &payload.cmdline, &ids, &mut self.env)?;
        match &init {
            Some(init) => {
                let alone = Image { rootfs: init.alone(Some(&device))?, ..Image::clone(&image) };
                payload = self.build(&alone)?;
            }
            None => payload.cmdline.append(&arguments)?,
        }
        Ok((Entry { root: parts, ..payload.entry()? }, ids))
    }

    /// Where the root file system of disks is: where the user says, else where it takes no memory that is worth a word.
    fn place(&mut self) -> Result<Root> {
        /// More content than this is not unpacked into memory unasked.
        const UNPACKED_MAX: u64 = 64 * MIB;
        let (Root::Auto, Some(init)) = (self.request.root, self.init()?) else { return Ok(self.request.root) };
        let is_large = content_size(&init.own) > UNPACKED_MAX;
        // A signature does not cover what is in a partition.
        if !is_large || self.request.secure_boot.signing.is_some() {
            return Ok(Root::Initrd);
        }
        let facts = self.facts()?;
        let has = |root: &&&RootFs| init.has_module(root.name) || (root.is_built_in)(&facts);
        Ok(ROOT_FILE_SYSTEMS.iter().find(has).map_or(Root::Initrd, |root| Root::Partition(root)))
    }

    /// Process 1 of ours, where the image has it.
    fn init(&mut self) -> Result<Option<Arc<Init>>> {
        if let Some(init) = &self.init {
            return Ok(init.clone());
        }
        let init = Init::of(&self.source.image()?.rootfs)?.map(Arc::new);
        Ok(self.init.insert(init).clone())
    }

    /// What the kernel says of itself: to ask it means to unpack it.
    fn facts(&mut self) -> Result<Arc<Result<Facts>>> {
        if let Some(facts) = &self.facts {
            return Ok(Arc::clone(facts));
        }
        let facts = Kernel::identify(&self.source.image()?.kernel)?.facts();
        Ok(Arc::clone(self.facts.insert(Arc::new(facts))))
    }

    /// The user's partitions, made when first asked for: those that are filled, then the empty ones, which may grow at the end.
    fn parts(&mut self, ids: &Ids) -> Result<Vec<Part>> {
        if let Some(parts) = &self.parts {
            return Ok(parts.clone());
        }
        let filled: Vec<_> = self.request.filled().cloned().collect();
        let has_file_system = filled.iter().any(|part| part.root().is_some());
        let facts = if has_file_system { self.facts()? } else { Arc::new(Ok(Facts::default())) };
        let sector = self.request.sector_size.unwrap_or_default().bytes();
        let mut parts = Vec::new();
        for filled in filled {
            let options = self.request.options_of(filled.options(), &[])?;
            let (part, warnings) = filled.make(sector, &options, &facts, ids, &mut self.env)?;
            self.warn(warnings);
            parts.push(part);
        }
        parts.extend(self.request.data_parts.iter().cloned());
        self.parts = Some(parts.clone());
        Ok(parts)
    }

    /// The user's identifiers, else those of a content.
    pub(crate) fn ids_of(&self, digest: &[u8]) -> Ids {
        Ids::from_seed(self.request.seed.as_ref().map_or(digest, |seed| seed.as_bytes()))
    }

    /// The same for a content that is read only where somebody asks.
    fn identity_of(&self, content: &Blob) -> Identity {
        match &self.request.seed {
            Some(seed) => Ids::from_seed(seed.as_bytes()).into(),
            None => Identity::of_content(content),
        }
    }

    /// Notes what the user should know, once.
    pub(crate) fn warn(&mut self, warnings: Vec<String>) {
        for warning in warnings {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }

    /// Warns of what may keep the image from booting, whose root file system comes in this way.
    ///
    /// # Errors
    /// When the input is a disk, or a file cannot be read.
    pub(crate) fn doubt(&mut self, start: Start) -> Result<()> {
        let doubts = bootable::doubts(self.source.image()?, start)?;
        self.warn(doubts.iter().map(Doubt::sentence).collect());
        Ok(())
    }

    /// Warns where one of two firmwares would not start it.
    pub(crate) fn doubt_stub(&mut self, firmware: Firmware, entry: &Entry) {
        if firmware == Firmware::Hybrid {
            self.warn(bootable::without_stub(entry.has_efi_stub).iter().map(|doubt| format!("on UEFI {}", doubt.sentence())).collect());
        }
    }

    /// What the user should know.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let of_roots = self.roots.iter().flat_map(|(_, made)| made.warnings.clone());
        self.payload.iter().flat_map(|payload| payload.warnings()).chain(of_roots).chain(self.warnings.iter().cloned()).collect()
    }

    /// Tells nobody about progress any more.
    pub(crate) fn silence(&mut self) {
        self.env.progress = Arc::new(Silent);
    }
}
