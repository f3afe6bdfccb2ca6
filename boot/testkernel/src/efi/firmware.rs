//! The few calls into the firmware: loaded image, initrd, memory map, power.

use core::ffi::c_void;
use core::{ptr, slice};

use r_efi::efi;
use r_efi::protocols::{device_path, load_file2, loaded_image};

/// `LINUX_EFI_INITRD_MEDIA_GUID`, include/linux/efi.h: the vendor media path on which a loader offers its initrd.
const INITRD_MEDIA: [u8; 16] = [0x27, 0xe4, 0x68, 0x55, 0xfc, 0x68, 0x3d, 0x4f, 0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc, 0x68];

const PAGE: usize = 4096;

/// Boot services and the handle of this image.
pub struct Firmware {
    image: efi::Handle,
    boot: &'static efi::BootServices,
    runtime: &'static efi::RuntimeServices,
}

/// What the loader wrote in our loaded image protocol.
pub struct LoadedImage {
    pub image_base: usize,
    pub load_options: &'static [u16],
    pub has_device_handle: bool,
    pub has_file_path: bool,
}

/// Why an initrd that was offered could not be had.
pub struct InitrdError {
    pub step: &'static str,
    pub status: usize,
}

/// A vendor media device path and its end.
#[repr(C, align(8))]
struct InitrdPath {
    header: [u8; 4],
    guid: [u8; 16],
    end: [u8; 4],
}

impl Firmware {
    /// # Safety
    /// `image` and `table` are the arguments of the image's entry point.
    pub unsafe fn new(image: efi::Handle, table: *mut efi::SystemTable) -> Self {
        // SAFETY: by the caller; the system table outlives the image.
        let table = unsafe { &*table };
        // SAFETY: boot services exist until ExitBootServices, which only the last use of `boot` calls.
        let boot = unsafe { &*table.boot_services };
        // SAFETY: runtime services exist always.
        let runtime = unsafe { &*table.runtime_services };
        Self { image, boot, runtime }
    }

    /// Our own loaded image protocol.
    pub fn loaded_image(&self) -> Option<LoadedImage> {
        let protocol = self.protocol::<loaded_image::Protocol>(self.image, loaded_image::PROTOCOL_GUID)?;
        let units = usize::try_from(protocol.load_options_size).unwrap_or(0) / 2;
        let load_options = match protocol.load_options.cast::<u16>() {
            options if options.is_null() || !options.is_aligned() => &[][..],
            // SAFETY: the loader says that so many bytes are there; aligned, and nobody writes to them now.
            options => unsafe { slice::from_raw_parts(options, units) },
        };
        Some(LoadedImage {
            image_base: protocol.image_base.expose_provenance(),
            load_options,
            has_device_handle: !protocol.device_handle.is_null(),
            has_file_path: !protocol.file_path.is_null(),
        })
    }

    /// The initrd, by `LoadFile2` as the Linux EFI stub asks for it: first its length, then the bytes in pages of our own.
    pub fn initrd(&self) -> Result<Option<&'static [u8]>, InitrdError> {
        let failed = |step| move |status: efi::Status| InitrdError { step, status: status.as_usize() };
        let path = InitrdPath { header: [0x04, 0x03, 20, 0], guid: INITRD_MEDIA, end: [0x7f, 0xff, 4, 0] };
        let mut rest = (&raw const path).cast_mut().cast::<device_path::Protocol>();
        let mut handle = ptr::null_mut();
        let mut guid = load_file2::PROTOCOL_GUID;
        // SAFETY: all three point to live locals; the firmware only reads the path.
        let status = unsafe { (self.boot.locate_device_path)(&raw mut guid, &raw mut rest, &raw mut handle) };
        if status == efi::Status::NOT_FOUND {
            return Ok(None);
        }
        done(status).map_err(failed("LocateDevicePath"))?;
        let Some(load_file2) = self.protocol::<load_file2::Protocol>(handle, load_file2::PROTOCOL_GUID) else {
            return Err(failed("HandleProtocol")(efi::Status::NOT_FOUND));
        };
        let this = ptr::from_ref(load_file2).cast_mut();
        let load = |len: &mut usize, buffer: *mut c_void| {
            // SAFETY: `this` is the protocol, `rest` the unmatched end of its path, `len` the length of `buffer`.
            unsafe { (load_file2.load_file)(this, rest, efi::Boolean::FALSE, len, buffer) }
        };
        let mut len = 0;
        match load(&mut len, ptr::null_mut()) {
            efi::Status::BUFFER_TOO_SMALL => {}
            status => return Err(failed("LoadFile of no buffer must say EFI_BUFFER_TOO_SMALL")(status)),
        }
        let buffer = self.pages(len).map_err(failed("AllocatePages"))?;
        done(load(&mut len, buffer.cast())).map_err(failed("LoadFile"))?;
        // SAFETY: the pages hold the `len` bytes that LoadFile has just written, and are never freed.
        Ok(Some(unsafe { slice::from_raw_parts(buffer, len) }))
    }

    /// Ends the boot services and calls `usable` with each range of memory then free for a kernel. `false` when they would
    /// not end.
    pub fn exit_boot_services(&self, mut usable: impl FnMut(u64, u64)) -> bool {
        let room = 64 * 1024;
        let Ok(map) = self.pages(room) else { return false };
        // The first attempt may change the map itself (UEFI, EFI_BOOT_SERVICES.ExitBootServices): ask again once.
        for _ in 0..2 {
            let (mut len, mut key, mut stride, mut version) = (room, 0, 0, 0);
            // SAFETY: `map` has room for `len` bytes; the rest are live locals.
            let status = unsafe { (self.boot.get_memory_map)(&raw mut len, map.cast(), &raw mut key, &raw mut stride, &raw mut version) };
            if status.is_error() || stride == 0 {
                return false;
            }
            // SAFETY: nothing of the boot services is used afterwards when this succeeds.
            if unsafe { (self.boot.exit_boot_services)(self.image, key) } != efi::Status::SUCCESS {
                continue;
            }
            // SAFETY: the firmware wrote `len` bytes, and `map` stays ours.
            let map = unsafe { slice::from_raw_parts(map, len) };
            each_usable(map, stride, &mut usable);
            return true;
        }
        false
    }

    /// Turns the machine off.
    pub fn shut_down(&self) -> ! {
        // SAFETY: a runtime service, valid before and after ExitBootServices.
        unsafe { (self.runtime.reset_system)(efi::RESET_SHUTDOWN, efi::Status::SUCCESS, 0, ptr::null_mut()) };
        loop {
            core::hint::spin_loop();
        }
    }

    fn pages(&self, len: usize) -> Result<*mut u8, efi::Status> {
        let mut at = 0;
        let pages = len.div_ceil(PAGE).max(1);
        // SAFETY: `at` is a live local.
        done(unsafe { (self.boot.allocate_pages)(efi::ALLOCATE_ANY_PAGES, efi::LOADER_DATA, pages, &raw mut at) })?;
        Ok(ptr::with_exposed_provenance_mut(usize::try_from(at).unwrap_or_default()))
    }

    /// The interface of type `T` that `guid` names on `handle`.
    fn protocol<T>(&self, handle: efi::Handle, mut guid: efi::Guid) -> Option<&'static T> {
        let mut interface = ptr::null_mut();
        // SAFETY: live locals; `handle` came from the firmware.
        let status = unsafe { (self.boot.handle_protocol)(handle, &raw mut guid, &raw mut interface) };
        let interface = interface.cast::<T>();
        // SAFETY: the interface of that GUID is a `T`; the callers pair them.
        (!status.is_error() && !interface.is_null()).then(|| unsafe { &*interface })
    }
}

fn done(status: efi::Status) -> Result<(), efi::Status> {
    if status.is_error() { Err(status) } else { Ok(()) }
}

/// Calls `usable` with the ranges of `map` (descriptors `stride` bytes apart) that a kernel may use, neighbours merged.
fn each_usable(map: &[u8], stride: usize, usable: &mut dyn FnMut(u64, u64)) {
    let mut open: Option<(u64, u64)> = None;
    for descriptor in map.chunks_exact(stride) {
        let field = |at: usize| descriptor.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
        // EfiLoaderCode to EfiBootServicesData, and EfiConventionalMemory.
        let free = matches!(field(0) & 0xffff_ffff, 1..=4 | 7);
        let start = field(8);
        let end = start.saturating_add(field(24).saturating_mul(4096));
        open = match open {
            Some((first, last)) if free && last == start => Some((first, end)),
            previous => {
                if let Some((first, last)) = previous.filter(|_| free) {
                    usable(first, last);
                }
                if free { Some((start, end)) } else { previous }
            }
        };
    }
    if let Some((first, last)) = open {
        usable(first, last);
    }
}
