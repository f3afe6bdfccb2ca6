//! Starting a kernel that is in memory, however it came there.

use core::convert::Infallible;
use core::fmt::Write as _;

use bootefi::Needs;
use bootefi::device_path::DevicePath;
use r_efi::efi::{self, Status};

use super::console::Console;
use super::failure::{Failure, Reason};
use super::firmware::Firmware;
use super::initrd::{Initrd, Offer};

/// Runs a kernel with `initrd` on offer: `run` returns only when the kernel does.
pub(super) fn start<'a>(
    firmware: &Firmware,
    console: &mut Console<'_>,
    place: &'a str,
    needs: Needs,
    initrd: &Initrd<'a, '_>,
    run: impl FnOnce() -> Result<Infallible, Status>,
) -> Result<Infallible, Failure<'a>> {
    check_memory(firmware, needs, initrd.len())?;
    let path = DevicePath::initrd().ok_or(Reason::Firmware("initrd path", Status::BUFFER_TOO_SMALL).at(place))?;
    let offer = match initrd.len() {
        0 => None,
        _ => Some(Offer::new(firmware, &path, initrd).map_err(|status| Reason::Firmware("LoadFile2", status).at(place))?),
    };
    let _ = writeln!(console, "start");
    let outcome = run();
    drop(offer);
    outcome.map_err(|status| {
        initrd.failure().unwrap_or(match status {
            Status::OUT_OF_RESOURCES => Reason::Memory { kernel: needs.memory, initrd: initrd.len() }.at(place),
            other => Reason::CameBack(other).at(place),
        })
    })
}

/// Tries whether kernel and initrd will each get their memory in one piece: the kernel's own words would be few.
fn check_memory(firmware: &Firmware, needs: Needs, initrd: u64) -> Result<(), Failure<'static>> {
    let both = firmware.pages(needs.memory).and_then(|kernel| Ok((kernel, firmware.pages(initrd)?)));
    match both {
        Ok(_) => Ok(()),
        Err(_) => Err(Reason::Memory { kernel: needs.memory, initrd }.at("")),
    }
}

/// A kernel that the firmware has loaded; unloaded when dropped.
pub(super) struct Loaded<'f> {
    pub(super) firmware: &'f Firmware,
    pub(super) image: efi::Handle,
    pub(super) needs: Needs,
}

impl<'f> Loaded<'f> {
    /// Has the firmware load `kernel`, which may be freed afterwards.
    pub(super) fn new<'a>(
        firmware: &'f Firmware,
        kernel: &[u8],
        needs: Needs,
        path: &DevicePath,
        place: &'a str,
    ) -> Result<Self, Failure<'a>> {
        let image = firmware.load_image(kernel, path).map_err(|status| {
            let reason = match status {
                Status::OUT_OF_RESOURCES => Reason::Memory { kernel: needs.memory, initrd: 0 },
                other => Reason::Firmware("LoadImage", other),
            };
            reason.at(place)
        })?;
        Ok(Self { firmware, image, needs })
    }
}

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        // An application that has ended is unloaded already; the firmware then refuses the handle.
        self.firmware.unload(self.image);
    }
}
