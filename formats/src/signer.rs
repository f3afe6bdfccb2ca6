//! RSA keys as far as bytes go: PKCS #1 (RFC 8017), RSASSA-PKCS1-v1_5 with SHA-256, the one signature that UEFI firmware takes everywhere.
//!
//! A key that signs is outside: in a file, in a token, at a service. Whoever has it is a [`Signer`]; what he signs is verified with the
//! public key before anything is made of it, so a wrong key, hash or padding is found here and not by a machine that does not start.
//!
//! Oracle: `openssl`.

#[cfg(any(test, feature = "scratch"))]
mod scratch;

#[cfg(any(test, feature = "scratch"))]
pub use scratch::Scratch;

use crate::{
    Error, Result,
    der::{self, Reader, tag},
};
use rsa::{BoxedUint, Pkcs1v15Sign, traits::PublicKeyParts};
use std::{fmt, ops::RangeInclusive};

/// 1.2.840.113549.1.1.1.
pub(crate) const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
/// 2.16.840.1.101.3.4.2.1.
pub(crate) const SHA_256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
/// 2.16.840.1.101.3.4.2.2.
pub(crate) const SHA_384: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
/// 2.16.840.1.101.3.4.2.3.
pub(crate) const SHA_512: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];

/// Sizes of a modulus that firmware takes, in bits.
const BITS: RangeInclusive<usize> = 2048..=4096;

/// Somebody who has a private key.
pub trait Signer: fmt::Debug + Sync {
    /// Its other half.
    fn public_key(&self) -> &PublicKey;

    /// The signature over a SHA-256 (RFC 8017, 8.2.1, from step 2 of EMSA-PKCS1-v1_5 on); exactly as long as the modulus.
    ///
    /// # Errors
    /// When it cannot be made.
    fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>>;
}

/// What a signer says, held against its public key.
///
/// # Errors
/// What the signer says; bad input when the signature is not that of the key over the digest.
pub(crate) fn signature(signer: &dyn Signer, digest: &[u8; 32]) -> Result<Vec<u8>> {
    let signature = signer.sign(digest)?;
    match signer.public_key().verify(digest, &signature) {
        true => Ok(signature),
        false => Err(Error::bad_input(format!(
            "the signature of {} bytes does not verify with the {}-bit public key",
            signature.len(),
            signer.public_key().bits()
        ))
        .hint("it must be RSA PKCS #1 v1.5 over the SHA-256 that was given, which is not hashed again, by the key of the certificate")),
    }
}

/// A public key of 2048 to 4096 bits.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(rsa::PublicKey);

impl PublicKey {
    /// From modulus and public exponent, the highest byte of each first.
    ///
    /// # Errors
    /// Unsupported: of another size. Bad input: numbers that are no key.
    pub fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self> {
        let modulus = BoxedUint::from_be_slice_vartime(modulus);
        let bits = usize::try_from(modulus.bit_width_vartime()).unwrap_or(usize::MAX);
        if !BITS.contains(&bits) {
            let (least, most) = (BITS.start(), BITS.end());
            return Err(Error::unsupported(format!("an RSA key of {bits} bits: firmware takes RSA of {least} to {most} bits")));
        }
        let exponent = BoxedUint::from_be_slice_vartime(exponent);
        let key = rsa::PublicKey::new(modulus, exponent).map_err(|error| Error::bad_input("is no RSA key").because(error.to_string()))?;
        Ok(Self(key))
    }

    /// Reads an `RSAPublicKey` (RFC 8017, A.1.1).
    pub(crate) fn from_pkcs1(der: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(der);
        let mut parts = reader.take(tag::SEQUENCE, "key")?.inside();
        reader.end("key")?;
        let modulus = der::magnitude(&parts.take(tag::INTEGER, "modulus")?, "modulus")?;
        let exponent = der::magnitude(&parts.take(tag::INTEGER, "exponent")?, "exponent")?;
        parts.end("key").and_then(|()| Self::new(modulus, exponent))
    }

    /// Reads a `SubjectPublicKeyInfo` (RFC 5280, 4.1.2.7).
    ///
    /// # Errors
    /// Unsupported: a key of another algorithm or size, by its name. Bad input: no such structure.
    pub fn from_spki(der: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(der);
        let mut info = reader.take(tag::SEQUENCE, "public key")?.inside();
        reader.end("public key")?;
        let mut algorithm = info.take(tag::SEQUENCE, "algorithm")?.inside();
        let name = algorithm.take(tag::OID, "algorithm")?.content;
        if name != RSA_ENCRYPTION {
            let curve = algorithm.optional(tag::OID)?.map(|curve| curve.content);
            let (least, most) = (BITS.start(), BITS.end());
            return Err(Error::unsupported(format!("{}: firmware takes RSA of {least} to {most} bits", other_key(name, curve))));
        }
        algorithm.take(tag::NULL, "parameters")?;
        algorithm.end("parameters")?;
        let bits = info.take(tag::BIT_STRING, "public key")?;
        info.end("public key")?;
        Self::from_pkcs1(der::whole_bytes(&bits, "public key")?)
    }

    /// Bits of the modulus.
    pub fn bits(&self) -> usize {
        usize::try_from(self.0.n().bit_width_vartime()).unwrap_or(usize::MAX)
    }

    /// Whether a signature is by this key over a SHA-256.
    pub fn verify(&self, digest: &[u8; 32], signature: &[u8]) -> bool {
        self.verify_by(SHA_256, digest, signature)
    }

    /// Whether a signature is by this key over a digest, of the algorithm with this identifier (RFC 8017, 8.2.2).
    pub(crate) fn verify_by(&self, algorithm: &[u8], digest: &[u8], signature: &[u8]) -> bool {
        self.0.verify(Pkcs1v15Sign::new_unprefixed(), &digest_info(algorithm, digest), signature).is_ok()
    }

    /// `RSAPublicKey` in DER (RFC 8017, A.1.1).
    pub fn pkcs1(&self) -> Vec<u8> {
        der::sequence(&[&der::integer(&self.0.n_bytes()), &der::integer(&self.0.e_bytes())])
    }

    /// The same in PEM, with a line feed at its end.
    pub fn pem(&self) -> String {
        der::pem("PUBLIC KEY", &self.spki())
    }

    /// `SubjectPublicKeyInfo` in DER (RFC 5280, 4.1.2.7).
    pub fn spki(&self) -> Vec<u8> {
        der::sequence(&[&algorithm_identifier(RSA_ENCRYPTION), &der::bits(&self.pkcs1())])
    }
}

/// Its size; the numbers say nothing to anybody.
impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey(RSA, {} bits)", self.bits())
    }
}

/// `DigestInfo` (RFC 8017, 9.2): what is padded and signed. The crate would name the algorithm by a type.
fn digest_info(algorithm: &[u8], digest: &[u8]) -> Vec<u8> {
    der::sequence(&[&algorithm_identifier(algorithm), &der::octets(digest)])
}

/// An `AlgorithmIdentifier` whose parameters are NULL, as those of RSA and SHA-2 are here.
pub(crate) fn algorithm_identifier(algorithm: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::oid(algorithm), &der::NULL])
}

/// A key that is not for RSA, by the identifiers of its algorithm and of its curve, where it has one.
fn other_key(algorithm: &[u8], curve: Option<&[u8]>) -> String {
    let name = match der::dotted(algorithm).as_str() {
        "1.2.840.10045.2.1" => {
            let curve = curve.map(der::dotted).unwrap_or_default();
            let known = [("1.2.840.10045.3.1.7", "P-256"), ("1.3.132.0.34", "P-384"), ("1.3.132.0.35", "P-521")];
            let name = known.iter().find(|(oid, _)| *oid == curve).map_or(curve.as_str(), |(_, name)| name);
            return format!("an EC key ({name})");
        }
        "1.3.101.112" => "an Ed25519 key",
        "1.3.101.113" => "an Ed448 key",
        "1.2.840.10040.4.1" => "a DSA key",
        "1.2.840.113549.1.1.10" => "a key for RSASSA-PSS alone",
        other => return format!("a key of the algorithm {other}"),
    };
    name.to_owned()
}

/// An algorithm of a signature or a digest, as people call it.
pub(crate) fn algorithm_name(algorithm: &[u8]) -> String {
    let dotted = der::dotted(algorithm);
    let name = match dotted.as_str() {
        "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.11" => "RSA",
        "1.2.840.113549.1.1.10" => "RSASSA-PSS",
        "1.2.840.10045.4.3.2" | "1.2.840.10045.4.3.3" | "1.2.840.10045.4.3.4" => "ECDSA",
        "1.3.14.3.2.26" => "SHA-1",
        "2.16.840.1.101.3.4.2.1" => "SHA-256",
        "2.16.840.1.101.3.4.2.2" => "SHA-384",
        "2.16.840.1.101.3.4.2.3" => "SHA-512",
        _ => return dotted,
    };
    name.to_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Kind;
    use sha2::{Digest as _, Sha256};

    /// Has one key, and signs otherwise.
    #[derive(Debug)]
    pub(crate) struct Liar {
        pub(crate) key: Scratch,
        pub(crate) answer: fn(&[u8; 32]) -> Result<Vec<u8>>,
    }

    impl Signer for Liar {
        fn public_key(&self) -> &PublicKey {
            self.key.public_key()
        }

        fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>> {
            (self.answer)(digest)
        }
    }

    /// What a signer says to a digest.
    pub(crate) type Answer = fn(&[u8; 32]) -> Result<Vec<u8>>;

    /// What signers answer that do not what they should.
    pub(crate) const LIES: [Answer; 6] = [
        |_| Ok(Vec::new()),
        |_| Ok(vec![0xff; 256]),
        // Another key; a digest that was hashed again; a signature with more behind it, or without its end.
        |digest| Scratch::other().sign(digest),
        |digest| Scratch::one().sign(&Sha256::digest(digest).into()),
        |digest| Scratch::one().sign(digest).map(|signature| [signature, vec![0]].concat()),
        |digest| Scratch::one().sign(digest).map(|signature| signature[..255].to_vec()),
    ];

    #[test]
    fn what_a_key_signs_verifies_and_nothing_else() {
        let (key, digest) = (Scratch::one(), [7; 32]);
        let signature = signature(&key, &digest).unwrap();
        assert_eq!((key.public_key().bits(), signature.len()), (2048, 256));
        assert!(key.public_key().verify(&digest, &signature) && !key.public_key().verify(&[8; 32], &signature));
        assert!(!Scratch::other().public_key().verify(&digest, &signature));
        for at in [0, 100, 255] {
            let mut damaged = signature.clone();
            damaged[at] ^= 1;
            assert!(!key.public_key().verify(&digest, &damaged), "byte {at}");
        }
        assert!(!key.public_key().verify_by(SHA_384, &digest, &signature), "the algorithm is signed, too");
    }

    #[test]
    fn a_signer_that_lies_is_found_out() {
        for (nth, answer) in LIES.into_iter().enumerate() {
            let error = signature(&Liar { key: Scratch::one(), answer }, &[7; 32]).unwrap_err();
            assert!(error.to_string().contains("does not verify with the 2048-bit public key"), "lie {nth}: {error}");
            assert_eq!(error.kind(), Kind::BadInput);
        }
        let fails = Liar { key: Scratch::one(), answer: |_| Err(Error::new(Kind::Environment, "no token")) };
        assert_eq!(signature(&fails, &[7; 32]).unwrap_err().kind(), Kind::Environment);
    }

    #[test]
    fn a_key_comes_back_from_its_bytes() {
        let key = Scratch::one().public_key().clone();
        assert_eq!(PublicKey::from_spki(&key.spki()).unwrap(), key);
        assert_eq!(PublicKey::from_pkcs1(&key.pkcs1()).unwrap(), key);
        assert_ne!(key, *Scratch::other().public_key());
        let spki = key.spki();
        for len in 0..spki.len() {
            assert!(PublicKey::from_spki(&spki[..len]).is_err(), "{len} bytes");
        }
        for at in 0..spki.len() {
            let mut damaged = spki.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(PublicKey::from_spki(&damaged).map_or(true, |other| other != key), "byte {at}");
        }
    }

    #[test]
    fn keys_that_firmware_does_not_take_are_named() {
        for (bits, words) in [(1024, "an RSA key of 1024 bits: firmware takes RSA of 2048 to 4096 bits"), (8192, "an RSA key of 8192 bits")]
        {
            let error = PublicKey::new(&vec![0xff; bits / 8], &[1, 0, 1]).unwrap_err();
            assert!(error.to_string().starts_with(words) && error.kind() == Kind::Unsupported, "{error}");
        }
        for (last, exponent) in [(0xfe, &[1, 0, 1][..]), (0xff, &[]), (0xff, &[1]), (0xff, &[4]), (0xff, &[0xff; 9])] {
            let modulus = [&[0xff; 255][..], &[last]].concat();
            let error = PublicKey::new(&modulus, exponent).unwrap_err();
            assert!(error.to_string().starts_with("is no RSA key: ") && error.kind() == Kind::BadInput, "{exponent:?}: {error}");
        }
        let p256 = der::oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
        let odd = der::oid(&[0x2b, 0x81, 4, 0, 10]);
        let ec = der::oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]);
        for (algorithm, words) in [
            ([&ec[..], &p256].concat(), "an EC key (P-256): firmware takes RSA of 2048 to 4096 bits"),
            ([&ec[..], &odd].concat(), "an EC key (1.3.132.0.10): "),
            (der::oid(&[0x2b, 0x65, 112]), "an Ed25519 key: "),
            (der::oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10]), "a key for RSASSA-PSS alone: "),
            (der::oid(&[0x2a, 3]), "a key of the algorithm 1.2.3: "),
        ] {
            let error = PublicKey::from_spki(&der::sequence(&[&der::sequence(&[&algorithm]), &der::bits(&[4; 65])])).unwrap_err();
            assert!(error.to_string().starts_with(words) && error.kind() == Kind::Unsupported, "{error}");
        }
    }
}
