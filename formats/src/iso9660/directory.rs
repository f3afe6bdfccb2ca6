//! Directories and path tables: ECMA-119, 6.8, 6.9 and 9.4.
//!
//! ```text
//!  L path table   M path table   root directory, its continuations   directory, its continuations   ...
//! ```
//! Directories stand in the order of the path table: by level, then by parent, then by identifier. Records do not cross
//! blocks. Each directory is encoded twice, the first time for its length alone: no value of a record changes a length.

use super::{
    BLOCK, SECTION_MAX, SECTIONS_MAX,
    identifier::{Identifiers, Names},
    narrow,
    record::{Record, ShortDate, flags},
    susp::{self, Continuations},
};
use crate::{
    Blob, Error, Result, Timestamp,
    error::At,
    tree::{self, Content, Inode, ShowPath, Tree},
    units,
};
use std::mem;

const ROOT: usize = 0;
/// A path table gives the number of a parent 16 bits.
const DIRECTORIES_MAX: usize = 0xffff;
/// How much of the directories goes into one buffer, about.
const PIECE: usize = 1 << 20;

/// Where the data of each inode are: the first block, 0 where there are none.
#[derive(Debug)]
pub(super) struct Placement(Vec<u32>);

impl Placement {
    pub(super) fn new(inodes: usize) -> Self {
        Self(vec![0; inodes])
    }

    pub(super) fn set(&mut self, inode: usize, block: u64) -> Result<()> {
        super::check_blocks(block)?;
        self.0[inode] = narrow(block);
        Ok(())
    }
}

/// The directories of a volume under one kind of names.
#[derive(Debug)]
pub(super) struct Hierarchy<'a> {
    tree: &'a Tree,
    names: Names,
    links: Vec<u32>,
    /// In the order of the path table; the root is the first.
    directories: Vec<Directory>,
    path_table_len: u64,
    /// Block of the L path table, which comes first.
    first: u64,
}

#[derive(Debug)]
struct Directory {
    inode: usize,
    parent: usize,
    /// By identifier.
    children: Vec<Child>,
    identifier: Vec<u8>,
    /// First block, once placed.
    block: u64,
    /// Bytes of the records, whole blocks.
    len: u64,
    /// Bytes of the continuation areas behind them, whole blocks.
    continuations_len: u64,
}

#[derive(Debug)]
struct Child {
    identifier: Vec<u8>,
    /// Index of the tree's name.
    name: usize,
    /// The directory that it is.
    directory: Option<usize>,
}

impl<'a> Hierarchy<'a> {
    pub(super) fn new(tree: &'a Tree, names: Names) -> Result<Self> {
        let directories = breadth_first(depth_first(tree, names), names);
        if directories.len() > DIRECTORIES_MAX {
            let what = format!("there are {} directories, ISO 9660 numbers at most {DIRECTORIES_MAX}", directories.len());
            return Err(Error::bad_input(what));
        }
        let path_table_len = directories.iter().map(|directory| units::bytes(path_table_record(&directory.identifier).len())).sum();
        let mut hierarchy = Self { tree, names, links: links(tree, &directories), directories, path_table_len, first: 0 };
        let nowhere = Placement::new(tree.inodes.len());
        for index in 0..hierarchy.directories.len() {
            let (records, continuations) = hierarchy.encode(index, &nowhere)?;
            hierarchy.directories[index].len = units::bytes(records.len());
            hierarchy.directories[index].continuations_len = units::bytes(continuations.len());
        }
        Ok(hierarchy)
    }

    /// Gives everything its blocks, from `first` on; the block behind the last.
    pub(super) fn place(&mut self, first: u64) -> Result<u64> {
        self.first = first;
        let mut next = first + 2 * self.path_table_blocks();
        for directory in &mut self.directories {
            directory.block = next;
            next += (directory.len + directory.continuations_len) / BLOCK;
        }
        super::check_blocks(next)?;
        Ok(next)
    }

    pub(super) fn names(&self) -> Names {
        self.names
    }

    fn path_table_blocks(&self) -> u64 {
        self.path_table_len.div_ceil(BLOCK)
    }

    /// Blocks of the L and the M path table, and the bytes of each.
    pub(super) fn path_tables(&self) -> (u32, u32, u32) {
        let len = u32::try_from(self.path_table_len).expect("65,535 short records");
        (narrow(self.first), narrow(self.first + self.path_table_blocks()), len)
    }

    /// The record of the root that a volume descriptor has.
    pub(super) fn root(&self) -> Record<'static> {
        self.directory_record(ROOT, Record::SELF)
    }

    /// Path tables and directories.
    pub(super) fn bytes(&self, placement: &Placement) -> Blob {
        let (mut blob, mut bytes) = (Blob::default(), Vec::new());
        for big_endian in [false, true] {
            for directory in &self.directories {
                let number = u16::try_from(directory.parent + 1).expect("directories were counted");
                let block = narrow(directory.block);
                let mut record = path_table_record(&directory.identifier);
                record[2..6].copy_from_slice(&if big_endian { block.to_be_bytes() } else { block.to_le_bytes() });
                record[6..8].copy_from_slice(&if big_endian { number.to_be_bytes() } else { number.to_le_bytes() });
                bytes.extend(record);
            }
            pad(&mut bytes);
        }
        for index in 0..self.directories.len() {
            let (records, continuations) = self.encode(index, placement).expect("every directory was encoded before");
            bytes.extend(records);
            bytes.extend(continuations);
            if bytes.len() >= PIECE {
                blob.append(&Blob::from(mem::take(&mut bytes)));
            }
        }
        blob.append(&Blob::from(bytes));
        blob
    }

    /// The records of a directory and their continuation areas, both whole blocks.
    fn encode(&self, index: usize, placement: &Placement) -> Result<(Vec<u8>, Vec<u8>)> {
        let directory = &self.directories[index];
        let mut continuations = Continuations::at(directory.block + directory.len / BLOCK);
        let mut bytes = Vec::new();
        for (identifier, of) in [(Record::SELF, index), (Record::PARENT, directory.parent)] {
            let record = self.directory_record(of, identifier);
            let entries = self.of_directory(index, of, identifier)?;
            push(&mut bytes, &record.bytes(&continuations.fit(entries, record.system_use_max())));
        }
        for child in &directory.children {
            let name = &self.tree.names[child.name];
            self.child(child, placement, &mut continuations, &mut bytes).at(|| ShowPath(&name.path).to_string())?;
        }
        pad(&mut bytes);
        u32::try_from(bytes.len()).map_err(|_| Error::bad_input("a directory has 4 GiB of entries, ISO 9660 holds less"))?;
        let mut continuations = continuations.finish();
        pad(&mut continuations);
        Ok((bytes, continuations))
    }

    fn directory_record<'i>(&self, index: usize, identifier: &'i [u8]) -> Record<'i> {
        let directory = &self.directories[index];
        Record {
            identifier,
            extent: narrow(directory.block),
            data_length: u32::try_from(directory.len).expect("checked when it was encoded"),
            date: date(&self.tree.inodes[directory.inode]),
            flags: flags::DIRECTORY,
        }
    }

    /// The entries of a directory's record of itself or its parent.
    fn of_directory(&self, index: usize, of: usize, identifier: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut entries = self.of_inode(self.directories[of].inode)?;
        if self.names == Names::Iso && index == ROOT && identifier == Record::SELF {
            entries.insert(0, susp::indicator());
            entries.push(susp::extensions());
        }
        Ok(entries)
    }

    fn of_inode(&self, index: usize) -> Result<Vec<Vec<u8>>> {
        if self.names == Names::Joliet {
            return Ok(Vec::new());
        }
        let serial = u32::try_from(index + 1).map_err(|_| Error::bad_input("more files than RRIP has serial numbers"))?;
        susp::inode(&self.tree.inodes[index], self.links[index], serial)
    }

    /// The records of a child: one, or one for each section of a large file.
    fn child(&self, child: &Child, placement: &Placement, continuations: &mut Continuations, to: &mut Vec<u8>) -> Result<()> {
        let name = &self.tree.names[child.name];
        let mut entries = self.of_inode(name.inode)?;
        if self.names == Names::Iso {
            entries.extend(susp::name(name.base())?);
        }
        let mut put = |record: Record<'_>| {
            push(to, &record.bytes(&continuations.fit(entries.clone(), record.system_use_max())));
        };
        if let Some(directory) = child.directory {
            put(self.directory_record(directory, &child.identifier));
            return Ok(());
        }
        let inode = &self.tree.inodes[name.inode];
        let first = u64::from(placement.0[name.inode]);
        for (start, len, is_last) in sections(inode)? {
            put(Record {
                identifier: &child.identifier,
                extent: if len == 0 { 0 } else { narrow(first + start / BLOCK) },
                data_length: len,
                date: date(inode),
                flags: if is_last { 0 } else { flags::MULTI_EXTENT },
            });
        }
        Ok(())
    }
}

/// Offset and length of each section of a file, and whether it is the last; one empty section where there are no data.
fn sections(inode: &Inode) -> Result<impl Iterator<Item = (u64, u32, bool)>> {
    let len = match &inode.content {
        Content::File(body) => body.len(),
        _ => 0,
    };
    let count = len.div_ceil(SECTION_MAX).max(1);
    if count > SECTIONS_MAX {
        let (len, max) = (units::show_size(len), units::show_size(SECTIONS_MAX * SECTION_MAX));
        return Err(Error::bad_input(format!("the file has {len}, Linux reads at most {max} from ISO 9660")));
    }
    Ok((0..count).map(move |nth| {
        let start = nth * SECTION_MAX;
        let section = u32::try_from(SECTION_MAX.min(len - start)).expect("a section is below 4 GiB");
        (start, section, nth + 1 == count)
    }))
}

fn date(inode: &Inode) -> ShortDate {
    Timestamp(inode.mtime).into()
}

/// Every directory, in the order of the tree, its children by identifier.
fn depth_first(tree: &Tree, names: Names) -> Vec<Directory> {
    let view = tree::Hierarchy::of(tree);
    let new = |directory: &tree::Directory<'_>| Directory {
        inode: directory.inode,
        parent: directory.parent,
        children: Vec::new(),
        identifier: Record::SELF.to_vec(),
        block: 0,
        len: 0,
        continuations_len: 0,
    };
    let mut directories: Vec<_> = view.directories.iter().map(new).collect();
    for (parent, directory) in view.directories.iter().enumerate() {
        let mut identifiers = Identifiers::new(names);
        for child in &directory.children {
            // Joliet has neither links nor devices.
            if names == Names::Joliet && !matches!(tree.inodes[child.inode].content, Content::Directory | Content::File(_)) {
                continue;
            }
            let identifier = identifiers.of(child.name, child.directory.is_some());
            if let Some(index) = child.directory {
                directories[index].identifier.clone_from(&identifier);
            }
            directories[parent].children.push(Child { identifier, name: child.index, directory: child.directory });
        }
    }
    for directory in &mut directories {
        directory.children.sort_by(|a, b| names.order(&a.identifier).cmp(&names.order(&b.identifier)));
    }
    directories
}

/// The same directories in the order of the path table.
fn breadth_first(mut directories: Vec<Directory>, names: Names) -> Vec<Directory> {
    let mut order = vec![ROOT];
    let mut new_index = vec![ROOT; directories.len()];
    let mut next = 0;
    while let Some(index) = order.get(next) {
        let mut children: Vec<_> = directories[*index].children.iter().filter_map(|child| child.directory).collect();
        children.sort_by(|a, b| names.order(&directories[*a].identifier).cmp(&names.order(&directories[*b].identifier)));
        order.extend(children);
        next += 1;
    }
    for (new, old) in order.iter().enumerate() {
        new_index[*old] = new;
    }
    for directory in &mut directories {
        directory.parent = new_index[directory.parent];
        directory.children.iter_mut().for_each(|child| child.directory = child.directory.map(|old| new_index[old]));
    }
    let mut old: Vec<_> = directories.into_iter().map(Some).collect();
    order.into_iter().map(|index| old[index].take().expect("each directory stands once")).collect()
}

/// Names of each inode; of a directory, those that are in it too: its own, `.`, and each subdirectory's `..`.
fn links(tree: &Tree, directories: &[Directory]) -> Vec<u32> {
    let mut links = tree.name_counts();
    for directory in directories {
        let subdirectories = directory.children.iter().filter(|child| child.directory.is_some()).count();
        links[directory.inode] = u32::try_from(2 + subdirectories).expect("directories are counted in 16 bits");
    }
    links
}

/// A record of a path table with block and parent 0 (9.4).
fn path_table_record(identifier: &[u8]) -> Vec<u8> {
    let mut record = vec![u8::try_from(identifier.len()).expect("an identifier has at most 128 bytes"), 0, 0, 0, 0, 0, 0, 0];
    record.extend_from_slice(identifier);
    record.resize(record.len().next_multiple_of(2), 0);
    record
}

/// Puts a record behind the others, in the next block where it does not fit into this one.
fn push(directory: &mut Vec<u8>, record: &[u8]) {
    let block = units::index(BLOCK);
    if directory.len() % block + record.len() > block {
        pad(directory);
    }
    directory.extend_from_slice(record);
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(units::index(BLOCK)), 0);
}
