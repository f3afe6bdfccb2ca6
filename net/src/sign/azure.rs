//! Azure's `SharedKey`, as its blobs take it (version 2009-09-19 of it and later ones).
//!
//! Of the headers some count by their place, and all that begin with `x-ms-`; a body is not signed, its length is.

use super::{Signed, canonical, hmac};
use crate::{
    dates,
    secret::Secret,
    url::{Url, decoded},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use formats::{Error, Result};
use std::{collections::BTreeMap, fmt, time::Duration};

/// The version of the service that is spoken, which goes with every request, signed or not.
pub(crate) const VERSION: &str = "2021-08-06";

/// Headers that are signed by their values alone, in this order, behind the length and before the date. The latter is `x-ms-date`'s.
const BEFORE_LENGTH: [&str; 2] = ["content-encoding", "content-language"];
const BEHIND_LENGTH: [&str; 2] = ["content-md5", "content-type"];
const BEHIND_DATE: [&str; 5] = ["if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"];

/// The key of a storage account.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) account: String,
    key: Vec<u8>,
}

/// What is signed of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// As it is sent, so with everything encoded that must be.
    pub(crate) url: &'a Url,
    /// All of them but those that are made here.
    pub(crate) headers: &'a [(&'static str, String)],
    /// How many bytes the body has, which `Content-Length` must say even of none.
    pub(crate) length: u64,
}

impl Key {
    /// The key as Azure shows it, in base64.
    ///
    /// # Errors
    /// Bad input: it is no base64.
    pub(crate) fn new(account: &str, key: &str) -> Result<Self> {
        let key = BASE64_STANDARD.decode(key.trim());
        let key = key.map_err(|_| Error::bad_input(format!("the key of the storage account {account} is no base64")))?;
        Ok(Self { account: account.to_owned(), key })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("account", &self.account).finish_non_exhaustive()
    }
}

/// Signs a request at a time since 1970.
pub(crate) fn sign(request: &Request<'_>, key: &Key, now: Duration) -> Signed {
    let headers = vec![("x-ms-date", dates::http(now)), ("x-ms-version", VERSION.to_owned())];
    let all = request.headers.iter().chain(&headers).map(|(name, value)| (*name, value.as_str()));
    let text = text(request, &canonical(all), &key.account);
    let authorization = format!("SharedKey {}:{}", key.account, BASE64_STANDARD.encode(hmac(&key.key, text.as_bytes())));
    Signed { headers, authorization: Secret::new(authorization) }
}

/// The text that is signed.
fn text(request: &Request<'_>, headers: &[(String, String)], account: &str) -> String {
    let value = |name: &&str| headers.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value.as_str());
    let length = if request.length == 0 { String::new() } else { request.length.to_string() };
    let mut lines = vec![request.method];
    lines.extend(BEFORE_LENGTH.iter().map(value));
    lines.push(&length);
    lines.extend(BEHIND_LENGTH.iter().map(value));
    lines.push("");
    lines.extend(BEHIND_DATE.iter().map(value));

    let mut own: Vec<_> = headers.iter().filter(|(name, _)| name.starts_with("x-ms-")).collect();
    // The order of the service, to which a hyphen is nothing and an underscore less than anything.
    own.sort_by_cached_key(|(name, _)| (name.replace('-', "").replace('_', " "), name.clone()));
    let own: String = own.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    format!("{}\n{own}{}", lines.join("\n"), resource(request.url, account))
}

/// Account and path, and a line for each name of the query, in order.
fn resource(url: &Url, account: &str) -> String {
    let (path, query) = url.path.split_once('?').unwrap_or((&url.path, ""));
    let mut parameters: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.entry(decoded(name).to_lowercase()).or_default().push(decoded(value));
    }
    let mut resource = format!("/{account}{path}");
    for (name, mut values) in parameters {
        values.sort();
        resource += &format!("\n{name}:{}", values.join(","));
    }
    resource
}

#[cfg(test)]
mod tests;
