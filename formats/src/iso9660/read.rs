//! Reading a volume back as a [`Tree`]: with RRIP's names and attributes where it has them, else with Joliet's names, else with its own in
//! small letters, as Linux shows them.
//!
//! Whatever a volume claims, its directories are read once each, and no more of them than [`DIRECTORIES_MAX`] and [`RECORDS_MAX`] allow.
//! Refused: interleaved files, and what zisofs compressed.

use super::{
    BLOCK, SYSTEM_AREA,
    descriptor::STANDARD_IDENTIFIER,
    record::{Fixed, flags},
    susp::{self, Attributes},
};
use crate::{
    At, Blob, Error, Result,
    dump::Dump,
    tree::{Builder, Content, Inode, ShowPath, Tree},
    units::{self, MIB},
};
use std::collections::{HashMap, HashSet};
use zerocopy::FromBytes;

/// The most bytes of directories that are read.
const DIRECTORIES_MAX: u64 = 256 * MIB;
/// The most records in them.
const RECORDS_MAX: usize = 4 << 20;
/// The most descriptors that are looked at.
const DESCRIPTORS_MAX: u64 = 64;
/// What a file or directory without RRIP is allowed: what Linux says of such.
const FILE_MODE: u32 = 0o444;
const DIRECTORY_MODE: u32 = 0o555;

/// Whether a file begins like a volume.
///
/// # Errors
/// When it cannot be read.
pub fn probe(file: &Blob) -> Result<bool> {
    Ok(file.len() >= SYSTEM_AREA + BLOCK && file.read_array(SYSTEM_AREA + 1)? == STANDARD_IDENTIFIER)
}

/// What is in a volume. Bodies are ranges of it.
///
/// # Errors
/// When it is damaged, or holds what is refused; the error names the directory or file.
pub fn read(volume: &Blob) -> Result<Tree> {
    let roots = roots(volume)?;
    let mut primary = Extent::of(&roots.primary)?;
    let record = primary.records(volume)?.into_iter().next().ok_or_else(|| malformed("the root directory is empty"))?;
    let susp = susp::start(&record.system_use);
    let names = match (&roots.joliet, susp) {
        (_, Some(skip)) => Names::RockRidge { skip },
        (Some(joliet), None) => {
            primary = Extent::of(joliet)?;
            Names::Joliet
        }
        (None, None) => Names::Plain,
    };
    let reader = Reader {
        volume,
        names,
        builder: Builder::default(),
        seen: HashSet::new(),
        bytes: 0,
        records: 0,
        emptied: HashSet::new(),
        firsts: HashMap::new(),
    };
    reader.read(primary)
}

/// Lists what the descriptors say and where each file is, for golden files.
///
/// # Errors
/// As [`read`].
pub fn dump(volume: &Blob, to: &mut Dump) -> Result<()> {
    let text =
        |at: u64| -> Result<String> { Ok(volume.read_array::<32>(SYSTEM_AREA + at)?.escape_ascii().to_string().trim_end().to_owned()) };
    let number = |at: u64| -> Result<u32> { Ok(u32::from_le_bytes(volume.read_array(SYSTEM_AREA + at)?)) };
    let (system, identifier, application) = (text(8)?, text(40)?, text(574)?);
    let (blocks, path_table, root) = (number(80)?, number(132)?, number(158)?);
    to.section("primary descriptor", |to| {
        to.field("system identifier", system);
        to.field("volume identifier", identifier);
        to.field("application identifier", application);
        to.field("blocks", blocks);
        to.field("path table bytes", path_table);
        to.field("root directory", format_args!("block {root}"));
    });
    if volume.read_array(SYSTEM_AREA + BLOCK + 7)? == *b"EL TORITO SPECIFICATION" {
        let catalog = u64::from(u32::from_le_bytes(volume.read_array(SYSTEM_AREA + BLOCK + 71)?)) * BLOCK;
        let entries: Vec<[u8; 32]> = (0..4).map(|nth| volume.read_array(catalog + 32 * nth)).collect::<Result<_>>()?;
        to.section("boot catalog", |to| {
            for entry in entries.iter().filter(|entry| **entry != [0; 32]) {
                to.field("entry", entry[..12].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "));
            }
        });
    }
    let tree = read(volume)?;
    to.section("files", |to| {
        for name in &tree.names {
            let inode = &tree.inodes[name.inode];
            let what = match &inode.content {
                Content::File(body) => format!("{} bytes", body.len()),
                Content::Symlink(target) => format!("-> {}", ShowPath(target)),
                Content::CharacterDevice(device) | Content::BlockDevice(device) => format!("{}:{}", device.major, device.minor),
                Content::Directory | Content::Fifo => String::new(),
            };
            let mode = inode.content.type_bits() | inode.mode;
            to.field(&ShowPath(&name.path).to_string(), format_args!("{mode:o} {}:{} {} {what}", inode.uid, inode.gid, inode.mtime));
        }
    });
    Ok(())
}

/// Root directory records of the primary descriptor and of Joliet's.
struct Roots {
    primary: Fixed,
    joliet: Option<Fixed>,
}

fn roots(volume: &Blob) -> Result<Roots> {
    /// Where the root directory's record and the escape sequences stand in a descriptor (8.4, 8.5).
    const ROOT: u64 = 156;
    const ESCAPES: u64 = 88;
    const BLOCK_SIZE: u64 = 128;
    let (mut primary, mut joliet) = (None, None);
    for nth in 0..DESCRIPTORS_MAX {
        let at = SYSTEM_AREA + nth * BLOCK;
        if at + BLOCK > volume.len() {
            break;
        }
        let [kind, identifier @ ..]: [u8; 6] = volume.read_array(at)?;
        if identifier != STANDARD_IDENTIFIER || kind == 255 {
            break;
        }
        let root = || Ok::<_, Error>(Fixed::from(volume.read_array(at + ROOT)?));
        match kind {
            1 if primary.is_none() => {
                let size = u16::from_le_bytes(volume.read_array(at + BLOCK_SIZE)?);
                if u64::from(size) != BLOCK {
                    return Err(Error::unsupported(format!("its logical blocks have {size} bytes, {BLOCK} are read")));
                }
                primary = Some(root()?);
            }
            2 if matches!(volume.read_array(at + ESCAPES)?, [b'%', b'/', b'@' | b'C' | b'E']) => joliet = Some(root()?),
            _ => {}
        }
    }
    Ok(Roots { primary: primary.ok_or_else(|| malformed("there is no primary volume descriptor"))?, joliet })
}

fn malformed(what: impl Into<String>) -> Error {
    Error::bad_input(what)
}

/// Where names come from.
#[derive(Clone, Copy)]
enum Names {
    /// System use entries begin behind so many bytes.
    RockRidge {
        skip: usize,
    },
    Joliet,
    Plain,
}

/// A piece of the volume.
#[derive(Clone, Copy)]
struct Extent {
    block: u64,
    len: u64,
}

impl Extent {
    fn of(record: &Fixed) -> Result<Self> {
        if record.file_unit_size != 0 || record.interleave_gap_size != 0 {
            return Err(Error::unsupported("a file is interleaved"));
        }
        // Behind an extended attribute record, which has whole blocks (9.5).
        let block = u64::from(record.extent.get()) + u64::from(record.extended_attribute_length);
        Ok(Self { block, len: record.data_length.get().into() })
    }

    fn body(&self, volume: &Blob) -> Result<Blob> {
        let start = self.block * BLOCK;
        match start + self.len {
            end if end <= volume.len() => Ok(volume.slice(start..end)),
            end => Err(malformed(format!("its content would end at byte {end}, the volume ends at {}", volume.len()))),
        }
    }

    /// The records of a directory, in order.
    fn records(&self, volume: &Blob) -> Result<Vec<Record>> {
        let bytes = self.body(volume)?.to_vec(DIRECTORIES_MAX)?;
        let mut records = Vec::new();
        // No record crosses a block; zeros fill it up (6.8.1.1).
        for block in bytes.chunks(units::index(BLOCK)) {
            let mut rest = block;
            while let Some(len @ 1..) = rest.first().map(|len| usize::from(*len)) {
                let Some((record, behind)) = rest.split_at_checked(len) else {
                    return Err(malformed("a directory record crosses a block"));
                };
                records.push(Record::parse(record)?);
                rest = behind;
            }
        }
        Ok(records)
    }
}

/// A directory record.
struct Record {
    fixed: Fixed,
    identifier: Vec<u8>,
    system_use: Vec<u8>,
}

impl Record {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let short = || malformed(format!("a directory record of {} bytes is too short for what it says", bytes.len()));
        let (fixed, rest) = Fixed::read_from_prefix(bytes).map_err(|_| short())?;
        let (identifier, rest) = rest.split_at_checked(usize::from(fixed.identifier_length)).ok_or_else(short)?;
        // A padding byte makes the system use field begin at an even place.
        let padding = usize::from(identifier.len().is_multiple_of(2)).min(rest.len());
        Ok(Self { fixed, identifier: identifier.to_vec(), system_use: rest[padding..].to_vec() })
    }

    /// Whether it is the directory's record of itself or of its parent.
    fn is_dot(&self) -> bool {
        matches!(self.identifier.as_slice(), [0 | 1])
    }

    fn is_directory(&self) -> bool {
        self.fixed.flags & flags::DIRECTORY != 0
    }
}

struct Reader<'a> {
    volume: &'a Blob,
    names: Names,
    builder: Builder,
    /// Blocks of the directories that were read: one is read once, so no loop is followed.
    seen: HashSet<u64>,
    bytes: u64,
    records: usize,
    /// The directories from which every directory was moved elsewhere: the writer's own, which nobody put in.
    emptied: HashSet<Vec<u8>>,
    /// The first path of each file that has several.
    firsts: HashMap<Link, Vec<u8>>,
}

/// What names of one file have in common: the serial number, if RRIP gives one, the type, and the place of its content.
type Link = (Option<u32>, u32, u64, u64);

impl Reader<'_> {
    fn read(mut self, root: Extent) -> Result<Tree> {
        let mut pending = vec![(Vec::new(), root)];
        while let Some((path, extent)) = pending.pop() {
            let inside = self.directory(&path, extent).at(|| ShowPath(&path).to_string())?;
            pending.extend(inside);
        }
        let emptied = self.emptied;
        Ok(self.builder.finish().filter(|path| !emptied.contains(path)))
    }

    /// Takes in what a directory holds; the directories in it are left to do.
    fn directory(&mut self, path: &[u8], extent: Extent) -> Result<Vec<(Vec<u8>, Extent)>> {
        if !self.seen.insert(extent.block) {
            return Err(malformed("a directory stands in itself, or in two places"));
        }
        self.bytes = self.bytes.saturating_add(extent.len);
        if self.bytes > DIRECTORIES_MAX {
            return Err(Error::unsupported(format!("its directories have more than {}", units::show_size(DIRECTORIES_MAX))));
        }
        let records = extent.records(self.volume)?;
        self.records += records.len();
        if self.records > RECORDS_MAX {
            return Err(Error::unsupported(format!("it has more than {RECORDS_MAX} files")));
        }
        let mut inside = Vec::new();
        let (mut moved, mut others) = (false, false);
        let mut records = records.into_iter().peekable();
        while let Some(record) = records.next() {
            let attributes = self.attributes(&record)?;
            if record.is_dot() {
                // The root has no other record.
                if path.is_empty() && record.identifier == [0] {
                    self.builder.add(b"", inode(&record, &attributes, Content::Directory))?;
                }
                continue;
            }
            let mut sections = vec![Extent::of(&record.fixed)?];
            while records.peek().is_some_and(|_| record.fixed.flags & flags::MULTI_EXTENT != 0)
                && let Some(next) = records.next_if(|next| next.identifier == record.identifier)
            {
                sections.push(Extent::of(&next.fixed)?);
            }
            // A directory that was moved shows where it was, not where it is.
            if attributes.is_relocated {
                moved = true;
                continue;
            }
            others = true;
            let name = self.name(&record, &attributes);
            let child = if path.is_empty() { name } else { [path, b"/", &name].concat() };
            self.entry(&child, &record, &attributes, &sections, &mut inside).at(|| ShowPath(&child).to_string())?;
        }
        if moved && !others {
            self.emptied.insert(path.to_vec());
        }
        Ok(inside)
    }

    fn attributes(&self, record: &Record) -> Result<Attributes> {
        match self.names {
            Names::RockRidge { skip } => Attributes::read(self.volume, record.system_use.get(skip..).unwrap_or_default()),
            Names::Joliet | Names::Plain => Ok(Attributes::default()),
        }
    }

    fn name(&self, record: &Record, attributes: &Attributes) -> Vec<u8> {
        match &attributes.name {
            Some(name) => name.clone(),
            None if matches!(self.names, Names::Joliet) => {
                let units: Vec<u16> = record.identifier.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]])).collect();
                plain(String::from_utf16_lossy(&units).into_bytes())
            }
            None => plain(record.identifier.to_ascii_lowercase()),
        }
    }

    fn entry(
        &mut self,
        path: &[u8],
        record: &Record,
        attributes: &Attributes,
        sections: &[Extent],
        inside: &mut Vec<(Vec<u8>, Extent)>,
    ) -> Result<()> {
        let content = self.content(record, attributes, sections)?;
        if matches!(content, Content::Directory) {
            let extent = match attributes.child {
                None => sections[0],
                Some(block) => self.relocated(block.into())?,
            };
            inside.push((path.to_vec(), extent));
            return self.builder.add(path, inode(record, attributes, content));
        }
        if attributes.links > 1 {
            let (block, len) = match &content {
                Content::File(body) => (sections[0].block, body.len()),
                _ => (0, 0),
            };
            // Without a serial number, only content tells one file from another.
            if attributes.serial.is_some() || len > 0 {
                let link = (attributes.serial, content.type_bits(), block, len);
                if let Some(first) = self.firsts.get(&link) {
                    return self.builder.hard_link(path, first);
                }
                self.firsts.insert(link, path.to_vec());
            }
        }
        self.builder.add(path, inode(record, attributes, content))
    }

    /// Where a directory went (RRIP 4.1.5.1): the length is in its record of itself.
    fn relocated(&self, block: u64) -> Result<Extent> {
        let first = Extent { block, len: BLOCK }.records(self.volume)?;
        Extent::of(&first.first().ok_or_else(|| malformed("a moved directory is empty"))?.fixed)
    }

    fn content(&self, record: &Record, attributes: &Attributes, sections: &[Extent]) -> Result<Content> {
        if attributes.is_compressed {
            return Err(Error::unsupported("the file is compressed by zisofs"));
        }
        let device = attributes.device.unwrap_or_default();
        Ok(match attributes.mode.unwrap_or_default() & 0o170_000 {
            _ if attributes.child.is_some() || record.is_directory() => Content::Directory,
            0o120_000 => Content::Symlink(attributes.target.clone().unwrap_or_default()),
            0o020_000 => Content::CharacterDevice(device),
            0o060_000 => Content::BlockDevice(device),
            0o010_000 => Content::Fifo,
            _ => {
                let mut body = Blob::default();
                for section in sections {
                    // An empty file has no place.
                    if section.len > 0 {
                        body.append(&section.body(self.volume)?);
                    }
                }
                Content::File(body)
            }
        })
    }
}

fn inode(record: &Record, attributes: &Attributes, content: Content) -> Inode {
    let mode = if matches!(content, Content::Directory) { DIRECTORY_MODE } else { FILE_MODE };
    let mode = attributes.mode.unwrap_or(mode) & 0o7777;
    let mtime = attributes.mtime.unwrap_or_else(|| record.fixed.date.timestamp()).0;
    Inode { uid: attributes.uid, gid: attributes.gid, mtime, ..Inode::new(content, mode) }
}

/// A name without its version and without a dot that ends it (7.5.1).
fn plain(mut name: Vec<u8>) -> Vec<u8> {
    if let Some(at) = name.iter().rposition(|byte| *byte == b';')
        && name[at + 1..].iter().all(u8::is_ascii_digit)
    {
        name.truncate(at);
    }
    if name.last() == Some(&b'.') {
        name.pop();
    }
    name
}
