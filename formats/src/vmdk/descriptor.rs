//! The descriptor: text that says what kind of disk this is and which files it consists of (section "The Descriptor File").

use super::{DESCRIPTOR_SECTORS, GRAIN};
use crate::{Blob, Error, Ids, Result, units::SECTOR};

/// No parent.
const NO_PARENT: &str = "ffffffff";

/// The descriptor of a disk that we write, padded. The controller is `lsilogic`, which every VMware product has.
pub(super) fn blob(disk: &Blob, create_type: &str, ids: &Ids) -> Blob {
    let sectors = disk.len() / SECTOR;
    let content = ids.guid("vmdk content").to_string().replace('-', "");
    // The all-ones value means "no parent", so a content identifier keeps off it.
    let cid = ids.serial("vmdk cid") & 0x7fff_ffff;
    let cylinders = disk.len() / (255 * 63 * SECTOR);
    let text = format!(
        "# Disk DescriptorFile\n\
         version=1\n\
         CID={cid:08x}\n\
         parentCID={NO_PARENT}\n\
         createType=\"{create_type}\"\n\
         \n\
         # Extent description\n\
         RW {sectors} SPARSE \"disk.vmdk\"\n\
         \n\
         # The Disk Data Base\n\
         #DDB\n\
         \n\
         ddb.adapterType = \"lsilogic\"\n\
         ddb.geometry.cylinders = \"{cylinders}\"\n\
         ddb.geometry.heads = \"255\"\n\
         ddb.geometry.sectors = \"63\"\n\
         ddb.longContentID = \"{content}\"\n\
         ddb.toolsVersion = \"2147483647\"\n\
         ddb.virtualHWVersion = \"4\"\n"
    );
    assert!(disk.len().is_multiple_of(GRAIN), "the capacity is whole grains");
    let mut blob = Blob::bytes(text.into_bytes());
    blob.extend_to(DESCRIPTOR_SECTORS * SECTOR);
    blob
}

/// The text of a descriptor, up to its first zero byte.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The value of a `key=value` line, without quotes. Keys have no case.
pub(super) fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.into_iter().find(|(k, _)| k.trim().eq_ignore_ascii_case(key)).map(|(_, value)| value.trim().trim_matches('"'))
}

/// A line of the extent description: `ACCESS SECTORS TYPE "FILE" OFFSET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExtentLine {
    /// Sectors of the disk.
    pub(super) sectors: u64,
    pub(super) kind: ExtentKind,
    /// The file; empty for zeros.
    pub(super) file: String,
    /// Where in a flat file the extent starts, in sectors.
    pub(super) offset: u64,
}

/// What an extent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExtentKind {
    /// `FLAT` and `VMFS`: the sectors as they are.
    Flat,
    /// `SPARSE`: a hosted sparse extent.
    Sparse,
    /// `ZERO`: no file at all.
    Zero,
}

/// The extents of a disk in several files.
///
/// # Errors
/// When a line is malformed, or names something that is not read.
pub(super) fn extents(text: &str) -> Result<Vec<ExtentLine>> {
    let is_extent = |line: &&str| ["RW ", "RDONLY ", "NOACCESS "].iter().any(|access| line.starts_with(access));
    text.lines().map(str::trim).filter(is_extent).map(|line| extent(line).ok_or_else(|| refused(line))?).collect()
}

fn refused(line: &str) -> Error {
    let shown: String = line.chars().take(80).collect();
    Error::bad_input(format!("the extent line '{}' of the VMDK descriptor is malformed", shown.escape_debug()))
}

fn extent(line: &str) -> Option<Result<ExtentLine>> {
    let mut words = line.splitn(4, ' ');
    let (_, sectors, kind, rest) = (words.next()?, words.next()?.parse().ok()?, words.next()?, words.next().unwrap_or(""));
    let kind = match kind {
        "FLAT" | "VMFS" => ExtentKind::Flat,
        "SPARSE" => ExtentKind::Sparse,
        "ZERO" => return Some(Ok(ExtentLine { sectors, kind: ExtentKind::Zero, file: String::new(), offset: 0 })),
        other => {
            let shown: String = other.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
            return Some(Err(Error::unsupported(format!("the VMDK has an extent of type {shown}, which is not read"))));
        }
    };
    let (file, offset) = rest.trim_start().strip_prefix('"')?.rsplit_once('"')?;
    let offset = if offset.trim().is_empty() { 0 } else { offset.trim().parse().ok()? };
    Some(Ok(ExtentLine { sectors, kind, file: file.to_owned(), offset }))
}

/// Refuses a delta.
pub(super) fn refuse_parent(text: &str) -> Result<()> {
    match value(text, "parentCID") {
        Some(parent) if !parent.eq_ignore_ascii_case(NO_PARENT) => {
            Err(Error::unsupported("a VMDK with a parent needs its parent disk, which is not followed")
                .hint("merge it into its parent first"))
        }
        _ => Ok(()),
    }
}

/// What kind of disk it is, as it says.
pub(super) fn create_type(text: &str) -> Result<&str> {
    value(text, "createType").ok_or_else(|| Error::bad_input("the VMDK descriptor has no createType"))
}

/// Checks that the descriptor speaks of one whole sparse file, this one.
///
/// # Errors
/// When it names other files or a parent.
pub(super) fn check(text: &str) -> Result<()> {
    let create_type = create_type(text)?;
    if !["monolithicSparse", "streamOptimized"].iter().any(|known| known.eq_ignore_ascii_case(create_type)) {
        let shown: String = create_type.chars().filter(|c| c.is_ascii_alphanumeric()).take(40).collect();
        return Err(Error::unsupported(format!("the VMDK is {shown}: its data is in other files, which are not followed"))
            .hint("if you trust the file, have the files opened that it names: --follow"));
    }
    refuse_parent(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_in_other_files_are_refused_by_name() {
        for name in ["monolithicFlat", "twoGbMaxExtentSparse", "vmfs", "fullDevice"] {
            let error = check(&format!("version=1\ncreateType=\"{name}\"\n")).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn extent_lines_are_read() {
        let text = "RW 8 FLAT \"a b \"c\".vmdk\" 16\nRDONLY 2 ZERO\n# RW 1\n  RW 5 SPARSE \"s001.vmdk\"\r\n";
        let line = |sectors, kind, file: &str, offset| ExtentLine { sectors, kind, file: file.to_owned(), offset };
        let wanted = [
            line(8, ExtentKind::Flat, "a b \"c\".vmdk", 16),
            line(2, ExtentKind::Zero, "", 0),
            line(5, ExtentKind::Sparse, "s001.vmdk", 0),
        ];
        assert_eq!(extents(text).unwrap(), wanted);
        for bad in ["RW x FLAT \"a\" 0", "RW 1 FLAT a 0", "RW 1 FLAT \"a\" x", "RW 1", "RW 1 SESPARSE \"a\""] {
            assert!(extents(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_delta_is_refused() {
        let error = check("parentCID=12345678\ncreatetype = \"MonolithicSparse\"\n").unwrap_err();
        assert!(error.to_string().contains("parent"));
        check("parentCID=FFFFFFFF\ncreateType=\"monolithicSparse\"\n").unwrap();
    }
}
