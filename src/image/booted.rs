//! What a disk or a unified kernel image boots, before it is taken apart.

use super::{
    Image,
    cmdline::Cmdline,
    initrd::{self, Initrd},
};
use crate::error::{At, Result};
use formats::{Blob, Env, Tree};

/// What the loaders would boot from a disk, or what a unified kernel image boots.
#[derive(Debug)]
pub struct Booted {
    /// File name of the entry.
    pub entry: String,
    /// Path and content of the kernel.
    pub kernel: (String, Blob),
    /// Paths and contents of the initrds.
    pub initrds: Vec<(String, Blob)>,
    /// The command line.
    pub cmdline: String,
}

impl Booted {
    /// Taken apart: kernel, command line, and the microcode and the root file system of its initrd.
    ///
    /// # Errors
    /// When the initrd is damaged, or the command line is none.
    pub fn image(self, env: &mut Env) -> Result<Image> {
        let initrd = Initrd::read(&self.initrd(), &mut env.spool).at(|| "initrd")?;
        Ok(Image {
            cmdline: Cmdline::new(&self.cmdline)?,
            kernel: self.kernel.1,
            ucode: initrd.ucode,
            rootfs: initrd.rootfs,
            boot: Tree::default(),
        })
    }

    /// All initrds, as the loaders put them into memory: one after the other.
    pub fn initrd(&self) -> Blob {
        let mut all = Blob::default();
        for (_, body) in &self.initrds {
            all.pad_to(initrd::ALIGNMENT);
            all.append(body);
        }
        all
    }
}
