//! EFI_VARIABLE_AUTHENTICATION_2 (UEFI 2.10, 8.2.2) with the variable's content behind it: what a machine is given to set a variable, and
//! what a `.auth` file has.
//!
//! ```text
//!  EFI_TIME | u32 length | u16 0x0200 | u16 0x0ef1 | EFI_CERT_TYPE_PKCS7_GUID | signed data | content
//! ```
//! Signed are name, vendor, attributes, time and content. The signed data is bare, in no ContentInfo: some firmware refuses another. A
//! variable with a platform key is signed by it, `KEK` too, `db` and `dbx` by one of `KEK`.
//!
//! Oracle: `sign-efi-sig-list`, whose files are the same bytes.

use super::{Variable, time, utf16};
use crate::{
    At, Error, Guid, Result, Timestamp,
    cms::{Content, SignedData},
    signer::Signer,
    x509::{self, Certificate},
};
use sha2::{Digest as _, Sha256};

/// `WIN_CERTIFICATE` and the type of what is in it: wRevision 2.0, WIN_CERT_TYPE_EFI_GUID, EFI_CERT_TYPE_PKCS7_GUID.
const HEAD: usize = 24;
const REVISION_AND_TYPE: [u8; 4] = [0, 2, 0xf1, 0x0e];
const PKCS7: Guid = Guid::new(0x4aafd29d_68df_49ee_8aa9_347d375665a7);

/// A variable that somebody allowed to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The variable, with the time at which it was signed.
    pub variable: Variable,
    /// The certificates that go along, the signer's first.
    pub certificates: Vec<Certificate>,
    /// Whether the signature is by the key of the first certificate, for this variable.
    pub is_valid: bool,
}

impl Update {
    /// Whether firmware that trusts these certificates would set the variable.
    pub fn is_trusted_by(&self, certificates: &[Certificate]) -> bool {
        self.is_valid && x509::leads_to(&self.certificates, certificates)
    }
}

/// What sets a variable, at a time that is later than when it was set before.
///
/// # Errors
/// Bad input: the signer's key is not that of the certificate, or signs otherwise than it should; what the signer says.
///
/// # Panics
/// When the time is outside of the years 0 to 9999.
pub fn write(variable: &Variable, certificate: &Certificate, signer: &dyn Signer, time: Timestamp) -> Result<Vec<u8>> {
    let time = time::write(Some(time));
    let signed = Content::Detached(signed(variable, &time)).sign(std::slice::from_ref(certificate), signer)?;
    let len = u32::try_from(HEAD + signed.len()).map_err(|_| Error::unsupported("the signature would have 4 GiB"))?;
    Ok([&time, &len.to_le_bytes()[..], &REVISION_AND_TYPE, &PKCS7.to_mixed_endian(), &signed, &variable.data].concat())
}

/// Reads what sets a variable of this name, vendor and attributes, none of which it says itself.
///
/// # Errors
/// Bad input: it is damaged.
pub fn read(bytes: &[u8], name: &str, vendor: Guid, attributes: u32) -> Result<Update> {
    let short = || Error::bad_input(format!("has {} bytes, must have at least {}", bytes.len(), time::LEN + HEAD));
    let (time, rest) = bytes.split_first_chunk::<{ time::LEN }>().ok_or_else(short)?;
    let ([a, b, c, d, kind @ ..], _) = rest.split_first_chunk::<HEAD>().ok_or_else(short)?;
    let len = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
    let wanted = [&REVISION_AND_TYPE[..], &PKCS7.to_mixed_endian()].concat();
    if *kind != wanted[..] {
        return Err(Error::bad_input("is signed otherwise than by PKCS #7, or is no authenticated variable"));
    }
    let signature = usize::try_from(len).ok().and_then(|len| rest.get(HEAD..len));
    let beyond = || Error::bad_input(format!("the signature has {len} bytes, must have {HEAD} to {}", rest.len()));
    let signature = signature.ok_or_else(beyond)?;
    let (signed_data, behind) = SignedData::read(signature).at(|| "signature")?;
    if !behind.is_empty() {
        return Err(Error::bad_input(format!("{} bytes stand behind it", behind.len())).at("signature"));
    }
    let data = rest[HEAD + signature.len()..].to_vec();
    let variable = Variable { name: name.to_owned(), vendor, attributes, time: time::read(*time), data };
    let is_valid = signed_data.is_valid(Some(signed(&variable, time)));
    Ok(Update { variable, certificates: signed_data.certificates, is_valid })
}

/// The digest of what is signed.
fn signed(variable: &Variable, time: &[u8; time::LEN]) -> [u8; 32] {
    let digest = Sha256::new().chain_update(utf16(&variable.name)).chain_update(variable.vendor.to_mixed_endian());
    digest.chain_update(variable.attributes.to_le_bytes()).chain_update(time).chain_update(&variable.data).finalize().into()
}
