//! Digests: `sha256:` and 64 hexadecimal digits, or `sha512:` and 128 (OCI image specification, "Descriptors", "Digests").

use crate::{Blob, Error, Result, tree::ShowPath, units};
use sha2::{Digest as _, Sha256, Sha512};
use std::{
    fmt,
    io::{self, Read},
    str::FromStr,
};

/// The name of a byte string: an algorithm and what it gives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    /// `ALGORITHM:HEX`, lower case.
    text: String,
    colon: usize,
}

impl Digest {
    /// SHA-256 of bytes.
    pub fn sha256(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The algorithm: `sha256` or `sha512`.
    pub fn algorithm(&self) -> &str {
        &self.text[..self.colon]
    }

    /// The hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.text[self.colon + 1..]
    }

    /// `ALGORITHM:HEX`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A hasher of its algorithm.
    pub fn hasher(&self) -> Hasher {
        if self.algorithm() == "sha512" { Hasher::Sha512(Sha512::new()) } else { Hasher::Sha256(Sha256::new()) }
    }

    /// The digest that its algorithm gives bytes.
    #[must_use]
    pub fn alike(&self, bytes: &[u8]) -> Self {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Checks that bytes have this digest.
    ///
    /// # Errors
    /// When they have another, which is named.
    pub fn check(&self, bytes: &[u8]) -> Result<()> {
        self.expect(&self.alike(bytes))
    }

    /// Checks that the bytes of a blob have this digest.
    ///
    /// # Errors
    /// When they have another, or cannot be read.
    pub fn check_blob(&self, blob: &Blob) -> Result<()> {
        self.expect(&self.hasher().of(blob)?)
    }

    /// Checks that a digest that was made is this one.
    ///
    /// # Errors
    /// When it is not.
    pub fn expect(&self, found: &Self) -> Result<()> {
        match found == self {
            true => Ok(()),
            false => Err(Error::bad_input(format!("its digest is {found}, must be {self}")).hint("it is damaged: get it again")),
        }
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            let shown = ShowPath(text.as_bytes());
            Error::bad_input(format!(
                "'{shown}' is no digest: it must be sha256: and 64 hexadecimal digits, or sha512: and 128, in lower case"
            ))
        };
        let (algorithm, hex) = text.split_once(':').ok_or_else(refuse)?;
        let len = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return Err(refuse()),
        };
        let is_hex = hex.len() == len && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if is_hex { Ok(Self { text: text.to_owned(), colon: algorithm.len() }) } else { Err(refuse()) }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Makes a digest of bytes as they come.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
}

impl Default for Hasher {
    fn default() -> Self {
        Self::Sha256(Sha256::new())
    }
}

impl Hasher {
    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of these bytes and those of a blob behind them.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(mut self, blob: &Blob) -> Result<Digest> {
        self.read(blob.reader())?;
        Ok(self.finish())
    }

    /// Takes the bytes of a reader, to its end; gives how many.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&mut self, mut from: impl Read) -> io::Result<u64> {
        let mut chunk = vec![0; 256 << 10];
        let mut total = 0;
        loop {
            match from.read(&mut chunk)? {
                0 => return Ok(total),
                len => {
                    self.update(&chunk[..len]);
                    total += units::bytes(len);
                }
            }
        }
    }

    /// The digest of all bytes.
    pub fn finish(self) -> Digest {
        let (algorithm, bytes) = match self {
            Self::Sha256(hash) => ("sha256", hash.finalize().to_vec()),
            Self::Sha512(hash) => ("sha512", hash.finalize().to_vec()),
        };
        let hex = units::hex(&bytes);
        Digest { text: format!("{algorithm}:{hex}"), colon: algorithm.len() }
    }
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_what_the_algorithm_gives() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::sha256(b"").as_str(), empty);
        let digest: Digest = empty.parse().unwrap();
        digest.check(b"").unwrap();
        digest.check_blob(&Blob::default()).unwrap();
        let error = digest.check(b"x").unwrap_err().to_string();
        assert!(error.contains("must be sha256:e3b0") && error.contains("its digest is sha256:2d71"), "{error}");
        let long = format!("sha512:{}", "0".repeat(128));
        let long: Digest = long.parse().unwrap();
        assert!(long.check(b"").is_err() && long.alike(b"").hex().starts_with("cf83e1357eefb8bd"));
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        let upper = format!("sha256:{}", "A".repeat(64));
        for text in [
            "",
            "x",
            "sha256",
            "sha256:",
            "sha256:12",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            "sha256:../../etc/passwd",
            "sha256:12\u{1b}[2J",
            &upper,
        ] {
            let error = text.parse::<Digest>().unwrap_err().to_string();
            assert!(error.contains("no digest") && !error.contains('\u{1b}'), "{error:?}");
        }
    }
}
