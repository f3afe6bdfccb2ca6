//! A unified kernel image (UAPI.5): this loader with kernel, command line and initrd in sections of its own file.

use core::convert::Infallible;
use core::fmt::Write as _;

use bootefi::LoadOptions;
use bootefi::device_path::DevicePath;
use r_efi::efi::Status;

use super::ARCHITECTURE;
use super::console::Console;
use super::failure::{Failure, Reason};
use super::firmware::Firmware;
use super::initrd::{Initrd, Source};
use super::start::Loaded;

const LINUX: &str = ".linux";
const CMDLINE: &str = ".cmdline";
const UCODE: &str = ".ucode";
const INITRD: &str = ".initrd";

/// The sections that are booted.
pub(super) struct Sections {
    linux: &'static [u8],
    cmdline: &'static [u8],
    /// Microcode first: the kernel looks for it at the front, uncompressed.
    initrds: [(&'static str, Option<&'static [u8]>); 2],
}

/// The sections of this image; `None` when it is the plain loader.
pub(super) fn sections(firmware: &Firmware) -> Result<Option<Sections>, Failure<'static>> {
    let find = |name| firmware.own_section(name).map_err(|status| Reason::Firmware("HandleProtocol", status).at(name));
    let Some(linux) = find(LINUX)? else { return Ok(None) };
    let cmdline = find(CMDLINE)?.unwrap_or_default();
    Ok(Some(Sections { linux, cmdline, initrds: [(UCODE, find(UCODE)?), (INITRD, find(INITRD)?)] }))
}

/// Boots them.
pub(super) fn boot(firmware: &Firmware, console: &mut Console<'_>, sections: &Sections) -> Result<Infallible, Failure<'static>> {
    let kernel = sections.linux;
    let _ = writeln!(console, "kernel {LINUX} {} KiB", kernel.len().div_ceil(1024));
    let needs = ARCHITECTURE.judge(kernel).map_err(|error| Reason::Kernel(error).at(LINUX))?;
    let cmdline = core::str::from_utf8(sections.cmdline).map_err(|_| Reason::Entry(bootfs::entry::Error::NotText).at(CMDLINE))?;
    let cmdline = cmdline.trim_end_matches(['\0', '\n', '\r', ' ']);
    needs.check_command_line(cmdline.len()).map_err(|error| Reason::Kernel(error).at(CMDLINE))?;
    let options = LoadOptions::new([cmdline].into_iter()).map_err(|error| Reason::Kernel(error).at(CMDLINE))?;

    let mut initrd = Initrd::new();
    for (place, bytes) in sections.initrds {
        if let Some(bytes) = bytes {
            let _ = writeln!(console, "initrd {place} {} KiB", bytes.len().div_ceil(1024));
            initrd.push(place, Source::Memory(bytes), u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        }
    }
    let start = u64::try_from(kernel.as_ptr().expose_provenance()).unwrap_or(0);
    let path = DevicePath::memory(start, u64::try_from(kernel.len()).unwrap_or(0));
    let path = path.ok_or(Reason::Firmware("LoadImage", Status::INVALID_PARAMETER).at(LINUX))?;
    let device = firmware.device_of(firmware.image()).map_err(|status| Reason::Firmware("HandleProtocol", status).at(LINUX))?;
    Loaded::new(firmware, kernel, needs, &path, LINUX)?.start(console, LINUX, &options, &initrd, device)
}
