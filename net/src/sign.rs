//! Requests that say who sends them: from request, secret and time to headers, and nothing else.
//!
//! ```text
//!  method, path, query, headers, hash of the body ──► one text ──► HMAC-SHA256 by the secret ──► Authorization
//!                                                        ▲
//!                                               time ────┘   a server takes it for some minutes
//! ```

pub(crate) mod aws;
pub(crate) mod azure;
pub(crate) mod google;

use crate::secret::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What a request gets along.
#[derive(Debug)]
pub(crate) struct Signed {
    /// Headers that are no secret to the server that is asked; another one must not get them.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The value of `Authorization`.
    pub(crate) authorization: Secret,
}

/// HMAC-SHA256 (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("a key of HMAC has any length");
    hmac.update(message);
    hmac.finalize().into_bytes().into()
}

/// `Name` and `value` as they are signed: the name in lower case, of blanks in the value one at most. In order of names.
fn canonical<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    let blanks = |value: &str| value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let mut headers: Vec<_> = headers.map(|(name, value)| (name.to_ascii_lowercase(), blanks(value))).collect();
    // Stable: those of one name stay in order.
    headers.sort_by(|(a, _), (b, _)| a.cmp(b));
    headers
}

/// For tests: answers that foreign programs computed.
#[cfg(test)]
mod known;
