//! `Hierarchy`: a tree as file systems on disk want it, directory by directory.

use super::{Content, Tree};
use std::collections::HashMap;

/// Every directory of a tree with what is in it; parents come before their children, in the order of [`Tree::names`].
#[derive(Debug)]
pub struct Hierarchy<'a> {
    /// The directories; the root is the first.
    pub directories: Vec<Directory<'a>>,
}

/// A directory.
#[derive(Debug)]
pub struct Directory<'a> {
    /// Index into [`Tree::inodes`].
    pub inode: usize,
    /// The directory above, an index into [`Hierarchy::directories`]; the root is in itself.
    pub parent: usize,
    /// What is in it, in the order of the names' bytes.
    pub children: Vec<Child<'a>>,
}

/// A name in a directory.
#[derive(Debug)]
pub struct Child<'a> {
    /// The last component of the path.
    pub name: &'a [u8],
    /// Index into [`Tree::names`].
    pub index: usize,
    /// Index into [`Tree::inodes`].
    pub inode: usize,
    /// Where it is a directory, its index in [`Hierarchy::directories`].
    pub directory: Option<usize>,
}

impl Directory<'_> {
    /// How many names it has: one in its parent, its own `.`, and the `..` of every directory in it.
    pub fn links(&self) -> usize {
        2 + self.children.iter().filter(|child| child.directory.is_some()).count()
    }
}

impl<'a> Hierarchy<'a> {
    /// The view of a tree.
    pub fn of(tree: &'a Tree) -> Self {
        let new = |inode, parent| Directory { inode, parent, children: Vec::new() };
        let mut directories = vec![new(0, 0)];
        let mut by_path: HashMap<&[u8], usize> = HashMap::from([(b"".as_slice(), 0)]);
        for (index, name) in tree.names.iter().enumerate() {
            let base = name.base();
            let above = &name.path[..(name.path.len() - base.len()).saturating_sub(1)];
            let parent = *by_path.get(above).expect("every name's parent is a directory before it");
            let is_directory = matches!(tree.inodes[name.inode].content, Content::Directory);
            let directory = is_directory.then_some(directories.len());
            if is_directory {
                by_path.insert(&name.path, directories.len());
                directories.push(new(name.inode, parent));
            }
            directories[parent].children.push(Child { name: base, index, inode: name.inode, directory });
        }
        Self { directories }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Builder, Inode, ShowPath};

    #[test]
    fn directories_have_their_names_in_order_whatever_stands_between() {
        let mut builder = Builder::default();
        for path in ["a/x", "a/y/z", "a-b", "a.c/d"] {
            builder.add(path.as_bytes(), Inode::new(Content::Fifo, 0o600)).unwrap();
        }
        let tree = builder.finish();
        let hierarchy = Hierarchy::of(&tree);
        let names = |directory: &Directory<'_>| directory.children.iter().map(|child| ShowPath(child.name).to_string()).collect::<Vec<_>>();
        let found: Vec<_> = hierarchy.directories.iter().map(|d| (d.parent, d.links(), names(d).join(" "))).collect();
        // `a-b` and `a.c/d` are sorted before `a/x`.
        let wanted = [(0, 4, "a a-b a.c"), (0, 3, "x y"), (0, 2, "d"), (1, 2, "z")];
        assert_eq!(found, wanted.map(|(parent, links, names)| (parent, links, names.to_owned())));
    }
}
