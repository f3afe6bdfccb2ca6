//! PE: the headers of Microsoft's Portable Executable and Common Object File Format, as far as anybody looks at them.
//!
//! ```text
//!  "MZ" ..  0x3c: where the signature is .. | "PE\0\0" | COFF header | optional header | section table | .. | sections ..
//! ```
//! An EFI application is such a file; so is a kernel with an EFI stub, and a unified kernel image.

use crate::{Blob, Error, Result, units};
use std::mem::offset_of;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32},
};

/// Where in the DOS header it says where the signature is.
const POINTER: u64 = 0x3c;
const SIGNATURE: [u8; 4] = *b"PE\0\0";
/// [`OptionalHeader::magic`] of the form for 64 bits.
pub(crate) const PE32_PLUS: u16 = 0x20b;
/// The most sections of a file, for Windows; more than anything has that we read.
const SECTIONS_MAX: u16 = 96;
/// [`SectionHeader::characteristics`]: `IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ`.
pub(crate) const READ_ONLY_DATA: u32 = 0x4000_0040;

/// COFF file header, section 3.3.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct CoffHeader {
    /// 0: architecture, see [`machine`].
    pub(crate) machine: U16,
    /// 2: rows of the section table.
    pub(crate) number_of_sections: U16,
    /// 4: not looked at.
    time_and_symbols: [u8; 12],
    /// 16: bytes of the optional header that follows.
    pub(crate) size_of_optional_header: U16,
    /// 18: flags.
    characteristics: U16,
}
const _: () = assert!(size_of::<CoffHeader>() == 20 && offset_of!(CoffHeader, size_of_optional_header) == 16);

/// Values of [`CoffHeader::machine`].
pub(crate) mod machine {
    pub(crate) const I386: u16 = 0x014c;
    pub(crate) const RISCV64: u16 = 0x5064;
    pub(crate) const AMD64: u16 = 0x8664;
    pub(crate) const ARM64: u16 = 0xaa64;
}

/// The front of the optional header of PE32+, section 3.4.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct OptionalHeader {
    /// 0: [`PE32_PLUS`].
    pub(crate) magic: U16,
    /// 2: linker's version, size of code.
    before: [u8; 6],
    /// 8: bytes of all sections of initialised data.
    pub(crate) size_of_initialized_data: U32,
    /// 12: sizes and addresses.
    addresses: [u8; 20],
    /// 32: sections start at multiples of this in memory.
    pub(crate) section_alignment: U32,
    /// 36: and of this in the file.
    pub(crate) file_alignment: U32,
    /// 40: versions.
    versions: [u8; 16],
    /// 56: bytes of the image in memory, a multiple of the section alignment.
    pub(crate) size_of_image: U32,
    /// 60: bytes of all headers, a multiple of the file alignment.
    pub(crate) size_of_headers: U32,
    /// 64: of the file; firmware does not look at it.
    check_sum: U32,
}
const _: () = assert!(size_of::<OptionalHeader>() == 68 && offset_of!(OptionalHeader, size_of_image) == 56);

/// Where the data directory of a PE32+ is in its optional header (section 3.4.3), and what comes before it: how many entries it has.
const DIRECTORY: u64 = 112;
const DIRECTORY_LEN: u64 = 108;
/// The entry of the certificate table, and its bytes.
const CERTIFICATES: u32 = 4;
const DIRECTORY_ENTRY: u64 = 8;

/// A row of the section table, section 4.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct SectionHeader {
    /// 0: padded with zeros.
    pub(crate) name: [u8; 8],
    /// 8: bytes in memory.
    pub(crate) virtual_size: U32,
    /// 12: where in memory.
    pub(crate) virtual_address: U32,
    /// 16: bytes in the file, a multiple of the file alignment.
    pub(crate) size_of_raw_data: U32,
    /// 20: where in the file.
    pub(crate) pointer_to_raw_data: U32,
    /// 24: relocations and line numbers: none.
    pub(crate) relocations: [u8; 12],
    /// 36: flags.
    pub(crate) characteristics: U32,
}
const _: () = assert!(size_of::<SectionHeader>() == 40 && offset_of!(SectionHeader, characteristics) == 36);

/// Whether a file is one, by its signature.
///
/// # Errors
/// When it cannot be read.
pub fn probe(file: &Blob) -> Result<bool> {
    Pe::read(file).map(|pe| pe.is_some())
}

/// A PE file, by its first header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pe {
    /// Where the COFF header is.
    pub(crate) coff_at: u64,
    /// The COFF header.
    pub(crate) coff: CoffHeader,
}

/// A section of a file.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) name: String,
    /// What of it is in the file.
    pub(crate) body: Blob,
    /// Bytes in memory.
    pub(crate) virtual_size: u64,
}

/// What signatures of a PE32+ file need to know of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignedPart {
    /// Where the check sum of the file is, which is not signed.
    pub(crate) check_sum_at: u64,
    /// Where the entry of the certificate table is, which is not signed either.
    pub(crate) certificates_at: u64,
    /// Where the last section ends.
    pub(crate) end: u64,
}

impl Pe {
    /// The headers of a file; nothing where it is no PE file, or ends before its COFF header does.
    pub(crate) fn read(file: &Blob) -> Result<Option<Self>> {
        let signature_at = match (array(file, 0)?, array(file, POINTER)?) {
            (Some([b'M', b'Z']), Some(pointer)) => u64::from(u32::from_le_bytes(pointer)),
            _ => return Ok(None),
        };
        if array(file, signature_at)? != Some(SIGNATURE) {
            return Ok(None);
        }
        let coff_at = signature_at + units::bytes(SIGNATURE.len());
        let coff = array::<{ size_of::<CoffHeader>() }>(file, coff_at)?;
        Ok(coff.map(|coff| Self { coff_at, coff: zerocopy::transmute!(coff) }))
    }

    /// Where the optional header is.
    pub(crate) fn optional_at(&self) -> u64 {
        self.coff_at + units::bytes(size_of::<CoffHeader>())
    }

    /// The front of the optional header; nothing where the file ends before it does.
    pub(crate) fn optional(&self, file: &Blob) -> Result<Option<OptionalHeader>> {
        let optional = array::<{ size_of::<OptionalHeader>() }>(file, self.optional_at())?;
        Ok(optional.map(|optional| zerocopy::transmute!(optional)))
    }

    /// Where a row of the section table is.
    pub(crate) fn section_at(&self, nth: u16) -> u64 {
        let table = self.optional_at() + u64::from(self.coff.size_of_optional_header.get());
        table + u64::from(nth) * units::bytes(size_of::<SectionHeader>())
    }

    /// The sections, in their order.
    ///
    /// # Errors
    /// When the table or a section reaches beyond the end of the file.
    pub(crate) fn sections(&self, file: &Blob) -> Result<Vec<Section>> {
        let section = |row: SectionHeader| {
            let name = String::from_utf8_lossy(&row.name).trim_end_matches('\0').to_owned();
            let start = u64::from(row.pointer_to_raw_data.get());
            // In the file a section is padded, in memory it may be longer, by zeros.
            let virtual_size = u64::from(row.virtual_size.get());
            let len = u64::from(row.size_of_raw_data.get()).min(virtual_size);
            match start + len <= file.len() {
                true => Ok(Section { body: file.slice(start..start + len), name, virtual_size }),
                false => Err(beyond(file, &format!("section {name}"))),
            }
        };
        self.rows(file)?.into_iter().map(section).collect()
    }

    /// The section table.
    fn rows(&self, file: &Blob) -> Result<Vec<SectionHeader>> {
        let count = self.coff.number_of_sections.get();
        if count > SECTIONS_MAX {
            return Err(Error::bad_input(format!("the PE file has {count} sections, at most {SECTIONS_MAX} are read")));
        }
        let row = |nth| {
            let row = array::<{ size_of::<SectionHeader>() }>(file, self.section_at(nth))?.ok_or_else(|| beyond(file, "section table"))?;
            Ok(zerocopy::transmute!(row))
        };
        (0..count).map(row).collect()
    }

    /// What is signed of a PE32+ file: one run of bytes but for two places in the headers.
    ///
    /// # Errors
    /// When it is of another form, when the sections leave gaps between them or overlap, or reach beyond the end of the file.
    pub(crate) fn signed_part(&self, file: &Blob) -> Result<SignedPart> {
        let optional = self.optional(file)?.ok_or_else(|| beyond(file, "optional header"))?;
        if optional.magic != PE32_PLUS {
            let magic = optional.magic.get();
            return Err(Error::unsupported(format!("the optional header is of form 0x{magic:x}, only PE32+ (0x{PE32_PLUS:x}) is signed")));
        }
        let at = self.optional_at();
        let entries = array(file, at + DIRECTORY_LEN)?.map_or(0, u32::from_le_bytes);
        let certificates_at = at + DIRECTORY + DIRECTORY_ENTRY * u64::from(CERTIFICATES);
        let headers = u64::from(optional.size_of_headers.get());
        let table = self.section_at(0);
        if entries <= CERTIFICATES || certificates_at + DIRECTORY_ENTRY > table {
            return Err(Error::bad_input(format!("the data directory has {entries} entries, none for certificates")));
        }
        if headers > file.len() || self.section_at(self.coff.number_of_sections.get()) > headers {
            return Err(Error::bad_input(format!("the PE file has {headers} bytes of headers, must have its section table in them")));
        }
        let mut rows: Vec<_> = self.rows(file)?.into_iter().filter(|row| row.size_of_raw_data.get() > 0).collect();
        rows.sort_by_key(|row| row.pointer_to_raw_data.get());
        let mut end = headers;
        for row in &rows {
            let start = u64::from(row.pointer_to_raw_data.get());
            if start != end {
                let name = String::from_utf8_lossy(&row.name).trim_end_matches('\0').to_owned();
                let what = format!("section {name} is at {start} in the PE file, must be at {end}, where what is before it ends");
                return Err(Error::bad_input(what).hint("what is in gaps or twice in sections would be under no signature"));
            }
            end += u64::from(row.size_of_raw_data.get());
        }
        match end <= file.len() {
            true => Ok(SignedPart { check_sum_at: at + units::bytes(offset_of!(OptionalHeader, check_sum)), certificates_at, end }),
            false => Err(beyond(file, "last section")),
        }
    }
}

fn beyond(file: &Blob, what: &str) -> Error {
    Error::bad_input(format!("the {what} of the PE file would lie beyond its end, at byte {}", file.len()))
}

/// Bytes of a file, if it has them.
fn array<const N: usize>(file: &Blob, at: u64) -> Result<Option<[u8; N]>> {
    if at + units::bytes(N) > file.len() { Ok(None) } else { file.read_array(at).map(Some) }
}
