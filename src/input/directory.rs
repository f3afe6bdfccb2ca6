//! A directory of this machine as a tree.
//!
//! What people mean by it stays: names, content, permission bits, symbolic links. What the machine adds does not, so that the same
//! files make the same bytes wherever they are: everything is root's and of the conversion's own time, without extended attributes, and
//! a hard link is a file of its own.

use crate::error::{At, Error, Result};
use formats::{
    Env, Tree,
    tree::{Builder, Content, Inode},
};
use std::{
    fs::{self, File, Metadata},
    path::{Path, PathBuf},
};

/// Everything in a directory. Links are not followed. What files hold is copied, for there may be more of them than may be open at once.
///
/// # Errors
/// When something cannot be read, is neither a file nor a directory nor a link, or there are more names than a tree holds.
pub fn directory(path: &Path, env: &mut Env) -> Result<Tree> {
    part_of(path, |_| true, env)
}

/// The same of what is wanted, by paths below the directory; nothing else is looked at.
pub(super) fn part_of(path: &Path, is_wanted: impl Fn(&[u8]) -> bool, env: &mut Env) -> Result<Tree> {
    let mut builder = Builder::default();
    let root = fs::metadata(path).at(|| path.display())?;
    if !root.is_dir() {
        return Err(Error::bad_input("is no directory, must be one").at(path.display()));
    }
    builder.add(b"", inode(Content::Directory, &root, env))?;
    let mut pending: Vec<(PathBuf, Vec<u8>)> = vec![(path.to_owned(), Vec::new())];
    while let Some((directory, below)) = pending.pop() {
        let place = || directory.display().to_string();
        let mut entries = fs::read_dir(&directory).at(place)?.collect::<std::io::Result<Vec<_>>>().at(place)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, place) = (entry.path(), || entry.path().display().to_string());
            let name = [below.as_slice(), entry.file_name().as_encoded_bytes()].concat();
            if !is_wanted(&name) {
                continue;
            }
            let metadata = entry.metadata().at(place)?;
            let content = content(&path, &metadata, env).at(place)?;
            if matches!(content, Content::Directory) {
                pending.push((path, [name.as_slice(), b"/"].concat()));
            }
            builder.add(&name, inode(content, &metadata, env)).at(place)?;
        }
    }
    Ok(builder.finish())
}

fn content(path: &Path, metadata: &Metadata, env: &mut Env) -> Result<Content> {
    Ok(match metadata {
        metadata if metadata.is_dir() => Content::Directory,
        metadata if metadata.is_symlink() => Content::Symlink(fs::read_link(path)?.into_os_string().into_encoded_bytes()),
        metadata if metadata.is_file() => Content::File(env.spool.copy(&mut File::open(path)?)?),
        _ => return Err(Error::bad_input("is neither a file nor a directory nor a link, must be one of them").hint("leave it out")),
    })
}

fn inode(content: Content, metadata: &Metadata, env: &Env) -> Inode {
    Inode { mtime: env.time.0, ..Inode::new(content, mode(metadata)) }
}

#[cfg(unix)]
fn mode(metadata: &Metadata) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777
}

/// Elsewhere there are no permission bits.
#[cfg(not(unix))]
fn mode(metadata: &Metadata) -> u32 {
    if metadata.is_dir() { 0o755 } else { 0o644 }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::{fs::PermissionsExt, fs::symlink, net::UnixListener};

    #[test]
    fn what_is_meant_stays_and_what_the_machine_adds_does_not() {
        let desk = tempfile::tempdir().unwrap();
        let path = |name: &str| desk.path().join(name);
        fs::create_dir_all(path("b/empty")).unwrap();
        for (name, mode) in [("b/run", 0o750), ("a", 0o600)] {
            fs::write(path(name), name).unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink("b/run", path("link")).unwrap();
        let mut env = Env { time: formats::Timestamp(7), ..Env::scratch(1) };
        let tree = directory(desk.path(), &mut env).unwrap();
        let names: Vec<_> = tree.names.iter().map(|name| String::from_utf8_lossy(&name.path).into_owned()).collect();
        assert_eq!(names, ["a", "b", "b/empty", "b/run", "link"]);
        assert!(tree.inodes.iter().all(|inode| (inode.uid, inode.gid, inode.mtime) == (0, 0, 7)));
        assert_eq!(tree.get(b"b/run").unwrap().mode, 0o750);
        assert!(matches!(&tree.get(b"link").unwrap().content, Content::Symlink(target) if target == b"b/run"));
        assert!(matches!(&tree.get(b"a").unwrap().content, Content::File(body) if body.to_vec(9).unwrap() == b"a"));
    }

    #[test]
    fn what_no_tree_holds_is_named() {
        let desk = tempfile::tempdir().unwrap();
        let _socket = UnixListener::bind(desk.path().join("socket")).unwrap();
        let error = directory(desk.path(), &mut Env::scratch(1)).unwrap_err().to_string();
        assert!(error.ends_with("socket: is neither a file nor a directory nor a link, must be one of them"), "{error}");
        fs::write(desk.path().join("file"), "").unwrap();
        assert!(directory(&desk.path().join("file"), &mut Env::scratch(1)).unwrap_err().to_string().contains("is no directory"));
        assert!(directory(&desk.path().join("none"), &mut Env::scratch(1)).is_err());
    }
}
