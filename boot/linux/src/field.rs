//! Little-endian fields of structures in memory.

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

/// Puts `value` at `at`; nothing happens where the structure is too short.
pub fn put(to: &mut [u8], at: usize, value: &[u8]) {
    let target = to.get_mut(at..).and_then(|rest| rest.get_mut(..value.len()));
    if let Some(target) = target {
        target.copy_from_slice(value);
    }
}
