//! Booting by an entry of the Boot Loader Specification, type 1 (UAPI.1), on the partition that this loader came from.

use core::convert::Infallible;
use core::fmt::Write as _;

use bootefi::device_path::DevicePath;
use bootefi::{FilePath, LoadOptions};
use bootfs::choose::{Choice, EntryFile};
use bootfs::entry::{self, Entry};
use r_efi::efi::{self, Status};

use super::ARCHITECTURE;
use super::console::Console;
use super::failure::{Failure, Reason};
use super::file::File;
use super::firmware::Firmware;
use super::initrd::{Initrd, Source};
use super::start::{Loaded, start};

/// Boots the entry that comes first, which is read into `best`.
pub(super) fn boot<'r>(
    firmware: &Firmware,
    console: &mut Console<'_>,
    best: &'r mut EntryFile,
    spare: &mut EntryFile,
) -> Result<Infallible, Failure<'r>> {
    let at_partition = |status| Reason::file(status).at("boot partition");
    let device = firmware.device_of(firmware.image()).map_err(at_partition)?;
    let root = firmware.volume(device).map_err(at_partition)?;
    choose(&root, best, spare).map_err(|reason| match reason {
        Reason::Entry(entry::Error::NoEntry) | Reason::File(_) => reason.at(entry::DIRECTORY),
        _ => reason.at("boot entry"),
    })?;
    let best: &EntryFile = best;
    let entry = best.entry().map_err(|error| Reason::Entry(error).at("boot entry"))?;
    if firmware.has_secure_boot() {
        return Err(Reason::NotCovered.at(best.name()));
    }

    let (place, kernel) = load_kernel(firmware, console, &root, device, &entry)?;
    let initrd = open_initrds(console, &root, &entry)?;
    let options = LoadOptions::new(entry.options()).map_err(|error| Reason::Kernel(error).at("options"))?;
    // SAFETY: `options` outlives the kernel's run below.
    let handed_over = unsafe { firmware.hand_over(kernel.image, &options, device) };
    handed_over.map_err(|status| Reason::Firmware("HandleProtocol", status).at(place))?;
    start(firmware, console, place, kernel.needs, &initrd, || Err(firmware.start_image(kernel.image)))
}

/// Reads all entries, and leaves in `best` the one to boot.
fn choose(root: &File, best: &mut EntryFile, spare: &mut EntryFile) -> Result<(), Reason> {
    let path = FilePath::new(entry::DIRECTORY).ok_or(Reason::Entry(entry::Error::NoEntry))?;
    let directory = root.open(&path).map_err(|status| match status {
        Status::NOT_FOUND => Reason::Entry(entry::Error::NoEntry),
        other => Reason::file(other),
    })?;
    // An entry with a unified kernel image is for BIOS: where there is UEFI, we are that image.
    let mut choice = Choice::new(ARCHITECTURE.name(), best, spare).without_ukis();
    while let Some(node) = directory.next_node().map_err(Reason::file)? {
        if node.is_directory {
            continue;
        }
        let read = |into: &mut [u8]| {
            let path = path.child(node.name.as_str()).ok_or(Status::NOT_FOUND)?;
            root.open(&path)?.read(into)
        };
        choice.offer(&node.name, node.size, read).map_err(Reason::file)?;
    }
    choice.end().map_err(Reason::Entry)
}

/// Loads the kernel of `entry`, judged together with its command line. Returns its path too.
fn load_kernel<'f, 'e>(
    firmware: &'f Firmware,
    console: &mut Console<'_>,
    root: &File,
    device: efi::Handle,
    entry: &Entry<'e>,
) -> Result<(&'e str, Loaded<'f>), Failure<'e>> {
    let place = entry.linux().ok_or(Reason::Entry(entry::Error::NoLinux).at("boot entry"))?;
    let (file, len) = open(root, place)?;
    let _ = writeln!(console, "kernel {place} {} KiB", len.div_ceil(1024));
    let mut pages = firmware.pages(len).map_err(|_| Reason::Memory { kernel: len, initrd: 0 }.at(place))?;
    let bytes = usize::try_from(len).ok().and_then(|len| pages.zeroed().get_mut(..len));
    let kernel = bytes.ok_or(Reason::Memory { kernel: len, initrd: 0 }.at(place))?;
    file.read(kernel).map_err(|status| Reason::file(status).at(place))?;

    let needs = ARCHITECTURE.judge(kernel).map_err(|error| Reason::Kernel(error).at(place))?;
    needs.check_command_line(entry.options_len()).map_err(|error| Reason::Kernel(error).at("options"))?;
    let device = firmware.device_path(device).map_err(|status| Reason::file(status).at("boot partition"))?;
    let path = FilePath::new(place).and_then(|path| DevicePath::file(device, &path));
    let path = path.ok_or(Reason::File(bootfs::Error::NotFound).at(place))?;
    Ok((place, Loaded::new(firmware, kernel, needs, &path, place)?))
}

/// Opens the initrds of `entry`, and sees that each is there to its last byte.
fn open_initrds<'e>(console: &mut Console<'_>, root: &File, entry: &Entry<'e>) -> Result<Initrd<'e, 'static>, Failure<'e>> {
    let mut initrd = Initrd::new();
    for place in entry.initrds() {
        let (file, len) = open(root, place)?;
        let _ = writeln!(console, "initrd {place} {} KiB", len.div_ceil(1024));
        if let Some(last) = len.checked_sub(1) {
            let reached = file.seek(last).and_then(|()| file.read(&mut [0]));
            reached.map_err(|status| Reason::file(status).at(place))?;
        }
        initrd.push(place, Source::File(file), len)?;
    }
    Ok(initrd)
}

/// Opens the file `place`; with its length.
fn open<'e>(root: &File, place: &'e str) -> Result<(File, u64), Failure<'e>> {
    let path = FilePath::new(place).ok_or(Reason::File(bootfs::Error::NotFound).at(place))?;
    let opened = root.open(&path).and_then(|file| file.node().map(|node| (file, node)));
    match opened {
        Ok((_, node)) if node.is_directory => Err(Reason::File(bootfs::Error::IsDirectory).at(place)),
        Ok((file, node)) => Ok((file, node.size)),
        Err(status) => Err(Reason::file(status).at(place)),
    }
}
