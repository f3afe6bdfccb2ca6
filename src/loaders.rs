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

/// The BIOS loader's first stage as the boot code of an MBR: it will find stage2 at byte `at` of a device whose sectors have
/// 512 << `shift` bytes. Panics when that is not whole sectors: a planner bug.
pub fn stage1(at: u64, shift: u8) -> [u8; BOOT_CODE_LEN] {
    let sector = units::SECTOR << shift;
    assert!(at.is_multiple_of(sector), "stage2 at {at} of a device with sectors of {sector}");
    let count = u16::try_from(units::bytes(STAGE2.len()).div_ceil(sector)).expect("stage2 is far below 65,536 sectors");
    let mut code: [u8; BOOT_CODE_LEN] = std::array::from_fn(|i| STAGE1[i]);
    let mut patch = |offset: usize, bytes: &[u8]| code[offset..offset + bytes.len()].copy_from_slice(bytes);
    patch(contract::FIRST_SECTOR, &(at / sector).to_le_bytes());
    patch(contract::SECTOR_COUNT, &count.to_le_bytes());
    patch(contract::SECTOR_SHIFT, &[shift]);
    code
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
        let code = stage1(34 * 512, 0);
        assert_eq!(code[0x19c..0x1a4], 34_u64.to_le_bytes());
        assert_eq!(usize::from(u16::from_le_bytes([code[0x1a4], code[0x1a5]])) * 512, STAGE2.len());
        assert_eq!(code[0x1a6], 0);
        let cd = stage1(25 * 2048, 2);
        assert_eq!((cd[0x19c], cd[0x1a6]), (25, 2));
        assert_eq!(usize::from(cd[0x1a4]) * 2048, STAGE2.len());
    }
}
