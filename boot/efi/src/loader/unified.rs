//! A unified kernel image (UAPI.5): this loader with kernel, command line and initrd in sections of its own file. Firmware has
//! verified that file, or nobody asked for it; everything that is used is out of what it loaded, and nothing is loaded again.

use core::convert::Infallible;
use core::fmt::Write as _;

use bootefi::LoadOptions;
use bootfs::newc::Header;
use bootfs::uki::{self, CMDLINE, EXTRA, EXTRAS, INITRDS, LINUX};
use r_efi::efi::Status;

use super::ARCHITECTURE;
use super::console::Console;
use super::failure::{Failure, Reason};
use super::firmware::Firmware;
use super::initrd::Initrd;
use super::mapped::Mapped;
use super::measure;
use super::start::start;

/// The kernel of this image; `None` when it is the plain loader.
pub(super) fn kernel(firmware: &Firmware) -> Result<Option<&'static [u8]>, Failure<'static>> {
    find(firmware, LINUX)
}

fn find(firmware: &Firmware, name: &'static str) -> Result<Option<&'static [u8]>, Failure<'static>> {
    firmware.own_section(name).map_err(|status| Reason::Firmware("HandleProtocol", status).at(name))
}

/// Boots it.
pub(super) fn boot(firmware: &Firmware, console: &mut Console<'_>, kernel: &'static [u8]) -> Result<Infallible, Failure<'static>> {
    if let Err(failure) = measure::sections(firmware) {
        let _ = writeln!(console, "moby: not measured: {failure}");
    }
    let _ = writeln!(console, "kernel {LINUX} {} KiB", kernel.len().div_ceil(1024));
    let needs = ARCHITECTURE.judge(kernel).map_err(|error| Reason::Kernel(error).at(LINUX))?;
    let cmdline = uki::command_line(find(firmware, CMDLINE)?.unwrap_or_default()).map_err(|error| Reason::Uki(error).at(CMDLINE))?;
    needs.check_command_line(cmdline.len()).map_err(|error| Reason::Kernel(error).at(CMDLINE))?;
    let options = LoadOptions::new([cmdline].into_iter()).map_err(|error| Reason::Kernel(error).at(CMDLINE))?;

    let mut extras = [const { None }; EXTRAS.len()];
    for ((section, path), extra) in EXTRAS.into_iter().zip(&mut extras) {
        if let Some(bytes) = find(firmware, section)? {
            let header = Header::file(path, bytes.len()).ok_or(Reason::Firmware("newc", Status::BAD_BUFFER_SIZE).at(section))?;
            *extra = Some((section, header, bytes));
        }
    }
    let ends = Header::directory(EXTRA).zip(Header::trailer());
    let (directory, trailer) = ends.ok_or(Reason::Firmware("newc", Status::BAD_BUFFER_SIZE).at(EXTRA))?;

    let mut initrd = Initrd::new();
    for place in INITRDS {
        if let Some(bytes) = find(firmware, place)? {
            let _ = writeln!(console, "initrd {place} {} KiB", bytes.len().div_ceil(1024));
            initrd.push_bytes(place, bytes)?;
        }
    }
    if extras.iter().any(Option::is_some) {
        initrd.push_bytes(EXTRA, directory.bytes())?;
        for (section, header, bytes) in extras.iter().flatten() {
            initrd.push_bytes(section, header.bytes())?;
            initrd.push_bytes(section, bytes)?;
        }
        initrd.push_bytes(EXTRA, trailer.bytes())?;
    }
    let mapped = Mapped::new(firmware, console, kernel, LINUX)?;
    start(firmware, console, LINUX, needs, &initrd, || mapped.run(&options))
}
