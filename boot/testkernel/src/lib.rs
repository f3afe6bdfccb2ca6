//! A stand-in kernel that obeys the Linux boot protocol and reports on COM1 what its loader handed over.
//!
//! One file is a bzImage (setup header 2.15, 16-bit and 32-bit entry) and an x86-64 EFI application. A test boots it in a
//! second, without a network and without a foreign binary, and matches these lines:
//!
//! ```text
//! TESTKERNEL firmware bios|efi
//! TESTKERNEL entry 16-bit|32-bit|efi
//! TESTKERNEL kernel at 0x1000000
//! TESTKERNEL cmdline [console=ttyS0 quiet]                         printable ASCII as it is, other bytes as \\xNN
//! TESTKERNEL initrd 5242880 bytes crc32 cbf43926 at 0x7fb00000     or: TESTKERNEL initrd none
//! TESTKERNEL memory 0x100000-0x7ffe0000 usable                     one line a range
//! TESTKERNEL zero-page ok                                          BIOS; or one line a fault: TESTKERNEL zero-page fault: …
//! TESTKERNEL hand-over ok                                          EFI; or one line a fault: TESTKERNEL hand-over fault: …
//! TESTKERNEL done
//! ```
//!
//! Then it leaves QEMU through `isa-debug-exit` at port 0xf4, with [`EXIT_OK`] or [`EXIT_FAULT`], and where there is no such
//! device it turns the machine off.
//!
//! This library is what needs no machine: the checks and the checksum, tested on the host.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod crc32;
mod text;
mod zero_page;

pub use crc32::Crc32;
pub use text::Escaped;
pub use zero_page::{Arrival, Fault, HEADER_LEN, ZERO_PAGE_LEN, ZeroPage};

/// Written to port 0xf4 when nothing was wrong: QEMU's exit status is 33.
pub const EXIT_OK: u8 = 0x10;
/// Written to port 0xf4 after a fault: QEMU's exit status is 35.
pub const EXIT_FAULT: u8 = 0x11;
/// Written to port 0xf4 after a panic of the test kernel itself: QEMU's exit status is 37.
pub const EXIT_PANIC: u8 = 0x12;

/// `cmdline_size` of the setup header: the longest command line, without its NUL.
pub const CMDLINE_SIZE: usize = 2047;
