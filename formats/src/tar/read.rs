//! Reading: what the headers of an archive mean; contents are ranges of the archive.

use super::{
    BLOCK, Entry, Member,
    header::{self, GnuSparseBlock, Header, typeflag},
    headers::{Extensions, Headers, Step},
    pax::{Records, Scope},
    place, sparse,
    warnings::Warnings,
};
use crate::{
    At, Blob, Error, Result,
    tree::{Content, Device, Inode, Origin},
    units,
};
use std::{collections::HashSet, sync::Arc};
use zerocopy::FromBytes;

/// Most bytes of the names of components: a build has some dozens.
const ORIGINS_MAX: u64 = 16 * units::MIB;

/// The members of an archive, front to back. Behind an error there are none.
#[derive(Debug)]
pub struct Members<'a> {
    headers: Headers<'a>,
    done: bool,
    global: Records,
    origins: HashSet<Arc<Origin>>,
    /// Bytes of these.
    origins_len: u64,
    warnings: Warnings,
}

impl Iterator for Members<'_> {
    type Item = Result<Member>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let member = self.member().transpose();
        self.done = !matches!(member, Some(Ok(_)));
        member
    }
}

impl<'a> Members<'a> {
    /// The members of an archive that is not compressed. One of no bytes has none.
    pub fn new(archive: &'a Blob) -> Self {
        Self {
            headers: Headers::new(archive),
            done: false,
            global: Records::default(),
            origins: HashSet::new(),
            origins_len: 0,
            warnings: Warnings::default(),
        }
    }

    /// What was odd about the archive up to here and is no error, for people: that it has no end, what of it is not kept.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.texts()
    }

    fn member(&mut self) -> Result<Option<Member>> {
        while let Some(step) = self.headers.step(&mut self.warnings)? {
            match step {
                Step::Global(name, records) => {
                    self.global.read(&records, Scope::Global, &mut self.warnings).at(|| place(&name))?;
                }
                Step::Entry(header, name, mut extensions) => {
                    let mut records = self.global.clone();
                    let own = std::mem::take(&mut extensions.records);
                    records.read(&own, Scope::Member, &mut self.warnings).at(|| place(&name))?;
                    let path = path_of(&mut records, &mut extensions).unwrap_or(name);
                    if let Some(entry) = self.entry(&header, &path, records, extensions).at(|| place(&path))? {
                        return Ok(Some(Member { path, entry }));
                    }
                }
            }
        }
        Ok(None)
    }

    /// What a header names; nothing where that is no file.
    fn entry(&mut self, header: &Header, path: &[u8], mut records: Records, extensions: Extensions) -> Result<Option<Entry>> {
        let gnu_link = extensions.link;
        let linkname = |records: &mut Records| {
            let long = records.linkpath.take().or(gnu_link);
            let target = long.unwrap_or_else(|| header::text(&header.linkname).to_vec());
            match target.is_empty() || target.contains(&0) {
                true => Err(Error::bad_input("its link target is empty or has a NUL")),
                false => Ok(target),
            }
        };
        let content = match header.typeflag {
            typeflag::HARD_LINK => {
                // Its other numbers are those of the first name, and so nobody's business.
                self.nothing_stored(header, &records)?;
                return linkname(&mut records).map(Entry::HardLink).map(Some);
            }
            typeflag::SYMLINK => Content::Symlink(linkname(&mut records)?),
            typeflag::CHARACTER_DEVICE => Content::CharacterDevice(device(header, &records)?),
            typeflag::BLOCK_DEVICE => Content::BlockDevice(device(header, &records)?),
            typeflag::DIRECTORY => Content::Directory,
            typeflag::FIFO => Content::Fifo,
            typeflag::GNU_DUMPDIR => {
                self.stored(header, &records)?;
                Content::Directory
            }
            typeflag::GNU_LABEL => return self.nothing_stored(header, &records).map(|()| None),
            typeflag::SUN_ACL => {
                self.warnings.lost("access control lists of Solaris (type 'A')");
                return self.stored(header, &records).map(|_| None);
            }
            typeflag::GNU_CONTINUED => {
                let what = "its type is 'M': it is the rest of a file that begins in the volume before";
                return Err(Error::unsupported(what).hint("make the archive without the multi-volume option"));
            }
            // Programs without a type for directories end their paths so, and some that have one, too.
            typeflag::FILE | typeflag::FILE_V7 | typeflag::CONTIGUOUS | typeflag::GNU_SPARSE if path.ends_with(b"/") => Content::Directory,
            typeflag::GNU_SPARSE if header.is_star() => {
                let what = "it is a sparse file in star's own format";
                return Err(Error::unsupported(what).hint("make the archive without the option for sparse files"));
            }
            typeflag::GNU_SPARSE if header.magic == header::OLD_GNU => Content::File(self.gnu_sparse(header, &records)?),
            other => {
                if !matches!(other, typeflag::FILE | typeflag::FILE_V7 | typeflag::CONTIGUOUS) {
                    self.warnings.unknown_type(other);
                }
                Content::File(self.file(header, &records)?)
            }
        };
        if !matches!(content, Content::File(_)) && header.typeflag != typeflag::GNU_DUMPDIR {
            self.nothing_stored(header, &records)?;
        }
        self.inode(header, content, records).map(Entry::Inode).map(Some)
    }

    /// The bytes of a member that are in the archive.
    fn stored(&mut self, header: &Header, records: &Records) -> Result<Blob> {
        let len = size(header, records)?;
        self.headers.content(len)
    }

    /// Takes what is stored of something that has no content, whatever the header says; a record of it is taken at its word.
    fn nothing_stored(&mut self, header: &Header, records: &Records) -> Result<()> {
        match records.size {
            Some(len) => self.headers.content(len).map(drop),
            None if header.typeflag == typeflag::HARD_LINK => self.headers.no_content(size(header, records).unwrap_or_default()),
            None => self.headers.no_content(size(header, records)?),
        }
    }

    fn file(&mut self, header: &Header, records: &Records) -> Result<Blob> {
        let stored = self.stored(header, records)?;
        let sparse = &records.sparse;
        if sparse.is_used() { sparse::expand(sparse, &stored) } else { Ok(stored) }
    }

    fn gnu_sparse(&mut self, header: &Header, records: &Records) -> Result<Blob> {
        let tail = header.gnu_tail();
        let size = header::unsigned("real size", &tail.real_size)?;
        let mut map = sparse::Map::default();
        map.push_gnu(&tail.segments)?;
        let mut is_extended = tail.is_extended != 0;
        while is_extended {
            let block = self.headers.content(BLOCK)?.read_array::<512>(0)?;
            let block = GnuSparseBlock::read_from_bytes(&block).map_err(|_| Error::bad_input("a sparse map block has 512 bytes"))?;
            is_extended = map.push_gnu(&block.segments)? && block.is_extended != 0;
        }
        map.lay_out(&self.stored(header, records)?, size)
    }

    fn inode(&mut self, header: &Header, content: Content, mut records: Records) -> Result<Inode> {
        let (mtime, mtime_nanos) = match records.mtime {
            Some(time) => time,
            None => (header::signed("mtime", &header.mtime)?, 0),
        };
        let mode = header::signed("mode", &header.mode)? & 0o7777;
        Ok(Inode {
            content,
            mode: number_u32("mode", mode)?,
            uid: number_u32("uid", records.uid.map_or_else(|| header::signed("uid", &header.uid), Ok)?)?,
            gid: number_u32("gid", records.gid.map_or_else(|| header::signed("gid", &header.gid), Ok)?)?,
            mtime,
            mtime_nanos,
            xattrs: records.take_xattrs(&mut self.warnings),
            origin: self.origin(records)?,
        })
    }

    /// One `Origin` for all entries of a component.
    fn origin(&mut self, records: Records) -> Result<Option<Arc<Origin>>> {
        let (source, location) = (records.linuxkit_source, records.linuxkit_location);
        if source.is_none() && location.is_none() {
            return Ok(None);
        }
        let origin = Origin { source: source.unwrap_or_default(), location: location.unwrap_or_default() };
        if let Some(known) = self.origins.get(&origin) {
            return Ok(Some(known.clone()));
        }
        self.origins_len += units::bytes(origin.source.len() + origin.location.len());
        if self.origins_len > ORIGINS_MAX {
            return Err(Error::bad_input(format!("the names of components have more than {ORIGINS_MAX} bytes together")));
        }
        let origin = Arc::new(origin);
        self.origins.insert(origin.clone());
        Ok(Some(origin))
    }
}

/// The path that extension headers give.
fn path_of(records: &mut Records, extensions: &mut Extensions) -> Option<Vec<u8>> {
    records.sparse.name.take().or(records.path.take()).or(extensions.path.take())
}

fn size(header: &Header, records: &Records) -> Result<u64> {
    records.size.map_or_else(|| header::unsigned("size", &header.size), Ok)
}

fn device(header: &Header, records: &Records) -> Result<Device> {
    // v7 has no such fields.
    let number = |name, field| if header.is_v7() { Ok(0) } else { header::signed(name, field) };
    let major = records.devmajor.map_or_else(|| number("devmajor", &header.devmajor), Ok)?;
    let minor = records.devminor.map_or_else(|| number("devminor", &header.devminor), Ok)?;
    Ok(Device { major: number_u32("devmajor", major)?, minor: number_u32("devminor", minor)? })
}

fn number_u32(name: &str, value: i64) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::bad_input(format!("its {name} is {value}, must be from 0 to 4294967295")))
}
