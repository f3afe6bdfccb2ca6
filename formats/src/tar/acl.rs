//! POSIX access control lists: out of the text of PAX records, as star, bsdtar and GNU tar write it, into the bytes that Linux keeps them as.
//!
//! ```text
//!  user::rwx,user:lp:r-x:7,group::r-x,mask::r-x,other::---     (POSIX.1e draft 17, section 23.3; star puts the number behind)
//!  version (32) | tag (16), permissions (16), number (32) | ...     (posix_acl_xattr.h, version 2, little-endian)
//! ```
//! Names mean nothing in an image: whoever is named only by name, but for root, cannot be kept.

use zerocopy::{
    Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32},
};

/// `POSIX_ACL_XATTR_VERSION`.
const VERSION: u32 = 2;
/// The number of an entry that has none.
const NO_ID: u32 = u32::MAX;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// `struct posix_acl_xattr_entry`, in the order in which the kernel wants them: tags rise, and so do numbers.
#[derive(Clone, Copy, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    tag: U16,
    permissions: U16,
    id: U32,
}
const _: () = assert!(size_of::<Entry>() == 8);

/// The value of `system.posix_acl_access` or `system.posix_acl_default`; nothing where the list says no more than a mode does.
///
/// # Errors
/// In a few words, what cannot be kept.
pub(super) fn value(text: &[u8], is_default: bool) -> Result<Option<Vec<u8>>, &'static str> {
    let mut entries = text
        .split(|byte| b",\n".contains(byte))
        .map(|line| line.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii())
        .filter(|line| !line.is_empty())
        .map(entry)
        .collect::<Result<Vec<_>, _>>()?;
    entries.sort_unstable_by_key(|entry| (entry.tag.get(), entry.id.get()));
    let count = |tag: u16| entries.iter().filter(|entry| entry.tag == tag).count();
    let named = count(USER) + count(GROUP);
    let is_twice = entries.windows(2).any(|pair| (pair[0].tag, pair[0].id) == (pair[1].tag, pair[1].id));
    if [USER_OBJ, GROUP_OBJ, OTHER].iter().any(|tag| count(*tag) != 1) || named > 0 && count(MASK) == 0 || is_twice {
        return Err("which is not complete");
    }
    if named + count(MASK) == 0 && !is_default {
        return Ok(None);
    }
    let bytes = entries.iter().flat_map(|entry| entry.as_bytes().to_vec());
    Ok(Some(VERSION.to_le_bytes().into_iter().chain(bytes).collect()))
}

fn entry(line: &[u8]) -> Result<Entry, &'static str> {
    let line = line.strip_prefix(b"default:").unwrap_or(line);
    let mut fields = line.split(|byte| *byte == b':').map(<[u8]>::trim_ascii);
    let kind = fields.next().unwrap_or_default();
    let rest: Vec<_> = fields.collect();
    let (name, permissions, number) = match rest.as_slice() {
        [permissions] => (b"".as_slice(), *permissions, None),
        [name, permissions] => (*name, *permissions, None),
        [name, permissions, number] => (*name, *permissions, Some(*number)),
        _ => return Err("which is malformed"),
    };
    let (own, named) = match kind {
        b"user" | b"u" => (USER_OBJ, USER),
        b"group" | b"g" => (GROUP_OBJ, GROUP),
        b"mask" | b"m" => (MASK, MASK),
        b"other" | b"o" => (OTHER, OTHER),
        _ => return Err("which is malformed"),
    };
    let number = number.filter(|number| !number.is_empty()).or((!name.is_empty()).then_some(name));
    let (tag, id) = match number {
        Some(number) if own != named => (named, id(number)?),
        _ => (own, NO_ID),
    };
    Ok(Entry { tag: tag.into(), permissions: bits(permissions)?.into(), id: id.into() })
}

fn id(text: &[u8]) -> Result<u32, &'static str> {
    match std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()) {
        Some(id) if id != NO_ID => Ok(id),
        _ if text == b"root" => Ok(0),
        _ => Err("which names somebody without a number"),
    }
}

fn bits(text: &[u8]) -> Result<u16, &'static str> {
    text.iter().try_fold(0, |bits, letter| match letter {
        b'r' => Ok(bits | 4),
        b'w' => Ok(bits | 2),
        b'x' => Ok(bits | 1),
        b'-' => Ok(bits),
        _ => Err("which is malformed"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `setfacl -m u:7:r-x,g:1000:-w-,m::rwx` leaves them (Linux's own bytes).
    const LINUX: [u8; 52] = [
        2, 0, 0, 0, // version
        1, 0, 7, 0, 255, 255, 255, 255, // user::rwx
        2, 0, 5, 0, 7, 0, 0, 0, // user:7:r-x
        4, 0, 5, 0, 255, 255, 255, 255, // group::r-x
        8, 0, 2, 0, 232, 3, 0, 0, // group:1000:-w-
        16, 0, 7, 0, 255, 255, 255, 255, // mask::rwx
        32, 0, 0, 0, 255, 255, 255, 255, // other::---
    ];

    #[test]
    fn every_writers_text_gives_the_bytes_of_linux() {
        for text in [
            "user::rwx,user:lp:r-x:7,group::r-x,group:wheel:-w-:1000,mask::rwx,other::---",
            "user::rwx\nuser:7:r-x\ngroup::r-x\ngroup:1000:-w-\nmask::rwx\nother::---\n",
            "u::rwx\nu:7:rx\t#effective:r-x\ng::r-x, g:1000:w, m:rwx, o:-",
            "other::---,mask::rwx,group:1000:-w-,group::r-x,user:7:r-x,user::rwx",
            "default:user::rwx,default:user:7:r-x,default:group::r-x,default:group:1000:-w-,default:mask::rwx,default:other::---",
        ] {
            assert_eq!(value(text.as_bytes(), true).unwrap().unwrap(), LINUX, "{text}");
        }
        let root = value(b"user::rw-,user:root:r--,group::r--,mask::r--,other::---", false).unwrap().unwrap();
        assert_eq!(root[12..20], [2, 0, 4, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn what_a_mode_says_is_no_list() {
        let text = b"user::rw-,group::r--,other::r--";
        assert_eq!(value(text, false), Ok(None));
        assert_eq!(value(text, true).unwrap().unwrap().len(), 28);
    }

    #[test]
    fn what_cannot_be_kept_says_why() {
        for (text, why) in [
            ("user::rw-,user:joe:r--,group::r--,mask::r--,other::r--", "somebody without a number"),
            ("user::rw-,user:7:r--,group::r--,other::r--", "not complete"),
            ("user::rw-,group::r--", "not complete"),
            ("user::rw-,user:7:r--,user:7:rw-,group::r--,mask::r--,other::r--", "not complete"),
            ("", "not complete"),
            ("user::rq-,group::r--,other::r--", "malformed"),
            ("owner@:rwx::allow", "malformed"),
            ("user:a:b:c:d", "malformed"),
        ] {
            assert!(value(text.as_bytes(), false).unwrap_err().contains(why), "{text}");
        }
    }
}
