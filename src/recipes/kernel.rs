//! The kernel as a file of its own, and beside it what it boots: an initrd, or a root file system.

use super::{HEEDED_BY_INITRDS, Job, Recipe};
use crate::{
    error::Result,
    image::Cmdline,
    payload::Payload,
    request::{self, Request, Setting},
    root::RootFs,
};
use formats::{
    Blob, OptionSpec,
    tar::{self, Dialect},
    tree::{Content, Inode},
};

/// Kernel, initrd and command line as files.
#[derive(Debug)]
pub(crate) struct KernelInitrd;

impl Recipe for KernelInitrd {
    fn heeds(&self, _: &Request) -> Vec<&'static Setting> {
        with_initrd()
    }

    fn plan(&self, _: &Request) -> Result<Job> {
        Ok(Box::new(|run| {
            let (kernel, payload) = (run.kernel_file()?, run.payload()?);
            Ok([kernel, initrd_file(&payload), cmdline_file(&payload.cmdline)].into())
        }))
    }
}

/// The same in a tar.
#[derive(Debug)]
pub(crate) struct TarKernelInitrd;

impl Recipe for TarKernelInitrd {
    fn heeds(&self, _: &Request) -> Vec<&'static Setting> {
        with_initrd()
    }

    fn plan(&self, _: &Request) -> Result<Job> {
        Ok(Box::new(|run| {
            let (kernel, payload, mtime) = (run.kernel_file()?, run.payload()?, run.env.time.0);
            let mut tar = tar::Writer::new(Dialect::Pax);
            for (name, body) in [("kernel", kernel), ("initrd.img", initrd_file(&payload)), ("cmdline", cmdline_file(&payload.cmdline))] {
                tar.add(name.as_bytes(), &Inode { mtime, ..Inode::new(Content::File(body), 0o644) })?;
            }
            Ok([tar.finish()].into())
        }))
    }
}

/// Kernel, root file system and command line as files.
#[derive(Debug)]
pub(crate) struct KernelRoot {
    /// The file system.
    pub(crate) root: &'static RootFs,
}

impl Recipe for KernelRoot {
    fn options(&self) -> &'static [OptionSpec] {
        self.root.options
    }

    fn heeds(&self, _: &Request) -> Vec<&'static Setting> {
        let mut heeded = vec![&request::DECOMPRESS_KERNEL];
        heeded.extend(self.root.has_identifiers.then_some(&request::SEED));
        heeded
    }

    /// The command line is left as it is: whoever starts the machine knows what device the root will be.
    fn plan(&self, request: &Request) -> Result<Job> {
        let (root, options) = (self.root, request.options_of(self.root.options, &[])?);
        root.check(&options)?;
        Ok(Box::new(move |run| {
            let image = run.root(root, &options)?;
            Ok([run.kernel_file()?, image, cmdline_file(&run.image()?.cmdline)].into())
        }))
    }
}

fn with_initrd() -> Vec<&'static Setting> {
    let mut heeded = vec![&request::DECOMPRESS_KERNEL];
    heeded.extend(HEEDED_BY_INITRDS);
    heeded
}

/// An image without a root file system has an empty initrd.
fn initrd_file(payload: &Payload) -> Blob {
    payload.initrd.clone().unwrap_or_default()
}

/// As LinuxKit writes it: the text alone, without a newline.
pub(super) fn cmdline_file(cmdline: &Cmdline) -> Blob {
    Blob::bytes(cmdline.as_str().as_bytes())
}
