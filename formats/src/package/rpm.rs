//! Packages of rpm, format 4: rpm's manual, "RPM v4 Package format".
//!
//! ```text
//!  lead, 96 | header of signatures, padded to 8 | header | payload: a compressed cpio archive
//!  header:  8e ad e8 01, 4 reserved, entries (32), bytes of data (32); then the entries, 16 each: tag, type, offset, count; then the data
//! ```
//! Numbers are big-endian. Signatures and digests are not judged: who gives a file trusts it.
//!
//! Refused by name: source packages, which hold no files of a system, and payloads that are no cpio archive or a stripped one, which rpm
//! writes for files of 4 GiB and in format 6.
//!
//! Oracles: rpmbuild, rpm2cpio.

use super::{ABOUT_MAX, Kind, unpacked};
use crate::{At, Blob, Env, Error, Result, cpio, tree::Builder, units};
use std::mem::offset_of;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, big_endian::U32};

pub(super) const KIND: Kind = Kind { probe, unpack, depends };

/// The lead, which only says what the file is.
const LEAD_LEN: u64 = 96;
const LEAD_MAGIC: [u8; 4] = *b"\xed\xab\xee\xdb";
/// Where the lead has the type of the package, 16 bits, and what a source package is.
const LEAD_TYPE: u64 = 6;
const SOURCE: [u8; 2] = [0, 1];

const HEADER_MAGIC: [u8; 4] = *b"\x8e\xad\xe8\x01";
/// Most entries of a header and bytes of its data, as rpm has it.
const ENTRIES_MAX: u32 = 0xffff;
const DATA_MAX: u32 = 0x0fff_ffff;

/// The front of a header.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Front {
    magic: [u8; 4],
    reserved: [u8; 4],
    entries: U32,
    data: U32,
}
const FRONT_LEN: u64 = 16;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    tag: U32,
    kind: U32,
    /// Where the value is in the data.
    offset: U32,
    count: U32,
}
const _: () = assert!(size_of::<Front>() == 16 && size_of::<Entry>() == 16 && offset_of!(Entry, offset) == 8);

/// Tags: a string, and arrays of them.
const PAYLOAD_FORMAT: u32 = 1124;
const REQUIRE_NAME: u32 = 1049;

fn probe(file: &Blob) -> Result<bool> {
    Ok(file.len() > LEAD_LEN && file.read_array(0)? == LEAD_MAGIC)
}

fn unpack(file: &Blob, tree: &mut Builder, env: &mut Env) -> Result<()> {
    if file.read_array(LEAD_TYPE)? == SOURCE {
        return Err(Error::bad_input("it is a source package, must be a binary one").hint("give the package that was built of it"));
    }
    let header = Header::of(file)?;
    if let Some(format) = header.strings(PAYLOAD_FORMAT)?.first().filter(|format| *format != "cpio") {
        return Err(Error::unsupported(format!("its payload is '{format}', must be 'cpio'")));
    }
    let archive = unpacked(&file.slice(header.end..file.len()), env).at(|| "payload")?;
    if archive.len() >= 6 && archive.read_array(0)? == *b"07070X" {
        let what = "its payload is a stripped cpio archive, which is not read";
        return Err(Error::unsupported(what).hint("unpack it with `rpm2archive`, and give the tar"));
    }
    let members = cpio::Members::new(&archive).collect::<Result<Vec<_>>>().at(|| "payload")?;
    cpio::add_to(members, tree).at(|| "payload")
}

/// What it requires, but for what rpm itself and scripts do.
fn depends(file: &Blob) -> Result<Vec<String>> {
    let mut names = Header::of(file)?.strings(REQUIRE_NAME)?;
    names.retain(|name| !name.starts_with('/') && !name.starts_with("rpmlib("));
    names.dedup();
    Ok(names)
}

/// The header that is about the package.
struct Header {
    entries: Vec<u8>,
    data: Blob,
    /// Where it ends in the file.
    end: u64,
}

impl Header {
    fn of(file: &Blob) -> Result<Self> {
        let signatures = Self::at(file, LEAD_LEN).at(|| "header of signatures")?;
        Self::at(file, signatures.end.next_multiple_of(8)).at(|| "header")
    }

    fn at(file: &Blob, at: u64) -> Result<Self> {
        let cut = || Error::bad_input(format!("the file ends in it, at byte {}", file.len())).hint("it is truncated");
        let start = at.checked_add(FRONT_LEN).filter(|start| *start <= file.len()).ok_or_else(cut)?;
        let front = Front::read_from_bytes(&file.read_array::<16>(at)?).map_err(|_| cut())?;
        if front.magic != HEADER_MAGIC {
            let found = front.magic.escape_ascii();
            return Err(Error::bad_input(format!("it begins with '{found}' at byte {at}, must be '{}'", HEADER_MAGIC.escape_ascii())));
        }
        let (entries, data) = (front.entries.get(), front.data.get());
        if entries > ENTRIES_MAX || data > DATA_MAX {
            let what = format!("it has {entries} entries and {data} bytes of data, at most {ENTRIES_MAX} and {DATA_MAX}");
            return Err(Error::bad_input(what));
        }
        let table = u64::from(entries) * units::bytes(size_of::<Entry>());
        let (middle, end) = (start + table, start + table + u64::from(data));
        if end > file.len() {
            return Err(cut());
        }
        Ok(Self { entries: file.slice(start..middle).to_vec(table)?, data: file.slice(middle..end), end })
    }

    /// The strings of a tag, each of which ends in a NUL; none where there is no such tag.
    fn strings(&self, tag: u32) -> Result<Vec<String>> {
        let (entries, _) = <[Entry]>::ref_from_prefix_with_elems(&self.entries, self.entries.len() / size_of::<Entry>())
            .map_err(|_| Error::bad_input("its entries are cut"))?;
        let Some(entry) = entries.iter().find(|entry| entry.tag.get() == tag) else { return Ok(Vec::new()) };
        let start = u64::from(entry.offset.get()).min(self.data.len());
        // What is behind the value is that of other tags.
        let bytes = self.data.slice(start..self.data.len().min(start + ABOUT_MAX)).to_vec(ABOUT_MAX)?;
        let strings = bytes.split(|byte| *byte == 0).take(usize::try_from(entry.count.get()).unwrap_or(usize::MAX));
        Ok(strings.map(|text| String::from_utf8_lossy(text).into_owned()).collect())
    }
}
