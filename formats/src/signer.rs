//! RSA keys as far as bytes go: PKCS #1 (RFC 8017), RSASSA-PKCS1-v1_5 with SHA-256, the one signature that UEFI firmware takes everywhere.
//!
//! A key that signs is outside: in a file, in a token, at a service. Whoever has it is a [`Signer`]; what he signs is verified with the
//! public key before anything is made of it, so a wrong key, hash or padding is found here and not by a machine that does not start.
//!
//! Oracle: `openssl`.

use crate::{
    At, Error, Result,
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
        let bits = info.take(tag::BIT_STRING, "public key")?;
        info.end("public key")?;
        Self::from_pkcs1(der::whole_bytes(&bits, "public key")?).at(|| "public key")
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
        // DigestInfo: the crate would name the algorithm by a type.
        let info = der::sequence(&[&algorithm_identifier(algorithm), &der::octets(digest)]);
        self.0.verify(Pkcs1v15Sign::new_unprefixed(), &info, signature).is_ok()
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
