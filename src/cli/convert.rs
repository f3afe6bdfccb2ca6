//! `moby convert`: a tagged tar becomes artifacts.

use super::Global;
use crate::{
    build::{Build, Request, Source},
    disk,
    emit::{self, Durability, Target},
    error::{At, Error, Result},
    image::{Image, ImageOptions},
    input::{self, Input, STDIN},
    layout::{Boot, DataPart, Size},
    outputs::{self, Output},
    payload::InitrdCompression,
    platforms::{self, Platform},
    root::Root,
    ui::Step,
};
use formats::{Blob, Env, Progress, Silent, kernel::Arch, units, zeros};
use std::{
    io::IsTerminal,
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
    #[arg(long, value_name = "FORMAT")]
    from: Option<String>,
    /// Output formats, see `moby formats` [default: told by the name of -o, else qcow2]
    #[arg(long, short, value_delimiter = ',', value_name = "FORMAT")]
    format: Vec<String>,
    /// The platform that it is for: its format, size rule, consoles and options, see `moby formats --targets`
    #[arg(long, short, value_name = "TARGET")]
    target: Option<String>,
    /// What the names of the outputs begin with [default: the input's name; image for standard input]
    #[arg(long, short)]
    name: Option<String>,
    /// Where the outputs go
    #[arg(long, short, default_value = ".", hide_default_value = true)]
    dir: PathBuf,
    /// Write the one output to this file; - for standard output
    #[arg(long = "output", visible_alias = "o", short, value_name = "FILE|-", conflicts_with_all = ["name", "dir"])]
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
    #[arg(long, value_enum, default_value = "hybrid", help_heading = "Disk")]
    boot: Boot,
    /// An empty partition behind the boot partition; TYPE is linux (the default), swap, home, var, esp or a GUID
    #[arg(long = "data-part", value_name = "NAME=SIZE[:TYPE]", help_heading = "Disk")]
    data_parts: Vec<DataPart>,
    /// Where the root file system is: initrd, or squashfs in a partition that the kernel mounts by itself
    #[arg(long, default_value = "initrd", value_name = "WHERE", help_heading = "Disk")]
    root: Root,
    /// Let the kernel verify a root in a partition (dm-verity); the root hash goes on the command line
    #[arg(long, help_heading = "Disk")]
    verity: bool,
    /// Compress the clusters of formats that can (the same as --opt compressed=on)
    #[arg(long, short = 'c', help_heading = "Disk")]
    compress: bool,
    /// Options of the format, see `moby formats --options`
    #[arg(long = "opt", value_delimiter = ',', value_name = "KEY=VALUE", value_parser = key_value, help_heading = "Disk")]
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
    /// Fail unless the kernel is for this architecture: amd64, arm64 [default: whatever the kernel is for]
    #[arg(long, value_name = "ARCH", help_heading = "Image")]
    arch: Option<Arch>,
    /// Unpack a kernel that is a file of its own (Apple's Virtualization and arm64 iPXE need that); on disks, what loaders need
    /// unpacked always is
    #[arg(long, help_heading = "Image")]
    decompress_kernel: bool,
    /// The boot directory of a Raspberry Pi's firmware, for rpi3 and rpi4
    #[arg(long, value_name = "DIR", help_heading = "Image")]
    firmware: Option<PathBuf>,
    /// Compression of the initrd: auto (the best that the kernel in the tar takes), gzip, zstd, xz, lz4, none
    #[arg(long, default_value = "auto", value_name = "CODEC", help_heading = "Image")]
    initrd_compression: InitrdCompression,
    /// Compression level of the initrd [default: the codec's own]
    #[arg(long, value_name = "N", help_heading = "Image")]
    initrd_level: Option<u32>,
    #[command(flatten)]
    reading: super::ReadingArgs,
}

impl Convert {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let ui = global.ui();
        let chosen = self.outputs()?;
        let targets = self.targets(&chosen)?;
        let request = self.request(&chosen)?;
        let mut env = self.env(global, &targets)?;

        let read = ui.step("read", input::len(&self.input));
        env.progress = Arc::clone(&read) as Arc<dyn Progress>;
        let source = self.source(&mut env)?;
        env.progress = Arc::new(Silent);
        drop(read);
        if let (Source::Disk(_), Some(platform)) = (&source, self.platform()?)
            && !platform.consoles.x86.is_empty()
        {
            ui.warn(format_args!("the input is a disk: its consoles stay as they are, --target {} cannot change them", platform.name));
        }

        let step = ui.step("build", Some(source.size()));
        env.progress = Arc::clone(&step) as Arc<dyn Progress>;
        let mut build = Build::new(source, request, env);
        let bodies: Vec<Blob> =
            chosen.iter().map(|output| build.make(output).at(|| format!("format {}", output.name))).collect::<Result<Vec<_>>>()?.concat();
        finish(step, &mut build);
        for warning in build.warnings() {
            ui.warn(warning);
        }

        let outputs: Vec<_> = targets.into_iter().zip(bodies).collect();
        let write = ui.step("write", Some(outputs.iter().map(|(_, body)| body.data_len()).sum()));
        emit::emit(&outputs, if self.sync { Durability::PowerCut } else { Durability::Process }, &*write)?;
        drop(write);
        for (target, body) in &outputs {
            ui.note(format_args!("{:>8}: {target}, {}", "made", units::show_size(body.len())));
        }
        Ok(())
    }

    /// The outputs asked for, once each.
    fn outputs(&self) -> Result<Vec<&'static Output>> {
        let mut chosen = Vec::new();
        for name in &self.format {
            let output = outputs::output(name)?;
            if !chosen.iter().any(|other: &&Output| other.name == output.name) {
                chosen.push(output);
            }
        }
        if let (true, Some(platform)) = (chosen.is_empty(), self.platform()?) {
            chosen.push(outputs::output(platform.output)?);
        }
        if chosen.is_empty() {
            let named = self.output.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
            chosen.push(match named.filter(|name| *name != STDIN) {
                None => outputs::output("qcow2")?,
                Some(name) => outputs::by_file_name(name).ok_or_else(|| {
                    Error::bad_input(format!("the name '{name}' does not tell the format")).hint("say it with --format, see `moby formats`")
                })?,
            });
        }
        Ok(chosen)
    }

    /// What `--target` names.
    fn platform(&self) -> Result<Option<&'static Platform>> {
        self.target.as_deref().map(platforms::platform).transpose()
    }

    /// Where each file goes; refuses two of one name, and what must not be overwritten.
    fn targets(&self, chosen: &[&Output]) -> Result<Vec<Target>> {
        let mut targets: Vec<(Target, &str)> = Vec::new();
        for output in chosen {
            for suffix in output.files {
                let target = self.target(suffix, chosen)?;
                if let Some((_, other)) = targets.iter().find(|(earlier, _)| *earlier == target) {
                    return Err(Error::bad_input(format!("formats {other} and {} would both write {target}", output.name))
                        .hint("run them one by one, with another --name or --dir"));
                }
                targets.push((target, output.name));
            }
        }
        let targets: Vec<_> = targets.into_iter().map(|(target, _)| target).collect();
        targets.iter().try_for_each(|target| self.may_write(target))?;
        Ok(targets)
    }

    fn target(&self, suffix: &str, chosen: &[&Output]) -> Result<Target> {
        let Some(path) = &self.output else {
            return Ok(Target::Path(self.dir.join(self.base_name()? + suffix)));
        };
        let files: usize = chosen.iter().map(|o| o.files.len()).sum();
        if files != 1 {
            let names: Vec<_> = chosen.iter().map(|o| o.name).collect();
            return Err(
                Error::bad_input(format!("-o takes one file, {} {files}", makes(&names))).hint("use --name and --dir instead of -o")
            );
        }
        Ok(if path == Path::new(STDIN) { Target::Stdout } else { Target::Path(path.clone()) })
    }

    /// The name that the outputs' names begin with.
    fn base_name(&self) -> Result<String> {
        if let Some(name) = &self.name {
            return if name.is_empty() || name.contains('/') {
                Err(Error::bad_input(format!("--name '{name}' must be a file name without /")).hint("say the directory with --dir"))
            } else {
                Ok(name.clone())
            };
        }
        if self.input == Path::new(STDIN) {
            return Ok("image".to_owned());
        }
        let name = self.input.file_name().and_then(|n| n.to_str()).ok_or_else(|| {
            Error::bad_input(format!("{} has no name to name the outputs after", self.input.display())).hint("give one with --name")
        })?;
        let base = [".gz", ".zst", ".xz", ".lz4", ".bz2"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
        let base = [".tar", ".tgz", ".txz"].iter().find_map(|s| base.strip_suffix(s)).unwrap_or(base);
        Ok(base.to_owned())
    }

    fn may_write(&self, target: &Target) -> Result<()> {
        let Target::Path(path) = target else {
            if std::io::stdout().is_terminal() {
                return Err(Error::bad_input("standard output is a terminal").hint("redirect it, or name a file with -o"));
            }
            return Ok(());
        };
        if self.no_clobber && path.symlink_metadata().is_ok() {
            return Err(Error::bad_input(format!("{} exists and --no-clobber is given", path.display())));
        }
        let inputs = [Some(&self.input), self.kernel.as_ref(), self.ucode.as_ref()];
        let same = |input: &&PathBuf| matches!((input.canonicalize(), path.canonicalize()), (Ok(a), Ok(b)) if a == b);
        match inputs.into_iter().flatten().find(same) {
            Some(input) => Err(Error::bad_input(format!("{} is an input and would be overwritten", input.display()))),
            None => Ok(()),
        }
    }

    fn request(&self, chosen: &[&Output]) -> Result<Request> {
        let mut options = self.options.clone();
        if self.compress {
            options.push(("compressed".to_owned(), "on".to_owned()));
        }
        Request {
            boot: self.boot,
            size: self.size,
            data_parts: self.data_parts.clone(),
            compression: self.initrd_compression,
            level: self.initrd_level,
            seed: self.seed.clone(),
            root: self.root,
            verity: self.verity,
            options,
            platform: self.platform()?,
            decompress_kernel: self.decompress_kernel,
            firmware: self.firmware.as_deref().map(input::firmware).transpose()?.unwrap_or_default(),
        }
        .checked(chosen)
    }

    /// The spool lies where the outputs go, so that finished bytes can move by reference and fill the disk that the user chose.
    fn env(&self, global: &Global, targets: &[Target]) -> Result<Env> {
        let directory = match targets.first() {
            Some(Target::Path(path)) if !path.exists() || path.is_file() => path.parent().map(Path::to_owned).unwrap_or_default(),
            _ => std::env::temp_dir(),
        };
        super::env(global, &directory)
    }

    fn source(&self, env: &mut Env) -> Result<Source> {
        let place = || input::show(&self.input);
        let file = input::open(&self.input, env)?;
        let mark = env.spool.position();
        match input::recognise(&file, self.from.as_deref(), &self.reading.of(&self.input), env).at(place)? {
            Input::Disk { disk, .. } => {
                self.refuse_for_disks().at(place)?;
                // What others wrote may hold zeros as data; what a decoder had to spool it has looked at.
                Ok(Source::Disk(zeros::drop_zeros(&disk, &env.spool.since(mark), env)?))
            }
            Input::Uki(file) => {
                let image = disk::uki_boot(&file).and_then(|boot| boot.image(env)).at(place)?;
                self.image(&image.tar()?, env)
            }
            Input::Tar(tar) => self.image(&tar, env),
        }
    }

    /// The image in a tar, with what the user gives beside it.
    fn image(&self, tar: &Blob, env: &mut Env) -> Result<Source> {
        let mut open =
            |path: &Option<PathBuf>| path.as_deref().map(|path| input::open_plain(path, env).at(|| input::show(path))).transpose();
        let options = ImageOptions {
            kernel: open(&self.kernel)?,
            ucode: open(&self.ucode)?,
            cmdline: self.cmdline.clone(),
            append: self.append.clone(),
            consoles: self.platform()?.map(|platform| platform.consoles),
            arch: self.arch,
        };
        Ok(Source::Image(Box::new(Image::read(tar, &options).at(|| input::show(&self.input))?)))
    }

    /// A disk is converted as it is: whoever asks for another one must not get it unchanged.
    fn refuse_for_disks(&self) -> Result<()> {
        let given = [
            ("--kernel", self.kernel.is_some()),
            ("--cmdline", self.cmdline.is_some()),
            ("--append", !self.append.is_empty()),
            ("--ucode", self.ucode.is_some()),
            ("--arch", self.arch.is_some()),
            ("--size", self.size != Size::Auto),
            ("--boot", self.boot != Boot::Hybrid),
            ("--data-part", !self.data_parts.is_empty()),
            ("--root", matches!(self.root, Root::Partition(_))),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => Err(Error::unsupported(format!("{option} is for a tar, and this is a disk"))
                .hint("moby extract IMAGE tar gives the tar of a disk of ours, to be converted anew")),
            None => Ok(()),
        }
    }
}

/// Ends a step that work still refers to.
fn finish(step: Arc<Step>, build: &mut Build) {
    build.silence();
    drop(step);
}

fn makes(names: &[&str]) -> String {
    format!("{} {}", names.join(" and "), if names.len() == 1 { "makes" } else { "make" })
}

fn key_value(text: &str) -> std::result::Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("'{text}' must be KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}
