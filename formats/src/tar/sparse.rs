//! Sparse members: a map of segments, and their data one behind the other. Old GNU (type `S`) and PAX `GNU.sparse` 0.0, 0.1, 1.0.

use super::{
    BLOCK,
    header::{self, GnuSegment},
    pax,
};
use crate::{Blob, Error, Result, units};

/// Most segments of one file; 48 MiB of extents.
const SEGMENTS_MAX: usize = 1 << 20;
/// Longest decimal number in a map.
const DIGITS_MAX: usize = 20;

/// Where data stands in a sparse file.
#[derive(Clone, Debug, Default)]
pub(super) struct Map {
    /// Offset and length, ascending; none is empty.
    segments: Vec<(u64, u64)>,
    end: u64,
}

impl Map {
    /// Adds a segment.
    ///
    /// # Errors
    /// When it does not come behind the others. Only the last may end inside a block: writers differ in whether the next
    /// segment's data then begins at once or at the next block, so such a map has no one meaning.
    fn push(&mut self, offset: u64, len: u64) -> Result<()> {
        if offset < self.end {
            return Err(Error::bad_input(format!("a sparse segment begins at {offset}, must not be before {}", self.end)));
        }
        if len == 0 {
            return Ok(());
        }
        if self.segments.last().is_some_and(|(_, len)| !len.is_multiple_of(BLOCK)) {
            return Err(Error::bad_input("a sparse segment other than the last is not a multiple of 512 bytes"));
        }
        if self.segments.len() >= SEGMENTS_MAX {
            return Err(Error::bad_input(format!("a sparse file has more than {SEGMENTS_MAX} segments")));
        }
        self.end = offset.checked_add(len).ok_or_else(|| Error::bad_input("a sparse segment ends beyond 2^64"))?;
        self.segments.push((offset, len));
        Ok(())
    }

    /// Adds those segments of a header that are in use; `false` when the list ended.
    pub(super) fn push_gnu(&mut self, segments: &[GnuSegment]) -> Result<bool> {
        let number = |field: &[u8]| header::number(field).and_then(|value| u64::try_from(value).ok());
        for segment in segments {
            if segment.offset[0] == 0 && segment.len[0] == 0 {
                return Ok(false);
            }
            let pair = number(&segment.offset).zip(number(&segment.len));
            let (offset, len) = pair.ok_or_else(|| Error::bad_input("a sparse segment's offset and length must be octal numbers"))?;
            self.push(offset, len)?;
        }
        Ok(true)
    }

    /// The file, of which `data` is what the archive holds.
    ///
    /// # Errors
    /// When map, data and size do not agree.
    pub(super) fn lay_out(&self, data: &Blob, size: u64) -> Result<Blob> {
        if self.end > size {
            return Err(Error::bad_input(format!("its sparse segments reach to {}, the file has {size} bytes", self.end)));
        }
        let mapped: u64 = self.segments.iter().map(|(_, len)| len).sum();
        if mapped != data.len() {
            return Err(Error::bad_input(format!("its sparse segments have {mapped} bytes, the archive holds {}", data.len())));
        }
        let mut file = Blob::default();
        let mut done = 0;
        for (offset, len) in &self.segments {
            file.extend_to(*offset);
            file.append(&data.slice(done..done + len));
            done += len;
        }
        file.extend_to(size);
        Ok(file)
    }
}

/// The file that a member with `GNU.sparse` records holds; `stored` is what the archive has.
///
/// # Errors
/// When the version is unknown or the map does not fit the data.
pub(super) fn expand(records: &pax::Sparse, stored: &Blob) -> Result<Blob> {
    let size = records.real_size.ok_or_else(|| Error::bad_input("a sparse file without GNU.sparse.size or GNU.sparse.realsize"))?;
    match (records.major, records.minor) {
        (None | Some(0), _) => map_of_records(records)?.lay_out(stored, size),
        (Some(1), None | Some(0)) => {
            let (map, data) = map_in_front(stored)?;
            map.lay_out(&stored.slice(data..stored.len()), size)
        }
        (Some(major), minor) => {
            Err(Error::unsupported(format!("sparse format {major}.{} is unknown, 0.0, 0.1 and 1.0 are read", minor.unwrap_or(0))))
        }
    }
}

/// 0.0 and 0.1: pairs of offset and length in records.
fn map_of_records(records: &pax::Sparse) -> Result<Map> {
    let (pairs, odd) = records.map.as_chunks::<2>();
    let count = records.segment_count.unwrap_or(units::bytes(pairs.len()));
    if !odd.is_empty() || count != units::bytes(pairs.len()) {
        return Err(Error::bad_input(format!(
            "its sparse map has {} numbers, must have two for each of {count} segments",
            records.map.len()
        )));
    }
    let mut map = Map::default();
    for [offset, len] in pairs {
        map.push(*offset, *len)?;
    }
    Ok(map)
}

/// 1.0: the count and the pairs as decimal lines before the data, padded to a block. Gives the length of that, too.
fn map_in_front(stored: &Blob) -> Result<(Map, u64)> {
    let mut lines = Lines { stored, at: 0, buffer: Vec::new(), next: 0 };
    let count = lines.number()?;
    let mut map = Map::default();
    for _ in 0..count {
        let offset = lines.number()?;
        map.push(offset, lines.number()?)?;
    }
    let used = lines.at - units::bytes(lines.buffer.len() - lines.next);
    let data = units::round_up(used, BLOCK).filter(|data| *data <= stored.len());
    Ok((map, data.ok_or_else(|| Error::bad_input("its sparse map is not padded to 512 bytes"))?))
}

/// Decimal lines, read a few blocks at a time.
struct Lines<'a> {
    stored: &'a Blob,
    /// Where the next read begins.
    at: u64,
    buffer: Vec<u8>,
    next: usize,
}

impl Lines<'_> {
    fn number(&mut self) -> Result<u64> {
        let mut digits = Vec::with_capacity(DIGITS_MAX);
        loop {
            match self.byte()? {
                b'\n' => return pax::unsigned(&digits).map_err(|error| error.at("sparse map")),
                byte if digits.len() < DIGITS_MAX => digits.push(byte),
                _ => return Err(Error::bad_input(format!("its sparse map has a number of more than {DIGITS_MAX} digits"))),
            }
        }
    }

    fn byte(&mut self) -> Result<u8> {
        if self.next == self.buffer.len() {
            let len = (self.stored.len() - self.at).min(8 * BLOCK);
            if len == 0 {
                return Err(Error::bad_input("its sparse map reaches past its end"));
            }
            self.buffer.resize(units::index(len), 0);
            self.stored.read_at(self.at, &mut self.buffer)?;
            self.at += len;
            self.next = 0;
        }
        self.next += 1;
        Ok(self.buffer[self.next - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::{super::warnings::Warnings, *};

    fn expand(records: &[u8], stored: &[u8]) -> Result<Vec<u8>> {
        let mut all = pax::Records::default();
        for line in records.split(|byte| *byte == b' ').filter(|line| !line.is_empty()) {
            let mut record = Vec::new();
            let equals = line.iter().position(|byte| *byte == b'=').unwrap();
            pax::write_record(&mut record, &[b"GNU.sparse.", &line[..equals]].concat(), &line[equals + 1..]);
            all.read(&record, pax::Scope::Member, &mut Warnings::default())?;
        }
        super::expand(&all.sparse, &Blob::bytes(stored))?.to_vec(1 << 20)
    }

    fn block(text: &[u8]) -> Vec<u8> {
        let mut bytes = text.to_vec();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    #[test]
    fn three_versions_say_the_same() {
        let data = [[7; 512].as_slice(), b"tail"].concat();
        let mut file = vec![0; 5000];
        file[1024..1536].fill(7);
        file[4096..4100].copy_from_slice(b"tail");
        let in_front = [block(b"3\n1024\n512\n4096\n4\n5000\n0\n"), data.clone()].concat();
        let v00 = expand(b"size=5000 numblocks=3 offset=1024 numbytes=512 offset=4096 numbytes=4 offset=5000 numbytes=0", &data);
        assert_eq!(v00.unwrap(), file);
        assert_eq!(expand(b"size=5000 numblocks=3 map=1024,512,4096,4,5000,0", &data).unwrap(), file);
        assert_eq!(expand(b"major=1 minor=0 realsize=5000", &in_front).unwrap(), file);
    }

    #[test]
    fn maps_that_do_not_agree_are_refused() {
        let data = [7; 512];
        for records in [
            &b"size=1000 map=0,512,512,488"[..], // more than is there
            b"size=1000 map=0,256",              // less than is there
            b"size=400 map=0,512",               // past the size
            b"size=1000 map=0,256,100,256",      // overlap
            b"size=1000 map=0,256,500,256",      // inner one not whole blocks
            b"size=1000 map=0,512,",
            b"size=1000 map=0",
            b"size=1000 numblocks=2 map=0,512",
            b"map=0,512",
            b"size=1000 map=18446744073709551615,512",
            b"size=1000 numbytes=512 offset=0",
            b"major=2 minor=0 realsize=512",
            b"major=1 minor=0 realsize=512",
            b"size=1000 map=0,512 unheard=of",
        ] {
            assert!(expand(records, &data).is_err(), "{}", records.escape_ascii());
        }
        for map in [&b"99999999999999999999\n"[..], b"1\n0\n", b"1\n0\n512", b"18446744073709551615\n", b"-1\n", b"1\n0\n\n"] {
            assert!(expand(b"major=1 minor=0 realsize=512", &block(map)).is_err(), "{}", map.escape_ascii());
        }
    }
}
