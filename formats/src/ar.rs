//! ar, the archive that a Debian package is: deb(5), ar(5).
//!
//! ```text
//!  "!<arch>\n" | header, 60 | body | "\n" where the body has an odd length | header | ...
//! ```
//! Read: members by their names and bodies, front to back. The tables of long names that linkers' archives have are members like any other:
//! no package has them.
//!
//! Oracle: dpkg-deb.

use crate::{At, Blob, Error, Result, units};
use std::mem::offset_of;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

const MAGIC: [u8; 8] = *b"!<arch>\n";
/// What ends a header.
const END: [u8; 2] = *b"`\n";

/// The header of a member: text, padded with blanks.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    /// 0: name, which some end with a slash.
    name: [u8; 16],
    /// 16: time, owner, group, mode.
    attributes: [u8; 32],
    /// 48: bytes of the body, decimal.
    size: [u8; 10],
    /// 58: [`END`].
    end: [u8; 2],
}
const HEADER_LEN: u64 = 60;
const _: () = assert!(size_of::<Header>() as u64 == HEADER_LEN && offset_of!(Header, size) == 48);

/// A member of an archive.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name, without the slash that may end it.
    pub name: Vec<u8>,
    /// Its content.
    pub body: Blob,
}

/// Whether a file is an archive, by its magic.
///
/// # Errors
/// When it cannot be read.
pub fn probe(file: &Blob) -> Result<bool> {
    Ok(file.len() >= units::bytes(MAGIC.len()) && file.read_array(0)? == MAGIC)
}

/// The members of an archive, front to back. Behind an error there are none.
#[derive(Debug)]
pub struct Members<'a> {
    archive: &'a Blob,
    at: u64,
}

impl<'a> Members<'a> {
    /// The members of an archive that [`probe`] knows.
    pub fn new(archive: &'a Blob) -> Self {
        Self { archive, at: units::bytes(MAGIC.len()) }
    }

    fn member(&mut self) -> Result<Member> {
        let left = self.archive.len() - self.at;
        if left < HEADER_LEN {
            return Err(Error::bad_input(format!("the archive ends {left} bytes into a header of {HEADER_LEN}")).hint("it is truncated"));
        }
        let header: [u8; 60] = self.archive.read_array(self.at)?;
        let header = Header::read_from_bytes(&header).map_err(|_| Error::bad_input("a header has 60 bytes"))?;
        if header.end != END {
            return Err(Error::bad_input(format!("its header ends with '{}', must be '`\\n'", header.end.escape_ascii())));
        }
        let size = header.size.trim_ascii_end();
        let len = std::str::from_utf8(size).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let len: u64 = len
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Error::bad_input(format!("its size is '{}', must be a decimal number", header.size.escape_ascii())))?;
        let (start, left) = (self.at + HEADER_LEN, left - HEADER_LEN);
        if len > left {
            return Err(Error::bad_input(format!("its body has {len} bytes, the archive has {left} more")).hint("it is truncated"));
        }
        // The last body may lack what makes its length even.
        self.at = (start + len).next_multiple_of(2).min(self.archive.len());
        let name = header.name.trim_ascii_end();
        Ok(Member { name: name.strip_suffix(b"/").unwrap_or(name).to_vec(), body: self.archive.slice(start..start + len) })
    }
}

impl Iterator for Members<'_> {
    type Item = Result<Member>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        if at >= self.archive.len() {
            return None;
        }
        let member = self.member().at(|| format!("archive member at byte {at}"));
        if member.is_err() {
            self.at = self.archive.len();
        }
        Some(member)
    }
}

/// An archive of these members, for tests.
#[cfg(test)]
pub(crate) fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = MAGIC.to_vec();
    for (name, body) in members {
        archive.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, body.len()).bytes());
        archive.extend_from_slice(body);
        archive.resize(archive.len().next_multiple_of(2), b'\n');
    }
    archive
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
        let archive = Blob::bytes(bytes);
        Members::new(&archive)
            .map(|member| member.map(|member| (String::from_utf8_lossy(&member.name).into_owned(), member.body.to_vec(99).unwrap())))
            .collect()
    }

    #[test]
    fn members_come_in_their_order() {
        let bytes = archive(&[("debian-binary", b"2.0\n"), ("odd/", b"abc"), ("empty", b""), ("last", b"x")]);
        assert!(probe(&Blob::bytes(bytes.as_slice())).unwrap());
        let wanted = [("debian-binary", &b"2.0\n"[..]), ("odd", b"abc"), ("empty", b""), ("last", b"x")];
        let wanted: Vec<_> = wanted.iter().map(|(name, body)| ((*name).to_owned(), body.to_vec())).collect();
        assert_eq!(members(&bytes).unwrap(), wanted);
        assert_eq!(members(&bytes[..bytes.len() - 1]).unwrap(), wanted, "the last padding may be missing");
        assert!(members(&MAGIC).unwrap().is_empty() && !probe(&Blob::bytes(*b"!<arch>")).unwrap());
    }

    #[test]
    fn what_is_damaged_is_named() {
        let bytes = archive(&[("a", b"abc")]);
        for (at, byte, words) in [(8 + 58, b' ', "its header ends with ' \\n'"), (8 + 48, b'-', "its size is '-"), (8 + 48, b'9', "")] {
            let mut broken = bytes.clone();
            broken[at] = byte;
            let error = members(&broken).unwrap_err().to_string();
            assert!(error.starts_with("archive member at byte 8: ") && error.contains(words), "{error}");
        }
        for len in 9..bytes.len() - 1 {
            assert!(members(&bytes[..len]).is_err(), "{len}");
        }
        let mut endless = bytes;
        endless[8 + 48..8 + 58].copy_from_slice(b"9999999999");
        assert!(members(&endless).unwrap_err().to_string().contains("9999999999 bytes, the archive has 4 more"));
    }
}
