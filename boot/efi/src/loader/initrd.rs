//! The initrd, offered by `LoadFile2` on `LINUX_EFI_INITRD_MEDIA_GUID` and read from its files straight into the buffer of the
//! kernel that asks for it: it is in memory once.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr::{self, NonNull};

use bootefi::device_path::DevicePath;
use bootefi::initrd_padding;
use r_efi::efi::{self, Boolean, Status};
use r_efi::protocols::{device_path, load_file2};

use super::failure::{Failure, Reason};
use super::file::File;
use super::firmware::{Firmware, done};

/// The most parts of one initrd.
const PARTS_MAX: usize = 16;

/// Where a part of the initrd is.
pub(super) enum Source<'b> {
    File(File),
    Memory(&'b [u8]),
}

/// One of several initrds: what it is called, its bytes, and how many.
struct Part<'a, 'b> {
    place: &'a str,
    source: Source<'b>,
    len: usize,
}

/// All initrds of an entry, one after the other, each padded to four bytes; places live as `'a`, bytes in memory as `'b`.
#[repr(C)]
pub(super) struct Initrd<'a, 'b> {
    /// First, so that the firmware's pointer to the protocol is one to the whole.
    load_file2: load_file2::Protocol,
    parts: [Option<Part<'a, 'b>>; PARTS_MAX],
    count: usize,
    /// Bytes of all parts with their padding.
    len: usize,
    /// The part that could not be read while the kernel asked for it.
    failed: Cell<Option<(usize, Status)>>,
}

impl<'a, 'b> Initrd<'a, 'b> {
    pub(super) fn new() -> Self {
        let parts = [const { None }; PARTS_MAX];
        Self { load_file2: load_file2::Protocol { load_file }, parts, count: 0, len: 0, failed: Cell::new(None) }
    }

    /// Bytes that the kernel will be given.
    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.len).unwrap_or(u64::MAX)
    }

    /// Adds a part of `len` bytes.
    pub(super) fn push(&mut self, place: &'a str, source: Source<'b>, len: u64) -> Result<(), Failure<'a>> {
        let with_padding = len.checked_add(initrd_padding(len)).and_then(|len| usize::try_from(len).ok());
        let total = with_padding.and_then(|more| self.len.checked_add(more));
        let (Ok(part_len), Some(total)) = (usize::try_from(len), total) else {
            return Err(Reason::Memory { kernel: 0, initrd: len }.at(place));
        };
        let slot = self.parts.get_mut(self.count).ok_or(Reason::TooManyInitrds(PARTS_MAX).at(place))?;
        *slot = Some(Part { place, source, len: part_len });
        self.count = self.count.saturating_add(1);
        self.len = total;
        Ok(())
    }

    /// Adds a part that lies in memory.
    pub(super) fn push_bytes(&mut self, place: &'a str, bytes: &'b [u8]) -> Result<(), Failure<'a>> {
        self.push(place, Source::Memory(bytes), u64::try_from(bytes.len()).unwrap_or(u64::MAX))
    }

    /// Why the kernel was not given its initrd, if it asked in vain.
    pub(super) fn failure(&self) -> Option<Failure<'a>> {
        let (index, status) = self.failed.get()?;
        let part = self.parts.get(index)?.as_ref()?;
        Some(Reason::file(status).at(part.place))
    }

    /// Writes all parts to `to`.
    ///
    /// # Safety
    /// `self.len` bytes at `to` may be written to.
    unsafe fn write(&self, mut to: *mut u8) -> Result<(), Status> {
        for (index, part) in self.parts.iter().flatten().enumerate() {
            let outcome = match &part.source {
                Source::File(file) => {
                    // SAFETY: by the caller, as the parts' lengths add up to less than `self.len`.
                    file.seek(0).and_then(|()| unsafe { file.read_to(to, part.len) })
                }
                Source::Memory(bytes) => {
                    // SAFETY: as above; the buffer is the kernel's, the bytes are ours.
                    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, part.len) };
                    Ok(())
                }
            };
            if let Err(status) = outcome {
                self.failed.set(Some((index, status)));
                return Err(status);
            }
            let padding = usize::try_from(initrd_padding(u64::try_from(part.len).unwrap_or(0))).unwrap_or(0);
            // SAFETY: the end of the part lies within the `self.len` bytes.
            to = unsafe { to.add(part.len) };
            // SAFETY: and so does its padding.
            unsafe { to.write_bytes(0, padding) };
            // SAFETY: as above.
            to = unsafe { to.add(padding) };
        }
        Ok(())
    }
}

/// `EFI_LOAD_FILE2_PROTOCOL.LoadFile()` (UEFI 2.10, section 13.2).
unsafe extern "efiapi" fn load_file(
    this: *mut load_file2::Protocol,
    path: *mut device_path::Protocol,
    boot_policy: Boolean,
    len: *mut usize,
    buffer: *mut c_void,
) -> Status {
    // SAFETY: an `Offer` installed this pointer: it is that of a whole `Initrd`, which it keeps borrowed.
    let initrd = unsafe { this.cast::<Initrd<'_, '_>>().as_ref() };
    // SAFETY: the caller's own variable.
    let len = unsafe { len.as_mut() };
    let (Some(initrd), Some(len)) = (initrd, len) else { return Status::INVALID_PARAMETER };
    if path.is_null() {
        return Status::INVALID_PARAMETER;
    }
    if boot_policy != Boolean::FALSE {
        return Status::UNSUPPORTED;
    }
    let room = core::mem::replace(len, initrd.len);
    if buffer.is_null() || room < initrd.len {
        return Status::BUFFER_TOO_SMALL;
    }
    // SAFETY: the caller says that its buffer has room for so many bytes.
    match unsafe { initrd.write(buffer.cast()) } {
        Ok(()) => Status::SUCCESS,
        Err(status) => status,
    }
}

/// An initrd on offer; withdrawn when dropped.
pub(super) struct Offer<'o> {
    firmware: &'o Firmware,
    handle: efi::Handle,
    path: &'o DevicePath,
    initrd: &'o Initrd<'o, 'o>,
}

impl<'o> Offer<'o> {
    /// Offers `initrd` on `path`, instead of whatever was offered there before.
    pub(super) fn new(firmware: &'o Firmware, path: &'o DevicePath, initrd: &'o Initrd<'o, 'o>) -> Result<Self, Status> {
        withdraw_others(firmware, path)?;
        let mut offer = Self { firmware, handle: ptr::null_mut(), path, initrd };
        let [path, initrd] = offer.interfaces();
        for (mut guid, interface) in [path, initrd] {
            // SAFETY: both interfaces stay until the offer is dropped, as it borrows them.
            done(unsafe {
                (firmware.boot.install_protocol_interface)(&raw mut offer.handle, &raw mut guid, efi::NATIVE_INTERFACE, interface)
            })?;
        }
        Ok(offer)
    }

    /// What is installed, in this order.
    fn interfaces(&self) -> [(efi::Guid, *mut c_void); 2] {
        let path = self.path.bytes().as_ptr().cast_mut().cast();
        let initrd = ptr::from_ref(self.initrd).cast_mut().cast();
        [(device_path::PROTOCOL_GUID, path), (load_file2::PROTOCOL_GUID, initrd)]
    }
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        if self.handle.is_null() {
            return;
        }
        let [path, initrd] = self.interfaces();
        for (guid, interface) in [initrd, path] {
            let _ = uninstall(self.firmware, self.handle, guid, interface);
        }
    }
}

fn uninstall(firmware: &Firmware, handle: efi::Handle, mut guid: efi::Guid, interface: *mut c_void) -> Result<(), Status> {
    // SAFETY: the firmware checks that the interface is on the handle.
    done(unsafe { (firmware.boot.uninstall_protocol_interface)(handle, &raw mut guid, interface) })
}

/// Takes `LoadFile2` off every handle that offers it on `path`: a kernel takes the first that it finds, and that may be the
/// initrd of an earlier boot loader.
fn withdraw_others(firmware: &Firmware, path: &DevicePath) -> Result<(), Status> {
    loop {
        let mut rest = path.bytes().as_ptr().cast_mut().cast::<device_path::Protocol>();
        let mut guid = load_file2::PROTOCOL_GUID;
        let mut handle = ptr::null_mut();
        // SAFETY: locals, and a path that is only read.
        if unsafe { (firmware.boot.locate_device_path)(&raw mut guid, &raw mut rest, &raw mut handle) }.is_error() {
            return Ok(());
        }
        let interface: NonNull<load_file2::Protocol> = firmware.protocol(handle, load_file2::PROTOCOL_GUID)?;
        uninstall(firmware, handle, load_file2::PROTOCOL_GUID, interface.as_ptr().cast())?;
    }
}
