//! Which boot loaders a disk has: ours, and those of others by name. What theirs start only some of them say where we can read it.

use super::{
    device::{Device, bad, open, read},
    partitions::table,
};
use crate::{error::Result, image::file_system, loaders::EFI_LOADERS};
use bootfs::Volume;
use formats::{
    Blob, Kind, Spool,
    iso9660::Catalog,
    kernel::{Arch, Kernel},
    mbr::{self, Mbr},
    uki,
    units::KIB,
};
use memchr::memmem;
use std::ops::Range;

/// The name of our loaders.
pub(crate) const OURS: &str = "moby";

/// What firmware would start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loaders {
    /// What a BIOS would.
    pub(crate) bios: Option<&'static str>,
    /// The programs for UEFI, wherever they are below `/EFI`.
    pub(crate) uefi: Vec<Program>,
}

/// A program for UEFI.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// Where it is on its volume.
    pub(crate) path: String,
    /// What it is called.
    pub(crate) name: &'static str,
    /// The program.
    pub(crate) body: Blob,
}

/// What the code of a boot sector or of a CD has in it.
const BIOS_SIGNS: &[(&[u8], &str)] = &[
    (b"moby stage1", OURS),
    (b"ISOLINUX", "ISOLINUX"),
    (b"isolinux", "ISOLINUX"),
    (b"EXTLINUX", "EXTLINUX"),
    (b"SYSLINUX", "SYSLINUX"),
    (b"GRUB", "GRUB"),
    (b"cdrom read fails", "GRUB"),
    (b"LILO", "LILO"),
    (b"imine", "Limine"),
    (b"BOOTMGR", "Windows Boot Manager"),
    (b"NTLDR", "Windows NT loader"),
    (b"emtest86", "Memtest86+"),
];

/// Code that is there to say that nothing can be started: `mkfs.fat`'s, and what DOS writes.
const NO_LOADERS: &[&[u8]] = &[b"not a bootable disk", b"Non-System disk", b"NON-SYSTEM DISK"];

/// What an EFI program has in it, of several the first here: some name others that they start.
const UEFI_SIGNS: &[(&[u8], &str)] = &[
    (b"moby loader (UEFI)", OURS),
    (b"LoaderInfo: systemd-boot", "systemd-boot"),
    (b"\nshim,", "shim"),
    (b"Welcome to GRUB", "GRUB"),
    (b"\ngrub,", "GRUB"),
    (b"r\0E\0F\0I\0n\0d\0", "rEFInd"),
    (b"emtest86", "Memtest86+"),
    (b"imine", "Limine"),
    (b"iPXE", "iPXE"),
    (b"b\0o\0o\0t\0m\0g\0f\0w\0", "Windows Boot Manager"),
    (b"U-Boot", "U-Boot"),
];

/// A loader that none of the signs tells.
const UNKNOWN: &str = "a loader of unknown make";

impl Loaders {
    /// Those of a disk or a CD.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub(crate) fn of(disk: &Blob, spool: &mut Spool) -> Result<Self> {
        let mut uefi = Vec::new();
        for volume in volumes(disk)? {
            match programs(disk, &volume, spool) {
                Ok(found) => uefi.extend(found),
                // A volume that is damaged has none.
                Err(error) if error.kind() == Kind::BadInput => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { bios: bios(disk)?, uefi })
    }

    /// Whether UEFI starts the disk by itself, on a machine for this kernel or on any.
    pub(crate) fn has_default(&self, arch: Option<Arch>) -> bool {
        let mut loaders = EFI_LOADERS.iter().filter(|loader| arch.is_none_or(|arch| loader.arch == arch));
        loaders.any(|loader| self.defaults().any(|program| program.path.eq_ignore_ascii_case(loader.path)))
    }

    /// The programs that UEFI starts by itself, each on another kind of machine.
    pub(crate) fn defaults(&self) -> impl Iterator<Item = &Program> {
        let is_default = |program: &&Program| EFI_LOADERS.iter().any(|loader| program.path.eq_ignore_ascii_case(loader.path));
        self.uefi.iter().filter(is_default)
    }

    /// Whether some loader is known to start the disk.
    pub(crate) fn is_known(&self) -> bool {
        self.has_default(None) || self.bios.is_some_and(|name| name != UNKNOWN)
    }

    /// Those of others, each with its firmware.
    pub(crate) fn others(&self) -> Vec<String> {
        let uefi = self.uefi.iter().map(|program| (program.name, "UEFI"));
        let mut all: Vec<_> = self.bios.map(|name| (name, "BIOS")).into_iter().chain(uefi).filter(|(name, _)| *name != OURS).collect();
        all.dedup();
        all.into_iter().map(|(name, firmware)| format!("{name} ({firmware})")).collect()
    }
}

/// Where UEFI would look for programs: every FAT file system, as a partition, as a CD's image, or as the whole disk.
///
/// # Errors
/// When the disk cannot be read.
pub(super) fn volumes(disk: &Blob) -> Result<Vec<Range<u64>>> {
    let partitions = table(disk).map(|table| table.partitions).unwrap_or_default();
    let image = Catalog::read(disk)?.uefi;
    let mut found: Vec<_> = partitions.iter().filter_map(|partition| partition.range(disk.len())).collect();
    found.extend(image.map(|image| image.start..image.start + image.len));
    if partitions.is_empty() && image.is_none() {
        found.push(0..disk.len());
    }
    let mut volumes: Vec<Range<u64>> = Vec::new();
    for range in found {
        let is_fat = file_system::of(&disk.slice(range.clone()))?.is_some_and(|name| name.starts_with("FAT"));
        // A CD's image is a partition, too.
        if is_fat && volumes.iter().all(|volume| volume.start != range.start) {
            volumes.push(range);
        }
    }
    Ok(volumes)
}

/// A FAT file system of a disk.
pub(super) fn volume<'a>(disk: &'a Blob, at: &Range<u64>) -> Result<Volume<Device<'a>>> {
    Volume::open(open(disk)?, at.start, at.end - at.start).map_err(bad)
}

/// The files of a directory whose names end so, by name; none where there is no such directory.
pub(super) fn files(volume: &mut Volume<Device<'_>>, directory: &str, ending: &str) -> Result<Vec<String>> {
    Ok(list(volume, directory, false)?.into_iter().filter(|name| name.to_ascii_lowercase().ends_with(ending)).collect())
}

/// Most names that are looked at: a disk has a handful.
const NAMES_MAX: usize = 256;

fn list(volume: &mut Volume<Device<'_>>, directory: &str, directories: bool) -> Result<Vec<String>> {
    let mut listing = match volume.directory(directory) {
        Err(bootfs::Error::NotFound | bootfs::Error::NotDirectory) => return Ok(Vec::new()),
        found => found.map_err(bad)?,
    };
    let mut names = Vec::new();
    while let Some(node) = listing.next(volume).map_err(bad)?
        && names.len() < NAMES_MAX
    {
        if node.is_directory() == directories {
            names.push(node.name().as_str().to_owned());
        }
    }
    Ok(names)
}

/// The programs below `/EFI` of a volume.
fn programs(disk: &Blob, at: &Range<u64>, spool: &mut Spool) -> Result<Vec<Program>> {
    let mut volume = volume(disk, at)?;
    let mut found = Vec::new();
    for directory in list(&mut volume, "/EFI", true)? {
        let directory = format!("/EFI/{directory}");
        for name in files(&mut volume, &directory, ".efi")? {
            let path = format!("{directory}/{name}");
            let body = read(&mut volume, &path, spool)?;
            found.push(Program { path, name: program(&body)?, body });
        }
    }
    Ok(found)
}

/// What an EFI program is called.
fn program(body: &Blob) -> Result<&'static str> {
    /// Loaders are smaller.
    const SCANNED_MAX: u64 = 16 << 20;
    if uki::probe(body)? {
        return Ok("a unified kernel image");
    }
    let text = body.slice(0..body.len().min(SCANNED_MAX)).to_vec(SCANNED_MAX)?;
    // Memtest86+ looks like a kernel.
    Ok(match UEFI_SIGNS.iter().find(|(sign, _)| memmem::find(&text, sign).is_some()) {
        Some((_, name)) => name,
        None if Kernel::identify(body).is_ok() => "Linux",
        None => UNKNOWN,
    })
}

/// What a BIOS would start of a disk or a CD.
fn bios(disk: &Blob) -> Result<Option<&'static str>> {
    /// What a CD's loader is told by stands at its front; so does what GRUB says before it unpacks itself.
    const CD_MAX: u64 = 64 * KIB;
    let mut code = Vec::new();
    if disk.len() >= 512
        && let Some(sector) = Mbr::parse(&disk.read_array(0)?)
        && sector.boot_code != [0; mbr::BOOT_CODE_LEN]
        && sector.boot_code != mbr::NOT_BOOTABLE
    {
        code.extend(sector.boot_code);
        // Code that everybody has leads to the active partition's.
        let partitions = table(disk).map(|table| table.partitions).unwrap_or_default();
        let active = partitions.iter().find(|partition| partition.is_active);
        if let Some(start) =
            active.map(|partition| partition.start).filter(|start| start.checked_add(512).is_some_and(|end| end <= disk.len()))
        {
            code.extend(disk.read_array::<512>(start)?);
        }
    }
    if let Some(image) = Catalog::read(disk)?.bios {
        code.extend(disk.slice(image.start..(image.start + CD_MAX).min(disk.len())).to_vec(CD_MAX)?);
    }
    if code.is_empty() || NO_LOADERS.iter().any(|words| memmem::find(&code, words).is_some()) {
        return Ok(None);
    }
    // The first: behind a CD's loader may lie another's file.
    let found = BIOS_SIGNS.iter().filter_map(|(sign, name)| Some((memmem::find(&code, sign)?, *name)));
    Ok(Some(found.min_by_key(|(at, _)| *at).map_or(UNKNOWN, |(_, name)| name)))
}
