//! Output: the screen by the BIOS, and the first serial port.

use core::fmt::{self, Write};

use bootlinux::zero_page::Screen;

use crate::bios::Registers;
use crate::{memory, ports};

/// COM1, a 16550 UART.
const COM1: u16 = 0x3f8;
const LINE_CONTROL: u16 = COM1 + 3;
const LINE_STATUS: u16 = COM1 + 5;

/// How often a full transmitter is looked at before it is taken for broken: longer than a character takes.
const PATIENCE: u32 = 0x4000;

/// Sets COM1 to 115200 baud, 8 bits, no parity, 1 stop bit, and the screen to text if it is in a graphics mode.
pub fn init() {
    for (port, value) in [
        (COM1 + 1, 0),        // no interrupts
        (LINE_CONTROL, 0x80), // bit 7: the next two ports are the divisor
        (COM1, 1),            // 115200 / 115200
        (COM1 + 1, 0),
        (LINE_CONTROL, 3), // 8 bits
        (COM1 + 2, 0x07),  // FIFOs on and empty
        (COM1 + 4, 0x03),  // DTR and RTS
    ] {
        // SAFETY: the ports of a 16550 at COM1's standard address, where PCs have nothing else.
        unsafe { ports::write(port, value) };
    }
    let (mode, columns) = video_mode();
    if !is_text(mode) && columns >= 40 {
        let mut registers = Registers { eax: 0x0003, ..Registers::default() };
        // SAFETY: INT 10h, AH=00h (set mode) writes to the screen and the BIOS's own data.
        unsafe { registers.call(0x10) };
    }
}

/// Prints to screen and serial port; a line ends in `\n`.
pub fn print(text: fmt::Arguments<'_>) {
    // Neither of the two can fail.
    let _ = Console.write_fmt(text);
}

struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                put(b'\r');
            }
            // The screen has code page 437.
            put(if byte.is_ascii() { byte } else { b'?' });
        }
        Ok(())
    }
}

fn put(byte: u8) {
    let mut registers = Registers { eax: 0x0e00 | u32::from(byte), ebx: 0x0007, ..Registers::default() };
    // SAFETY: INT 10h, AH=0Eh (teletype output) writes to the screen and the BIOS's own data.
    unsafe { registers.call(0x10) };
    for _ in 0..PATIENCE {
        // SAFETY: COM1's line status; reading it clears error bits that nobody looks at.
        if unsafe { ports::read(LINE_STATUS) } & 0x20 != 0 {
            break;
        }
    }
    // SAFETY: COM1's transmitter.
    unsafe { ports::write(COM1, byte) };
}

/// Whether a byte has arrived at COM1; takes it.
pub fn serial_input() -> bool {
    // SAFETY: COM1's line status; reading it clears error bits that nobody looks at.
    let status = unsafe { ports::read(LINE_STATUS) };
    // An absent port reads as all ones.
    let arrived = status != 0xff && status & 1 != 0;
    if arrived {
        // SAFETY: COM1's receiver, which is not empty.
        unsafe { ports::read(COM1) };
    }
    arrived
}

/// INT 10h, AH=0Fh: video mode and columns.
fn video_mode() -> (u8, u8) {
    let mut registers = Registers { eax: 0x0f00, ..Registers::default() };
    // SAFETY: INT 10h, AH=0Fh only tells.
    unsafe { registers.call(0x10) };
    (registers.al() & 0x7f, registers.ah())
}

/// 80 by 25 in grey, in colour, and monochrome.
const fn is_text(mode: u8) -> bool {
    matches!(mode, 2 | 3 | 7)
}

/// What the kernel must know of the screen; `None` without one (then AH still holds 0Fh, which is no number of columns).
pub fn screen() -> Option<Screen> {
    let (mode, columns) = video_mode();
    if !is_text(mode) || columns < 40 {
        return None;
    }
    let mut cursor = Registers { eax: 0x0300, ..Registers::default() };
    // SAFETY: INT 10h, AH=03h (cursor) only tells.
    unsafe { cursor.call(0x10) };
    let [x, y, ..] = cursor.edx.to_le_bytes();
    // The BIOS data area: 0040:0084 is the last line, 0040:0085 the height of a character; MDA and CGA leave them 0.
    let (last_line, points) = (memory::bios_data(0x84), memory::bios_data(0x85));
    Some(Screen {
        mode,
        columns,
        lines: if last_line == 0 { 25 } else { last_line.saturating_add(1) },
        points: if points == 0 { 16 } else { u16::from(points) },
        x,
        y,
    })
}
