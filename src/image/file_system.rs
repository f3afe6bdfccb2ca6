//! Telling file systems by their magic: enough for `inspect` to name what is in a partition.

use crate::error::Result;
use formats::Blob;

/// A magic: where it is, what it is, and the file system that has it.
type Magic = (u64, &'static [u8], &'static str);

const MAGICS: &[Magic] = &[
    (82, b"FAT32   ", "FAT32"),
    (54, b"FAT16   ", "FAT16"),
    (54, b"FAT12   ", "FAT12"),
    (3, b"EXFAT   ", "exFAT"),
    (3, b"NTFS    ", "NTFS"),
    (0, b"hsqs", "squashfs"),
    (0, b"XFSB", "XFS"),
    (0, b"LUKS\xba\xbe", "LUKS"),
    (1024, &[0xe2, 0xe1, 0xf5, 0xe0], "EROFS"),
    (1024, &[0x10, 0x20, 0xf5, 0xf2], "F2FS"),
    (1024 + 56, &[0x53, 0xef], "ext"),
    (512, b"LABELONE", "LVM2"),
    (4086, b"SWAPSPACE2", "swap"),
    (32_769, b"CD001", "ISO 9660"),
    (65_600, b"_BHRfS_M", "Btrfs"),
];

/// The file system in a volume, if it is a known one.
///
/// # Errors
/// When the volume cannot be read.
pub fn of(volume: &Blob) -> Result<Option<&'static str>> {
    for (at, magic, name) in MAGICS {
        let mut found = vec![0; magic.len()];
        if volume.len() >= at + formats::units::bytes(found.len()) {
            volume.read_at(*at, &mut found)?;
            if found == *magic {
                return Ok(Some(if *name == "ext" { ext(volume)? } else { name }));
            }
        }
    }
    Ok(None)
}

/// Bytes of the smallest unit that a file system is read in, as far as it may be less than a sector: it says so itself.
///
/// # Errors
/// When the volume cannot be read.
pub fn block(volume: &Blob) -> Result<Option<u64>> {
    Ok(match of(volume)? {
        Some("FAT32" | "FAT16" | "FAT12" | "NTFS") => Some(u64::from(u16::from_le_bytes(volume.read_array(11)?))),
        Some("exFAT") => 1_u64.checked_shl(u32::from(u8::from_le_bytes(volume.read_array(108)?))),
        Some("ext2" | "ext3" | "ext4") => 1024_u64.checked_shl(u32::from_le_bytes(volume.read_array(1024 + 24)?)),
        Some("XFS") => Some(u64::from(u16::from_be_bytes(volume.read_array(102)?))),
        _ => None,
    })
}

/// Which of the ext file systems, by the features of the superblock (Linux `ext4/super.rst`).
fn ext(volume: &Blob) -> Result<&'static str> {
    let (compatible, incompatible) = (u32::from_le_bytes(volume.read_array(1024 + 92)?), u32::from_le_bytes(volume.read_array(1024 + 96)?));
    /// Extents, 64 bit, flexible block groups.
    const EXT4: u32 = 0x40 | 0x80 | 0x200;
    /// A journal.
    const EXT3: u32 = 4;
    Ok(match (incompatible & EXT4 != 0, compatible & EXT3 != 0) {
        (true, _) => "ext4",
        (false, true) => "ext3",
        (false, false) => "ext2",
    })
}
