//! Partitions that a user fills: `--part NAME=SIZE:TYPE=DIR|FILE`, and the volume that `--cloud-init` makes.
//!
//! | TYPE | holds | type of the partition |
//! |---|---|---|
//! | `fat` | a directory as FAT, labelled after the partition | basic data |
//! | `squashfs`, `erofs` | a directory as what a root may be, too | Linux data |
//! | `linux` and the other words of an empty partition, a GUID | the bytes of a file | what it says |
//!
//! cloud-init finds its data on a FAT volume that is labelled `CIDATA` (cloud-init, "NoCloud"): `user-data` and `meta-data`, which it
//! wants both, and what else there is.

use crate::{
    error::{At, Error, Result},
    layout::{self, Part},
    root::{ROOT_FILE_SYSTEMS, RootFs, RootImage},
};
use formats::{
    Blob, Env, Guid, Ids, OptionSpec, Options, Tree,
    fat::{self, File, Volume},
    gpt::{BASIC_DATA, LINUX_DATA},
    kernel::Facts,
    tree::{self, ShowPath},
    units::{SECTOR, show_size},
};
use std::{path::PathBuf, str::FromStr};

/// What a partition is filled with.
#[derive(Clone, Copy, Debug)]
pub enum Filling {
    /// The bytes of a file, as a partition of this type.
    Bytes(Guid),
    /// A directory as FAT.
    Fat,
    /// A directory as what a root may be, too.
    FileSystem(&'static RootFs),
}

/// A partition to be filled, as a user says it: `NAME=SIZE:TYPE=DIR|FILE`.
#[derive(Clone, Debug)]
pub struct ToFill {
    /// Its name.
    pub name: String,
    /// Bytes; what the content needs when absent.
    pub size: Option<u64>,
    /// What kind of content it gets.
    pub filling: Filling,
    /// Where that is.
    pub path: PathBuf,
}

impl FromStr for ToFill {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            || Error::bad_input(format!("'{text}' must be NAME=SIZE:TYPE=DIR|FILE, as in config=64M:fat=conf or tools=auto:erofs=bin"));
        let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
        let (size, rest) = rest.split_once(':').ok_or_else(wrong)?;
        let (kind, path) = rest.split_once('=').ok_or_else(wrong)?;
        if path.is_empty() || !layout::is_name(name)? {
            return Err(wrong());
        }
        let size = if size == "auto" { None } else { Some(layout::size_of(name, size)?) };
        Ok(Self { name: name.to_owned(), size, filling: filling(kind)?, path: path.into() })
    }
}

/// What is meant by a word for a type.
fn filling(kind: &str) -> Result<Filling> {
    const FAT: &str = "fat";
    let words: Vec<_> = [FAT].into_iter().chain(ROOT_FILE_SYSTEMS.iter().map(|root| root.name)).collect();
    match ROOT_FILE_SYSTEMS.iter().find(|root| root.name == kind) {
        Some(root) => Ok(Filling::FileSystem(root)),
        None if kind == FAT => Ok(Filling::Fat),
        None => layout::type_guid(kind, &words).map(Filling::Bytes),
    }
}

/// A partition and what is in it.
#[derive(Clone, Debug)]
pub struct Filled {
    name: String,
    size: Option<u64>,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Bytes(Guid, Blob),
    Fat(Tree),
    FileSystem(&'static RootFs, Tree),
}

/// The name of cloud-init's volume, and its label.
const CLOUD_INIT: &str = "CIDATA";

impl Filled {
    /// A partition with the bytes of a file.
    ///
    /// # Errors
    /// When it wants a directory.
    pub fn of_file(part: &ToFill, file: Blob) -> Result<Self> {
        let Filling::Bytes(guid) = part.filling else { return Err(Error::bad_input("is a file, must be a directory")) };
        Ok(Self { name: part.name.clone(), size: part.size, content: Content::Bytes(guid, file) })
    }

    /// A partition with the files of a directory.
    ///
    /// # Errors
    /// When it wants a file.
    pub fn of_directory(part: &ToFill, files: Tree) -> Result<Self> {
        let content = match part.filling {
            Filling::Bytes(_) => return Err(Error::bad_input("is a directory, must be a file")),
            Filling::Fat => Content::Fat(files),
            Filling::FileSystem(root) => Content::FileSystem(root, files),
        };
        Ok(Self { name: part.name.clone(), size: part.size, content })
    }

    /// The volume that cloud-init reads.
    ///
    /// # Errors
    /// When a file is missing without which it takes the volume for none.
    pub fn cloud_init(tree: Tree) -> Result<Self> {
        for name in ["user-data", "meta-data"] {
            if !tree.get(name.as_bytes()).is_some_and(|inode| matches!(inode.content, tree::Content::File(_))) {
                let what = format!("there is no file {name} in it, and cloud-init wants user-data and meta-data");
                return Err(Error::bad_input(what).hint(format!("make one; an empty {name} will do")));
            }
        }
        Ok(Self { name: CLOUD_INIT.to_owned(), size: None, content: Content::Fat(tree) })
    }

    /// What `--opt` can say of it.
    pub(crate) fn options(&self) -> &'static [OptionSpec] {
        self.root().map_or(&[], |root| root.options)
    }

    /// Its file system, where it is one that a root may be.
    pub(crate) fn root(&self) -> Option<&'static RootFs> {
        match self.content {
            Content::FileSystem(root, _) => Some(root),
            _ => None,
        }
    }

    /// The partition for a disk of such sectors and identifiers, and what the user should know.
    ///
    /// # Errors
    /// Names the file that the file system cannot hold, and the size that would do; when reading or spooling fails.
    pub(crate) fn make(
        &self,
        sector: u64,
        options: &Options,
        facts: &Result<Facts>,
        ids: &Ids,
        env: &mut Env,
    ) -> Result<(Part, Vec<String>)> {
        let place = || format!("partition {}", self.name);
        // Of two file systems of one kind each has identifiers of its own.
        let ids = Ids::from_seed(layout::partition_guid(ids, &self.name).as_bytes());
        let (type_guid, RootImage { image, warnings }) = match &self.content {
            Content::Bytes(guid, body) => (*guid, RootImage { image: body.clone(), warnings: Vec::new() }),
            Content::Fat(tree) => (BASIC_DATA, self.fat(tree, sector, &ids, env).at(place)?),
            Content::FileSystem(root, tree) => (LINUX_DATA, root.write(tree, options, facts, &ids, env).at(place)?),
        };
        let mut part = Part::around(&self.name, type_guid, image);
        if let Some(size) = self.size {
            if size < part.size {
                let what = format!("it has {}, its content needs {}", show_size(size), show_size(part.size));
                return Err(Error::bad_input(what).at(place()).hint("make it larger, or write auto for its size"));
            }
            part.size = size;
        }
        Ok((part, warnings.into_iter().map(|warning| format!("{}: {warning}", place())).collect()))
    }

    fn fat(&self, root: &Tree, sector: u64, ids: &Ids, env: &Env) -> Result<RootImage> {
        let (mut files, mut directories) = (Vec::new(), Vec::new());
        for name in &root.names {
            let place = || ShowPath(&name.path).to_string();
            let path = std::str::from_utf8(&name.path).map_err(|_| Error::bad_input("the name is not UTF-8, as FAT needs it")).at(place)?;
            match &root.inodes[name.inode].content {
                tree::Content::Directory => directories.push(path.to_owned()),
                tree::Content::File(body) => files.push(File::new(path, body.clone())),
                _ => {
                    let hint = "leave it out, or make the partition squashfs or erofs";
                    return Err(Error::bad_input("is a link, which FAT does not hold").at(place()).hint(hint));
                }
            }
        }
        let volume = Volume {
            label: fat::label_of(&self.name),
            serial: ids.serial("FAT"),
            time: env.time,
            sector,
            // Nobody boots from it.
            hidden_sectors: 0,
            fat32_only: false,
            cluster_min: SECTOR,
            files,
            directories,
        };
        let size = match self.size {
            Some(size) => size,
            None => volume.size_for(0)?,
        };
        Ok(RootImage { image: volume.write(size)?.volume, warnings: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::{
        tree::{Builder, Content, Inode},
        units::MIB,
    };

    fn tree(files: &[(&str, u64)]) -> Tree {
        let mut builder = Builder::default();
        for (path, len) in files {
            builder.add(path.as_bytes(), Inode::new(Content::File(Blob::bytes(vec![7; usize::try_from(*len).unwrap()])), 0o644)).unwrap();
        }
        builder.finish()
    }

    fn made(filled: Result<Filled>) -> Result<Part> {
        let filled = filled?;
        let options = Options::defaults(filled.options());
        Ok(filled.make(512, &options, &Ok(Facts::default()), &Ids::from_seed(b"x"), &mut Env::scratch(1))?.0)
    }

    fn of_files(text: &str, files: &[(&str, u64)]) -> Result<Part> {
        made(Filled::of_directory(&text.parse()?, tree(files)))
    }

    fn of_bytes(text: &str, len: u64) -> Result<Part> {
        made(Filled::of_file(&text.parse()?, Blob::zeros(len)))
    }

    #[test]
    fn name_size_type_and_path_are_read() {
        let part: ToFill = "a=64M:fat=dir=with:signs".parse().unwrap();
        assert_eq!((part.name.as_str(), part.size, part.path), ("a", Some(64 * MIB), "dir=with:signs".into()));
        assert!(matches!("b=auto:erofs=d".parse::<ToFill>().unwrap(), ToFill { size: None, filling: Filling::FileSystem(_), .. }));
        assert!(matches!("c=1:var=f".parse::<ToFill>().unwrap(), ToFill { size: Some(MIB), filling: Filling::Bytes(_), .. }));
        for bad in ["a", "a=1M", "a=1M:fat", "a=1M:fat=", "=1M:fat=d", "a=:fat=d", "a=0:fat=d", "a\nb=1M:fat=d"] {
            assert!(bad.parse::<ToFill>().is_err(), "{bad}");
        }
        let error = "a=1M:ext4=d".parse::<ToFill>().unwrap_err().to_string();
        assert_eq!(error, "the partition type 'ext4' is unknown: write fat, squashfs, erofs, linux, swap, home, var, esp or a GUID");
    }

    #[test]
    fn a_partition_is_as_large_as_it_says_or_as_its_content_needs() {
        for (text, size) in [("a=auto:fat=d", MIB), ("a=5M:fat=d", 5 * MIB), ("a=auto:squashfs=d", MIB), ("a=3M:erofs=d", 3 * MIB)] {
            assert_eq!(of_files(text, &[("x", 100)]).unwrap().size, size, "{text}");
        }
        assert_eq!(of_bytes("a=auto:linux=f", MIB + 1).unwrap().size, 2 * MIB);
        assert_eq!(of_bytes("a=auto:linux=f", 0).unwrap().size, MIB);
        let error = of_bytes("a=1M:linux=f", MIB + 1).unwrap_err().to_string();
        assert_eq!(error, "partition a: it has 1 MiB, its content needs 2 MiB");
        let error = of_files("a=1M:fat=f", &[("x", 2 * MIB)]).unwrap_err().to_string();
        assert_eq!(error, "partition a: a FAT volume of 1 MiB is too small, 3 MiB are needed");
        assert!(of_bytes("a=1M:fat=f", 0).unwrap_err().to_string().contains("must be a directory"));
        assert!(of_files("a=1M:var=f", &[]).unwrap_err().to_string().contains("must be a file"));
    }

    #[test]
    fn what_fat_does_not_hold_is_named() {
        let mut builder = Builder::default();
        builder.add(b"a/link", Inode::new(Content::Symlink(b"x".to_vec()), 0o777)).unwrap();
        let error = made(Filled::of_directory(&"a=1M:fat=d".parse().unwrap(), builder.finish())).unwrap_err();
        assert_eq!(error.to_string(), "partition a: a/link: is a link, which FAT does not hold");
    }

    #[test]
    fn cloud_init_wants_both_files() {
        for (files, missing) in [(&[("user-data", 1)][..], "meta-data"), (&[("meta-data", 1)], "user-data")] {
            let error = Filled::cloud_init(tree(files)).unwrap_err();
            assert!(error.to_string().starts_with(&format!("there is no file {missing} in it")), "{error}");
        }
        assert!(Filled::cloud_init(tree(&[("user-data", 1), ("meta-data", 0)])).is_ok());
    }
}
