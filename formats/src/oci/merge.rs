//! Layers over one another into a tree (OCI image specification, "Filesystem Layers").
//!
//! | an entry | means |
//! |---|---|
//! | `DIR/.wh.NAME` | `DIR/NAME` of the layers below is not there any more |
//! | `DIR/.wh..wh..opq` | nothing of the layers below is in `DIR` any more, wherever in its layer this stands |
//! | `.wh..wh.` and anything else | bookkeeping of AUFS: nothing |
//! | no directory, where the layers below have one | that and all in it is not there any more |
//! | anything else | is added as extracting it would |
//!
//! Judged by umoci.

use crate::{
    At, Blob, Error, Result, Tree,
    tar::{Entry, Member, Members, verbatim::split},
    tree::{self, Content, ShowPath},
};

/// What begins the name of a whiteout.
pub const WHITEOUT: &[u8] = b".wh.";
/// The whole name of an opaque one.
pub const OPAQUE: &[u8] = b".wh..wh..opq";

/// The tree of layers that are not compressed, from the bottom up, each with what messages call it.
///
/// # Errors
/// When a layer is no tar, or its entries cannot be; the error names layer and entry.
pub fn tree(layers: &[(String, Blob)]) -> Result<Tree> {
    let mut tree = tree::Builder::default();
    for (name, layer) in layers {
        lay(&mut tree, layer).at(|| name)?;
    }
    Ok(tree.finish())
}

fn lay(tree: &mut tree::Builder, layer: &Blob) -> Result<()> {
    // A layer without an end is whole all the same, as its digest says; one of no bytes has nothing in it.
    for member in Members::new(layer) {
        let Member { path, .. } = member?;
        if let Some((directory, name)) = whiteout(&path) {
            hide(tree, directory, name).at(|| format!("entry {}", ShowPath(&path)))?;
        }
    }
    for member in Members::new(layer) {
        let member = member?;
        if whiteout(&member.path).is_some() {
            continue;
        }
        let is_directory = matches!(&member.entry, Entry::Inode(inode) if matches!(inode.content, Content::Directory));
        if !is_directory && tree.is_directory(&member.path).unwrap_or(false) && member.path.iter().any(|byte| !b"./".contains(byte)) {
            tree.remove(&member.path)?;
        }
        member.add_to(tree)?;
    }
    Ok(())
}

/// Directory and name of a whiteout.
fn whiteout(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let (directory, name) = split(path.strip_suffix(b"/").unwrap_or(path));
    name.starts_with(WHITEOUT).then_some((directory, name))
}

fn hide(tree: &mut tree::Builder, directory: &[u8], name: &[u8]) -> Result<()> {
    match &name[WHITEOUT.len()..] {
        _ if name == OPAQUE => tree.clear(directory).map(drop),
        hidden if hidden.starts_with(WHITEOUT) => Ok(()),
        b"" | b"." | b".." => Err(Error::bad_input("it is a whiteout that names nothing")),
        hidden => tree.remove(&[directory, hidden].concat()).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        tar::{Dialect, Writer},
        tree::Inode,
    };

    /// A layer: `path/`, `path=text`, `path->target`, `path==hard link`.
    fn layer(entries: &str) -> (String, Blob) {
        let mut writer = Writer::new(Dialect::Pax);
        for entry in entries.split_whitespace() {
            let file = |text: &str| Inode::new(Content::File(Blob::bytes(text.as_bytes())), 0o644);
            if let Some((path, target)) = entry.split_once("==") {
                writer.hard_link(path.as_bytes(), target.as_bytes(), &file("")).unwrap();
            } else if let Some((path, target)) = entry.split_once("->") {
                writer.add(path.as_bytes(), &Inode::new(Content::Symlink(target.into()), 0o777)).unwrap();
            } else if let Some(path) = entry.strip_suffix('/') {
                writer.add(path.as_bytes(), &Inode::new(Content::Directory, 0o755)).unwrap();
            } else {
                let (path, text) = entry.split_once('=').unwrap_or((entry, ""));
                writer.add(path.as_bytes(), &file(text)).unwrap();
            }
        }
        (format!("layer {entries}"), writer.finish())
    }

    fn merged(layers: &[&str]) -> Result<String> {
        let layers: Vec<_> = layers.iter().map(|entries| layer(entries)).collect();
        let tree = tree(&layers)?;
        let show = |name: &tree::Name| match &tree.inodes[name.inode].content {
            Content::File(body) => format!("{}={}", ShowPath(&name.path), String::from_utf8_lossy(&body.to_vec(9).unwrap())),
            Content::Directory => format!("{}/", ShowPath(&name.path)),
            Content::Symlink(target) => format!("{}->{}", ShowPath(&name.path), ShowPath(target)),
            other => format!("{other:?}"),
        };
        Ok(tree.names.iter().map(show).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn layers_hide_what_is_below() {
        let cases: &[(&[&str], &str)] = &[
            (&["a=1 b=2", "a=3"], "a=3 b=2"),
            (&["a=1 d/ d/x=2", ".wh.a d/.wh.x .wh.nothing no/.wh.where"], "d/"),
            (&["d/ d/x=1 d/y=2", "d/ d/z=3 d/.wh..wh..opq"], "d/ d/z=3"),
            (&["d/ d/x=1", "d/.wh..wh..opq"], "d/"),
            (&["a=1", "b=1 .wh..wh..opq"], "b=1"),
            (&["a=1", "a=2 .wh.a"], "a=2"),
            (&["d/ d/x=1", "d=file"], "d=file"),
            (&["d/ d/x=1", "d->e"], "d->e"),
            (&["d=file", "d/ d/x=1"], "d/ d/x=1"),
            (&["a=1", "b==a", ".wh.a"], "b=1"),
            (&["usr/ usr/lib/ usr/lib/a=1 lib->usr/lib", "lib/b=2 lib/.wh.a"], "lib->usr/lib usr/ usr/lib/ usr/lib/b=2"),
            (&["a=1", ".wh..wh.plnk/ .wh..wh.aufs"], "a=1"),
            (&["d/ d/e/ d/e/x=1", ".wh.d", "d/"], "d/"),
        ];
        for (layers, wanted) in cases {
            assert_eq!(merged(layers).unwrap(), *wanted, "{layers:?}");
        }
        assert!(tree(&[("empty".into(), Blob::default())]).unwrap().names.is_empty());
    }

    #[test]
    fn what_cannot_be_names_layer_and_entry() {
        for (layers, words) in [
            (&["a", ".wh."][..], "layer .wh.: entry .wh.: it is a whiteout that names nothing"),
            (&["a", "x/.wh..."], "names nothing"),
            (&["a", "b==c"], "entry b: a hard link to c"),
        ] {
            let error = merged(layers).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
