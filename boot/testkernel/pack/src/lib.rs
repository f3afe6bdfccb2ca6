//! Joins the halves of the test kernel: a flat bzImage and a PE become one file that is both.
//!
//! ```text
//! 0x0000  boot sector: "MZ", e_lfanew at 0x3c       ┐
//! 0x01f1  setup header                              │ setup_sects + 1 = 8 sectors, and
//! 0x0270  PE, COFF and optional header, sections    │ SizeOfHeaders of the PE
//! 0x0600  16-bit setup                              ┘
//! 0x1000  protected-mode kernel      = section .bios, for completeness of the PE
//! ...     .text .rdata .data .reloc of the PE, at the addresses they were linked for
//! ```
//!
//! Boot protocol: Documentation/arch/x86/boot.rst 2.15. PE: Microsoft PE/COFF specification, sections 3 and 4. Written for the
//! two files that this workspace builds; anything unexpected in them is an error, not a guess.

use std::fmt;

/// Bytes before the protected-mode kernel; also where the first section of the PE may be mapped at the earliest.
const SETUP_LEN: usize = 0x1000;
/// Where the PE header goes, and where its room ends (setup.s keeps it free).
const PE_HEADER: usize = 0x270;
const PE_HEADER_END: usize = 0x600;
/// The setup header, and where head.s keeps a copy of it.
const SETUP_HEADER: std::ops::Range<usize> = 0x1f1..0x26c;
const HEADER_COPY: usize = SETUP_LEN + 0x80;

const SECTOR: usize = 512;
const SECTION_HEADER_LEN: usize = 40;
const SECTION_ALIGNMENT: u32 = 0x1000;
/// Initialised data, readable.
const BIOS_CHARACTERISTICS: u32 = 0x4000_0040;

/// Offsets from the PE signature: COFF header, then the optional header (PE32+).
mod pe {
    pub(crate) const MACHINE: usize = 4;
    pub(crate) const NUMBER_OF_SECTIONS: usize = 6;
    pub(crate) const SIZE_OF_OPTIONAL_HEADER: usize = 20;
    pub(crate) const OPTIONAL: usize = 24;
    pub(crate) const SECTION_ALIGNMENT: usize = OPTIONAL + 32;
    pub(crate) const SIZE_OF_IMAGE: usize = OPTIONAL + 56;
    pub(crate) const SIZE_OF_HEADERS: usize = OPTIONAL + 60;
    pub(crate) const CERTIFICATE_TABLE: usize = OPTIONAL + 112 + 4 * 8;
    pub(crate) const DEBUG: usize = OPTIONAL + 112 + 6 * 8;
}

/// Why two halves do not make a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A half ends before a field of it.
    Truncated {
        /// Which half.
        half: &'static str,
        /// The byte that is not there.
        at: usize,
    },
    /// A field has another value than it must have.
    Field {
        /// Which field of which half.
        field: &'static str,
        /// The value found.
        found: u64,
        /// The value required.
        required: &'static str,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { half, at } => write!(f, "test kernel: the {half} half ends before byte {at:#x}"),
            Self::Field { field, found, required } => write!(f, "test kernel: {field} is {found:#x}, {required} required"),
        }
    }
}

impl std::error::Error for Error {}

/// One half as it came from the linker, or the file that is being made.
struct Bytes {
    name: &'static str,
    bytes: Vec<u8>,
}

impl Bytes {
    fn get<const N: usize>(&self, at: usize) -> Result<[u8; N], Error> {
        let bytes = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        bytes.copied().ok_or(Error::Truncated { half: self.name, at })
    }

    fn u16(&self, at: usize) -> Result<u16, Error> {
        self.get(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Result<u32, Error> {
        self.get(at).map(u32::from_le_bytes)
    }

    fn offset(&self, at: usize) -> Result<usize, Error> {
        self.u32(at).and_then(size)
    }

    fn slice(&self, at: usize, len: usize) -> Result<&[u8], Error> {
        let slice = at.checked_add(len).and_then(|end| self.bytes.get(at..end));
        slice.ok_or(Error::Truncated { half: self.name, at: at.saturating_add(len) })
    }

    fn put(&mut self, at: usize, bytes: &[u8]) -> Result<(), Error> {
        let place = at.checked_add(bytes.len()).and_then(|end| self.bytes.get_mut(at..end));
        place.ok_or(Error::Truncated { half: self.name, at })?.copy_from_slice(bytes);
        Ok(())
    }

    /// Appends `bytes` at the next sector and returns where.
    fn append(&mut self, bytes: &[u8]) -> usize {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(SECTOR), 0);
        at
    }
}

/// Joins `flat` (setup and protected-mode kernel) and `efi` (a PE32+ without signature) into one kernel file.
///
/// # Errors
/// When a half is not what the build of this workspace makes.
pub fn join(flat: &[u8], efi: &[u8]) -> Result<Vec<u8>, Error> {
    let mut kernel = Bytes { name: "BIOS", bytes: Vec::new() };
    kernel.append(flat);
    let bios_len = kernel.bytes.len();
    check_flat(&kernel)?;
    let efi = Bytes { name: "EFI", bytes: efi.to_vec() };
    let old = efi.offset(0x3c)?;
    check_efi(&efi, old)?;

    // The headers, moved behind the setup header.
    let sections = usize::from(efi.u16(old + pe::NUMBER_OF_SECTIONS)?);
    let table = pe::OPTIONAL + usize::from(efi.u16(old + pe::SIZE_OF_OPTIONAL_HEADER)?);
    let headers = efi.slice(old, table + sections * SECTION_HEADER_LEN)?;
    if PE_HEADER + headers.len() + SECTION_HEADER_LEN > PE_HEADER_END {
        return Err(Error::Field { field: "EFI: number of sections", found: number(sections), required: "fewer" });
    }
    kernel.put(PE_HEADER, headers)?;
    kernel.put(0x3c, &word(PE_HEADER)?)?;

    // The sections' data, moved behind the protected-mode kernel.
    for header in (0..sections).map(|section| table + section * SECTION_HEADER_LEN) {
        let (len, from) = (efi.offset(old + header + 16)?, efi.offset(old + header + 20)?);
        if len > 0 {
            let at = kernel.append(efi.slice(from, len)?);
            kernel.put(PE_HEADER + header + 20, &word(at)?)?;
        }
    }

    // The protected-mode kernel is a section of the PE too: a signature covers sections, and nothing else of a file.
    let bios_address = efi.u32(old + pe::SIZE_OF_IMAGE)?.next_multiple_of(SECTION_ALIGNMENT);
    let bios_size = bios_len - SETUP_LEN;
    let image_size = size(bios_address)? + bios_size.next_multiple_of(size(SECTION_ALIGNMENT)?);
    let mut section = [0u8; SECTION_HEADER_LEN];
    let fields = [word(bios_size)?, bios_address.to_le_bytes(), word(bios_size)?, word(SETUP_LEN)?];
    section[..5].copy_from_slice(b".bios");
    section[8..24].copy_from_slice(&fields.concat());
    section[36..].copy_from_slice(&BIOS_CHARACTERISTICS.to_le_bytes());
    kernel.put(PE_HEADER + table + sections * SECTION_HEADER_LEN, &section)?;
    kernel.put(PE_HEADER + pe::NUMBER_OF_SECTIONS, &efi.u16(old + pe::NUMBER_OF_SECTIONS)?.saturating_add(1).to_le_bytes())?;
    kernel.put(PE_HEADER + pe::SIZE_OF_IMAGE, &word(image_size)?)?;
    kernel.put(PE_HEADER + pe::SIZE_OF_HEADERS, &word(SETUP_LEN)?)?;
    // The debug directory names offsets in the old file; it only says that the build is reproducible.
    kernel.put(PE_HEADER + pe::DEBUG, &[0; 8])?;

    // syssize counts paragraphs of 16 bytes behind the setup. The copy of the header comes last.
    let syssize = word((kernel.bytes.len() - SETUP_LEN) / 16)?;
    kernel.put(0x1f4, &syssize)?;
    let header = kernel.slice(SETUP_HEADER.start, SETUP_HEADER.len())?.to_vec();
    kernel.put(HEADER_COPY, &header)?;
    Ok(kernel.bytes)
}

/// The BIOS half must be the flat file of bios.ld, with its free places free.
fn check_flat(flat: &Bytes) -> Result<(), Error> {
    require("BIOS: header magic", flat.u32(0x202)?, u32::from_le_bytes(*b"HdrS"), "\"HdrS\"")?;
    require("BIOS: setup_sects", flat.slice(0x1f1, 1)?.iter().copied().map(u32::from).sum(), 7, "7")?;
    for (field, start, end) in
        [("BIOS: room for the PE headers", PE_HEADER, PE_HEADER_END), ("BIOS: header_copy", HEADER_COPY, HEADER_COPY + SETUP_HEADER.len())]
    {
        let used = flat.slice(start, end - start)?.iter().find(|&&byte| byte != 0);
        require(field, used.copied().map_or(0, u32::from), 0, "zeros")?;
    }
    Ok(())
}

/// The EFI half must be a PE32+ for x86-64 whose sections stay clear of the larger headers.
fn check_efi(efi: &Bytes, header: usize) -> Result<(), Error> {
    require("EFI: PE signature", efi.u32(header)?, u32::from_le_bytes(*b"PE\0\0"), "\"PE\\0\\0\"")?;
    require("EFI: machine", efi.u16(header + pe::MACHINE)?.into(), 0x8664, "0x8664 (x86-64)")?;
    require("EFI: optional header magic", efi.u16(header + pe::OPTIONAL)?.into(), 0x20b, "0x20b (PE32+)")?;
    require("EFI: section alignment", efi.u32(header + pe::SECTION_ALIGNMENT)?, SECTION_ALIGNMENT, "0x1000")?;
    require("EFI: certificate table", efi.u32(header + pe::CERTIFICATE_TABLE)?, 0, "0 (unsigned)")
}

fn require(field: &'static str, found: u32, wanted: u32, required: &'static str) -> Result<(), Error> {
    if found == wanted { Ok(()) } else { Err(Error::Field { field, found: found.into(), required }) }
}

/// A size or offset as the 32-bit field of a header.
fn word(value: usize) -> Result<[u8; 4], Error> {
    let required = "at most 0xffffffff";
    u32::try_from(value).map(u32::to_le_bytes).map_err(|_| Error::Field { field: "size", found: number(value), required })
}

fn size(value: u32) -> Result<usize, Error> {
    usize::try_from(value).map_err(|_| Error::Field { field: "size", found: value.into(), required: "an address of this machine" })
}

fn number(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
