//! The grammar of an archive, the same for all who read one: extension headers, the header that they belong to, its content, the end.
//!
//! The last of several extension headers of one type counts. An archive ends at two blocks of zeros, at one that is its last, or where
//! nothing follows; only the first two say that it is whole. A single block of zeros with a header behind it ends nothing: nobody but the
//! writer knows why it is there, and what follows would be lost. What stands behind the end is not looked at.

use super::{
    BLOCK,
    header::{self, Header, typeflag},
    place,
    warnings::Warnings,
};
use crate::{At, Blob, Error, Result, units};
use zerocopy::FromBytes;

/// Most bytes of the PAX headers and GNU long names of one member, and of a global header.
pub(super) const EXTENSION_MAX: u64 = units::MIB;
/// How far headers that stand close together are read ahead.
const READ_AHEAD: u64 = 64 * units::KIB;

/// An archive, header by header.
#[derive(Debug)]
pub(super) struct Headers<'a> {
    archive: &'a Blob,
    /// What was read ahead, and where it begins.
    ahead: (u64, Vec<u8>),
    /// Where the next header is.
    at: u64,
    /// Whether the padding of a last content may be missing.
    lenient: bool,
    extensions: Extensions,
}

/// What comes next in an archive.
pub(super) enum Step {
    /// Records for all that follow: where the header says that they stand, and they.
    Global(Vec<u8>, Vec<u8>),
    /// The header of an entry, the path that it has by itself, and what stood before it. Its content is next.
    Entry(Box<Header>, Vec<u8>, Extensions),
}

/// What extension headers say about the entry behind them.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    /// PAX records.
    pub(super) records: Vec<u8>,
    /// GNU's long path.
    pub(super) path: Option<Vec<u8>>,
    /// GNU's long link target.
    pub(super) link: Option<Vec<u8>>,
    /// Bytes of their contents so far, whole blocks with their headers; 0 where there is none.
    len: u64,
}

impl<'a> Headers<'a> {
    /// An archive that is not compressed. One of no bytes has no headers.
    pub(super) fn new(archive: &'a Blob) -> Self {
        Self { archive, ahead: (0, Vec::new()), at: 0, lenient: false, extensions: Extensions::default() }
    }

    /// The same where the padding of the last content may be missing, as Go has it.
    pub(super) fn lenient(archive: &'a Blob) -> Self {
        Self { lenient: true, ..Self::new(archive) }
    }

    /// What comes next; nothing at the end. What is odd about it is noted.
    pub(super) fn step(&mut self, warnings: &mut Warnings) -> Result<Option<Step>> {
        while let Some(header) = self.header(warnings)? {
            let name = header.path();
            match header.typeflag {
                typeflag::PAX_GLOBAL => {
                    let records = self.extension(&header, 0).at(|| place(&name))?;
                    return Ok(Some(Step::Global(name, records)));
                }
                typeflag::PAX | typeflag::SUN_PAX | typeflag::GNU_PATH | typeflag::GNU_LINK => {
                    let bytes = self.extension(&header, self.extensions.len).at(|| place(&name))?;
                    let text = || Some(header::text(&bytes).to_vec());
                    self.extensions.len += BLOCK + units::bytes(bytes.len());
                    match header.typeflag {
                        typeflag::GNU_PATH => self.extensions.path = text(),
                        typeflag::GNU_LINK => self.extensions.link = text(),
                        _ => self.extensions.records = bytes,
                    }
                }
                _ => return Ok(Some(Step::Entry(Box::new(header), name, std::mem::take(&mut self.extensions)))),
            }
        }
        match self.extensions.len {
            0 => Ok(None),
            _ => Err(Error::bad_input(format!("the archive ends at byte {} behind an extended header: it is truncated", self.at))),
        }
    }

    /// The next header; nothing at the end.
    fn header(&mut self, warnings: &mut Warnings) -> Result<Option<Header>> {
        loop {
            let left = self.archive.len() - self.at;
            if left == 0 {
                warnings.no_end(self.at);
                return Ok(None);
            }
            if left < BLOCK {
                let found = format!("the archive ends at byte {}, {left} bytes into a header of 512", self.archive.len());
                return Err(Error::bad_input(found).hint("it is truncated, or not a tar"));
            }
            let block = self.block(self.at)?;
            if block != [0; 512] {
                let header = Header::read_from_bytes(&block).map_err(|_| Error::bad_input("a header has 512 bytes"))?;
                header.verify().map_err(|what| self.not_a_header(&what))?;
                self.at += BLOCK;
                return Ok(Some(header));
            }
            if left < 2 * BLOCK || self.block(self.at + BLOCK)? == [0; 512] {
                return Ok(None);
            }
            let goes_on = self.is_header(self.at + BLOCK)?;
            warnings.single_zeros(self.at, goes_on);
            if !goes_on {
                return Ok(None);
            }
            self.at += BLOCK;
        }
    }

    fn not_a_header(&self, what: &str) -> Error {
        if self.at == 0 {
            return Error::bad_input(format!("this is not a tar: {what}"));
        }
        Error::bad_input(format!("at byte {} there should be the header of an entry: {what}", self.at)).hint("the archive is damaged")
    }

    /// Whether there is a header here, or an end.
    fn is_header(&mut self, at: u64) -> Result<bool> {
        match self.archive.len().saturating_sub(at) {
            0 => Ok(at == self.archive.len()),
            1..BLOCK => Ok(false),
            _ => {
                let block = self.block(at)?;
                Ok(block == [0; 512] || Header::read_from_bytes(&block).is_ok_and(|header| header.verify().is_ok()))
            }
        }
    }

    /// The content of an extension header; `before` is how many bytes others of its entry have.
    fn extension(&mut self, header: &Header, before: u64) -> Result<Vec<u8>> {
        let len = header::unsigned("size", &header.size)?;
        let total = len.saturating_add(before);
        if total > EXTENSION_MAX {
            return Err(Error::bad_input(format!("its extended headers have {total} bytes, at most {EXTENSION_MAX} are taken")));
        }
        let start = self.at;
        self.content(len)?;
        let mut bytes = Vec::with_capacity(units::index(len));
        while units::bytes(bytes.len()) < len {
            let at = start + units::bytes(bytes.len());
            // Padding may be missing only behind all of it.
            let rest = units::index(len) - bytes.len();
            match self.archive.len() - at {
                left if left < BLOCK => bytes.extend(self.archive.slice(at..at + units::bytes(rest)).to_vec(BLOCK)?),
                _ => bytes.extend_from_slice(&self.block(at)?[..rest.min(512)]),
            }
        }
        Ok(bytes)
    }

    /// Takes `len` bytes of content and their padding.
    pub(super) fn content(&mut self, len: u64) -> Result<Blob> {
        let end = self.at.checked_add(len);
        let next = end.and_then(|end| units::round_up(end, BLOCK));
        let needed = if self.lenient { end } else { next };
        let has = self.archive.len();
        let (Some(end), Some(next), true) = (end, next, needed.is_some_and(|needed| needed <= has)) else {
            let needed = needed.map_or("more than 2^64".into(), |needed| needed.to_string());
            return Err(Error::bad_input(format!("it is truncated: it needs {needed} bytes of archive, there are {has}")));
        };
        let content = self.archive.slice(self.at..end);
        self.at = next.min(has);
        Ok(content)
    }

    /// Passes over what stands behind the header of something that has no content. Some programs write a size all the same (v7 that of the
    /// directory), and few of them bytes, too: those are there where no header follows at once, but one behind so many bytes.
    pub(super) fn no_content(&mut self, len: u64) -> Result<()> {
        let next = self.at.checked_add(len).and_then(|end| units::round_up(end, BLOCK)).unwrap_or(u64::MAX);
        if len > 0 && !self.is_header(self.at)? && self.is_header(next)? {
            self.at = next;
        }
        Ok(())
    }

    /// One block, through a window, so that small members do not cost a system call each.
    pub(super) fn block(&mut self, at: u64) -> Result<[u8; 512]> {
        let (start, bytes) = &mut self.ahead;
        let end = *start + units::bytes(bytes.len());
        if at < *start || at + BLOCK > end {
            // Far from the last one there was a large member, and there will be another: read less.
            let is_near = at >= *start && at < end + READ_AHEAD;
            let len = if is_near { READ_AHEAD } else { 4 * units::KIB };
            bytes.resize(units::index(len.min(self.archive.len() - at)), 0);
            *start = at;
            self.archive.read_at(at, bytes)?;
        }
        let from = units::index(at - *start);
        let mut block = [0; 512];
        block.copy_from_slice(&bytes[from..from + 512]);
        Ok(block)
    }
}
