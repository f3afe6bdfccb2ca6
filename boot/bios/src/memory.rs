//! Physical memory: the fixed places of `bios.ld`, the BIOS data area and memory map, and what is loaded above 1 MiB.

use core::ptr;
use core::slice;

use bootlinux::{MemoryMap, zero_page};

use crate::bios::{self, Registers};

/// `SMAP`, by which INT 15h, AX=E820h and its caller know each other.
const SMAP: u32 = 0x534d_4150;
/// More records than any BIOS returns; ends a walk that a broken one would not.
const RECORDS_MAX: u32 = 1024;

const BOUNCE_LEN: usize = 0x1_0000;
const COMMAND_LINE_LEN: usize = 0x4000;

/// The symbols of `bios.ld`: only their addresses mean something.
mod symbol {
    unsafe extern "C" {
        pub static bounce_buffer: u8;
        pub static zero_page: u8;
        pub static command_line: u8;
    }
}

/// What `bios.ld` sets aside for Rust to use.
#[derive(Debug)]
pub struct Low {
    /// Where the BIOS reads sectors to: 64 KiB that do not cross a 64 KiB boundary.
    pub bounce: &'static mut [u8],
    /// `struct boot_params`.
    pub zero_page: &'static mut [u8; zero_page::LEN],
    /// The kernel's command line, with its final zero.
    pub command_line: &'static mut [u8],
}

impl Low {
    /// Takes the places into use.
    ///
    /// # Safety
    /// To be called once.
    pub unsafe fn take() -> Option<Self> {
        let bounce = (&raw const symbol::bounce_buffer).addr();
        let zero_page = (&raw const symbol::zero_page).addr();
        let command_line = (&raw const symbol::command_line).addr();
        // SAFETY: bios.ld gives the range to nothing else, and it is taken once.
        let bounce = unsafe { claim(bounce, BOUNCE_LEN) };
        // SAFETY: as above.
        let zero_page = unsafe { claim(zero_page, zero_page::LEN) };
        // SAFETY: as above.
        let command_line = unsafe { claim(command_line, COMMAND_LINE_LEN) };
        Some(Self { bounce, zero_page: zero_page.try_into().ok()?, command_line })
    }
}

/// Memory at a physical address.
///
/// # Safety
/// The range is RAM below 4 GiB, and nobody else has or gets a reference to any of it.
pub unsafe fn claim(address: usize, len: usize) -> &'static mut [u8] {
    // SAFETY: the first 4 GiB are mapped to themselves; that the range is RAM and free is the caller's promise.
    unsafe { slice::from_raw_parts_mut(ptr::with_exposed_provenance_mut(address), len) }
}

/// A length or address below 4 GiB as Rust counts.
pub fn length(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// The byte at 0040:`offset`, in the BIOS data area.
pub fn bios_data(offset: u8) -> u8 {
    let address = ptr::with_exposed_provenance::<u8>(0x400 + usize::from(offset));
    // SAFETY: the BIOS data area is RAM on every PC; the BIOS changes it only while it is called.
    unsafe { address.read_volatile() }
}

/// INT 15h, AX=E820h: the memory map; empty when the BIOS has none.
pub fn map() -> MemoryMap {
    let mut map = MemoryMap::new();
    let mut next = 0;
    for _ in 0..RECORDS_MAX {
        // A BIOS that knows nothing of the last four bytes leaves them as they are: the record counts.
        let mut record = [0u8; 24];
        record[20] = 1;
        let Some((es, di)) = bios::far(record.as_mut_ptr()) else { break };
        let mut registers = Registers { eax: 0xe820, ebx: next, ecx: 24, edx: SMAP, edi: u32::from(di), es, ..Registers::default() };
        // SAFETY: the call fills at most the 24 bytes that ECX names.
        unsafe { registers.call(0x15) };
        if registers.carry() || registers.eax != SMAP {
            break;
        }
        let len = usize::try_from(registers.ecx).unwrap_or(usize::MAX).min(record.len());
        map.push_record(record.get(..len).unwrap_or_default());
        next = registers.ebx;
        if next == 0 {
            break;
        }
    }
    map.sort();
    map
}
