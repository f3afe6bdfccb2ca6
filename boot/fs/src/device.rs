//! A device of sectors, and the same device as a string of bytes.

use core::num::NonZeroU64;

use crate::Error;
use crate::field::{long, short};

/// A disk as its driver offers it: whole sectors, read-only.
pub trait BlockDevice {
    /// What the driver says when a read fails.
    type Error;

    /// Bytes in a sector: 512, 1024, 2048 or 4096.
    fn sector_size(&self) -> u32;

    /// How many sectors there are, where the driver knows.
    fn sector_count(&self) -> Option<u64>;

    /// Fills `into`, a whole number of sectors, from sector `first` on.
    ///
    /// # Errors
    /// When a sector could not be read, after whatever repetition the driver finds useful.
    fn read(&mut self, first: u64, into: &mut [u8]) -> Result<(), Self::Error>;
}

/// Bytes read ahead for small reads (tables, directories, the FAT).
const WINDOW: usize = 8192;

/// A device as a string of bytes.
///
/// Structures on a disk do not always keep to the device's sectors (the GPT of a hybrid ISO counts 512-byte blocks and is
/// read through 2048-byte sectors), so everything above this type counts bytes. Whole sectors go straight into the
/// caller's buffer in one device read; only what is smaller goes through the window.
#[derive(Debug)]
pub struct Disk<D> {
    device: D,
    /// Bytes in a sector.
    sector: NonZeroU64,
    window: [u8; WINDOW],
    /// Byte offset of the window on the device, a multiple of the sector size.
    window_at: u64,
    /// How much of the window is valid.
    window_len: usize,
}

impl<D: BlockDevice> Disk<D> {
    /// Takes a device into use; reads nothing yet.
    ///
    /// # Errors
    /// [`Error::SectorSize`] when the device has sectors of an unknown size.
    pub fn new(device: D) -> Result<Self, Error<D::Error>> {
        let found = device.sector_size();
        let sector = NonZeroU64::new(u64::from(found)).filter(|sector| matches!(sector.get(), 512 | 1024 | 2048 | 4096));
        let sector = sector.ok_or(Error::SectorSize(found))?;
        Ok(Self { device, sector, window: [0; WINDOW], window_at: 0, window_len: 0 })
    }

    /// Bytes in a sector of the device.
    pub fn sector_size(&self) -> u32 {
        self.device.sector_size()
    }

    /// Bytes on the device, where known.
    pub fn len(&self) -> Option<u64> {
        self.device.sector_count()?.checked_mul(self.sector.get())
    }

    /// Whether the device is known to hold nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The device itself.
    pub const fn device(&self) -> &D {
        &self.device
    }

    /// Fills `into` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`Error::PastEndOfDisk`], [`Error::Device`].
    pub fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), Error<D::Error>> {
        let end = offset.checked_add(long(into.len())).ok_or(Error::PastEndOfDisk)?;
        if self.len().is_some_and(|len| end > len) {
            return Err(Error::PastEndOfDisk);
        }
        let sector = self.sector;
        let mut rest = into;
        while !rest.is_empty() {
            let at = end.saturating_sub(long(rest.len()));
            let partial = short(long(rest.len()) % sector, rest.len());
            let whole = rest.len().saturating_sub(partial);
            let done = if at.is_multiple_of(sector.get()) && whole > 0 {
                let (direct, _) = rest.split_at_mut(whole);
                self.device.read(at / sector, direct).map_err(Error::Device)?;
                whole
            } else {
                let cached = self.cached(at)?;
                let n = cached.len().min(rest.len());
                let (to, from) = (rest.split_at_mut(n).0, cached.split_at(n).0);
                to.copy_from_slice(from);
                n
            };
            rest = rest.split_at_mut(done).1;
        }
        Ok(())
    }

    /// The bytes of the window from `offset` on, at least one.
    fn cached(&mut self, offset: u64) -> Result<&[u8], Error<D::Error>> {
        let inside = offset.checked_sub(self.window_at).is_some_and(|skip| skip < long(self.window_len));
        if !inside {
            self.fill(offset)?;
        }
        let skip = short(offset.saturating_sub(self.window_at), self.window_len);
        self.window.get(skip..self.window_len).filter(|bytes| !bytes.is_empty()).ok_or(Error::PastEndOfDisk)
    }

    /// Moves the window to the sector that holds `offset`.
    fn fill(&mut self, offset: u64) -> Result<(), Error<D::Error>> {
        let first = offset / self.sector;
        let at = first.saturating_mul(self.sector.get());
        let ahead = match self.len() {
            Some(len) => short(len.saturating_sub(at), WINDOW),
            None => WINDOW,
        };
        let one = short(self.sector.get(), WINDOW);
        self.window_len = 0;
        let mut result = Ok(());
        // Reading ahead may meet a bad sector, or the unknown end of the device, behind the one sector that is needed.
        for len in [ahead, one] {
            if let Some(into) = self.window.get_mut(..len) {
                result = self.device.read(first, into).map_err(Error::Device);
                if result.is_ok() {
                    self.window_at = at;
                    self.window_len = len;
                    break;
                }
            }
        }
        result
    }
}
