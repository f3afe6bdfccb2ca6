//! `moby convert`: an input becomes artifacts.

use super::{
    Global,
    values::{key_value, named},
};
use crate::{
    convert::{self, Conversion, Reporter, Source},
    emit::{self, Durability, Target},
    error::{At, Error, Result},
    image::Overrides,
    input::{self, FileId, STDIN},
    layout::{DataPart, Firmware, Size},
    names::find,
    outputs::{self, Output},
    platforms::Platform,
    request::{InitrdCompression, Request, Root},
    targets::{self, Naming, Place},
    ui::Summary,
};
use formats::{
    Blob, Env, Silent,
    kernel::{Arch, Kernel},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

const EXAMPLES: &str = "\
Examples:
  moby convert image.tar --format qcow2
  moby convert image.tar -f raw -f qcow2-efi,kernel+initrd --dir out --name app
  moby convert image.tar.zst -o - -f raw | zstd > app.img.zst
  moby convert - -o app.qcow2 -c --opt compression_type=zstd < image.tar
  moby convert rootfs.tar --kernel vmlinuz --cmdline 'console=ttyS0' -f raw
  moby convert image.tar -f rpi4 --firmware firmware/boot
  moby convert disk.vmdk -f qcow2,vhdx

A file that exists is replaced only once the new one is complete, however the program ends; see --sync for power cuts.";

/// Convert a tagged tar to bootable disks or to kernel and initrd, or a disk to another format
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Convert {
    /// A tagged tar, a unified kernel image or a disk, plain or compressed (gzip, zstd, xz, lz4, bzip2); - for standard input
    #[arg(value_name = "INPUT|-")]
    input: PathBuf,

    /// What the input is [default: told by its content]
    #[arg(long, value_name = "FORMAT", value_parser = named::<input::Kind>())]
    from: Option<input::Kind>,
    /// Output formats, see `moby formats` [default: told by the name of -o, else qcow2]
    #[arg(long, short, value_delimiter = ',', value_name = "FORMAT", value_parser = named::<&Output>(), hide_possible_values = true)]
    format: Vec<&'static Output>,
    /// The platform that it is for: its format, size rule, consoles and options, see `moby formats --targets`
    #[arg(long, short, value_name = "TARGET", value_parser = named::<&Platform>(), hide_possible_values = true)]
    target: Option<&'static Platform>,
    /// What the names of the outputs begin with [default: the input's name; image for standard input]
    #[arg(long, short)]
    name: Option<String>,
    /// Where the outputs go; made where it is missing
    #[arg(long, short, default_value = ".", hide_default_value = true)]
    dir: PathBuf,
    /// Write the one output to this file; - for standard output
    #[arg(long = "output", short, value_name = "FILE|-", conflicts_with_all = ["name", "dir"])]
    output: Option<PathBuf>,
    /// Fail when an output exists, instead of replacing it
    #[arg(long)]
    no_clobber: bool,
    /// Wait until the outputs are on the disk before they take their names, so that a power cut costs neither them nor what they
    /// replace. Without it the kernel writes them in its own time, as for cp and qemu-img; devices are always waited for
    #[arg(long)]
    sync: bool,

    /// Size of the disk: 512M, 2G (powers of 1024), or auto
    #[arg(long, default_value = "auto", help_heading = "Disk")]
    size: Size,
    /// Which firmware the disk boots on; the formats named -bios and -efi have their own
    #[arg(long, default_value = "hybrid", value_name = "FIRMWARE", value_parser = named::<Firmware>(), help_heading = "Disk")]
    boot: Firmware,
    /// An empty partition behind the boot partition; TYPE is linux (the default), swap, home, var, esp or a GUID
    #[arg(long = "data-part", value_name = "NAME=SIZE[:TYPE]", help_heading = "Disk")]
    data_parts: Vec<DataPart>,
    /// Where the root file system is: in the initrd, or, as one of the others, in a partition that the kernel mounts by itself
    #[arg(long, default_value = "initrd", value_name = "WHERE", value_parser = named::<Root>(), help_heading = "Disk")]
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

    /// A kernel that goes before the tar's boot/kernel
    #[arg(long, value_name = "FILE", help_heading = "Image")]
    kernel: Option<PathBuf>,
    /// A kernel command line that goes before the tar's boot/cmdline
    #[arg(long, value_name = "TEXT", help_heading = "Image")]
    cmdline: Option<String>,
    /// Words added to the end of the kernel command line
    #[arg(long, value_name = "TEXT", help_heading = "Image")]
    append: Vec<String>,
    /// CPU microcode (an early cpio) that goes before the tar's boot/ucode.cpio
    #[arg(long, value_name = "FILE", help_heading = "Image")]
    ucode: Option<PathBuf>,
    /// Fail unless the kernel is for this architecture [default: whatever the kernel is for]
    #[arg(long, value_name = "ARCH", value_parser = named::<Arch>(), help_heading = "Image")]
    arch: Option<Arch>,
    /// Unpack a kernel that is a file of its own (Apple's Virtualization and arm64 iPXE need that); on disks, what loaders need
    /// unpacked always is
    #[arg(long, help_heading = "Image")]
    decompress_kernel: bool,
    /// The boot directory of a Raspberry Pi's firmware, for rpi3 and rpi4
    #[arg(long, value_name = "DIR", help_heading = "Image")]
    firmware: Option<PathBuf>,
    /// Compression of the initrd; auto is the best that the kernel takes
    #[arg(long, default_value = "auto", value_name = "CODEC", value_parser = named::<InitrdCompression>(), help_heading = "Image")]
    initrd_compression: InitrdCompression,
    /// Compression level of the initrd [default: the codec's own]
    #[arg(long, value_name = "N", help_heading = "Image")]
    initrd_level: Option<u32>,
    #[command(flatten)]
    reading: super::ReadingArgs,
}

impl Convert {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let (ui, summary) = (global.ui(), Summary::start());
        let outputs = self.outputs()?;
        let naming = Naming { output: self.output.clone(), name: self.name.clone(), dir: self.dir.clone(), no_clobber: self.no_clobber };
        let places = naming.places(&self.input, &outputs)?;
        let mut env = self.env(global, &places)?;
        let conversion = Conversion::new(outputs.clone(), self.request(&outputs, &mut env)?)?;
        targets::refuse_inputs(&places, &self.inputs())?;

        let source = self.source(conversion.request(), &places, &mut env, &ui)?;
        let artifacts = conversion.run(source, env, &ui)?;
        let files = targets::files(&places, &artifacts)?;
        let _made = if self.output.is_none() { Some(emit::make_directory(&self.dir)?) } else { None };
        let write = ui.step("write");
        emit::emit(&files, if self.sync { Durability::PowerCut } else { Durability::Process }, &*write)?;
        drop(write);
        summary.tell(&ui, &files);
        Ok(())
    }

    /// The outputs asked for, once each.
    fn outputs(&self) -> Result<Vec<&'static Output>> {
        let mut chosen: Vec<&'static Output> = Vec::new();
        for output in &self.format {
            if !chosen.iter().any(|other| other.name == output.name) {
                chosen.push(output);
            }
        }
        if let (true, Some(platform)) = (chosen.is_empty(), self.target) {
            chosen.push(find(platform.output)?);
        }
        if chosen.is_empty() {
            let named = self.output.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
            chosen.push(match named.filter(|name| *name != STDIN) {
                None => find("qcow2")?,
                Some(name) => outputs::by_file_name(name).ok_or_else(|| {
                    let what = format!("the name '{}' does not tell the format", name.escape_debug());
                    Error::bad_input(what).hint("say it with --format, see `moby formats`")
                })?,
            });
        }
        Ok(chosen)
    }

    fn request(&self, outputs: &[&Output], env: &mut Env) -> Result<Request> {
        /// The option that `--compress` stands for.
        const COMPRESSED: &str = "compressed";
        let mut options = self.options.clone();
        if self.compress {
            if !outputs.iter().flat_map(|output| output.options()).any(|spec| spec.name == COMPRESSED) {
                let names: Vec<_> = outputs.iter().map(|output| output.name).collect();
                return Err(Error::unsupported(format!("--compress has no effect on {}", names.join(", "))).hint("leave it out"));
            }
            options.push((COMPRESSED.to_owned(), "on".to_owned()));
        }
        let mut open =
            |path: &Option<PathBuf>| path.as_deref().map(|path| input::open_plain(path, env).at(|| input::show(path))).transpose();
        Ok(Request {
            firmware: self.boot,
            size: self.size,
            data_parts: self.data_parts.clone(),
            compression: self.initrd_compression,
            level: self.initrd_level,
            seed: self.seed.clone(),
            root: self.root,
            verity: self.verity,
            options,
            platform: self.target,
            decompress_kernel: self.decompress_kernel,
            pi_firmware: self.firmware.as_deref().map(input::firmware).transpose()?.unwrap_or_default(),
            overrides: Overrides {
                kernel: self.given_kernel(&mut open)?,
                ucode: open(&self.ucode)?,
                cmdline: self.cmdline.clone(),
                append: self.append.clone(),
                consoles: self.target.map(|platform| platform.consoles),
                arch: self.arch,
            },
        })
    }

    /// The kernel of `--kernel`, which must be one.
    fn given_kernel(&self, open: &mut impl FnMut(&Option<PathBuf>) -> Result<Option<Blob>>) -> Result<Option<Blob>> {
        let kernel = open(&self.kernel)?;
        if let (Some(kernel), Some(path)) = (&kernel, &self.kernel) {
            Kernel::identify(kernel).at(|| format!("--kernel {}", path.display()))?;
        }
        Ok(kernel)
    }

    /// The files that are read, as far as the command line names them.
    fn inputs(&self) -> Vec<FileId> {
        [Some(&self.input), self.kernel.as_ref(), self.ucode.as_ref()].into_iter().flatten().filter_map(|path| FileId::of(path)).collect()
    }

    /// The spool lies where the outputs go, so that finished bytes can move by reference and fill the disk that the user chose.
    fn env(&self, global: &Global, places: &[Place]) -> Result<Env> {
        let directory = match places.first().map(|place| &place.target) {
            Some(Target::Path(path)) if !path.exists() || path.is_file() => {
                path.parent().map(|parent| parent.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("")).to_owned())
            }
            _ => None,
        };
        super::env(global, &directory.unwrap_or_else(std::env::temp_dir))
    }

    fn source(&self, request: &Request, places: &[Place], env: &mut Env, ui: &dyn Reporter) -> Result<Source> {
        let read = ui.step("read");
        env.progress = Arc::clone(&read);
        let opened = input::read(&self.input, self.from, &self.reading.of(&self.input), env)?;
        targets::refuse_inputs(places, &opened.files)?;
        let source = convert::source(&opened.input, request, env).at(|| input::show(&self.input))?;
        env.progress = Arc::new(Silent);
        drop(read);
        if let (Source::Disk(_), Some(platform)) = (&source, self.target)
            && !platform.consoles.x86.is_empty()
        {
            ui.warn(&format!("the input is a disk: its consoles stay as they are, --target {} cannot change them", platform.name));
        }
        Ok(source)
    }
}
