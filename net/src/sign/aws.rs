//! AWS Signature Version 4 in headers, as all of AWS and everything that speaks S3 takes it.
//!
//! S3's paths are signed as they are sent, those of other services encoded a second time. Signatures of chunks, of URLs and of several
//! regions (4A) are not made.

use super::{Signed, canonical, hmac};
use crate::{
    dates,
    secret::Secret,
    url::{Url, encoded},
};
use formats::units::hex;
use sha2::{Digest, Sha256};
use std::{fmt::Write, time::Duration};

/// In place of the hash of a body that is not signed, which S3 takes by TLS alone.
pub(crate) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// An access key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: Secret,
    /// Of a key that is good for some hours.
    pub(crate) token: Option<Secret>,
}

/// What a signature is good for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) region: &'a str,
    /// `s3`, `ec2`, `ebs`, `sts`.
    pub(crate) service: &'a str,
}

/// What is signed of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// As it is sent, so with everything encoded that must be.
    pub(crate) url: &'a Url,
    /// All of them but those that are made here; `Host` is the URL's. Who adds others later, on the way, breaks nothing.
    pub(crate) headers: &'a [(&'static str, String)],
    /// SHA-256 of the body in hexadecimal digits ([`payload`]), or [`UNSIGNED`].
    pub(crate) payload: &'a str,
}

/// The hash of a body.
pub(crate) fn payload(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

/// Signs a request at a time since 1970.
pub(crate) fn sign(request: &Request<'_>, key: &Key, scope: Scope<'_>, now: Duration) -> Signed {
    let time = dates::compact(now);
    let mut headers = vec![("x-amz-date", time.clone())];
    headers.extend((scope.service == "s3").then(|| ("x-amz-content-sha256", request.payload.to_owned())));
    headers.extend(key.token.as_ref().map(|token| ("x-amz-security-token", token.told().to_owned())));

    let (canonical, names) = canonical_request(request, scope, &headers);
    let day = time.split('T').next().unwrap_or_default();
    let scope_text = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let text = format!("{ALGORITHM}\n{time}\n{scope_text}\n{}", payload(canonical.as_bytes()));
    let first = format!("AWS4{}", key.secret.told()).into_bytes();
    let derived = [day, scope.region, scope.service, "aws4_request"].iter().fold(first, |key, part| hmac(&key, part.as_bytes()).to_vec());
    let signature = hex(&hmac(&derived, text.as_bytes()));
    let authorization = format!("{ALGORITHM} Credential={}/{scope_text}, SignedHeaders={names}, Signature={signature}", key.id);
    Signed { headers, authorization: Secret::new(authorization) }
}

/// The text of which the hash is signed, and the names of the headers in it.
fn canonical_request(request: &Request<'_>, scope: Scope<'_>, added: &[(&'static str, String)]) -> (String, String) {
    let (path, query) = request.url.path.split_once('?').unwrap_or((&request.url.path, ""));
    let path = if scope.service == "s3" { path.to_owned() } else { encoded_again(path) };
    let host = request.url.authority();
    let all = request.headers.iter().chain(added).map(|(name, value)| (*name, value.as_str())).chain([("host", host.as_str())]);
    let mut lines = String::new();
    let mut names: Vec<String> = Vec::new();
    for (name, value) in canonical(all) {
        if names.last() == Some(&name) {
            // Several of one name are one line.
            lines.pop();
            let _ = writeln!(lines, ",{value}");
        } else {
            let _ = writeln!(lines, "{name}:{value}");
            names.push(name);
        }
    }
    let names = names.join(";");
    (format!("{}\n{path}\n{}\n{lines}\n{names}\n{}", request.method, sorted(query), request.payload), names)
}

/// A query in order of names and values, each with its `=`.
fn sorted(query: &str) -> String {
    let mut pairs: Vec<_> =
        query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// A path that is encoded already, without `.`, `..` and empty parts, encoded once more.
fn encoded_again(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    let slash = if path.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    format!("/{}{slash}", parts.into_iter().map(encoded).collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests;
