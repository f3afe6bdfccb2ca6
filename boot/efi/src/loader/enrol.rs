//! Enrolling the keys of our own partition, with the firmware's services.

use core::fmt::{self, Write as _};

use bootefi::FilePath;
use bootefi::enrol::{self, FORCE, Key, Machine};
use r_efi::efi::Status;

use super::console::Console;
use super::failure::Words;
use super::file::File;
use super::firmware::Firmware;

/// The most bytes of a file of keys: what revokes has grown to some 24 KiB.
const FILE_MAX: usize = 1 << 20;

/// A partition whose keys may be enrolled into this machine.
struct Keys<'a> {
    firmware: &'a Firmware,
    console: Console<'a>,
    root: File,
    read: [Option<&'static [u8]>; Key::ALL.len()],
}

/// Enrols the keys on the partition that we came from, and restarts the machine; returns when there is nothing to be done.
pub(super) fn enrol(firmware: &Firmware) {
    // What came by the network has no partition.
    let Ok(root) = firmware.device_of(firmware.image()).and_then(|device| firmware.volume(device)) else { return };
    let mut keys = Keys { firmware, console: Console::new(firmware), root, read: [None; Key::ALL.len()] };
    if enrol::enrol(&mut keys) {
        firmware.reset();
    }
}

impl Keys<'_> {
    /// Where what was read of a key is kept.
    fn slot(&mut self, key: Key) -> &mut Option<&'static [u8]> {
        let [db, dbx, kek, pk] = &mut self.read;
        match key {
            Key::Db => db,
            Key::Dbx => dbx,
            Key::Kek => kek,
            Key::Pk => pk,
        }
    }
}

impl Machine for Keys<'_> {
    type Status = Words;

    fn is_in_setup_mode(&self) -> bool {
        self.firmware.is_in_setup_mode()
    }

    fn is_virtual(&self) -> bool {
        self.firmware.is_virtual_machine()
    }

    fn is_forced(&self) -> bool {
        FilePath::new(FORCE).is_some_and(|path| self.root.open(&path).is_ok())
    }

    fn read(&mut self, key: Key) -> Result<bool, Words> {
        let path = FilePath::new(key.path()).ok_or(Words(Status::INVALID_PARAMETER))?;
        let file = match self.root.open(&path) {
            Err(Status::NOT_FOUND) => return Ok(false),
            opened => opened.map_err(Words)?,
        };
        let len = file.node().map_err(Words)?.size;
        let short = usize::try_from(len).ok().filter(|len| *len <= FILE_MAX).ok_or(Words(Status::BAD_BUFFER_SIZE))?;
        let bytes = self.firmware.pages(len).map_err(Words)?.kept().get_mut(..short).unwrap_or_default();
        file.read(bytes).map_err(Words)?;
        *self.slot(key) = Some(bytes);
        Ok(true)
    }

    fn write(&mut self, key: Key) -> Result<(), Words> {
        let update = self.slot(key).ok_or(Words(Status::NOT_FOUND))?;
        self.firmware.write_key(key, update).map_err(Words)
    }

    fn is_stopped(&mut self, seconds: u32) -> bool {
        self.firmware.wait_for_key(seconds)
    }

    fn say(&mut self, line: fmt::Arguments<'_>) {
        let _ = writeln!(self.console, "{line}");
    }
}
