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
    tree::{Content, Hierarchy, Inode, ShowPath, Tree},
};
use std::collections::HashMap;

/// The longest name: `EROFS_NAME_LEN`.
const NAME_MAX: usize = 255;
/// The longest target of a symbolic link: Linux `PATH_MAX` without its NUL.
const TARGET_MAX: usize = 4095;

/// The inodes of a tree, in its order; `time` is the volume's.
pub(super) fn nodes(tree: &Tree, is_compressed: bool, time: Timestamp) -> Result<Vec<Node<'_>>> {
    let paths = first_paths(tree);
    let mut directories = directories(tree)?;
    let counts = tree.name_counts();
    let mut nodes = Vec::with_capacity(tree.inodes.len());
    for (number, inode) in tree.inodes.iter().enumerate() {
        // The root has no name to show.
        let path = if number == 0 { b"/" } else { paths[number] };
        let (data, nlink) = match directories.remove(&number) {
            Some((directory, links)) => (Data::Directory(directory), links),
            None => (data(inode, is_compressed).at(|| ShowPath(path))?, counts[number]),
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

/// Every directory with its entries and how many names it has, by inode.
fn directories(tree: &Tree) -> Result<HashMap<usize, (Directory<'_>, u32)>> {
    let hierarchy = Hierarchy::of(tree);
    let too_long = hierarchy.directories.iter().flat_map(|directory| &directory.children).find(|child| child.name.len() > NAME_MAX);
    if let Some(child) = too_long {
        let what = format!("a name of {} bytes, EROFS has names of at most {NAME_MAX}", child.name.len());
        return Err(Error::unsupported(what).at(ShowPath(&tree.names[child.index].path)));
    }
    let written = hierarchy.directories.iter().map(|directory| {
        let links = u32::try_from(directory.links()).expect("fewer directories than memory");
        let children = directory.children.iter().map(|child| (child.name, child.inode));
        let parent = hierarchy.directories[directory.parent].inode;
        (directory.inode, (Directory::new(directory.inode, parent, children), links))
    });
    Ok(written.collect())
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
        Content::CharacterDevice(device) | Content::BlockDevice(device) => Data::Device(device.encoded()?),
        Content::Fifo => Data::Nothing,
        Content::Directory => unreachable!("every directory has a name"),
    })
}
