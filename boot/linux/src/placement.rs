//! Where kernel and initrd go in memory.
//!
//! ```text
//!  0 .. 1 MiB        at            at + init_size                        initrd                ceiling
//!  loader, zero      kernel, then  nothing of ours until the kernel      as high as it may     initrd_addr_max + 1
//!  page, cmdline     its unpacking has read the initrd's address         be, on a page         or 4 GiB
//! ```
//!
//! The initrd stays above the end of the *unpacked* kernel, not of the file: unpacking would overwrite it.

use crate::{Error, SetupHeader, Usable};

const PAGE: u64 = 4096;
/// The 32-bit entry and our identity map end here.
const FOUR_GIB: u64 = 1 << 32;

/// Physical addresses for one boot, all below 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The protected-mode code, which is also its 32-bit entry.
    pub kernel: u32,
    /// The initrd, when there is one.
    pub initrd: Option<u32>,
}

impl Placement {
    /// Places the kernel at its preferred address, or above it when that is taken and it can be moved; and an initrd of
    /// `initrd_len` bytes, unless that is 0, as high as the kernel allows.
    ///
    /// # Errors
    /// [`Error::KernelMemory`], [`Error::InitrdMemory`].
    pub fn plan(header: &SetupHeader<'_>, usable: &Usable, initrd_len: u64) -> Result<Self, Error> {
        let (required, preferred) = (header.init_size(), header.pref_address());
        let align = header.alignment();
        // A kernel that is loaded below its preferred address moves itself up to it: so never look below.
        let kernel = match usable.lowest(required, align, preferred) {
            Some(at) if at == preferred || header.is_relocatable() => u32::try_from(at).ok(),
            _ => None,
        };
        let kernel = kernel.ok_or(Error::KernelMemory { required, at: preferred })?;
        let above = u64::from(kernel).saturating_add(required);
        if above > FOUR_GIB {
            return Err(Error::KernelMemory { required, at: preferred });
        }
        if initrd_len == 0 {
            return Ok(Self { kernel, initrd: None });
        }
        let below = u64::from(header.initrd_addr_max()).saturating_add(1);
        let initrd = usable.highest(initrd_len, PAGE, above, below).and_then(|at| u32::try_from(at).ok());
        let initrd = initrd.ok_or(Error::InitrdMemory { required: initrd_len, above, below })?;
        Ok(Self { kernel, initrd: Some(initrd) })
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;
    use crate::field::put;
    use crate::setup::tests::kernel;
    use crate::{Kind, MemoryMap, Region};

    const MIB: u64 = 1 << 20;

    /// The map of a PC with `mib` MiB of RAM, as SeaBIOS tells it.
    fn pc(mib: u64) -> Usable {
        let mut map = MemoryMap::new();
        let low = mib.min(3072) * MIB;
        for (start, end, kind) in [
            (0, 0x9_fc00, Kind::USABLE),
            (0x9_fc00, 0xa_0000, Kind::RESERVED),
            (0xf_0000, 0x10_0000, Kind::RESERVED),
            (MIB, low - 0x2_0000, Kind::USABLE),
            (low - 0x2_0000, low, Kind::RESERVED),
            (0x1_0000_0000, 0x1_0000_0000 + (mib.max(3072) - 3072) * MIB, Kind::USABLE),
        ] {
            map.push(Region { start, end, kind });
        }
        map.usable()
    }

    fn plan(mib: u64, initrd_len: u64) -> Result<Placement, Error> {
        let file = kernel(64 << 10);
        Placement::plan(&SetupHeader::parse(&file, 64 << 10).unwrap(), &pc(mib), initrd_len)
    }

    #[test]
    fn the_initrd_is_as_high_as_the_kernel_allows() {
        assert_eq!(plan(128, 5 * MIB), Ok(Placement { kernel: 16 << 20, initrd: Some((123 << 20) - 0x2_0000) }));
        // 6 GiB: initrd_addr_max, not the end of RAM.
        assert_eq!(plan(6144, 1024 * MIB), Ok(Placement { kernel: 16 << 20, initrd: Some(1024 << 20) }));
        assert_eq!(plan(6144, 1).unwrap().initrd, Some(0x7fff_f000));
        assert_eq!(plan(128, 0).unwrap().initrd, None);
    }

    #[test]
    fn the_initrd_is_never_in_the_way_of_unpacking() {
        // The kernel takes 16 to 67 MiB; RAM ends 128 KiB below 72 MiB.
        let room = 5 * MIB - 0x2_0000;
        assert_eq!(plan(72, room).unwrap().initrd, Some(67 << 20));
        let error = plan(72, room + 1).unwrap_err();
        assert_eq!(error, Error::InitrdMemory { required: room + 1, above: 67 * MIB, below: 2048 * MIB });
        assert_eq!(format!("{error}"), "not enough memory: initrd needs 5 MiB between 67 and 2048 MiB");
    }

    #[test]
    fn too_little_memory_names_what_is_needed() {
        for mib in [24, 48, 64] {
            let error = plan(mib, 0).unwrap_err();
            assert_eq!(format!("{error}"), "not enough memory: kernel needs 51 MiB at 16 MiB");
        }
    }

    #[test]
    fn a_relocatable_kernel_moves_up_when_its_place_is_taken() {
        let mut map = MemoryMap::new();
        map.push(Region { start: MIB, end: 1024 * MIB, kind: Kind::USABLE });
        map.push(Region { start: 17 * MIB, end: 17 * MIB + 1, kind: Kind::RESERVED });
        let mut file = kernel(64 << 10);
        let at = |file: &[u8]| {
            let header = SetupHeader::parse(file, 64 << 10).unwrap();
            Placement::plan(&header, &map.usable(), 0).map(|placement| placement.kernel)
        };
        assert_eq!(at(&file), Ok(18 << 20));
        put(&mut file, 0x234, &[0]);
        assert_eq!(at(&file), Err(Error::KernelMemory { required: 51 * MIB, at: 16 * MIB }));
        // Only memory above 4 GiB is left.
        put(&mut file, 0x234, &[1]);
        put(&mut file, 0x258, &(1u64 << 40).to_le_bytes());
        assert!(at(&file).is_err());
    }
}
