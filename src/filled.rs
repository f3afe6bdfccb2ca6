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
    tree::{Content, ShowPath},
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

/// What is in a partition.
#[derive(Clone, Debug)]
pub enum Filler {
    /// The bytes of a file.
    Bytes(Blob),
    /// The files of a directory.
    Files(Tree),
}

/// A partition and what is in it.
#[derive(Clone, Debug)]
pub struct Filled {
    name: String,
    size: Option<u64>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Bytes(Guid, Blob),
    Fat(Tree),
    FileSystem(&'static RootFs, Tree),
}

/// The name of cloud-init's volume, and its label.
const CLOUD_INIT: &str = "CIDATA";

impl Filled {
    /// A partition filled with what was found where its user says.
    ///
    /// # Errors
    /// When that is a directory where it must be a file, or the other way round.
    pub fn new(part: &ToFill, filler: Filler) -> Result<Self> {
        let kind = match (part.filling, filler) {
            (Filling::Bytes(guid), Filler::Bytes(body)) => Kind::Bytes(guid, body),
            (Filling::Fat, Filler::Files(tree)) => Kind::Fat(tree),
            (Filling::FileSystem(root), Filler::Files(tree)) => Kind::FileSystem(root, tree),
            (Filling::Bytes(_), Filler::Files(_)) => return Err(Error::bad_input("is a directory, must be a file")),
            (_, Filler::Bytes(_)) => return Err(Error::bad_input("is a file, must be a directory")),
        };
        Ok(Self { name: part.name.clone(), size: part.size, kind })
    }

    /// The volume that cloud-init reads.
    ///
    /// # Errors
    /// When a file is missing without which it takes the volume for none.
    pub fn cloud_init(tree: Tree) -> Result<Self> {
        for name in ["user-data", "meta-data"] {
            if !tree.get(name.as_bytes()).is_some_and(|inode| matches!(inode.content, Content::File(_))) {
                let what = format!("there is no file {name} in it, and cloud-init wants user-data and meta-data");
                return Err(Error::bad_input(what).hint(format!("make one; an empty {name} will do")));
            }
        }
        Ok(Self { name: CLOUD_INIT.to_owned(), size: None, kind: Kind::Fat(tree) })
    }

    /// What `--opt` can say of it.
    pub(crate) fn options(&self) -> &'static [OptionSpec] {
        self.root().map_or(&[], |root| root.options)
    }

    /// Its file system, where it is one that a root may be.
    pub(crate) fn root(&self) -> Option<&'static RootFs> {
        match self.kind {
            Kind::FileSystem(root, _) => Some(root),
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
        let (type_guid, RootImage { image, warnings }) = match &self.kind {
            Kind::Bytes(guid, body) => (*guid, RootImage { image: body.clone(), warnings: Vec::new() }),
            Kind::Fat(tree) => (BASIC_DATA, self.fat(tree, sector, &ids, env).at(place)?),
            Kind::FileSystem(root, tree) => (LINUX_DATA, root.write(tree, options, facts, &ids, env).at(place)?),
        };
        let mut part = Part::around(&self.name, type_guid, image);
        match self.size {
            Some(size) if size < part.body.len() => {
                let what = format!("it has {}, its content needs {}", show_size(size), show_size(part.size));
                return Err(Error::bad_input(what).at(place()).hint("make it larger, or write auto for its size"));
            }
            Some(size) => part.size = size,
            // A partition is never empty.
            None => part.size = part.size.max(layout::PART_MIN),
        }
        Ok((part, warnings.into_iter().map(|warning| format!("{}: {warning}", place())).collect()))
    }

    fn fat(&self, tree: &Tree, sector: u64, ids: &Ids, env: &Env) -> Result<RootImage> {
        let (mut files, mut directories) = (Vec::new(), Vec::new());
        for name in &tree.names {
            let place = || ShowPath(&name.path).to_string();
            let path = std::str::from_utf8(&name.path).map_err(|_| Error::bad_input("the name is not UTF-8, as FAT needs it")).at(place)?;
            match &tree.inodes[name.inode].content {
                Content::Directory => directories.push(path.to_owned()),
                Content::File(body) => files.push(File::new(path, body.clone())),
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
        tree::{Builder, Inode},
        units::MIB,
    };

    fn tree(files: &[(&str, u64)]) -> Tree {
        let mut builder = Builder::default();
        for (path, len) in files {
            builder.add(path.as_bytes(), Inode::new(Content::File(Blob::bytes(vec![7; usize::try_from(*len).unwrap()])), 0o644)).unwrap();
        }
        builder.finish()
    }

    fn made(text: &str, filler: Filler) -> Result<Part> {
        let filled = Filled::new(&text.parse()?, filler)?;
        let options = Options::defaults(filled.options());
        Ok(filled.make(512, &options, &Ok(Facts::default()), &Ids::from_seed(b"x"), &mut Env::scratch(1))?.0)
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
            assert_eq!(made(text, Filler::Files(tree(&[("x", 100)]))).unwrap().size, size, "{text}");
        }
        assert_eq!(made("a=auto:linux=f", Filler::Bytes(Blob::zeros(MIB + 1))).unwrap().size, 2 * MIB);
        assert_eq!(made("a=auto:linux=f", Filler::Bytes(Blob::default())).unwrap().size, MIB);
        let error = made("a=1M:linux=f", Filler::Bytes(Blob::zeros(MIB + 1))).unwrap_err().to_string();
        assert_eq!(error, "partition a: it has 1 MiB, its content needs 2 MiB");
        let error = made("a=1M:fat=f", Filler::Files(tree(&[("x", 2 * MIB)]))).unwrap_err().to_string();
        assert_eq!(error, "partition a: a FAT volume of 1 MiB is too small, 3 MiB are needed");
        assert!(made("a=1M:fat=f", Filler::Bytes(Blob::default())).unwrap_err().to_string().contains("must be a directory"));
        assert!(made("a=1M:var=f", Filler::Files(tree(&[]))).unwrap_err().to_string().contains("must be a file"));
    }

    #[test]
    fn what_fat_does_not_hold_is_named() {
        let mut builder = Builder::default();
        builder.add(b"a/link", Inode::new(Content::Symlink(b"x".to_vec()), 0o777)).unwrap();
        let error = made("a=1M:fat=d", Filler::Files(builder.finish())).unwrap_err();
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
