//! TLS: whom we trust, and what is said of those whom we do not.

use crate::{
    faulty::{Faulty, reply},
    real::{Authority, Door, Registry, client, pulls, scratch, settings},
};
use net::{Mirror, Repository, Settings};
use std::fs;

/// Settings under which a repository of `h` is asked for at this port, by TLS.
fn by_tls(port: u16) -> (Settings, Repository) {
    let mut by_tls = settings();
    by_tls.mirrors.push(Mirror::parse(&format!("h=https://127.0.0.1:{port}")).unwrap());
    (by_tls, Repository::new("h", "a").unwrap())
}

#[test]
fn an_authority_of_ones_own_is_trusted() {
    let dir = scratch();
    let image = Registry::start(dir.path(), &Door::Open, None).put_image("a");
    let authority = Authority::new(dir.path());
    let certificate = authority.issue("server", "DNS:localhost,IP:127.0.0.1");
    let registry = Registry::start(dir.path(), &Door::Open, Some(&certificate));

    let (mut with_ca, repository) = by_tls(registry.port);
    with_ca.transport.roots.ca = Some(authority.file.clone());
    pulls(&client(with_ca), &repository, &image);

    // By its registry: also instead of plain HTTP to this machine.
    let certs = dir.path().join("certs.d").join(registry.host());
    fs::create_dir_all(&certs).unwrap();
    fs::copy(&authority.file, certs.join("ca.crt")).unwrap();
    let mut by_directory = settings();
    by_directory.transport.roots.directories.push(dir.path().join("certs.d"));
    pulls(&client(by_directory), &registry.repository("a"), &image);
    let mut by_name = settings();
    by_name.transport.roots.hosts.push((registry.host(), authority.file.clone()));
    pulls(&client(by_name), &registry.repository("a"), &image);

    let (without, repository) = by_tls(registry.port);
    let error = client(without).manifest(&repository, "v1").unwrap_err();
    assert!(error.to_string().ends_with("has a certificate of an authority that is not known here"), "{error}");
    assert!(error.hint_text().unwrap().contains("--ca FILE"));
}

#[test]
fn a_certificate_must_fit() {
    let dir = scratch();
    let authority = Authority::new(dir.path());
    let certificate = authority.issue("server", "DNS:other.test");
    let server = Faulty::with_tls(&certificate, |_, _, stream| reply(stream, "200 OK", "", b"{}"));
    let plain = Registry::start(dir.path(), &Door::Open, None);
    for (port, wanted) in [(server.port, "has a certificate for other names"), (plain.port, "does not speak TLS")] {
        let (mut by_tls, repository) = by_tls(port);
        by_tls.transport.roots.ca = Some(authority.file.clone());
        let error = client(by_tls).manifest(&repository, "v1").unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
    let mut missing = settings();
    missing.transport.roots.ca = Some(dir.path().join("absent.pem"));
    assert!(net::Client::new(missing, std::sync::Arc::new(net::clock::Machine)).unwrap_err().to_string().contains("absent.pem"));
}

#[test]
fn nobody_is_sent_on_from_tls_to_plain() {
    let dir = scratch();
    let authority = Authority::new(dir.path());
    let certificate = authority.issue("server", "IP:127.0.0.1");
    let plain = Faulty::start(|_, _, stream| reply(stream, "200 OK", "", b"{}"));
    let to = plain.host();
    let server = Faulty::with_tls(&certificate, move |_, _, stream| {
        reply(stream, "307 Temporary Redirect", &format!("Location: http://{to}/x?secret=1\r\n"), b"");
    });
    let (mut with_ca, repository) = by_tls(server.port);
    with_ca.transport.roots.ca = Some(authority.file.clone());
    let error = client(with_ca).manifest(&repository, "v1").unwrap_err().to_string();
    assert!(error.contains("redirects from https to http://") && error.ends_with("refused") && !error.contains("secret"), "{error}");
    assert!(plain.asked().is_empty());
}

#[test]
fn no_token_server_without_tls_sees_credentials() {
    let dir = scratch();
    let authority = Authority::new(dir.path());
    let certificate = authority.issue("server", "IP:127.0.0.1");
    let tokens = Faulty::start(|_, _, stream| reply(stream, "200 OK", "", br#"{"token": "t"}"#));
    let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{}/token\"\r\n", tokens.host());
    let server = Faulty::with_tls(&certificate, move |_, _, stream| reply(stream, "401 Unauthorized", &challenge, b""));
    let (mut with_ca, repository) = by_tls(server.port);
    with_ca.transport.roots.ca = Some(authority.file.clone());
    let error = client(with_ca).manifest(&repository, "v1").unwrap_err().to_string();
    assert!(error.contains("names a token server without TLS") && tokens.asked().is_empty(), "{error}");
}
