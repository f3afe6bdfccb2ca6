//! The reserved sectors: boot sector with BIOS parameter block, FSInfo, and the backup of both.

use super::{Volume, Width, directory, geometry::Geometry};
use crate::{Blob, mbr, units};
use std::mem::offset_of;
use zerocopy::{
    Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32},
};

/// The part of the boot sector that all widths share.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Bpb {
    /// 0: a jump over this structure.
    jump: [u8; 3],
    /// 3: "MSWIN4.1", which fatgen103 recommends.
    oem_name: [u8; 8],
    /// 11: 512, 1024, 2048 or 4096.
    bytes_per_sector: U16,
    /// 13: a power of two.
    sectors_per_cluster: u8,
    /// 14: sectors before the first table.
    reserved_sector_count: U16,
    /// 16: 2.
    fat_count: u8,
    /// 17: entries of the fixed root directory; 0 in FAT32.
    root_entry_count: U16,
    /// 19: sectors of the volume; 0 when they are more than 16 bits hold, and in FAT32.
    total_sectors_16: U16,
    /// 21: 0xf8, a fixed disk; repeated in entry 0 of the tables.
    media: u8,
    /// 22: sectors of a table; 0 in FAT32.
    fat_size_16: U16,
    /// 24: 63, for INT 13h.
    sectors_per_track: U16,
    /// 26: 255, for INT 13h.
    head_count: U16,
    /// 28: sectors before the volume.
    hidden_sectors: U32,
    /// 32: sectors of the volume where `total_sectors_16` is 0.
    total_sectors_32: U32,
}

/// What FAT32 has after the common part.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Bpb32 {
    /// 36: sectors of a table.
    fat_size_32: U32,
    /// 40: 0: both tables are kept equal.
    flags: U16,
    /// 42: 0.
    version: U16,
    /// 44: first cluster of the root directory.
    root_cluster: U32,
    /// 48: sector of FSInfo.
    fs_info: U16,
    /// 50: sector of the backup.
    backup_boot_sector: U16,
    /// 52: 0.
    reserved: [u8; 12],
}

/// What ends the parameter block of every width: at +36 in FAT12 and FAT16, at +64 in FAT32.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Extended {
    /// 0x80, for INT 13h.
    drive_number: u8,
    /// 0.
    reserved: u8,
    /// 0x29: the three fields below are there.
    boot_signature: u8,
    /// Serial number.
    volume_id: U32,
    /// The label, as in the root directory.
    volume_label: [u8; 11],
    /// "FAT12   " and so on: for people, no program may look at it.
    file_system_type: [u8; 8],
}

/// FSInfo after its first 484 bytes.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FsInfo {
    /// 484: 0x61417272.
    signature: U32,
    /// 488: how many clusters are free.
    free_count: U32,
    /// 492: where to look for a free cluster.
    next_free: U32,
    /// 496: 0.
    reserved: [u8; 12],
    /// 508: 0xaa550000.
    trail_signature: U32,
}

const _: () = assert!(size_of::<Bpb>() == 36 && offset_of!(Bpb, hidden_sectors) == 28);
const _: () = assert!(size_of::<Bpb32>() == 28 && offset_of!(Bpb32, backup_boot_sector) == 50 - 36);
const _: () = assert!(size_of::<Extended>() == 26);
const _: () = assert!(size_of::<FsInfo>() == 28);

/// First cluster of the FAT32 root directory.
pub(super) const ROOT_CLUSTER: u32 = 2;
const FS_INFO: u64 = 1;
const BACKUP: u64 = 6;

/// The reserved sectors as far as they are in use. `next_free` is the first free cluster.
pub(super) fn reserved(volume: &Volume, geometry: &Geometry, next_free: u32) -> Blob {
    let boot = boot_sector(volume, geometry);
    let mut sectors = Blob::bytes(boot);
    if geometry.width == Width::Fat32 {
        sectors.extend_to(FS_INFO * volume.sector);
        sectors.append(&Blob::bytes(fs_info(geometry, next_free)));
        let pair = sectors.clone();
        sectors.extend_to(BACKUP * volume.sector);
        sectors.append(&pair);
    }
    sectors
}

fn boot_sector(volume: &Volume, geometry: &Geometry) -> [u8; 512] {
    let mut parts = bpb(volume, geometry).as_bytes().to_vec();
    if geometry.width == Width::Fat32 {
        parts.extend_from_slice(bpb32(volume.sector, geometry).as_bytes());
    }
    let extended = Extended {
        drive_number: 0x80,
        reserved: 0,
        boot_signature: 0x29,
        volume_id: U32::new(volume.serial),
        volume_label: directory::label(&volume.label),
        file_system_type: *match geometry.width {
            Width::Fat12 => b"FAT12   ",
            Width::Fat16 => b"FAT16   ",
            Width::Fat32 => b"FAT32   ",
        },
    };
    parts.extend_from_slice(extended.as_bytes());
    // The jump is relative to its own end.
    parts[1] = u8::try_from(parts.len() - 2).expect("the parameter block is shorter than 128 bytes");
    parts.extend(mbr::NOT_BOOTABLE_CODE);
    let mut sector = [0; 512];
    sector[..parts.len()].copy_from_slice(&parts);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// A count that the geometry bounded.
fn narrow<T: TryFrom<u64>>(value: u64) -> T {
    T::try_from(value).ok().unwrap_or_else(|| panic!("{value} is beyond what the geometry allows"))
}

fn bpb(volume: &Volume, geometry: &Geometry) -> Bpb {
    let sector = volume.sector;
    let total = geometry.size / sector;
    let fat_size = geometry.fat_len / sector;
    let old = geometry.width != Width::Fat32;
    let total_16 = u16::try_from(total).ok().filter(|_| old);
    Bpb {
        jump: [0xeb, 0, 0x90],
        oem_name: *b"MSWIN4.1",
        bytes_per_sector: U16::new(narrow(sector)),
        sectors_per_cluster: narrow(geometry.cluster / sector),
        reserved_sector_count: U16::new(narrow(geometry.fat_at / sector)),
        fat_count: 2,
        root_entry_count: U16::new(narrow(geometry.root_len / directory::ENTRY_LEN)),
        total_sectors_16: U16::new(total_16.unwrap_or(0)),
        media: 0xf8,
        fat_size_16: U16::new(if old { narrow(fat_size) } else { 0 }),
        sectors_per_track: U16::new(63),
        head_count: U16::new(255),
        hidden_sectors: U32::new(volume.hidden_sectors),
        total_sectors_32: U32::new(if total_16.is_some() { 0 } else { narrow(total) }),
    }
}

fn bpb32(sector: u64, geometry: &Geometry) -> Bpb32 {
    Bpb32 {
        fat_size_32: U32::new(narrow(geometry.fat_len / sector)),
        flags: U16::ZERO,
        version: U16::ZERO,
        root_cluster: U32::new(ROOT_CLUSTER),
        fs_info: U16::new(narrow(FS_INFO)),
        backup_boot_sector: U16::new(narrow(BACKUP)),
        reserved: [0; 12],
    }
}

fn fs_info(geometry: &Geometry, next_free: u32) -> [u8; 512] {
    let free = geometry.clusters - (next_free - ROOT_CLUSTER);
    let info = FsInfo {
        signature: U32::new(0x6141_7272),
        free_count: U32::new(free),
        next_free: U32::new(if free == 0 { u32::MAX } else { next_free }),
        reserved: [0; 12],
        trail_signature: U32::new(0xaa55_0000),
    };
    let mut sector = [0; 512];
    sector[..4].copy_from_slice(&0x4161_5252_u32.to_le_bytes());
    sector[units::index(484)..].copy_from_slice(info.as_bytes());
    sector
}
