//! Looking into a disk with the reader that the loaders use: partitions, the boot entry, and the files that it names.

use crate::{
    error::{At, Error, Result},
    image::{Cmdline, Image},
    initrd::Initrd,
    loaders::Arch,
};
use bootfs::{
    BlockDevice, Volume,
    choose::{EntryFile, choose},
    entry,
    fat::File,
    gpt,
};
use formats::{Blob, Env, Guid, Spool, Tree, iso9660, uki, units};
use std::{
    fmt,
    io::{self, Read},
};

/// A blob as the loaders see a disk.
#[derive(Debug)]
struct Device<'a>(&'a Blob);

const SECTOR: u32 = 512;
/// The most bytes of a command line: more than any kernel takes.
const CMDLINE_MAX: u64 = 64 * units::KIB;

impl BlockDevice for Device<'_> {
    type Error = Error;

    fn sector_size(&self) -> u32 {
        SECTOR
    }

    fn sector_count(&self) -> Option<u64> {
        Some(self.0.len() / u64::from(SECTOR))
    }

    fn read(&mut self, first: u64, into: &mut [u8]) -> Result<()> {
        let offset = first.checked_mul(u64::from(SECTOR)).ok_or_else(|| Error::bad_input("a sector number beyond 2^64 bytes"))?;
        self.0.read_at(offset, into)
    }
}

/// A partition.
#[derive(Clone, Debug)]
pub struct Partition {
    /// Its place in the table, from 1.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_guid: Guid,
    /// Its identity.
    pub guid: Guid,
    /// First byte on the disk.
    pub start: u64,
    /// Bytes.
    pub len: u64,
}

/// What the loaders would boot from a disk, or what a unified kernel image boots.
#[derive(Debug)]
pub struct Boot {
    /// File name of the entry.
    pub entry: String,
    /// Path and content of the kernel.
    pub kernel: (String, Blob),
    /// Paths and contents of the initrds.
    pub initrds: Vec<(String, Blob)>,
    /// The command line.
    pub cmdline: String,
}

fn bad(error: impl fmt::Display) -> Error {
    Error::bad_input(error.to_string())
}

fn open(disk: &Blob) -> Result<bootfs::Disk<Device<'_>>> {
    bootfs::Disk::new(Device(disk)).map_err(bad)
}

/// The partitions of a disk, in the order of its table.
///
/// # Errors
/// When there is no sound GPT.
pub fn partitions(disk: &Blob) -> Result<Vec<Partition>> {
    let mut device = open(disk)?;
    let table = gpt::Gpt::read(&mut device).map_err(bad)?;
    let mut found = Vec::new();
    for index in 0..table.entry_count {
        if let Some(partition) = table.partition(&mut device, index).map_err(bad)? {
            let name = partition.name.split(|unit| *unit == 0).next().unwrap_or_default();
            found.push(Partition {
                number: index + 1,
                name: String::from_utf16_lossy(name),
                type_guid: Guid::from_mixed_endian(partition.type_guid),
                guid: Guid::from_mixed_endian(partition.guid),
                start: partition.start,
                len: partition.len,
            });
        }
    }
    Ok(found)
}

/// What the loaders would boot, for this `architecture` as the Boot Loader Specification names it (`x64`, `aa64`).
///
/// The files are copied to the spool.
///
/// # Errors
/// In the loaders' own words, when they would refuse the disk.
pub fn boot(disk: &Blob, architecture: &str, spool: &mut Spool) -> Result<Boot> {
    let mut device = open(disk)?;
    let table = gpt::Gpt::read(&mut device).map_err(bad)?;
    let esp = table.find(&mut device, &gpt::ESP).map_err(bad)?;
    let mut volume = Volume::open(device, esp.start, esp.len).map_err(bad)?;
    let (mut best, mut spare) = (EntryFile::new(), EntryFile::new());
    choose(&mut volume, architecture, &mut best, &mut spare).map_err(bad).at(|| entry::DIRECTORY)?;
    let entry = best.entry().map_err(bad).at(|| best.name().to_owned())?;
    let linux = entry.linux().ok_or_else(|| Error::bad_input("has no linux line")).at(|| best.name().to_owned())?;
    let mut file = |path: &str| read(&mut volume, path, spool).map(|body| (path.to_owned(), body));
    Ok(Boot {
        entry: best.name().to_owned(),
        kernel: file(linux)?,
        initrds: entry.initrds().map(&mut file).collect::<Result<_>>()?,
        cmdline: entry.options().collect::<Vec<_>>().join(" "),
    })
}

/// What the loaders would boot, of the first architecture that has an entry.
///
/// # Errors
/// As [`boot`].
pub fn boot_any(disk: &Blob, spool: &mut Spool) -> Result<Boot> {
    boot(disk, Arch::X86_64.efi_name(), spool).or_else(|_| boot(disk, Arch::Aarch64.efi_name(), spool))
}

/// A file of the EFI system partition.
///
/// # Errors
/// When there is no such partition or file.
pub fn esp_file(disk: &Blob, path: &str, spool: &mut Spool) -> Result<Blob> {
    let mut device = open(disk)?;
    let table = gpt::Gpt::read(&mut device).map_err(bad)?;
    let esp = table.find(&mut device, &gpt::ESP).map_err(bad)?;
    let mut volume = Volume::open(device, esp.start, esp.len).map_err(bad)?;
    read(&mut volume, path, spool)
}

/// What a disk boots, taken apart. A CD is its own root file system where it has no other; one that others made may have nothing else
/// that we know of, and then the kernel is empty.
///
/// # Errors
/// As [`boot`], and when the initrd or the CD's file system is damaged.
pub fn image(disk: &Blob, env: &mut Env) -> Result<Image> {
    let is_cd = iso9660::probe(disk)?;
    let mut image = match boot_any(disk, &mut env.spool) {
        Ok(boot) => boot.image(env)?,
        Err(_) if is_cd => Image::default(),
        Err(error) => return Err(error),
    };
    if is_cd && image.rootfs.names.is_empty() {
        image.rootfs = iso9660::read(disk).at(|| "ISO 9660")?;
    }
    Ok(image)
}

/// What a unified kernel image boots.
///
/// # Errors
/// When it is damaged, or its command line is none.
pub fn uki_boot(file: &Blob) -> Result<Boot> {
    let sections = uki::divide(file)?;
    let section = |name: &str| sections.iter().find(|(found, _)| found == name).map(|(name, body)| (name.clone(), body.clone()));
    let kernel = section(".linux").ok_or_else(|| Error::bad_input("there is no section .linux"))?;
    let cmdline = section(".cmdline").map(|(_, body)| body.to_vec(CMDLINE_MAX)).transpose()?.unwrap_or_default();
    let cmdline = Cmdline::from_file(&cmdline).at(|| ".cmdline")?;
    Ok(Boot {
        entry: ".linux".to_owned(),
        kernel,
        initrds: [".ucode", ".initrd"].into_iter().filter_map(section).collect(),
        cmdline: cmdline.as_str().to_owned(),
    })
}

impl Boot {
    /// Taken apart: kernel, command line, and the microcode and the root file system of its initrd.
    ///
    /// # Errors
    /// When the initrd is damaged, or the command line is none.
    pub fn image(self, env: &mut Env) -> Result<Image> {
        let initrd = Initrd::read(&self.initrd(), env).at(|| "initrd")?;
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
            all.pad_to(4);
            all.append(body);
        }
        all
    }
}

/// A file of the boot partition.
fn read(volume: &mut Volume<Device<'_>>, path: &str, spool: &mut Spool) -> Result<Blob> {
    let file = volume.file(path).map_err(bad).at(|| path.to_owned())?;
    spool.copy(&mut Reader { volume, file, at: 0 }).at(|| path.to_owned())
}

struct Reader<'a, 'b> {
    volume: &'a mut Volume<Device<'b>>,
    file: File,
    at: u32,
}

impl Read for Reader<'_, '_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.file.size() - self.at).unwrap_or(usize::MAX);
        let n = to.len().min(left);
        self.volume.read(&mut self.file, self.at, &mut to[..n]).map_err(bad)?;
        self.at += u32::try_from(units::bytes(n)).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(n)
    }
}
