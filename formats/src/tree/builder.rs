//! Builds a [`Tree`] out of archive members in archive order, as extracting them one after the other would.
//!
//! | an entry meets | what happens, as with `tar -x` and the kernel's initramfs unpacker |
//! |---|---|
//! | the same path | the later entry replaces the earlier; other hard links keep the old inode |
//! | a directory, and is one | its attributes replace the earlier ones; what is inside stays |
//! | an empty directory, and is none | it replaces the directory |
//! | a directory with something inside, and is none | refused |
//! | a symbolic link, and is a directory | it replaces the link |
//! | a symbolic link on the way to it | the link is followed, inside the root; one that leads nowhere is refused |
//! | anything else on the way to it | refused: only a directory holds entries |
//! | no parent directory | the parent is made: 0755, root's, modified at 1970-01-01 00:00:00 UTC |
//!
//! A hard link refers to what has its target's path at that moment; to nothing or to a directory it is refused.

use super::{Content, Inode, Name, ShowPath, Tree};
use crate::{Error, Result, units};
use std::collections::BTreeMap;

/// Longest path in bytes: Linux `PATH_MAX` without its NUL.
pub(crate) const PATH_MAX: usize = 4095;
/// Longest component in bytes: Linux `NAME_MAX`.
const NAME_MAX: usize = 255;
/// Most bytes that a tree keeps in memory beside its inodes: paths, those of directories in full, link targets and extended attributes.
/// Millions of files have less, and an archive of a few MiB could ask for any number of GiB.
pub const NAMES_MAX: usize = 128 << 20;
/// Symbolic links followed for one path: Linux `MAXSYMLINKS`.
const SYMLINKS_MAX: u32 = 40;

const ROOT: usize = 0;

/// A tree in the making.
#[derive(Debug)]
pub struct Builder {
    /// Every inode ever added; those that were replaced have no name.
    nodes: Vec<Node>,
    /// Bytes that count against [`NAMES_MAX`].
    names_len: usize,
}

#[derive(Debug)]
struct Node {
    inode: Inode,
    /// Present exactly when the inode is a directory.
    directory: Option<Box<Directory>>,
}

/// What is inside a directory, and where it stands; directories have one name and never move.
#[derive(Debug)]
struct Directory {
    parent: usize,
    /// Bytes of its own path.
    path_len: usize,
    children: BTreeMap<Vec<u8>, usize>,
}

/// What to do where a path leads over a directory that does not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    Refuse,
}

impl Default for Builder {
    fn default() -> Self {
        let root = Inode::new(Content::Directory, 0o755);
        let directory = Directory { parent: ROOT, path_len: 0, children: BTreeMap::new() };
        Self { nodes: vec![Node { inode: root, directory: Some(Box::new(directory)) }], names_len: 0 }
    }
}

impl Builder {
    /// Adds an entry. A leading `/` or `./`, empty and `.` components do not count; the path of the root is empty.
    ///
    /// # Errors
    /// When the path has `..`, a NUL or is too long, or by the table above.
    pub fn add(&mut self, path: &[u8], inode: Inode) -> Result<()> {
        let components = components(path)?;
        let target = if let Content::Symlink(target) = &inode.content { target.len() } else { 0 };
        self.count(target + inode.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>())?;
        let is_directory = matches!(inode.content, Content::Directory);
        let Some((name, parents)) = components.split_last() else {
            if !is_directory {
                return Err(Error::bad_input("the root of the file system must be a directory"));
            }
            self.nodes[ROOT].inode = inode;
            return Ok(());
        };
        let parent = self.walk(parents, Missing::Make)?;
        match self.child(parent, name) {
            Some(old) if is_directory && self.nodes[old].directory.is_some() => self.nodes[old].inode = inode,
            _ => {
                let path_len = self.make_room(parent, name)?;
                let node = self.node(inode, parent, path_len)?;
                self.children(parent).insert(name.to_vec(), node);
            }
        }
        Ok(())
    }

    /// Adds a second name for what `target` names now.
    ///
    /// # Errors
    /// When there is no such target or it is a directory, and as [`Builder::add`].
    pub fn hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<()> {
        let refuse = |why: &str| Error::bad_input(format!("a hard link to {}, {why}", ShowPath(target)));
        let to = components(target).map_err(|error| refuse("which is no path inside the archive").because(error))?;
        let (to_name, to_parents) = to.split_last().ok_or_else(|| refuse("which is the root directory"))?;
        let to_parent = self.walk(to_parents, Missing::Refuse).map_err(|error| refuse("which does not lead anywhere").because(error))?;
        let node = self.child(to_parent, to_name).ok_or_else(|| refuse("which no entry before it has"))?;
        if self.nodes[node].directory.is_some() {
            return Err(refuse("which is a directory"));
        }
        let components = components(path)?;
        let (name, parents) = components.split_last().ok_or_else(|| refuse("where the root directory stands"))?;
        let parent = self.walk(parents, Missing::Make)?;
        if self.child(parent, name) != Some(node) {
            let path_len = self.make_room(parent, name)?;
            self.count(path_len)?;
            self.children(parent).insert(name.to_vec(), node);
        }
        Ok(())
    }

    /// Takes away what has this path, with all that is inside; `false` where nothing has it.
    ///
    /// # Errors
    /// When the path has `..`, a NUL or is too long, or is the root's.
    pub fn remove(&mut self, path: &[u8]) -> Result<bool> {
        let components = components(path)?;
        let (name, parents) =
            components.split_last().ok_or_else(|| Error::bad_input("the root of the file system cannot be taken away"))?;
        match self.walk(parents, Missing::Refuse) {
            Ok(parent) => Ok(self.children(parent).remove(*name).is_some()),
            Err(_) => Ok(false),
        }
    }

    /// Takes away all that is inside of a directory; `false` where there is none of this path.
    ///
    /// # Errors
    /// When the path has `..`, a NUL or is too long.
    pub fn clear(&mut self, path: &[u8]) -> Result<bool> {
        let directory = self.walk(&components(path)?, Missing::Refuse);
        directory.map_or(Ok(false), |directory| {
            self.children(directory).clear();
            Ok(true)
        })
    }

    /// Whether a directory has this path, not by way of a symbolic link at its end.
    ///
    /// # Errors
    /// As [`Builder::clear`].
    pub fn is_directory(&mut self, path: &[u8]) -> Result<bool> {
        let components = components(path)?;
        let Some((name, parents)) = components.split_last() else { return Ok(true) };
        let parent = self.walk(parents, Missing::Refuse).ok();
        Ok(parent.and_then(|parent| self.child(parent, name)).is_some_and(|node| self.nodes[node].directory.is_some()))
    }

    /// The tree as it stands.
    pub fn finish(mut self) -> Tree {
        let mut names = Vec::with_capacity(self.nodes.len());
        let mut pending = vec![(ROOT, Vec::new())];
        while let Some((directory, path)) = pending.pop() {
            for (name, node) in std::mem::take(self.children(directory)) {
                let child = if path.is_empty() { name } else { [&path, b"/".as_slice(), &name].concat() };
                if self.nodes[node].directory.is_some() {
                    pending.push((node, child.clone()));
                }
                names.push(Name { path: child, inode: node });
            }
        }
        // A parent is a proper prefix of its children's paths, so it sorts before them.
        names.sort_unstable();
        Tree::numbered(self.nodes.into_iter().map(|node| node.inode).collect(), names)
    }

    /// The directory that components lead to from the root, through symbolic links, which cannot leave the root.
    fn walk(&mut self, path: &[&[u8]], missing: Missing) -> Result<usize> {
        let mut at = ROOT;
        let mut links = 0;
        // What is left to walk, the next component last. Components of link targets are copied: nodes may grow meanwhile.
        let mut left: Vec<Step> = path.iter().rev().map(|name| Step { name: name.to_vec(), of_link: false }).collect();
        while let Some(Step { name, of_link }) = left.pop() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    at = self.nodes[at].directory.as_ref().map_or(ROOT, |directory| directory.parent);
                    continue;
                }
                _ => {}
            }
            let Some(child) = self.child(at, &name) else {
                if missing == Missing::Refuse || of_link {
                    let through = if of_link { " (through a symbolic link)" } else { "" };
                    return Err(Error::bad_input(format!("there is no directory {}{through}", ShowPath(&self.path(at, &name)))));
                }
                at = self.make_directory(at, name)?;
                continue;
            };
            match &self.nodes[child].inode.content {
                Content::Directory => at = child,
                Content::Symlink(target) => {
                    links += 1;
                    if links > SYMLINKS_MAX || target.len() > PATH_MAX {
                        return Err(Error::bad_input(format!(
                            "more than {SYMLINKS_MAX} symbolic links on the way, or one that is too long"
                        )));
                    }
                    let steps = target.split(|byte| *byte == b'/').rev();
                    left.extend(steps.map(|name| Step { name: name.to_vec(), of_link: true }));
                    if target.starts_with(b"/") {
                        at = ROOT;
                    }
                }
                _ => {
                    let place = self.path(at, &name);
                    return Err(Error::bad_input(format!("{} on the way to it is not a directory", ShowPath(&place))));
                }
            }
        }
        Ok(at)
    }

    fn make_directory(&mut self, parent: usize, name: Vec<u8>) -> Result<usize> {
        let path_len = self.make_room(parent, &name)?;
        let node = self.node(Inode::new(Content::Directory, 0o755), parent, path_len)?;
        self.children(parent).insert(name, node);
        Ok(node)
    }

    /// Checks that something that is not an old directory may take this name; gives the length of its path.
    fn make_room(&mut self, parent: usize, name: &[u8]) -> Result<usize> {
        let above = self.nodes[parent].directory.as_ref().map_or(0, |directory| directory.path_len);
        let path_len = if above == 0 { name.len() } else { above + 1 + name.len() };
        if path_len > PATH_MAX {
            return Err(Error::bad_input(format!(
                "its path leads through symbolic links to {path_len} bytes, at most {PATH_MAX} are taken"
            )));
        }
        if let Some(old) = self.child(parent, name)
            && let Some(directory) = &self.nodes[old].directory
            && let Some(inside) = directory.children.keys().next()
        {
            let inside = self.path(old, inside);
            return Err(Error::bad_input(format!("it would replace a directory that is not empty: {} is in it", ShowPath(&inside))));
        }
        Ok(path_len)
    }

    fn node(&mut self, inode: Inode, parent: usize, path_len: usize) -> Result<usize> {
        self.count(path_len)?;
        let directory = matches!(inode.content, Content::Directory);
        let directory = directory.then(|| Box::new(Directory { parent, path_len, children: BTreeMap::new() }));
        self.nodes.push(Node { inode, directory });
        Ok(self.nodes.len() - 1)
    }

    /// Counts bytes that stay in memory.
    fn count(&mut self, bytes: usize) -> Result<()> {
        self.names_len += bytes;
        if self.names_len > NAMES_MAX {
            return Err(too_many_names());
        }
        Ok(())
    }

    fn child(&self, directory: usize, name: &[u8]) -> Option<usize> {
        self.nodes[directory].directory.as_ref()?.children.get(name).copied()
    }

    fn children(&mut self, directory: usize) -> &mut BTreeMap<Vec<u8>, usize> {
        &mut self.nodes[directory].directory.as_mut().expect("only directories have children").children
    }

    /// The path of an entry of a directory, for messages.
    fn path(&self, mut directory: usize, name: &[u8]) -> Vec<u8> {
        let mut components = vec![name];
        while directory != ROOT {
            let Some(parent) = self.nodes[directory].directory.as_ref().map(|d| d.parent) else { break };
            let name = self.nodes[parent].directory.as_ref().and_then(|d| d.children.iter().find(|(_, node)| **node == directory));
            components.extend(name.map(|(name, _)| name.as_slice()));
            directory = parent;
        }
        components.reverse();
        components.join(&b'/')
    }
}

/// What there is to say where paths and the like have more than [`NAMES_MAX`] bytes.
pub fn too_many_names() -> Error {
    let max = units::show_size(units::bytes(NAMES_MAX));
    Error::bad_input(format!("with it, paths, link targets and extended attributes have more than {max}, at most that is taken"))
}

/// One component that is still to be walked.
struct Step {
    name: Vec<u8>,
    /// Whether it came from the target of a symbolic link: then nothing is made on the way.
    of_link: bool,
}

/// The components of an archive path without leading `/`, empty and `.` ones.
///
/// # Errors
/// When a component is `..`, has a NUL or is longer than 255 bytes, or the path is longer than 4,095.
pub fn components(path: &[u8]) -> Result<Vec<&[u8]>> {
    if path.len() > PATH_MAX {
        return Err(Error::bad_input(format!("its path has {} bytes, at most {PATH_MAX} are taken", path.len())));
    }
    if path.contains(&0) {
        return Err(Error::bad_input("its path has a NUL, which no file system can hold"));
    }
    let components: Vec<_> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").collect();
    if components.contains(&b"..".as_slice()) {
        return Err(Error::bad_input("its path has '..', which could lead out of the root"));
    }
    match components.iter().find(|name| name.len() > NAME_MAX) {
        Some(name) => Err(Error::bad_input(format!("a component of its path has {} bytes, at most {NAME_MAX} are taken", name.len()))),
        None => Ok(components),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Blob;
    use proptest::prelude::*;

    fn file(text: &str) -> Inode {
        Inode::new(Content::File(Blob::bytes(text.as_bytes())), 0o644)
    }

    fn directory(mode: u32) -> Inode {
        Inode::new(Content::Directory, mode)
    }

    fn symlink(target: &str) -> Inode {
        Inode::new(Content::Symlink(target.into()), 0o777)
    }

    /// `path=text`, `path/` and `path->target` for every name, hard links with the number of their inode's first name.
    fn show(builder: Builder) -> String {
        let tree = builder.finish();
        let mut lines = Vec::new();
        for name in &tree.names {
            let path = ShowPath(&name.path);
            let first = tree.names.iter().find(|other| other.inode == name.inode).expect("it is there itself");
            lines.push(match &tree.inodes[name.inode].content {
                _ if first != name => format!("{path}=={}", ShowPath(&first.path)),
                Content::File(blob) => format!("{path}={}", String::from_utf8_lossy(&blob.to_vec(99).unwrap())),
                Content::Directory => format!("{path}/"),
                Content::Symlink(target) => format!("{path}->{}", ShowPath(target)),
                other => format!("{path} {other:?}"),
            });
        }
        lines.join(" ")
    }

    #[test]
    fn what_is_kept_by_name_is_bounded() {
        let mut builder = Builder::default();
        // Every name brings its own directories, so that what it costs grows with the square of its length.
        let path = |nth: usize| [format!("{nth:0>255}/").repeat(15).as_bytes(), b"x"].concat();
        let error = (0..100_000).find_map(|nth| builder.add(&path(nth), file("")).err()).unwrap();
        assert!(error.to_string().contains("more than 128 MiB"), "{error}");
        assert!(builder.nodes.len() < 200_000);
        let mut builder = Builder::default();
        let target = Inode::new(Content::Symlink(vec![b'x'; 1 << 20]), 0o777);
        assert_eq!((0..1000).find(|nth| builder.add(nth.to_string().as_bytes(), target.clone()).is_err()), Some(127));
    }

    #[test]
    fn paths_are_normalised() {
        let mut builder = Builder::default();
        builder.add(b"./a//b/./c", file("1")).unwrap();
        builder.add(b"/a/d", file("2")).unwrap();
        builder.add(b"a/e/", directory(0o700)).unwrap();
        builder.hard_link(b"//f", b"./a/b/../b/c").unwrap_err();
        builder.hard_link(b"//f", b"./a//b/c").unwrap();
        assert_eq!(show(builder), "a/ a/b/ a/b/c=1 a/d=2 a/e/ f==a/b/c");
    }

    #[test]
    fn paths_that_leave_the_root_or_fit_no_file_system_are_refused() {
        let long = [b'x'; 256];
        let deep = b"x/".repeat(2048);
        for (path, word) in [(&b"a/../../b"[..], "'..'"), (b"..", "'..'"), (b"a\0b", "NUL"), (&long, "255"), (&deep, "4095")] {
            let error = Builder::default().add(path, file("")).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
        Builder::default().add(b"...", file("")).unwrap();
        Builder::default().add(b"a..b/..c", file("")).unwrap();
    }

    #[test]
    fn parents_come_first_and_are_made_where_missing() {
        let mut builder = Builder::default();
        builder.add(b"a/b/c", file("")).unwrap();
        builder.add(b"a-b", file("")).unwrap();
        builder.add(b"a/b", directory(0o1777)).unwrap();
        let tree = builder.finish();
        assert_eq!(tree.names.iter().map(|name| name.path.as_slice()).collect::<Vec<_>>(), [&b"a"[..], b"a-b", b"a/b", b"a/b/c"]);
        let made = tree.get(b"a").unwrap();
        assert_eq!((made.mode, made.uid, made.gid, made.mtime), (0o755, 0, 0, 0));
        assert_eq!(tree.get(b"a/b").unwrap().mode, 0o1777);
    }

    #[test]
    fn the_last_of_two_entries_wins() {
        let mut builder = Builder::default();
        builder.add(b"f", file("old")).unwrap();
        builder.hard_link(b"before", b"f").unwrap();
        builder.add(b"f", file("new")).unwrap();
        builder.hard_link(b"z", b"f").unwrap();
        builder.add(b"d", directory(0o700)).unwrap();
        builder.add(b"d/x", file("")).unwrap();
        builder.add(b"d", directory(0o711)).unwrap();
        builder.add(b"empty", directory(0o700)).unwrap();
        builder.add(b"empty", file("not any more")).unwrap();
        builder.add(b"was", file("file")).unwrap();
        builder.add(b"was/", directory(0o700)).unwrap();
        assert_eq!(builder.nodes[builder.child(ROOT, b"d").unwrap()].inode.mode, 0o711);
        assert_eq!(show(builder), "before=old d/ d/x= empty=not any more f=new was/ z==f");
    }

    #[test]
    fn a_directory_with_something_inside_is_replaced_by_nothing_else() {
        for replacement in [file("x"), symlink("usr/lib")] {
            let mut builder = Builder::default();
            builder.add(b"usr/lib/x", file("")).unwrap();
            let error = builder.add(b"usr/lib", replacement).unwrap_err();
            assert!(error.to_string().contains("usr/lib/x is in it"), "{error}");
        }
        let mut builder = Builder::default();
        builder.add(b"f", file("")).unwrap();
        builder.add(b"d/x", file("")).unwrap();
        assert!(builder.hard_link(b"d", b"f").is_err());
    }

    #[test]
    fn a_file_is_no_directory() {
        let mut builder = Builder::default();
        builder.add(b"usr/a", file("")).unwrap();
        let error = builder.add(b"usr/a/b/c", file("")).unwrap_err();
        assert_eq!(error.to_string(), "usr/a on the way to it is not a directory");
    }

    #[test]
    fn symbolic_links_on_the_way_are_followed_inside_the_root() {
        for target in ["usr/lib", "/usr/lib", "../../usr/./lib/", "hop"] {
            let mut builder = Builder::default();
            builder.add(b"usr/lib", directory(0o755)).unwrap();
            builder.add(b"hop", symlink("usr/lib")).unwrap();
            builder.add(b"lib", symlink(target)).unwrap();
            builder.add(b"lib/new/x", file("1")).unwrap();
            builder.hard_link(b"y", b"lib/new/x").unwrap();
            assert_eq!(show(builder), format!("hop->usr/lib lib->{target} usr/ usr/lib/ usr/lib/new/ usr/lib/new/x=1 y==usr/lib/new/x"));
        }
    }

    #[test]
    fn a_link_that_leads_nowhere_holds_nothing() {
        for target in ["nowhere", "lib", "file", "/"] {
            let mut builder = Builder::default();
            builder.add(b"file", file("")).unwrap();
            builder.add(b"lib", symlink(target)).unwrap();
            assert_eq!(builder.add(b"lib/x", file("")).is_ok(), target == "/", "{target}");
        }
    }

    #[test]
    fn a_directory_replaces_a_symbolic_link() {
        let mut builder = Builder::default();
        builder.add(b"usr/lib", directory(0o755)).unwrap();
        builder.add(b"lib", symlink("usr/lib")).unwrap();
        builder.add(b"lib", directory(0o755)).unwrap();
        builder.add(b"lib/x", file("")).unwrap();
        assert_eq!(show(builder), "lib/ lib/x= usr/ usr/lib/");
    }

    #[test]
    fn a_hard_link_needs_a_target_that_is_not_a_directory() {
        let mut builder = Builder::default();
        builder.add(b"d/f", file("1")).unwrap();
        builder.add(b"s", symlink("nowhere")).unwrap();
        for (target, word) in
            [(&b"none"[..], "no entry before it"), (b"d", "a directory"), (b"", "the root"), (b"none/x", "no directory none")]
        {
            let error = builder.hard_link(b"l", target).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
        builder.hard_link(b"t", b"s").unwrap();
        builder.hard_link(b"d/f", b"d/f").unwrap();
        assert_eq!(show(builder), "d/ d/f=1 s->nowhere t==s");
    }

    #[test]
    fn the_root_has_attributes_and_stays_a_directory() {
        let mut builder = Builder::default();
        builder.add(b"./", directory(0o711)).unwrap();
        assert!(builder.add(b"/", file("")).is_err());
        assert!(builder.hard_link(b".", b"x").is_err());
        let tree = builder.finish();
        assert_eq!((tree.inodes.len(), tree.inodes[0].mode), (1, 0o711));
    }

    #[test]
    fn symbolic_links_cannot_make_paths_without_end() {
        let mut builder = Builder::default();
        let step = b"d/".repeat(1500);
        builder.add(&step, directory(0o755)).unwrap();
        builder.add(b"s", symlink(std::str::from_utf8(&step).unwrap())).unwrap();
        let error = builder.add(&[b"s/".as_slice(), &step].concat(), directory(0o755)).unwrap_err();
        assert!(error.to_string().contains("symbolic links to 4097 bytes"), "{error}");
    }

    proptest! {
        /// Whatever is added, every name's parent is a directory that comes before it, and every inode has a name.
        #[test]
        fn a_tree_is_always_a_tree(steps in prop::collection::vec((0u8..4, "[ab./]{1,6}", "[ab./]{0,6}"), 0..40)) {
            let mut builder = Builder::default();
            for (kind, path, target) in &steps {
                let _: Result<()> = match kind {
                    0 => builder.add(path.as_bytes(), file(target)),
                    1 => builder.add(path.as_bytes(), directory(0o755)),
                    2 => builder.add(path.as_bytes(), symlink(target)),
                    _ => builder.hard_link(path.as_bytes(), target.as_bytes()),
                };
            }
            let tree = builder.finish();
            prop_assert!(tree.names.is_sorted());
            prop_assert!(tree.name_counts().iter().all(|count| *count > 0));
            for name in &tree.names {
                let parent = name.path.iter().rposition(|byte| *byte == b'/').map_or(&b""[..], |at| &name.path[..at]);
                prop_assert!(matches!(tree.get(parent).expect("the parent is there").content, Content::Directory));
            }
        }
    }
}
