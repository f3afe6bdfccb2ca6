//! Input and output ports.

use core::arch::asm;

/// Reads a port.
///
/// # Safety
/// Reading may have effects on the device: the caller knows which device it is.
pub unsafe fn read(port: u16) -> u8 {
    let value;
    // SAFETY: `in` touches no memory; what it does to the device is the caller's promise.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes a port.
///
/// # Safety
/// The caller knows which device it is and what the value does to it.
pub unsafe fn write(port: u16, value: u8) {
    // SAFETY: `out` touches no memory of ours; what it does to the device is the caller's promise.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags)) };
}
