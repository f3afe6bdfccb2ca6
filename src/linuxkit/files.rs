//! The `files` section.

use super::{
    config::{Config, File, Place},
    metadata::{self, Form},
    spec,
    spec::Ids,
    tagged::{T0, Tag, Tagged},
};
use crate::error::{At, Error, Result};
use formats::{
    Blob,
    tar::{
        typeflag,
        verbatim::{Entry, clean, split},
    },
    tree::ShowPath,
};
use std::collections::HashSet;

/// Where the files come from that a configuration names by path.
pub(crate) trait Sources {
    /// The content of a file; nothing where there is none to be read.
    ///
    /// # Errors
    /// When it cannot be read, or is no file.
    fn open(&self, path: &str) -> Result<Option<Blob>>;
}

/// What the file is.
enum Content {
    Directory,
    Symlink(String),
    Body(Blob),
    /// It is not there, and may be absent.
    Absent,
}

/// Puts all files into the tar, with the directories that lead to them: as LinuxKit does it, these have the mode and the owner of the
/// first file in them.
///
/// # Errors
/// When a file is not described as it must be, or cannot be read.
pub(super) fn put(to: &mut Tagged, config: &Config, ids: &Ids, sources: &dyn Sources) -> Result<()> {
    let mut made = HashSet::new();
    for (nth, file) in config.files.iter().enumerate() {
        let tag = Tag::new("linuxkit.files", format!("files[{nth}]"));
        let mode = mode(file)?;
        let id = |id: &Option<_>| id.as_ref().map_or(Ok(0), |id| spec::number(id, ids));
        let (uid, gid) = (i64::from(id(&file.uid)?), i64::from(id(&file.gid)?));
        let path = file.path.strip_prefix('/').unwrap_or(&file.path);
        if file.path.is_empty() {
            return Err(Error::bad_input("a file has no path").at(&file.at));
        }
        let (kind, link, body) = match content(file, config, sources)? {
            Content::Absent => continue,
            Content::Directory => (typeflag::DIRECTORY, String::new(), Blob::default()),
            Content::Symlink(target) => (typeflag::SYMLINK, target, Blob::default()),
            Content::Body(body) => (typeflag::FILE, String::new(), body),
        };
        let mut add = |kind: u8, path: &[u8], mode: i64, link: &str, body: &Blob| {
            let mut entry = Entry { mtime: T0, uid, gid, link: link.into(), ..Entry::new(kind, path, mode) };
            tag.mark(&mut entry);
            to.add(&entry, body).at(|| &file.at)
        };
        for parent in parents(path) {
            if made.insert(parent.clone()) {
                add(typeflag::DIRECTORY, &parent, searchable(mode), "", &Blob::default())?;
            }
        }
        made.insert(path.as_bytes().to_vec());
        add(kind, path.as_bytes(), mode, &link, &body)?;
    }
    Ok(())
}

fn mode(file: &File) -> Result<i64> {
    let Some(text) = &file.mode else { return Ok(if file.directory { 0o700 } else { 0o600 }) };
    let mode = spec::octal(text).filter(|mode| i32::try_from(*mode).is_ok());
    mode.ok_or_else(|| {
        let what = format!("mode is '{}', must be octal, as \"0644\"", ShowPath(text.as_bytes()));
        Error::bad_input(what).at(&text.at)
    })
}

/// A mode with the right to search wherever it has any other.
fn searchable(mode: i64) -> i64 {
    [0o700, 0o070, 0o007].iter().fold(mode, |mode, triple| if mode & triple == 0 { mode } else { mode | (triple & 0o111) })
}

fn content(file: &File, config: &Config, sources: &dyn Sources) -> Result<Content> {
    let from = [("source", &file.source), ("metadata", &file.metadata)];
    let given = from.iter().find(|(_, text)| text.is_some()).map(|(name, _)| *name);
    let own = match file {
        File { directory: true, contents: Some(_), .. } => return Err(both("directory", "contents", &file.at)),
        File { directory: true, .. } => Some(("directory", Content::Directory)),
        File { symlink: Some(target), .. } => Some(("symlink", Content::Symlink(target.value.clone()))),
        File { contents: Some(text), .. } => Some(("contents", Content::Body(Blob::bytes(text.as_bytes())))),
        _ => None,
    };
    match (own, given, &file.source, &file.metadata) {
        (Some((name, _)), Some(other), ..) => Err(both(name, other, &file.at)),
        (Some((_, content)), ..) => Ok(content),
        (None, _, Some(_), Some(_)) => Err(both("source", "metadata", &file.at)),
        (None, _, Some(source), _) => match sources.open(source).at(|| &source.at)? {
            Some(body) => Ok(Content::Body(body)),
            None if file.optional => Ok(Content::Absent),
            None => {
                let what = format!("there is no file {}", ShowPath(source.as_bytes()));
                Err(Error::bad_input(what).hint("say optional: true where it may be absent").at(&source.at))
            }
        },
        (None, _, _, Some(kind)) => match kind.as_str() {
            "yaml" => Ok(Content::Body(Blob::bytes(metadata::text(config, Form::Yaml).into_bytes()))),
            "json" => Ok(Content::Body(Blob::bytes(metadata::text(config, Form::Json).into_bytes()))),
            other => Err(Error::bad_input(format!("metadata is '{}', must be yaml or json", ShowPath(other.as_bytes()))).at(&kind.at)),
        },
        (None, _, None, None) => {
            let path = ShowPath(file.path.as_bytes());
            let hint = "give contents, source, symlink, metadata or directory: true";
            Err(Error::bad_input(format!("nothing says what is in file {path}")).hint(hint).at(&file.at))
        }
    }
}

fn both(one: &str, other: &str, at: &Place) -> Error {
    Error::bad_input(format!("a file has both {one} and {other}, one must go")).at(at)
}

/// The directories that lead to a path, from the top, each clean.
fn parents(path: &str) -> Vec<Vec<u8>> {
    let directory = clean(split(path.as_bytes()).0);
    let mut all: Vec<Vec<u8>> = Vec::new();
    for part in directory.split(|byte| *byte == b'/').filter(|part| *part != b".") {
        let parent =
            all.last().filter(|parent| !parent.is_empty()).map_or_else(|| part.to_vec(), |parent| [parent, b"/".as_slice(), part].concat());
        all.push(parent);
    }
    all
}
