//! Replaying the log in memory (section 2.3): what a program wrote down before it could write it in place.
//!
//! ```text
//! entry | header | descriptors (32 bytes each) | up to whole 4 KiB | data sector | data sector | ...
//! ```
//! The log is a ring of 4 KiB sectors. An entry is valid when its signature, GUID, lengths, sequence numbers and checksum are.
//! The active sequence is the run of valid entries, numbers ascending by one, that holds its own tail and the highest number.

use super::Header;
use crate::{
    Blob, Error, Result,
    crc32c::crc32c,
    units::{self, MIB},
};
use std::collections::BTreeMap;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

/// Longest log that we read: it is read into memory.
const LOG_MAX: u64 = 64 * MIB;
/// Bytes of a log sector.
const LOG_SECTOR: usize = 4096;

/// Section 2.3.1.1, "Entry Header".
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct EntryHeader {
    /// 0: `loge`.
    signature: [u8; 4],
    /// 4: CRC-32C of the entry, with 0 here.
    checksum: U32,
    /// 8: bytes of the entry, whole sectors.
    length: U32,
    /// 12: where in the log the sequence starts that was active when this entry was written.
    tail: U32,
    /// 16: one more than the entry before.
    sequence_number: U64,
    /// 24: descriptors.
    descriptor_count: U32,
    /// 28: 0.
    reserved: U32,
    /// 32: that of the header.
    log_guid: [u8; 16],
    /// 48: the file was at least this long, safely, when the entry was written.
    flushed_file_offset: U64,
    /// 56: the file was this long.
    last_file_offset: U64,
}
const _: () = assert!(size_of::<EntryHeader>() == 64);

/// Sections 2.3.1.2 and 2.3.1.3: a zero descriptor or a data descriptor.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Descriptor {
    /// 0: `zero` or `desc`.
    signature: [u8; 4],
    /// 4: `desc`: the last 4 bytes of the sector.
    trailing_bytes: [u8; 4],
    /// 8: `desc`: the first 8 bytes of the sector; `zero`: how many bytes become zeros.
    leading_bytes: [u8; 8],
    /// 16: where in the file.
    file_offset: U64,
    /// 24: that of the entry.
    sequence_number: U64,
}
const _: () = assert!(size_of::<Descriptor>() == 32);

/// A valid entry.
struct Entry {
    /// Where it is in the log.
    at: usize,
    header: EntryHeader,
    /// Its bytes, unrolled from the ring.
    bytes: Vec<u8>,
}

/// The file as it is once its log is written back.
pub(super) fn replay(file: &Blob, header: &Header) -> Result<Blob> {
    let (at, len) = (header.log_offset.get(), u64::from(header.log_length.get()));
    if header.log_guid == [0; 16] {
        return Ok(file.clone());
    }
    if header.log_version != 0 {
        return Err(Error::unsupported(format!("the version is {}, must be 0", header.log_version)));
    }
    if len > LOG_MAX || !len.is_multiple_of(units::bytes(LOG_SECTOR)) || at.checked_add(len).is_none_or(|end| end > file.len()) {
        return Err(Error::bad_input(format!("{len} bytes at {at}, must be whole sectors in the file, at most 64 MiB")));
    }
    let log = file.slice(at..at + len).to_vec(LOG_MAX)?;
    let entries = active_sequence(&log, &header.log_guid);
    let last = entries.last().ok_or_else(|| Error::bad_input("it is in use but has no valid entries"))?.header;
    if last.flushed_file_offset.get() > file.len() {
        let needed = last.flushed_file_offset;
        return Err(Error::bad_input(format!("the file has {} bytes, was {needed}: it was cut short", file.len())));
    }
    let mut overlay = Overlay::default();
    for entry in &entries {
        entry.apply(&mut overlay)?;
    }
    overlay.lay_over(file, last.last_file_offset.get().max(file.len()))
}

/// Section 2.3.2: the entries to replay, in order.
fn active_sequence(log: &[u8], guid: &[u8; 16]) -> Vec<Entry> {
    let mut active: Vec<Entry> = Vec::new();
    let number = |entries: &[Entry]| entries.last().map(|entry| entry.header.sequence_number.get());
    let mut at = 0;
    while at < log.len() {
        let mut run = run(log, at, guid);
        // A run is never longer than the ring, so this ends at its end.
        at += run.iter().map(|entry| entry.bytes.len()).sum::<usize>().max(LOG_SECTOR);
        let tail = run.last().and_then(|head| usize::try_from(head.header.tail.get()).ok());
        if let Some(first) = run.iter().position(|entry| Some(entry.at) == tail)
            && number(&run) > number(&active)
        {
            active = run.split_off(first);
        }
    }
    active
}

/// Valid entries that follow one another from a place in the log.
fn run(log: &[u8], start: usize, guid: &[u8; 16]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut used = 0;
    while used < log.len() {
        let next = Entry::read(log, (start + used) % log.len(), guid).filter(|next| {
            let follows = |last: &Entry| last.header.sequence_number.get().checked_add(1) == Some(next.header.sequence_number.get());
            used + next.bytes.len() <= log.len() && entries.last().is_none_or(follows)
        });
        let Some(next) = next else { break };
        used += next.bytes.len();
        entries.push(next);
    }
    entries
}

impl Entry {
    /// The entry at a sector of the log, if it is a valid one.
    ///
    /// Every sector is checked for what it must start with before the checksum is made, so that headers in each other's
    /// reach cannot make this quadratic.
    fn read(log: &[u8], at: usize, guid: &[u8; 16]) -> Option<Self> {
        let (header, _) = EntryHeader::read_from_prefix(&log[at..]).ok()?;
        let length = usize::try_from(header.length.get()).ok()?;
        let descriptors = usize::try_from(header.descriptor_count.get()).ok()?;
        let table = descriptors
            .checked_mul(size_of::<Descriptor>())?
            .checked_add(size_of::<EntryHeader>())?
            .checked_next_multiple_of(LOG_SECTOR)?;
        let plausible = header.signature == *b"loge" && header.log_guid == *guid && header.sequence_number != 0;
        if !plausible || !length.is_multiple_of(LOG_SECTOR) || !(table..=log.len()).contains(&length) {
            return None;
        }
        let sector = |n: usize| {
            let at = (at + n * LOG_SECTOR) % log.len();
            &log[at..at + LOG_SECTOR]
        };
        let starts_right = |n: usize| {
            let kinds: &[&[u8]] = if n * LOG_SECTOR < table { &[b"desc", b"zero"] } else { &[b"data"] };
            kinds.contains(&&sector(n)[..4])
        };
        if !(1..length / LOG_SECTOR).all(starts_right) {
            return None;
        }
        let mut bytes = (0..length / LOG_SECTOR).flat_map(sector).copied().collect::<Vec<u8>>();
        bytes[4..8].fill(0);
        let entry = Self { at, header, bytes };
        (header.checksum == crc32c(&entry.bytes) && entry.numbers_agree(table)).then_some(entry)
    }

    fn descriptors(&self) -> &[Descriptor] {
        let count = usize::try_from(self.header.descriptor_count.get()).expect("they fit the entry");
        let table = &self.bytes[size_of::<EntryHeader>()..];
        <[Descriptor]>::ref_from_prefix_with_elems(table, count).expect("they fit the entry").0
    }

    /// Whether all sequence numbers are the entry's, and there are as many data sectors as descriptors for them.
    fn numbers_agree(&self, table: usize) -> bool {
        let number = self.header.sequence_number;
        let [a, b, c, d, e, f, g, h] = number.get().to_le_bytes();
        let data = &self.bytes[table..];
        self.descriptors().iter().all(|descriptor| descriptor.sequence_number == number)
            && self.descriptors().iter().filter(|descriptor| descriptor.signature == *b"desc").count() == data.len() / LOG_SECTOR
            && data.chunks_exact(LOG_SECTOR).all(|sector| sector[4..8] == [e, f, g, h] && sector[LOG_SECTOR - 4..] == [a, b, c, d])
    }

    /// Does what the descriptors say.
    fn apply(&self, overlay: &mut Overlay) -> Result<()> {
        let table = (size_of::<EntryHeader>() + size_of_val(self.descriptors())).next_multiple_of(LOG_SECTOR);
        let mut data = self.bytes[table..].chunks_exact(LOG_SECTOR);
        for descriptor in self.descriptors() {
            let piece = match &descriptor.signature {
                b"zero" => Blob::zeros(u64::from_le_bytes(descriptor.leading_bytes)),
                b"desc" => {
                    let sector = data.next().expect("as many as descriptors");
                    let middle = &sector[8..LOG_SECTOR - 4];
                    Blob::bytes([&descriptor.leading_bytes, middle, &descriptor.trailing_bytes].concat())
                }
                other => return Err(Error::bad_input(format!("the descriptor {} is unknown", other.escape_ascii()))),
            };
            let at = descriptor.file_offset.get();
            if !(at | piece.len()).is_multiple_of(4096)
                || at.checked_add(piece.len()).is_none_or(|end| end > self.header.last_file_offset.get())
            {
                return Err(Error::bad_input(format!(
                    "a descriptor is about {} bytes at {at}, must be whole sectors of the file",
                    piece.len()
                )));
            }
            overlay.put(at, piece);
        }
        Ok(())
    }
}

/// Pieces that hide what is below them; a later one hides an earlier one.
#[derive(Default)]
struct Overlay(BTreeMap<u64, Blob>);

impl Overlay {
    fn put(&mut self, at: u64, piece: Blob) {
        let end = at + piece.len();
        if let Some((&start, before)) = self.0.range(..at).next_back()
            && start + before.len() > at
        {
            let (head, rest) = (before.slice(0..at - start), before.slice(at - start..before.len()));
            self.0.insert(start, head);
            self.0.insert(at, rest);
        }
        while let Some((&start, _)) = self.0.range(at..end).next() {
            let hidden = self.0.remove(&start).expect("it was just found");
            if start + hidden.len() > end {
                self.0.insert(end, hidden.slice(end - start..hidden.len()));
            }
        }
        if !piece.is_empty() {
            self.0.insert(at, piece);
        }
    }

    /// The file with the pieces over it, `len` bytes long.
    fn lay_over(self, file: &Blob, len: u64) -> Result<Blob> {
        let mut below = file.clone();
        below.extend_to(len);
        let mut whole = Blob::default();
        for (at, piece) in self.0 {
            whole.append(&below.slice(whole.len()..at));
            whole.append(&piece);
        }
        whole.append(&below.slice(whole.len()..len));
        Ok(whole)
    }
}
