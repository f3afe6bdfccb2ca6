//! Writing: headers in memory, contents referred to.

use super::{
    BLOCK,
    header::{self, GnuSegment, GnuSparseBlock, GnuTail, Header, OLD_GNU, USTAR, typeflag},
    pax, place,
};
use crate::{
    At, Blob, Error, Result, Tree,
    tree::{Content, Inode, ShowPath},
    units,
};
use zerocopy::{FromZeros, IntoBytes};

/// What an archive may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// ustar, with a PAX header for what does not fit: everything that a tree holds.
    Pax,
    /// ustar alone. What does not fit is refused, nanoseconds and LinuxKit's records are left out.
    Ustar,
    /// The old format of GNU tar (`--format=oldgnu`); files with gaps are written as its sparse files. Extended attributes are
    /// refused, nanoseconds and LinuxKit's records are left out.
    OldGnu,
}

/// Makes an archive. The same calls make the same bytes.
#[derive(Debug)]
pub struct Writer {
    dialect: Dialect,
    archive: Blob,
}

impl Writer {
    /// An archive without members.
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, archive: Blob::default() }
    }

    /// Adds an entry for an inode.
    ///
    /// # Errors
    /// When the dialect cannot hold it; the error names the entry.
    pub fn add(&mut self, path: &[u8], inode: &Inode) -> Result<()> {
        self.entry(path, inode).at(|| place(path))
    }

    /// Adds a second name for an inode that has the name `target` in this archive.
    ///
    /// # Errors
    /// As [`Writer::add`].
    pub fn hard_link(&mut self, path: &[u8], target: &[u8], inode: &Inode) -> Result<()> {
        self.member(path, typeflag::HARD_LINK, target, inode, &Blob::default()).at(|| place(path))
    }

    /// Adds every name of a tree, parents first; the root directory, too, as `./`.
    ///
    /// # Errors
    /// As [`Writer::add`].
    pub fn tree(&mut self, tree: &Tree) -> Result<()> {
        self.add(b".", &tree.inodes[0])?;
        let mut first_name: Vec<Option<&[u8]>> = vec![None; tree.inodes.len()];
        for name in &tree.names {
            let inode = &tree.inodes[name.inode];
            match first_name[name.inode] {
                Some(target) => self.hard_link(&name.path, target, inode)?,
                None => self.add(&name.path, inode)?,
            }
            first_name[name.inode].get_or_insert(&name.path);
        }
        Ok(())
    }

    /// The archive, with its two blocks of zeros.
    pub fn finish(mut self) -> Blob {
        self.archive.append(&Blob::zeros(2 * BLOCK));
        self.archive
    }

    fn entry(&mut self, path: &[u8], inode: &Inode) -> Result<()> {
        let none = Blob::default();
        match &inode.content {
            Content::Directory => self.member(&[path, b"/"].concat(), typeflag::DIRECTORY, b"", inode, &none),
            Content::Symlink(target) => self.member(path, typeflag::SYMLINK, target, inode, &none),
            Content::CharacterDevice(_) => self.member(path, typeflag::CHARACTER_DEVICE, b"", inode, &none),
            Content::BlockDevice(_) => self.member(path, typeflag::BLOCK_DEVICE, b"", inode, &none),
            Content::Fifo => self.member(path, typeflag::FIFO, b"", inode, &none),
            Content::File(blob) if self.dialect == Dialect::OldGnu && segments(blob) != [(0, blob.len())] && !blob.is_empty() => {
                self.member(path, typeflag::GNU_SPARSE, b"", inode, blob)
            }
            Content::File(blob) => self.member(path, typeflag::FILE, b"", inode, blob),
        }
    }

    fn member(&mut self, path: &[u8], typeflag: u8, target: &[u8], inode: &Inode, content: &Blob) -> Result<()> {
        let mut draft = Draft::new(self.dialect, typeflag);
        draft.set_path(path)?;
        draft.set_target(target)?;
        draft.set_attributes(inode)?;
        let (map, stored) = if typeflag == typeflag::GNU_SPARSE { draft.set_sparse(content)? } else { (Vec::new(), content.clone()) };
        draft.set_size(stored.len())?;
        self.archive.append(&Blob::bytes(draft.finish(path, map)));
        self.archive.append(&stored);
        self.archive.pad_to(BLOCK);
        Ok(())
    }
}

/// A header in the making, and what does not fit into it.
struct Draft {
    dialect: Dialect,
    header: Header,
    /// PAX records.
    records: Vec<u8>,
    /// GNU headers `L` and `K` with their contents.
    long: Vec<u8>,
}

impl Draft {
    fn new(dialect: Dialect, typeflag: u8) -> Self {
        let magic = if dialect == Dialect::OldGnu { OLD_GNU } else { USTAR };
        Self { dialect, header: empty_header(magic, typeflag), records: Vec::new(), long: Vec::new() }
    }

    fn set_path(&mut self, path: &[u8]) -> Result<()> {
        refuse_nul(path)?;
        let header = &mut self.header;
        if fill(&mut header.name, path) {
            return Ok(());
        }
        if self.dialect != Dialect::OldGnu
            && let Some((prefix, name)) = split_path(path)
        {
            // Both fit: that is how it was split.
            fill(&mut header.prefix, prefix);
            fill(&mut header.name, name);
            return Ok(());
        }
        self.set_long(b"path", typeflag::GNU_PATH, path)
    }

    fn set_target(&mut self, target: &[u8]) -> Result<()> {
        refuse_nul(target)?;
        if fill(&mut self.header.linkname, target) { Ok(()) } else { self.set_long(b"linkpath", typeflag::GNU_LINK, target) }
    }

    /// A path that does not fit its field, whose begin stays there for readers that know no better.
    fn set_long(&mut self, keyword: &[u8], gnu: u8, path: &[u8]) -> Result<()> {
        let field = if gnu == typeflag::GNU_PATH { &mut self.header.name } else { &mut self.header.linkname };
        let (begin, _) = path.split_at(field.len());
        field.copy_from_slice(begin);
        match self.dialect {
            Dialect::Ustar => {
                let what = String::from_utf8_lossy(keyword);
                return Err(Error::unsupported(format!(
                    "its {what} of {} bytes does not fit a ustar header: {}",
                    path.len(),
                    ShowPath(path)
                )));
            }
            Dialect::Pax => {
                if std::str::from_utf8(path).is_err() && self.records.is_empty() {
                    pax::write_record(&mut self.records, b"hdrcharset", b"BINARY");
                }
                pax::write_record(&mut self.records, keyword, path);
            }
            Dialect::OldGnu => {
                let with_nul = [path, b"\0"].concat();
                self.long.extend(extension(OLD_GNU, gnu, b"././@LongLink", &with_nul));
            }
        }
        Ok(())
    }

    fn set_attributes(&mut self, inode: &Inode) -> Result<()> {
        let mode = i64::from(inode.mode & 0o7777);
        self.number(|header| &mut header.mode, "mode", mode)?;
        self.number(|header| &mut header.uid, "uid", inode.uid.into())?;
        self.number(|header| &mut header.gid, "gid", inode.gid.into())?;
        self.set_mtime(inode)?;
        if let Content::CharacterDevice(device) | Content::BlockDevice(device) = &inode.content {
            self.number(|header| &mut header.devmajor, "SCHILY.devmajor", device.major.into())?;
            self.number(|header| &mut header.devminor, "SCHILY.devminor", device.minor.into())?;
        }
        if self.dialect != Dialect::Pax {
            return match inode.xattrs.first() {
                Some((name, _)) => Err(Error::unsupported(format!(
                    "its extended attribute {} has no place in this tar dialect, it needs PAX headers",
                    ShowPath(name)
                ))),
                None => Ok(()),
            };
        }
        for (name, value) in &inode.xattrs {
            pax::write_record(&mut self.records, &pax::xattr_keyword(name), value);
        }
        if let Some(origin) = &inode.origin {
            pax::write_record(&mut self.records, b"LINUXKIT.location", origin.location.as_bytes());
            pax::write_record(&mut self.records, b"LINUXKIT.source", origin.source.as_bytes());
        }
        Ok(())
    }

    fn set_mtime(&mut self, inode: &Inode) -> Result<()> {
        if self.dialect == Dialect::Pax && inode.mtime_nanos != 0 {
            let time = pax::show_time(inode.mtime, inode.mtime_nanos);
            pax::write_record(&mut self.records, b"mtime", time.as_bytes());
            // For readers that know no better; it stays 0 where it does not fit.
            let _: bool = header::set_octal(&mut self.header.mtime, inode.mtime);
            return Ok(());
        }
        self.number(|header| &mut header.mtime, "mtime", inode.mtime)
    }

    fn set_size(&mut self, size: u64) -> Result<()> {
        let size = i64::try_from(size).map_err(|_| Error::unsupported(format!("its size is {size}, must be below 2^63")))?;
        self.number(|header| &mut header.size, "size", size)
    }

    /// Writes a number in octal, or as its dialect does where it does not fit. `keyword` is its PAX record's.
    fn number<const N: usize>(&mut self, field: impl Fn(&mut Header) -> &mut [u8; N], keyword: &str, value: i64) -> Result<()> {
        let field = field(&mut self.header);
        let fits = match self.dialect {
            Dialect::OldGnu => header::set_octal_or_base_256(field, value),
            Dialect::Pax | Dialect::Ustar => header::set_octal(field, value),
        };
        match (fits, self.dialect) {
            (true, _) => Ok(()),
            (false, Dialect::Pax) => {
                pax::write_record(&mut self.records, keyword.as_bytes(), value.to_string().as_bytes());
                Ok(())
            }
            (false, _) => Err(Error::unsupported(format!("its {keyword} {value} does not fit this tar dialect, it needs PAX headers"))),
        }
    }

    /// Makes it a sparse file; gives the blocks of its map that stand behind the header, and the data.
    fn set_sparse(&mut self, content: &Blob) -> Result<(Vec<u8>, Blob)> {
        let mut segments = segments(content);
        let mut stored = Blob::default();
        for (offset, len) in &segments {
            stored.append(&content.slice(*offset..offset + len));
        }
        if segments.last().is_none_or(|(offset, len)| offset + len < content.len()) {
            // A gap at the end is marked by an empty segment.
            segments.push((content.len(), 0));
        }
        let segments = segments.into_iter().map(|(offset, len)| gnu_segment(offset, len)).collect::<Result<Vec<_>>>()?;
        let mut tail = GnuTail::new_zeroed();
        let (first, rest) = segments.split_at(segments.len().min(tail.segments.len()));
        tail.segments[..first.len()].copy_from_slice(first);
        tail.is_extended = u8::from(!rest.is_empty());
        tail.real_size = gnu_number(content.len())?;
        self.header.set_gnu_tail(&tail);
        let mut map = Vec::new();
        let mut blocks = rest.chunks(21).peekable();
        while let Some(segments) = blocks.next() {
            let mut block = GnuSparseBlock::new_zeroed();
            block.segments[..segments.len()].copy_from_slice(segments);
            block.is_extended = u8::from(blocks.peek().is_some());
            map.extend_from_slice(block.as_bytes());
        }
        Ok((map, stored))
    }

    /// All headers of the member, in order.
    fn finish(mut self, path: &[u8], map: Vec<u8>) -> Vec<u8> {
        let mut bytes = self.long;
        if !self.records.is_empty() {
            let base = path.split(|byte| *byte == b'/').rfind(|name| !name.is_empty()).unwrap_or(b".");
            let mut name = [b"PaxHeaders/", base].concat();
            name.truncate(100);
            bytes.extend(extension(USTAR, typeflag::PAX, &name, &self.records));
        }
        self.header.seal();
        bytes.extend_from_slice(self.header.as_bytes());
        bytes.extend(map);
        bytes
    }
}

/// A header whose numbers are all 0.
fn empty_header(magic: [u8; 8], typeflag: u8) -> Header {
    let mut header = Header { magic, typeflag, ..Header::new_zeroed() };
    let Header { mode, uid, gid, devmajor, devminor, .. } = &mut header;
    for field in [mode, uid, gid, devmajor, devminor] {
        *field = *b"0000000\0";
    }
    header.size = *b"00000000000\0";
    header.mtime = header.size;
    header
}

/// An extension header and its content.
fn extension(magic: [u8; 8], typeflag: u8, name: &[u8], content: &[u8]) -> Vec<u8> {
    let mut header = empty_header(magic, typeflag);
    fill(&mut header.name, name);
    header.mode = *b"0000644\0";
    let fits = i64::try_from(content.len()).is_ok_and(|len| header::set_octal(&mut header.size, len));
    assert!(fits, "records and paths stay below 8 GiB");
    header.seal();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(units::index(BLOCK)), 0);
    bytes
}

/// Puts text into a field; `false` when it is too long.
fn fill(field: &mut [u8], text: &[u8]) -> bool {
    match field.get_mut(..text.len()) {
        Some(place) => {
            place.copy_from_slice(text);
            true
        }
        None => false,
    }
}

/// Splits a path at a `/` so that both parts fit `prefix` and `name`, and neither is empty.
pub(super) fn split_path(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let cut = (1..path.len().saturating_sub(1)).rev().find(|at| path[*at] == b'/' && *at <= 155)?;
    let (prefix, name) = (&path[..cut], &path[cut + 1..]);
    (name.len() <= 100).then_some((prefix, name))
}

fn refuse_nul(path: &[u8]) -> Result<()> {
    match path.contains(&0) {
        true => Err(Error::bad_input(format!("the path or link target {} has a NUL", ShowPath(path)))),
        false => Ok(()),
    }
}

/// Runs of whole 4 KiB that hold data, clipped to the end: offset and length.
fn segments(blob: &Blob) -> Vec<(u64, u64)> {
    const UNIT: u64 = 4 * units::KIB;
    let runs = blob.data_units(UNIT).map(|run| (run.start * UNIT, (run.end * UNIT).min(blob.len()) - run.start * UNIT));
    runs.collect()
}

fn gnu_segment(offset: u64, len: u64) -> Result<GnuSegment> {
    Ok(GnuSegment { offset: gnu_number(offset)?, len: gnu_number(len)? })
}

fn gnu_number(value: u64) -> Result<[u8; 12]> {
    let mut field = [0; 12];
    let fits = i64::try_from(value).is_ok_and(|value| header::set_octal_or_base_256(&mut field, value));
    if fits { Ok(field) } else { Err(Error::unsupported(format!("a sparse file reaches to {value}, must stay below 2^63"))) }
}
