//! The header block: 512 bytes, numbers in octal text.

use super::BLOCK;
use crate::{Error, Result};
use std::mem::offset_of;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `magic` and `version` of ustar (POSIX.1-2017).
pub(super) const USTAR: [u8; 8] = *b"ustar\x0000";
/// `magic` and `version` of the old GNU format, which has no `prefix`.
pub(super) const OLD_GNU: [u8; 8] = *b"ustar  \0";

/// Values of `typeflag`.
pub mod typeflag {
    /// A regular file.
    pub const FILE: u8 = b'0';
    /// A regular file of the v7 format.
    pub const FILE_V7: u8 = 0;
    /// A second name of an entry before it.
    pub const HARD_LINK: u8 = b'1';
    /// A symbolic link.
    pub const SYMLINK: u8 = b'2';
    /// A character device.
    pub const CHARACTER_DEVICE: u8 = b'3';
    /// A block device.
    pub const BLOCK_DEVICE: u8 = b'4';
    /// A directory.
    pub const DIRECTORY: u8 = b'5';
    /// A named pipe.
    pub const FIFO: u8 = b'6';
    /// A contiguous file, which is a regular file to us.
    pub const CONTIGUOUS: u8 = b'7';
    /// PAX records for the next member.
    pub const PAX: u8 = b'x';
    /// PAX records for all following members.
    pub const PAX_GLOBAL: u8 = b'g';
    /// GNU: the content is the path of the next member.
    pub const GNU_PATH: u8 = b'L';
    /// GNU: the content is the link target of the next member.
    pub const GNU_LINK: u8 = b'K';
    /// GNU: a sparse file, whose map is in the header.
    pub const GNU_SPARSE: u8 = b'S';
    /// GNU: a directory of an incremental dump; the content lists what was in it.
    pub const GNU_DUMPDIR: u8 = b'D';
    /// GNU: the label of the volume, which names no file.
    pub const GNU_LABEL: u8 = b'V';
    /// GNU: the rest of a file that begins in the volume before.
    pub const GNU_CONTINUED: u8 = b'M';
    /// Sun: as [`PAX`], from before that was the standard.
    pub const SUN_PAX: u8 = b'X';
    /// Sun: the access control list of the next member.
    pub const SUN_ACL: u8 = b'A';
}

/// A ustar header. Text fields end at their first NUL, or fill the field.
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    /// 0: path, or its end when `prefix` is not empty.
    pub(super) name: [u8; 100],
    /// 100: permission bits.
    pub(super) mode: [u8; 8],
    /// 108: owner.
    pub(super) uid: [u8; 8],
    /// 116: group.
    pub(super) gid: [u8; 8],
    /// 124: bytes of content in the archive.
    pub(super) size: [u8; 12],
    /// 136: modification time, seconds since 1970.
    pub(super) mtime: [u8; 12],
    /// 148: sum of all bytes of the header, with spaces in this field.
    pub(super) checksum: [u8; 8],
    /// 156: see [`typeflag`].
    pub(super) typeflag: u8,
    /// 157: target of a link.
    pub(super) linkname: [u8; 100],
    /// 257: [`USTAR`], [`OLD_GNU`], or zeros in the v7 format.
    pub(super) magic: [u8; 8],
    /// 265: owner's name, which we neither read nor write: names mean nothing in an image.
    pub(super) uname: [u8; 32],
    /// 297: group's name, as `uname`.
    pub(super) gname: [u8; 32],
    /// 329: major device number.
    pub(super) devmajor: [u8; 8],
    /// 337: minor device number.
    pub(super) devminor: [u8; 8],
    /// 345: begin of the path, without the `/` that joins it to `name`. Old GNU: see [`GnuTail`].
    pub(super) prefix: [u8; 155],
    /// 500: zeros. `star` has its own magic at 508.
    pub(super) reserved: [u8; 12],
}

/// What the old GNU format has in place of `prefix` and `reserved`, from byte 345.
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct GnuTail {
    /// 345: times and multi-volume offsets, not used here.
    pub(super) times: [u8; 41],
    /// 386: the first segments of a sparse file.
    pub(super) segments: [GnuSegment; 4],
    /// 482: not 0 when a [`GnuSparseBlock`] follows the header.
    pub(super) is_extended: u8,
    /// 483: bytes of the file, gaps included.
    pub(super) real_size: [u8; 12],
    /// 495: zeros.
    pub(super) reserved: [u8; 17],
}

/// Where a run of data of a sparse file stands in it. One without `offset` ends the list.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct GnuSegment {
    /// 0: byte offset in the file.
    pub(super) offset: [u8; 12],
    /// 12: bytes of data.
    pub(super) len: [u8; 12],
}

/// More segments of a sparse file, in a block behind the header.
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct GnuSparseBlock {
    /// 0: the segments.
    pub(super) segments: [GnuSegment; 21],
    /// 504: not 0 when another such block follows.
    pub(super) is_extended: u8,
    /// 505: zeros.
    pub(super) reserved: [u8; 7],
}

const _: () = assert!(
    size_of::<Header>() as u64 == BLOCK
        && offset_of!(Header, typeflag) == 156
        && offset_of!(Header, prefix) == 345
        && offset_of!(Header, prefix) + size_of::<GnuTail>() == size_of::<Header>()
);
const _: () = assert!(size_of::<GnuSparseBlock>() as u64 == BLOCK);
const _: () = assert!(offset_of!(GnuTail, segments) == 386 - 345 && offset_of!(GnuTail, real_size) == 483 - 345);

impl Header {
    /// The fields of the old GNU format behind `devminor`.
    pub(super) fn gnu_tail(&self) -> GnuTail {
        let mut tail = GnuTail::new_zeroed();
        tail.as_mut_bytes().copy_from_slice(&self.as_bytes()[offset_of!(Header, prefix)..]);
        tail
    }

    /// Lays the fields of the old GNU format over `prefix` and `reserved`.
    pub(super) fn set_gnu_tail(&mut self, tail: &GnuTail) {
        self.as_mut_bytes()[offset_of!(Header, prefix)..].copy_from_slice(tail.as_bytes());
    }

    /// Whether it is ustar's, whatever version: some writers leave that out.
    fn is_ustar(&self) -> bool {
        self.magic.starts_with(&USTAR[..6])
    }

    /// Whether it ends with `linkname`: its magic is neither ustar's nor GNU's.
    pub(super) fn is_v7(&self) -> bool {
        !self.is_ustar() && self.magic != OLD_GNU
    }

    /// Whether it is `star`'s own, with times behind a shorter `prefix`.
    pub(super) fn is_star(&self) -> bool {
        self.is_ustar() && self.reserved.ends_with(b"tar\0")
    }

    /// The path that the header alone gives.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(&self.name);
        let prefix = match self.is_ustar() {
            true if self.is_star() => text(&self.prefix[..131]),
            true => text(&self.prefix),
            false => b"",
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    /// Access and change time, which old GNU tar and `star` have in the place of `prefix`.
    pub(super) fn times(&self) -> (Option<&[u8]>, Option<&[u8]>) {
        let (gnu_atime, gnu_ctime) = (&self.prefix[..12], &self.prefix[12..24]);
        match self.magic {
            OLD_GNU => (Some(gnu_atime).filter(|field| field[0] != 0), Some(gnu_ctime).filter(|field| field[0] != 0)),
            _ if self.is_star() => (Some(&self.prefix[131..143]), Some(&self.prefix[143..])),
            _ => (None, None),
        }
    }

    /// The sum of all bytes, unsigned as the standard says, and signed as some old programs made it.
    fn sums(&self) -> (i64, i64) {
        let mut blank = self.clone();
        blank.checksum = *b"        ";
        let unsigned = blank.as_bytes().iter().map(|byte| i64::from(*byte)).sum();
        let signed = blank.as_bytes().iter().map(|byte| i64::from(byte.cast_signed())).sum();
        (unsigned, signed)
    }

    /// Checks the checksum.
    ///
    /// # Errors
    /// The checksum found and the one required.
    pub(super) fn verify(&self) -> Result<(), String> {
        let (unsigned, signed) = self.sums();
        match number(&self.checksum) {
            Some(found) if found == unsigned || found == signed => Ok(()),
            Some(found) => Err(format!("the header's checksum is {found:o}, its bytes add up to {unsigned:o} (octal)")),
            None => Err(format!("the header's checksum is '{}', must be octal", self.checksum.escape_ascii())),
        }
    }

    /// Fills the checksum in.
    pub(super) fn seal(&mut self) {
        let (unsigned, _) = self.sums();
        let octal = format!("{unsigned:06o}\0 ");
        self.checksum.copy_from_slice(octal.as_bytes());
    }
}

/// A text field up to its first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    let len = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..len]
}

/// A number field: octal text, or GNU base-256 (big-endian two's complement, top bit set as the mark). Blanks may stand before the
/// digits; a blank or NUL ends them, whatever follows. A NUL at the very front is passed over, as an old program let the field before it
/// overflow. An empty field is 0.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        let high = i128::from(first & 0x3f) - i128::from(first & 0x40);
        // At most twelve bytes, so it stays below 2^95.
        let value = rest.iter().fold(high, |value, byte| value * 256 + i128::from(*byte));
        return i64::try_from(value).ok();
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let text = if *first == 0 { rest } else { field };
    let start = text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len());
    let (mut value, mut digits) = (0, text[start..].iter());
    loop {
        match digits.next() {
            Some(digit @ b'0'..=b'7') => value = value * 8 + i64::from(digit - b'0'),
            None | Some(0) => return Some(value),
            Some(byte) => return is_blank(byte).then_some(value),
        }
    }
}

/// A number field by its name.
pub(super) fn signed(name: &str, field: &[u8]) -> Result<i64> {
    number(field).ok_or_else(|| Error::bad_input(format!("its {name} is '{}', must be an octal number", field.escape_ascii())))
}

/// The same of what is never negative.
pub(super) fn unsigned(name: &str, field: &[u8]) -> Result<u64> {
    let value = signed(name, field)?;
    u64::try_from(value).map_err(|_| Error::bad_input(format!("its {name} is {value}, must not be negative")))
}

/// Writes a number field in octal with a NUL behind it; `false` when it does not fit.
#[must_use]
pub(super) fn set_octal(field: &mut [u8], value: i64) -> bool {
    let digits = field.len() - 1;
    let text = format!("{value:0digits$o}");
    if value < 0 || text.len() > digits {
        return false;
    }
    field[..digits].copy_from_slice(text.as_bytes());
    field[digits] = 0;
    true
}

/// Writes a number field in octal, or in base-256 where it does not fit.
pub(super) fn set_octal_or_base_256(field: &mut [u8], value: i64) -> bool {
    if set_octal(field, value) {
        return true;
    }
    let bytes = i128::from(value).to_be_bytes();
    let (sign, low) = bytes.split_at(bytes.len() - field.len());
    // An i64 fills at most eight bytes: a field of eight has its top bit free only for small numbers.
    if field.len() <= 8 && !(0..1 << 56).contains(&value) {
        return false;
    }
    field.copy_from_slice(low);
    field[0] |= 0x80;
    debug_assert!(sign.iter().all(|byte| *byte == 0 || *byte == 0xff));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        let cases: [(&[u8], Option<i64>); 20] = [
            (b"0000644\0", Some(0o644)),
            (b"    644 ", Some(0o644)),
            (b"00000000000\0", Some(0)),
            (b"777777777777", Some(0o777_777_777_777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"644\0 644", Some(0o644)),
            (b"12 3\0", Some(0o12)),
            (b"\t 17\x0b7", Some(0o17)),
            (b"\x000000644", Some(0o644)),
            (b"\0\x00000644", Some(0)),
            (b"\0\0\0\0\0\0\x000016", Some(0)),
            (b"  \0 0644", Some(0)),
            (b"644x\0", None),
            (b"\0 8", None),
            (b"0000008\0", None),
            (b"-000001\0", None),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
        ];
        for (field, value) in cases {
            assert_eq!(number(field), value, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 0o7_777_777, 0o10_000_000, 1 << 33, 1 << 40, i64::MAX, -1, i64::MIN] {
            let mut long = [0; 12];
            assert!(set_octal_or_base_256(&mut long, value));
            assert_eq!(number(&long), Some(value));
            let mut short = [0; 8];
            if set_octal_or_base_256(&mut short, value) {
                assert_eq!(number(&short), Some(value));
            }
        }
    }

    #[test]
    fn both_checksums_are_taken() {
        let mut header = Header::new_zeroed();
        header.name[..5].copy_from_slice("ä€".as_bytes());
        header.linkname.fill(b'x');
        header.seal();
        header.verify().unwrap();
        let (unsigned, signed) = header.sums();
        assert_ne!(unsigned, signed);
        assert!(set_octal(&mut header.checksum[..7], signed));
        header.verify().unwrap();
        header.name[0] ^= 1;
        assert!(header.verify().is_err());
    }
}
