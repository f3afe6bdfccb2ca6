//! Reading: headers one after the other, contents as ranges of the archive.

use super::{
    BLOCK, Entry, Member,
    header::{self, GnuSparseBlock, Header, typeflag},
    pax::{Records, Scope},
    place, sparse,
};
use crate::{
    At, Blob, Error, Result,
    tree::{Content, Device, Inode, Origin},
    units,
};
use std::{collections::HashSet, sync::Arc};
use zerocopy::FromBytes;

/// Most bytes of the PAX headers and GNU long names of one member, and of a global header.
const EXTENSION_MAX: u64 = units::MIB;
/// How far headers that stand close together are read ahead.
const READ_AHEAD: u64 = 64 * units::KIB;

/// The members of an archive, front to back. Behind an error there are none.
#[derive(Debug)]
pub struct Members<'a> {
    blocks: Blocks<'a>,
    /// Where the next header is.
    at: u64,
    /// How many members there were.
    count: u64,
    done: bool,
    global: Records,
    origins: HashSet<Arc<Origin>>,
}

/// What extension headers say about the member behind them.
#[derive(Default)]
struct Extensions {
    records: Records,
    gnu_path: Option<Vec<u8>>,
    gnu_link: Option<Vec<u8>>,
    /// Bytes of their contents so far.
    len: u64,
    /// Whether there was any header.
    any: bool,
}

impl Iterator for Members<'_> {
    type Item = Result<Member>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let member = self.member().transpose();
        self.done = !matches!(member, Some(Ok(_)));
        self.count += 1;
        member
    }
}

impl<'a> Members<'a> {
    /// The members of an archive that is not compressed.
    pub fn new(archive: &'a Blob) -> Self {
        Self { blocks: Blocks::new(archive), at: 0, count: 0, done: false, global: Records::default(), origins: HashSet::new() }
    }

    fn member(&mut self) -> Result<Option<Member>> {
        let mut extensions = Extensions { records: self.global.clone(), ..Extensions::default() };
        loop {
            let Some(header) = self.header()? else {
                if extensions.any {
                    return Err(Error::bad_input(format!(
                        "the archive ends at byte {} behind an extended header: it is truncated",
                        self.at
                    )));
                }
                return Ok(None);
            };
            let name = header.path();
            if !self.extension(&header, &mut extensions).at(|| place(&name))? {
                let path = path_of(&mut extensions).unwrap_or(name);
                let entry = self.entry(&header, &path, extensions).at(|| place(&path))?;
                return Ok(Some(Member { path, entry }));
            }
        }
    }

    /// The next header, or nothing at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>> {
        let left = self.blocks.archive.len() - self.at;
        if left == 0 && self.count > 0 {
            return Ok(None);
        }
        if left < BLOCK {
            let found = format!("the archive ends at byte {}, {left} bytes into a header of 512", self.blocks.archive.len());
            return Err(Error::bad_input(found).hint("it is truncated, or not a tar"));
        }
        let block = self.blocks.read(self.at)?;
        if block == [0; 512] {
            return self.blocks.end(self.at).map(|()| None);
        }
        let header = Header::read_from_bytes(&block).map_err(|_| Error::bad_input("a header has 512 bytes"))?;
        header.verify().map_err(|what| self.not_a_header(&what))?;
        self.at += BLOCK;
        Ok(Some(header))
    }

    fn not_a_header(&self, what: &str) -> Error {
        if self.at == 0 {
            return Error::bad_input(format!("this is not a tar: {what}"));
        }
        Error::bad_input(format!("at byte {} there should be the header of an entry: {what}", self.at)).hint("the archive is damaged")
    }

    /// Takes `len` bytes of content and their padding.
    fn content(&mut self, len: u64) -> Result<Blob> {
        let end = self.at.checked_add(len).and_then(|end| units::round_up(end, BLOCK));
        let archive = self.blocks.archive;
        let Some(next) = end.filter(|end| *end <= archive.len()) else {
            let needed = end.map_or("more than 2^64".into(), |end| end.to_string());
            return Err(Error::bad_input(format!("it is truncated: it needs {needed} bytes of archive, there are {}", archive.len())));
        };
        let content = archive.slice(self.at..self.at + len);
        self.at = next;
        Ok(content)
    }

    /// Reads an extension header; `false` when the header is not one.
    fn extension(&mut self, header: &Header, extensions: &mut Extensions) -> Result<bool> {
        if !matches!(header.typeflag, typeflag::PAX | typeflag::PAX_GLOBAL | typeflag::GNU_PATH | typeflag::GNU_LINK) {
            return Ok(false);
        }
        let is_global = header.typeflag == typeflag::PAX_GLOBAL;
        let len = u64_field("size", &header.size)?;
        let total = len.saturating_add(if is_global { 0 } else { extensions.len });
        if total > EXTENSION_MAX {
            return Err(Error::bad_input(format!("its extended headers have {total} bytes, at most {EXTENSION_MAX} are taken")));
        }
        let start = self.at;
        self.content(len)?;
        let bytes = self.blocks.bytes(start, len)?;
        let text = || header::text(&bytes).to_vec();
        if !is_global {
            extensions.len = total;
            extensions.any = true;
        }
        match header.typeflag {
            typeflag::GNU_PATH => extensions.gnu_path = Some(text()),
            typeflag::GNU_LINK => extensions.gnu_link = Some(text()),
            typeflag::PAX => extensions.records.read(&bytes, Scope::Member)?,
            _ => {
                self.global.read(&bytes, Scope::Global)?;
                extensions.records.read(&bytes, Scope::Global)?;
            }
        }
        Ok(true)
    }

    fn entry(&mut self, header: &Header, path: &[u8], mut extensions: Extensions) -> Result<Entry> {
        let linkname = |extensions: &mut Extensions| {
            let long = extensions.records.linkpath.take().or(extensions.gnu_link.take());
            let target = long.unwrap_or_else(|| header::text(&header.linkname).to_vec());
            match target.is_empty() || target.contains(&0) {
                true => Err(Error::bad_input("its link target is empty or has a NUL")),
                false => Ok(target),
            }
        };
        let content = match header.typeflag {
            typeflag::HARD_LINK => return linkname(&mut extensions).map(Entry::HardLink),
            typeflag::FILE | typeflag::FILE_V7 if path.ends_with(b"/") => {
                self.stored(header, &extensions.records)?;
                Content::Directory
            }
            typeflag::FILE | typeflag::FILE_V7 | typeflag::CONTIGUOUS => Content::File(self.file(header, &extensions.records)?),
            typeflag::GNU_SPARSE => Content::File(self.gnu_sparse(header, &extensions.records)?),
            typeflag::SYMLINK => Content::Symlink(linkname(&mut extensions)?),
            typeflag::CHARACTER_DEVICE => Content::CharacterDevice(device(header, &extensions.records)?),
            typeflag::BLOCK_DEVICE => Content::BlockDevice(device(header, &extensions.records)?),
            typeflag::DIRECTORY => Content::Directory,
            typeflag::FIFO => Content::Fifo,
            other => {
                let what = format!("its type is '{}', which no file system holds", other.escape_ascii());
                return Err(Error::unsupported(what).hint("make the archive without volume labels, multi-volume and incremental options"));
            }
        };
        self.inode(header, content, extensions.records).map(Entry::Inode)
    }

    /// The bytes of a member that are in the archive. Only files have any, whatever the size of others says.
    fn stored(&mut self, header: &Header, records: &Records) -> Result<Blob> {
        let len = records.size.map_or_else(|| u64_field("size", &header.size), Ok)?;
        self.content(len)
    }

    fn file(&mut self, header: &Header, records: &Records) -> Result<Blob> {
        let stored = self.stored(header, records)?;
        let sparse = &records.sparse;
        if sparse.is_used() { sparse::expand(sparse, &stored) } else { Ok(stored) }
    }

    fn gnu_sparse(&mut self, header: &Header, records: &Records) -> Result<Blob> {
        let tail = header.gnu_tail();
        let size = u64_field("real size", &tail.real_size)?;
        let mut map = sparse::Map::default();
        map.push_gnu(&tail.segments)?;
        let mut is_extended = tail.is_extended != 0;
        while is_extended {
            self.content(BLOCK)?;
            let block = self.blocks.read(self.at - BLOCK)?;
            let block = GnuSparseBlock::read_from_bytes(&block).map_err(|_| Error::bad_input("a sparse map block has 512 bytes"))?;
            is_extended = map.push_gnu(&block.segments)? && block.is_extended != 0;
        }
        map.lay_out(&self.stored(header, records)?, size)
    }

    fn inode(&mut self, header: &Header, content: Content, mut records: Records) -> Result<Inode> {
        let (mtime, mtime_nanos) = match records.mtime {
            Some(time) => time,
            None => (field("mtime", &header.mtime)?, 0),
        };
        let mode = field("mode", &header.mode)? & 0o7777;
        Ok(Inode {
            content,
            mode: number_u32("mode", mode)?,
            uid: number_u32("uid", records.uid.map_or_else(|| field("uid", &header.uid), Ok)?)?,
            gid: number_u32("gid", records.gid.map_or_else(|| field("gid", &header.gid), Ok)?)?,
            mtime,
            mtime_nanos,
            xattrs: records.take_xattrs(),
            origin: self.origin(records),
        })
    }

    /// One `Origin` for all entries of a component.
    fn origin(&mut self, records: Records) -> Option<Arc<Origin>> {
        let (source, location) = (records.linuxkit_source, records.linuxkit_location);
        if source.is_none() && location.is_none() {
            return None;
        }
        let origin = Origin { source: source.unwrap_or_default(), location: location.unwrap_or_default() };
        if let Some(known) = self.origins.get(&origin) {
            return Some(known.clone());
        }
        let origin = Arc::new(origin);
        self.origins.insert(origin.clone());
        Some(origin)
    }
}

/// The path that extension headers give.
fn path_of(extensions: &mut Extensions) -> Option<Vec<u8>> {
    let records = &mut extensions.records;
    records.sparse.name.take().or(records.path.take()).or(extensions.gnu_path.take())
}

fn device(header: &Header, records: &Records) -> Result<Device> {
    let major = records.devmajor.map_or_else(|| field("devmajor", &header.devmajor), Ok)?;
    let minor = records.devminor.map_or_else(|| field("devminor", &header.devminor), Ok)?;
    Ok(Device { major: number_u32("devmajor", major)?, minor: number_u32("devminor", minor)? })
}

pub(super) fn field(name: &str, field: &[u8]) -> Result<i64> {
    header::number(field).ok_or_else(|| Error::bad_input(format!("its {name} is '{}', must be an octal number", field.escape_ascii())))
}

pub(super) fn u64_field(name: &str, bytes: &[u8]) -> Result<u64> {
    let value = field(name, bytes)?;
    u64::try_from(value).map_err(|_| Error::bad_input(format!("its {name} is {value}, must not be negative")))
}

fn number_u32(name: &str, value: i64) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::bad_input(format!("its {name} is {value}, must be from 0 to 4294967295")))
}

/// Blocks of the archive through a window, so that small members do not cost a system call each.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    archive: &'a Blob,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(archive: &'a Blob) -> Self {
        Self { archive, start: 0, bytes: Vec::new() }
    }

    /// `len` bytes from `at` on, which with their padding are inside the archive and few.
    fn bytes(&mut self, at: u64, len: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(units::index(len));
        while units::bytes(bytes.len()) < len {
            let block = self.read(at + units::bytes(bytes.len()))?;
            bytes.extend_from_slice(&block[..block.len().min(units::index(len) - bytes.len())]);
        }
        Ok(bytes)
    }

    /// Sees that an archive ends at a block of zeros: with another one, or at its last byte.
    pub(super) fn end(&mut self, at: u64) -> Result<()> {
        if self.archive.len() - at >= 2 * BLOCK && self.read(at + BLOCK)? != [0; 512] {
            let found = format!("there is a single block of zeros at byte {at}, two must end an archive");
            return Err(Error::bad_input(found).hint("it is damaged, or several archives were joined"));
        }
        Ok(())
    }

    pub(super) fn read(&mut self, at: u64) -> Result<[u8; 512]> {
        let end = self.start + units::bytes(self.bytes.len());
        if at < self.start || at + BLOCK > end {
            // Far from the last one there was a large member, and there will be another: read less.
            let is_near = at >= self.start && at < end + READ_AHEAD;
            let len = if is_near { READ_AHEAD } else { 4 * units::KIB };
            let len = len.min(self.archive.len() - at);
            self.bytes.resize(units::index(len), 0);
            self.start = at;
            self.archive.read_at(at, &mut self.bytes)?;
        }
        let from = units::index(at - self.start);
        let mut block = [0; 512];
        block.copy_from_slice(&self.bytes[from..from + 512]);
        Ok(block)
    }
}
