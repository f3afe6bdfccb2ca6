//! Whether a machine is virtual, as its SMBIOS says (DMTF DSP0134 3.0, sections 5.2.2, 6.1 and 7.1): where there is no `CPUID`.
//!
//! ```text
//!  entry point     "_SM3_" .. 12: most bytes of all structures (32 bits) | 16: address of the first (64 bits)
//!  structure       type, bytes | handle | .. | strings, each with a NUL | NUL
//! ```

/// Bytes of the entry point.
pub const ENTRY_POINT_LEN: usize = 24;

/// More than any machine has: what an entry point says is not trusted.
const STRUCTURES_MAX: u32 = 1 << 20;

/// Type 0, "BIOS information".
const BIOS_INFORMATION: u8 = 0;
/// In it the second byte of the extended characteristics, and "SMBIOS table describes a virtual machine" in that.
const CHARACTERISTICS: usize = 0x13;
const VIRTUAL_MACHINE: u8 = 1 << 4;

/// Where the structures are, and at most how many bytes, by the 64-bit entry point.
#[must_use]
pub fn structures(entry_point: &[u8; ENTRY_POINT_LEN]) -> Option<(u64, u32)> {
    let rest = entry_point.strip_prefix(b"_SM3_")?.get(7..)?;
    let (len, address) = rest.split_first_chunk()?;
    Some((u64::from_le_bytes(*address.first_chunk()?), u32::from_le_bytes(*len).min(STRUCTURES_MAX)))
}

/// Whether the first structure of type 0 says that the machine is virtual.
#[must_use]
pub fn is_virtual(structures: &[u8]) -> bool {
    let mut rest = structures;
    while let [kind, len, ..] = rest {
        let len = usize::from(*len);
        if *kind == BIOS_INFORMATION {
            return len > CHARACTERISTICS && rest.get(CHARACTERISTICS).is_some_and(|byte| byte & VIRTUAL_MACHINE != 0);
        }
        let Some(strings) = rest.get(len..) else { return false };
        let Some(end) = strings.windows(2).position(|pair| pair == [0, 0]) else { return false };
        rest = strings.get(end.saturating_add(2)..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn structure(kind: u8, len: u8, characteristics: u8, strings: &[u8]) -> Vec<u8> {
        let mut bytes = std::vec![0; len.into()];
        bytes[..2].copy_from_slice(&[kind, len]);
        if usize::from(len) > CHARACTERISTICS {
            bytes[CHARACTERISTICS] = characteristics;
        }
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn the_bit_of_type_0_counts_wherever_that_stands() {
        let first = structure(1, 27, 0xff, b"QEMU\0virt\0\0");
        for (characteristics, expected) in [(0x1c, true), (0x0c, false)] {
            let bios = structure(0, 0x1a, characteristics, b"EDK II\0\0");
            assert_eq!(is_virtual(&bios), expected);
            assert_eq!(is_virtual(&[&first[..], &bios].concat()), expected);
        }
        assert!(!is_virtual(&structure(0, 0x13, 0, b"\x10\0\0")), "too old to say");
        assert!(!is_virtual(&first) && !is_virtual(&[]) && !is_virtual(&[0, 255]) && !is_virtual(&[1, 0, 1, 1, 1]));
    }

    #[test]
    fn the_entry_point_says_where() {
        let mut entry_point = *b"_SM3_\xaa\x18\x03\0\0\x01\0\x34\x12\0\0\0\xf0\x42\x7f\0\0\0\0";
        assert_eq!(structures(&entry_point), Some((0x7f42_f000, 0x1234)));
        entry_point[15] = 0xff;
        assert_eq!(structures(&entry_point), Some((0x7f42_f000, STRUCTURES_MAX)));
        entry_point[0] = b'x';
        assert_eq!(structures(&entry_point), None);
    }
}
