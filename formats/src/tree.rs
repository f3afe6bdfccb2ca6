//! `Tree`: a root file system, whatever archive it came from and whatever file system it will become.
//!
//! Names and inodes are apart, as on disk: a hard link is a second name of one inode.

use crate::Blob;
use std::sync::Arc;

/// A file system tree. It always has a root directory, and every name's parent is a directory in it.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The inodes; the root directory is the first.
    pub inodes: Vec<Inode>,
    /// Every name but the root's, sorted by path, so that parents come before their children.
    pub names: Vec<Name>,
}

/// One name of an inode.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Bytes without a leading or trailing `/`, without empty, `.` or `..` components.
    pub path: Vec<u8>,
    /// Index into [`Tree::inodes`].
    pub inode: usize,
}

/// What POSIX keeps of a file besides its names.
#[derive(Clone, Debug)]
pub struct Inode {
    /// The type, with what only that type has.
    pub content: Content,
    /// Permission bits, set-id and sticky bits: 0 to 0o7777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds of the modification time, below 1,000,000,000.
    pub mtime_nanos: u32,
    /// Extended attributes by full name (`security.capability`), sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Which component of the build it came from, where the archive says so.
    pub origin: Option<Arc<Origin>>,
}

/// The type of an inode.
#[derive(Clone, Debug)]
pub enum Content {
    /// A directory.
    Directory,
    /// A regular file.
    File(Blob),
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A character device.
    CharacterDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

/// A device number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// The PAX records that LinuxKit gives each entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// `LINUXKIT.source`: the component, an image reference.
    pub source: String,
    /// `LINUXKIT.location`: where the build's configuration names it.
    pub location: String,
}

impl Content {
    /// The `S_IFMT` bits of the type (POSIX `<sys/stat.h>`, Linux values).
    pub fn type_bits(&self) -> u32 {
        match self {
            Self::Fifo => 0o010_000,
            Self::CharacterDevice(_) => 0o020_000,
            Self::Directory => 0o040_000,
            Self::BlockDevice(_) => 0o060_000,
            Self::File(_) => 0o100_000,
            Self::Symlink(_) => 0o120_000,
        }
    }
}

impl Tree {
    /// How many names each inode has, by inode index. The root directory's one name is counted.
    pub fn name_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.inodes.len()];
        counts[0] = 1;
        for name in &self.names {
            counts[name.inode] += 1;
        }
        counts
    }
}
