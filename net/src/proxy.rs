//! Which proxy a request goes by: the variables that `curl` reads, by its rules.
//!
//! `https_proxy` is for `https` and `http_proxy` for `http`, `all_proxy` for what has none of its own; lower case comes first. `HTTP_PROXY`
//! does not count where `REQUEST_METHOD` is set, for there it is what a client of a CGI program sent. `no_proxy` lists hosts, which are
//! their subdomains too, with or without a leading dot or `*.`; addresses and networks (`10.0.0.0/8`), each with a port where one is
//! meant; `*` is everything. What is this machine by its name (`localhost`, 127.0.0.0/8, `::1`) is never asked by way of a proxy.

mod forward;

pub(crate) use forward::agent as forwarding;

use crate::{
    text::{SHOWN, shown},
    url::{self, Url},
    variables::Variables,
};
use formats::{Error, Result};
use std::{fmt, net::IpAddr};

/// The proxies of the environment.
#[derive(Clone, Default)]
pub struct Proxies {
    /// Each with the variable that says so.
    http: Option<(String, String)>,
    https: Option<(String, String)>,
    except: Vec<Except>,
}

/// A proxy that was chosen.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Proxy {
    /// The URL, with user and password.
    whole: String,
    /// Scheme, host and port, for messages.
    pub(crate) shown: String,
}

impl Proxies {
    /// What the environment says; what is wrong with it is said when it is used.
    pub fn from_env(env: Variables<'_>) -> Self {
        let first =
            |names: &[&str]| names.iter().find_map(|name| Some(((*name).to_owned(), env(name)?.to_string_lossy().trim().to_owned())));
        let http: &[&str] = if env("REQUEST_METHOD").is_some() { &["http_proxy"] } else { &["http_proxy", "HTTP_PROXY"] };
        let all = || first(&["all_proxy", "ALL_PROXY"]);
        let except = first(&["no_proxy", "NO_PROXY"]).map(|(_, list)| list).unwrap_or_default();
        let except = except.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()).filter_map(Except::parse).collect();
        Self { http: first(http).or_else(all), https: first(&["https_proxy", "HTTPS_PROXY"]).or_else(all), except }
    }

    /// The proxy for a URL, if there is one.
    ///
    /// # Errors
    /// When it is none that we speak to, as SOCKS.
    pub(crate) fn choose(&self, url: &Url) -> Result<Option<Proxy>> {
        let Some((variable, value)) = (if url.secure { &self.https } else { &self.http }) else { return Ok(None) };
        if url::is_loopback(&url.host) || self.except.iter().any(|except| except.has(url)) {
            return Ok(None);
        }
        Proxy::parse(value).map(Some).map_err(|error| error.at(variable))
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").field("except", &self.except).finish_non_exhaustive()
    }
}

impl Proxy {
    fn parse(value: &str) -> Result<Self> {
        let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
        let scheme = scheme.to_ascii_lowercase();
        let rest = rest.split('/').next().unwrap_or_default();
        let (user, authority) = rest.rsplit_once('@').map_or((None, rest), |(user, authority)| (Some(user), authority));
        if !matches!(scheme.as_str(), "http" | "https") {
            let error = Error::unsupported(format!("a proxy that speaks {} is not supported", shown(&scheme, SHOWN)));
            return Err(error.hint("name an HTTP proxy, http://HOST:PORT, or except the host with no_proxy"));
        }
        let refuse = || Error::bad_input(format!("'{}' is no host of a proxy", shown(authority, SHOWN)));
        let (host, port) = url::host_and_port(authority).ok_or_else(refuse)?;
        let port = port.unwrap_or(if scheme == "https" { 443 } else { 80 });
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        Ok(Self { whole: format!("{scheme}://{user}{host}:{port}"), shown: format!("{scheme}://{host}:{port}") })
    }

    /// As `ureq` wants it.
    pub(crate) fn to_ureq(&self) -> Result<ureq::Proxy> {
        ureq::Proxy::new(&self.whole)
            .map_err(|_| Error::bad_input("the user or the password of the proxy is not percent-encoded").at(&self.shown))
    }
}

/// Without user and password.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// An entry of `no_proxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Except {
    host: Hosts,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// And all below it.
    Name(String),
    /// An address and how many of its leading bits count.
    Net(IpAddr, u32),
}

impl Except {
    /// None where the entry says nothing that could be met.
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self { host: Hosts::All, port: None });
        }
        if let Some((address, bits)) = entry.split_once('/') {
            let address: IpAddr = url::address(address)?;
            let bits = bits.parse().ok().filter(|bits| *bits <= width(address))?;
            return Some(Self { host: Hosts::Net(address, bits), port: None });
        }
        if let Ok(address) = entry.parse::<IpAddr>() {
            return Some(Self { host: Hosts::Net(address, width(address)), port: None });
        }
        let entry = entry.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.');
        let (host, port) = url::host_and_port(entry)?;
        let address = url::address(&host);
        Some(Self { host: address.map_or(Hosts::Name(host), |address| Hosts::Net(address, width(address))), port })
    }

    fn has(&self, url: &Url) -> bool {
        let host = url.host.trim_end_matches('.');
        let is_host = match &self.host {
            Hosts::All => true,
            Hosts::Name(name) => host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            Hosts::Net(net, bits) => url::address(host).is_some_and(|address| same_bits(*net, address, *bits)),
        };
        is_host && self.port.is_none_or(|port| port == url.port())
    }
}

/// How many bits an address has.
fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Whether so many leading bits of two addresses of one kind are the same.
fn same_bits(a: IpAddr, b: IpAddr, bits: u32) -> bool {
    let number = |address| match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)) << 96,
        IpAddr::V6(v6) => u128::from(v6),
    };
    a.is_ipv4() == b.is_ipv4() && (number(a) ^ number(b)).checked_shr(128 - bits).unwrap_or_default() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_env(&|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
    }

    fn chosen(variables: &[(&str, &str)], url: &str) -> Option<String> {
        proxies(variables).choose(&Url::parse(url).unwrap()).unwrap().map(|proxy| proxy.shown)
    }

    #[test]
    fn each_scheme_has_its_own() {
        let both = [("http_proxy", "p:1"), ("HTTP_PROXY", "p:2"), ("HTTPS_PROXY", "https://u:secret@p:3/"), ("ALL_PROXY", "p:4")];
        assert_eq!(chosen(&both, "http://h/").unwrap(), "http://p:1");
        assert_eq!(chosen(&both, "https://h/").unwrap(), "https://p:3");
        assert_eq!(chosen(&both[3..], "https://h/").unwrap(), "http://p:4");
        assert_eq!(chosen(&both[2..3], "http://h/"), None);
        assert_eq!(chosen(&[("HTTP_PROXY", "p")], "http://h/").unwrap(), "http://p:80");
        assert_eq!(chosen(&[("HTTP_PROXY", "p:2"), ("REQUEST_METHOD", "GET")], "http://h/"), None);
        assert!(!format!("{:?}", proxies(&both)).contains("secret"));
    }

    #[test]
    fn what_we_do_not_speak_is_refused() {
        for value in ["socks5://u:secret@p:1080", "socks5h://p", "ftp://p"] {
            let error = proxies(&[("ALL_PROXY", value)]).choose(&Url::parse("https://h/").unwrap()).unwrap_err();
            assert!(error.to_string().starts_with("ALL_PROXY: a proxy that speaks ") && !error.to_string().contains("secret"), "{error}");
        }
        let error = proxies(&[("https_proxy", "http://u:secret@p q")]).choose(&Url::parse("https://h/").unwrap()).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn some_hosts_are_excepted() {
        let is_direct = |list: &str, url: &str| chosen(&[("all_proxy", "p:1"), ("NO_PROXY", list)], url).is_none();
        let direct = [
            ("*", "https://h/"),
            ("a.example, h", "https://h/"),
            ("example", "https://deep.h.example/"),
            (".example", "https://example/"),
            ("*.h.example", "https://a.h.example./"),
            ("h:8443", "https://h:8443/"),
            ("h:443", "https://H/"),
            ("10.0.0.0/8", "http://10.9.8.7:5000/"),
            ("10.0.0.1", "http://10.0.0.1/"),
            ("10.0.0.1:5000", "http://10.0.0.1:5000/"),
            ("fd00::/8", "http://[fd12::1]/"),
            ("[fd00::1]:80", "http://[fd00::1]/"),
            ("0.0.0.0/0", "http://1.2.3.4/"),
            ("", "http://localhost:5000/"),
            ("", "http://127.0.0.1/"),
            ("", "http://[::1]/"),
        ];
        for (list, url) in direct {
            assert!(is_direct(list, url), "{list} {url}");
        }
        let by_proxy = [
            ("h", "https://oh/"),
            ("h.example", "https://example/"),
            ("h:8443", "https://h/"),
            ("10.0.0.0/8", "http://11.0.0.1/"),
            ("10.0.0.0/8", "http://[fd00::1]/"),
            ("10.0.0.0/33,x y/,/", "http://10.0.0.1/"),
            ("1.2.3.4", "http://a.1.2.3.4.example/"),
        ];
        for (list, url) in by_proxy {
            assert!(!is_direct(list, url), "{list} {url}");
        }
    }
}
