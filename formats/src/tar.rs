//! tar: POSIX.1-2017 `pax`, sections "ustar Interchange Format" and "pax Interchange Format", with the extensions of GNU tar
//! ("Basic Tar Format" and "Storing Sparse Files" of its manual) and the v7 format before them.
//!
//! ```text
//!  | x header | records | header | content | header | ... | zeros | zeros |
//!    512 each, everything padded to 512                      end of archive
//! ```
//! Read: every format that GNU tar, bsdtar and star write, sparse members included but for star's own; contents are ranges of the archive.
//! Where GNU tar and bsdtar agree, we do as they do; where they differ, what loses nothing; `tests/standards/tar_mutants.rs` has the
//! exceptions. A checksum that does not match, the rest of a file of another volume and anything truncated is refused by name.
//!
//! | typeflag | is |
//! |---|---|
//! | NUL, `0`, `7`, `S` | a regular file, `S` with gaps; a directory where the path ends in `/` |
//! | `1` to `6` | links, devices, directories, pipes: without content, whatever the header says of their size |
//! | `D` | a directory of an incremental dump |
//! | `x`, `X`, `g`, `L`, `K` | about the entries behind it |
//! | `V` | the label of the archive: passed over |
//! | `A` | an access control list of Solaris: passed over, and told |
//! | `M` | the rest of a file of another volume: refused |
//! | any other | a regular file, as POSIX has it, and told |
//!
//! Access control lists and labels of SELinux are extended attributes, as Linux keeps them. What an inode has no place for is told
//! ([`Members::warnings`]), and so is a missing end: writers that forget it exist, and those that died are not to be told from them.
//!
//! Written: ustar, PAX headers for what does not fit it, and the old GNU format with sparse files; see [`Dialect`]. Oracles: GNU tar, bsdtar and Python's `tarfile`, both ways.

mod acl;
mod header;
mod headers;
mod pax;
mod read;
mod sparse;
pub mod verbatim;
mod warnings;
mod write;

pub use header::typeflag;
pub use read::Members;
pub use write::{Dialect, Writer};

use crate::{At, Blob, Error, Result, Tree, tree};
use header::Header;
use zerocopy::FromBytes;

/// Bytes of a block, of which everything in an archive is a multiple.
const BLOCK: u64 = 512;

/// One entry of an archive.
#[derive(Clone, Debug)]
pub struct Member {
    /// The path as the archive has it.
    pub path: Vec<u8>,
    /// What it names.
    pub entry: Entry,
}

/// What an entry of an archive names.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A new inode.
    Inode(tree::Inode),
    /// What an earlier entry has this path.
    HardLink(Vec<u8>),
}

impl Member {
    /// Adds it to a tree, as extraction would.
    ///
    /// # Errors
    /// When it has no path, and see [`tree::Builder`]; the error names the entry.
    pub fn add_to(self, tree: &mut tree::Builder) -> Result<()> {
        let Self { path, entry } = self;
        match entry {
            // GNU tar takes it for the root, bsdtar leaves it out.
            _ if path.is_empty() => Err(Error::bad_input("its path is empty")),
            Entry::Inode(inode) => tree.add(&path, inode),
            Entry::HardLink(target) => tree.hard_link(&path, &target),
        }
        .at(|| place(&path))
    }
}

/// Whether a file begins like an archive: with a header whose checksum is right.
///
/// # Errors
/// When the file cannot be read.
pub fn probe(file: &Blob) -> Result<bool> {
    if file.len() < BLOCK {
        return Ok(false);
    }
    let header = Header::read_from_bytes(&file.read_array::<512>(0)?).expect("a header has 512 bytes");
    Ok(header.verify().is_ok())
}

/// The file system that extracting an archive would make.
///
/// # Errors
/// When the archive is malformed or its entries do not make a file system.
pub fn tree(archive: &Blob) -> Result<Tree> {
    let mut tree = tree::Builder::default();
    for member in Members::new(archive) {
        member?.add_to(&mut tree)?;
    }
    Ok(tree.finish())
}

/// Most members of a tar that is nothing but packaging.
pub const FILES_MAX: usize = 32;

/// The members of a tar that is nothing but packaging, by path: a few regular files, in one directory at most, and nothing else, as what is
/// made for import into a cloud or hypervisor. Of any other tar nothing, as soon as that is seen.
pub fn files(archive: &Blob) -> Option<Vec<(Vec<u8>, Blob)>> {
    let mut files = Vec::new();
    let mut directories = 0;
    for member in Members::new(archive) {
        match member.ok()? {
            Member { path, entry: Entry::Inode(tree::Inode { content: tree::Content::File(body), .. }) } => files.push((path, body)),
            Member { path, entry: Entry::Inode(tree::Inode { content: tree::Content::Directory, .. }) } => {
                directories += usize::from(!matches!(path.as_slice(), b"" | b"." | b"./"));
            }
            Member { .. } => return None,
        }
        if files.len() > FILES_MAX || directories > 1 {
            return None;
        }
    }
    Some(files)
}

/// How an error names an entry.
fn place(path: &[u8]) -> String {
    format!("entry {}", tree::ShowPath(path))
}

#[cfg(test)]
mod tests;
