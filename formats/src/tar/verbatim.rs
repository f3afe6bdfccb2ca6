//! Entries as an archive has them, with every field and every record, and written on as Go's `archive/tar` writes them in PAX format.
//!
//! [`super::Members`] gives what an archive means; this gives what it says, for those who copy entries from one archive into another.
//! Judged by the tars of LinuxKit, which is written in Go.

use super::{
    BLOCK,
    header::{self, Header, USTAR, typeflag},
    headers::{EXTENSION_MAX, Extensions, Headers, Step},
    pax, place, sparse,
    warnings::Warnings,
};
use crate::{At, Blob, Error, Result, Spool, tree::ShowPath, units};
use std::collections::BTreeMap;
use zerocopy::{FromZeros, IntoBytes};

/// Headers that are written together.
const BUFFER: usize = 256 << 10;

/// A point in time: seconds since 1970, and nanoseconds below 1,000,000,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Seconds, rounded down.
    pub seconds: i64,
    /// Nanoseconds.
    pub nanos: u32,
}

/// One entry, extension headers merged into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The path as it stands.
    pub path: Vec<u8>,
    /// The target of a link as it stands, else empty.
    pub link: Vec<u8>,
    /// The letter of its type (POSIX `typeflag`).
    pub kind: u8,
    /// Permissions, and whatever else the field holds.
    pub mode: i64,
    /// Owner.
    pub uid: i64,
    /// Group.
    pub gid: i64,
    /// Owner's name.
    pub uname: Vec<u8>,
    /// Group's name.
    pub gname: Vec<u8>,
    /// Modification time.
    pub mtime: Time,
    /// Access time, where it is known.
    pub atime: Option<Time>,
    /// Change time, where it is known.
    pub ctime: Option<Time>,
    /// Device number: major and minor.
    pub device: (i64, i64),
    /// The records of its PAX header, those that are merged into the other fields, too.
    pub records: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Entry {
    /// An entry of root's with nothing but a path and permissions.
    pub fn new(kind: u8, path: impl Into<Vec<u8>>, mode: i64) -> Self {
        Self {
            path: path.into(),
            link: Vec::new(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            uname: Vec::new(),
            gname: Vec::new(),
            mtime: Time::default(),
            atime: None,
            ctime: None,
            device: (0, 0),
            records: BTreeMap::new(),
        }
    }

    /// Whether its type says that no content follows, whatever its size.
    fn is_header_only(&self) -> bool {
        matches!(self.kind, typeflag::HARD_LINK..=typeflag::FIFO)
    }
}

/// The entries of an archive with their contents, front to back. Behind an error there are none.
#[derive(Debug)]
pub struct Entries<'a> {
    headers: Headers<'a>,
    done: bool,
}

impl Iterator for Entries<'_> {
    type Item = Result<(Entry, Blob)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let entry = self.entry().transpose();
        self.done = !matches!(entry, Some(Ok(_)));
        entry
    }
}

impl<'a> Entries<'a> {
    /// The entries of an archive that is not compressed. One of no bytes has none. That it has no end is not told: whoever copies layers
    /// knows by their digests that they are whole.
    pub fn new(archive: &'a Blob) -> Self {
        Self { headers: Headers::lenient(archive), done: false }
    }

    fn entry(&mut self) -> Result<Option<(Entry, Blob)>> {
        match self.headers.step(&mut Warnings::default())? {
            None => Ok(None),
            Some(Step::Global(name, records)) => {
                let records = pax::all(&records).at(|| place(&name))?;
                Ok(Some((Entry { records, ..Entry::new(typeflag::PAX_GLOBAL, name, 0) }, Blob::default())))
            }
            Some(Step::Entry(header, name, extensions)) => {
                let shown = extensions.path.clone().unwrap_or_else(|| name.clone());
                self.merged(&header, name, extensions).map(Some).at(|| place(&shown))
            }
        }
    }

    /// The entry of a header and of what stood before it. As in Go, records win over the header's fields and GNU's names over records.
    fn merged(&mut self, header: &Header, name: Vec<u8>, extensions: Extensions) -> Result<(Entry, Blob)> {
        let Extensions { records: raw, path, link, .. } = extensions;
        let records = pax::all(&raw)?;
        let field = header::signed;
        let record = |keyword: &str| records.get(keyword.as_bytes()).filter(|value| !value.is_empty());
        let bytes = |keyword: &str, field: &[u8]| record(keyword).cloned().unwrap_or_else(|| header::text(field).to_vec());
        let number = |keyword: &str, bytes: &[u8]| record(keyword).map_or_else(|| field(keyword, bytes), |value| pax::decimal(value));
        let time = |keyword: &str| record(keyword).map(|value| pax::time(value)).transpose();
        let is_v7 = header.is_v7();
        let named = |field: &'static str, value| if is_v7 { bytes(field, b"") } else { bytes(field, value) };
        let mut entry = Entry {
            path: path.or_else(|| record("path").cloned()).unwrap_or(name),
            link: link.unwrap_or_else(|| bytes("linkpath", &header.linkname)),
            kind: header.typeflag,
            mode: field("mode", &header.mode)?,
            uid: number("uid", &header.uid)?,
            gid: number("gid", &header.gid)?,
            uname: named("uname", &header.uname),
            gname: named("gname", &header.gname),
            mtime: time("mtime")?.map_or_else(|| field("mtime", &header.mtime).map(whole), |time| Ok(of_record(time)))?,
            atime: time("atime")?.map(of_record),
            ctime: time("ctime")?.map(of_record),
            device: match is_v7 {
                true => (0, 0),
                false => (field("devmajor", &header.devmajor)?, field("devminor", &header.devminor)?),
            },
            records: BTreeMap::new(),
        };
        let (atime, ctime) = header.times();
        entry.atime = entry.atime.or(atime.map(|bytes| field("atime", bytes)).transpose()?.map(whole));
        entry.ctime = entry.ctime.or(ctime.map(|bytes| field("ctime", bytes)).transpose()?.map(whole));
        if entry.kind == typeflag::FILE_V7 {
            entry.kind = if entry.path.ends_with(b"/") { typeflag::DIRECTORY } else { typeflag::FILE };
        }
        let size = record("size").map_or_else(|| header::unsigned("size", &header.size), |value| pax::unsigned(value))?;
        let body = self.body(&mut entry, size, &raw)?;
        entry.records = records;
        Ok((entry, body))
    }

    fn body(&mut self, entry: &mut Entry, size: u64, records: &[u8]) -> Result<Blob> {
        if entry.kind == typeflag::GNU_SPARSE {
            let what = "it is a sparse file in the old format of GNU tar, which LinuxKit does not take";
            return Err(Error::unsupported(what).hint("make the layer with `tar --format=pax`"));
        }
        if entry.is_header_only() {
            let kind = entry.kind.escape_ascii();
            return match size {
                0 => Ok(Blob::default()),
                _ => Err(Error::bad_input(format!("its type '{kind}' has no content, but its size is {size}, must be 0"))),
            };
        }
        let stored = self.headers.content(size)?;
        let sparse = pax::sparse(records)?;
        if let Some(name) = sparse.name.clone().filter(|name| !name.is_empty()) {
            entry.path = name;
        }
        if sparse.is_used() { sparse::expand(&sparse, &stored) } else { Ok(stored) }
    }
}

fn show(time: Time) -> Vec<u8> {
    pax::show_time(time.seconds, time.nanos).into_bytes()
}

fn whole(seconds: i64) -> Time {
    Time { seconds, nanos: 0 }
}

fn of_record((seconds, nanos): (i64, u32)) -> Time {
    Time { seconds, nanos }
}

/// Makes an archive out of entries. The same calls make the same bytes.
///
/// Headers go into a spool of their own, contents are referred to: an archive of a million entries takes little memory.
#[derive(Debug)]
pub struct Writer {
    archive: Blob,
    headers: Spool,
    /// Headers that are not in the spool yet.
    buffer: Vec<u8>,
    /// What comes behind the archive as it is.
    waiting: Vec<Piece>,
}

/// What stands behind one another in the archive.
#[derive(Debug)]
enum Piece {
    /// So many bytes of the buffer.
    Header(usize),
    /// A content, with its padding.
    Body(Blob),
}

impl Writer {
    /// An archive without entries, and where its headers go.
    pub fn new(headers: Spool) -> Self {
        Self { archive: Blob::default(), headers, buffer: Vec::with_capacity(BUFFER), waiting: Vec::new() }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// When no header can hold it; the error names the entry.
    pub fn add(&mut self, entry: &Entry, body: &Blob) -> Result<()> {
        let header = headers(entry, body.len()).at(|| place(&entry.path))?;
        self.buffer.extend_from_slice(&header);
        match self.waiting.last_mut() {
            Some(Piece::Header(len)) => *len += header.len(),
            _ => self.waiting.push(Piece::Header(header.len())),
        }
        if !body.is_empty() {
            self.waiting.push(Piece::Body(body.clone()));
        }
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// The archive, with its two blocks of zeros.
    ///
    /// # Errors
    /// When the spool cannot be written.
    pub fn finish(mut self) -> Result<Blob> {
        self.flush()?;
        self.archive.append(&Blob::zeros(2 * BLOCK));
        Ok(self.archive)
    }

    fn flush(&mut self) -> Result<()> {
        let headers = self.headers.append(&self.buffer)?;
        self.buffer.clear();
        let mut done = 0;
        for piece in self.waiting.drain(..) {
            match piece {
                Piece::Header(len) => {
                    let end = done + units::bytes(len);
                    self.archive.append(&headers.slice(done..end));
                    done = end;
                }
                Piece::Body(body) => {
                    self.archive.append(&body);
                    self.archive.pad_to(BLOCK);
                }
            }
        }
        Ok(())
    }
}

/// The PAX header of an entry, where it needs one, and its header.
fn headers(entry: &Entry, size: u64) -> Result<Vec<u8>> {
    let records = records(entry, size)?;
    let mut bytes = Vec::with_capacity(3 * 512);
    if entry.kind == typeflag::PAX_GLOBAL {
        let name = if entry.path.is_empty() { b"GlobalHead.0.0".as_slice() } else { &entry.path };
        bytes.extend(special(name, typeflag::PAX_GLOBAL, &records)?);
        return Ok(bytes);
    }
    if !records.is_empty() {
        bytes.extend(special(&pax_name(&entry.path), typeflag::PAX, &records)?);
    }
    let mut header = Header { magic: USTAR, typeflag: entry.kind, ..Header::new_zeroed() };
    match super::write::split_path(&entry.path) {
        Some((prefix, name)) if records.is_empty() && entry.path.len() > header.name.len() => {
            put(&mut header.prefix, prefix);
            put(&mut header.name, name);
        }
        _ => put(&mut header.name, &ascii(&entry.path)),
    }
    put(&mut header.linkname, &ascii(&entry.link));
    put(&mut header.uname, &ascii(&entry.uname));
    put(&mut header.gname, &ascii(&entry.gname));
    octal(&mut header.mode, entry.mode);
    octal(&mut header.uid, entry.uid);
    octal(&mut header.gid, entry.gid);
    octal(&mut header.size, i64::try_from(size).unwrap_or(i64::MAX));
    octal(&mut header.mtime, entry.mtime.seconds);
    octal(&mut header.devmajor, entry.device.0);
    octal(&mut header.devminor, entry.device.1);
    header.seal();
    bytes.extend_from_slice(header.as_bytes());
    Ok(bytes)
}

/// The records that an entry is written with, sorted by keyword (Go's `Header.allowedFormats`).
fn records(entry: &Entry, size: u64) -> Result<Vec<u8>> {
    if matches!(entry.kind, typeflag::FILE | typeflag::CHARACTER_DEVICE | typeflag::BLOCK_DEVICE | typeflag::FIFO)
        && entry.path.ends_with(b"/")
    {
        return Err(Error::bad_input("its path ends in '/', which only a directory's may"));
    }
    for (name, value, max) in [("mode", entry.mode, 7), ("devmajor", entry.device.0, 7), ("devminor", entry.device.1, 7)] {
        if !fits(value, max) {
            return Err(Error::unsupported(format!("its {name} is {value}, which a tar header cannot hold: 0 to 2097151 fit")));
        }
    }
    let mut all: BTreeMap<&[u8], Vec<u8>> = BTreeMap::new();
    if entry.kind != typeflag::PAX_GLOBAL {
        for (keyword, value, len) in
            [("path", &entry.path, 100), ("linkpath", &entry.link, 100), ("uname", &entry.uname, 32), ("gname", &entry.gname, 32)]
        {
            keep(&mut all, entry, keyword, !value.iter().all(|byte| byte.is_ascii() && *byte != 0) || value.len() > len, value.clone());
        }
        let size = i64::try_from(size).map_err(|_| Error::unsupported(format!("its size is {size}, must be below 2^63")))?;
        for (keyword, value, digits) in [("uid", entry.uid, 7), ("gid", entry.gid, 7), ("size", size, 11)] {
            keep(&mut all, entry, keyword, !fits(value, digits), value.to_string().into_bytes());
        }
        let needs = entry.mtime.nanos != 0 || !fits(entry.mtime.seconds, 11);
        keep(&mut all, entry, "mtime", needs, show(entry.mtime));
        for (keyword, time) in [("atime", entry.atime), ("ctime", entry.ctime)] {
            if let Some(time) = time {
                keep(&mut all, entry, keyword, true, show(time));
            }
        }
    }
    for (keyword, value) in &entry.records {
        let is_basic = BASIC.contains(&keyword.as_slice()) || keyword.starts_with(b"GNU.sparse");
        if (entry.kind == typeflag::PAX_GLOBAL || !is_basic) && !all.contains_key(keyword.as_slice()) {
            all.insert(keyword, value.clone());
        }
    }
    // A path that is only too long may be split, where nothing else asks for records.
    if all.len() == 1 && entry.path.is_ascii() && entry.records.is_empty() && super::write::split_path(&entry.path).is_some() {
        all.remove(b"path".as_slice());
    }
    let mut bytes = Vec::new();
    for (keyword, value) in all {
        if BASIC[..4].contains(&keyword) && value.contains(&0) {
            return Err(Error::bad_input(format!("its {} has a NUL", ShowPath(keyword))));
        }
        pax::write_record(&mut bytes, keyword, &value);
    }
    Ok(bytes)
}

/// Records that belong to a field; the first four are text.
const BASIC: [&[u8]; 10] = [b"path", b"linkpath", b"uname", b"gname", b"size", b"uid", b"gid", b"mtime", b"atime", b"ctime"];

/// Takes the record of a field where it is needed, or where the entry had the same one.
fn keep<'a>(all: &mut BTreeMap<&'a [u8], Vec<u8>>, entry: &Entry, keyword: &'a str, is_needed: bool, value: Vec<u8>) {
    if is_needed || entry.records.get(keyword.as_bytes()) == Some(&value) {
        all.insert(keyword.as_bytes(), value);
    }
}

/// A special header and its content.
fn special(name: &[u8], kind: u8, content: &[u8]) -> Result<Vec<u8>> {
    let len = units::bytes(content.len());
    if len > EXTENSION_MAX {
        return Err(Error::unsupported(format!("its records have {len} bytes, at most {EXTENSION_MAX} are written")));
    }
    let mut header = Header { magic: USTAR, typeflag: kind, ..Header::new_zeroed() };
    let mut name = ascii(name);
    name.truncate(header.name.len());
    name.truncate(name.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1));
    put(&mut header.name, &name);
    for field in [&mut header.mode, &mut header.uid, &mut header.gid] {
        octal(field, 0);
    }
    octal(&mut header.size, len.cast_signed());
    octal(&mut header.mtime, 0);
    header.seal();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    Ok(bytes)
}

/// Go's `path.Join(dir, "PaxHeaders.0", base)` of a path.
fn pax_name(path: &[u8]) -> Vec<u8> {
    let (directory, base) = split(path);
    clean(&[directory, b"/PaxHeaders.0/", base].concat()[usize::from(directory.is_empty())..])
}

/// A path at its last `/`, which stays with the directory (Go's `path.Split`).
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.split_at(path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1))
}

/// A path as Go's `path.Clean` gives it: no empty or `.` components, `..` taken back where something stands before it; `.` for nothing.
pub fn clean(path: &[u8]) -> Vec<u8> {
    let is_absolute = path.starts_with(b"/");
    let mut components: Vec<&[u8]> = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if components.last().is_some_and(|last| *last != b"..") => drop(components.pop()),
            b".." if is_absolute => {}
            component => components.push(component),
        }
    }
    match (is_absolute, components.join(&b'/')) {
        (true, rest) => [b"/", rest.as_slice()].concat(),
        (false, rest) if rest.is_empty() => b".".to_vec(),
        (false, rest) => rest,
    }
}

/// What ASCII there is in a text.
fn ascii(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|byte| byte.is_ascii() && *byte != 0).collect()
}

/// Puts as much of a text into a field as fits. Where the cut leaves a `/` at the end, a NUL takes the place of the slashes, for readers
/// that would see a directory in it.
fn put(field: &mut [u8], text: &[u8]) {
    let len = text.len().min(field.len());
    field[..len].copy_from_slice(&text[..len]);
    if text.len() > field.len() && field.ends_with(b"/") {
        let end = field[..len - 1].iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        field[end] = 0;
    }
}

/// Whether so many octal digits hold a number.
fn fits(value: i64, digits: u32) -> bool {
    (0..1 << (3 * digits)).contains(&value)
}

/// A number in octal; 0 where it does not fit.
fn octal(field: &mut [u8], value: i64) {
    if !header::set_octal(field, value) {
        let _: bool = header::set_octal(field, 0);
    }
}

#[cfg(test)]
mod tests;
