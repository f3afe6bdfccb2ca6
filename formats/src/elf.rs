//! ELF, as far as a module of Linux needs it: one section by its name; and for which machine a file is.
//!
//! Standard: System V ABI, chapters 4 and 5; files of 64 bits, little-endian, as all our architectures but x86 with 32 bits have them.
//!
//! ```text
//!  header, 64 | sections | ... | section headers, 64 each | what the build puts behind: a signature
//! ```

use crate::{Blob, Error, Result, kernel::Arch, units};
use std::mem::offset_of;
use zerocopy::{
    FromBytes, Immutable, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// Magic, 64 bits (class 2), little-endian (data 1).
const MAGIC: [u8; 6] = *b"\x7fELF\x02\x01";

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    /// 0: [`MAGIC`], version.
    ident: [u8; 16],
    /// 16: type, machine, version, entry, program headers.
    before: [u8; 24],
    /// 40: where the section headers are.
    shoff: U64,
    /// 48: flags, sizes of this and of program headers.
    between: [u8; 10],
    /// 58: bytes of a section header.
    shentsize: U16,
    /// 60: how many there are. Files with 65,280 and more say it elsewhere; no module is one.
    shnum: U16,
    /// 62: the section of their names.
    shstrndx: U16,
}
const _: () = assert!(size_of::<Header>() == 64 && offset_of!(Header, shoff) == 40 && offset_of!(Header, shstrndx) == 62);

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Section {
    /// 0: where its name is in the section of names.
    name: U32,
    /// 4: [`NO_BITS`] has no bytes in the file.
    kind: U32,
    /// 8: flags, address.
    flags: [u8; 16],
    /// 24: where it is in the file.
    offset: U64,
    /// 32: how long it is there.
    size: U64,
    /// 40: what only linkers want.
    rest: [u8; 24],
}
const SECTION_LEN: usize = 64;
const _: () = assert!(size_of::<Section>() == SECTION_LEN && offset_of!(Section, offset) == 24);
const NO_BITS: u32 = 8;

/// Most bytes of all names of sections.
const NAMES_MAX: u64 = 4 * units::MIB;

/// The machine of a file that begins so (`e_machine`), of any width; none where it is no ELF file. All of ours are little-endian.
pub fn machine(head: &[u8]) -> Option<u16> {
    let machine = head.get(18..20)?.first_chunk()?;
    head.starts_with(b"\x7fELF").then(|| u16::from_le_bytes(*machine))
}

/// The architecture of a machine, where it has a name here.
pub fn arch(machine: u16) -> Option<Arch> {
    match machine {
        3 => Some(Arch::X86),
        62 => Some(Arch::X86_64),
        183 => Some(Arch::Aarch64),
        243 => Some(Arch::Riscv64),
        _ => None,
    }
}

/// The section of a name; none where the file has none.
///
/// # Errors
/// When the file is no ELF file of 64 bits, little-endian, or its headers are damaged.
pub fn section(file: &Blob, name: &str) -> Result<Option<Blob>> {
    if file.len() < units::bytes(size_of::<Header>()) {
        return Err(Error::bad_input(format!("it has {} bytes, an ELF file has a header of 64", file.len())));
    }
    let header = Header::read_from_bytes(&file.read_array::<64>(0)?).map_err(|_| Error::bad_input("an ELF header has 64 bytes"))?;
    if !header.ident.starts_with(&MAGIC) {
        let found = header.ident[..6].escape_ascii();
        return Err(Error::bad_input(format!("it begins with '{found}', must be '{}': ELF, 64 bits, little-endian", MAGIC.escape_ascii())));
    }
    if usize::from(header.shentsize.get()) != SECTION_LEN {
        return Err(Error::bad_input(format!("its section headers have {} bytes, must be {SECTION_LEN}", header.shentsize)));
    }
    let (at, len) = (header.shoff.get(), u64::from(header.shnum.get()) * units::bytes(SECTION_LEN));
    let table = range(file, at, len, "section headers")?.to_vec(len)?;
    let (sections, _) = <[Section]>::ref_from_prefix_with_elems(&table, header.shnum.get().into())
        .map_err(|_| Error::bad_input("its section headers are cut"))?;
    let names = sections.get(usize::from(header.shstrndx.get())).ok_or_else(|| {
        Error::bad_input(format!("the names of its sections are in section {}, it has {}", header.shstrndx, header.shnum))
    })?;
    let names = range(file, names.offset.get(), names.size.get(), "names of sections")?.to_vec(NAMES_MAX)?;
    let is_called = |section: &&Section| {
        let rest = usize::try_from(section.name.get()).ok().and_then(|at| names.get(at..));
        rest.and_then(|rest| rest.strip_prefix(name.as_bytes())).is_some_and(|rest| rest.first() == Some(&0))
    };
    match sections.iter().find(is_called) {
        Some(section) if section.kind.get() != NO_BITS => range(file, section.offset.get(), section.size.get(), name).map(Some),
        _ => Ok(None),
    }
}

fn range(file: &Blob, at: u64, len: u64, what: &str) -> Result<Blob> {
    let end = at.checked_add(len).filter(|end| *end <= file.len());
    let end = end.ok_or_else(|| Error::bad_input(format!("its {what} are {len} bytes at {at}, the file has {}", file.len())))?;
    Ok(file.slice(at..end))
}

/// A file with one section, and something behind it, for tests.
#[cfg(test)]
pub(crate) fn file(name: &str, body: &[u8], behind: &[u8]) -> Vec<u8> {
    let names = format!("\0.shstrtab\0{name}\0");
    let at = (64 + names.len() + body.len()).next_multiple_of(8);
    let mut file = [MAGIC.as_slice(), &[0; 34], &units::bytes(at).to_le_bytes(), &[0; 10], &[64, 0, 3, 0, 1, 0]].concat();
    file.extend(names.bytes().chain(body.iter().copied()));
    file.resize(at + 64, 0);
    for (name, kind, offset, len) in [(1_u32, 3_u32, 64, names.len()), (11, 1, 64 + names.len(), body.len())] {
        file.extend([name.to_le_bytes(), kind.to_le_bytes()].concat());
        file.extend([0; 16]);
        file.extend([units::bytes(offset).to_le_bytes(), units::bytes(len).to_le_bytes()].concat());
        file.extend([0; 24]);
    }
    file.extend_from_slice(behind);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: &[u8]) -> Result<Option<Vec<u8>>> {
        section(&Blob::bytes(bytes), ".modinfo")?.map(|section| section.to_vec(99)).transpose()
    }

    #[test]
    fn a_section_is_found_by_its_whole_name() {
        assert_eq!(found(&file(".modinfo", b"a=b\0", b"signature")).unwrap().unwrap(), b"a=b\0");
        assert!(found(&file(".modinfo2", b"a=b\0", b"")).unwrap().is_none());
        assert!(found(&file(".modinf", b"a=b\0", b"")).unwrap().is_none());
    }

    #[test]
    fn headers_that_lead_nowhere_are_refused() {
        let whole = file(".modinfo", b"a=b\0", b"");
        for (at, byte, words) in [
            (4, 1, "must be '\\x7fELF\\x02\\x01'"),
            (47, 1, "its section headers are 192 bytes at"),
            (58, 40, "its section headers have 40 bytes"),
            (62, 9, "are in section 9, it has 3"),
            (whole.len() - 128 + 24 + 7, 1, "its names of sections are 20 bytes at"),
            (whole.len() - 64 + 24 + 7, 1, "its .modinfo are 4 bytes at"),
        ] {
            let mut broken = whole.clone();
            broken[at] = byte;
            let error = found(&broken).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        for len in 0..whole.len() {
            assert!(found(&whole[..len]).is_err(), "{len}");
        }
    }
}
