//! A unified kernel image out of what is booted (UAPI.5): everything in one EFI application.

use crate::{
    error::Result,
    image::{Image, initrd},
    layout::Entry,
    secure_boot::SecureBoot,
};
use formats::{
    Blob, pcr,
    tree::Content,
    uki::{self, Section},
    units,
};

/// Where a root file system says what it is (os-release(5)).
const OS_RELEASE: [&[u8]; 2] = [b"etc/os-release", b"usr/lib/os-release"];
/// The most of it that is taken.
const OS_RELEASE_MAX: u64 = 64 * units::KIB;

/// What `entry` boots in one EFI application, with what was signed of it and signed itself where the user wants that.
///
/// # Errors
/// When the kernel would not take its command line, the file would become too large, or what signs fails.
pub(crate) fn unite(entry: &Entry, image: &Image, secure_boot: &SecureBoot) -> Result<Blob> {
    entry.check_cmdline()?;
    // The microcode stands in front of the initrd; here it has a section of its own.
    let ucode = image.ucode.clone().unwrap_or_default();
    let initrd = entry.initrd.clone().unwrap_or_default();
    let initrd = initrd.slice(ucode.len().next_multiple_of(initrd::ALIGNMENT).min(initrd.len())..initrd.len());
    let text = |text: &str| Blob::bytes(text.as_bytes());
    let pcr_key = secure_boot.pcr_key.as_deref();
    let section = |name, body| Section { name, body };
    let mut sections = vec![
        section(".sbat", Blob::from(sbat().into_bytes())),
        section(".osrel", os_release(image, entry)?),
        section(".cmdline", text(entry.cmdline.trim())),
        section(".uname", text(entry.version.as_deref().unwrap_or_default())),
        section(".ucode", ucode),
        section(".initrd", initrd),
        section(".pcrpkey", pcr_key.map(|key| text(&key.public_key().pem())).unwrap_or_default()),
        section(".linux", entry.kernel.clone()),
    ];
    if let Some(key) = pcr_key {
        // What is measured does not have the signature of it.
        let measured = pcr::uki(&uki::unite(&entry.loader, &sections)?)?;
        let linux = sections.len() - 1;
        sections.insert(linux, section(".pcrsig", text(&pcr::signature(&measured, key)?)));
    }
    let united = uki::unite(&entry.loader, &sections)?;
    secure_boot.signing.as_ref().map_or(Ok(united.clone()), |signing| signing.sign(&united))
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
