//! `http` and `https` URLs: as much of RFC 3986 as a client needs.

use crate::text::{SHOWN, shown};
use formats::{Error, Result};
use std::{fmt, net::IpAddr};

/// A URL without user info and fragment. It is printed without its query, which may hold a signature or a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// Whether it is `https`.
    pub(crate) secure: bool,
    /// Lower case; an IPv6 address is in brackets.
    pub(crate) host: String,
    /// None is the scheme's own.
    pub(crate) port: Option<u16>,
    /// From the slash on, with the query.
    pub(crate) path: String,
}

impl Url {
    /// Reads a URL; a path that lacks is `/`.
    ///
    /// # Errors
    /// Refuses other schemes, user info, and characters that a URL has none of (bad input).
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| Error::bad_input(format!("'{}' is {why}", shown(without_secrets(text), SHOWN)));
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refuse("no URL: it has spaces or characters outside ASCII"));
        }
        let (secure, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            _ => return Err(refuse("no URL that begins with http:// or https://")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(refuse("a URL with a user in it, which is not taken"));
        }
        let (host, port) = host_and_port(authority).ok_or_else(|| refuse("a URL without a proper host"))?;
        let port = port.filter(|port| *port != if secure { 443 } else { 80 });
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { secure, host, port, path })
    }

    /// Where a `Location` leads, which may be relative.
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub(crate) fn join(&self, location: &str) -> Result<Self> {
        let scheme = if self.secure { "https" } else { "http" };
        let path = self.path.split('?').next().unwrap_or_default();
        if location.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':')) {
            Self::parse(location)
        } else if location.starts_with("//") {
            Self::parse(&format!("{scheme}:{location}"))
        } else if location.starts_with('/') {
            Self::parse(&format!("{scheme}://{}{location}", self.authority()))
        } else if location.starts_with('?') {
            Self::parse(&format!("{scheme}://{}{path}{location}", self.authority()))
        } else {
            let dir = path.rfind('/').map_or("/", |at| &path[..=at]);
            Self::parse(&format!("{scheme}://{}{dir}{location}", self.authority()))
        }
    }

    /// Host and port, as the user wrote them.
    pub(crate) fn authority(&self) -> String {
        self.port.map_or_else(|| self.host.clone(), |port| format!("{}:{port}", self.host))
    }

    /// The port that is connected to.
    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap_or(if self.secure { 443 } else { 80 })
    }

    /// All of it, for sending alone.
    pub(crate) fn whole(&self) -> String {
        format!("{}://{}{}", if self.secure { "https" } else { "http" }, self.authority(), self.path)
    }

    /// Whether what is secret to the one may be told to the other: scheme, host and port are the same.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.secure == other.secure && self.host == other.host && self.port == other.port
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(without_secrets(&self.whole()))
    }
}

/// What may be shown of a URL that could not be read: not the query, and nothing that could be a password.
fn without_secrets(text: &str) -> &str {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    text.rsplit_once('@').map_or(text, |(_, host)| host)
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`; the host in lower case.
pub(crate) fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let end = if authority.starts_with('[') { authority.find(']')? + 1 } else { authority.find(':').unwrap_or(authority.len()) };
    let (host, port) = authority.split_at(end);
    let is_proper = match host.strip_prefix('[') {
        Some(address) => address.trim_end_matches(']').parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
    };
    let port = match port.strip_prefix(':') {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok()?),
        None if port.is_empty() => None,
        _ => return None,
    };
    is_proper.then(|| (host.to_ascii_lowercase(), port))
}

/// The address that a host is, where it is none that must be looked up.
pub(crate) fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether a host is this machine by its very name.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || address(host).is_some_and(|address| address.is_loopback())
}

/// A value of a query or a form.
pub(crate) fn encoded(value: &str) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// What was [`encoded`]; what is no such thing stays as it is.
pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let code = behind.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match code.filter(|code| !code.starts_with('+')).and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn urls_are_taken_apart() {
        let parsed = url("HTTPS://Host.Example:8443/a/b?x=1#y");
        assert_eq!((parsed.secure, parsed.host.as_str(), parsed.port()), (true, "host.example", 8443));
        assert_eq!((parsed.path.as_str(), parsed.to_string().as_str()), ("/a/b?x=1", "https://host.example:8443/a/b"));
        assert_eq!(url("http://[::1]:5000").whole(), "http://[::1]:5000/");
        assert_eq!(url("https://h:443?q").whole(), "https://h/?q");
        for bad in [
            "ftp://h/",
            "h/",
            "http://",
            "http://u:secret@h/",
            "http://h:99999/",
            "http://h:x/",
            "http://[::1/",
            "http://a b/",
            "http://é/",
        ] {
            let error = Url::parse(bad).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn locations_may_be_relative() {
        let base = url("https://h:1/a/b?q=1");
        let cases = [
            ("http://other/x?y", "http://other/x?y"),
            ("//other/x", "https://other/x"),
            ("/x/y", "https://h:1/x/y"),
            ("c?z", "https://h:1/a/c?z"),
            ("?z=a:b", "https://h:1/a/b?z=a:b"),
        ];
        for (location, whole) in cases {
            assert_eq!(base.join(location).unwrap().whole(), whole);
        }
        assert!(base.join("file:///etc/passwd").is_err());
    }

    #[test]
    fn only_the_same_origin_is_beside() {
        assert!(url("https://h/a").is_beside(&url("https://h:443/b")));
        for other in ["http://h/a", "https://h:444/a", "https://h.example/a"] {
            assert!(!url("https://h/a").is_beside(&url(other)), "{other}");
        }
        assert!(is_loopback("localhost") && is_loopback("127.0.0.9") && is_loopback("[::1]") && !is_loopback("localhost.example"));
    }

    #[test]
    fn values_are_encoded() {
        assert_eq!(encoded("repository:a/b-c:pull,push ü"), "repository%3Aa%2Fb-c%3Apull%2Cpush%20%C3%BC");
        assert_eq!(decoded("repository%3Aa%2fb+%C3%BC"), "repository:a/b+ü");
        assert_eq!(decoded("100%, %+1 %g0%ü%4"), "100%, %+1 %g0%ü%4");
    }
}
