//! The contract between whoever writes a disk and the BIOS loader's first stage: where `stage1.bin` is patched.
//!
//! ```text
//!    0   3              90                  0x19c      0x1a4   0x1a6   440        446         510
//!    jmp BPB hole ..... code and texts ...  first u64  count   shift   signature  partitions  55 aa
//! ```
//!
//! Bytes 3..90 are left alone by the code, because some BIOSes write a drive number or geometry into them as if every boot
//! sector had a FAT parameter block. `stage2.bin` is not patched: it is a multiple of 4096 bytes long and ends in the
//! CRC-32 of what precedes, which stage1 checks before running it.

use crate::Crc32;

/// Bytes of code and data that a writer copies into the boot sector; from here on the sector is the writer's.
pub const LEN: usize = 440;
/// Offset of the first sector of stage2, 64-bit, in sectors of the device.
pub const FIRST_SECTOR: usize = 0x19c;
/// Offset of the number of sectors of stage2, 16-bit, in sectors of the device.
pub const SECTOR_COUNT: usize = 0x1a4;
/// Offset of the sector size, 8-bit: 0 for 512 bytes, 2 for 2048 (El Torito), 3 for 4096.
pub const SECTOR_SHIFT: usize = 0x1a6;
/// `stage2.bin` is a multiple of this, so that it is whole sectors on every device.
pub const STAGE2_ALIGN: usize = 4096;
/// The largest `stage2.bin` that the memory map of the loader holds.
pub const STAGE2_MAX: usize = 0xc000;
/// The first bytes of `stage2.bin` after its jump: what stage1 looks for.
pub const STAGE2_MAGIC: &[u8; 4] = b"MOBY";
/// Where [`STAGE2_MAGIC`] stands.
pub const STAGE2_MAGIC_AT: usize = 4;

/// Whether these bytes are a whole, undamaged stage2.
#[must_use]
pub fn is_stage2(bytes: &[u8]) -> bool {
    let mut crc = Crc32::new();
    crc.update(bytes);
    let magic = bytes.get(STAGE2_MAGIC_AT..).and_then(|rest| rest.get(..4));
    bytes.len() <= STAGE2_MAX && bytes.len().is_multiple_of(STAGE2_ALIGN) && magic == Some(STAGE2_MAGIC) && crc.value() == Crc32::RESIDUE
}
