//! The descriptor: text that says what kind of disk this is and which files it consists of (section "The Descriptor File").

use super::{DESCRIPTOR_SECTORS, GRAIN};
use crate::{Blob, Env, Error, Result, units::SECTOR};

/// No parent.
const NO_PARENT: &str = "ffffffff";

/// The descriptor of a disk that we write, padded. The controller is `lsilogic`, which every VMware product has.
pub(super) fn blob(disk: &Blob, create_type: &str, env: &Env) -> Blob {
    let sectors = disk.len() / SECTOR;
    let content = env.ids.guid("vmdk content").to_string().replace('-', "");
    // The all-ones value means "no parent", so a content identifier keeps off it.
    let cid = env.ids.serial("vmdk cid") & 0x7fff_ffff;
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
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.into_iter().find(|(k, _)| k.trim().eq_ignore_ascii_case(key)).map(|(_, value)| value.trim().trim_matches('"'))
}

/// Checks that the descriptor speaks of one whole sparse file, this one.
///
/// # Errors
/// When it names other files or a parent.
pub(super) fn check(text: &str) -> Result<()> {
    let create_type = value(text, "createType").ok_or_else(|| Error::bad_input("the VMDK descriptor has no createType"))?;
    if !["monolithicSparse", "streamOptimized"].iter().any(|known| known.eq_ignore_ascii_case(create_type)) {
        let shown: String = create_type.chars().filter(|c| c.is_ascii_alphanumeric()).take(40).collect();
        return Err(Error::unsupported(format!("the VMDK is {shown}: its data is in other files, which are not followed"))
            .hint("convert it to monolithicSparse or streamOptimized first"));
    }
    match value(text, "parentCID") {
        Some(parent) if !parent.eq_ignore_ascii_case(NO_PARENT) => {
            Err(Error::unsupported("a VMDK with a parent needs its parent disk, which is not followed")
                .hint("merge it into its parent first"))
        }
        _ => Ok(()),
    }
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
    fn a_delta_is_refused() {
        let error = check("parentCID=12345678\ncreatetype = \"MonolithicSparse\"\n").unwrap_err();
        assert!(error.to_string().contains("parent"));
        check("parentCID=FFFFFFFF\ncreateType=\"monolithicSparse\"\n").unwrap();
    }
}
