//! `moby convert`: an input becomes artifacts.

use super::{Global, making::Making, values::named};
use crate::{
    convert::{self, Conversion, Reporter, Source},
    error::{At, Error, Result},
    image::Overrides,
    input::{self, FileId},
    names::find,
    outputs::Output,
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
    #[command(flatten)]
    making: Making,

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
    #[command(flatten)]
    reading: super::ReadingArgs,
}

impl Convert {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let made = self.making.begin(&self.input, || self.default(), global)?;
        let mut env = super::env(global, &made.directory())?;
        let overrides = self.overrides(&mut env)?;
        let request = self.making.request(made.outputs(), overrides, self.decompress_kernel)?;
        let conversion = Conversion::new(made.outputs().to_vec(), request)?;
        made.refuse_inputs(&self.inputs())?;
        let read = made.ui().step("read");
        env.progress = Arc::clone(&read);
        let opened = input::read(&self.input, self.from, &self.reading.of(&self.input), &mut env)?;
        made.refuse_inputs(&opened.files)?;
        let source = convert::source(&opened.input, conversion.request(), &mut env).at(|| input::show(&self.input))?;
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
        let mut open =
            |path: &Option<PathBuf>| path.as_deref().map(|path| input::open_plain(path, env).at(|| input::show(path))).transpose();
        Ok(Overrides {
            kernel: self.given_kernel(&mut open)?,
            ucode: open(&self.ucode)?,
            cmdline: self.cmdline.clone(),
            append: self.append.clone(),
            consoles: None,
            arch: self.arch,
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
}
