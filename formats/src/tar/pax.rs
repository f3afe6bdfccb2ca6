//! The records of PAX headers: `"%d %s=%s\n"`, length (of the whole record), keyword, value.

use super::{acl, warnings::Warnings};
use crate::{Error, Result, tree::ShowPath};
use std::collections::BTreeMap;

/// Keywords without a place in an inode that say nothing of one either: what the archive is, where a file was, who owned it by name.
const NO_ATTRIBUTES: [&[u8]; 15] = [
    b"atime",
    b"ctime",
    b"charset",
    b"comment",
    b"hdrcharset",
    b"uname",
    b"gname",
    b"GNU.dumpdir",
    b"SCHILY.archtype",
    b"SCHILY.dev",
    b"SCHILY.filetype",
    b"SCHILY.ino",
    b"SCHILY.nlink",
    b"SCHILY.realsize",
    b"SCHILY.release",
];
/// The same by how they begin.
const NO_ATTRIBUTE_PREFIXES: [&[u8]; 2] = [b"GNU.volume.", b"SCHILY.volhdr."];
/// What belongs to one entry only, by how the keywords begin.
const OF_ONE_ENTRY: [&[u8]; 9] = [
    b"path",
    b"linkpath",
    b"size",
    b"GNU.sparse.",
    b"LIBARCHIVE.xattr.",
    b"RHT.security.selinux",
    b"SCHILY.acl.",
    b"SCHILY.dev",
    b"SCHILY.xattr.",
];

/// What the records for one member say, as far as we know their keywords.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) devmajor: Option<i64>,
    pub(super) devminor: Option<i64>,
    pub(super) linuxkit_source: Option<String>,
    pub(super) linuxkit_location: Option<String>,
    /// `SCHILY.xattr.NAME`: the value as it is.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// `LIBARCHIVE.xattr.NAME`: name and value were encoded; the others win.
    pub(super) libarchive_xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// `SCHILY.acl.access` and `SCHILY.acl.default`: text.
    pub(super) acls: [Option<Vec<u8>>; 2],
    /// `RHT.security.selinux`: a label, without the NUL that it has on disk.
    pub(super) selinux: Option<Vec<u8>>,
    pub(super) sparse: Sparse,
}

/// `GNU.sparse.*`, which came in three versions.
#[derive(Clone, Debug, Default)]
pub(super) struct Sparse {
    /// Version 1: the map stands before the content.
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    /// 0.1 and 1.0: the path; the header has an invented one.
    pub(super) name: Option<Vec<u8>>,
    /// `GNU.sparse.size` (0.x) or `GNU.sparse.realsize` (1.0): bytes of the file, gaps included.
    pub(super) real_size: Option<u64>,
    /// 0.x: how many segments there are.
    pub(super) segment_count: Option<u64>,
    /// 0.0: offsets and lengths in turn, one record each. 0.1: all in one record.
    pub(super) map: Vec<u64>,
    pub(super) has_map: bool,
}

/// Whose records they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// A header `x`: the next member.
    Member,
    /// A header `g`: all that follow.
    Global,
}

impl Records {
    /// Reads the records of one PAX header over those of the global ones.
    ///
    /// # Errors
    /// When a record is malformed.
    pub(super) fn read(&mut self, bytes: &[u8], scope: Scope, warnings: &mut Warnings) -> Result<()> {
        for record in records(bytes) {
            let (keyword, value) = record?;
            match scope {
                // GNU tar gives every file the same name, bsdtar heeds none of these headers: this loses nothing.
                Scope::Global if OF_ONE_ENTRY.iter().any(|prefix| keyword.starts_with(prefix)) => warnings.global(keyword),
                _ => self.set(keyword, value, warnings).map_err(|error| error.at(format!("PAX record {}", ShowPath(keyword))))?,
            }
        }
        Ok(())
    }

    /// An empty value takes back what an earlier record said (POSIX.1-2017, "pax Extended Header Keyword/Value Pairs").
    fn set(&mut self, keyword: &[u8], value: &[u8], warnings: &mut Warnings) -> Result<()> {
        match keyword {
            b"path" => self.path = optional(value, bytes)?,
            b"linkpath" => self.linkpath = optional(value, bytes)?,
            b"size" => self.size = optional(value, unsigned)?,
            b"uid" => self.uid = optional(value, decimal)?,
            b"gid" => self.gid = optional(value, decimal)?,
            b"mtime" => self.mtime = optional(value, time)?,
            b"LINUXKIT.source" => self.linuxkit_source = optional(value, utf8)?,
            b"LINUXKIT.location" => self.linuxkit_location = optional(value, utf8)?,
            b"RHT.security.selinux" => self.selinux = optional(value, bytes)?,
            b"SCHILY.acl.access" => self.acls[0] = optional(value, bytes)?,
            b"SCHILY.acl.default" => self.acls[1] = optional(value, bytes)?,
            b"SCHILY.devmajor" => self.devmajor = optional(value, decimal)?,
            b"SCHILY.devminor" => self.devminor = optional(value, decimal)?,
            _ => {
                if let Some(name) = keyword.strip_prefix(b"SCHILY.xattr.") {
                    set_xattr(&mut self.xattrs, unescape_schily(name), value.to_vec())?;
                } else if let Some(name) = keyword.strip_prefix(b"LIBARCHIVE.xattr.") {
                    set_xattr(&mut self.libarchive_xattrs, unescape_percent(name)?, base64(value)?)?;
                } else if let Some(name) = keyword.strip_prefix(b"GNU.sparse.") {
                    self.sparse.set(name, value)?;
                } else if !NO_ATTRIBUTES.contains(&keyword) && !NO_ATTRIBUTE_PREFIXES.iter().any(|prefix| keyword.starts_with(prefix)) {
                    warnings.lost(&ShowPath(keyword).to_string());
                }
            }
        }
        Ok(())
    }

    /// All extended attributes, sorted by name. What is said by name and value goes before what is said in another way.
    pub(super) fn take_xattrs(&mut self, warnings: &mut Warnings) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = std::mem::take(&mut self.xattrs);
        let mut more = std::mem::take(&mut self.libarchive_xattrs);
        for ((is_default, name), text) in [(false, "access"), (true, "default")].into_iter().zip(&mut self.acls) {
            match text.take().map(|text| acl::value(&text, is_default)) {
                Some(Ok(value)) => more.extend(value.map(|value| (format!("system.posix_acl_{name}").into_bytes(), value))),
                Some(Err(why)) => warnings.lost(&format!("SCHILY.acl.{name} {why}")),
                None => {}
            }
        }
        more.extend(self.selinux.take().map(|label| (b"security.selinux".to_vec(), [label.as_slice(), b"\0"].concat())));
        for (name, value) in more {
            if all.iter().all(|(other, _)| *other != name) {
                all.push((name, value));
            }
        }
        all.sort_unstable();
        all
    }
}

impl Sparse {
    /// Whether the records say that the file is one.
    pub(super) fn is_used(&self) -> bool {
        self.has_map || self.major.is_some() || self.real_size.is_some()
    }

    fn set(&mut self, keyword: &[u8], value: &[u8]) -> Result<()> {
        match keyword {
            b"major" => self.major = Some(unsigned(value)?),
            b"minor" => self.minor = Some(unsigned(value)?),
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.real_size = Some(unsigned(value)?),
            b"numblocks" => self.segment_count = Some(unsigned(value)?),
            b"offset" if self.map.len().is_multiple_of(2) => self.map.push(unsigned(value)?),
            b"numbytes" if !self.map.len().is_multiple_of(2) => self.map.push(unsigned(value)?),
            b"offset" | b"numbytes" => return Err(Error::bad_input("offsets and lengths must take turns")),
            b"map" if value.is_empty() => self.map.clear(),
            b"map" => self.map = value.split(|byte| *byte == b',').map(unsigned).collect::<Result<_>>()?,
            _ => return Err(Error::unsupported("an unknown keyword of sparse files")),
        }
        self.has_map |= matches!(keyword, b"offset" | b"numbytes" | b"map" | b"numblocks");
        Ok(())
    }
}

/// The records of one PAX header, in order; behind an error there are none. Zeros behind the last are no record, as with GNU tar.
fn records(bytes: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8])>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        rest.first().filter(|byte| **byte != 0)?;
        let record = split_record(rest);
        rest = record.as_ref().map_or(b"", |(_, _, behind)| *behind);
        Some(record.map(|(keyword, value, _)| (keyword, value)))
    })
}

/// All records of one PAX header by keyword, as they stand; the last of several wins.
///
/// # Errors
/// When one is malformed.
pub(super) fn all(bytes: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    records(bytes).map(|record| record.map(|(keyword, value)| (keyword.to_vec(), value.to_vec()))).collect()
}

/// What the records of one PAX header say about a sparse file.
///
/// # Errors
/// When one is malformed.
pub(super) fn sparse(bytes: &[u8]) -> Result<Sparse> {
    let mut sparse = Sparse::default();
    for record in records(bytes) {
        let (keyword, value) = record?;
        if let Some(name) = keyword.strip_prefix(b"GNU.sparse.") {
            sparse.set(name, value).map_err(|error| error.at(format!("PAX record {}", ShowPath(keyword))))?;
        }
    }
    Ok(sparse)
}

/// The first record: keyword, value, and what follows.
fn split_record(bytes: &[u8]) -> Result<(&[u8], &[u8], &[u8])> {
    let malformed = |what: &str| {
        let head = &bytes[..bytes.len().min(40)];
        Error::bad_input(format!("the PAX record that begins with '{}' {what}", head.escape_ascii()))
    };
    let space = bytes.iter().take(8).position(|byte| *byte == b' ').ok_or_else(|| malformed("has no length"))?;
    let len = unsigned(&bytes[..space]).ok().and_then(|len| usize::try_from(len).ok());
    let len = len.filter(|len| *len > space + 1 && *len <= bytes.len());
    let (record, rest) = bytes.split_at(len.ok_or_else(|| malformed("has a length that is not its own"))?);
    let record = record[space + 1..].strip_suffix(b"\n").ok_or_else(|| malformed("does not end in a newline"))?;
    let equals = record.iter().position(|byte| *byte == b'=').filter(|at| *at > 0 && !record[..*at].contains(&0));
    let equals = equals.ok_or_else(|| malformed("has no keyword"))?;
    Ok((&record[..equals], &record[equals + 1..], rest))
}

fn set_xattr(xattrs: &mut Vec<(Vec<u8>, Vec<u8>)>, name: Vec<u8>, value: Vec<u8>) -> Result<()> {
    if name.is_empty() || name.contains(&0) {
        return Err(Error::bad_input("the name of an extended attribute must not be empty or have a NUL"));
    }
    // An xattr list is at most 64 KiB in Linux (XATTR_LIST_MAX); it also keeps this search short.
    const XATTRS_MAX: usize = 4096;
    match xattrs.iter().position(|(other, _)| *other == name) {
        Some(place) => xattrs[place].1 = value,
        None if xattrs.len() >= XATTRS_MAX => return Err(Error::bad_input(format!("more than {XATTRS_MAX} extended attributes"))),
        None => xattrs.push((name, value)),
    }
    Ok(())
}

fn optional<T>(value: &[u8], read: impl Fn(&[u8]) -> Result<T>) -> Result<Option<T>> {
    if value.is_empty() { Ok(None) } else { read(value).map(Some) }
}

fn bytes(value: &[u8]) -> Result<Vec<u8>> {
    Ok(value.to_vec())
}

fn utf8(value: &[u8]) -> Result<String> {
    String::from_utf8(value.to_vec()).map_err(|_| Error::bad_input(format!("'{}' must be UTF-8", ShowPath(value))))
}

/// Decimal digits, nothing else.
pub(super) fn unsigned(value: &[u8]) -> Result<u64> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|text| text.parse().ok());
    number.ok_or_else(|| Error::bad_input(format!("'{}' must be a decimal number below 2^64", ShowPath(value))))
}

pub(super) fn decimal(value: &[u8]) -> Result<i64> {
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Error::bad_input(format!("'{}' must be a decimal number below 2^63", ShowPath(value))))
}

/// Seconds since 1970 with a fraction, `-1.5`: whole seconds rounded down, and nanoseconds.
pub(super) fn time(value: &[u8]) -> Result<(i64, u32)> {
    let refuse = || Error::bad_input(format!("'{}' must be decimal seconds", ShowPath(value)));
    let text = std::str::from_utf8(value).map_err(|_| refuse())?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = match whole {
        "" => 0,
        "-" => 0,
        whole => whole.parse().map_err(|_| refuse())?,
    };
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) || whole.len() + fraction.len() == 0 {
        return Err(refuse());
    }
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanos = digits.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
    if !text.starts_with('-') || nanos == 0 {
        return Ok((seconds, nanos));
    }
    Ok((seconds.checked_sub(1).ok_or_else(refuse)?, 1_000_000_000 - nanos))
}

/// GNU tar writes `=` and `%` in the names of attributes as `%3D` and `%25`.
fn unescape_schily(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, tail)) = rest.split_first() {
        let (byte, len) = match rest {
            [b'%', b'3', b'D', ..] => (b'=', 3),
            [b'%', b'2', b'5', ..] => (b'%', 3),
            _ => (*first, 1),
        };
        plain.push(byte);
        rest = tail.get(len - 1..).unwrap_or_default();
    }
    plain
}

/// The keyword for an attribute, as GNU tar writes it.
pub(super) fn xattr_keyword(name: &[u8]) -> Vec<u8> {
    let mut keyword = b"SCHILY.xattr.".to_vec();
    for byte in name {
        match byte {
            b'=' => keyword.extend_from_slice(b"%3D"),
            b'%' => keyword.extend_from_slice(b"%25"),
            byte => keyword.push(*byte),
        }
    }
    keyword
}

/// Seconds since 1970 with a fraction: the reverse of [`time`].
pub(super) fn show_time(seconds: i64, nanos: u32) -> String {
    let text = match seconds {
        ..0 if nanos > 0 => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanos),
        _ => format!("{seconds}.{nanos:09}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// libarchive writes the names of attributes as in URLs.
fn unescape_percent(name: &[u8]) -> Result<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name.iter();
    while let Some(byte) = rest.next() {
        plain.push(match byte {
            b'%' => {
                let high = rest.next().and_then(digit);
                let low = rest.next().and_then(digit);
                high.zip(low).map(|(high, low)| high * 16 + low).ok_or_else(|| Error::bad_input("'%' must have two hexadecimal digits"))?
            }
            byte => *byte,
        });
    }
    Ok(plain)
}

/// RFC 4648, section 4; libarchive leaves the padding out.
fn base64(text: &[u8]) -> Result<Vec<u8>> {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let mut bytes = Vec::with_capacity(end / 4 * 3 + 3);
    let (mut bits, mut count) = (0u32, 0u32);
    for digit in &text[..end] {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(Error::bad_input(format!("'{}' is not base64", digit.escape_ascii()))),
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.extend(u8::try_from(bits >> count & 0xff));
        }
    }
    Ok(bytes)
}

/// Appends a record; its length counts its own digits.
pub(super) fn write_record(to: &mut Vec<u8>, keyword: &[u8], value: &[u8]) {
    // Space, equals sign and newline.
    let payload = keyword.len() + value.len() + 3;
    let mut len = payload;
    while payload + len.to_string().len() != len {
        len = payload + len.to_string().len();
    }
    to.extend_from_slice(format!("{len} ").as_bytes());
    to.extend_from_slice(keyword);
    to.push(b'=');
    to.extend_from_slice(value);
    to.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Records> {
        let mut records = Records::default();
        records.read(text, Scope::Member, &mut Warnings::default())?;
        Ok(records)
    }

    #[test]
    fn a_record_may_hold_anything() {
        let mut text = Vec::new();
        let value: Vec<u8> = (0..=255).collect();
        write_record(&mut text, b"SCHILY.xattr.user.%3Da", &value);
        write_record(&mut text, b"path", b"a=b\nc");
        write_record(&mut text, b"comment", b"");
        let mut records = read(&text).unwrap();
        assert_eq!(records.take_xattrs(&mut Warnings::default()), [(b"user.=a".to_vec(), value)]);
        assert_eq!(records.path.unwrap(), b"a=b\nc");
    }

    #[test]
    fn lengths_count_themselves() {
        for len in 0..1200 {
            let mut text = Vec::new();
            write_record(&mut text, b"path", &vec![b'x'; len + 1]);
            assert_eq!(read(&text).unwrap().path.unwrap().len(), len + 1);
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let bad: [&[u8]; 14] = [
            b"0 a=b\n",
            b"1 a=b\n",
            b"2 a=b\n",
            b"5 a=b\n",
            b"7 a=b\n",
            b"6 a=bc",
            b"6 =ab\n",
            b"6 abc\n",
            b"7 a\0b=\n",
            b" a=b\n",
            b"a=b\n",
            b"-6 a=b\n",
            b"18446744073709551616 a=b\n",
            b"99999999 a=b\n",
        ];
        for text in bad {
            assert_eq!(read(text).unwrap_err().kind(), crate::Kind::BadInput, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn times_have_fractions_and_signs() {
        let cases: [(&str, (i64, u32)); 8] = [
            ("1700000000", (1_700_000_000, 0)),
            ("1.5", (1, 500_000_000)),
            ("1.000000001999", (1, 1)),
            ("-1", (-1, 0)),
            ("-1.5", (-2, 500_000_000)),
            ("-0.25", (-1, 750_000_000)),
            (".5", (0, 500_000_000)),
            ("5.", (5, 0)),
        ];
        for (text, time) in cases {
            assert_eq!(super::time(text.as_bytes()).unwrap(), time, "{text}");
            assert_eq!(super::time(show_time(time.0, time.1).as_bytes()).unwrap(), time, "{text}");
        }
        for bad in ["x", ".", "1.-5", "1e9", "9223372036854775808", "-9223372036854775808.5"] {
            assert!(time(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_empty_value_takes_a_record_back() {
        assert!(read(b"8 uid=7\n7 uid=\n").unwrap().uid.is_none());
    }

    #[test]
    fn zeros_behind_the_last_record_are_padding() {
        assert_eq!(read(b"8 uid=7\n\0\0").unwrap().uid, Some(7));
    }

    #[test]
    fn global_records_cannot_name_every_file() {
        let (mut records, mut warnings) = (Records::default(), Warnings::default());
        records.read(b"8 uid=7\n13 comment=x\n10 path=x\n10 size=7\n", Scope::Global, &mut warnings).unwrap();
        assert_eq!((records.uid, records.path, records.size), (Some(7), None, None));
        let [text] = warnings.texts().try_into().unwrap();
        assert!(text.starts_with("global headers") && text.ends_with("left out: path, size"), "{text}");
    }

    #[test]
    fn what_vendors_say_is_kept_or_told_once() {
        let mut text = Vec::new();
        for (keyword, value) in [
            ("SCHILY.acl.access", "user::rw-,user:lp:r--:7,group::r--,mask::r--,other::---"),
            ("SCHILY.acl.default", "user::rw-,user:joe:r--,group::r--,mask::r--,other::---"),
            ("RHT.security.selinux", "system_u:object_r:bin_t:s0"),
            ("SCHILY.fflags", "nodump"),
            ("MSWINDOWS.rawsd", "AQAE"),
            ("LIBARCHIVE.creationtime", "1"),
            ("SCHILY.ino", "12"),
            ("comment", "no attribute"),
            ("LIBARCHIVE.xattr.security.selinux", "bm90IHRoaXM"),
        ] {
            write_record(&mut text, keyword.as_bytes(), value.as_bytes());
        }
        let (mut records, mut warnings) = (Records::default(), Warnings::default());
        (0..2).for_each(|_| records.read(&text, Scope::Member, &mut warnings).unwrap());
        let xattrs = records.take_xattrs(&mut warnings);
        let names: Vec<_> = xattrs.iter().map(|(name, value)| (ShowPath(name).to_string(), value.len())).collect();
        assert_eq!(names, [("security.selinux".to_owned(), 8), ("system.posix_acl_access".to_owned(), 44)]);
        let [text] = warnings.texts().try_into().unwrap();
        let lost = "LIBARCHIVE.creationtime, MSWINDOWS.rawsd, SCHILY.acl.default which names somebody without a number, SCHILY.fflags";
        assert_eq!(text, format!("attributes of entries are not kept: {lost}"));
    }

    #[test]
    fn attributes_of_libarchive_are_decoded() {
        let mut text = Vec::new();
        write_record(&mut text, b"LIBARCHIVE.xattr.user.a%3db", b"AP8Bcw");
        write_record(&mut text, b"LIBARCHIVE.xattr.user.both", b"AAAA");
        write_record(&mut text, b"SCHILY.xattr.user.both", b"raw");
        let expected = [(b"user.a=b".to_vec(), vec![0, 255, 1, b's']), (b"user.both".to_vec(), b"raw".to_vec())];
        assert_eq!(read(&text).unwrap().take_xattrs(&mut Warnings::default()), expected);
        assert!(read(b"29 LIBARCHIVE.xattr.a=<<<<<<\n").is_err());
    }
}
