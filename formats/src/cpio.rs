//! The "new ASCII" cpio archive (newc, magic 070701), as Linux unpacks it into its initramfs.
//!
//! Standard: Linux `Documentation/driver-api/early-userspace/buffer-format.rst`.
//!
//! ```text
//!  header, 110 bytes: "070701", then 13 fields of 8 hexadecimal digits
//!  name, a NUL, zeros to a multiple of 4 (counted from the start of the archive)
//!  body, zeros to a multiple of 4
//!  ... the last member is called "TRAILER!!!" and has no body
//! ```
//!
//! Written: every type a [`Tree`] has. The root directory is `.`, so that its owner and mode reach the guest; other names
//! have no leading `/`. Inodes are numbered from 1 in the order of the archive. All names of a hard-linked file stand
//! together where the last of them belongs, and the last carries the body: by then all their directories exist, and an
//! archive can be cut between any two files ([`parts`]).
//!
//! Refused by name: what the kernel would silently skip or cut (files of 4 GiB, long paths, large device numbers).
//! Kept out, and told ([`losses`]): extended attributes, which newc cannot hold, and times outside 1970 to 2106, which are
//! clamped.
//!
//! Read: 070701 and 070702 (the same with a checksum), archives one after the other, zeros between them.
//!
//! Oracle: GNU cpio and lsinitramfs.

mod extract;
mod read;

pub use extract::add_to;
pub use read::{Member, Members};

use crate::{
    Blob, Error, Result,
    error::At,
    tree::{Content, Device, Inode, Losses, Tree},
    units,
};
use std::{collections::HashMap, fmt::Write, iter};

/// The longest name or symbolic link target, with the NUL that ends it: Linux `PATH_MAX`. Linux skips what is longer.
const PATH_MAX: usize = 4096;
/// The name that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";
/// Bytes of a header.
const HEADER_LEN: usize = 110;
/// Names, bodies and the archive itself are padded to this.
const ALIGNMENT: u64 = 4;

/// What [`archive`] and [`parts`] leave out of a tree.
pub fn losses(tree: &Tree) -> Losses {
    Losses::of(tree, |_| false, 0..=u32::MAX.into())
}

/// A tree as one archive: headers in memory, bodies by reference.
///
/// # Errors
/// Names the file that newc or the kernel cannot hold.
pub fn archive(tree: &Tree) -> Result<Blob> {
    let parts = parts(tree, u64::MAX)?;
    Ok(parts.into_iter().next().expect("a tree has a root directory"))
}

/// A tree as several whole archives, to be unpacked one after the other, of at most about `size` bytes each. Only an
/// archive of one large file is larger.
///
/// # Errors
/// As [`archive`].
pub fn parts(tree: &Tree, size: u64) -> Result<Vec<Blob>> {
    let mut parts = Vec::new();
    let mut archive = Archive::default();
    for (number, names) in (1..).zip(groups(tree)) {
        let inode = &tree.inodes[names[0].1];
        if archive.len > 0 && archive.len.saturating_add(body(inode).len()) > size {
            parts.push(std::mem::take(&mut archive).finish());
        }
        let count = if matches!(inode.content, Content::Directory) { 2 } else { units::bytes(names.len()) };
        let last = names.len() - 1;
        for (nth, (path, _)) in names.iter().enumerate() {
            archive.member(path, inode, Links { number, count, is_last: nth == last }).at(|| String::from_utf8_lossy(path))?;
        }
    }
    parts.push(archive.finish());
    Ok(parts)
}

/// The order of the archive: each inode with all its names, where the last of them stands in the tree.
fn groups(tree: &Tree) -> impl Iterator<Item = Vec<(&[u8], usize)>> {
    let counts = tree.name_counts();
    let mut waiting: HashMap<usize, Vec<(&[u8], usize)>> = HashMap::new();
    let names = tree.names.iter().filter_map(move |name| {
        let named = (name.path.as_slice(), name.inode);
        if counts[name.inode] == 1 {
            return Some(vec![named]);
        }
        let group = waiting.entry(name.inode).or_default();
        group.push(named);
        (units::bytes(group.len()) == u64::from(counts[name.inode])).then(|| std::mem::take(group))
    });
    iter::once(vec![(b".".as_slice(), 0)]).chain(names)
}

/// The bytes that stand behind a name.
fn body(inode: &Inode) -> Blob {
    match &inode.content {
        Content::File(body) => body.clone(),
        Content::Symlink(target) => Blob::from(target.clone()),
        Content::Directory | Content::CharacterDevice(_) | Content::BlockDevice(_) | Content::Fifo => Blob::default(),
    }
}

/// How a name and its inode belong together.
#[derive(Clone, Copy)]
struct Links {
    number: u64,
    count: u64,
    /// Of several names, the last carries the body.
    is_last: bool,
}

/// An archive in the making.
#[derive(Default)]
struct Archive {
    /// Everything but the bodies of files, each with the padding before it.
    text: Vec<u8>,
    /// Bodies of files, and how much of the text comes before each.
    bodies: Vec<(usize, Blob)>,
    len: u64,
}

impl Archive {
    fn member(&mut self, path: &[u8], inode: &Inode, links: Links) -> Result<()> {
        if path == TRAILER {
            return Err(Error::bad_input("this name ends a cpio archive: a file cannot have it"));
        }
        let device = match inode.content {
            Content::CharacterDevice(device) | Content::BlockDevice(device) => device.checked()?,
            _ => Device { major: 0, minor: 0 },
        };
        // Linux makes hard links of anything but symbolic links: each name of those needs the target.
        let carries = links.is_last || matches!(inode.content, Content::Symlink(_));
        let body = if carries { body(inode) } else { Blob::default() };
        let size = u32::try_from(body.len()).map_err(|_| {
            Error::bad_input(format!("the file has {}, a file in a cpio archive has less than 4 GiB", units::show_size(body.len())))
        })?;
        check_path(path)?;
        if let Content::Symlink(target) = &inode.content {
            check_path(target)?;
        }
        let mtime = u32::try_from(inode.mtime.clamp(0, i64::from(u32::MAX))).expect("clamped to 32 bits");
        let number = u32::try_from(links.number).map_err(|_| Error::bad_input("more files than cpio has inode numbers"))?;
        let count = u32::try_from(links.count).map_err(|_| Error::bad_input("more links than cpio can count"))?;
        let fields = Fields {
            ino: number,
            mode: inode.content.type_bits() | inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            nlink: count,
            mtime,
            filesize: size,
            rdev: device,
        };
        self.header(&fields, path);
        self.len += body.len();
        match &inode.content {
            Content::Symlink(target) => self.text.extend_from_slice(target),
            _ if body.is_empty() => {}
            _ => self.bodies.push((self.text.len(), body)),
        }
        self.pad();
        Ok(())
    }

    fn header(&mut self, fields: &Fields, path: &[u8]) {
        let before = self.text.len();
        self.text.extend_from_slice(fields.text(path).as_bytes());
        self.text.extend_from_slice(path);
        self.text.push(0);
        self.len += units::bytes(self.text.len() - before);
        self.pad();
    }

    fn pad(&mut self) {
        while !self.len.is_multiple_of(ALIGNMENT) {
            self.text.push(0);
            self.len += 1;
        }
    }

    fn finish(mut self) -> Blob {
        self.header(&Fields { nlink: 1, ..Fields::default() }, TRAILER);
        let text = Blob::from(self.text);
        let mut archive = Blob::default();
        let mut done = 0;
        for (upto, body) in &self.bodies {
            let upto = units::bytes(*upto);
            archive.append(&text.slice(done..upto));
            archive.append(body);
            done = upto;
        }
        archive.append(&text.slice(done..text.len()));
        archive
    }
}

/// The fields of a header, but for those that follow from the name.
#[derive(Default)]
struct Fields {
    ino: u32,
    mode: u32,
    uid: u32,
    gid: u32,
    nlink: u32,
    mtime: u32,
    filesize: u32,
    rdev: Device,
}

impl Fields {
    fn text(&self, path: &[u8]) -> String {
        let namesize = u32::try_from(path.len() + 1).expect("paths are checked");
        let Device { major, minor } = self.rdev;
        let Self { ino, mode, uid, gid, nlink, mtime, filesize, .. } = *self;
        // In the order of the header; the device that holds the file is 0:0, and the checksum is 0 in a 070701 archive.
        let values = [ino, mode, uid, gid, nlink, mtime, filesize, 0, 0, major, minor, namesize, 0];
        let mut text = String::with_capacity(HEADER_LEN);
        text.push_str("070701");
        for value in values {
            write!(text, "{value:08x}").expect("a string takes any text");
        }
        text
    }
}

fn check_path(path: &[u8]) -> Result<()> {
    if path.len() < PATH_MAX {
        return Ok(());
    }
    Err(Error::bad_input(format!("a path of {} bytes, Linux unpacks at most {}", path.len(), PATH_MAX - 1)))
}

#[cfg(test)]
mod tests;
