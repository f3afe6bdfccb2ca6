//! The descriptor: text that says what kind of disk this is and which files it consists of (section "The Descriptor File").

use super::{DESCRIPTOR_SECTORS, GRAIN};
use crate::{Blob, Env, Error, Ids, Parts, Result, units::SECTOR};
use encoding_rs::Encoding;

/// No parent.
const NO_PARENT: &str = "ffffffff";

/// The descriptor of a disk in one file, padded. The file's own name in it is nobody's business.
pub(super) fn embedded(disk: &Blob, create_type: &str, ids: &Ids) -> Blob {
    assert!(disk.len().is_multiple_of(GRAIN), "the capacity is whole grains");
    let mut blob = Blob::from(text(disk, create_type, &[format!("RW {} SPARSE \"disk.vmdk\"", disk.len() / SECTOR)], ids).into_bytes());
    blob.extend_to(DESCRIPTOR_SECTORS * SECTOR);
    blob
}

/// The descriptor of a disk that we write, whose extents are these lines. The controller is `lsilogic`, which every VMware product has.
pub(super) fn text(disk: &Blob, create_type: &str, extents: &[String], ids: &Ids) -> String {
    let extents = extents.join("\n");
    let encoding = if extents.is_ascii() { "" } else { "encoding=\"UTF-8\"\n" };
    let content = ids.guid("vmdk content").to_string().replace('-', "");
    // The all-ones value means "no parent", so a content identifier keeps off it.
    let cid = ids.serial("vmdk cid") & 0x7fff_ffff;
    let cylinders = disk.len() / (255 * 63 * SECTOR);
    format!(
        "# Disk DescriptorFile\n\
         version=1\n\
         {encoding}\
         CID={cid:08x}\n\
         parentCID={NO_PARENT}\n\
         createType=\"{create_type}\"\n\
         \n\
         # Extent description\n\
         {extents}\n\
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
    )
}

/// A descriptor that was read. Its names are in whatever code page the program had that wrote it.
#[derive(Clone, Debug, Default)]
pub(super) struct Descriptor(Vec<u8>);

impl Descriptor {
    /// The text in some sectors, up to its first zero byte.
    pub(super) fn new(mut bytes: Vec<u8>) -> Self {
        bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
        Self(bytes)
    }

    fn raw_lines(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii)
    }

    /// The lines, for people.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.raw_lines().map(|line| self.text(line))
    }

    /// The value of a `key=value` line, without quotes. Keys have no case.
    pub(super) fn value(&self, key: &str) -> Option<String> {
        let pairs = self.raw_lines().filter_map(|line| line.split_at_checked(line.iter().position(|byte| *byte == b'=')?));
        let (_, value) = pairs.into_iter().find(|(found, _)| found.trim_ascii().eq_ignore_ascii_case(key.as_bytes()))?;
        Some(String::from_utf8_lossy(value[1..].trim_ascii()).trim_matches('"').to_owned())
    }

    /// What the names are text of, where the descriptor says so and it is known (WHATWG's Encoding Standard).
    fn encoding(&self) -> Option<&'static Encoding> {
        Encoding::for_label(self.value("encoding")?.as_bytes())
    }

    /// A name as text.
    pub(super) fn text(&self, name: &[u8]) -> String {
        match (std::str::from_utf8(name), self.encoding()) {
            (Ok(text), _) => text.to_owned(),
            (Err(_), Some(encoding)) => encoding.decode_without_bom_handling(name).0.into_owned(),
            (Err(_), None) => String::from_utf8_lossy(name).into_owned(),
        }
    }

    /// A file that it names. It may be there under the bytes of the name, as a copy keeps them, or under the text that they are.
    ///
    /// # Errors
    /// When it is not to be had.
    pub(super) fn open(&self, name: &[u8], parts: &dyn Parts, env: &mut Env) -> Result<Blob> {
        let text = self.text(name);
        let by_bytes = parts.file(name, env);
        if by_bytes.is_ok() || text.as_bytes() == name { by_bytes } else { parts.file(text.as_bytes(), env) }
    }

    /// The extents of a disk in several files.
    ///
    /// # Errors
    /// When a line is malformed, or names something that is not read.
    pub(super) fn extents(&self) -> Result<Vec<ExtentLine>> {
        let is_extent = |line: &&[u8]| ["RW ", "RDONLY ", "NOACCESS "].iter().any(|access| line.starts_with(access.as_bytes()));
        self.raw_lines().filter(is_extent).map(|line| extent(line).ok_or_else(|| refused(&self.text(line)))?).collect()
    }

    /// Refuses a delta.
    pub(super) fn refuse_parent(&self) -> Result<()> {
        match self.value("parentCID") {
            Some(parent) if !parent.eq_ignore_ascii_case(NO_PARENT) => {
                Err(Error::unsupported("a VMDK with a parent needs its parent disk, which is not followed")
                    .hint("merge it into its parent first"))
            }
            _ => Ok(()),
        }
    }

    /// What kind of disk it is, as it says.
    pub(super) fn create_type(&self) -> Result<String> {
        self.value("createType").ok_or_else(|| Error::bad_input("the VMDK descriptor has no createType"))
    }

    /// Checks that the descriptor speaks of one whole sparse file, this one.
    ///
    /// # Errors
    /// When it names other files or a parent.
    pub(super) fn check(&self) -> Result<()> {
        let create_type = self.create_type()?;
        if !["monolithicSparse", "streamOptimized"].iter().any(|known| known.eq_ignore_ascii_case(&create_type)) {
            let shown: String = create_type.chars().filter(|c| c.is_ascii_alphanumeric()).take(40).collect();
            return Err(Error::unsupported(format!("the VMDK is {shown}: its data is in other files, which are not followed"))
                .hint("if you trust the file, have the files opened that it names: --follow"));
        }
        self.refuse_parent()
    }
}

/// A line of the extent description: `ACCESS SECTORS TYPE "FILE" OFFSET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExtentLine {
    /// Sectors of the disk.
    pub(super) sectors: u64,
    pub(super) kind: ExtentKind,
    /// The name of the file; empty for zeros.
    pub(super) file: Vec<u8>,
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

fn refused(line: &str) -> Error {
    let shown: String = line.chars().take(80).collect();
    Error::bad_input(format!("the extent line '{}' of the VMDK descriptor is malformed", shown.escape_debug()))
}

fn extent(line: &[u8]) -> Option<Result<ExtentLine>> {
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let (_, sectors, kind, rest) = (words.next()?, number(words.next()?)?, words.next()?, words.next().unwrap_or_default());
    let kind = match kind {
        b"FLAT" | b"VMFS" => ExtentKind::Flat,
        b"SPARSE" => ExtentKind::Sparse,
        b"ZERO" => return Some(Ok(ExtentLine { sectors, kind: ExtentKind::Zero, file: Vec::new(), offset: 0 })),
        other => {
            let shown: String = other.iter().filter(|byte| byte.is_ascii_alphanumeric()).take(40).map(|byte| char::from(*byte)).collect();
            return Some(Err(Error::unsupported(format!("the VMDK has an extent of type {shown}, which is not read"))));
        }
    };
    // No code page has a quote as the second byte of a character.
    let rest = rest.trim_ascii_start().strip_prefix(b"\"")?;
    let (file, offset) = rest.split_at(rest.iter().rposition(|byte| *byte == b'"')?);
    let offset = offset[1..].trim_ascii();
    Some(Ok(ExtentLine { sectors, kind, file: file.to_owned(), offset: if offset.is_empty() { 0 } else { number(offset)? } }))
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Descriptor {
        Descriptor::new(text.as_bytes().to_owned())
    }

    #[test]
    fn names_are_text_of_the_encoding_that_is_named() {
        // "Größe" in windows-1252, "虚拟机" in GBK, "ディスク" in Shift_JIS, whose second bytes may be those of ASCII.
        for (encoding, bytes, text) in [
            ("windows-1252", &b"Gr\xf6\xdfe"[..], "Größe"),
            ("GBK", b"\xd0\xe9\xc4\xe2\xbb\xfa", "虚拟机"),
            ("Shift_JIS", b"\x83f\x83B\x83X\x83N", "ディスク"),
            ("Shift_JIS", b"\x83\x5c", "ソ"),
            ("unknown", b"plain", "plain"),
        ] {
            let descriptor =
                Descriptor::new([format!("encoding=\"{encoding}\"\nRW 8 FLAT \"").as_bytes(), bytes, b"-flat.vmdk\" 0\n"].concat());
            let [line] = <[_; 1]>::try_from(descriptor.extents().unwrap()).unwrap();
            assert_eq!((line.file.strip_suffix(b"-flat.vmdk"), descriptor.text(&line.file)), (Some(bytes), format!("{text}-flat.vmdk")));
        }
    }

    #[test]
    fn disks_in_other_files_are_refused_by_name() {
        for name in ["monolithicFlat", "twoGbMaxExtentSparse", "vmfs", "fullDevice"] {
            let error = of(&format!("version=1\ncreateType=\"{name}\"\n")).check().unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn extent_lines_are_read() {
        let text = "RW 8 FLAT \"a b \"c\".vmdk\" 16\nRDONLY 2 ZERO\n# RW 1\n  RW 5 SPARSE \"s001.vmdk\"\r\n";
        let line = |sectors, kind, file: &str, offset| ExtentLine { sectors, kind, file: file.as_bytes().to_owned(), offset };
        let wanted = [
            line(8, ExtentKind::Flat, "a b \"c\".vmdk", 16),
            line(2, ExtentKind::Zero, "", 0),
            line(5, ExtentKind::Sparse, "s001.vmdk", 0),
        ];
        assert_eq!(of(text).extents().unwrap(), wanted);
        for bad in ["RW x FLAT \"a\" 0", "RW 1 FLAT a 0", "RW 1 FLAT \"a\" x", "RW 1", "RW 1 SESPARSE \"a\""] {
            assert!(of(bad).extents().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_delta_is_refused() {
        let error = of("parentCID=12345678\ncreatetype = \"MonolithicSparse\"\n").check().unwrap_err();
        assert!(error.to_string().contains("parent"));
        of("parentCID=FFFFFFFF\ncreateType=\"monolithicSparse\"\n").check().unwrap();
    }
}
