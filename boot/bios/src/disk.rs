//! The boot disk, by the BIOS's Enhanced Disk Drive services (INT 13h, AH=42h and 48h; EDD-3).

use core::fmt;

use bootfs::BlockDevice;

use crate::bios::{self, Registers};

/// EDD-1 allows 127 sectors a call.
const SECTORS_MAX: usize = 127;
/// However badly large reads fail, do not give them up for reads smaller than this.
const SECTORS_FEW: usize = 8;
/// How often a single sector is tried.
const ATTEMPTS: u32 = 5;

/// What AH holds after a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(u8);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BIOS status {:#04x}", self.0)
    }
}

/// A drive of the BIOS.
#[derive(Debug)]
pub struct Drive {
    number: u8,
    sector_size: u32,
    sector_count: Option<u64>,
    bounce: &'static mut [u8],
    /// Sectors to ask for in one call.
    limit: usize,
}

/// The disk address packet of AH=42h.
#[repr(C)]
struct Packet {
    len: u8,
    reserved: u8,
    count: u16,
    offset: u16,
    segment: u16,
    first: u64,
}

impl Drive {
    /// The drive that the BIOS booted from. Its sector size is what stage1 was patched with and worked with: AH=48h is known
    /// to be wrong on CDs.
    ///
    /// `None` when `sector_shift` is no sector size.
    pub fn new(number: u8, sector_shift: u8, bounce: &'static mut [u8]) -> Option<Self> {
        let sector_size = 512u32.checked_shl(u32::from(sector_shift)).filter(|size| *size <= 4096)?;
        let fits = bounce.len().checked_div(usize::try_from(sector_size).ok()?)?;
        Some(Self { number, sector_size, sector_count: sector_count(number, sector_size), bounce, limit: fits.min(SECTORS_MAX) })
    }

    /// One call: fills the first bytes of the bounce buffer with `count` sectors.
    fn call(&mut self, first: u64, count: usize) -> Result<(), Status> {
        let count = u16::try_from(count).map_err(|_| Status(1))?;
        let (segment, offset) = bios::far(self.bounce.as_mut_ptr()).ok_or(Status(1))?;
        let mut packet = Packet { len: 16, reserved: 0, count, offset, segment, first };
        let (ds, si) = bios::far(&raw mut packet).ok_or(Status(1))?;
        let mut registers = Registers { eax: 0x4200, edx: u32::from(self.number), esi: u32::from(si), ds, ..Registers::default() };
        // SAFETY: the packet names the bounce buffer, which holds `count` sectors and is ours alone.
        unsafe { registers.call(0x13) };
        if registers.carry() { Err(Status(registers.ah())) } else { Ok(()) }
    }

    /// AH=00h: resets the drive, for another attempt.
    fn reset(&self) {
        let mut registers = Registers { edx: u32::from(self.number), ..Registers::default() };
        // SAFETY: INT 13h, AH=00h writes to no memory but the BIOS's own.
        unsafe { registers.call(0x13) };
    }

    /// Fills the bounce buffer with up to `count` sectors, fewer where more cannot be read in one call. Returns how many.
    fn some(&mut self, first: u64, count: usize) -> Result<usize, Status> {
        let mut count = count.min(self.limit);
        let mut attempts = ATTEMPTS;
        loop {
            match self.call(first, count) {
                Ok(()) => return Ok(count),
                Err(status) => {
                    self.reset();
                    if count > 1 {
                        count /= 2;
                        self.limit = count.max(SECTORS_FEW).min(self.limit);
                    } else {
                        attempts = attempts.saturating_sub(1);
                        if attempts == 0 {
                            return Err(status);
                        }
                    }
                }
            }
        }
    }
}

impl BlockDevice for Drive {
    type Error = Status;

    fn sector_size(&self) -> u32 {
        self.sector_size
    }

    fn sector_count(&self) -> Option<u64> {
        self.sector_count
    }

    fn read(&mut self, first: u64, into: &mut [u8]) -> Result<(), Status> {
        let sector = usize::try_from(self.sector_size).map_err(|_| Status(1))?;
        let (mut first, mut rest) = (first, into);
        while !rest.is_empty() {
            let wanted = rest.len().checked_div(sector).ok_or(Status(1))?;
            let read = self.some(first, wanted.max(1))?;
            let len = read.saturating_mul(sector).min(rest.len());
            let (now, later) = rest.split_at_mut(len);
            now.copy_from_slice(self.bounce.get(..len).ok_or(Status(1))?);
            first = first.saturating_add(u64::try_from(read).map_err(|_| Status(1))?);
            rest = later;
        }
        Ok(())
    }
}

/// AH=48h: the number of sectors, believed only if the BIOS is right about their size, and never of a CD.
fn sector_count(number: u8, sector_size: u32) -> Option<u64> {
    /// What AH=48h returns, EDD-1.
    #[repr(C)]
    #[derive(Default)]
    struct Parameters {
        len: u16,
        flags: u16,
        geometry: [u32; 3],
        sectors: [u32; 2],
        sector_size: u16,
        padding: u16,
    }
    let mut parameters = Parameters { len: 26, ..Parameters::default() };
    let (ds, si) = bios::far(&raw mut parameters)?;
    let mut registers = Registers { eax: 0x4800, edx: u32::from(number), esi: u32::from(si), ds, ..Registers::default() };
    // SAFETY: the call fills the 26 bytes that `len` names.
    unsafe { registers.call(0x13) };
    let [low, high] = parameters.sectors;
    let count = (u64::from(high) << 32) | u64::from(low);
    let credible =
        !registers.carry() && parameters.len >= 26 && u32::from(parameters.sector_size) == sector_size && sector_size != 2048 && count != 0;
    credible.then_some(count)
}
