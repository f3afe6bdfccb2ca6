//! One boot, from the GPT to the kernel's entry, or to the words that say why not.

use core::convert::Infallible;
use core::fmt;

use bootfs::choose::{EntryFile, NoChoice, choose};
use bootfs::fat::File;
use bootfs::{Disk, Entry, Gpt, Volume, entry, gpt};
use bootlinux::zero_page::{self, Handover};
use bootlinux::{Placement, SetupHeader};

use crate::disk::{Drive, Status};
use crate::memory::{self, Low};
use crate::{console, fault};

/// UEFI's name for this machine, as `architecture` keys use it.
const ARCHITECTURE: &str = "x64";
/// Bytes of the kernel file that are looked at before it is loaded: the setup header lies within.
const HEAD: usize = 1024;
/// Initrds are joined at multiples of this, with zeros between them (the kernel's cpio reader asks for it).
const INITRD_ALIGN: u32 = 4;
/// Initrd lines that an entry may have.
const INITRDS_MAX: usize = 16;

/// What went wrong.
#[derive(Debug)]
enum Reason {
    Disk(bootfs::Error<Status>),
    Choice(NoChoice<Status>),
    Kernel(bootlinux::Error),
    SectorSize(u8),
    NoMemoryMap,
    TooManyInitrds,
    TooLarge,
    Taken,
}

/// What went wrong, and with what: a path or a part of the disk; empty where the reason says it all.
#[derive(Debug)]
struct Failure<'a> {
    subject: &'a str,
    reason: Reason,
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.subject.is_empty() {
            write!(f, "{}: ", self.subject)?;
        }
        match &self.reason {
            Reason::Disk(error) => error.fmt(f),
            Reason::Choice(error) => error.fmt(f),
            Reason::Kernel(error) => error.fmt(f),
            Reason::SectorSize(shift) => write!(f, "stage1 was patched with sector size 512 << {shift}"),
            Reason::NoMemoryMap => f.write_str("the BIOS has no memory map (INT 15h, E820h)"),
            Reason::TooManyInitrds => write!(f, "more than {INITRDS_MAX} initrd lines"),
            Reason::TooLarge => f.write_str("too large"),
            Reason::Taken => f.write_str("loader memory is in use"),
        }
    }
}

type Result<'a, T> = core::result::Result<T, Failure<'a>>;

/// Adds what a result is about.
trait About<T> {
    fn about(self, subject: &str) -> Result<'_, T>;
}

impl<T> About<T> for core::result::Result<T, bootfs::Error<Status>> {
    fn about(self, subject: &str) -> Result<'_, T> {
        self.map_err(|error| Failure { subject, reason: Reason::Disk(error) })
    }
}

impl<T> About<T> for core::result::Result<T, bootlinux::Error> {
    fn about(self, subject: &str) -> Result<'_, T> {
        self.map_err(|error| Failure { subject, reason: Reason::Kernel(error) })
    }
}

/// Boots the drive. Returns to nobody: ends in a kernel, or in a restart.
pub fn boot(drive: u8, sector_shift: u8) -> ! {
    let (mut best, mut spare) = (EntryFile::new(), EntryFile::new());
    let failure = match try_boot(drive, sector_shift, &mut best, &mut spare) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    console::print(format_args!("moby: cannot boot: {failure}\n"));
    fault::restart_after_a_while()
}

fn try_boot<'a>(drive: u8, sector_shift: u8, best: &'a mut EntryFile, spare: &mut EntryFile) -> Result<'a, Infallible> {
    // SAFETY: `boot` does not return, and calls this once.
    let low = unsafe { Low::take() }.ok_or(Failure { subject: "", reason: Reason::Taken })?;
    let drive = Drive::new(drive, sector_shift, low.bounce).ok_or(Failure { subject: "", reason: Reason::SectorSize(sector_shift) })?;
    let mut disk = Disk::new(drive).about("boot disk")?;
    let partition = Gpt::read(&mut disk).about("boot disk")?.find(&mut disk, &gpt::ESP).about("boot disk")?;
    let mut volume = Volume::open(disk, partition.start, partition.len).about("boot partition")?;
    choose(&mut volume, ARCHITECTURE, best, spare).map_err(|error| Failure {
        subject: match error {
            NoChoice::File(_) | NoChoice::Entry(entry::Error::NoEntry) => entry::DIRECTORY,
            NoChoice::Entry(_) => "boot entry",
        },
        reason: Reason::Choice(error),
    })?;
    let entry = best.entry().map_err(|error| Failure { subject: "boot entry", reason: Reason::Choice(NoChoice::Entry(error)) })?;
    start(&mut volume, entry, low.zero_page, low.command_line)
}

/// Loads what the entry names and starts it.
fn start<'a>(
    volume: &mut Volume<Drive>,
    entry: Entry<'a>,
    zero_page: &'static mut [u8; zero_page::LEN],
    command_line: &'static mut [u8],
) -> Result<'a, Infallible> {
    let path = entry.linux().unwrap_or_default();
    let mut kernel = volume.file(path).about(path)?;
    let mut head = [0; HEAD];
    let head = head.get_mut(..HEAD.min(length(kernel.size()))).unwrap_or_default();
    volume.read(&mut kernel, 0, head).about(path)?;
    let header = SetupHeader::parse(head, u64::from(kernel.size())).about(path)?;
    header.check_command_line(entry.options_len()).about("options")?;
    command_line.fill(0); // the zero at its end
    let room = command_line.split_last_mut().map_or(Default::default(), |(_, room)| room);
    entry.write_options(room).ok_or(Failure { subject: "options", reason: Reason::TooLarge })?;

    let initrds = Initrds::open(volume, entry)?;
    let memory = memory::map();
    if memory.regions().is_empty() {
        return Err(Failure { subject: "", reason: Reason::NoMemoryMap });
    }
    let placement = Placement::plan(&header, &memory.usable(), u64::from(initrds.len)).about("")?;
    load_kernel(volume, path, kernel, &header, placement)?;
    if let Some(address) = placement.initrd {
        initrds.load(volume, address)?;
    }
    console::print(format_args!("start\n"));
    let handover = Handover {
        header: &header,
        placement,
        initrd_len: initrds.len,
        command_line: address(command_line),
        memory: &memory,
        screen: console::screen(),
    };
    zero_page::fill(zero_page, &handover);
    // SAFETY: 1. the kernel was loaded to its place, which `plan` found free for all of init_size;
    // 2. the zero page was just filled, and it, the command line and the initrd lie below 4 GiB.
    unsafe { crate::entry::enter(placement.kernel, address(zero_page)) }
}

/// Reads the protected-mode code to its place.
fn load_kernel<'a>(
    volume: &mut Volume<Drive>,
    path: &'a str,
    mut file: File,
    header: &SetupHeader<'_>,
    placement: Placement,
) -> Result<'a, ()> {
    let setup_len = u32::try_from(header.setup_len()).unwrap_or(u32::MAX);
    let code_len = length(file.size().saturating_sub(setup_len));
    console::print(format_args!("kernel {path} {} KiB at {:#x}\n", file.size().div_ceil(1024), placement.kernel));
    // SAFETY: `plan` took the place from the usable memory above 1 MiB, where nothing of ours is; this is its only reference.
    let place = unsafe { memory::claim(length(placement.kernel), code_len) };
    volume.read(&mut file, setup_len, place).about(path)
}

/// The initrds of an entry, opened: all must be there before the kernel is loaded.
struct Initrds<'a> {
    files: [Option<(&'a str, File)>; INITRDS_MAX],
    /// Bytes of all of them together.
    len: u32,
}

impl<'a> Initrds<'a> {
    fn open(volume: &mut Volume<Drive>, entry: Entry<'a>) -> Result<'a, Self> {
        let mut initrds = Self { files: [None; INITRDS_MAX], len: 0 };
        let mut slots = initrds.files.iter_mut();
        for path in entry.initrds() {
            let file = volume.file(path).about(path)?;
            let slot = slots.next().ok_or(Failure { subject: path, reason: Reason::TooManyInitrds })?;
            let start = initrds.len.checked_next_multiple_of(INITRD_ALIGN);
            let end = start.and_then(|start| start.checked_add(file.size()));
            initrds.len = end.ok_or(Failure { subject: path, reason: Reason::TooLarge })?;
            *slot = Some((path, file));
        }
        Ok(initrds)
    }

    /// Reads all of them to `at`, one behind the other.
    fn load(&self, volume: &mut Volume<Drive>, at: u32) -> Result<'a, ()> {
        // SAFETY: `plan` took the place from the usable memory above the kernel's; this is its only reference.
        let mut rest = unsafe { memory::claim(length(at), length(self.len)) };
        let mut offset = 0u32;
        for (path, file) in self.files.iter().flatten() {
            let mut file = *file;
            let size = file.size();
            let gap = offset.next_multiple_of(INITRD_ALIGN).saturating_sub(offset);
            let start = at.saturating_add(offset).saturating_add(gap);
            console::print(format_args!("initrd {path} {} KiB at {start:#x}\n", size.div_ceil(1024)));
            let too_large = || Failure { subject: path, reason: Reason::TooLarge };
            let (zeros, behind) = rest.split_at_mut_checked(length(gap)).ok_or_else(too_large)?;
            let (place, behind) = behind.split_at_mut_checked(length(size)).ok_or_else(too_large)?;
            zeros.fill(0);
            volume.read(&mut file, 0, place).about(path)?;
            offset = offset.saturating_add(gap).saturating_add(size);
            rest = behind;
        }
        Ok(())
    }
}

/// A length or address below 4 GiB as Rust counts.
fn length(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// The physical address of something of ours, all of which is below 4 GiB.
fn address(target: &mut [u8]) -> u32 {
    u32::try_from(target.as_mut_ptr().expose_provenance()).unwrap_or_default()
}
