//! Which disk a description names, and whether the files are those that the manifest is about (DSP0243, 5, 7.1 and 9.1).
//!
//! ```text
//!  References ─ File id="file1" href="disk.vmdk" ◄── DiskSection ─ Disk diskId="vmdisk1" fileRef="file1"
//!  manifest:    SHA256(disk.vmdk)= 0123..
//! ```

use super::xml;
use crate::{
    Blob, Env, Error, Result,
    compress::{self, Codec},
    error::At,
    plain,
    units::{self, MIB},
};
use encoding_rs::UTF_8;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

/// Largest description and largest manifest that are read.
const TEXT_MAX: u64 = 16 * MIB;

/// A file that the description names, by its name.
pub type FileOf<'a> = &'a dyn Fn(&str, &mut Env) -> Result<Option<Blob>>;

/// A disk of a description that is in a file.
#[derive(Debug)]
struct Disk {
    id: String,
    href: String,
    /// What it needs that is not read.
    lacks: Option<&'static str>,
}

/// The disk that a description names, or of several the one with this identifier, out of the file that `file` gives for a name. A disk
/// that is compressed as a file is unpacked. Where there is a manifest, description and disk have to be what it is about.
///
/// # Errors
/// When the description is malformed, names no disk or several, or a file that is missing; when a sum is wrong; when reading fails.
pub fn disk(
    (name, envelope): (&str, &Blob),
    manifest: Option<&Blob>,
    wanted: Option<&str>,
    file: FileOf<'_>,
    env: &mut Env,
) -> Result<Blob> {
    let manifest = manifest.map(text).transpose().at(|| "manifest")?.unwrap_or_default();
    verify(&manifest, name, envelope)?;
    let found = chosen(disks(&text(envelope)?).at(|| name.to_owned())?, wanted)?;
    if let Some(lacks) = found.lacks {
        return Err(Error::unsupported(format!("disk '{}' {lacks}, which is not read", found.id)));
    }
    let body = file(&found.href, env)?;
    let body = body.ok_or_else(|| Error::bad_input(format!("the file '{}' of disk '{}' is missing", found.href, found.id)))?;
    verify(&manifest, &found.href, &body)?;
    match Codec::of(&body)? {
        Codec::None => Ok(body),
        codec => {
            let unpack = |env: &mut Env| env.spool.copy(&mut compress::reader(codec, body.reader())?);
            unpack(env).at(|| plain::line(&found.href))
        }
    }
}

/// A text, in UTF-8 or in what its byte order mark says.
fn text(file: &Blob) -> Result<String> {
    Ok(UTF_8.decode(&file.to_vec(TEXT_MAX)?).0.into_owned())
}

fn disks(envelope: &str) -> Result<Vec<Disk>> {
    let tags = xml::tags(envelope)?;
    let disk = |tag: &xml::Tag| {
        let (id, reference) = (tag.get("diskId").unwrap_or_default().to_owned(), tag.get("fileRef")?);
        let Some(file) = tags.iter().find(|file| file.is("File") && file.get("id") == Some(reference)) else {
            return Some(Err(Error::bad_input(format!("disk '{id}' refers to file '{reference}', which References does not have"))));
        };
        let lacks = match (tag.get("parentRef"), file.get("chunkSize")) {
            (Some(_), _) => Some("is a delta of another disk"),
            (None, Some(_)) => Some("is in a file that is cut into chunks"),
            (None, None) => None,
        };
        let Some(href) = file.get("href") else { return Some(Err(Error::bad_input(format!("file '{reference}' has no href")))) };
        Some(Ok(Disk { id, href: href.to_owned(), lacks }))
    };
    tags.iter().filter(|tag| tag.is("Disk")).filter_map(disk).collect()
}

fn chosen(mut disks: Vec<Disk>, wanted: Option<&str>) -> Result<Disk> {
    let names = disks.iter().map(|disk| format!("'{}' in {}", disk.id, disk.href)).collect::<Vec<_>>().join(", ");
    if let Some(wanted) = wanted {
        disks.retain(|disk| disk.id == wanted);
    }
    match (disks.len(), wanted) {
        (1, _) => Ok(disks.remove(0)),
        (0, None) => Err(Error::bad_input("the description names no disk that is in a file")),
        (_, Some(wanted)) => Err(Error::bad_input(format!("there is no one disk '{wanted}', but: {names}"))),
        (count, None) => Err(Error::unsupported(format!("there are {count} disks, must be one: {names}")).hint("choose one with --disk")),
    }
}

/// Holds a file against the lines of a manifest that are about it: `SHA256(NAME)= SUM`, with or without the spaces.
fn verify(manifest: &str, name: &str, body: &Blob) -> Result<()> {
    for line in manifest.lines() {
        let Some((algorithm, (file, sum))) = line.split_once('(').and_then(|(algorithm, rest)| Some((algorithm, rest.rsplit_once(')')?)))
        else {
            continue;
        };
        if file.trim() != name {
            continue;
        }
        let algorithm = algorithm.trim().to_ascii_uppercase().replace('-', "");
        let right = match algorithm.as_str() {
            "SHA1" => body.digest::<Sha1>()?.to_vec(),
            "SHA256" => body.digest::<Sha256>()?.to_vec(),
            "SHA512" => body.digest::<Sha512>()?.to_vec(),
            _ => {
                return Err(Error::unsupported(format!(
                    "the manifest has a sum of '{algorithm}' for {name}, must be SHA1, SHA256 or SHA512"
                )));
            }
        };
        let right = units::hex(&right);
        let sum = sum.trim_start_matches([' ', '\t', '=']).trim_end();
        if !sum.eq_ignore_ascii_case(&right) {
            let what =
                format!("the manifest has the {algorithm} {sum} for {name}, the file has {right}: one of them was changed or damaged");
            return Err(Error::bad_input(what).hint("to convert it all the same, unpack it and convert the disk itself"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, testing::env};

    const ENVELOPE: &str = r#"<Envelope xmlns:ovf="o"><References><File ovf:id="f1" ovf:href="a b.vmdk"/><File ovf:id="f2" ovf:href="cd.iso"/>
        <File ovf:id="f3" ovf:href="c.vmdk"/></References>
        <DiskSection><Disk ovf:diskId="d1" ovf:fileRef="f1"/><Disk ovf:diskId="empty" ovf:capacity="1"/>MORE</DiskSection></Envelope>"#;

    fn read(more: &str, manifest: Option<&str>, wanted: Option<&str>) -> Result<Vec<u8>> {
        let envelope = Blob::bytes(ENVELOPE.replace("MORE", more).into_bytes());
        let manifest = manifest.map(|text| Blob::bytes(text.as_bytes()));
        let file = |name: &str, _: &mut Env| Ok((name != "c.vmdk").then(|| Blob::bytes(name.as_bytes())));
        disk(("x.ovf", &envelope), manifest.as_ref(), wanted, &file, &mut env())?.to_vec(99)
    }

    #[test]
    fn the_disk_is_the_one_that_the_description_names() {
        assert_eq!(read("", None, None).unwrap(), b"a b.vmdk");
        let two = r#"<Disk ovf:diskId="d2" ovf:fileRef="f2"/>"#;
        let error = read(two, None, None).unwrap_err();
        assert!(
            error.kind() == Kind::Unsupported && error.to_string().contains("2 disks") && error.to_string().contains("'d2' in cd.iso"),
            "{error}"
        );
        assert_eq!(read(two, None, Some("d2")).unwrap(), b"cd.iso");
        assert!(read(two, None, Some("d3")).unwrap_err().to_string().contains("no one disk 'd3'"));
        assert!(
            read(r#"<Disk ovf:diskId="d2" ovf:fileRef="f3"/>"#, None, Some("d2"))
                .unwrap_err()
                .to_string()
                .contains("'c.vmdk' of disk 'd2' is missing")
        );
        assert!(read(r#"<Disk ovf:diskId="d2" ovf:fileRef="f9"/>"#, None, None).unwrap_err().to_string().contains("'f9'"));
        let delta = read(r#"<Disk ovf:diskId="d2" ovf:fileRef="f2" ovf:parentRef="d1"/>"#, None, Some("d2")).unwrap_err();
        assert!(delta.kind() == Kind::Unsupported && delta.to_string().contains("delta"), "{delta}");
    }

    /// Sums of "a b.vmdk" by sha1sum, sha256sum and sha512sum.
    #[test]
    fn sums_of_every_spelling_are_held_against_the_files() {
        for (algorithm, sum) in [
            ("SHA1", "d67c0f6c8f77dfe7c342b4cb38e077a82b09c144"),
            ("SHA256", "69a6b5a6d98300a5ccba2290e7705989a24bbbb9f70bc21377d24b170f6cadd5"),
            (
                "SHA512",
                "8f35da3c81c1525572101c8821be5b879333f243b3fdad0f301312f359430e41c1de57c3963dcf87be043fcaa2e1a031ed529d8f5944ea42f4d1180a43bb4fe4",
            ),
        ] {
            let spellings = [
                format!("{algorithm}(a b.vmdk)= {sum}"),
                format!("{algorithm} (a b.vmdk) = {}", sum.to_uppercase()),
                format!("{algorithm}(a b.vmdk)={sum}\r"),
            ];
            for line in spellings {
                assert_eq!(read("", Some(&line), None).unwrap(), b"a b.vmdk", "{line}");
                let error = read("", Some(&line.replace('0', "1")), None).unwrap_err();
                assert!(error.kind() == Kind::BadInput && error.to_string().contains(sum), "{error}");
            }
        }
        assert!(read("", Some("MD4(a b.vmdk)= 00"), None).unwrap_err().to_string().contains("MD4"));
        assert!(read("", Some("SHA256(x.ovf)= 00"), None).unwrap_err().to_string().contains("x.ovf"));
        read("", Some("SHA256(cd.iso)= 00\nnonsense"), None).unwrap();
    }
}
