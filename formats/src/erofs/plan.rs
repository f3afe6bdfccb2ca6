//! From a tree to inodes: what each of them holds, before anything has a place.

use super::{
    chunks::Chunks,
    directory::Directory,
    inode::{Data, Node},
    xattr,
};
use crate::{
    Error, Result, Timestamp,
    error::At,
    tree::{Content, Device, Inode, ShowPath, Tree},
};
use std::collections::HashMap;

/// The longest name: `EROFS_NAME_LEN`.
const NAME_MAX: usize = 255;
/// The longest target of a symbolic link: Linux `PATH_MAX` without its NUL.
const TARGET_MAX: usize = 4095;
/// Linux keeps 12 bits of a device's major number.
const MAJOR_MAX: u32 = (1 << 12) - 1;
/// And 20 of its minor number.
const MINOR_MAX: u32 = (1 << 20) - 1;

/// The inodes of a tree, in its order; `time` is the volume's.
pub(super) fn nodes(tree: &Tree, is_compressed: bool, time: Timestamp) -> Result<Vec<Node<'_>>> {
    let paths = first_paths(tree);
    let mut directories = directories(tree)?;
    let counts = tree.name_counts();
    let mut nodes = Vec::with_capacity(tree.inodes.len());
    for (number, inode) in tree.inodes.iter().enumerate() {
        // The root has no name to show.
        let path = if number == 0 { b"/" } else { paths[number] };
        let data = match directories.remove(&number) {
            Some(directory) => Data::Directory(directory),
            None => data(inode, is_compressed).at(|| ShowPath(path))?,
        };
        let nlink = match &data {
            Data::Directory(directory) => directory.link_count(tree),
            _ => counts[number],
        };
        let xattrs = xattr::body(&inode.xattrs).at(|| ShowPath(path))?;
        nodes.push(Node::new(path, inode, nlink, time, xattrs, data));
    }
    Ok(nodes)
}

/// Whose blocks follow whose: directories stand together, behind the metadata.
pub(super) fn data_order(nodes: &[Node<'_>]) -> Vec<usize> {
    let (directories, others): (Vec<_>, Vec<_>) = (0..nodes.len()).partition(|number| nodes[*number].is_directory());
    [directories, others].concat()
}

/// The first name of each inode, for errors.
fn first_paths(tree: &Tree) -> Vec<&[u8]> {
    let mut paths: Vec<&[u8]> = vec![b""; tree.inodes.len()];
    for name in tree.names.iter().rev().filter(|name| name.inode != 0) {
        paths[name.inode] = &name.path;
    }
    paths
}

/// Every directory with its entries, by inode.
fn directories(tree: &Tree) -> Result<HashMap<usize, Directory<'_>>> {
    let mut numbers: HashMap<&[u8], usize> = HashMap::from([(b"".as_slice(), 0)]);
    let mut directories = HashMap::from([(0, Directory::new(0, 0))]);
    for name in &tree.names {
        let (parent, last) = split(&name.path);
        if last.len() > NAME_MAX {
            let what = format!("a name of {} bytes, EROFS has names of at most {NAME_MAX}", last.len());
            return Err(Error::unsupported(what).at(ShowPath(&name.path)));
        }
        let parent = *numbers.get(parent).expect("parents come before their children");
        directories.get_mut(&parent).expect("a parent is a directory").add(last, name.inode);
        if matches!(tree.inodes[name.inode].content, Content::Directory) {
            numbers.insert(&name.path, name.inode);
            directories.insert(name.inode, Directory::new(name.inode, parent));
        }
    }
    directories.values_mut().for_each(Directory::sort);
    Ok(directories)
}

/// A path as its directory and its last component.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// What an inode other than a directory holds.
fn data(inode: &Inode, is_compressed: bool) -> Result<Data<'_>> {
    Ok(match &inode.content {
        Content::File(body) => match Chunks::of(body, is_compressed) {
            Some(chunks) => Data::Chunks(chunks),
            None => Data::Flat(body.clone()),
        },
        Content::Symlink(target) if target.is_empty() => return Err(Error::bad_input("a symbolic link without a target")),
        Content::Symlink(target) if target.len() > TARGET_MAX => {
            let what = format!("a target of {} bytes, Linux has at most {TARGET_MAX}", target.len());
            return Err(Error::unsupported(what));
        }
        Content::Symlink(target) => Data::Flat(target.clone().into()),
        Content::CharacterDevice(device) | Content::BlockDevice(device) => Data::Device(encoded(*device)?),
        Content::Fifo => Data::Nothing,
        Content::Directory => unreachable!("every directory has a name"),
    })
}

/// A device number as Linux' `new_encode_dev` has it.
fn encoded(device: Device) -> Result<u32> {
    let Device { major, minor } = device;
    if major > MAJOR_MAX || minor > MINOR_MAX {
        let what = format!("device {major}:{minor}, Linux has majors up to {MAJOR_MAX} and minors up to {MINOR_MAX}");
        return Err(Error::unsupported(what));
    }
    Ok(minor & 0xff | major << 8 | (minor & !0xff) << 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_as_in_linux() {
        let encoded = |major, minor| encoded(Device { major, minor });
        assert_eq!(encoded(5, 1).unwrap(), 0x501);
        assert_eq!(encoded(254, 300).unwrap(), 0x0010_fe2c);
        assert_eq!(encoded(MAJOR_MAX, MINOR_MAX).unwrap(), u32::MAX);
        assert!(encoded(MAJOR_MAX + 1, 0).is_err() && encoded(0, MINOR_MAX + 1).is_err());
    }
}
