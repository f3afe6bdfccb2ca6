//! The loaders, as `boot/prebuilt` holds them, ready to be put on a disk.

use crate::error::{Error, Result};
use bootfs::stage1 as contract;
use formats::{Blob, kernel::Arch, mbr::BOOT_CODE_LEN, units};
use prebuilt::{BOOTAA64, BOOTX64, STAGE1, STAGE2};

const _: () = assert!(contract::LEN == BOOT_CODE_LEN && STAGE2.len() <= contract::STAGE2_MAX);

/// Our loader for UEFI, and what it is called.
#[derive(Debug)]
pub struct EfiLoader {
    /// What it runs on.
    pub arch: Arch,
    /// What UEFI and the Boot Loader Specification call that.
    pub name: &'static str,
    /// Where firmware looks for a loader on a disk that it does not know (UEFI 2.10 section 3.5.1.1).
    pub path: &'static str,
    application: &'static [u8],
}

/// Every architecture that we have loaders for.
pub static EFI_LOADERS: &[EfiLoader] = &[
    EfiLoader { arch: Arch::X86_64, name: "x64", path: "/EFI/BOOT/BOOTX64.EFI", application: BOOTX64 },
    EfiLoader { arch: Arch::Aarch64, name: "aa64", path: "/EFI/BOOT/BOOTAA64.EFI", application: BOOTAA64 },
];

impl EfiLoader {
    /// The loader for kernels of an architecture.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(arch: Arch) -> Result<&'static Self> {
        let names = || EFI_LOADERS.iter().map(|loader| loader.arch.to_string()).collect::<Vec<_>>().join(" and ");
        EFI_LOADERS.iter().find(|loader| loader.arch == arch).ok_or_else(|| {
            Error::unsupported(format!("the kernel is for {arch}, there are loaders for {}", names())).hint("kernel+initrd needs no loader")
        })
    }

    /// The EFI application.
    pub fn application(&self) -> Blob {
        Blob::bytes(self.application)
    }
}

/// The BIOS loader's second stage.
pub fn stage2() -> Blob {
    Blob::bytes(STAGE2)
}

/// The BIOS loader's first stage as the boot code of an MBR: it will find stage2 at byte `at` of a device of sectors of so many bytes,
/// a power of two. Panics when that is not whole sectors: a planner bug.
pub fn stage1(at: u64, sector: u64) -> [u8; BOOT_CODE_LEN] {
    assert!(sector.is_power_of_two() && at.is_multiple_of(sector), "stage2 at {at} of a device with sectors of {sector}");
    let mut code: [u8; BOOT_CODE_LEN] = std::array::from_fn(|i| STAGE1[i]);
    point(&mut code, at, units::bytes(STAGE2.len()), sector);
    code
}

/// Tells a first stage where a second one of `len` bytes is, as [`stage1`] does.
pub(crate) fn point(code: &mut [u8; BOOT_CODE_LEN], at: u64, len: u64, sector: u64) {
    let shift = u8::try_from((sector / units::SECTOR).ilog2()).expect("a logarithm is small");
    let count = u16::try_from(len.div_ceil(sector)).expect("stage2 is far below 65,536 sectors");
    let mut patch = |offset: usize, bytes: &[u8]| code[offset..offset + bytes.len()].copy_from_slice(bytes);
    patch(contract::FIRST_SECTOR, &(at / sector).to_le_bytes());
    patch(contract::SECTOR_COUNT, &count.to_le_bytes());
    patch(contract::SECTOR_SHIFT, &[shift]);
}

/// Where a second stage of ours is on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stage2 {
    /// Its first byte.
    pub(crate) at: u64,
    /// Bytes.
    pub(crate) len: u64,
}

/// The second stage that the boot code of a disk starts, where both are ours, of whatever version.
///
/// # Errors
/// When the disk cannot be read.
pub(crate) fn stage2_of(disk: &Blob) -> formats::Result<Option<Stage2>> {
    if disk.len() < units::SECTOR {
        return Ok(None);
    }
    let code: [u8; BOOT_CODE_LEN] = disk.read_array(0)?;
    let field = |at: usize, len: usize| code[at..at + len].iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let sector = match field(contract::SECTOR_SHIFT, 1) {
        shift @ 0..=3 => units::SECTOR << shift,
        _ => return Ok(None),
    };
    let len = field(contract::SECTOR_COUNT, 2) * sector;
    let at = field(contract::FIRST_SECTOR, 8).checked_mul(sector);
    let Some(at) = at.filter(|at| at.checked_add(len).is_some_and(|end| end <= disk.len())) else { return Ok(None) };
    let is_ours = len <= units::bytes(contract::STAGE2_MAX) && contract::is_stage2(&disk.slice(at..at + len).to_vec(len)?);
    Ok((is_ours && len > 0).then_some(Stage2 { at, len }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stage2_is_whole_and_the_efi_loaders_are_for_their_machines() {
        assert!(contract::is_stage2(STAGE2));
        for (arch, machine) in [(Arch::X86_64, 0x8664), (Arch::Aarch64, 0xaa64)] {
            let loader = EfiLoader::of(arch).unwrap().application();
            let header = u32::from_le_bytes(loader.read_array(0x3c).unwrap());
            assert_eq!(loader.read_array(u64::from(header)).unwrap(), *b"PE\0\0");
            assert_eq!(u16::from_le_bytes(loader.read_array(u64::from(header) + 4).unwrap()), machine);
        }
    }

    #[test]
    fn stage1_is_told_where_stage2_is() {
        let code = stage1(34 * 512, 512);
        assert_eq!(code[0x19c..0x1a4], 34_u64.to_le_bytes());
        assert_eq!(usize::from(u16::from_le_bytes([code[0x1a4], code[0x1a5]])) * 512, STAGE2.len());
        assert_eq!(code[0x1a6], 0);
        let cd = stage1(25 * 2048, 2048);
        assert_eq!((cd[0x19c], cd[0x1a6]), (25, 2));
        assert_eq!(usize::from(cd[0x1a4]) * 2048, STAGE2.len());
        let large = stage1(6 * 4096, 4096);
        assert_eq!((large[0x19c], large[0x1a6], usize::from(large[0x1a4]) * 4096), (6, 3, STAGE2.len()));
    }
}
