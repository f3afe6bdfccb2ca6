//! Private keys in files: RSA in PKCS #1 (RFC 8017, appendix A.1.2) or PKCS #8 (RFC 5958), as PEM or DER, also encrypted (PBES2).

use crate::error::{Error, Kind, Result};
use formats::signer::{PublicKey, Signer};
use rsa::{
    PrivateKey,
    pkcs1::{DecodeRsaPrivateKey, ObjectIdentifier},
    pkcs8::{DecodePrivateKey, EncodePrivateKey, EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument},
    traits::PublicKeyParts,
};
use sha2::Sha256;
use std::{fmt, str};

/// A private key, which signs.
pub struct Key {
    private: PrivateKey,
    public: PublicKey,
}

/// Nothing of the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Signer for Key {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, digest: &[u8; 32]) -> formats::Result<Vec<u8>> {
        let failed = |error: rsa::Error| Error::new(Kind::Bug, "the key does not sign").because(error);
        self.private.pkcs1v15_sign_prehash::<Sha256>(digest).map_err(failed)
    }
}

impl Key {
    /// A new key of so many bits, from the system's randomness.
    ///
    /// # Errors
    /// When the system has none.
    pub fn generate(bits: usize) -> Result<Self> {
        let failed = |error: rsa::Error| Error::new(Kind::Environment, "no key can be made").because(error);
        Self::of(PrivateKey::new(&mut getrandom::SysRng, bits).map_err(failed)?)
    }

    /// The key in a file.
    ///
    /// # Errors
    /// When it is none, firmware takes no such key, it is encrypted and there is no password or another one.
    pub fn read(file: &[u8], password: Option<&str>) -> Result<Self> {
        let Document { label, der } = Document::read(file)?;
        match label.as_deref() {
            Some("RSA PRIVATE KEY") => pkcs1(der.as_bytes()),
            Some("PRIVATE KEY") => pkcs8(der.as_bytes()),
            Some("ENCRYPTED PRIVATE KEY") => encrypted(der.as_bytes(), password),
            Some("EC PRIVATE KEY") => Err(other("an EC key")),
            Some("OPENSSH PRIVATE KEY") => Err(other("a key of OpenSSH").hint("ssh-keygen -p -m PEM -f KEY makes another file of it")),
            Some("CERTIFICATE") => Err(Error::bad_input("is a certificate, must be a private key")),
            Some("PUBLIC KEY" | "RSA PUBLIC KEY") => Err(Error::bad_input("is a public key, must be a private one")),
            Some(label) => Err(Error::bad_input(format!("has '{}' in it, must have a private key", label.escape_debug()))),
            None if PrivateKeyInfoRef::try_from(der.as_bytes()).is_ok() => pkcs8(der.as_bytes()),
            None if EncryptedPrivateKeyInfoRef::try_from(der.as_bytes()).is_ok() => encrypted(der.as_bytes(), password),
            None => pkcs1(der.as_bytes()),
        }
    }

    /// PKCS #8 as PEM, not encrypted.
    ///
    /// # Errors
    /// Never, but the encoder does not know that.
    pub fn pem(&self) -> Result<String> {
        let failed = |error: rsa::pkcs8::Error| Error::new(Kind::Bug, "the key has no PEM").because(error.to_string());
        self.private.to_pkcs8_pem(LineEnding::LF).map(|pem| pem.to_string()).map_err(failed)
    }

    fn of(private: PrivateKey) -> Result<Self> {
        let parts = private.as_public_key();
        let public = PublicKey::new(&parts.n().to_be_bytes_trimmed_vartime(), &parts.e().to_be_bytes_trimmed_vartime())?;
        Ok(Self { private, public })
    }
}

/// What a file holds, and what its PEM calls it.
struct Document {
    label: Option<String>,
    der: SecretDocument,
}

impl Document {
    fn read(file: &[u8]) -> Result<Self> {
        let none = || {
            Error::bad_input("is no private key")
                .hint("an RSA key in PEM or DER, as `moby keys` or `openssl genpkey -algorithm RSA` makes it")
        };
        let text = str::from_utf8(file).ok().map(str::trim).filter(|text| text.contains("-----BEGIN "));
        let Some(text) = text else {
            return Ok(Self { label: None, der: SecretDocument::try_from(file).map_err(|_| none())? });
        };
        // openssl writes what it knows of a key in front of it.
        let text = &text[text.find("-----BEGIN ").unwrap_or_default()..];
        if text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(Error::unsupported("is encrypted in a way of old, which hardly hides it")
                .hint("openssl pkcs8 -topk8 -in OLD -out NEW encrypts it as PKCS #8 does"));
        }
        let (label, der) = SecretDocument::from_pem(text).map_err(|error| none().because(error.to_string()))?;
        Ok(Self { label: Some(label.to_owned()), der })
    }
}

fn pkcs1(der: &[u8]) -> Result<Key> {
    PrivateKey::from_pkcs1_der(der).map_err(|_| Error::bad_input("is no private key, or a damaged one")).and_then(Key::of)
}

fn pkcs8(der: &[u8]) -> Result<Key> {
    let damaged = |_| Error::bad_input("is a damaged private key");
    let info = PrivateKeyInfoRef::try_from(der).map_err(damaged)?;
    match info.algorithm.oid {
        RSA => PrivateKey::from_pkcs8_der(der).map_err(damaged).and_then(Key::of),
        oid => Err(other(&name(oid, info.algorithm.parameters_oid().ok()))),
    }
}

fn encrypted(der: &[u8], password: Option<&str>) -> Result<Key> {
    let info = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| Error::bad_input("is a damaged private key"))?;
    let missing = || Error::bad_input("is encrypted").hint("set MOBY_SIGN_PASSWORD or use --sign-password-file");
    let decrypted = info
        .decrypt(password.ok_or_else(missing)?)
        .map_err(|error| Error::bad_input("the password is wrong").because(error.to_string()))?;
    pkcs8(decrypted.as_bytes())
}

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// What people call a key of an algorithm.
fn name(algorithm: ObjectIdentifier, curve: Option<ObjectIdentifier>) -> String {
    match (algorithm.to_string().as_str(), curve.map(|curve| curve.to_string()).as_deref()) {
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => "an EC key (P-256)".to_owned(),
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => "an EC key (P-384)".to_owned(),
        ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => "an EC key (P-521)".to_owned(),
        ("1.2.840.10045.2.1", _) => "an EC key".to_owned(),
        ("1.3.101.112", _) => "an Ed25519 key".to_owned(),
        ("1.3.101.113", _) => "an Ed448 key".to_owned(),
        ("1.2.840.113549.1.1.10", _) => "a key for RSA-PSS alone".to_owned(),
        (other, _) => format!("a key of the algorithm {other}"),
    }
}

fn other(what: &str) -> Error {
    Error::unsupported(format!("{what}: firmware takes RSA of 2048 to 4096 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_of_ours_is_refused_by_name() {
        let refused = |file: &[u8]| Key::read(file, None).unwrap_err().to_string();
        assert_eq!(refused(b"rubbish"), "is no private key");
        assert!(refused(b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n").starts_with("is a certificate"));
        assert!(
            refused(b"-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n").starts_with("an EC key: firmware takes RSA")
        );
        assert!(refused(b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMAA=\n-----END RSA PRIVATE KEY-----\n").starts_with("is encrypted in a way of old"));
        assert!(refused(b"-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n").starts_with("is no private key"));
    }

    #[test]
    fn a_key_is_what_it_was() {
        let key = Key::generate(2048).unwrap();
        let again = Key::read(key.pem().unwrap().as_bytes(), None).unwrap();
        let digest = [7; 32];
        let signature = key.sign(&digest).unwrap();
        assert_eq!(signature, again.sign(&digest).unwrap());
        assert!(key.public_key().verify(&digest, &signature) && !key.public_key().verify(&[8; 32], &signature));
        assert!(!format!("{key:?}").contains("private"));
    }
}
