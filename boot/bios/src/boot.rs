//! One boot, from the GPT to the kernel's entry, or to the words that say why not.

use core::convert::Infallible;

use bootfs::choose::{EntryFile, NoChoice, choose};
use bootfs::{Disk, Entry, Gpt, Volume, entry, gpt};
use bootlinux::zero_page::{self, Handover};
use bootlinux::{Placement, SetupHeader};

use crate::disk::Drive;
use crate::failure::{About as _, Failure, Reason, Result};
use crate::memory::{self, Low, length};
use crate::parts::{Parts, Piece};
use crate::{console, fault};

/// UEFI's name for this machine, as `architecture` keys use it.
const ARCHITECTURE: &str = "x64";
/// Bytes of the kernel file that are looked at before it is loaded: the setup header lies within.
const HEAD: usize = 1024;

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
    let parts = Parts::open(volume, entry)?;
    let kernel = parts.kernel;
    let mut head = [0; HEAD];
    let head = head.get_mut(..HEAD.min(length(kernel.len))).unwrap_or_default();
    kernel.read(volume, 0, head)?;
    let header = SetupHeader::parse(head, u64::from(kernel.len)).about(kernel.path)?;
    parts.write_options(volume, &header, command_line)?;

    let memory = memory::map();
    if memory.regions().is_empty() {
        return Err(Failure { subject: "", reason: Reason::NoMemoryMap });
    }
    let placement = Placement::plan(&header, &memory.usable(), u64::from(parts.initrds.len)).about("")?;
    load_kernel(volume, kernel, &header, placement)?;
    if let Some(address) = placement.initrd {
        parts.initrds.load(volume, address)?;
    }
    console::print(format_args!("start\n"));
    let handover = Handover {
        header: &header,
        placement,
        initrd_len: parts.initrds.len,
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
fn load_kernel<'a>(volume: &mut Volume<Drive>, kernel: Piece<'a>, header: &SetupHeader<'_>, placement: Placement) -> Result<'a, ()> {
    let setup_len = u32::try_from(header.setup_len()).unwrap_or(u32::MAX);
    let code_len = length(kernel.len.saturating_sub(setup_len));
    console::print(format_args!("kernel {kernel} at {:#x}\n", placement.kernel));
    // SAFETY: `plan` took the place from the usable memory above 1 MiB, where nothing of ours is; this is its only reference.
    let place = unsafe { memory::claim(length(placement.kernel), code_len) };
    kernel.read(volume, setup_len, place)
}

/// The physical address of something of ours, all of which is below 4 GiB.
fn address(target: &mut [u8]) -> u32 {
    u32::try_from(target.as_mut_ptr().expose_provenance()).unwrap_or_default()
}
