//! `moby extract`: what an image was made of, out of a disk, a CD, a unified kernel image or a tar.

use super::{Global, values::named};
use crate::{
    emit::{self, Manner, Target},
    error::{At, Error, Result},
    image::{Booted, Draft, Image, disk, tar, uki},
    input::{self, Input, Opening, STDIN},
    payload::{InitrdCompression, Payload},
    targets,
};
use formats::{
    Blob, Env, Silent,
    kernel::Kernel,
    tree::{self, Content, ShowPath},
    units,
};
use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
};

/// Take the kernel, the initrd, the command line, the microcode, a file, or the whole tagged tar out of an image
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  moby extract image.qcow2 kernel -o vmlinuz
  moby extract image.vmdk tar | moby convert - -o image.raw
  moby extract image.tar etc/os-release -o -
  moby extract image.raw esp:/loader/entries/moby.conf -o -

A tar taken out of a disk converts to the same disk again, with the same options. \
An initrd holds neither the names of components (LINUXKIT.source, LINUXKIT.location) \
nor extended attributes nor what was in /boot: these are lost.")]
pub(super) struct Extract {
    /// A disk, an ISO, a unified kernel image or a tagged tar, plain or compressed; - for standard input
    #[arg(value_name = "IMAGE|-")]
    input: PathBuf,
    /// kernel, initrd, cmdline, ucode, tar, disk (out of its container), the path of a file in the root file system, or
    /// esp:PATH for a file of the EFI system partition
    #[arg(value_name = "WHAT", default_value = "tar")]
    what: String,
    /// Write to this file; - for standard output
    #[arg(long, short, value_name = "FILE|-", default_value = "-", hide_default_value = true)]
    output: PathBuf,
    /// What the input is [default: told by its content]
    #[arg(long, value_name = "FORMAT", value_parser = named::<input::Kind>())]
    from: Option<input::Kind>,
    #[command(flatten)]
    reading: super::ReadingArgs,
    #[command(flatten)]
    tar: super::StrictArgs,
}

impl Extract {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let target = self.target()?;
        let mut env = super::env(global, &std::env::temp_dir())?;
        let place = || input::show(&self.input);
        let opening = Opening { strict: self.tar.strict, ..self.reading.of(&self.input) };
        let opened = input::read(&self.input, self.from, &opening, &mut env)?;
        targets::refuse_inputs([&target], &opened.files)?;
        let body = match opened.input {
            Input::Tar(tar) => self.of_tree(tar.draft(&env).at(place)?, &mut env).at(place)?,
            Input::Container(container) => self.of_tree(tar::of_tree(&container.tree), &mut env).at(place)?,
            Input::Uki(file) => self.of_boot(uki::boot(&file).at(place)?, &mut env).at(place)?,
            Input::Disk { disk, .. } => self.of_disk(&disk, &mut env).at(place)?,
        };
        emit::emit(&[(target.clone(), body.clone().into())], Manner::default(), &Silent)?;
        if target != Target::Stdout {
            global.ui().note(format_args!("{:>8}: {target}, {}", "made", units::show_size(body.len())));
        }
        Ok(())
    }

    fn target(&self) -> Result<Target> {
        if self.output != Path::new(STDIN) {
            return Ok(Target::Path(self.output.clone()));
        }
        // A command line is for people to read; anything else may be binary.
        if self.what != "cmdline" && std::io::stdout().is_terminal() {
            return Err(Error::bad_input("standard output is a terminal").hint("redirect it, or name a file with -o"));
        }
        Ok(Target::Stdout)
    }

    fn of_tree(&self, draft: Draft, env: &mut Env) -> Result<Blob> {
        let image = draft.contents()?;
        match self.what.as_str() {
            "initrd" => {
                let facts = Kernel::identify(&image.kernel)?.facts();
                let payload = Payload::build(&image, InitrdCompression::Auto, None, Some(&facts), env)?;
                payload.initrd.ok_or_else(|| Error::bad_input("there is nothing to put into an initrd"))
            }
            "disk" => Err(Error::unsupported("the input is a tar, not a disk").hint("make a disk with moby convert")),
            esp if esp.starts_with(ESP) => Err(Error::unsupported("the input is a tar, which has no EFI system partition")),
            _ => self.of_image(&image),
        }
    }

    fn of_disk(&self, disk: &Blob, env: &mut Env) -> Result<Blob> {
        if let Some(path) = self.what.strip_prefix(ESP) {
            return disk::esp_file(disk, path, &mut env.spool);
        }
        match self.what.as_str() {
            "disk" => Ok(disk.clone()),
            "kernel" | "cmdline" | "initrd" => self.of_boot(disk::boot_any(disk, &mut env.spool)?, env),
            _ => self.of_image(&disk::image(disk, env)?),
        }
    }

    fn of_boot(&self, boot: Booted, env: &mut Env) -> Result<Blob> {
        match self.what.as_str() {
            "kernel" => Ok(boot.kernel.1),
            "cmdline" => Ok(Blob::bytes(boot.cmdline.as_bytes())),
            "initrd" if boot.initrds.is_empty() => Err(Error::bad_input("it boots without an initrd")),
            "initrd" => Ok(boot.initrd()),
            "disk" => Err(Error::unsupported("the input is a unified kernel image, not a disk")),
            esp if esp.starts_with(ESP) => Err(Error::unsupported("the input is a unified kernel image, not a disk")),
            _ => self.of_image(&boot.image(env)?),
        }
    }

    fn of_image(&self, image: &Image) -> Result<Blob> {
        match self.what.as_str() {
            "tar" => tar::write(image),
            "kernel" if image.kernel.is_empty() => Err(Error::bad_input("there is no kernel in it")),
            "kernel" => Ok(image.kernel.clone()),
            "cmdline" => Ok(Blob::bytes(image.cmdline.as_str().as_bytes())),
            "ucode" => image.ucode.clone().ok_or_else(|| Error::bad_input("there is no CPU microcode in it")),
            path => file(image, path),
        }
    }
}

/// What a path of the EFI system partition begins with.
const ESP: &str = "esp:";

/// A file of the root file system, or of what a tar has in `boot/`.
fn file(image: &Image, path: &str) -> Result<Blob> {
    let components = tree::components(path.as_bytes())?.join(&b'/');
    let refuse = |what: &str| Error::bad_input(format!("{what}, must be a regular file")).at(ShowPath(path.as_bytes()));
    let inode = image.rootfs.get(&components).or_else(|| image.boot.get(&components));
    match inode.map(|inode| &inode.content) {
        Some(Content::File(body)) => Ok(body.clone()),
        Some(Content::Symlink(target)) => Err(refuse(&format!("is a symbolic link to {}", ShowPath(target)))),
        Some(Content::Directory) => Err(refuse("is a directory")),
        Some(_) => Err(refuse("is a device or a pipe")),
        None => Err(Error::bad_input("there is no such file in it").at(ShowPath(path.as_bytes()))),
    }
}
