//! Unified kernel images: everything that boots in one EFI application.

use super::{HEEDED_BY_INITRDS, Job, Recipe};
use crate::{
    error::Result,
    image::{Image, initrd},
    layout::{Entry, Firmware},
    request::{self, Request, Setting},
    run::Run,
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

/// The kernel, its initrd and its command line as one EFI application.
#[derive(Debug)]
pub(crate) struct Uki;

impl Recipe for Uki {
    fn heeds(&self, _: &Request) -> Vec<&'static Setting> {
        let mut heeded = vec![&request::BOOT];
        heeded.extend(HEEDED_BY_INITRDS);
        heeded
    }

    fn plan(&self, request: &Request) -> Result<Job> {
        Firmware::Uefi.and(request.firmware)?;
        Ok(Box::new(|run| unified(run).map(|uki| [uki].into())))
    }
}

fn unified(run: &mut Run) -> Result<Blob> {
    let entry = run.payload()?.entry()?;
    entry.check_cmdline()?;
    Firmware::Uefi.of(&entry)?;
    let image = run.image()?;
    // The microcode stands in front of the initrd; here it has a section of its own.
    let ucode = image.ucode.clone().unwrap_or_default();
    let initrd = entry.initrd.clone().unwrap_or_default();
    let initrd = initrd.slice(ucode.len().next_multiple_of(initrd::ALIGNMENT).min(initrd.len())..initrd.len());
    let text = |text: &str| Blob::bytes(text.as_bytes());
    let sections = [
        (".sbat", Blob::from(sbat().into_bytes())),
        (".osrel", os_release(&image, &entry)?),
        (".cmdline", text(entry.cmdline.trim())),
        (".uname", text(entry.version.as_deref().unwrap_or_default())),
        (".ucode", ucode),
        (".initrd", initrd),
        (".linux", entry.kernel.clone()),
    ];
    uki::unite(&entry.loader, &sections.map(|(name, body)| Section { name, body }))
}

/// What a revocation would name (shim's SBAT.md): the stub's generation, and that of images like this one as `ukify` writes it. shim
/// starts nothing without it.
fn sbat() -> String {
    let url = match env!("CARGO_PKG_REPOSITORY") {
        "" => "-",
        url => url,
    };
    let lines = [
        "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md",
        &format!("moby.loader,1,moby,moby-boot-efi,{},{url}", env!("CARGO_PKG_VERSION")),
        "uki,1,UKI,uki,1,https://uapi-group.org/specifications/specs/unified_kernel_image/",
    ];
    lines.map(|line| format!("{line}\n")).concat()
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
