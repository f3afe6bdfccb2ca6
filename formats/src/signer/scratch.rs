//! Keys for tests and examples, which everybody knows.

use super::{PublicKey, SHA_256, Signer, digest_info};
use crate::{Error, Result};
use rsa::{Pkcs1v15Sign, pkcs8::DecodePrivateKey, traits::PublicKeyParts};

/// A key of 2048 bits that is no secret.
#[derive(Debug)]
pub struct Scratch {
    private: rsa::PrivateKey,
    public: PublicKey,
}

impl Scratch {
    /// One key.
    pub fn one() -> Self {
        Self::read(include_str!("scratch-1.pem"))
    }

    /// Another key.
    pub fn other() -> Self {
        Self::read(include_str!("scratch-2.pem"))
    }

    fn read(pem: &str) -> Self {
        let private = rsa::PrivateKey::from_pkcs8_pem(pem).expect("a key as openssl made it");
        let public = PublicKey::new(&private.n_bytes(), &private.e_bytes()).expect("a key of 2048 bits");
        Self { private, public }
    }
}

impl Signer for Scratch {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>> {
        self.private
            .sign(Pkcs1v15Sign::new_unprefixed(), &digest_info(SHA_256, digest))
            .map_err(|error| Error::bad_input(error.to_string()))
    }
}
