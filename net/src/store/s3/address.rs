//! `BUCKET/KEY`, and the URLs that stand for it.

use crate::url::{Url, encoded};
use formats::{Error, Result};
use std::str::FromStr;

/// An object in a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) bucket: String,
    pub(super) key: String,
}

impl FromStr for Address {
    type Err = Error;

    /// "Bucket names have 3 to 63 lower-case letters, digits, dots and hyphens"; old ones have more. "Keys have at most 1024 bytes."
    fn from_str(text: &str) -> Result<Self> {
        /// What lies beside it has a longer name.
        const KEY_MAX: usize = 1000;
        let (bucket, key) = text.split_once('/').unwrap_or((text, ""));
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if !(3..=255).contains(&bucket.len()) || !bucket.bytes().all(sound) {
            return Err(Error::bad_input("its bucket's name must have 3 to 63 lower-case letters, digits, dots and hyphens"));
        }
        if key.is_empty() || key.ends_with('/') || key.len() > KEY_MAX {
            return Err(Error::bad_input(format!("it must name a file in the bucket, with at most {KEY_MAX} bytes")));
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

impl Address {
    /// The bucket's URL at an endpoint, in whose path it is, or at Amazon's of a region, whose host it names where it can.
    ///
    /// # Errors
    /// When the region is none.
    pub(super) fn url(&self, endpoint: Option<&Url>, region: &str) -> Result<Url> {
        if let Some(base) = endpoint {
            return Ok(Url { path: format!("{}/{}", base.path.trim_end_matches('/'), self.bucket), ..base.clone() });
        }
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        // A certificate's `*` is for no dots.
        let is_host = self.bucket.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        match is_host {
            true => Url::parse(&format!("https://{}.s3.{region}.{domain}", self.bucket)),
            false => Url::parse(&format!("https://s3.{region}.{domain}/{}", self.bucket)),
        }
    }
}

/// A URL below a bucket's: the key, whatever is no letter as a number, and a query.
pub(super) fn below(bucket: &Url, key: &str, query: &str) -> Url {
    let key: Vec<_> = key.split('/').map(encoded).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    Url { path: format!("{}/{}{mark}{query}", bucket.path.trim_end_matches('/'), key.join("/")), ..bucket.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_a_bucket_and_a_key() {
        assert_eq!(address("images/a/b.img"), Address { bucket: "images".into(), key: "a/b.img".into() });
        for bad in ["", "ab/x", "a b c/x", "images", "images/", "images/a/", "imag\u{e9}s/x"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bucket_is_a_host_where_a_certificate_can_name_it() {
        let url = |text: &str, endpoint: Option<&str>| {
            let endpoint = endpoint.map(|endpoint| Url::parse(endpoint).unwrap());
            address(text).url(endpoint.as_ref(), "eu-central-1").unwrap().whole()
        };
        assert_eq!(url("images/x", None), "https://images.s3.eu-central-1.amazonaws.com/");
        assert_eq!(url("my.images/x", None), "https://s3.eu-central-1.amazonaws.com/my.images");
        assert_eq!(url("images/x", Some("http://[::1]:9000/base/")), "http://[::1]:9000/base/images");
        assert!(address("images/x").url(None, "cn-north-1").unwrap().host.ends_with(".cn"));
    }

    #[test]
    fn keys_are_encoded() {
        let bucket = address("images/x").url(None, "r").unwrap();
        assert_eq!(below(&bucket, "a b/ü+.img", "uploads=").whole(), "https://images.s3.r.amazonaws.com/a%20b/%C3%BC%2B.img?uploads=");
        let bucket = address("my.images/x").url(None, "r").unwrap();
        assert_eq!(below(&bucket, "k", "").whole(), "https://s3.r.amazonaws.com/my.images/k");
    }
}
