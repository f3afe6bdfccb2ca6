//! Members of an archive as a file system.

use super::Member;
use crate::{
    At, Blob, Error, Result,
    tree::{Builder, Content, Device, Inode, ShowPath},
};
use std::collections::HashMap;

/// A link target that Linux would take.
const TARGET_MAX: u64 = 4096;

/// Adds the members of one archive. Names that share an inode number are hard links, and any of them may carry the body.
///
/// # Errors
/// When a member is of a type that no file system has, and as [`Builder::add`]; the member is named.
pub fn add_to(members: Vec<Member>, tree: &mut Builder) -> Result<()> {
    let is_link = |member: &Member| member.nlink > 1 && member.kind() != 0o040_000;
    let mut bodies: HashMap<(u32, u32), Blob> = HashMap::new();
    for member in members.iter().filter(|member| is_link(member) && !member.body.is_empty()) {
        bodies.insert((member.ino, member.kind()), member.body.clone());
    }
    let mut first: HashMap<(u32, u32), Vec<u8>> = HashMap::new();
    for mut member in members {
        let place = member.name.clone();
        let place = || format!("cpio member {}", ShowPath(&place));
        let key = (member.ino, member.kind());
        if is_link(&member) {
            if let Some(target) = first.get(&key) {
                tree.hard_link(&member.name, target).at(place)?;
                continue;
            }
            first.insert(key, member.name.clone());
            member.body = bodies.get(&key).cloned().unwrap_or_default();
        }
        let inode = inode(&member).at(place)?;
        tree.add(&member.name, inode).at(place)?;
    }
    Ok(())
}

fn inode(member: &Member) -> Result<Inode> {
    let Device { major, minor } = member.rdev;
    let content = match member.kind() {
        0o100_000 => Content::File(member.body.clone()),
        0o040_000 => Content::Directory,
        0o120_000 => Content::Symlink(member.body.to_vec(TARGET_MAX)?),
        0o020_000 => Content::CharacterDevice(Device { major, minor }),
        0o060_000 => Content::BlockDevice(Device { major, minor }),
        0o010_000 => Content::Fifo,
        other => return Err(Error::unsupported(format!("a file of type {other:#o}, which no root file system has"))),
    };
    let mut inode = Inode::new(content, member.mode & 0o7777);
    (inode.uid, inode.gid, inode.mtime) = (member.uid, member.gid, member.mtime.into());
    Ok(inode)
}
