//! Whether a file is a kernel that this firmware can start, and what it will need.

use core::fmt;

use bootfs::pe::Pe;
use bootlinux::{SetupHeader, arm64};

/// What this loader was built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64.
    X64,
    /// AArch64.
    Aa64,
}

/// The longest command line of an arm64 kernel in bytes, without its NUL: `COMMAND_LINE_SIZE` of
/// arch/arm64/include/uapi/asm/setup.h. Its header does not tell.
const ARM64_CMDLINE_SIZE: u32 = 2047;

/// Why a kernel is not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelError {
    /// The x86 setup header says so.
    Setup(bootlinux::Error),
    /// Not an arm64 `Image`.
    NotArm64,
    /// An arm64 `Image` inside a compressed file, which no firmware unpacks.
    Compressed(&'static str),
    /// A Linux kernel, but no EFI application.
    NoEfiStub,
    /// An EFI application for another processor: its PE machine type.
    OtherMachine(u16),
    /// An EFI application that no firmware could load: what it has.
    Malformed(&'static str),
    /// Base relocations of a type that the machine does not have.
    Relocation(u16),
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(error) => error.fmt(f),
            Self::NotArm64 => f.write_str("not an arm64 Linux kernel (Image)"),
            Self::Compressed(how) => write!(f, "kernel is compressed ({how}), unpack it to a plain Image"),
            Self::NoEfiStub => f.write_str("kernel has no EFI stub (CONFIG_EFI_STUB)"),
            Self::OtherMachine(found) => write!(f, "kernel is for another architecture (PE machine {found:#x})"),
            Self::Malformed(what) => write!(f, "kernel is malformed: it has {what}"),
            Self::Relocation(found) => write!(f, "kernel has relocations of type {found}, not 10 (DIR64)"),
        }
    }
}

/// What a kernel will need to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Bytes of memory in one piece, apart from the initrd.
    pub memory: u64,
    /// The longest command line in bytes, without its NUL.
    pub cmdline_size: u32,
}

impl Needs {
    /// Refuses a command line that the kernel would drop as a whole: the EFI stub boots with an empty one then.
    ///
    /// # Errors
    /// [`KernelError::Setup`] with both lengths.
    pub fn check_command_line(&self, len: usize) -> Result<(), KernelError> {
        match u32::try_from(len) {
            Ok(found) if found <= self.cmdline_size => Ok(()),
            _ => Err(KernelError::Setup(bootlinux::Error::CommandLine { found: len, limit: self.cmdline_size })),
        }
    }
}

impl Architecture {
    /// The UEFI specification's short name, also the `architecture` of a boot entry.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X64 => "x64",
            Self::Aa64 => "aa64",
        }
    }

    const fn machine(self) -> u16 {
        match self {
            Self::X64 => 0x8664,
            Self::Aa64 => 0xaa64,
        }
    }

    /// Judges `kernel`, a whole file.
    ///
    /// # Errors
    /// [`KernelError`]: the first reason not to start it.
    pub fn judge(self, kernel: &[u8]) -> Result<Needs, KernelError> {
        let needs = match self {
            Self::X64 => judge_x64(kernel),
            Self::Aa64 => judge_aa64(kernel),
        };
        // A kernel for the other processor is no kernel here, but the better words are about the processor.
        match Pe::parse(kernel).map(|pe| pe.machine()) {
            Some(machine) if machine != self.machine() => Err(KernelError::OtherMachine(machine)),
            Some(_) => needs,
            None => needs.and(Err(KernelError::NoEfiStub)),
        }
    }
}

fn judge_x64(kernel: &[u8]) -> Result<Needs, KernelError> {
    let len = u64::try_from(kernel.len()).unwrap_or(u64::MAX);
    let header = SetupHeader::parse(kernel, len).map_err(KernelError::Setup)?;
    Ok(Needs { memory: header.init_size(), cmdline_size: header.cmdline_size() })
}

fn judge_aa64(kernel: &[u8]) -> Result<Needs, KernelError> {
    let len = u64::try_from(kernel.len()).unwrap_or(u64::MAX);
    if let Some(header) = arm64::ImageHeader::parse(kernel) {
        return Ok(Needs { memory: header.image_size.max(len), cmdline_size: ARM64_CMDLINE_SIZE });
    }
    // `vmlinuz.efi` unpacks itself; how large it becomes, only it knows.
    if arm64::zboot_compression(kernel).is_some() {
        return Ok(Needs { memory: len, cmdline_size: ARM64_CMDLINE_SIZE });
    }
    let compressions: [(&[u8], &str); 6] = [
        (b"\x1f\x8b", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x02\x21\x4c\x18", "lz4"),
        (b"\x89LZO\0", "lzo"),
        (b"BZh", "bzip2"),
    ];
    let compression = compressions.into_iter().find(|(magic, _)| kernel.starts_with(magic));
    Err(compression.map_or(KernelError::NotArm64, |(_, name)| KernelError::Compressed(name)))
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;
    use crate::tests::put;

    /// A bzImage that is a PE as well: of `machine`, or of none when that is 0.
    fn bzimage(machine: u16) -> Vec<u8> {
        let mut file = std::vec![0; 8192];
        put(&mut file, 0x1f1, &[7]);
        put(&mut file, 0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
        put(&mut file, 0x202, b"HdrS\x0f\x02");
        put(&mut file, 0x211, &[1]);
        put(&mut file, 0x238, &2047u32.to_le_bytes());
        put(&mut file, 0x260, &(51u32 << 20).to_le_bytes());
        if machine != 0 {
            put(&mut file, 0, b"MZ");
            put(&mut file, 0x3c, &0x270u32.to_le_bytes());
            put(&mut file, 0x270, b"PE\0\0");
            put(&mut file, 0x274, &machine.to_le_bytes());
        }
        file
    }

    fn arm64_image() -> Vec<u8> {
        let mut file = std::vec![0; 4096];
        put(&mut file, 0, b"MZ");
        put(&mut file, 16, &(32u64 << 20).to_le_bytes());
        put(&mut file, 56, b"ARM\x64\x40\0\0\0PE\0\0\x64\xaa");
        file
    }

    #[test]
    fn a_kernel_of_this_machine_says_what_it_needs() {
        assert_eq!(Architecture::X64.judge(&bzimage(0x8664)), Ok(Needs { memory: 51 << 20, cmdline_size: 2047 }));
        assert_eq!(Architecture::Aa64.judge(&arm64_image()), Ok(Needs { memory: 32 << 20, cmdline_size: 2047 }));
    }

    #[test]
    fn everything_else_is_refused_in_its_own_words() {
        let words = |architecture: Architecture, file: &[u8]| architecture.judge(file).unwrap_err().to_string();
        assert_eq!(words(Architecture::X64, b"#!/bin/sh"), "not an x86 Linux kernel (bzImage)");
        assert_eq!(words(Architecture::X64, b""), "not an x86 Linux kernel (bzImage)");
        assert_eq!(words(Architecture::X64, &bzimage(0)), "kernel has no EFI stub (CONFIG_EFI_STUB)");
        assert_eq!(words(Architecture::X64, &bzimage(0x14c)), "kernel is for another architecture (PE machine 0x14c)");
        assert_eq!(words(Architecture::X64, &arm64_image()), "kernel is for another architecture (PE machine 0xaa64)");
        assert_eq!(words(Architecture::Aa64, &bzimage(0x8664)), "kernel is for another architecture (PE machine 0x8664)");
        assert_eq!(words(Architecture::Aa64, b"\x1f\x8b\x08"), "kernel is compressed (gzip), unpack it to a plain Image");
        assert_eq!(words(Architecture::Aa64, b"text"), "not an arm64 Linux kernel (Image)");
    }

    #[test]
    fn a_kernel_cut_short_is_refused() {
        let mut file = bzimage(0x8664);
        put(&mut file, 0x1f4, &0x1000u32.to_le_bytes());
        let error = Architecture::X64.judge(&file).unwrap_err();
        assert_eq!(error.to_string(), "kernel cut short: 8192 bytes, not 69617");
    }

    #[test]
    fn a_command_line_has_the_length_that_the_kernel_takes() {
        let needs = Needs { memory: 0, cmdline_size: 2047 };
        assert_eq!(needs.check_command_line(2047), Ok(()));
        let error = needs.check_command_line(2048).unwrap_err();
        assert_eq!(error.to_string(), "too long: 2048 bytes, the kernel takes 2047");
    }
}
