//! The firmware's console: screen and serial port alike, wherever it sends `ConOut`.

use core::fmt;

use super::firmware::Firmware;

/// UTF-16 units written at once.
const CHUNK: usize = 80;

/// Where messages go.
pub(super) struct Console<'f> {
    firmware: &'f Firmware,
    /// Text not yet written, with room for a NUL.
    units: [u16; CHUNK],
    len: usize,
}

impl<'f> Console<'f> {
    pub(super) fn new(firmware: &'f Firmware) -> Self {
        Self { firmware, units: [0; CHUNK], len: 0 }
    }

    fn push(&mut self, unit: u16) {
        if self.len >= CHUNK - 1 {
            self.flush();
        }
        if let Some(place) = self.units.get_mut(self.len) {
            *place = unit;
            self.len = self.len.saturating_add(1);
        }
    }

    fn flush(&mut self) {
        if let Some(nul) = self.units.get_mut(self.len) {
            *nul = 0;
        }
        self.firmware.print(&mut self.units);
        self.len = 0;
    }
}

impl fmt::Write for Console<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for unit in text.encode_utf16() {
            if unit == u16::from(b'\n') {
                self.push(u16::from(b'\r'));
            }
            self.push(unit);
        }
        // Not every line has an end: what is said before a hang must be seen.
        self.flush();
        Ok(())
    }
}
