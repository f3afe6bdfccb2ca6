//! Unified kernel images: everything that boots in one EFI application.

use super::{Build, entry};
use crate::{
    error::Result,
    image::Image,
    layout::{self, Boot, Entry},
};
use formats::{
    Blob,
    tree::Content,
    uki::{self, Section},
    units,
};

/// Where a root file system says what it is (os-release(5)).
const OS_RELEASE: [&[u8]; 2] = [b"etc/os-release", b"usr/lib/os-release"];
/// The most of it that is taken.
const OS_RELEASE_MAX: u64 = 64 * units::KIB;
/// The initrd behind the microcode starts at a multiple of this.
const ALIGNMENT: u64 = 4;

impl Build {
    /// The kernel, its initrd and its command line as one EFI application.
    ///
    /// # Errors
    /// When the image does not make one, or `--boot` excludes UEFI.
    pub fn uki(&mut self) -> Result<Blob> {
        Boot::Uefi.and(self.request.boot)?;
        let entry = entry(self.payload()?)?;
        layout::check_cmdline(&entry)?;
        let image = self.source.image()?;
        // The microcode stands in front of the initrd; here it has a section of its own.
        let ucode = image.ucode.clone().unwrap_or_default();
        let initrd = entry.initrd.clone().unwrap_or_default();
        let initrd = initrd.slice(ucode.len().next_multiple_of(ALIGNMENT).min(initrd.len())..initrd.len());
        let text = |text: &str| Blob::bytes(text.as_bytes());
        let sections = [
            (".osrel", os_release(image, &entry)?),
            (".cmdline", text(entry.cmdline.trim())),
            (".uname", text(entry.version.as_deref().unwrap_or_default())),
            (".ucode", ucode),
            (".initrd", initrd),
            (".linux", entry.kernel.clone()),
        ];
        uki::unite(&entry.arch.efi_loader(), &sections.map(|(name, body)| Section { name, body }))
    }
}

/// What boot menus show: the root file system's own words, else the kernel's version.
fn os_release(image: &Image, entry: &Entry) -> Result<Blob> {
    for path in OS_RELEASE {
        if let Some(Content::File(body)) = image.rootfs.get(path).map(|inode| &inode.content) {
            return Ok(body.slice(0..body.len().min(OS_RELEASE_MAX)));
        }
    }
    let version = entry.version.as_deref().unwrap_or_default();
    Ok(Blob::from(format!("ID=linux\nNAME=Linux\nPRETTY_NAME=\"Linux {version}\"\nVERSION_ID={version}\n").into_bytes()))
}
