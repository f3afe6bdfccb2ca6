//! `moby convert`: an input becomes artifacts.

use super::{
    Global,
    images::ImageArgs,
    making::{Makes, Making},
    process::ProcessArgs,
    values::named,
};
use crate::{
    convert::{self, Conversion, Look, Reporter, Source},
    emit::Target,
    error::{At, Error, Result},
    image::Overrides,
    images,
    input::{self, FileId, Opened, Opening, STDIN},
    names::find,
    outputs::Output,
};
use formats::{
    Env, Silent,
    kernel::{Arch, Kernel},
    oci::Reference,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

const EXAMPLES: &str = "\
Examples:
  moby convert image.tar --format qcow2
  moby convert image.tar -f raw -f qcow2-efi,kernel+initrd --dir out --name app
  moby convert image.tar.zst -o app.img.zst
  moby convert - -o app.qcow2 -c --opt compression_type=zstd < image.tar
  moby convert rootfs.tar --kernel vmlinuz --cmdline 'console=ttyS0' -f raw
  moby convert image.tar -f rpi4 --firmware firmware/boot
  moby convert oci://ghcr.io/me/app:1 --kernel linux-image.deb -f qcow2,iso
  moby convert disk.vmdk -f qcow2,vhdx

A file that exists is replaced only once the new one is complete, however the program ends; see --sync for power cuts.";

/// Convert a tagged tar to bootable disks or to kernel and initrd, or a disk to another format
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Convert {
    /// A tagged tar, a container image (docker save, an OCI archive or layout, oci://NAME at a registry), a unified kernel image or a
    /// disk, plain or compressed (gzip, zstd, xz, lz4, bzip2); - for standard input
    #[arg(value_name = "INPUT|-")]
    input: PathBuf,

    /// What the input is [default: told by its content]
    #[arg(long, value_name = "FORMAT", value_parser = named::<input::Kind>())]
    from: Option<input::Kind>,
    #[command(flatten)]
    making: Making,

    /// A kernel that goes before the tar's boot/kernel: a bzImage or an Image, a distribution's package (.deb, .rpm, .apk) or a directory
    /// of an installed system; repeated for packages that belong together
    #[arg(long, value_name = "FILE", help_heading = "Image")]
    kernel: Vec<PathBuf>,
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
    #[command(flatten)]
    process: ProcessArgs,
    #[command(flatten)]
    reading: super::ReadingArgs,
    #[command(flatten)]
    tar: super::StrictArgs,
    #[command(flatten)]
    images: ImageArgs,
}

impl Convert {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let mut made = self.making.begin(&self.named_after(), || self.default(), self.images.ca(), global)?;
        let mut env = super::env(global, &made.directory())?;
        let overrides = self.overrides(&mut env)?;
        let request = self.making.request(&made, overrides, self.process.wishes()?, self.decompress_kernel, &mut env)?;
        let conversion = Conversion::new(made.outputs().to_vec(), request)?;
        made.refuse_inputs(self.files().filter_map(FileId::of).collect())?;
        made.key = if self.making.metadata_file.is_some() || made.is_elsewhere() { self.key(global)? } else { None };
        let read = made.ui().step("read");
        env.progress = Arc::clone(&read);
        // Of an image for several machines that for the kernel's.
        let of_kernel = conversion.request().overrides.kernel.as_ref().and_then(|package| Kernel::identify(&package.kernel).ok());
        let arch = self.arch.or(of_kernel.map(|kernel| kernel.arch));
        let stores = self.making.stores(self.images.ca());
        let opening = Opening { arch, strict: self.tar.strict, stores, whole: true, ..self.reading.of(&self.input) };
        let opened = match self.registry_name() {
            Some(name) => self.pulled(name, &opening, &mut env).at(|| input::show(&self.input))?,
            None => input::read(&self.input, self.from, &opening, &mut env)?,
        };
        made.refuse_inputs(opened.files)?;
        // Who sends skips gaps.
        let look = if made.is_elsewhere() { Look::Before } else { Look::Later };
        let source = convert::source(&opened.input, conversion.request(), look, &mut env).at(|| input::show(&self.input))?;
        env.progress = Arc::new(Silent);
        drop(read);
        if let (Source::Disk(_), Some(platform)) = (&source, self.making.target)
            && !platform.consoles.x86.is_empty()
        {
            let name = platform.name;
            made.ui().warn(&format!("the input is a disk: its consoles stay as they are, --target {name} cannot change them"));
        }
        made.finish(&self.making, conversion, source, env)
    }

    /// What outputs are named after: the input's name, of an image at a registry without host and tag.
    fn named_after(&self) -> PathBuf {
        match self.registry_name().map(str::parse::<Reference>) {
            Some(Ok(name)) => name.path().rsplit('/').next().unwrap_or_default().into(),
            _ => self.input.clone(),
        }
    }

    /// The name of an image that is at a registry.
    fn registry_name(&self) -> Option<&str> {
        self.input.to_str()?.strip_prefix("oci://")
    }

    /// A container image by its name.
    fn pulled(&self, name: &str, opening: &Opening, env: &mut Env) -> Result<Opened> {
        let name: Reference = name.parse()?;
        let sources = self.images.sources(env)?;
        let found = sources.find(&name.to_string(), &opening.platform(), false, &*Arc::clone(&env.progress))?;
        Ok(Opened { input: input::container::of_image(found.image, env)?, files: Vec::new() })
    }

    /// What is made where no format is named.
    fn default(&self) -> Result<&'static Output> {
        match self.making.named_output() {
            None => find("qcow2"),
            Some(Some(output)) => Ok(output),
            Some(None) => {
                let name = self.making.output.as_deref().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
                let what = format!("the name '{}' does not tell the format", name.escape_debug());
                Err(Error::bad_input(what).hint("say it with --format, see `moby formats`"))
            }
        }
    }

    /// What goes before what the input has.
    fn overrides(&self, env: &mut Env) -> Result<Overrides> {
        let kernel = if self.kernel.is_empty() { None } else { Some(input::kernel(&self.kernel, env)?) };
        let ucode = self.ucode.as_deref();
        Ok(Overrides {
            kernel,
            ucode: ucode.map(|path| input::open_plain(path, &Opening::default(), env).at(|| input::show(path))).transpose()?,
            cmdline: self.cmdline.clone(),
            append: self.append.clone(),
            consoles: None,
            arch: self.arch,
        })
    }

    /// The files and directories that are read, as far as the command line names them.
    fn files(&self) -> impl Iterator<Item = &Path> {
        let named = [&self.input].into_iter().chain(&self.kernel).chain(&self.ucode);
        named.map(PathBuf::as_path).chain(self.making.files()).chain(self.images.files())
    }
}

impl Makes for Convert {
    fn making(&self) -> &Making {
        &self.making
    }

    fn targets(&self) -> Result<Vec<Target>> {
        self.making.targets(&self.named_after(), || self.default())
    }

    /// None with standard input, an image by its tag, the files that a disk names.
    fn key(&self, global: &Global) -> Result<Option<String>> {
        let pinned = self.registry_name().is_some_and(|name| name.parse::<Reference>().is_ok_and(|name| name.digest().is_some()));
        if self.reading.follow || self.input == Path::new(STDIN) {
            return Ok(None);
        }
        let files: Vec<_> = self.files().filter(|path| !(pinned && *path == self.input)).collect();
        // Of a container image for several machines this one's would be taken.
        let arch = if self.arch.is_none() && self.kernel.is_empty() { images::host_arch() } else { "" };
        global.digests.key(super::source_date_epoch()?, arch, &global.line, &files)
    }

    fn make(&self, global: &Global) -> Result<()> {
        self.run(global)
    }
}
