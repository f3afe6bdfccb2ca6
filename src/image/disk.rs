//! Looking into a disk with the reader that the loaders use: partitions, the boot entry, and the files that it names.

mod device;
mod loaders;
mod partitions;

use super::{Image, booted::Booted, uki::CMDLINE_MAX};
use crate::{
    error::{At, Error, Result},
    loaders::EFI_LOADERS,
};
use bootfs::{
    Uki, Volume,
    choose::{EntryFile, choose},
    compare_versions, entry, gpt,
    uki::{self as sections, command_line},
};
use formats::{
    Blob, Env, Spool, iso9660,
    kernel::{Arch, Kernel},
    uki, units,
};
use std::ops::Range;

use device::{Device, bad, open, read};
pub(crate) use loaders::{Loaders, Program};
pub use partitions::{Holds, Partition, Scheme, Table, partitions, table};

/// What the loaders would boot, for this `architecture` as the Boot Loader Specification names it (`x64`, `aa64`). Where ours would boot
/// nothing, what others would by the same specification: entries on any FAT volume, or unified kernel images.
///
/// The files are copied to the spool.
///
/// # Errors
/// In the loaders' own words, when they would refuse the disk and nobody else is known to start it.
pub fn boot(disk: &Blob, architecture: &str, spool: &mut Spool) -> Result<Booted> {
    let refused = match esp(disk).and_then(|volume| entry(volume, architecture, spool)) {
        Err(refused) => refused,
        booted => return booted,
    };
    for at in loaders::volumes(disk)? {
        let entry = loaders::volume(disk, &at).and_then(|volume| entry(volume, architecture, spool));
        if let Ok(booted) = entry.or_else(|_| unified(loaders::volume(disk, &at)?, architecture, spool)) {
            return Ok(booted);
        }
    }
    Err(refused)
}

/// The EFI system partition, as the loaders find it.
fn esp(disk: &Blob) -> Result<Volume<Device<'_>>> {
    let mut device = open(disk)?;
    let table = gpt::Gpt::read(&mut device).map_err(bad)?;
    let esp = table.find(&mut device, &gpt::ESP).map_err(bad)?;
    Volume::open(device, esp.start, esp.len).map_err(bad)
}

/// What the entries of a volume boot (UAPI.1, type 1).
fn entry(mut volume: Volume<Device<'_>>, architecture: &str, spool: &mut Spool) -> Result<Booted> {
    let (mut best, mut spare) = (EntryFile::new(), EntryFile::new());
    choose(&mut volume, architecture, &mut best, &mut spare).map_err(bad).at(|| entry::DIRECTORY)?;
    let entry = best.entry().map_err(bad).at(|| best.name().to_owned())?;
    let linux = match (entry.linux(), entry.uki()) {
        (Some(linux), _) => linux,
        (None, Some(path)) => return Ok(Booted { entry: best.name().to_owned(), ..inside(&mut volume, path, spool)? }),
        (None, None) => return Err(bad(entry::Error::NoKernel)).at(|| best.name().to_owned()),
    };
    let mut file = |path: &str| read(&mut volume, path, spool).map(|body| (path.to_owned(), body));
    Ok(Booted {
        entry: best.name().to_owned(),
        kernel: file(linux)?,
        initrds: entry.initrds().map(&mut file).collect::<Result<_>>()?,
        cmdline: entry.options().collect::<Vec<_>>().join(" "),
    })
}

/// Whether the loaders find an entry for this architecture.
fn has_entry(disk: &Blob, architecture: &str) -> bool {
    let (mut best, mut spare) = (EntryFile::new(), EntryFile::new());
    esp(disk).is_ok_and(|mut volume| choose(&mut volume, architecture, &mut best, &mut spare).is_ok())
}

/// What our BIOS loader boots of a unified kernel image that an entry names. The image is copied as a whole, and once.
fn inside(volume: &mut Volume<Device<'_>>, path: &str, spool: &mut Spool) -> Result<Booted> {
    let file = read(volume, path, spool)?;
    let head = file.slice(0..file.len().min(units::bytes(sections::HEAD_LEN))).to_vec(file.len())?;
    let found = Uki::parse(&head, u32::try_from(file.len()).unwrap_or(u32::MAX)).map_err(bad).at(|| path.to_owned())?;
    let body = |range: &Range<u32>| file.slice(range.start.into()..range.end.into());
    let part = |(name, range): (&str, &Range<u32>)| (format!("{path} {name}"), body(range));
    let cmdline = body(&found.cmdline).to_vec(CMDLINE_MAX)?;
    Ok(Booted {
        entry: path.to_owned(),
        kernel: part((sections::LINUX, &found.linux)),
        initrds: sections::INITRDS.into_iter().zip(&found.initrds).filter(|(_, range)| !range.is_empty()).map(part).collect(),
        cmdline: command_line(&cmdline).map_err(bad).at(|| path.to_owned())?.to_owned(),
    })
}

/// What the unified kernel images of a volume boot (UAPI.1, type 2): the newest by its name, or the one that firmware starts by itself.
fn unified(mut volume: Volume<Device<'_>>, architecture: &str, spool: &mut Spool) -> Result<Booted> {
    const DIRECTORY: &str = "/EFI/Linux";
    let loader = EFI_LOADERS.iter().find(|loader| loader.name == architecture);
    let loader = loader.ok_or_else(|| Error::bad_input("there is no loader"))?;
    let mut names = loaders::files(&mut volume, DIRECTORY, ".efi")?;
    names.sort_by(|a, b| compare_versions(b, a));
    let paths = names.into_iter().map(|name| format!("{DIRECTORY}/{name}")).chain([loader.path.to_owned()]);
    for path in paths {
        let Ok(body) = read(&mut volume, &path, spool) else { continue };
        if uki::probe(&body)?
            && let Ok(booted) = super::uki::boot(&body)
            && Kernel::identify(&booted.kernel.1).is_ok_and(|kernel| kernel.arch == loader.arch)
        {
            return Ok(Booted { entry: path, ..booted });
        }
    }
    Err(Error::bad_input(format!("there is no unified kernel image in {DIRECTORY}")))
}

/// What the loaders would boot, of the first architecture that has an entry.
///
/// # Errors
/// As [`boot`].
pub fn boot_any(disk: &Blob, spool: &mut Spool) -> Result<Booted> {
    let mut refused = None;
    for loader in EFI_LOADERS {
        match boot(disk, loader.name, spool) {
            // What is wrong with the entry for one machine says more than that there is none for another.
            Err(error) if refused.is_none() || has_entry(disk, loader.name) => refused = Some(error),
            Err(_) => {}
            found => return found,
        }
    }
    Err(refused.unwrap_or_else(|| Error::bad_input("there is no loader")))
}

/// What the kernel that the loaders would boot is for, where there is one.
pub fn arch(disk: &Blob, spool: &mut Spool) -> Option<Arch> {
    let booted = boot_any(disk, spool).ok()?;
    Kernel::identify(&booted.kernel.1).ok().map(|kernel| kernel.arch)
}

/// A file of the EFI system partition.
///
/// # Errors
/// When there is no such partition or file.
pub fn esp_file(disk: &Blob, path: &str, spool: &mut Spool) -> Result<Blob> {
    read(&mut esp(disk)?, path, spool)
}

/// What a disk boots, taken apart. A CD is its own root file system where it has no other; one that others made may have nothing else
/// that we know of, and then the kernel is empty.
///
/// # Errors
/// As [`boot`], and when the initrd or the CD's file system is damaged.
pub fn image(disk: &Blob, env: &mut Env) -> Result<Image> {
    let is_cd = iso9660::probe(disk)?;
    let mut image = match boot_any(disk, &mut env.spool) {
        Ok(booted) => booted.image(env)?,
        Err(_) if is_cd => Image::default(),
        Err(error) => return Err(error),
    };
    if is_cd && image.rootfs.names.is_empty() {
        image.rootfs = iso9660::read(disk).at(|| "ISO 9660")?;
    }
    Ok(image)
}
