//! COM1 and the way out of QEMU, by port; part of both halves.

use core::arch::asm;
use core::fmt;

const COM1: u16 = 0x3f8;
const LINE_STATUS: u16 = COM1 + 5;
const TRANSMITTER_EMPTY: u8 = 0x20;
const DEBUG_EXIT: u16 = 0xf4;

/// Writes `value` to the I/O port `port`.
fn write_port(port: u16, value: u8) {
    // SAFETY: the test kernel owns the machine, or in EFI shares COM1 with a firmware that is not running now; an I/O write
    // touches no memory of ours.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) };
}

/// Reads a byte from the I/O port `port`.
fn read_port(port: u16) -> u8 {
    let value;
    // SAFETY: reading a status port touches no memory of ours.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Leaves QEMU where it has an `isa-debug-exit` device; returns where it has none.
pub fn exit_qemu(code: u8) {
    write_port(DEBUG_EXIT, code);
}

/// The first serial port, 115200 8n1.
pub struct Serial(());

impl Serial {
    /// Sets the port up.
    pub fn new() -> Self {
        // Divisor latch, divisor 1, 8n1, FIFO on, DTR and RTS; no interrupts.
        for (register, value) in [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 7), (4, 3)] {
            write_port(COM1 + register, value);
        }
        Self(())
    }

    fn byte(&mut self, byte: u8) {
        // A machine without the port reads 0xff; one that is stuck must not hang us.
        for _ in 0..100_000 {
            if read_port(LINE_STATUS) & TRANSMITTER_EMPTY != 0 {
                break;
            }
        }
        write_port(COM1, byte);
    }
}

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.byte(b'\r');
            }
            self.byte(byte);
        }
        Ok(())
    }
}
