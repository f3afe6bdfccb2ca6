//! The services of the firmware that the loader uses. All `unsafe` of the loader is here and in the modules beside it that are
//! each about one protocol or service: `file`, `initrd`, `mapped`, `measure`, `variables`, `virtual_machine`.

use core::ffi::c_void;
use core::ops::Range;
use core::ptr::{self, NonNull};
use core::slice;
use core::sync::atomic::{AtomicPtr, Ordering};

use bootefi::LoadOptions;
use bootefi::device_path::{self, DevicePath, node_len};
use bootfs::pe::Pe;
use r_efi::efi::{self, Status};
use r_efi::protocols::{device_path as device_path_protocol, loaded_image, simple_file_system};

use super::file::File;

const PAGE: u64 = 4096;

/// The headers of our own image end before this: its first section begins here.
const HEADERS_LEN: usize = 4096;

/// For the panic handler, which is given nothing.
static TABLE: AtomicPtr<efi::SystemTable> = AtomicPtr::new(ptr::null_mut());

/// The firmware, and this image in it. Boot services are there as long as the loader runs.
pub(super) struct Firmware {
    image: efi::Handle,
    pub(super) table: &'static efi::SystemTable,
    pub(super) boot: &'static efi::BootServices,
}

/// `Ok` unless the status is an error; warnings pass.
pub(super) fn done(status: Status) -> Result<(), Status> {
    if status.is_error() { Err(status) } else { Ok(()) }
}

impl Firmware {
    /// # Safety
    /// `image` and `table` are the arguments of the entry point, and boot services have not been ended.
    pub(super) unsafe fn new(image: efi::Handle, table: *mut efi::SystemTable) -> Self {
        TABLE.store(table, Ordering::Relaxed);
        // SAFETY: by the caller, the table is valid and stays so.
        let table = unsafe { &*table };
        // SAFETY: as above; nothing here ends boot services.
        let boot = unsafe { &*table.boot_services };
        Self { image, table, boot }
    }

    /// The firmware without an image, for a last message.
    pub(super) fn at_panic() -> Option<Self> {
        let table = TABLE.load(Ordering::Relaxed);
        // SAFETY: `new` stored a valid table, or nothing did.
        (!table.is_null()).then(|| unsafe { Self::new(ptr::null_mut(), table) })
    }

    /// The handle of this image.
    pub(super) fn image(&self) -> efi::Handle {
        self.image
    }

    /// Prints text that a NUL ends.
    pub(super) fn print(&self, units: &mut [u16]) {
        let console = self.table.con_out;
        if console.is_null() || !units.contains(&0) {
            return;
        }
        // SAFETY: the firmware's own console.
        let output = unsafe { (*console).output_string };
        // SAFETY: `units` is valid, ends with a NUL and is only read.
        let _ = unsafe { output(console, units.as_mut_ptr()) };
    }

    /// Returns at a key, or after `seconds`; whether it was a key.
    pub(super) fn wait_for_key(&self, seconds: u32) -> bool {
        let ten_million_hundred_nanoseconds = 10_000_000;
        let mut timer = ptr::null_mut();
        // SAFETY: creates an event without a function, into a local.
        let created = unsafe { (self.boot.create_event)(efi::EVT_TIMER, efi::TPL_APPLICATION, None, ptr::null_mut(), &raw mut timer) };
        let due = u64::from(seconds).saturating_mul(ten_million_hundred_nanoseconds);
        // SAFETY: the event was just created.
        let armed = done(created).and_then(|()| done(unsafe { (self.boot.set_timer)(timer, efi::TIMER_RELATIVE, due) }));
        if armed.is_err() {
            let microseconds = usize::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000);
            // SAFETY: only waits.
            let _ = unsafe { (self.boot.stall)(microseconds) };
            return false;
        }
        let mut events = [timer, ptr::null_mut()];
        let mut count = 1;
        // SAFETY: the firmware's own keyboard, or null.
        if let Some(input) = unsafe { self.table.con_in.as_ref() } {
            // SAFETY: as above. A key that was pressed before the message is forgotten.
            let _ = unsafe { (input.reset)(self.table.con_in, efi::Boolean::FALSE) };
            events[1] = input.wait_for_key;
            count = 2;
        }
        let mut fired = 0;
        // SAFETY: `events` holds `count` valid events.
        let waited = unsafe { (self.boot.wait_for_event)(count, events.as_mut_ptr(), &raw mut fired) };
        !waited.is_error() && fired == 1
    }

    /// Starts the machine anew.
    pub(super) fn reset(&self) -> ! {
        // SAFETY: the table is valid; runtime services always exist.
        let reset = unsafe { (*self.table.runtime_services).reset_system };
        // SAFETY: does not return.
        unsafe { reset(efi::RESET_COLD, Status::SUCCESS, 0, ptr::null_mut()) };
        loop {
            core::hint::spin_loop();
        }
    }

    /// The interface `guid` of whatever handle has it first; `None` when none has.
    pub(super) fn locate<T>(&self, mut guid: efi::Guid) -> Option<NonNull<T>> {
        let mut interface = ptr::null_mut();
        // SAFETY: locals; a null interface is not used.
        let status = unsafe { (self.boot.locate_protocol)(&raw mut guid, ptr::null_mut(), &raw mut interface) };
        NonNull::new(interface.cast()).filter(|_| !status.is_error())
    }

    /// The interface `guid` of `handle`; null never.
    pub(super) fn protocol<T>(&self, handle: efi::Handle, mut guid: efi::Guid) -> Result<NonNull<T>, Status> {
        let mut interface = ptr::null_mut();
        // SAFETY: locals; the firmware checks the handle.
        done(unsafe { (self.boot.handle_protocol)(handle, &raw mut guid, &raw mut interface) })?;
        NonNull::new(interface.cast()).ok_or(Status::NOT_FOUND)
    }

    /// The loaded image protocol of an image.
    pub(super) fn loaded_image(&self, image: efi::Handle) -> Result<NonNull<loaded_image::Protocol>, Status> {
        self.protocol(image, loaded_image::PROTOCOL_GUID)
    }

    /// The device that an image was loaded from; null for one that came from memory.
    pub(super) fn device_of(&self, image: efi::Handle) -> Result<efi::Handle, Status> {
        let loaded = self.loaded_image(image)?;
        // SAFETY: the protocol that the firmware keeps for a loaded image.
        Ok(unsafe { loaded.as_ref().device_handle })
    }

    /// The section `name` of this image, as it lies in memory.
    pub(super) fn own_section(&self, name: &str) -> Result<Option<&'static [u8]>, Status> {
        let loaded = self.loaded_image(self.image)?;
        // SAFETY: the protocol that the firmware keeps for us.
        let loaded = unsafe { loaded.as_ref() };
        let base = loaded.image_base.cast_const().cast::<u8>();
        let size = usize::try_from(loaded.image_size).unwrap_or(0);
        // SAFETY: the headers of our own image, mapped for as long as we run; nothing writes to them.
        let headers = unsafe { slice::from_raw_parts(base, HEADERS_LEN.min(size)) };
        let Some(section) = Pe::parse(headers).and_then(|pe| pe.section(name)) else { return Ok(None) };
        let Range { start, end } = section.memory();
        let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end)) else { return Ok(None) };
        if end > size {
            return Ok(None);
        }
        // SAFETY: `start` is not behind `end`, which is within the image.
        let first = unsafe { base.add(start) };
        // SAFETY: as above; no code of ours uses the sections that are asked for in another way.
        Ok(Some(unsafe { slice::from_raw_parts(first, end.saturating_sub(start)) }))
    }

    /// Gives `image` its command line and, when it came from memory, the device it is said to come from.
    ///
    /// # Safety
    /// `options` stays until the image has ended.
    pub(super) unsafe fn hand_over(&self, image: efi::Handle, options: &LoadOptions, device: efi::Handle) -> Result<(), Status> {
        let mut loaded = self.loaded_image(image)?;
        // SAFETY: the protocol of an image that does not run yet; the loader may write these fields (UEFI 2.10, section 9.1).
        let loaded = unsafe { loaded.as_mut() };
        let options = options.with_nul();
        loaded.load_options_size = u32::try_from(size_of_val(options)).map_err(|_| Status::BAD_BUFFER_SIZE)?;
        loaded.load_options = options.as_ptr().cast_mut().cast();
        if loaded.device_handle.is_null() {
            loaded.device_handle = device;
        }
        Ok(())
    }

    /// The root directory of the volume on `device`.
    pub(super) fn volume(&self, device: efi::Handle) -> Result<File, Status> {
        let volume: NonNull<simple_file_system::Protocol> = self.protocol(device, simple_file_system::PROTOCOL_GUID)?;
        let mut root = ptr::null_mut();
        // SAFETY: the protocol is valid.
        let open_volume = unsafe { volume.as_ref() }.open_volume;
        // SAFETY: as above, and `root` is a local.
        done(unsafe { open_volume(volume.as_ptr(), &raw mut root) })?;
        // SAFETY: a file that was just opened, and is ours to close.
        NonNull::new(root).map(|root| unsafe { File::new(root) }).ok_or(Status::NOT_FOUND)
    }

    /// The nodes of the device path of `device`, without its end.
    pub(super) fn device_path(&self, device: efi::Handle) -> Result<&'static [u8], Status> {
        let start: NonNull<u8> = self.protocol(device, device_path_protocol::PROTOCOL_GUID)?;
        let mut len = 0usize;
        loop {
            // SAFETY: `len` is at a node, or at the end of the path.
            let node = unsafe { start.add(len) };
            // SAFETY: both have a header of four bytes.
            let header = unsafe { node.cast::<[u8; 4]>().read_unaligned() };
            match node_len(header) {
                Some(node) if len < device_path::MAX => len = len.saturating_add(node),
                _ => break,
            }
        }
        // SAFETY: all nodes up to `len` were just walked.
        Ok(unsafe { slice::from_raw_parts(start.as_ptr(), len) })
    }

    /// `len` bytes of zeroed memory.
    pub(super) fn pages(&self, len: u64) -> Result<Pages<'_>, Status> {
        let pages = usize::try_from(len.div_ceil(PAGE).max(1)).map_err(|_| Status::OUT_OF_RESOURCES)?;
        let mut at = 0;
        // SAFETY: `at` is a local.
        done(unsafe { (self.boot.allocate_pages)(efi::ALLOCATE_ANY_PAGES, efi::LOADER_DATA, pages, &raw mut at) })?;
        Ok(Pages { firmware: self, at, pages })
    }

    /// Loads `kernel`, a file that was read from `path`. A handle may come with an error, and is unloaded then.
    pub(super) fn load_image(&self, kernel: &[u8], path: &DevicePath) -> Result<efi::Handle, Status> {
        let mut handle = ptr::null_mut();
        let source = kernel.as_ptr().cast_mut().cast::<c_void>();
        let path = path.bytes().as_ptr().cast_mut().cast();
        // SAFETY: path and source are valid and only read; `handle` is a local.
        let status = unsafe { (self.boot.load_image)(efi::Boolean::FALSE, self.image, path, source, kernel.len(), &raw mut handle) };
        if status.is_error() && !handle.is_null() {
            self.unload(handle);
        }
        done(status).map(|()| handle)
    }

    /// Forgets a loaded image.
    pub(super) fn unload(&self, image: efi::Handle) {
        // SAFETY: the firmware checks the handle.
        let _ = unsafe { (self.boot.unload_image)(image) };
    }

    /// Runs a loaded image until it ends.
    pub(super) fn start_image(&self, image: efi::Handle) -> Status {
        // SAFETY: the image has its options and its device; exit data is not asked for.
        unsafe { (self.boot.start_image)(image, ptr::null_mut(), ptr::null_mut()) }
    }
}

/// Pages of loader data, freed when dropped.
pub(super) struct Pages<'f> {
    firmware: &'f Firmware,
    at: u64,
    pages: usize,
}

impl Pages<'_> {
    /// The pages as zeros, to be filled.
    pub(super) fn zeroed(&mut self) -> &mut [u8] {
        let (start, len) = self.zero();
        // SAFETY: ours, and now initialised; borrowed as long as `self`.
        unsafe { slice::from_raw_parts_mut(start, len) }
    }

    /// The same for good: they are never given back.
    pub(super) fn kept(self) -> &'static mut [u8] {
        let (start, len) = self.zero();
        core::mem::forget(self);
        // SAFETY: nobody else's any more, and now initialised.
        unsafe { slice::from_raw_parts_mut(start, len) }
    }

    fn zero(&self) -> (*mut u8, usize) {
        let start: *mut u8 = ptr::with_exposed_provenance_mut(usize::try_from(self.at).unwrap_or(0));
        let len = self.pages.saturating_mul(4096);
        // SAFETY: the firmware gave us these pages, and no one else.
        unsafe { start.write_bytes(0, len) };
        (start, len)
    }
}

impl Drop for Pages<'_> {
    fn drop(&mut self) {
        // SAFETY: allocated by `pages`, and not borrowed any more.
        let _ = unsafe { (self.firmware.boot.free_pages)(self.at, self.pages) };
    }
}
