//! EFI_SIGNATURE_LIST (UEFI 2.10, 32.4.1): certificates and digests, the content of `PK`, `KEK`, `db` and `dbx`.
//!
//! ```text
//!  GUID type | u32 list | u32 header | u32 entry | header | GUID owner, data | GUID owner, data | ..
//! ```
//! Entries of a list have one size; so each certificate has a list of its own, digests that follow one another share one. Lists stand one
//! behind the other. Types other than X.509 and SHA-256 are kept as they are.
//!
//! Oracles: `cert-to-efi-sig-list`, `virt-fw-vars`.

use crate::{At, Error, Guid, Result, units, x509::Certificate};

/// EFI_CERT_X509_GUID and EFI_CERT_SHA256_GUID.
const X509: Guid = Guid::new(0xa5c059a1_94e4_4aa7_87b5_ab155c2bf072);
const SHA256: Guid = Guid::new(0xc1c41626_504c_4092_aca9_41f936934328);

/// Bytes before the header of a list, and of an entry before its data.
const HEAD: usize = 28;
const OWNER: usize = 16;

/// An entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who put it there.
    pub owner: Guid,
    /// What it is.
    pub item: Item,
}

/// What can be trusted or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Whatever is signed by a key, or by one that this one certifies.
    Certificate(Certificate),
    /// The file with this Authenticode digest.
    Sha256([u8; 32]),
    /// Something of another type.
    Other {
        /// The type.
        kind: Guid,
        /// What stands behind the owner.
        data: Vec<u8>,
    },
}

impl Item {
    fn kind(&self) -> Guid {
        match self {
            Self::Certificate(_) => X509,
            Self::Sha256(_) => SHA256,
            Self::Other { kind, .. } => *kind,
        }
    }

    fn data(&self) -> &[u8] {
        match self {
            Self::Certificate(certificate) => certificate.der(),
            Self::Sha256(digest) => digest,
            Self::Other { data, .. } => data,
        }
    }

    fn read(kind: Guid, data: &[u8]) -> Result<Self> {
        Ok(match (kind, <[u8; 32]>::try_from(data)) {
            (X509, _) => Self::Certificate(Certificate::from_der(data)?),
            (SHA256, Ok(digest)) => Self::Sha256(digest),
            (SHA256, Err(_)) => return Err(Error::bad_input(format!("a SHA-256 has {} bytes, must have 32", data.len()))),
            (kind, _) => Self::Other { kind, data: data.to_vec() },
        })
    }
}

impl Entry {
    /// EFI_SIGNATURE_DATA: owner and data, as PCR 7 is extended with.
    pub(crate) fn signature_data(&self) -> Vec<u8> {
        [&self.owner.to_mixed_endian(), self.item.data()].concat()
    }
}

/// Lists of certificates that one owner put there.
pub fn write(owner: Guid, certificates: &[Certificate]) -> Vec<u8> {
    let entries = certificates.iter().map(|certificate| Entry { owner, item: Item::Certificate(certificate.clone()) });
    write_entries(&entries.collect::<Vec<_>>())
}

/// Lists of entries, in their order.
pub fn write_entries(entries: &[Entry]) -> Vec<u8> {
    let shares = |a: &Entry, b: &Entry| matches!((&a.item, &b.item), (Item::Sha256(_), Item::Sha256(_)));
    let list = |entries: &[Entry]| -> Vec<u8> {
        let data: Vec<_> = entries.iter().map(Entry::signature_data).collect();
        let entry = data.first().map_or(0, Vec::len);
        let kind = entries.first().map_or(Guid::NIL, |entry| entry.item.kind());
        let size = |bytes: usize| u32::try_from(bytes).expect("a list of certificates is below 4 GiB").to_le_bytes();
        [&kind.to_mixed_endian()[..], &size(HEAD + entry * data.len()), &size(0), &size(entry), &data.concat()].concat()
    };
    entries.chunk_by(shares).flat_map(list).collect()
}

/// The entries of lists, in their order.
///
/// # Errors
/// Bad input: the bytes are no lists, or a certificate in them is damaged.
pub fn read(bytes: &[u8]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    let mut lists = 0;
    while !rest.is_empty() {
        lists += 1;
        let (list, behind) = read_list(rest).at(|| format!("signature list {lists}"))?;
        entries.extend(list);
        rest = behind;
    }
    Ok(entries)
}

/// The entries of the first list, and the lists behind it.
fn read_list(bytes: &[u8]) -> Result<(Vec<Entry>, &[u8])> {
    let Some((head, _)) = bytes.split_first_chunk::<HEAD>() else {
        return Err(Error::bad_input(format!("has {} bytes, must have at least {HEAD}", bytes.len())));
    };
    let field = |at: usize| units::index(u64::from(u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])));
    let (list, header, entry) = (field(16), field(20), field(24));
    let kind = Guid::from_mixed_endian(std::array::from_fn(|at| head[at]));
    let entries = bytes.get(..list).and_then(|list| list.get(HEAD.checked_add(header)?..));
    let whole = entries.filter(|entries| entry >= OWNER && entries.len().is_multiple_of(entry));
    let Some(entries) = whole else {
        let what =
            format!("has {list} bytes, {header} of a header, and entries of {entry}, must be whole entries within {} bytes", bytes.len());
        return Err(Error::bad_input(what));
    };
    let read = |entry: &[u8]| {
        let owner = Guid::from_mixed_endian(std::array::from_fn(|at| entry[at]));
        Ok(Entry { owner, item: Item::read(kind, &entry[OWNER..])? })
    };
    Ok((entries.chunks_exact(entry).map(read).collect::<Result<_>>()?, &bytes[list..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{signer::Scratch, x509::tests::own};

    const OWNER_GUID: Guid = Guid::new(0x11111111_2222_3333_4444_555566667777);

    fn entry(item: Item) -> Entry {
        Entry { owner: OWNER_GUID, item }
    }

    /// Two certificates, two digests, something else, and a digest.
    fn entries() -> Vec<Entry> {
        let certificate = |name| Item::Certificate(own(name, &Scratch::one()));
        let other = Item::Other { kind: Guid::new(7), data: vec![1, 2, 3] };
        let items = [certificate("a"), certificate("b"), Item::Sha256([1; 32]), Item::Sha256([2; 32]), other, Item::Sha256([3; 32])];
        items.into_iter().map(entry).collect()
    }

    #[test]
    fn what_is_written_comes_back() {
        let bytes = write_entries(&entries());
        assert_eq!(read(&bytes).unwrap(), entries());
        assert_eq!((read(&[]).unwrap(), write_entries(&[])), (Vec::new(), Vec::new()));
        let certificates = [own("a", &Scratch::one()), own("b", &Scratch::one())];
        let list = write(OWNER_GUID, &certificates);
        assert_eq!(list, bytes[..list.len()]);
        let der = certificates[0].der();
        let len = |more: usize| u32::try_from(der.len() + more).unwrap().to_le_bytes();
        let head =
            [&[0xa1, 0x59, 0xc0, 0xa5][..], &list[4..16], &len(28 + 16), &[0; 4], &len(16), &OWNER_GUID.to_mixed_endian(), der].concat();
        assert_eq!(list[..head.len()], head);
        // Two digests share a list.
        assert_eq!(bytes.len(), list.len() + 28 + 48 * 2 + 28 + 19 + 28 + 48);
    }

    #[test]
    fn damage_is_an_error_or_something_else() {
        let entries = entries();
        let bytes = write_entries(&entries);
        for len in 1..bytes.len() {
            assert!(read(&bytes[..len]).map_or(true, |found| found.len() < 6), "{len} bytes");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(read(&damaged).map_or(true, |found| found != entries), "byte {at}");
        }
    }

    #[test]
    fn what_is_no_list_says_why() {
        let digest = write_entries(&[entry(Item::Sha256([1; 32]))]);
        let changed = |at: usize, value: u32| {
            let mut list = digest.clone();
            list[at..at + 4].copy_from_slice(&value.to_le_bytes());
            list
        };
        for (bytes, words) in [
            (digest[..27].to_vec(), "signature list 1: has 27 bytes, must have at least 28"),
            (changed(16, 77), "signature list 1: has 77 bytes, 0 of a header, and entries of 48, must be whole entries within 76 bytes"),
            (changed(16, 75), "signature list 1: has 75 bytes"),
            (changed(20, u32::MAX), "signature list 1: has 76 bytes, 4294967295 of a header"),
            (changed(24, 0), "signature list 1: has 76 bytes, 0 of a header, and entries of 0"),
            (changed(24, 24), "signature list 1: a SHA-256 has 8 bytes, must have 32"),
            ([digest.clone(), write(OWNER_GUID, &[own("a", &Scratch::one())])[..100].to_vec()].concat(), "signature list 2: has "),
        ] {
            let error = read(&bytes).unwrap_err().to_string();
            assert!(error.starts_with(words), "{error}");
        }
        // A header of a list is passed over.
        let mut with_header = changed(16, 80);
        with_header[20] = 4;
        with_header.splice(28..28, [9; 4]);
        assert_eq!(read(&with_header).unwrap(), [entry(Item::Sha256([1; 32]))]);
    }
}
