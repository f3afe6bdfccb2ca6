//! GUIDs (RFC 9562) and the identifiers that an image needs, derived from a seed.

use crate::{Blob, Env, Error, Result, parallel, units};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr, sync::OnceLock};

/// A GUID in RFC 9562 byte order, as it is printed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid([u8; 16]);

impl Guid {
    /// The nil GUID.
    pub const NIL: Self = Self([0; 16]);

    /// A GUID from its 128 bits in printed order: `Guid::new(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b)`.
    pub const fn new(bits: u128) -> Self {
        Self(bits.to_be_bytes())
    }

    /// A version 4 GUID (RFC 9562 section 5.4) of random bytes, which come from outside.
    pub const fn random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// Printed (big-endian) byte order.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The order that GPT, VHDX and other Microsoft formats store: the first three fields little-endian
    /// (UEFI 2.10, appendix A).
    pub const fn to_mixed_endian(self) -> [u8; 16] {
        swap(self.0)
    }

    /// Reads the order that GPT stores.
    pub const fn from_mixed_endian(bytes: [u8; 16]) -> Self {
        Self(swap(bytes))
    }
}

const fn swap(b: [u8; 16]) -> [u8; 16] {
    [b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]]
}

/// Lower case, hyphenated.
impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads what is printed, in either case.
impl FromStr for Guid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::bad_input(format!("'{text}' must be a GUID, as in {}", Self::NIL));
        let hyphens = [8, 13, 18, 23];
        let right =
            text.len() == 36 && text.bytes().enumerate().all(|(i, b)| if hyphens.contains(&i) { b == b'-' } else { b.is_ascii_hexdigit() });
        let digits = right.then(|| text.replace('-', "")).ok_or_else(wrong)?;
        u128::from_str_radix(&digits, 16).map(Self::new).map_err(|_| wrong())
    }
}

/// The source of every identifier in an image: a seed, never a clock or a random generator.
///
/// The same seed and label always give the same identifier; different labels give unrelated ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids([u8; 32]);

impl Ids {
    /// Identifiers from whatever names the content: a digest of the input, or the user's `--seed`.
    pub fn from_seed(seed: &[u8]) -> Self {
        Self(Sha256::digest(seed).into())
    }

    fn digest(&self, label: &str) -> [u8; 32] {
        Sha256::new().chain_update(self.0).chain_update(label).finalize().into()
    }

    /// A version 8 GUID (RFC 9562 section 5.8) for the thing called `label`.
    pub fn guid(&self, label: &str) -> Guid {
        let digest = self.digest(label);
        let mut bytes: [u8; 16] = std::array::from_fn(|i| digest[i]);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Guid(bytes)
    }

    /// A 32-bit serial number for the thing called `label`.
    pub fn serial(&self, label: &str) -> u32 {
        let digest = self.digest(label);
        u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])
    }
}

/// Whose identifiers a file gets. A format asks only where it writes some, because asking may mean to read a whole disk.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What the identifiers are a digest of, while they are not known.
    content: Blob,
    ids: OnceLock<Ids>,
}

impl Identity {
    /// Identifiers that are a digest of a content, whatever its extents are. The digest is made when they are first asked for.
    pub fn of_content(content: &Blob) -> Self {
        Self { content: content.clone(), ids: OnceLock::new() }
    }

    /// The identifiers.
    ///
    /// # Errors
    /// When the content cannot be read.
    pub fn ids(&self, env: &Env) -> Result<&Ids> {
        if let Some(ids) = self.ids.get() {
            return Ok(ids);
        }
        let ids = Ids::from_seed(&digest(&self.content, env)?);
        Ok(self.ids.get_or_init(|| ids))
    }
}

/// Identifiers that are known.
impl From<Ids> for Identity {
    fn from(ids: Ids) -> Self {
        Self { content: Blob::default(), ids: ids.into() }
    }
}

/// A value that is the same for the same content, made on all cores: SHA-256 over that of each MiB. Gaps are not read.
///
/// # Errors
/// When the content cannot be read.
pub fn digest(content: &Blob, env: &Env) -> Result<[u8; 32]> {
    const PIECE: u64 = units::MIB;
    let mut digest = Sha256::new();
    let zeros: [u8; 32] = Sha256::digest(vec![0; units::index(PIECE)]).into();
    let pieces = (0..content.len().div_ceil(PIECE)).map(|nth| Ok(content.slice(nth * PIECE..((nth + 1) * PIECE).min(content.len()))));
    let hash = |piece: Blob| match piece.data_len() {
        0 if piece.len() == PIECE => Ok(zeros),
        _ => piece.sha256(),
    };
    parallel::ordered(env.threads, pieces, hash, |sum| {
        digest.update(sum);
        Ok(())
    })?;
    Ok(digest.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn esp_type_is_printed_and_stored_as_uefi_says() {
        let esp = Guid::new(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
        assert_eq!(esp.to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
        assert_eq!(esp.to_mixed_endian()[..4], [0x28, 0x73, 0x2a, 0xc1]);
        assert_eq!(Guid::from_mixed_endian(esp.to_mixed_endian()), esp);
    }

    #[test]
    fn what_is_printed_is_read() {
        let guid = Ids::from_seed(b"a").guid("b");
        assert_eq!(guid.to_string().parse::<Guid>().unwrap(), guid);
        assert_eq!(guid.to_string().to_uppercase().parse::<Guid>().unwrap(), guid);
        for bad in [
            "",
            "c12a7328",
            "c12a7328-f81f-11d2-ba4b-00a0c93ec93",
            "c12a7328-f81f-11d2-ba4b-00a0c93ec93g",
            "c12a7328f-81f-11d2-ba4b-00a0c93ec93b",
        ] {
            assert!(bad.parse::<Guid>().is_err(), "{bad}");
        }
    }

    #[test]
    fn identifiers_depend_on_seed_and_label_only() {
        let ids = Ids::from_seed(b"a");
        assert_eq!(ids.guid("disk"), Ids::from_seed(b"a").guid("disk"));
        assert_ne!(ids.guid("disk"), ids.guid("esp"));
        assert_ne!(ids.guid("disk"), Ids::from_seed(b"b").guid("disk"));
        assert_eq!(ids.guid("disk").to_string().as_bytes()[14], b'8');
    }

    #[test]
    fn a_digest_depends_on_the_bytes_alone() {
        let of = |content: &Blob, threads| digest(content, &Env::scratch(threads)).unwrap();
        let content = Blob::from(vec![7; 3_000_000]);
        assert_eq!(of(&content, 1), of(&content, 3));
        assert_ne!(of(&content, 1), of(&content.slice(1..3_000_000), 1));
        let (gap, zeros) = (Blob::zeros(3 * units::MIB + 5), Blob::from(vec![0; (3 << 20) + 5]));
        assert_eq!(of(&gap, 2), of(&zeros, 2));
        assert_ne!(of(&gap, 2), of(&Blob::zeros(3 * units::MIB + 6), 2));
    }

    #[test]
    fn a_known_identity_reads_nothing() {
        let unreadable = Blob::file(crate::blob::Backing::from(tempfile::tempfile().unwrap()), 0, 10);
        assert!(Identity::of_content(&unreadable).ids(&Env::scratch(1)).is_err());
        assert_eq!(*Identity::from(Ids::from_seed(b"a")).ids(&Env::scratch(1)).unwrap(), Ids::from_seed(b"a"));
    }
}
