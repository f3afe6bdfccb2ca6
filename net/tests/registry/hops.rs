//! Redirects and proxies: who gets to see what.

use crate::{
    faulty::{Faulty, reply},
    real::{Authority, Door, Proxy, Registry, blob, client, pulls, scratch, settings},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use net::{Mirror, Proxies, Repository, Settings, Sources};
use std::fs;

#[test]
fn a_store_sees_no_credentials() {
    let dir = scratch();
    let store = Faulty::start(|_, _, stream| reply(stream, "200 OK", "", b"bytes"));
    let to = store.host();
    let registry = Faulty::start(move |_, asked, stream| match asked.header("authorization") {
        None => reply(stream, "401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", b""),
        // Once on the same host, then to another one.
        Some(_) if asked.line.contains("/v2/") => reply(stream, "302 Found", "Location: /elsewhere?a=b\r\n", b"gone"),
        Some(_) => reply(stream, "307 Temporary Redirect", &format!("Location: http://{to}/signed?signature=x\r\n"), b""),
    });
    let mut with = settings();
    let file = dir.path().join("auth.json");
    fs::write(&file, format!(r#"{{"auths": {{"{}": {{"auth": "{}"}}}}}}"#, registry.host(), BASE64_STANDARD.encode("u:p"))).unwrap();
    with.credentials = Sources { files: vec![file], path: None };
    let repository = Repository::new(&registry.host(), "a").unwrap();
    assert_eq!(blob(&client(with), &repository, b"bytes").unwrap(), b"bytes");
    assert_eq!(registry.asked().len(), 3);
    let asked = store.asked();
    assert_eq!((asked.len(), asked[0].line.as_str(), asked[0].header("authorization")), (1, "GET /signed?signature=x HTTP/1.1", None));
}

#[test]
fn a_store_that_wants_a_login_gets_none() {
    let dir = scratch();
    let store = Faulty::start(|_, _, stream| reply(stream, "401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", b""));
    let to = store.host();
    let registry = Faulty::start(move |_, _, stream| reply(stream, "307 Temporary Redirect", &format!("Location: http://{to}/\r\n"), b""));
    let mut with = settings();
    let file = dir.path().join("auth.json");
    fs::write(&file, format!(r#"{{"auths": {{"{}": {{"auth": "{}"}}}}}}"#, registry.host(), BASE64_STANDARD.encode("u:p"))).unwrap();
    with.credentials = Sources { files: vec![file], path: None };
    let error = client(with).manifest(&Repository::new(&registry.host(), "a").unwrap(), "v1").unwrap_err().to_string();
    assert!(error.contains(&format!("{} refuses what the registry sent us there for: 401", store.host())), "{error}");
    assert_eq!(store.asked().len(), 1);
}

#[test]
fn circles_end() {
    let server = Faulty::start(|number, _, stream| reply(stream, "302 Found", &format!("Location: /{number}\r\n"), b""));
    let error = client(settings()).manifest(&Repository::new(&server.host(), "a").unwrap(), "v1").unwrap_err().to_string();
    assert!(error.contains("redirects more than 10 times"), "{error}");
    assert_eq!(server.asked().len(), 11);
}

/// Settings with a proxy, and a mirror of `h` that no rule takes for this machine.
fn by_proxy(proxy: &str, scheme: &str, port: u16, no_proxy: &str) -> (Settings, Repository) {
    let mut by_proxy = settings();
    by_proxy.transport.proxies = Proxies::from_env(&|name| match name {
        "all_proxy" => Some(proxy.into()),
        "no_proxy" => Some(no_proxy.into()),
        _ => None,
    });
    by_proxy.mirrors.push(Mirror::parse(&format!("h={scheme}://0.0.0.0:{port}")).unwrap());
    (by_proxy, Repository::new("h", "a").unwrap())
}

#[test]
fn tinyproxy_is_gone_by() {
    let dir = scratch();
    let authority = Authority::new(dir.path());
    let certificate = authority.issue("server", "IP:0.0.0.0");
    let plain = Registry::start(dir.path(), &Door::Open, None);
    let image = plain.put_image("a");
    let secure = Registry::start(dir.path(), &Door::Open, Some(&certificate));
    let proxy = Proxy::start(dir.path(), secure.port, "pass-word");

    // Plain HTTP is not tunnelled: it would be refused. Only names of this machine go without, so this one does not.
    for (scheme, port) in [("http", plain.port), ("https", secure.port)] {
        let with = |user: &str, no_proxy: &str| {
            let (mut with, repository) = by_proxy(&format!("http://{user}127.0.0.1:{}", proxy.port), scheme, port, no_proxy);
            with.transport.roots.ca = Some(authority.file.clone());
            (client(with), repository)
        };
        let (client, repository) = with("user:pass%2Dword@", "");
        pulls(&client, &repository, &image);
        let (client, repository) = with("user:wrong-one@", "");
        let error = client.manifest(&repository, "v1").unwrap_err();
        let said = format!("{error} {}", error.hint_text().unwrap_or_default());
        assert!(!said.contains("wrong-one") && (said.contains("40")), "{said}");
        let (client, repository) = with("user:wrong-one@", "0.0.0.0");
        pulls(&client, &repository, &image);
    }
}

#[test]
fn a_proxy_that_is_none_is_told() {
    for (proxy, wanted) in [
        ("socks5h://127.0.0.1:1080", "all_proxy: a proxy that speaks socks5h is not supported"),
        ("127.0.0.1:1", "by way of the proxy http://127.0.0.1:1: 0.0.0.0:1 is not reached: nobody listens there"),
    ] {
        let (with, repository) = by_proxy(proxy, "http", 1, "");
        let error = client(with).manifest(&repository, "v1").unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}
