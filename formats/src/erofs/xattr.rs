//! Extended attributes, in line behind their inode.
//!
//! ```text
//!  | header | entry, name without its class, value, zeros to 4 | entry ... |
//! ```

use crate::{Error, Result, tree::ShowPath, units};
use zerocopy::{
    Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32},
};

/// `struct erofs_xattr_ibody_header`.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    /// 0: 0, as the superblock has no filter of names.
    name_filter: U32,
    /// 4: attributes that are elsewhere: none.
    shared_count: u8,
    /// 5: zeros.
    reserved: [u8; 7],
}
const HEADER_LEN: usize = size_of::<Header>();
const _: () = assert!(HEADER_LEN == 12);

/// `struct erofs_xattr_entry`.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    /// 0: bytes of the name behind its class.
    name_len: u8,
    /// 1: see [`CLASSES`].
    name_index: u8,
    /// 2: bytes of the value.
    value_size: U16,
}
const ENTRY_LEN: usize = size_of::<Entry>();
const _: () = assert!(ENTRY_LEN == 4);

/// `EROFS_XATTR_INDEX_` of each class of names. The access control lists have no name besides their class.
const CLASSES: [(&[u8], u8); 5] =
    [(b"user.", 1), (b"system.posix_acl_access", 2), (b"system.posix_acl_default", 3), (b"trusted.", 4), (b"security.", 6)];

/// Whether the format has a class for this full name.
pub(super) fn is_held(name: &[u8]) -> bool {
    classified(name).is_some()
}

/// What stands behind an inode; empty without attributes. Those of no class are left out.
///
/// # Errors
/// Names the attribute that is too large for EROFS or Linux.
pub(super) fn body(xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<u8>> {
    if !xattrs.iter().any(|(name, _)| is_held(name)) {
        return Ok(Vec::new());
    }
    let header = Header { name_filter: 0.into(), shared_count: 0, reserved: [0; 7] };
    let mut body = header.as_bytes().to_vec();
    for (name, value) in xattrs {
        let Some((index, name)) = classified(name) else { continue };
        let too_large = |what: &str, len: usize, max: usize| {
            Error::unsupported(format!("the {what} of extended attribute {} has {len} bytes, at most {max} fit", ShowPath(name)))
        };
        let name_len = u8::try_from(name.len()).map_err(|_| too_large("name", name.len(), u8::MAX.into()))?;
        let value_size = u16::try_from(value.len()).map_err(|_| too_large("value", value.len(), u16::MAX.into()))?;
        body.extend_from_slice(Entry { name_len, name_index: index, value_size: value_size.into() }.as_bytes());
        body.extend_from_slice(name);
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(ENTRY_LEN), 0);
    }
    match count(&body) {
        Some(_) => Ok(body),
        None => Err(Error::unsupported(format!(
            "extended attributes of {}, EROFS has at most 256 KiB for a file",
            units::show_size(units::bytes(body.len()))
        ))),
    }
}

/// `i_xattr_icount`: how long a body is, for its inode.
pub(super) fn count(body: &[u8]) -> Option<u16> {
    match body.len() {
        0 => Some(0),
        len => u16::try_from((len - HEADER_LEN) / ENTRY_LEN + 1).ok(),
    }
}

/// The class of a name, and the name without it.
fn classified(name: &[u8]) -> Option<(u8, &[u8])> {
    let of_class = |(class, index): &(&'static [u8], u8)| {
        let rest = name.strip_prefix(*class)?;
        (rest.is_empty() != class.ends_with(b".")).then_some((*index, rest))
    };
    CLASSES.iter().find_map(of_class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &[u8], value: &[u8]) -> Result<Vec<u8>> {
        body(&[(name.to_vec(), value.to_vec())])
    }

    #[test]
    fn an_attribute_is_its_class_its_name_and_its_value() {
        assert_eq!(one(b"security.capability", b"xyz").unwrap()[12..], *b"\x0a\x06\x03\0capabilityxyz\0\0\0");
        assert_eq!(one(b"system.posix_acl_access", b"v").unwrap()[12..], *b"\0\x02\x01\0v\0\0\0");
        assert_eq!(count(&one(b"user.a", b"").unwrap()), Some(3));
        assert_eq!(count(&body(&[]).unwrap()), Some(0));
    }

    #[test]
    fn what_has_no_class_is_left_out() {
        for name in [b"user.".as_slice(), b"system.other", b"com.example", b"system.posix_acl_access2"] {
            assert!(!is_held(name) && one(name, b"").unwrap().is_empty());
        }
        let both = body(&[(b"other".to_vec(), Vec::new()), (b"user.a".to_vec(), b"v".to_vec())]).unwrap();
        assert_eq!(both, one(b"user.a", b"v").unwrap());
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        assert!(one(&[b"user.".as_slice(), &[b'n'; 256]].concat(), b"").unwrap_err().to_string().contains("256"));
        assert!(one(b"user.big", &[0; 65_536]).unwrap_err().to_string().contains("65536"));
        let many: Vec<_> = (0..5).map(|n| (format!("user.{n}").into_bytes(), vec![0; 65_000])).collect();
        assert!(body(&many).unwrap_err().to_string().contains("256 KiB"));
    }
}
