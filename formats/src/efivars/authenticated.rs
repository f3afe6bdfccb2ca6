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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Kind, cms,
        efivars::{AUTHENTICATED, GLOBAL, IMAGE_SECURITY, signature_list},
        signer::{
            Scratch,
            tests::{LIES, Liar},
        },
        x509::tests::{issued, own},
    };

    const TIME: Timestamp = Timestamp(1_709_210_096);

    fn db() -> Variable {
        let data = signature_list::write(Guid::new(1), &[own("db", &Scratch::other())]);
        Variable::of_keys("db", data)
    }

    fn signed() -> Vec<u8> {
        write(&db(), &own("KEK", &Scratch::one()), &Scratch::one(), TIME).unwrap()
    }

    fn read_db(bytes: &[u8]) -> Result<Update> {
        read(bytes, "db", IMAGE_SECURITY, AUTHENTICATED)
    }

    #[test]
    fn what_is_signed_comes_back() {
        let bytes = signed();
        // 2024-02-29 12:34:56.
        assert_eq!(bytes[..16], [0xe8, 7, 2, 29, 12, 34, 56, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes, signed(), "signing twice gives the same bytes");
        let update = read_db(&bytes).unwrap();
        assert_eq!(update.variable, Variable { time: Some(TIME), ..db() });
        let kek = own("KEK", &Scratch::one());
        assert!(update.is_valid && update.certificates == [kek.clone()]);
        assert!(update.is_trusted_by(&[own("other", &Scratch::other()), kek]) && !update.is_trusted_by(&[own("other", &Scratch::other())]));
    }

    #[test]
    fn a_signature_is_for_one_variable() {
        let bytes = signed();
        for (name, vendor, attributes) in
            [("dbx", IMAGE_SECURITY, AUTHENTICATED), ("db", GLOBAL, AUTHENTICATED), ("db", IMAGE_SECURITY, 0x67)]
        {
            assert!(!read(&bytes, name, vendor, attributes).unwrap().is_valid, "{name} {vendor} {attributes}");
        }
    }

    #[test]
    fn a_certificate_above_may_sign_through_one_below() {
        let (ca, key) = (own("KEK", &Scratch::one()), Scratch::other());
        let below = issued("below", &key, &ca, &Scratch::one(), false);
        let update = read_db(&write(&db(), &below, &key, TIME).unwrap()).unwrap();
        assert!(update.is_trusted_by(&[ca]) && !update.is_trusted_by(&[own("below", &Scratch::one())]));
    }

    #[test]
    fn who_may_not_sign_does_not() {
        let certificate = own("KEK", &Scratch::one());
        let error = write(&db(), &certificate, &Scratch::other(), TIME).unwrap_err();
        assert!(error.to_string().contains("not the one of the certificate of CN=KEK"), "{error}");
        for answer in LIES {
            assert!(write(&db(), &certificate, &Liar { key: Scratch::one(), answer }, TIME).is_err());
        }
    }

    #[test]
    fn signed_data_may_be_wrapped() {
        let bytes = signed();
        let list = db().data;
        let wrapped = cms::wrap(&bytes[40..bytes.len() - list.len()]);
        let len = u32::try_from(24 + wrapped.len()).unwrap().to_le_bytes();
        let bytes = [&bytes[..16], &len, &bytes[20..40], &wrapped, &list].concat();
        assert!(read_db(&bytes).unwrap().is_valid);
    }

    #[test]
    fn damage_is_an_error_or_no_signature() {
        let bytes = signed();
        let whole = read_db(&bytes).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            match read_db(&damaged) {
                Ok(update) => assert!(update.variable == whole.variable || !update.is_valid, "byte {at}"),
                Err(error) => assert_eq!(error.kind(), Kind::BadInput, "byte {at}: {error}"),
            }
        }
        for len in 0..bytes.len() {
            assert!(read_db(&bytes[..len]).map_or(true, |update| !update.is_valid), "{len} bytes");
        }
        let at = |at: usize, value: u8| {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            read_db(&damaged).unwrap_err().to_string()
        };
        assert!(at(23, 0).contains("is signed otherwise than by PKCS #7"), "{}", at(23, 0));
        assert!(at(19, 1).contains("must have 24 to"), "{}", at(19, 1));
        assert!(read_db(&bytes[..39]).unwrap_err().to_string().contains("has 39 bytes, must have at least 40"));
    }
}
