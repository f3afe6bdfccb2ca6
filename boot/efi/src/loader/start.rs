//! Loading a kernel that is in memory, and starting it.

use core::convert::Infallible;
use core::fmt::Write as _;

use bootefi::device_path::DevicePath;
use bootefi::{LoadOptions, Needs};
use r_efi::efi::{self, Status};

use super::console::Console;
use super::failure::{Failure, Reason};
use super::firmware::Firmware;
use super::initrd::{Initrd, Offer};

/// A kernel that the firmware has loaded; unloaded when dropped.
pub(super) struct Loaded<'f> {
    firmware: &'f Firmware,
    image: efi::Handle,
    needs: Needs,
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
                Status::SECURITY_VIOLATION | Status::ACCESS_DENIED => Reason::NotSigned,
                other => Reason::Firmware("LoadImage", other),
            };
            reason.at(place)
        })?;
        Ok(Self { firmware, image, needs })
    }

    /// Starts the kernel with `options` and `initrd`; `device` is where it comes from.
    pub(super) fn start<'a>(
        self,
        console: &mut Console<'_>,
        place: &'a str,
        options: &LoadOptions,
        initrd: &Initrd<'a>,
        device: efi::Handle,
    ) -> Result<Infallible, Failure<'a>> {
        self.check_memory(initrd.len())?;
        // SAFETY: `options` outlives `start_image` below, and the image is unloaded when it returns.
        let handed_over = unsafe { self.firmware.hand_over(self.image, options, device) };
        handed_over.map_err(|status| Reason::Firmware("HandleProtocol", status).at(place))?;
        let path = DevicePath::initrd().ok_or(Reason::Firmware("initrd path", Status::BUFFER_TOO_SMALL).at(place))?;
        let offer = match initrd.len() {
            0 => None,
            _ => Some(Offer::new(self.firmware, &path, initrd).map_err(|status| Reason::Firmware("LoadFile2", status).at(place))?),
        };
        let _ = writeln!(console, "start");
        let status = self.firmware.start_image(self.image);
        drop(offer);
        Err(initrd.failure().unwrap_or(match status {
            Status::OUT_OF_RESOURCES => Reason::Memory { kernel: self.needs.memory, initrd: initrd.len() }.at(place),
            other => Reason::CameBack(other).at(place),
        }))
    }

    /// Tries whether kernel and initrd will each get their memory in one piece: the kernel's own words would be few.
    fn check_memory(&self, initrd: u64) -> Result<(), Failure<'static>> {
        let both = self.firmware.pages(self.needs.memory).and_then(|kernel| Ok((kernel, self.firmware.pages(initrd)?)));
        match both {
            Ok(_) => Ok(()),
            Err(_) => Err(Reason::Memory { kernel: self.needs.memory, initrd }.at("")),
        }
    }
}

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        // An application that has ended is unloaded already; the firmware then refuses the handle.
        self.firmware.unload(self.image);
    }
}
