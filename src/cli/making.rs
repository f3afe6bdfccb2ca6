//! What commands that make artifacts share: which outputs, where they go, and what disks and initrds are to be like.

#[cfg(feature = "net")]
use super::stores::StoreArgs;
use super::{
    Global, metadata,
    signing::SecureBootArgs,
    values::{key_value, named},
};
use crate::{
    convert::{Conversion, Reporter, Source},
    emit::{self, Durability, Manner, Target},
    error::{At, Error, Result},
    filled::{Filled, ToFill},
    image::Overrides,
    input::{self, FileId, Opening, STDIN},
    layout::{Firmware, Part, SectorSize, Size},
    names::find,
    outputs::{self, EfiVarsOutput, Output},
    platforms::Platform,
    process::Wishes,
    request::{InitrdCompression, OutputCompression, Request, Root},
    stores::Stores,
    targets::{self, Naming, Place},
    ui::{Summary, Ui},
};
use formats::{Blob, Env, compress::Codec};
use std::path::{Path, PathBuf};

/// What is made.
#[derive(Debug, clap::Args)]
pub(super) struct Making {
    /// Output formats, see `moby formats` [default: told by the name of -o, else qcow2]
    #[arg(long, short, value_delimiter = ',', value_name = "FORMAT", value_parser = named::<&Output>(), hide_possible_values = true)]
    pub(super) format: Vec<&'static Output>,
    /// The platform that it is for: its format, size rule, consoles and options, see `moby formats --targets`
    #[arg(long, short, value_name = "TARGET", value_parser = named::<&Platform>(), hide_possible_values = true)]
    pub(super) target: Option<&'static Platform>,
    /// What the names of the outputs begin with [default: the input's name; image for standard input]
    #[arg(long, short)]
    pub(super) name: Option<String>,
    /// Where the outputs go; made where it is missing
    #[arg(long, short, default_value = ".", hide_default_value = true)]
    dir: PathBuf,
    /// Write the one output to this file; - for standard output
    #[arg(long = "output", short, value_name = "FILE|-", conflicts_with_all = ["name", "dir"])]
    pub(super) output: Option<PathBuf>,
    /// Compress each output as a whole, on all cores, and say so in its name [default: as the name of -o says: x.img.zst]
    #[arg(long, value_name = "CODEC", value_parser = named::<OutputCompression>())]
    compress_output: Option<OutputCompression>,
    /// Level of that compression [default: the codec's own]
    #[arg(long, value_name = "N")]
    output_level: Option<u32>,
    /// Fail when an output exists, instead of replacing it
    #[arg(long)]
    pub(super) no_clobber: bool,
    /// Wait until the outputs are on the disk before they take their names, so that a power cut costs neither them nor what they
    /// replace. Without it the kernel writes them in its own time, as for cp and qemu-img; devices are always waited for
    #[arg(long)]
    sync: bool,
    /// Write also a file (JSON) that tells of each output where it is, its bytes, SHA-256 and format, and the key of the run; - for
    /// standard output
    #[arg(long, value_name = "FILE|-")]
    pub(super) metadata_file: Option<PathBuf>,

    /// Size of the disk: 512M, 2G (powers of 1024), or auto; +2G is so much more than auto, or than the disk that is converted, left
    /// free behind its partitions. A disk is only made larger, and its backup GPT moved to the new end
    #[arg(long, default_value = "auto", help_heading = "Disk")]
    size: Size,
    /// Bytes of the disk's logical sectors, in which partition tables and FAT count [default: 512, or those of the disk that is converted]
    #[arg(long, value_name = "BYTES", value_parser = named::<SectorSize>(), help_heading = "Disk")]
    sector_size: Option<SectorSize>,
    /// Which firmware the disk boots on; the formats named -bios and -efi have their own
    #[arg(long, default_value = "hybrid", value_name = "FIRMWARE", value_parser = named::<Firmware>(), help_heading = "Disk")]
    boot: Firmware,
    /// An empty partition behind the boot partition; TYPE is linux (the default), swap, home, var, esp or a GUID
    #[arg(long = "data-part", value_name = "NAME=SIZE[:TYPE]", help_heading = "Disk")]
    data_parts: Vec<Part>,
    /// A partition that is filled: TYPE is fat, squashfs or erofs for a directory, or the type of one that gets the bytes of a file, as for
    /// --data-part; SIZE may be auto. Files are root's, of the time of SOURCE_DATE_EPOCH, with their permission bits
    #[arg(long = "part", value_name = "NAME=SIZE:TYPE=DIR|FILE", help_heading = "Disk")]
    parts: Vec<ToFill>,
    /// A volume for cloud-init (NoCloud, labelled CIDATA) with user-data, meta-data and what else the directory has
    #[arg(long, value_name = "DIR", help_heading = "Disk")]
    cloud_init: Option<PathBuf>,
    /// Where the root file system is: in the initrd, or, as one of the others, in a partition that the kernel mounts by itself
    #[arg(long, default_value = "auto", value_name = "WHERE", value_parser = named::<Root>(), help_heading = "Disk")]
    root: Root,
    /// Let the kernel verify a root in a partition (dm-verity); the root hash goes on the command line
    #[arg(long, help_heading = "Disk")]
    verity: bool,
    /// Compress the clusters of formats that can (the same as --opt compressed=on)
    #[arg(long, short = 'c', help_heading = "Disk")]
    compress: bool,
    /// Options of the format, see `moby formats --options`
    #[arg(long = "opt", value_delimiter = ',', value_name = "KEY=VALUE", value_parser = key_value(), hide_possible_values = true, help_heading = "Disk")]
    options: Vec<(String, String)>,
    /// What the GUIDs and serial numbers are derived from [default: a digest of the content]
    #[arg(long, value_name = "TEXT", help_heading = "Disk")]
    seed: Option<String>,

    #[cfg(feature = "net")]
    #[command(flatten)]
    stores: StoreArgs,

    #[command(flatten)]
    secure_boot: SecureBootArgs,
    /// Write also the firmware's variables of a machine that trusts the keys, for whoever makes the machine; certificates are enough
    #[arg(long, value_delimiter = ',', value_name = "KIND", value_parser = named::<EfiVarsOutput>(), help_heading = "Secure Boot")]
    efi_vars: Vec<EfiVarsOutput>,

    /// The boot directory of a Raspberry Pi's firmware, for rpi3 and rpi4
    #[arg(long, value_name = "DIR", help_heading = "Image")]
    firmware: Option<PathBuf>,
    /// Compression of the initrd; auto is the best that the kernel takes
    #[arg(long, default_value = "auto", value_name = "CODEC", value_parser = named::<InitrdCompression>(), help_heading = "Image")]
    initrd_compression: InitrdCompression,
    /// Compression level of the initrd [default: the codec's own]
    #[arg(long, value_name = "N", help_heading = "Image")]
    initrd_level: Option<u32>,
}

/// A command that makes artifacts, for whoever wants to know of its run beforehand.
pub(super) trait Makes {
    /// What is made, and how.
    fn making(&self) -> &Making;

    /// Where everything would go, whatever is there now.
    ///
    /// # Errors
    /// When outputs, names and directories do not fit one another.
    fn targets(&self) -> Result<Vec<Target>>;

    /// The key of its run; none where it reads what may be another thing tomorrow.
    ///
    /// # Errors
    /// When a file cannot be read, or is not what it should be.
    fn key(&self, global: &Global) -> Result<Option<String>>;

    /// Makes them.
    ///
    /// # Errors
    /// Says what is wrong with the input, the wishes or the machine.
    fn make(&self, global: &Global) -> Result<()>;
}

/// What is to be made, understood.
pub(super) struct Made {
    summary: Summary,
    ui: Ui,
    outputs: Vec<&'static Output>,
    naming: Naming,
    places: Vec<Place>,
    /// What the names begin with, where several files can lie beside each other.
    stem: Option<String>,
    /// The files that are read.
    inputs: Vec<FileId>,
    /// Where it is written what was made.
    metadata: Option<Target>,
    /// What tells this run from others, where it is asked for and can be told.
    pub(super) key: Option<String>,
}

impl Making {
    /// Understands what is to be made of an input of this name. Outputs that nobody named are `default`'s; `ca` vouches for stores.
    ///
    /// # Errors
    /// When outputs, names and directories do not fit one another.
    pub(super) fn begin(
        &self,
        input: &Path,
        default: impl FnOnce() -> Result<&'static Output>,
        ca: Option<&Path>,
        global: &Global,
    ) -> Result<Made> {
        let (summary, ui) = (Summary::start(), global.ui());
        let outputs = self.outputs(default)?;
        let naming = self.naming(&outputs, ca)?;
        let (places, stem) = (naming.places(input, &outputs)?, naming.stem(input)?);
        let targets: Vec<_> = places.iter().map(|place| place.target.clone()).collect();
        let metadata = metadata::target(self.metadata_file.as_deref(), &naming, &targets)?;
        metadata.iter().try_for_each(|target| naming.may_write(target))?;
        Ok(Made { summary, ui, outputs, naming, places, stem, inputs: Vec::new(), metadata, key: None })
    }

    /// Where everything would go, whatever is there now; the file of `--metadata-file` last.
    ///
    /// # Errors
    /// As [`Making::begin`].
    pub(super) fn targets(&self, input: &Path, default: impl FnOnce() -> Result<&'static Output>) -> Result<Vec<Target>> {
        let outputs = self.outputs(default)?;
        let naming = self.naming(&outputs, None)?;
        let places = naming.planned(input, &outputs)?;
        let mut targets: Vec<_> = places.into_iter().map(|place| place.target).collect();
        let metadata = metadata::target(self.metadata_file.as_deref(), &naming, &targets)?;
        targets.extend(metadata);
        Ok(targets)
    }

    /// How outputs are called.
    fn naming(&self, outputs: &[&Output], ca: Option<&Path>) -> Result<Naming> {
        Ok(Naming {
            output: self.output.clone(),
            name: self.name.clone(),
            dir: self.dir.clone(),
            codec: self.output_compression(outputs)?.map(|OutputCompression(codec)| codec),
            no_clobber: self.no_clobber,
            stores: self.stores(ca),
        })
    }

    /// How stores are reached.
    #[cfg(feature = "net")]
    pub(super) fn stores(&self, ca: Option<&Path>) -> Stores {
        let StoreArgs { endpoint, connections } = self.stores.clone();
        let (ca, no_clobber) = (ca.map(Path::to_owned), self.no_clobber);
        Stores { ca, endpoint, connections, no_clobber, time: Some(super::source_date_epoch), ..Stores::default() }
    }

    #[cfg(not(feature = "net"))]
    pub(super) fn stores(&self, _: Option<&Path>) -> Stores {
        Stores
    }

    /// How outputs are compressed: as the user says, and as the name of `-o` does.
    fn output_compression(&self, outputs: &[&Output]) -> Result<Option<OutputCompression>> {
        let Some(name) = self.output_name() else { return Ok(self.compress_output) };
        let named = Codec::of_name(name).1;
        match self.compress_output {
            Some(OutputCompression(codec)) if named != Codec::None && named != codec => {
                let what = format!("the name '{}' says {named}, --compress-output {codec}", name.escape_debug());
                Err(Error::bad_input(what).hint("leave out --compress-output, or choose another name"))
            }
            // What is compressed anyway may say so.
            None if named != Codec::None && outputs.iter().all(|output| output.recipe.codec() != named) => {
                Ok(Some(OutputCompression(named)))
            }
            given => Ok(given),
        }
    }

    /// Whether the output goes to a registry, whose names tell no format.
    fn is_for_registry(&self) -> bool {
        self.output.as_deref().and_then(Path::to_str).is_some_and(|output| output.starts_with("oci://"))
    }

    /// The file name of `-o`, where it is one.
    fn output_name(&self) -> Option<&str> {
        if self.is_for_registry() {
            return None;
        }
        self.output.as_deref().and_then(Path::file_name).and_then(|name| name.to_str()).filter(|name| *name != STDIN)
    }

    /// The outputs asked for, once each.
    fn outputs(&self, default: impl FnOnce() -> Result<&'static Output>) -> Result<Vec<&'static Output>> {
        let mut chosen: Vec<&'static Output> = Vec::new();
        for output in self.format.iter().copied() {
            if !chosen.iter().any(|other| other.name == output.name) {
                chosen.push(output);
            }
        }
        if let (true, Some(platform)) = (chosen.is_empty(), self.target) {
            chosen.push(find(platform.output)?);
        }
        if chosen.is_empty() {
            chosen.push(if self.is_for_registry() { find("qcow2")? } else { default()? });
        }
        for EfiVarsOutput(output) in &self.efi_vars {
            if !chosen.iter().any(|other| std::ptr::eq(*other, *output)) {
                chosen.push(output);
            }
        }
        Ok(chosen)
    }

    /// The output that the name of `-o` tells; nothing where there is no such name.
    pub(super) fn named_output(&self) -> Option<Option<&'static Output>> {
        self.output_name().map(outputs::by_file_name)
    }

    /// What the user asks for, with what the command gives beside the input.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(super) fn request(
        &self,
        made: &Made,
        overrides: Overrides,
        process: Wishes,
        decompress_kernel: bool,
        env: &mut Env,
    ) -> Result<Request> {
        Ok(Request {
            firmware: self.boot,
            size: self.size,
            sector_size: self.sector_size,
            filled_parts: self.filled_parts(env)?,
            cloud_init: self.cloud_init.as_deref().map(|path| cloud_init(path, env)).transpose()?,
            data_parts: self.data_parts.clone(),
            compression: self.initrd_compression,
            level: self.initrd_level,
            seed: self.seed.clone(),
            root: self.root,
            verity: self.verity,
            options: self.options.clone(),
            compress: self.compress,
            output_compression: made.naming.codec.map(OutputCompression),
            output_level: self.output_level,
            name: made.stem.clone(),
            platform: self.target,
            decompress_kernel,
            pi_firmware: self.firmware.as_deref().map(input::firmware).transpose()?.unwrap_or_default(),
            secure_boot: self.secure_boot.secure_boot(env)?,
            overrides: Overrides { consoles: self.target.map(|platform| platform.consoles), ..overrides },
            process,
        })
    }

    /// The partitions of `--part`, with what is in them.
    fn filled_parts(&self, env: &mut Env) -> Result<Vec<Filled>> {
        let filled = |part: &ToFill| {
            let place = || input::show(&part.path);
            match part.path.is_dir() {
                true => Filled::of_directory(part, input::directory(&part.path, env)?).at(place),
                false => Filled::of_file(part, input::open_plain(&part.path, &Opening::default(), env).at(place)?).at(place),
            }
        };
        self.parts.iter().map(filled).map(|filled| filled.at(|| "--part")).collect()
    }

    /// What is read beside the input, which no output may replace.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let named = self.parts.iter().map(|part| &part.path).chain(&self.cloud_init).chain(&self.firmware);
        named.map(PathBuf::as_path).chain(self.secure_boot.files())
    }
}

fn cloud_init(path: &Path, env: &mut Env) -> Result<Filled> {
    let tree = input::directory(path, env).at(|| "--cloud-init")?;
    Filled::cloud_init(tree).at(|| input::show(path)).at(|| "--cloud-init")
}

impl Made {
    /// The outputs, in order.
    pub(super) fn outputs(&self) -> &[&'static Output] {
        &self.outputs
    }

    /// Who is told of what happens.
    pub(super) fn ui(&self) -> &Ui {
        &self.ui
    }

    /// Refuses to replace a file that is read, now and when all files are known that are written.
    ///
    /// # Errors
    /// Names it.
    pub(super) fn refuse_inputs(&mut self, inputs: Vec<FileId>) -> Result<()> {
        targets::refuse_inputs(self.places.iter().map(|place| &place.target).chain(&self.metadata), &inputs)?;
        self.inputs.extend(inputs);
        Ok(())
    }

    /// Whether outputs go where a key can be kept with them.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.places.iter().any(|place| matches!(place.target, Target::Remote(_)))
    }

    /// Where a spool best lies: where the outputs go, so that finished bytes can move by reference and fill the disk that the user chose.
    pub(super) fn directory(&self) -> PathBuf {
        let directory = match self.places.first().map(|place| &place.target) {
            Some(Target::Path(path)) if !path.exists() || path.is_file() => {
                path.parent().map(|parent| parent.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("")).to_owned())
            }
            _ => None,
        };
        directory.unwrap_or_else(std::env::temp_dir)
    }

    /// Makes the artifacts and writes them.
    ///
    /// # Errors
    /// As [`Conversion::run`], and when a file cannot be written.
    pub(super) fn finish(self, making: &Making, conversion: Conversion, source: Source, env: Env) -> Result<()> {
        let Self { summary, ui, naming, places, inputs, metadata, key, .. } = self;
        let (threads, has_zeros) = (env.threads, source.has_zeros());
        let artifacts = conversion.run(source, env, &ui)?;
        let mut files = naming.files(&places, &artifacts, &inputs)?;
        if let Some(target) = metadata {
            let text = metadata::text(&files, &places, &artifacts, key.as_deref(), threads)?;
            // The last to take its name: where it is, they are.
            files.push((target, Blob::bytes(text.into_bytes()).into()));
        }
        let is_path = |target: &Target| matches!(target, Target::Path(_));
        let in_directory = making.output.is_none() && files.iter().any(|(target, _)| is_path(target));
        let _made = if in_directory { Some(emit::make_directory(&making.dir)?) } else { None };
        let write = ui.step("write");
        let durability = if making.sync { Durability::PowerCut } else { Durability::Process };
        let manner = Manner { durability, no_clobber: making.no_clobber, threads, key: key.as_deref(), has_zeros };
        let lens = emit::emit(&files, manner, &*write)?;
        drop(write);
        summary.tell(&ui, files.iter().map(|(target, _)| target).zip(lens));
        Ok(())
    }
}
