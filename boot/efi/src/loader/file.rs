//! Files by the firmware's own FAT driver (UEFI 2.10, section 13.5).

use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use bootefi::FilePath;
use bootfs::fat::Name;
use r_efi::efi::Status;
use r_efi::protocols::file;

use super::firmware::done;

/// Bytes of one read: some firmware fails on very large ones, and none gains from them.
const CHUNK: usize = 4 << 20;

/// UTF-16 units of the longest file name and its NUL.
const NAME_MAX: usize = 256;

type Info = file::Info<NAME_MAX>;

/// An open file or directory, closed when dropped.
pub(super) struct File(NonNull<file::Protocol>);

/// What a directory says of a file.
pub(super) struct Node {
    pub(super) name: Name,
    pub(super) size: u64,
    pub(super) is_directory: bool,
}

impl Node {
    fn new(info: &Info) -> Self {
        Self { name: Name::long(&info.file_name), size: info.file_size, is_directory: info.attribute & file::DIRECTORY != 0 }
    }
}

impl File {
    /// # Safety
    /// `protocol` is an open file that no one else closes.
    pub(super) unsafe fn new(protocol: NonNull<file::Protocol>) -> Self {
        Self(protocol)
    }

    fn protocol(&self) -> &file::Protocol {
        // SAFETY: open until `self` is dropped.
        unsafe { self.0.as_ref() }
    }

    /// Opens `path`, relative to this directory, for reading.
    pub(super) fn open(&self, path: &FilePath) -> Result<File, Status> {
        let mut opened = ptr::null_mut();
        let path = path.with_nul().as_ptr().cast_mut();
        // SAFETY: `path` ends with a NUL and is only read; `opened` is a local.
        done(unsafe { (self.protocol().open)(self.0.as_ptr(), &raw mut opened, path, file::MODE_READ, 0) })?;
        // SAFETY: just opened, and ours.
        NonNull::new(opened).map(|opened| unsafe { File::new(opened) }).ok_or(Status::NOT_FOUND)
    }

    /// Size, name and kind.
    pub(super) fn node(&self) -> Result<Node, Status> {
        let mut info = MaybeUninit::<Info>::zeroed();
        let mut len = size_of::<Info>();
        let mut guid = file::INFO_ID;
        // SAFETY: `info` has room for `len` bytes, and the alignment of what is written.
        done(unsafe { (self.protocol().get_info)(self.0.as_ptr(), &raw mut guid, &raw mut len, info.as_mut_ptr().cast()) })?;
        // SAFETY: integers only; zeroed, then filled.
        Ok(Node::new(unsafe { info.assume_init_ref() }))
    }

    /// The next entry of this directory.
    pub(super) fn next_node(&self) -> Result<Option<Node>, Status> {
        let mut info = MaybeUninit::<Info>::zeroed();
        // SAFETY: `info` has that room, and the alignment of what is written.
        let len = unsafe { self.read_once(info.as_mut_ptr().cast(), size_of::<Info>()) }?;
        // SAFETY: integers only; zeroed, then filled.
        Ok((len > 0).then(|| Node::new(unsafe { info.assume_init_ref() })))
    }

    /// The next read will be at byte `position`.
    pub(super) fn seek(&self, position: u64) -> Result<(), Status> {
        // SAFETY: no pointers but the file's own.
        done(unsafe { (self.protocol().set_position)(self.0.as_ptr(), position) })
    }

    /// Fills `buffer`; a file that ends before is damaged.
    pub(super) fn read(&self, buffer: &mut [u8]) -> Result<(), Status> {
        // SAFETY: exactly the buffer.
        unsafe { self.read_to(buffer.as_mut_ptr(), buffer.len()) }
    }

    /// Reads `len` bytes to `to`.
    ///
    /// # Safety
    /// `len` bytes at `to` may be written to.
    pub(super) unsafe fn read_to(&self, to: *mut u8, len: usize) -> Result<(), Status> {
        let mut at = 0usize;
        while at < len {
            let want = len.saturating_sub(at).min(CHUNK);
            // SAFETY: `at` + `want` <= `len`, by the caller writable.
            let place = unsafe { to.add(at) };
            // SAFETY: as above.
            match unsafe { self.read_once(place, want) }? {
                0 => return Err(Status::VOLUME_CORRUPTED),
                got => at = at.saturating_add(got),
            }
        }
        Ok(())
    }

    /// # Safety
    /// `len` bytes at `to` may be written to.
    unsafe fn read_once(&self, to: *mut u8, len: usize) -> Result<usize, Status> {
        let mut got = len;
        // SAFETY: by the caller.
        done(unsafe { (self.protocol().read)(self.0.as_ptr(), &raw mut got, to.cast()) })?;
        Ok(got.min(len))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: open, ours, and not used afterwards.
        let _ = unsafe { (self.protocol().close)(self.0.as_ptr()) };
    }
}
