//! Writing disks in several files ("The Descriptor File"): a text that names the others, and those.
//!
//! ```text
//! NAME.vmdk          RW 4192256 SPARSE "NAME-s001.vmdk"
//!                    RW 1048576 SPARSE "NAME-s002.vmdk"
//! NAME-s001.vmdk     a part of the disk, in a sparse extent without a descriptor, or sector by sector (FLAT)
//! ```
//! They lie in one directory, so what names them is a file name alone.

use super::{SIZE_MAX, descriptor, sparse};
use crate::{
    Blob, Error, Ids, Limits, Result, plain,
    units::{MIB, SECTOR},
};

/// Most of a disk in a file, where it is less than all: what VMware's programs and file systems of old take.
const PART: u64 = 2047 * MIB;
/// The names have three digits.
const PARTS_MAX: u64 = 999;

/// A sub-format in several files.
#[derive(Debug)]
pub(super) struct Kind {
    /// What the descriptor calls it.
    pub(super) create_type: &'static str,
    /// What stands between the name and the number, or the ending, of an extent.
    mark: &'static str,
    /// Whether extents are sparse ones.
    is_sparse: bool,
    /// Whether a disk has as many as it is large.
    is_many: bool,
}

/// Every such sub-format.
pub(super) static KINDS: [Kind; 3] = [
    Kind { create_type: "monolithicFlat", mark: "-flat", is_sparse: false, is_many: false },
    Kind { create_type: "twoGbMaxExtentFlat", mark: "-f", is_sparse: false, is_many: true },
    Kind { create_type: "twoGbMaxExtentSparse", mark: "-s", is_sparse: true, is_many: true },
];

/// How a disk is divided among files.
#[derive(Debug)]
pub(super) struct Split {
    kind: &'static Kind,
    name: String,
}

impl Split {
    /// Files whose names begin with this.
    ///
    /// # Errors
    /// When there is no name, or one that a descriptor cannot hold.
    pub(super) fn new(kind: &'static Kind, name: Option<&str>) -> Result<Self> {
        let name = name.ok_or_else(|| {
            let what = format!("{} is a disk in several files, which need names", kind.create_type);
            Error::unsupported(what)
                .hint("name the first with -o, or all with --name; a pipe, a device or a compressed file holds only one")
        })?;
        // What ends a name there, and what readers take for the scheme of a URL or for a directory.
        match name.chars().find(|c| matches!(c, '"' | ':' | '/' | '\\') || !plain::is_plain(*c)) {
            Some(found) => {
                let what = format!("'{}' has {found:?}, which no name in a VMDK descriptor can have", plain::line(name));
                Err(Error::unsupported(what).hint("choose another name for the output"))
            }
            None => Ok(Self { kind, name: name.to_owned() }),
        }
    }

    /// Whether the files leave out what is zeros.
    pub(super) fn is_sparse(&self) -> bool {
        self.kind.is_sparse
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            size_multiple: if self.kind.is_sparse { super::GRAIN } else { SECTOR },
            size_max: if self.kind.is_many { PARTS_MAX * PART } else { SIZE_MAX },
        }
    }

    /// The descriptor of a disk.
    pub(super) fn descriptor(&self, disk: &Blob, ids: &Ids) -> Blob {
        let line = |(name, part): (String, Blob)| {
            let sectors = part.len() / SECTOR;
            if self.kind.is_sparse { format!("RW {sectors} SPARSE \"{name}\"") } else { format!("RW {sectors} FLAT \"{name}\" 0") }
        };
        let lines: Vec<_> = self.parts(disk).map(line).collect();
        Blob::from(descriptor::text(disk, self.kind.create_type, &lines, ids).into_bytes())
    }

    /// The files with its data, by their names.
    pub(super) fn extents(&self, disk: &Blob) -> Vec<(String, Blob)> {
        let extent =
            |(name, part): (String, Blob)| (name, if self.kind.is_sparse { sparse::encode(&part, &Blob::default()) } else { part });
        self.parts(disk).map(extent).collect()
    }

    /// The parts of the disk, with the names of their files.
    fn parts<'a>(&'a self, disk: &'a Blob) -> impl Iterator<Item = (String, Blob)> + 'a {
        let Self { kind: Kind { mark, is_many, .. }, name } = self;
        let size = if *is_many { PART } else { disk.len().max(1) };
        (0..disk.len().div_ceil(size)).map(move |nth| {
            let number = if *is_many { format!("{:03}", nth + 1) } else { String::new() };
            (format!("{name}{mark}{number}.vmdk"), disk.slice(nth * size..((nth + 1) * size).min(disk.len())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, format::Format, testing, vmdk::Vmdk};

    fn plan(kind: &Kind, name: &str) -> Result<Box<dyn crate::Plan>> {
        let options = Options::parse(Vmdk.options(), [("subformat", kind.create_type)]).unwrap();
        Vmdk.plan(&options.named(Some(name.to_owned())))
    }

    #[test]
    fn the_parts_are_the_disk_and_the_descriptor_names_them() {
        let mut disk = Blob::zeros(2 * PART + 3 * MIB);
        disk.splice(PART - 5, &Blob::bytes(*b"over the edge"));
        for (kind, names) in KINDS.iter().zip([
            &["größe-flat.vmdk"][..],
            &["größe-f001.vmdk", "größe-f002.vmdk", "größe-f003.vmdk"],
            &["größe-s001.vmdk", "größe-s002.vmdk", "größe-s003.vmdk"],
        ]) {
            let plan = plan(kind, "größe").unwrap();
            let text = plan.encode(&disk, &testing::ids().into(), &mut testing::env()).unwrap().to_vec(10_000).unwrap();
            let read = descriptor::Descriptor::new(text);
            let lines = read.extents().unwrap();
            let files = plan.extents(&disk);
            assert_eq!(files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
            assert!(lines.iter().map(|line| read.text(&line.file)).eq(files.iter().map(|(name, _)| name.clone())));
            assert_eq!(lines.iter().map(|line| line.sectors * SECTOR).sum::<u64>(), disk.len());
            assert_eq!((read.create_type().unwrap().as_str(), read.value("encoding").as_deref()), (kind.create_type, Some("UTF-8")));
        }
    }

    #[test]
    fn what_no_descriptor_holds_is_refused() {
        for kind in &KINDS {
            for name in ["a\"b", "nbd:x", "a\nb", "a/b", "a\\b", "\u{202e}"] {
                assert!(plan(kind, name).unwrap_err().to_string().contains("no name in a VMDK descriptor"), "{name:?}");
            }
            let options = Options::parse(Vmdk.options(), [("subformat", kind.create_type)]).unwrap();
            assert!(Vmdk.plan(&options).unwrap_err().to_string().contains("need names"));
        }
    }
}
