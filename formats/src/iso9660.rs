//! ISO 9660 volumes, written once and whole, and read: ECMA-119 (4th edition) with names of up to 31 characters and files of several
//! sections (interchange level 3), SUSP 1.12 and RRIP 1.12 ("Rock Ridge"), on request Joliet, and El Torito 1.0.
//!
//! ```text
//!  block 0..15  16       then         then        then        start               behind              the end
//!  system area  primary  boot record  Joliet      terminator, L path table,       file contents,      (free for a
//!  (not ours)   volume   (El Torito)  descriptor  boot        M path table,       in whole blocks     backup GPT)
//!               descriptor                        catalog     directories, Joliet's
//! ```
//! Blocks have 2048 bytes. What is between the catalog and `start` is the caller's, as is the system area: there a hybrid
//! image has its partition table, loaders and EFI system partition. A file may lie there too ([`Volume::placed`]): then its
//! directory record points at bytes that something else holds. File bodies are referred to, not copied; gaps stay gaps.
//!
//! Written: every type that a [`Tree`] has, with modes, owners and device numbers of 32 bits, times, hard links (one extent,
//! one RRIP file serial number), names of up to 253 bytes and targets of up to 4095. Files of 4 GiB and more have several
//! sections. Directories lie as deep as they do: ECMA-119's limits of 8 levels and 255 bytes of path are for the readers of
//! 1988; Linux, libisofs, libarchive and cdrtools' isoinfo follow deeper ones, so nothing is relocated, which moves directories
//! about for readers without RRIP.
//!
//! Refused: what Linux would silently cut or mistake (names of 254 and 255 bytes, files of more than 100 sections, device
//! 0:256 and the like), more than 65,535 directories, which path tables cannot number, and volumes of 8 TiB.
//! Kept out, and told ([`losses`]): extended attributes, and times outside 1900 to 2155, which are clamped.
//! Two limits are the readers': libisofs and cdrtools give up at targets of 1024 bytes, and Linux before 2025 takes times from
//! 2038 on for times 136 years earlier.
//!
//! Oracles: xorriso, isoinfo, bsdtar, Linux.

mod descriptor;
mod directory;
mod el_torito;
mod identifier;
mod read;
mod record;
mod susp;

pub use el_torito::{BootImage, Catalog};
pub use read::{dump, probe, read};

use crate::{
    Blob, Error, Result, Timestamp,
    tree::{Content, Losses, Tree},
    units::{self, KIB},
};
use directory::{Hierarchy, Placement};
use identifier::Names;
use std::{collections::HashMap, ops::RangeInclusive};

/// Bytes of a logical block, and of a sector of a CD.
pub const BLOCK: u64 = 2 * KIB;
/// Bytes at the start of the volume that ECMA-119 leaves alone.
pub const SYSTEM_AREA: u64 = 16 * BLOCK;
/// Where the caller's area may begin: behind the descriptors and the boot catalog, however many there are.
pub const DESCRIPTORS_END: u64 = SYSTEM_AREA + 5 * BLOCK;
/// A file section has at most this many bytes: all but the last are whole blocks, and their lengths have 32 bits.
const SECTION_MAX: u64 = (1 << 32) - BLOCK;
/// Linux reads no more sections of a file.
const SECTIONS_MAX: u64 = 100;
/// Block numbers have 32 bits.
const BLOCKS_MAX: u64 = u32::MAX as u64;
/// 1900-01-01 00:00:00 to 2155-12-31 23:59:59: a directory record counts years since 1900 in a byte.
const TIMES: RangeInclusive<i64> = -2_208_988_800..=5_869_583_999;

/// A volume to be written.
#[derive(Clone, Debug)]
pub struct Volume<'a> {
    /// What is in it.
    pub tree: &'a Tree,
    /// The volume identifier: what a desktop shows, and `blkid` as the label.
    pub identifier: &'a str,
    /// The application identifier: which program made the volume, or is needed to use it.
    pub application: &'a str,
    /// When the volume was made.
    pub time: Timestamp,
    /// Whether there is a second directory hierarchy with Unicode names, for Windows.
    pub joliet: bool,
    /// What firmware boots from it.
    pub boot: Option<Catalog>,
    /// Where path tables, directories and files begin, in bytes: at least [`DESCRIPTORS_END`], whole blocks.
    pub start: u64,
    /// Files whose contents lie elsewhere: path, and byte offset in the volume, whole blocks.
    pub placed: Vec<(Vec<u8>, u64)>,
    /// Bytes behind the last file that stay free.
    pub tail: u64,
    /// The volume is a multiple of so many bytes, whole blocks.
    pub size_multiple: u64,
}

/// What a volume leaves out of a tree.
pub fn losses(tree: &Tree) -> Losses {
    Losses::of(tree, |_| false, TIMES)
}

/// Checks a volume or application identifier.
///
/// Strictly, a volume identifier has capital letters, digits and `_` only; every reader takes printable ASCII, and cloud-init
/// looks for `cidata`.
///
/// # Errors
/// When it is too long or has other characters.
pub fn check_identifier(what: &str, text: &str, max: usize) -> Result<()> {
    if text.len() > max || text.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) {
        let what = format!("the {what} '{}' has {} bytes, must be at most {max} of printable ASCII", text.escape_default(), text.len());
        return Err(Error::unsupported(what));
    }
    Ok(())
}

/// Bytes of a volume identifier.
pub const IDENTIFIER_MAX: usize = 32;
/// Bytes of an application identifier.
pub const APPLICATION_MAX: usize = 128;

impl Volume<'_> {
    /// The volume, but for what is the caller's: that is zeros.
    ///
    /// # Errors
    /// When an identifier or a file cannot be held; the error names the file.
    pub fn write(&self) -> Result<Blob> {
        assert!(self.start >= DESCRIPTORS_END && self.start.is_multiple_of(BLOCK), "the volume starts at {}", self.start);
        assert!(self.size_multiple.is_multiple_of(BLOCK), "a size of multiples of {}", self.size_multiple);
        check_identifier("volume identifier", self.identifier, IDENTIFIER_MAX)?;
        check_identifier("application identifier", self.application, APPLICATION_MAX)?;
        let mut hierarchies = vec![Hierarchy::new(self.tree, Names::Iso)?];
        if self.joliet {
            hierarchies.push(Hierarchy::new(self.tree, Names::Joliet)?);
        }
        let mut at = self.start / BLOCK;
        for hierarchy in &mut hierarchies {
            at = hierarchy.place(at)?;
        }
        let files = self.place_files(at)?;
        check_blocks(files.end)?;
        let len = (files.end * BLOCK + self.tail).next_multiple_of(self.size_multiple);
        check_blocks(len / BLOCK)?;

        let mut volume = Blob::zeros(SYSTEM_AREA);
        volume.append(&self.descriptors(&hierarchies, len / BLOCK));
        volume.extend_to(self.start);
        for hierarchy in &hierarchies {
            volume.append(&hierarchy.bytes(&files.placement));
        }
        for (block, body) in files.bodies {
            volume.extend_to(block * BLOCK);
            volume.append(body);
        }
        volume.extend_to(len);
        Ok(volume)
    }

    /// Deals blocks to the files, from `first` on.
    fn place_files(&self, first: u64) -> Result<Files<'_>> {
        let placed = self.placed_inodes();
        let mut files = Files { placement: Placement::new(self.tree.inodes.len()), bodies: Vec::new(), end: first };
        for (inode, content) in self.tree.inodes.iter().map(|inode| &inode.content).enumerate() {
            let Content::File(body) = content else { continue };
            if let Some(offset) = placed.get(&inode) {
                files.placement.set(inode, offset / BLOCK)?;
            } else if !body.is_empty() {
                files.placement.set(inode, files.end)?;
                files.bodies.push((files.end, body));
                files.end = files.end.saturating_add(body.len().div_ceil(BLOCK));
            }
        }
        Ok(files)
    }

    fn placed_inodes(&self) -> HashMap<usize, u64> {
        let inode = |(path, offset): &(Vec<u8>, u64)| {
            assert!(offset.is_multiple_of(BLOCK), "a file at {offset}, not at a block");
            let place = self.tree.names.binary_search_by(|name| name.path.cmp(path));
            (self.tree.names[place.expect("a placed file is in the tree")].inode, *offset)
        };
        self.placed.iter().map(inode).collect()
    }

    /// Descriptors and boot catalog, from block 16 on.
    fn descriptors(&self, hierarchies: &[Hierarchy<'_>], blocks: u64) -> Blob {
        let count = hierarchies.len() + 1 + usize::from(self.boot.is_some());
        let mut bytes = Vec::new();
        let mut hierarchies = hierarchies.iter();
        bytes.extend(hierarchies.next().map(|primary| descriptor::volume(self, primary, blocks)).into_iter().flatten());
        if self.boot.is_some() {
            bytes.extend(el_torito::boot_record(narrow(SYSTEM_AREA / BLOCK + units::bytes(count))));
        }
        for joliet in hierarchies {
            bytes.extend(descriptor::volume(self, joliet, blocks));
        }
        bytes.extend(descriptor::terminator());
        bytes.extend(self.boot.iter().flat_map(Catalog::bytes));
        Blob::from(bytes)
    }
}

/// Where the files are.
struct Files<'a> {
    placement: Placement,
    /// Those that are written here, and their first blocks, ascending.
    bodies: Vec<(u64, &'a Blob)>,
    /// The block behind the last.
    end: u64,
}

/// A block number that was checked against [`BLOCKS_MAX`].
fn narrow(block: u64) -> u32 {
    u32::try_from(block).expect("block numbers were checked")
}

fn check_blocks(blocks: u64) -> Result<()> {
    if blocks <= BLOCKS_MAX {
        return Ok(());
    }
    let (size, max) = (units::show_size(blocks.saturating_mul(BLOCK)), units::show_size((BLOCKS_MAX + 1) * BLOCK));
    Err(Error::bad_input(format!("a volume of {size}, ISO 9660 has less than {max}")))
}
