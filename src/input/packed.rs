//! The one disk in an archive that is nothing but its packaging: a tar, a zip, a Vagrant box, an OVA.

use super::{Opening, container, decompressed, is_raw, with_progress};
use crate::error::{At, Error, Result};
use formats::{
    Blob, Env,
    compress::{self, Codec},
    ova, tar,
    tree::ShowPath,
    units::MIB,
    zip,
};
use std::io::Read;

/// A file of an archive.
struct Packed {
    /// Its path.
    name: String,
    body: Body,
}

enum Body {
    /// Bytes of the archive.
    Plain(Blob),
    Zip(zip::Member),
}

/// The disk of an archive. Of several the one that is named; of an archive that has none, nothing: then the archive is what it looks like.
///
/// # Errors
/// When there are several and none is named, when what describes them or its sums are wrong, or when the archive is damaged.
pub fn disk(file: &Blob, opening: &Opening, env: &mut Env) -> Result<Option<Blob>> {
    let wanted = opening.disk.as_deref();
    let packed: Vec<_> = if zip::probe(file)? {
        let members = zip::files(file, tar::FILES_MAX)?;
        members.into_iter().map(|member| Packed { name: shown(&member.path), body: Body::Zip(member) }).collect()
    } else {
        let files = tar::files(file).unwrap_or_default();
        if let Some(disk) = ova::unwrap(&files, wanted, env)? {
            return Ok(Some(disk));
        }
        files.into_iter().map(|(path, body)| Packed { name: shown(&path), body: Body::Plain(body) }).collect()
    };
    let mut disks = Vec::new();
    for file in packed {
        if file.is_disk()? {
            disks.push(file);
        }
    }
    if disks.is_empty() {
        return Ok(None);
    }
    let names = disks.iter().map(|disk| format!("'{}'", disk.name)).collect::<Vec<_>>().join(", ");
    let count = disks.len();
    if let Some(wanted) = wanted {
        disks.retain(|disk| disk.name == wanted);
    }
    match (disks.pop(), disks.is_empty(), wanted) {
        (Some(disk), true, _) => disk.open(env).map(Some),
        (_, _, Some(wanted)) => Err(Error::bad_input(format!("there is no one disk '{wanted}' in it, but: {names}"))),
        _ => Err(Error::unsupported(format!("there are {count} disks in it, must be one: {names}")).hint("choose one with --disk")),
    }
}

fn shown(path: &[u8]) -> String {
    ShowPath(path.strip_prefix(b"./").unwrap_or(path)).to_string()
}

/// As much of a file as magics are looked for in: the descriptors of a CD begin at 32 KiB.
const HEAD: u64 = 64 << 10;

/// Smallest raw disk: partitions begin there. What is smaller and ends its first sector as a boot sector does is one.
const RAW_MIN: u64 = MIB;

impl Packed {
    /// Whether it is a disk by its magic, also where it is compressed. Not by a magic at its end, but for what lies there as it is.
    fn is_disk(&self) -> Result<bool> {
        let (start, len) = match &self.body {
            Body::Plain(body) if Codec::of(body)? == Codec::None => (body.clone(), body.len()),
            Body::Plain(body) => (head(body.reader()), u64::MAX),
            Body::Zip(member) => (head(member.reader()?), member.len),
        };
        let (start, len) = match Codec::of(&start)? {
            Codec::None => (start, len),
            codec => (compress::reader(codec, start.reader()).map(head).unwrap_or_default(), u64::MAX),
        };
        Ok(container(&start)?.is_some() || (len >= RAW_MIN && is_raw(&start)?))
    }

    fn open(self, env: &mut Env) -> Result<Blob> {
        let body = match self.body {
            Body::Plain(body) => body,
            Body::Zip(member) => {
                let content = member
                    .reader()
                    .and_then(|content| with_progress(content, member.len, env, |mut content, env| env.spool.copy(&mut content)));
                content.at(|| self.name.clone())?
            }
        };
        decompressed(body, &self.name, env).at(|| self.name.clone())
    }
}

/// The first bytes of a stream, up to where it is damaged or cut: that is found when all of it is read.
fn head(stream: impl Read) -> Blob {
    let mut head = Vec::new();
    _ = stream.take(HEAD).read_to_end(&mut head);
    Blob::bytes(head)
}
