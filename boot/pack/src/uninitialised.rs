//! Sections without bytes in the file, called what they are.

use bootfs::pe::{Pe, ROW_LEN};

/// `IMAGE_SCN_CNT_INITIALIZED_DATA` and `IMAGE_SCN_CNT_UNINITIALIZED_DATA`.
const INITIALIZED: u32 = 0x40;
const UNINITIALIZED: u32 = 0x80;

/// Marks the sections of a PE file that have no raw data as uninitialised. The linker leaves `.data` initialised when all in it
/// is zero, and shim refuses such a file: "Section 2 is inside image headers", as its data would be at byte 0.
pub(crate) fn mark(file: &mut [u8]) {
    let Some(table) = Pe::parse(file).map(|pe| pe.table()) else { return };
    for row in file[table].chunks_exact_mut(ROW_LEN) {
        let word = |at: usize| u32::from_le_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]]);
        let (len, flags) = (word(16), word(36));
        if len == 0 && flags & INITIALIZED != 0 {
            row[36..].copy_from_slice(&(flags & !INITIALIZED | UNINITIALIZED).to_le_bytes());
        }
    }
}
