//! The loaders, as `boot/prebuilt` holds them, ready to be put on a disk.

use crate::error::{Error, Result};
use bootfs::stage1 as contract;
use formats::{Blob, kernel, mbr::BOOT_CODE_LEN, units};

static STAGE1: &[u8; 512] = include_bytes!("../boot/prebuilt/stage1.bin");
static STAGE2: &[u8] = include_bytes!("../boot/prebuilt/stage2.bin");
static BOOTX64: &[u8] = include_bytes!("../boot/prebuilt/bootx64.efi");
static BOOTAA64: &[u8] = include_bytes!("../boot/prebuilt/bootaa64.efi");

const _: () = assert!(contract::LEN == BOOT_CODE_LEN && STAGE2.len() <= contract::STAGE2_MAX);

/// A processor architecture that we have loaders for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

impl Arch {
    /// What UEFI and the Boot Loader Specification call it.
    pub const fn efi_name(self) -> &'static str {
        match self {
            Self::X86_64 => "x64",
            Self::Aarch64 => "aa64",
        }
    }

    /// Where firmware looks for a loader on a disk that it does not know (UEFI 2.10 section 3.5.1.1).
    pub const fn efi_path(self) -> &'static str {
        match self {
            Self::X86_64 => "/EFI/BOOT/BOOTX64.EFI",
            Self::Aarch64 => "/EFI/BOOT/BOOTAA64.EFI",
        }
    }

    /// The EFI application.
    pub fn efi_loader(self) -> Blob {
        match self {
            Self::X86_64 => Blob::bytes(BOOTX64),
            Self::Aarch64 => Blob::bytes(BOOTAA64),
        }
    }
}

impl TryFrom<kernel::Arch> for Arch {
    type Error = Error;

    fn try_from(arch: kernel::Arch) -> Result<Self> {
        match arch {
            kernel::Arch::X86_64 => Ok(Self::X86_64),
            kernel::Arch::Aarch64 => Ok(Self::Aarch64),
            other => Err(Error::unsupported(format!("the kernel is for {other}, there are loaders for x86_64 and aarch64"))
                .hint("kernel+initrd needs no loader")),
        }
    }
}

/// What UEFI calls it.
impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "arm64",
        })
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
            let loader = arch.efi_loader();
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
