//! Little-endian fields of on-disk structures, and the one place where a length changes its type.

/// The `N` bytes at `at`; zeros where the structure is too short (callers check the length they need first).
pub fn bytes<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(found) = from.get(at..).and_then(|rest| rest.get(..N)) {
        out.copy_from_slice(found);
    }
    out
}

/// The byte at `at`.
pub fn le8(from: &[u8], at: usize) -> u8 {
    u8::from_le_bytes(bytes(from, at))
}

/// The 16-bit field at `at`.
pub fn le16(from: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes(from, at))
}

/// The 32-bit field at `at`.
pub fn le32(from: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes(from, at))
}

/// The 64-bit field at `at`.
pub fn le64(from: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes(from, at))
}

/// A length in memory as a length on disk.
#[allow(clippy::as_conversions)] // widening: no supported target has a `usize` of more than 64 bits
pub const fn long(length: usize) -> u64 {
    length as u64
}

/// A length on disk as a length in memory, never more than `limit`.
pub fn short(length: u64, limit: usize) -> usize {
    usize::try_from(length).map_or(limit, |length| length.min(limit))
}
