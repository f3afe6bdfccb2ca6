//! Reading newc archives, which may be hostile.

use super::{ALIGNMENT, HEADER_LEN, PATH_MAX, TRAILER};
use crate::{Blob, Error, Result, error::At, tree::Device, units};

/// A member of an archive, as it stands there.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where its header is.
    pub at: u64,
    /// The path's bytes, without the NUL.
    pub name: Vec<u8>,
    /// Inode number: names with the same number, in one archive, and more than one link, are one file.
    pub ino: u32,
    /// Type and permission bits, as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// How many names the inode has.
    pub nlink: u32,
    /// Modification time: seconds since 1970.
    pub mtime: u32,
    /// The device that a device node stands for.
    pub rdev: Device,
    /// The sum of all bytes of the body, modulo 2^32; only a 070702 archive has it.
    pub checksum: Option<u32>,
    /// Content of a file, target of a symbolic link.
    pub body: Blob,
}

/// The bits of a mode that are the type (Linux `S_IFMT`).
const TYPE: u32 = 0o170_000;

impl Member {
    /// The type, as in `st_mode`.
    pub fn kind(&self) -> u32 {
        self.mode & TYPE
    }
}

/// The members of archives that stand one after the other, trailers left out. After an error there is no more.
#[derive(Debug)]
pub struct Members<'a> {
    archive: &'a Blob,
    at: u64,
    is_inside: bool,
    is_over: bool,
    archives: u64,
}

impl<'a> Members<'a> {
    /// The members from the beginning of a blob on.
    pub fn new(archive: &'a Blob) -> Self {
        Self { archive, at: 0, is_inside: false, is_over: false, archives: 0 }
    }

    /// Where reading stands. At the end: the first byte behind the last archive that is neither a zero nor another
    /// archive, so perhaps the beginning of a compressed one.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// How many archives were begun: inode numbers are those of one archive.
    pub fn archives(&self) -> u64 {
        self.archives
    }

    /// Whether the last archive has not reached its trailer.
    pub fn is_inside(&self) -> bool {
        self.is_inside
    }

    /// Moves over zeros between archives; whether another archive follows.
    fn find_archive(&mut self) -> Result<bool> {
        let mut chunk = [0; 4096];
        while self.at < self.archive.len() {
            let len = units::index((self.archive.len() - self.at).min(units::bytes(chunk.len())));
            self.archive.read_at(self.at, &mut chunk[..len])?;
            match chunk[..len].iter().position(|byte| *byte != 0) {
                None => self.at += units::bytes(len),
                Some(zeros) => {
                    self.at += units::bytes(zeros);
                    return Ok(self.archive.len() - self.at >= 6 && is_magic(&self.archive.read_array::<6>(self.at)?));
                }
            }
        }
        Ok(false)
    }

    fn member(&mut self) -> Result<Option<Member>> {
        loop {
            if !self.is_inside {
                if !self.find_archive()? {
                    return Ok(None);
                }
                self.archives += 1;
            }
            self.is_inside = true;
            let member = self.read_member()?;
            if member.name != TRAILER {
                return Ok(Some(member));
            }
            self.is_inside = false;
        }
    }

    fn read_member(&mut self) -> Result<Member> {
        let header: [u8; HEADER_LEN] = self.archive.read_array(self.at)?;
        if !is_magic(&header) {
            return Err(Error::bad_input("no cpio header where one must be: the magic is neither 070701 nor 070702"));
        }
        let field = |nth: usize| hexadecimal(&header[6 + 8 * nth..14 + 8 * nth]);
        let name_len = units::index(u64::from(field(11)?));
        if !(1..=PATH_MAX).contains(&name_len) {
            return Err(Error::bad_input(format!("a name of {name_len} bytes, it has 1 to {PATH_MAX}")));
        }
        let mut name = vec![0; name_len];
        let name_at = self.at + units::bytes(HEADER_LEN);
        self.archive.read_at(name_at, &mut name)?;
        if name.pop() != Some(0) {
            return Err(Error::bad_input("a name does not end in a NUL"));
        }
        let size = u64::from(field(6)?);
        let start = (name_at + units::bytes(name_len)).next_multiple_of(ALIGNMENT);
        let end = start + size;
        if end > self.archive.len() {
            let text = String::from_utf8_lossy(&name);
            return Err(Error::bad_input(format!("{text}: a body of {size} bytes reaches past the end of the archive")));
        }
        let member = Member {
            at: self.at,
            name,
            ino: field(0)?,
            mode: field(1)?,
            uid: field(2)?,
            gid: field(3)?,
            nlink: field(4)?,
            mtime: field(5)?,
            rdev: Device { major: field(9)?, minor: field(10)? },
            checksum: if header.starts_with(b"070702") { Some(field(12)?) } else { None },
            body: self.archive.slice(start..end),
        };
        self.at = end.next_multiple_of(ALIGNMENT).min(self.archive.len());
        Ok(member)
    }
}

impl Iterator for Members<'_> {
    type Item = Result<Member>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let at = self.at;
        let member = self.member().at(|| format!("cpio member at byte {at}")).transpose();
        self.is_over = !matches!(member, Some(Ok(_)));
        member
    }
}

fn is_magic(header: &[u8]) -> bool {
    header.starts_with(b"070701") || header.starts_with(b"070702")
}

fn hexadecimal(digits: &[u8]) -> Result<u32> {
    digits.iter().try_fold(0, |value: u32, digit| {
        let digit = char::from(*digit).to_digit(16).ok_or_else(|| Error::bad_input("a header field is not hexadecimal"))?;
        Ok(value << 4 | digit)
    })
}
