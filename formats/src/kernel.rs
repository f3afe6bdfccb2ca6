//! Linux kernels as they are booted: what they are, and what the kernel inside says.
//!
//! | file | arch | standard |
//! |-|-|-|
//! | bzImage | x86 | Linux `Documentation/arch/x86/boot.rst` |
//! | Image | arm64 | Linux `Documentation/arch/arm64/booting.rst` |
//! | Image | riscv64 | Linux `Documentation/arch/riscv/boot-image-header.rst` |
//! | EFI zboot | arm64, riscv64 | Linux `drivers/firmware/efi/libstub/zboot-header.S` |
//! | a compressed Image | arm64, riscv64 | the codec's own |
//!
//! Refused with words: an ELF file (`vmlinux`), which no loader of ours boots, and whatever is no kernel.

mod scan;

pub use scan::{Config, Facts, squashfs_codecs};

use crate::{
    At, Blob, Error, Result, Spool,
    compress::{self, Codec},
    pe::{Pe, machine},
    units,
};
use bootlinux::{HEAD_LEN, SetupHeader, arm64};
use std::{fmt, io::Read};

/// The largest kernel that is unpacked.
const UNPACKED_MAX: u64 = 512 * units::MIB;
/// Bytes that hold the setup code of a bzImage, in which its version stands: at most 64 sectors and the boot sector.
const SETUP_MAX: u64 = 65 * units::SECTOR;
/// Bytes of an arm64 or riscv64 `Image` header.
const IMAGE_HEADER_LEN: usize = 64;
const ELF: &[u8] = b"\x7fELF";
const LZOP: &[u8] = b"\x89LZO";

/// The machine that a kernel runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// x86 with 64-bit long mode.
    X86_64,
    /// x86 with 32 bits.
    X86,
    /// 64-bit ARM.
    Aarch64,
    /// 64-bit RISC-V.
    Riscv64,
}

impl Arch {
    /// What Linux calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::X86 => "x86",
            Self::Aarch64 => "aarch64",
            Self::Riscv64 => "riscv64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What sort of file a kernel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A bzImage, with what its setup header says.
    BzImage {
        /// Version of the boot protocol, major in the high byte: 0x020f is 2.15.
        protocol: u16,
        /// The longest command line, without the final zero.
        cmdline_max: u32,
        /// Bytes of memory that the kernel needs to unpack itself.
        init_size: u64,
        /// The address at which it prefers to run.
        pref_address: u64,
        /// `XLF_*` flags.
        xloadflags: u16,
    },
    /// An `Image`, to be loaded as it is.
    Image,
    /// An `Image` that the loader has to unpack.
    CompressedImage,
    /// An EFI application that unpacks the `Image` in it.
    Zboot,
}

/// A kernel, identified.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The machine.
    pub arch: Arch,
    /// The file.
    pub form: Form,
    /// Release and build, where a header has them (bzImage only; [`Facts::banner`] has them for all).
    pub version: Option<String>,
    /// Whether UEFI can start the file, by its PE header.
    pub has_efi_stub: bool,
    /// How the kernel inside is compressed; `None` for one that we cannot unpack (LZO).
    pub codec: Option<Codec>,
    /// The kernel inside, compressed.
    payload: Option<Blob>,
}

/// Whether a file is a bzImage by its magic. It ends its first sector as a disk does that has an MBR.
///
/// # Errors
/// When the file cannot be read.
pub fn is_bzimage(file: &Blob) -> Result<bool> {
    Ok(file.len() >= 0x206 && file.read_array(0x202)? == *b"HdrS")
}

impl Kernel {
    /// Tells what kernel a file is.
    ///
    /// # Errors
    /// When it is none, is cut off, or is of a kind that is not booted.
    pub fn identify(file: &Blob) -> Result<Self> {
        let mut head = vec![0; units::index(file.len().min(units::bytes(HEAD_LEN).max(SETUP_MAX)))];
        file.read_at(0, &mut head)?;
        if head.is_empty() {
            return Err(Error::bad_input("the kernel is empty"));
        }
        if head.starts_with(ELF) {
            let text = "the kernel is an ELF file (vmlinux), a bzImage or an Image is booted";
            return Err(Error::bad_input(text).hint("take arch/x86/boot/bzImage or arch/arm64/boot/Image of the same build"));
        }
        if arm64::zboot_compression(&head).is_some() {
            return zboot(file, &head);
        }
        if let Some(arch) = image_arch(&head) {
            let (has_efi_stub, payload) = (pe_machine(file)?.is_some(), Some(file.clone()));
            return Ok(Self { arch, form: Form::Image, version: None, has_efi_stub, codec: Some(Codec::None), payload });
        }
        match Codec::sniff(&head) {
            Codec::None => bzimage(file, &head),
            codec => compressed_image(file, codec),
        }
    }

    /// The release, where a header has it (bzImage only): what `lib/modules` calls its directory.
    pub fn release(&self) -> Option<&str> {
        self.version.as_deref()?.split_whitespace().next()
    }

    /// The most bytes of command line that it takes, without the final zero, where that is known: an x86 kernel says it, arm64 has
    /// 2048 bytes for it (`COMMAND_LINE_SIZE`).
    pub fn cmdline_max(&self) -> Option<u32> {
        match (self.form, self.arch) {
            (Form::BzImage { cmdline_max, .. }, _) => Some(cmdline_max),
            (_, Arch::Aarch64) => Some(2047),
            _ => None,
        }
    }

    /// The kernel inside, unpacked as it is read.
    ///
    /// # Errors
    /// When it is damaged or compressed in a way that is not supported.
    pub fn content(&self) -> Result<Box<dyn Read + Send + '_>> {
        match (&self.payload, self.codec) {
            (Some(payload), Some(codec)) if self.form == Form::CompressedImage => {
                Ok(Box::new(compress::reader(codec, payload.reader()).at(|| "kernel")?.take(UNPACKED_MAX)))
            }
            // One stream, as the code around it has it, whatever the build has put behind.
            (Some(payload), Some(codec)) => Ok(Box::new(compress::stream(codec, payload.reader()).at(|| "kernel")?.take(UNPACKED_MAX))),
            (None, _) => Err(Error::unsupported("the header of the kernel names no payload inside of the file")),
            (_, None) => Err(Error::unsupported("the kernel is compressed with LZO, which is not supported")),
        }
    }

    /// The kernel inside, unpacked: an `Image`, or of a bzImage the ELF file `vmlinux`. What is not compressed is not copied.
    ///
    /// # Errors
    /// As [`Kernel::content`]; when it is larger than any kernel, or the spool cannot be written.
    pub fn unpack(&self, spool: &mut Spool) -> Result<Blob> {
        if let (Some(payload), Some(Codec::None)) = (&self.payload, self.codec) {
            return Ok(payload.clone());
        }
        let unpacked = spool.copy(&mut self.content()?).at(|| "kernel")?;
        if unpacked.len() >= UNPACKED_MAX {
            return Err(Error::unsupported(format!("the kernel unpacks to {} or more", units::show_size(UNPACKED_MAX))));
        }
        Ok(unpacked)
    }

    /// What the kernel inside says about itself. Unpacks it once, in little memory.
    ///
    /// # Errors
    /// As [`Kernel::content`].
    pub fn facts(&self) -> Result<Facts> {
        scan::facts(&mut self.content()?).at(|| "kernel")
    }
}

fn bzimage(file: &Blob, head: &[u8]) -> Result<Kernel> {
    let header = SetupHeader::parse(head, file.len()).map_err(|e| match e {
        bootlinux::Error::NotKernel => Error::bad_input("not a Linux kernel: neither a bzImage nor an Image"),
        e => Error::bad_input(format!("kernel: {e}")),
    })?;
    let machine = pe_machine(file)?;
    // Bit 0, XLF_KERNEL_64: there is a 64-bit entry point. Protocols before 2.12 (Linux 3.8) do not say.
    let is_64 = header.xloadflags() & 1 != 0 || machine == Some(Arch::X86_64);
    let payload = header.payload().map(|(start, len)| file.slice(start..start + len));
    let (codec, payload) = match payload {
        Some(payload) => {
            let codec = codec_of(&payload)?;
            (codec, Some(without_size(payload, codec)))
        }
        None => (None, None),
    };
    Ok(Kernel {
        arch: if is_64 { Arch::X86_64 } else { Arch::X86 },
        form: Form::BzImage {
            protocol: header.protocol(),
            cmdline_max: header.cmdline_size(),
            init_size: header.init_size(),
            pref_address: header.pref_address(),
            xloadflags: header.xloadflags(),
        },
        version: header.kernel_version().map(str::to_owned),
        has_efi_stub: machine.is_some(),
        codec,
        payload,
    })
}

/// The codec of what is in a bzImage or zboot image; a plain ELF file has none.
fn codec_of(payload: &Blob) -> Result<Option<Codec>> {
    let mut start = [0; 4];
    let len = units::index(payload.len().min(4));
    payload.read_at(0, &mut start[..len])?;
    Ok(if start == LZOP { None } else { Some(Codec::of(payload)?) })
}

/// The build puts the length behind every payload (32 bits), but for gzip, which ends in one by itself.
fn without_size(payload: Blob, codec: Option<Codec>) -> Blob {
    match codec {
        Some(Codec::Gzip | Codec::None) => payload,
        _ => payload.slice(0..payload.len().saturating_sub(4)),
    }
}

/// ```text
///  0x00 "MZ"  0x04 "zimg"  0x08 offset of the payload  0x0c its length  0x18 name of the compression  0x3c offset of the PE header
/// ```
fn zboot(file: &Blob, head: &[u8]) -> Result<Kernel> {
    let arch = pe_machine(file)?.ok_or_else(|| Error::bad_input("kernel: an EFI zboot image for an unknown machine"))?;
    let (offset, len) = (u64::from(le32(head, 8)?), u64::from(le32(head, 12)?));
    if offset + len > file.len() {
        return Err(Error::bad_input(format!("kernel: its payload ends at byte {}, the file at {}", offset + len, file.len())));
    }
    let payload = file.slice(offset..offset + len);
    let codec = codec_of(&payload)?;
    Ok(Kernel { arch, form: Form::Zboot, version: None, has_efi_stub: true, codec, payload: Some(payload) })
}

fn compressed_image(file: &Blob, codec: Codec) -> Result<Kernel> {
    let mut head = Vec::new();
    compress::reader(codec, file.reader()).at(|| "kernel")?.take(units::bytes(HEAD_LEN)).read_to_end(&mut head).at(|| "kernel")?;
    let arch = image_arch(&head).ok_or_else(|| Error::bad_input(format!("kernel: {codec} data, but no Image in it")))?;
    let payload = Some(file.clone());
    // The firmware does not unpack: whatever stub is inside, it cannot start this file.
    Ok(Kernel { arch, form: Form::CompressedImage, version: None, has_efi_stub: false, codec: Some(codec), payload })
}

/// The architecture of an `Image`, by the magic in its header.
fn image_arch(head: &[u8]) -> Option<Arch> {
    let header = head.get(..IMAGE_HEADER_LEN)?;
    if arm64::ImageHeader::parse(header).is_some() {
        return Some(Arch::Aarch64);
    }
    (header[0x38..0x3c] == *b"RSC\x05").then_some(Arch::Riscv64)
}

/// The machine in the PE header, which is what an EFI stub looks like.
fn pe_machine(file: &Blob) -> Result<Option<Arch>> {
    Ok(Pe::read(file)?.and_then(|pe| match pe.coff.machine.get() {
        machine::AMD64 => Some(Arch::X86_64),
        machine::I386 => Some(Arch::X86),
        machine::ARM64 => Some(Arch::Aarch64),
        machine::RISCV64 => Some(Arch::Riscv64),
        _ => None,
    }))
}

fn le32(head: &[u8], at: usize) -> Result<u32> {
    let bytes = head.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map(|bytes| u32::from_le_bytes(*bytes)).ok_or_else(|| Error::bad_input("kernel: the file is cut off in its header"))
}

#[cfg(test)]
mod tests;
