//! `Entry`: what a disk boots.

use super::Part;
use crate::{error::Result, image::Cmdline, loaders::EfiLoader, secure_boot::Signed};
use formats::{Blob, kernel::Kernel};

/// What a disk boots: an entry of the Boot Loader Specification (UAPI.1, type 1), the files that it names, and the loader for UEFI.
#[derive(Clone, Debug)]
pub struct Entry {
    /// For people.
    pub title: String,
    /// Version of the kernel, where it is known.
    pub version: Option<String>,
    /// What the kernel runs on, in UEFI's words.
    pub efi: &'static EfiLoader,
    /// The EFI application that starts it.
    pub loader: Blob,
    /// The kernel.
    pub kernel: Blob,
    /// The initrd, if there is one.
    pub initrd: Option<Blob>,
    /// The kernel command line.
    pub cmdline: String,
    /// The most bytes of command line that the kernel takes, where it says so.
    pub cmdline_max: Option<u32>,
    /// Whether UEFI can start the kernel.
    pub has_efi_stub: bool,
    /// The whole of it as one signed EFI program, which then takes the place of loader, kernel and initrd.
    pub signed: Option<Signed>,
    /// Partitions of the root file system, where it is not in the initrd.
    pub root: Vec<Part>,
}

impl Entry {
    /// A kernel, an initrd and a command line, started by our loader.
    ///
    /// # Errors
    /// When the kernel is none, or there is no loader for it.
    pub fn new(kernel: &Blob, initrd: Option<Blob>, cmdline: &str) -> Result<Self> {
        let identified = Kernel::identify(kernel)?;
        let efi = EfiLoader::of(identified.arch)?;
        Ok(Self {
            title: "Linux".to_owned(),
            version: identified.version.as_deref().and_then(|v| v.split_whitespace().next()).map(str::to_owned),
            efi,
            loader: efi.application(),
            kernel: kernel.clone(),
            initrd,
            cmdline: cmdline.to_owned(),
            cmdline_max: identified.cmdline_max(),
            has_efi_stub: identified.has_efi_stub,
            signed: None,
            root: Vec::new(),
        })
    }

    /// An x86 kernel boots with an empty command line when it is given one that is too long: refuse it here.
    ///
    /// # Errors
    /// When the kernel would not take its command line.
    pub fn check_cmdline(&self) -> Result<()> {
        Cmdline::new(&self.cmdline)?.check(self.cmdline_max)
    }
}
