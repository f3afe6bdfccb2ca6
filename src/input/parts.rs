//! The other files of a disk in several files. They are opened only where the user trusts the file that names them.

use super::{FileId, Opening, open_plain, recognised};
use crate::{
    error::{At, Error, Result},
    names::find,
};
use formats::{Blob, Env, Format, Reading, tree::ShowPath};
use serde_json::Value;
use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    rc::Rc,
};

/// Longest chain of overlays; QEMU's own advice is to keep far below it. A loop ends here.
const DEPTH_MAX: u32 = 200;

/// A file name of bytes.
#[cfg(unix)]
fn os_path(name: &[u8]) -> Result<&Path> {
    Ok(Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name)))
}

/// A file name of bytes, which other systems have as text.
#[cfg(not(unix))]
fn os_path(name: &[u8]) -> Result<&Path> {
    let text =
        std::str::from_utf8(name).map_err(|_| Error::bad_input(format!("'{}' is no file name here: it is no UTF-8", ShowPath(name))))?;
    Ok(Path::new(text))
}

/// The file and the format of one of QEMU's descriptions of a block device in JSON, nested or with dots in the keys.
fn described(text: &[u8]) -> Result<(String, Option<String>)> {
    let json: Value = serde_json::from_slice(text).map_err(|error| Error::bad_input("is no JSON").because(error))?;
    let mut options = Vec::new();
    flatten("", &json, &mut options)?;
    let mut take = |wanted: &str| options.iter().position(|(key, _)| key == wanted).map(|at| options.swap_remove(at).1);
    let (inner, outer) = (take("file.filename"), take("filename"));
    let (protocol, driver) = match inner {
        Some(_) => (take("file.driver"), take("driver")),
        None => (take("driver"), None),
    };
    let name = inner.or(outer).ok_or_else(|| Error::unsupported("names no file, which alone is followed"))?;
    if let Some(protocol) = protocol.filter(|protocol| protocol != "file") {
        return Err(Error::unsupported(format!("is read by {}, and files alone are followed", ShowPath(protocol.as_bytes()))));
    }
    match options.first() {
        Some((key, _)) => Err(Error::unsupported(format!("has the option {}, which is not heeded", ShowPath(key.as_bytes())))),
        None => Ok((name, driver)),
    }
}

fn flatten(key: &str, value: &Value, options: &mut Vec<(String, String)>) -> Result<()> {
    match value {
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            let dot = if key.is_empty() { "" } else { "." };
            flatten(&format!("{key}{dot}{name}"), value, options)
        }),
        Value::String(text) => {
            options.push((key.to_owned(), text.clone()));
            Ok(())
        }
        other => {
            options.push((key.to_owned(), other.to_string()));
            Ok(())
        }
    }
}

/// The files beside a disk image.
#[derive(Debug)]
pub(super) struct Parts {
    /// The name of the image.
    name: PathBuf,
    directory: PathBuf,
    /// How each of them is opened.
    opening: Opening,
    depth: u32,
    /// Those that were opened.
    opened: Rc<RefCell<Vec<FileId>>>,
}

impl Parts {
    /// The files beside the image that is opened.
    pub(super) fn new(path: &Path, opening: &Opening) -> Self {
        let name = path.file_name().map(PathBuf::from).unwrap_or_default();
        let each = Opening { force: opening.force, ..Opening::default() };
        Self { name, directory: opening.follow.clone().unwrap_or_default(), opening: each, depth: 0, opened: Rc::default() }
    }

    /// The name of a description, and of the manifest that stands beside it where there is one.
    pub(super) fn described(&self) -> (String, Option<String>) {
        let manifest = self.name.with_extension("mf");
        let is_there = self.directory.join(&manifest).is_file();
        (self.name.to_string_lossy().into_owned(), is_there.then(|| manifest.to_string_lossy().into_owned()))
    }

    /// The files that were opened so far.
    pub(super) fn opened(&self) -> Vec<FileId> {
        self.opened.borrow().clone()
    }

    /// The path of a file by the name that another one has for it.
    fn path(&self, name: &[u8]) -> Result<PathBuf> {
        let refuse = |why: &str| Err(Error::unsupported(format!("'{}' {why}", ShowPath(name))));
        let name = name.strip_prefix(b"file:").unwrap_or(name);
        match name.iter().position(|byte| *byte == b':').map(|colon| &name[..colon]) {
            // A scheme of QEMU's block drivers (`nbd:`, `json:`), not a Windows drive.
            Some(scheme) if scheme.len() > 1 && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'+') => {
                refuse("is not a file, which alone is followed")
            }
            _ if name.is_empty() => refuse("is no file name"),
            _ => Ok(self.directory.join(os_path(name)?)),
        }
    }

    fn open(&self, path: &Path, env: &mut Env) -> Result<Blob> {
        let file = open_plain(path, &self.opening, env).at(|| path.display().to_string())?;
        self.opened.borrow_mut().extend(FileId::of(path));
        Ok(file)
    }
}

impl formats::Parts for Parts {
    fn file(&self, name: &[u8], env: &mut Env) -> Result<Blob> {
        self.open(&self.path(name)?, env)
    }

    fn disk(&self, name: &[u8], format: Option<&str>, env: &mut Env) -> Result<Blob> {
        if let Some(text) = name.strip_prefix(b"json:") {
            let (name, driver) = described(text).at(|| format!("'{}'", ShowPath(name)))?;
            return self.disk(name.as_bytes(), driver.as_deref().or(format), env);
        }
        if self.depth >= DEPTH_MAX {
            return Err(Error::bad_input(format!("the disk is an overlay of an overlay and so on, {DEPTH_MAX} deep")));
        }
        let path = self.path(name)?;
        let place = || path.display().to_string();
        let file = self.open(&path, env)?;
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        let below =
            Self { name: PathBuf::new(), directory, opening: self.opening.clone(), depth: self.depth + 1, opened: Rc::clone(&self.opened) };
        let format: &dyn Format = format.map_or_else(|| recognised(&file), find).at(place)?;
        format.decode(&file, &Reading { snapshot: None, force: self.opening.force, parts: Some(&below) }, env).at(place)
    }

    /// Beside the image, and one up: VirtualBox has its snapshots in a directory of their own.
    fn near(&self, ending: &str) -> Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        for up in ["", ".."] {
            let directory = self.directory.join(up);
            let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
            for entry in std::fs::read_dir(directory).at(|| directory.display().to_string())? {
                let name = Path::new(up).join(entry?.file_name());
                let is_wanted =
                    name.extension().is_some_and(|found| ending.strip_prefix('.').is_some_and(|e| found.eq_ignore_ascii_case(e)));
                if is_wanted {
                    names.push(name.into_os_string().into_encoded_bytes());
                }
            }
        }
        // What is near is found in the same order everywhere.
        names.sort();
        Ok(names)
    }
}
