//! The kernel image: of its files only the kernel, its tar of modules and its microcode are taken.

use super::{
    config,
    filesystem::{self, Resolver},
    flatten,
    tagged::{T0, Tag, Tagged},
};
use crate::error::{At, Error, Result};
use formats::{
    Blob, Spool,
    compress::Codec,
    tar::{
        typeflag,
        verbatim::{Entries, Entry, clean, split},
    },
    tree::ShowPath,
};

/// Links that are followed to the kernel.
const LINKS_MAX: usize = 8;

/// What of the kernel image was asked for.
struct Wanted<'a> {
    binary: &'a str,
    /// Empty for none.
    modules: &'a str,
    ucode: &'a str,
}

/// Puts the kernel into the tar.
///
/// # Errors
/// When the image lacks something that was asked for, or the kernel cannot be unpacked.
pub(super) fn put(to: &mut Tagged, kernel: &config::Kernel, layers: &[flatten::Tar], tag: &Tag, unpack: Option<&mut Spool>) -> Result<()> {
    let text = |text: &'_ Option<config::Text>| text.as_ref().map(|text| text.value.clone());
    let (binary, modules, ucode) = (text(&kernel.binary), text(&kernel.tar), text(&kernel.ucode));
    let modules = modules.as_deref().unwrap_or("kernel.tar");
    let wanted = Wanted {
        binary: binary.as_deref().unwrap_or("kernel"),
        modules: if modules == "none" { "" } else { modules },
        ucode: ucode.as_deref().unwrap_or_default(),
    };
    let cmdline = text(&kernel.cmdline).unwrap_or_default();
    let mut unpack = unpack;
    let (mut has_kernel, mut has_modules, mut has_ucode) = (false, false, false);
    filesystem::each(layers, tag, "", Resolver::File, |entry, body| {
        let path = entry.path.as_slice();
        if path == wanted.binary.as_bytes() {
            let mut body = followed(layers, tag, &entry, body)?;
            if let Some(spool) = unpack.as_deref_mut() {
                body = unpacked(&body, spool)?;
            }
            if !has_ucode {
                to.add(&part("boot", &entry, typeflag::DIRECTORY, 0o755), &Blob::default())?;
            }
            to.add(&part("boot/cmdline", &entry, typeflag::FILE, 0o644), &Blob::bytes(cmdline.as_bytes()))?;
            to.add(&part("boot/kernel", &entry, typeflag::FILE, entry.mode), &body)?;
            has_kernel = true;
        } else if path == wanted.modules.as_bytes() {
            modules_into(to, &followed(layers, tag, &entry, body)?, tag)?;
            has_modules = true;
        } else if path == wanted.ucode.as_bytes() {
            let body = followed(layers, tag, &entry, body)?;
            if !has_kernel {
                to.add(&part("boot", &entry, typeflag::DIRECTORY, 0o755), &Blob::default())?;
            }
            to.add(&part("boot/ucode.cpio", &entry, typeflag::FILE, entry.mode), &body)?;
            has_ucode = true;
        }
        Ok(())
    })?;
    let lacks = [
        (has_kernel, wanted.binary, "kernel", "name it with kernel: binary:"),
        (has_modules, wanted.modules, "tar of modules", "name it with kernel: tar:, or say that there is none with tar: none"),
        (has_ucode, wanted.ucode, "microcode", "leave out kernel: ucode:, or name a file that is there"),
    ];
    // Where a later file replaced the image, what an earlier one says of its microcode is not about it.
    let is_replaced = kernel.ucode.as_ref().zip(kernel.image.as_ref()).is_some_and(|(ucode, image)| ucode.at.file != image.written.at.file);
    let is_asked = |what: &str| what != "microcode" || !is_replaced;
    match lacks.iter().find(|(has, name, what, _)| !has && !name.is_empty() && is_asked(what)) {
        Some((_, name, what, hint)) => Err(Error::bad_input(format!("the image has no {what} {}", ShowPath(name.as_bytes()))).hint(*hint)),
        None => Ok(()),
    }
}

/// A file in `boot`, with the records of the one in the image.
fn part(path: &str, of: &Entry, kind: u8, mode: i64) -> Entry {
    Entry { mtime: T0, records: of.records.clone(), ..Entry::new(kind, path, mode) }
}

/// The content that an entry stands for: through links inside of the image. LinuxKit takes a link for an empty file.
fn followed(layers: &[flatten::Tar], tag: &Tag, entry: &Entry, body: Blob) -> Result<Blob> {
    let (mut entry, mut body) = (entry.clone(), body);
    for _ in 0..LINKS_MAX {
        let target = match entry.kind {
            typeflag::HARD_LINK => clean(&entry.link),
            typeflag::SYMLINK => {
                let base: &[u8] = if entry.link.starts_with(b"/") { b"" } else { split(&entry.path).0 };
                clean(&[base, &entry.link].concat())
            }
            typeflag::FILE | typeflag::CONTIGUOUS => return Ok(body),
            _ => return Err(Error::bad_input(format!("{} is no file", ShowPath(&entry.path)))),
        };
        let target = target.strip_prefix(b"/").unwrap_or(&target);
        let mut found = None;
        filesystem::each(layers, tag, "", Resolver::File, |entry, body| {
            if entry.path == target {
                found = Some((entry, body));
            }
            Ok(())
        })?;
        let lost = || Error::bad_input(format!("{} is a link to {}, which is not in the image", ShowPath(&entry.path), ShowPath(target)));
        (entry, body) = found.ok_or_else(lost)?;
    }
    Err(Error::bad_input(format!("more than {LINKS_MAX} links lead from {}", ShowPath(&entry.path))))
}

/// Adds what is in the tar of modules, as it stands there.
fn modules_into(to: &mut Tagged, modules: &Blob, tag: &Tag) -> Result<()> {
    for entry in Entries::new(modules) {
        let (mut entry, body) = entry.at(|| "kernel.tar")?;
        tag.mark(&mut entry);
        to.add(&entry, &body)?;
    }
    Ok(())
}

/// The kernel in a compressed file, or in a bzImage. LinuxKit knows gzip alone.
fn unpacked(kernel: &Blob, spool: &mut Spool) -> Result<Blob> {
    match Codec::of(kernel)? {
        Codec::None => formats::kernel::Kernel::identify(kernel)?.unpack(spool),
        codec => spool.copy(&mut formats::compress::reader(codec, kernel.reader())?.tolerant()),
    }
    .at(|| "--decompress-kernel")
}
