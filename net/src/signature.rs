//! Public keys, and what was signed by them: computed by what computes TLS.

use crate::tls::provider;
use formats::{Error, Result};
use rustls::pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, pem::PemObject};

/// A public key.
#[derive(Clone, Debug)]
pub struct PublicKey {
    /// What can be done with it, with every hash.
    algorithms: Vec<&'static dyn SignatureVerificationAlgorithm>,
    bits: Vec<u8>,
}

impl PublicKey {
    /// Reads one: `PUBLIC KEY` in PEM (RFC 7468, 13), as `cosign.pub` is and `openssl pkey -pubout` makes it.
    ///
    /// # Errors
    /// Bad input: it is none. Unsupported: it is of an algorithm that nothing here computes. Environment: the processor is too old.
    pub fn parse(pem: &[u8]) -> Result<Self> {
        let is_none = || Error::bad_input("is no public key in PEM (BEGIN PUBLIC KEY)");
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|error| is_none().because(error.to_string()))?;
        let (algorithm, bits) = public_key_info(&der).ok_or_else(|| is_none().because("the DER in it is damaged".to_owned()))?;
        let all = provider()?.signature_verification_algorithms.all;
        let algorithms: Vec<_> = all.iter().copied().filter(|can| can.public_key_alg_id().as_ref() == algorithm).collect();
        if algorithms.is_empty() {
            let what = "is a key of another algorithm than ECDSA on P-256 or P-384, RSA or Ed25519";
            return Err(Error::unsupported(what).hint("`cosign generate-key-pair` makes one on P-256"));
        }
        Ok(Self { algorithms, bits: bits.to_owned() })
    }

    /// Whether a signature is by this key over a message: ECDSA's in DER, RSA's and Ed25519's as they are.
    pub fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.algorithms.iter().any(|algorithm| algorithm.verify_signature(&self.bits, message, signature).is_ok())
    }
}

/// Algorithm and key of a `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7), without their tags.
fn public_key_info(der: &[u8]) -> Option<(&[u8], &[u8])> {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    let (info, behind) = value(der, SEQUENCE)?;
    let (algorithm, rest) = value(info, SEQUENCE)?;
    let (bits, rest) = value(rest, BIT_STRING)?;
    // How many bits of the last byte do not count.
    let (0, bits) = bits.split_first().map(|(unused, bits)| (*unused, bits))? else { return None };
    (behind.is_empty() && rest.is_empty()).then_some((algorithm, bits))
}

/// What a tag holds, and what follows it (X.690, 8.1, definite lengths).
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (len, rest) = match *first {
        short @ ..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    if *found == tag { rest.split_at_checked(len) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{path::Path, process::Command};

    fn openssl(directory: &Path, command: &str) {
        let done = Command::new("sh").args(["-ec", command]).current_dir(directory).output().unwrap();
        assert!(done.status.success(), "{command}: {done:?}");
    }

    #[test]
    fn what_openssl_signs_verifies_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("message"), "a message").unwrap();
        for (algorithm, sign) in [
            ("EC -pkeyopt ec_paramgen_curve:P-256", "dgst -sha256 -sign key -out signature message"),
            ("EC -pkeyopt ec_paramgen_curve:P-384", "dgst -sha384 -sign key -out signature message"),
            ("RSA -pkeyopt rsa_keygen_bits:2048", "dgst -sha256 -sign key -out signature message"),
            ("ED25519", "pkeyutl -sign -rawin -inkey key -in message -out signature"),
        ] {
            openssl(
                dir.path(),
                &format!(
                    "openssl genpkey -quiet -algorithm {algorithm} -out key; openssl pkey -in key -pubout -out key.pub; openssl {sign}"
                ),
            );
            let key = PublicKey::parse(&std::fs::read(dir.path().join("key.pub")).unwrap()).unwrap();
            let mut signature = std::fs::read(dir.path().join("signature")).unwrap();
            assert!(key.signed(b"a message", &signature) && !key.signed(b"another", &signature), "{algorithm}");
            *signature.last_mut().unwrap() ^= 1;
            assert!(!key.signed(b"a message", &signature) && !key.signed(b"a message", b""), "{algorithm}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        openssl(dir.path(), "openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 | openssl pkey -pubout -out other");
        let other = std::fs::read(dir.path().join("other")).unwrap();
        let cut = String::from_utf8(other.clone()).unwrap().replace("MFYw", "MFEw");
        for (bytes, words) in [
            (other.as_slice(), "another algorithm"),
            (b"", "no public key in PEM"),
            (cut.as_bytes(), "the DER in it is damaged"),
            (b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n", "the DER in it is damaged"),
        ] {
            let error = PublicKey::parse(bytes).unwrap_err();
            assert!(format!("{error:#} {error:?}").contains(words), "{error:?}");
        }
    }
}
