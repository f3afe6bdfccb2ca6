//! `Tree`: a root file system, whatever archive it came from and whatever file system it will become.
//!
//! Names and inodes are apart, as on disk: a hard link is a second name of one inode.

mod builder;
mod hierarchy;

pub use builder::{Builder, NAMES_MAX, components, too_many_names};
pub use hierarchy::{Child, Directory, Hierarchy};

use crate::{Blob, Error, Result, plain::is_plain, units};
use sha2::{Digest, Sha256};
use std::{fmt, iter, ops::RangeInclusive, sync::Arc};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

/// Linux keeps 12 bits of a device's major number.
const MAJOR_MAX: u32 = (1 << 12) - 1;
/// And 20 of its minor number.
const MINOR_MAX: u32 = (1 << 20) - 1;

impl Device {
    /// The number, if Linux could hold it.
    ///
    /// # Errors
    /// When it has more bits than Linux keeps: a tar may say so all the same, which makes it no bad input, but nothing is there to hold it.
    pub fn checked(self) -> Result<Self> {
        let Self { major, minor } = self;
        if major <= MAJOR_MAX && minor <= MINOR_MAX {
            return Ok(self);
        }
        Err(Error::unsupported(format!("device {major}:{minor}, Linux has majors up to {MAJOR_MAX} and minors up to {MINOR_MAX}")))
    }

    /// The number as Linux packs it into 32 bits (`new_encode_dev`): the major number in the middle of the minor.
    ///
    /// # Errors
    /// As [`Device::checked`].
    pub fn encoded(self) -> Result<u32> {
        let Self { major, minor } = self.checked()?;
        Ok(minor & 0xff | major << 8 | (minor & !0xff) << 12)
    }
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

impl Inode {
    /// An inode of root's with nothing but content and permissions.
    pub fn new(content: Content, mode: u32) -> Self {
        Self { content, mode, uid: 0, gid: 0, mtime: 0, mtime_nanos: 0, xattrs: Vec::new(), origin: None }
    }
}

/// Nothing but a root directory.
impl Default for Tree {
    fn default() -> Self {
        Builder::default().finish()
    }
}

impl Name {
    /// The last component of the path.
    pub fn base(&self) -> &[u8] {
        self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }
}

impl Tree {
    /// The inode of a path as [`Name::path`] has it; the empty path is the root directory. Symbolic links are not followed.
    pub fn get(&self, path: &[u8]) -> Option<&Inode> {
        if path.is_empty() {
            return self.inodes.first();
        }
        let place = self.names.binary_search_by(|name| name.path.as_slice().cmp(path)).ok()?;
        Some(&self.inodes[self.names[place].inode])
    }

    /// The tree of those names that `keep` accepts; it must accept a directory when it accepts anything inside.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&[u8]) -> bool) -> Self {
        let mut new_index = vec![None; self.inodes.len()];
        new_index[0] = Some(0);
        let mut inodes = vec![self.inodes[0].clone()];
        let kept = self.names.iter().filter(|name| keep(&name.path));
        let names = kept.map(|name| {
            let inode = *new_index[name.inode].get_or_insert_with(|| {
                inodes.push(self.inodes[name.inode].clone());
                inodes.len() - 1
            });
            Name { path: name.path.clone(), inode }
        });
        let names = names.collect();
        Self { inodes, names }
    }

    /// The same as [`Tree::filter`], without a copy of the names.
    #[must_use]
    pub fn retain(self, keep: impl Fn(&[u8]) -> bool) -> Self {
        let Self { inodes, mut names } = self;
        names.retain(|name| keep(&name.path));
        Self::numbered(inodes, names)
    }

    /// Numbers the inodes in the order of their first names and drops those that have none.
    fn numbered(inodes: Vec<Inode>, mut names: Vec<Name>) -> Self {
        let mut old: Vec<Option<Inode>> = inodes.into_iter().map(Some).collect();
        let mut inodes: Vec<Inode> = old[0].take().into_iter().collect();
        let mut number = vec![0; old.len()];
        for name in &mut names {
            if let Some(inode) = old[name.inode].take() {
                number[name.inode] = inodes.len();
                inodes.push(inode);
            }
            name.inode = number[name.inode];
        }
        Self { inodes, names }
    }

    /// A builder that has all of it already.
    ///
    /// # Errors
    /// Of a tree that no builder made.
    pub fn builder(&self) -> Result<Builder> {
        let mut builder = Builder::default();
        builder.add(b"", self.inodes[0].clone())?;
        let mut first: Vec<Option<&[u8]>> = vec![None; self.inodes.len()];
        for name in &self.names {
            match first[name.inode] {
                Some(target) => builder.hard_link(&name.path, target)?,
                None => builder.add(&name.path, self.inodes[name.inode].clone())?,
            }
            first[name.inode].get_or_insert(&name.path);
        }
        Ok(builder)
    }

    /// SHA-256 of all that the tree says of its files, but for their content, whose size and time stand for it.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let mut text = |bytes: &[u8]| {
            digest.update(units::bytes(bytes.len()).to_le_bytes());
            digest.update(bytes);
        };
        for inode in &self.inodes {
            let Inode { mode, uid, gid, mtime, mtime_nanos, .. } = inode;
            let kind = inode.content.type_bits() | mode;
            text(format!("{kind} {uid} {gid} {mtime} {mtime_nanos}").as_bytes());
            match &inode.content {
                Content::File(body) => text(&body.len().to_le_bytes()),
                Content::Symlink(target) => text(target),
                Content::CharacterDevice(device) | Content::BlockDevice(device) => text(format!("{device:?}").as_bytes()),
                Content::Directory | Content::Fifo => {}
            }
            for (name, value) in &inode.xattrs {
                text(name);
                text(value);
            }
        }
        for name in &self.names {
            text(&name.path);
            text(name.inode.to_string().as_bytes());
        }
        digest.finalize().into()
    }

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

/// What an archive or a file system cannot say about a tree, by path, for a warning. The root directory is `.`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Files whose extended attributes stay behind, with the names of these.
    pub xattrs: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
    /// Files whose modification time is clamped.
    pub times: Vec<Vec<u8>>,
}

impl Losses {
    /// What is lost where an extended attribute is held only if `is_held` says so of its name, and there are only those times.
    pub(crate) fn of(tree: &Tree, is_held: impl Fn(&[u8]) -> bool, times: RangeInclusive<i64>) -> Self {
        let mut losses = Self::default();
        let root = (b".".as_slice(), 0);
        for (path, inode) in iter::once(root).chain(tree.names.iter().map(|name| (name.path.as_slice(), name.inode))) {
            let inode = &tree.inodes[inode];
            let lost: Vec<_> = inode.xattrs.iter().map(|(name, _)| name.clone()).filter(|name| !is_held(name)).collect();
            if !lost.is_empty() {
                losses.xattrs.push((path.to_vec(), lost));
            }
            if !times.contains(&inode.mtime) {
                losses.times.push(path.to_vec());
            }
        }
        losses
    }
}

/// A path for people: UTF-8 as it is, control characters and other bytes escaped, the middle of an absurd one left out.
#[derive(Clone, Copy, Debug)]
pub struct ShowPath<'a>(pub &'a [u8]);

impl fmt::Display for ShowPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 300;
        let (head, tail) = match self.0.len() {
            0..=SHOWN => (self.0, &[][..]),
            len => (&self.0[..SHOWN / 2], &self.0[len - SHOWN / 2..]),
        };
        show_bytes(head, f)?;
        if !tail.is_empty() {
            f.write_str("[...]")?;
            show_bytes(tail, f)?;
        }
        Ok(())
    }
}

fn show_bytes(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match is_plain(c) {
                true => write!(f, "{c}")?,
                false => write!(f, "{}", c.escape_default())?,
            }
        }
        write!(f, "{}", chunk.invalid().escape_ascii())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Inode {
        Inode::new(Content::File(Blob::bytes(text.as_bytes())), 0o644)
    }

    #[test]
    fn filtering_keeps_links_together_and_drops_what_has_no_name_left() {
        let mut builder = Builder::default();
        builder.add(b"boot/kernel", file("kernel")).unwrap();
        builder.add(b"boot/only", file("only")).unwrap();
        builder.add(b"etc/os", file("os")).unwrap();
        builder.hard_link(b"vmlinuz", b"boot/kernel").unwrap();
        builder.hard_link(b"etc/again", b"etc/os").unwrap();
        let tree = builder.finish();
        let is_kept = |path: &[u8]| !path.starts_with(b"boot/");
        assert_eq!(tree.filter(is_kept).fingerprint(), tree.clone().retain(is_kept).fingerprint());
        let tree = tree.filter(is_kept);
        let paths: Vec<_> = tree.names.iter().map(|name| String::from_utf8_lossy(&name.path)).collect();
        assert_eq!(paths, ["boot", "etc", "etc/again", "etc/os", "vmlinuz"]);
        assert_eq!(tree.inodes.len(), 5);
        assert_eq!(tree.name_counts(), [1, 1, 1, 2, 1]);
        assert!(matches!(&tree.get(b"vmlinuz").unwrap().content, Content::File(blob) if blob.to_vec(9).unwrap() == b"kernel"));
        assert!(tree.get(b"boot/kernel").is_none());
        assert!(matches!(tree.get(b"").unwrap().content, Content::Directory));
    }

    #[test]
    fn device_numbers_are_as_in_linux() {
        let encoded = |major, minor| Device { major, minor }.encoded();
        assert_eq!(encoded(5, 1).unwrap(), 0x501);
        assert_eq!(encoded(254, 300).unwrap(), 0x0010_fe2c);
        assert_eq!(encoded(MAJOR_MAX, MINOR_MAX).unwrap(), u32::MAX);
        for (major, minor) in [(MAJOR_MAX + 1, 0), (0, MINOR_MAX + 1)] {
            assert_eq!(encoded(major, minor).unwrap_err().kind(), crate::Kind::Unsupported);
        }
    }

    #[test]
    fn paths_are_shown_on_one_line() {
        assert_eq!(ShowPath("größe".as_bytes()).to_string(), "größe");
        assert_eq!(ShowPath(b"a\nb\xff\x1b[31m").to_string(), r"a\nb\xff\u{1b}[31m");
        assert!(ShowPath(&[b'x'; 100_000]).to_string().len() < 400);
    }
}
