//! The zero page, `struct boot_params`: Documentation/arch/x86/zero-page.rst.
//!
//! What we fill in for the 32-bit entry; the rest stays zero, as boot.rst asks:
//!
//! | offset | field | value |
//! |---|---|---|
//! | 0x000 | screen_info | VGA text mode and cursor |
//! | 0x1e8 | e820_entries | number of records |
//! | 0x1f1 | setup header | copied from the kernel up to its end, then: |
//! | 0x210 | type_of_loader | 0xff, no number assigned |
//! | 0x214 | code32_start | where the kernel is |
//! | 0x218 | ramdisk_image, ramdisk_size | the initrd, or 0 |
//! | 0x228 | cmd_line_ptr | the command line, ending in a zero byte |
//! | 0x2d0 | e820_table | 20 bytes a record |

use crate::field::{le8, put};
use crate::setup::HEADER_AT;
use crate::{MemoryMap, Placement, SetupHeader};

/// Bytes of the page.
pub const LEN: usize = 4096;

/// The VGA text mode that the firmware left, as the kernel's console wants to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Video mode number, 3 for 80 by 25 in colour.
    pub mode: u8,
    /// Columns.
    pub columns: u8,
    /// Lines.
    pub lines: u8,
    /// Height of a character in scan lines.
    pub points: u16,
    /// Cursor column.
    pub x: u8,
    /// Cursor line.
    pub y: u8,
}

/// Everything that a kernel is told.
#[derive(Debug)]
pub struct Handover<'a> {
    /// The kernel's own header.
    pub header: &'a SetupHeader<'a>,
    /// Where kernel and initrd are.
    pub placement: Placement,
    /// Bytes of the initrd.
    pub initrd_len: u32,
    /// Address of the command line.
    pub command_line: u32,
    /// The firmware's memory map.
    pub memory: &'a MemoryMap,
    /// The screen, unless there is none.
    pub screen: Option<Screen>,
}

/// Fills a zero page.
pub fn fill(page: &mut [u8; LEN], handover: &Handover<'_>) {
    page.fill(0);
    if let Some(screen) = handover.screen {
        put(page, 0x00, &[screen.x, screen.y]);
        put(page, 0x06, &[screen.mode, screen.columns]);
        put(page, 0x0e, &[screen.lines, 1]); // 1: orig_video_isVGA
        put(page, 0x10, &screen.points.to_le_bytes());
    }
    put(page, HEADER_AT, handover.header.raw());
    put(page, 0x210, &[0xff]);
    // Bit 7, CAN_USE_HEAP, is for the 16-bit entry; bit 5, QUIET_FLAG, is not ours to set.
    let loadflags = le8(page, 0x211) & 0x1f;
    put(page, 0x211, &[loadflags]);
    put(page, 0x214, &handover.placement.kernel.to_le_bytes());
    if let Some(initrd) = handover.placement.initrd {
        put(page, 0x218, &initrd.to_le_bytes());
        put(page, 0x21c, &handover.initrd_len.to_le_bytes());
    }
    put(page, 0x228, &handover.command_line.to_le_bytes());
    let regions = handover.memory.regions();
    put(page, 0x1e8, &[u8::try_from(regions.len()).unwrap_or(u8::MAX)]);
    for (record, region) in page.iter_mut().skip(0x2d0).zip(regions.iter().flat_map(record)) {
        *record = region;
    }
}

/// A record of the E820 table.
fn record(region: &crate::Region) -> impl Iterator<Item = u8> + use<> {
    let len = region.end.saturating_sub(region.start);
    region.start.to_le_bytes().into_iter().chain(len.to_le_bytes()).chain(region.kind.0.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::{le16, le32, le64};
    use crate::setup::tests::kernel;
    use crate::{Kind, Region};

    #[test]
    fn every_field_is_where_the_kernel_looks_for_it() {
        let mut file = kernel(64 << 10);
        put(&mut file, 0x210, &[0x42, 0x81]); // values of an earlier loader must not survive
        put(&mut file, 0x300, &[0xee; 64]); // code behind the header must not be copied
        let header = SetupHeader::parse(&file, 64 << 10).unwrap();
        let mut memory = MemoryMap::new();
        memory.push(Region { start: 0, end: 0x9_fc00, kind: Kind::USABLE });
        memory.push(Region { start: 0xf_0000, end: 0x10_0000, kind: Kind::RESERVED });
        let handover = Handover {
            header: &header,
            placement: Placement { kernel: 16 << 20, initrd: Some(0x7ff0_0000) },
            initrd_len: 12345,
            command_line: 0x5_f000,
            memory: &memory,
            screen: Some(Screen { mode: 3, columns: 80, lines: 25, points: 16, x: 1, y: 9 }),
        };
        let mut page = [0xaa; LEN];
        fill(&mut page, &handover);
        assert_eq!(page[..8], [1, 9, 0, 0, 0, 0, 3, 80]);
        assert_eq!(page[0x0e..0x12], [25, 1, 16, 0]);
        assert_eq!(page[0x1e8], 2);
        assert_eq!(page[0x1ef], 0, "the sentinel");
        assert_eq!(page[0x202..0x206], *b"HdrS");
        assert_eq!(le16(&page, 0x210), 0x01ff);
        assert_eq!(le32(&page, 0x214), 16 << 20);
        assert_eq!((le32(&page, 0x218), le32(&page, 0x21c)), (0x7ff0_0000, 12345));
        assert_eq!(le32(&page, 0x228), 0x5_f000);
        assert_eq!(le32(&page, 0x238), 2047);
        // 0x202 plus the jump's 0x6a ends the header.
        assert_eq!(page[0x26c..0x2d0], [0; 100]);
        assert_eq!((le64(&page, 0x2d0), le64(&page, 0x2d8), le32(&page, 0x2e0)), (0, 0x9_fc00, 1));
        assert_eq!((le64(&page, 0x2e4), le64(&page, 0x2ec), le32(&page, 0x2f4)), (0xf_0000, 0x1_0000, 2));
        assert_eq!(page[0x2f8..], [0; LEN - 0x2f8]);
    }

    #[test]
    fn without_initrd_and_screen_their_fields_are_zero() {
        let file = kernel(64 << 10);
        let header = SetupHeader::parse(&file, 64 << 10).unwrap();
        let mut memory = MemoryMap::new();
        for start in 0..200 {
            memory.push(Region { start, end: start + 1, kind: Kind::USABLE });
        }
        let handover = Handover {
            header: &header,
            placement: Placement { kernel: 16 << 20, initrd: None },
            initrd_len: 0,
            command_line: 0x5_f000,
            memory: &memory,
            screen: None,
        };
        let mut page = [0xaa; LEN];
        fill(&mut page, &handover);
        assert_eq!(page[..0x40], [0; 0x40]);
        assert_eq!(page[0x218..0x220], [0; 8]);
        assert_eq!(page[0x1e8], 128);
        assert_eq!(le64(&page, 0x2d0 + 127 * 20), 127);
        assert_eq!(page[0x2d0 + 128 * 20..], [0; LEN - 0x2d0 - 128 * 20]);
    }
}
