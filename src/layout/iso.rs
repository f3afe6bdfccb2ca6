//! A hybrid ISO: a CD to firmware that has a CD drive, a GPT disk to everything else.
//!
//! ```text
//!  0        512   32 KiB       48 KiB       50 KiB       1 MiB                                                size
//!  MBR      GPT   ISO 9660     stage1       stage2       EFI system partition    ISO 9660 directories   GPT,
//!  stage1         descriptors, (El Torito,  (BIOS boot)  FAT: loader, entry,     and files, if they     backup
//!                 boot catalog BIOS)                     kernel, initrd          lie nowhere else
//! ```
//! Everything is there once: the records of ISO 9660 point at the files inside of the FAT volume, whose clusters are as large
//! as the blocks of a CD or larger. The FAT volume is the EFI system partition of the disk and the boot image of El Torito.
//! stage1 is there twice, because a CD has sectors of 2048 bytes and a disk of 512; both find the same stage2.
//!
//! Small volumes are FAT16: FAT32 with clusters of 2048 bytes begins at 128 MiB, and UEFI reads both on removable media.

use super::{Entry, Firmware, esp, gpt};
use crate::{error::Result, loaders};
use formats::{
    Blob, Ids, Timestamp, Tree, fat,
    gpt::{BIOS_BOOT, ESP, back_len},
    iso9660::{self, BLOCK, BootImage, Catalog, Volume},
    mbr,
    tree::{Builder, Content, Inode},
    units::{KIB, SECTOR},
};

/// Where stage1 for a CD is, and where stage2 is.
const CD_STAGE1: u64 = 24 * BLOCK;
const STAGE2: u64 = 25 * BLOCK;
const _: () = assert!(iso9660::DESCRIPTORS_END <= CD_STAGE1);
/// Sizes are a multiple of this: some firmware and some programs that write to USB sticks take nothing smaller.
const SIZE_MULTIPLE: u64 = 64 * KIB;

/// How an ISO is laid out.
#[derive(Clone, Copy, Debug)]
pub struct Iso<'a> {
    /// Which firmware it is for.
    pub firmware: Firmware,
    /// Its volume identifier.
    pub identifier: &'a str,
    /// Its application identifier.
    pub application: &'a str,
    /// Whether it has Joliet's names too.
    pub joliet: bool,
    /// The root file system that stands on it; without one, what is on the boot partition is shown.
    pub rootfs: Option<&'a Tree>,
}

impl Iso<'_> {
    /// The ISO that boots `entry`.
    ///
    /// # Errors
    /// When the architecture has no such firmware, the kernel would not take its command line, or a file fits neither FAT
    /// nor ISO 9660.
    pub fn image(&self, entry: &Entry, ids: &Ids, time: Timestamp) -> Result<Blob> {
        let firmware = self.firmware.of(entry)?;
        let esp = fat::Volume { fat32_only: false, cluster_min: BLOCK, ..esp::volume(firmware, SECTOR, entry, ids, time)? };
        let written = esp.write(esp.size_for(0)?)?;
        let files = shown(firmware, &esp, time)?;
        let bios = BootImage { start: CD_STAGE1, len: BLOCK };
        let uefi = BootImage { start: gpt::FRONT, len: written.volume.len() };
        let volume = Volume {
            tree: self.rootfs.unwrap_or(&files),
            identifier: self.identifier,
            application: self.application,
            time,
            joliet: self.joliet,
            boot: Some(Catalog { bios: firmware.has_bios().then_some(bios), uefi: firmware.has_uefi().then_some(uefi) }),
            start: gpt::FRONT + written.volume.len(),
            placed: if self.rootfs.is_none() { placed(firmware, &esp, &written) } else { Vec::new() },
            tail: back_len(SECTOR),
            size_multiple: SIZE_MULTIPLE,
        };
        let mut image = volume.write()?;

        let mut partitions = Vec::new();
        let mut boot_code = mbr::NOT_BOOTABLE;
        if firmware.has_bios() {
            boot_code = loaders::stage1(STAGE2, SECTOR);
            image.splice(CD_STAGE1, &Blob::bytes(loaders::stage1(STAGE2, BLOCK)));
            partitions.push(gpt::Partition {
                name: "BIOS boot".to_owned(),
                type_guid: BIOS_BOOT,
                start: STAGE2,
                len: gpt::FRONT - STAGE2,
                body: loaders::stage2(),
            });
        }
        let len = written.volume.len();
        partitions.push(gpt::Partition { name: "EFI system".to_owned(), type_guid: ESP, start: gpt::FRONT, len, body: written.volume });
        gpt::write(&mut image, SECTOR, boot_code, &partitions, ids)?;
        Ok(image)
    }
}

/// The El Torito image as a file: libisofs warns of a boot image that is none.
const STAGE1_PATH: &[u8] = b"moby/stage1.bin";

/// The files of the boot partition as a tree.
fn shown(firmware: Firmware, esp: &fat::Volume, time: Timestamp) -> Result<Tree> {
    let mut builder = Builder::default();
    for file in &esp.files {
        builder.add(file.path.as_bytes(), Inode::new(Content::File(file.body.clone()), 0o644))?;
    }
    if firmware.has_bios() {
        builder.add(STAGE1_PATH, Inode::new(Content::File(Blob::zeros(BLOCK)), 0o644))?;
    }
    let mut tree = builder.finish();
    tree.inodes.iter_mut().for_each(|inode| inode.mtime = time.0);
    Ok(tree)
}

/// Where they are.
fn placed(firmware: Firmware, esp: &fat::Volume, written: &fat::Written) -> Vec<(Vec<u8>, u64)> {
    let path = |file: &fat::File| file.path.trim_start_matches('/').as_bytes().to_vec();
    let of_esp = esp.files.iter().zip(&written.files).map(|(file, range)| (path(file), gpt::FRONT + range.start));
    of_esp.chain(firmware.has_bios().then(|| (STAGE1_PATH.to_vec(), CD_STAGE1))).collect()
}
