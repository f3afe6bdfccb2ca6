//! A kernel out of our own image, which the firmware verified as a whole: laid out in memory and entered by ourselves, as the
//! firmware would ask for another signature if it were to load it.

use core::convert::Infallible;
use core::fmt::Write as _;
use core::ptr;
use core::slice;

use bootefi::{LoadOptions, Mapping, PAGE, Protection};
use r_efi::efi::{self, Status};
use r_efi::protocols::{loaded_image, memory_attribute};

use super::console::Console;
use super::failure::{Failure, Reason, Words};
use super::firmware::{Firmware, done};

/// The entry point of an EFI application.
type Entry = unsafe extern "efiapi" fn(efi::Handle, *mut efi::SystemTable) -> Status;

/// A kernel in its place. The place is never given back: when a kernel returns, the machine restarts.
pub(super) struct Mapped<'f> {
    firmware: &'f Firmware,
    image: &'static [u8],
    entry: usize,
}

impl<'f> Mapped<'f> {
    /// Lays out `kernel`, a section called `place`.
    pub(super) fn new<'a>(firmware: &'f Firmware, console: &mut Console<'_>, kernel: &[u8], place: &'a str) -> Result<Self, Failure<'a>> {
        let mapping = Mapping::plan(kernel).map_err(|error| Reason::Kernel(error).at(place))?;
        let len = u64::try_from(mapping.image_len()).unwrap_or(u64::MAX);
        let image = code_pages(firmware, mapping.image_len(), mapping.alignment());
        let image = image.map_err(|_| Reason::Memory { kernel: len, initrd: 0 }.at(place))?;
        let address = u64::try_from(image.as_ptr().expose_provenance()).unwrap_or(0);
        mapping.write(image, address).map_err(|error| Reason::Kernel(error).at(place))?;
        make_executable(image);
        for part in mapping.protections() {
            // Some firmware has the protocol and refuses; most of it lets everything be executed then.
            if let Err(status) = protect(firmware, address, &part) {
                let _ = writeln!(console, "moby: {place}: memory not protected: {}", Words(status));
            }
        }
        Ok(Self { firmware, image, entry: mapping.entry() })
    }

    /// Enters the kernel as the image that we are, with `options` instead of ours, until it returns.
    pub(super) fn run(&self, options: &LoadOptions) -> Result<Infallible, Status> {
        let loaded = self.firmware.loaded_image(self.firmware.image())?.as_ptr();
        // SAFETY: the protocol that the firmware keeps for us, of pointers and numbers. The loader may write to it.
        let own = unsafe { ptr::read(loaded) };
        let options = options.with_nul();
        let kernels = loaded_image::Protocol {
            image_base: self.image.as_ptr().cast_mut().cast(),
            image_size: u64::try_from(self.image.len()).map_err(|_| Status::BAD_BUFFER_SIZE)?,
            load_options_size: u32::try_from(size_of_val(options)).map_err(|_| Status::BAD_BUFFER_SIZE)?,
            load_options: options.as_ptr().cast_mut().cast(),
            // SAFETY: as above.
            ..unsafe { ptr::read(loaded) }
        };
        // SAFETY: as above. `options` and the image outlive the call below.
        unsafe { ptr::write(loaded, kernels) };
        let entry = self.image.as_ptr().wrapping_add(self.entry);
        // SAFETY: the entry point of a kernel for this machine, within its image, which is complete and may be executed.
        let entry: Entry = unsafe { core::mem::transmute(entry) };
        // SAFETY: an EFI application is given its own handle and the system table; this one has ours.
        let status = unsafe { entry(self.firmware.image(), ptr::from_ref(self.firmware.table).cast_mut()) };
        // SAFETY: as before the call.
        unsafe { ptr::write(loaded, own) };
        Err(status)
    }
}

/// `len` bytes for code, whole pages at a multiple of `alignment`.
fn code_pages(firmware: &Firmware, len: usize, alignment: usize) -> Result<&'static mut [u8], Status> {
    let room = alignment.checked_sub(PAGE).and_then(|spare| spare.checked_add(len)).ok_or(Status::OUT_OF_RESOURCES)?;
    let mut at = 0;
    // SAFETY: `at` is a local.
    done(unsafe { (firmware.boot.allocate_pages)(efi::ALLOCATE_ANY_PAGES, efi::LOADER_CODE, room.div_ceil(PAGE), &raw mut at) })?;
    let at = usize::try_from(at).map_err(|_| Status::OUT_OF_RESOURCES)?;
    let start: *mut u8 = ptr::with_exposed_provenance_mut(at.checked_next_multiple_of(alignment).ok_or(Status::OUT_OF_RESOURCES)?);
    // SAFETY: the firmware gave us these pages for good. There are enough to begin at a multiple of the alignment.
    unsafe { start.write_bytes(0, len) };
    // SAFETY: as above, initialised, and nobody else has them.
    Ok(unsafe { slice::from_raw_parts_mut(start, len) })
}

/// Has a part of the image be used in no other way, where the firmware can (UEFI 2.10, section 37.1).
fn protect(firmware: &Firmware, address: u64, part: &Protection) -> Result<(), Status> {
    let Some(protocol) = firmware.locate::<memory_attribute::Protocol>(memory_attribute::PROTOCOL_GUID) else { return Ok(()) };
    // SAFETY: the firmware's own protocol.
    let memory = unsafe { protocol.as_ref() };
    let (start, len) = (address.saturating_add(part.pages.start), part.pages.end.saturating_sub(part.pages.start));
    let wanted = |attribute, allowed: bool| if allowed { 0 } else { attribute };
    let set = wanted(efi::MEMORY_RO, part.is_writable) | wanted(efi::MEMORY_XP, part.is_executable);
    let clear = (efi::MEMORY_RO | efi::MEMORY_XP) & !set;
    if clear != 0 {
        // SAFETY: pages of the image, which is complete and nobody writes to any more.
        done(unsafe { (memory.clear_memory_attributes)(protocol.as_ptr(), start, len, clear) })?;
    }
    if set != 0 {
        // SAFETY: as above.
        done(unsafe { (memory.set_memory_attributes)(protocol.as_ptr(), start, len, set) })?;
    }
    Ok(())
}

/// Has the processor fetch the instructions that were just written: on x86-64 it does so by itself.
#[cfg(target_arch = "x86_64")]
fn make_executable(_: &[u8]) {}

/// Has the processor fetch the instructions that were just written: they are in the caches of data (Arm Architecture Reference
/// Manual, B2.4.4).
#[cfg(target_arch = "aarch64")]
fn make_executable(image: &[u8]) {
    use core::arch::asm;
    let types: usize;
    // SAFETY: reads the sizes of cache lines.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) types, options(nomem, nostack, preserves_flags)) };
    let line = |shift: u32| 4usize << ((types >> shift) & 0xf);
    let (data, instructions) = (line(16), line(0));
    let start = image.as_ptr().expose_provenance();
    let end = start.saturating_add(image.len());
    for address in (start & !data.wrapping_sub(1)..end).step_by(data) {
        // SAFETY: cleans a line of memory that is ours.
        unsafe { asm!("dc cvau, {}", in(reg) address, options(nostack, preserves_flags)) };
    }
    // SAFETY: waits until the lines are written.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    for address in (start & !instructions.wrapping_sub(1)..end).step_by(instructions) {
        // SAFETY: forgets instructions of memory that is ours.
        unsafe { asm!("ic ivau, {}", in(reg) address, options(nostack, preserves_flags)) };
    }
    // SAFETY: waits until they are forgotten, also those that were fetched already.
    unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
}
