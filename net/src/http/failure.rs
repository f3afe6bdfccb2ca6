//! What went wrong below HTTP, in words, and whether it may pass.

use super::remote;
use crate::{
    proxy::Proxy,
    retry::{Failure, Limits},
    text::{SHOWN, shown},
    url::Url,
};
use formats::Error;
use rustls::CertificateError;
use std::io;
use ureq::Timeout;

/// Why a server did not answer, or not to the end. `complaints` is what was wrong with the certificates that are trusted.
pub(super) fn told(error: ureq::Error, url: &Url, proxy: Option<&Proxy>, limits: &Limits, complaints: &str) -> Failure {
    let failure = match error {
        ureq::Error::Timeout(timeout) => Failure::passing(remote(url, late(timeout, limits))),
        ureq::Error::HostNotFound => not_found(url, proxy).into(),
        ureq::Error::Io(error) => return of_io(error, url, proxy, limits, complaints),
        ureq::Error::Rustls(error) => of_tls(&error, url, complaints).into(),
        ureq::Error::ConnectProxyFailed(said) => {
            let error = remote(url, "is not reached: the proxy refused").because(shown(&said, SHOWN));
            let wants_login = said.contains("407");
            if wants_login { error.hint("name user and password in the proxy's URL: http://USER:PASSWORD@HOST:PORT") } else { error }.into()
        }
        ureq::Error::LargeResponseHeader(..) => remote(url, "sends headers without an end").into(),
        ureq::Error::Protocol(error) => remote(url, "does not speak HTTP as it should").because(shown(&error.to_string(), SHOWN)).into(),
        other => remote(url, "is not reached").because(shown(&other.to_string(), SHOWN)).into(),
    };
    by_way(failure, proxy)
}

/// Says which proxy was asked.
fn by_way(mut failure: Failure, proxy: Option<&Proxy>) -> Failure {
    if let Some(proxy) = proxy {
        failure.error = failure.error.at(format!("by way of the proxy {}", proxy.shown));
    }
    failure
}

fn of_io(error: io::Error, url: &Url, proxy: Option<&Proxy>, limits: &Limits, complaints: &str) -> Failure {
    // What we send could not be read: the server did nothing wrong.
    let error = match error.downcast::<Error>() {
        Ok(own) => return own.into(),
        Err(error) => error,
    };
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return by_way(of_tls(tls, url, complaints).into(), proxy);
    }
    let failure = match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Failure::passing(remote(url, late(Timeout::PerRead, limits))),
        io::ErrorKind::ConnectionRefused => {
            let hint = if proxy.is_some() { "is the proxy the right one?" } else { "does it run, and is the port right?" };
            Failure::unless_first(remote(url, "is not reached: nobody listens there").hint(hint))
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            Failure::passing(remote(url, "broke the connection off"))
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            Failure::passing(remote(url, "is not reached").because(error))
        }
        // The system has no kind for this one.
        _ if error.to_string().contains("lookup address") => not_found(url, proxy).because(error).into(),
        _ => remote(url, "is not reached").because(error).into(),
    };
    by_way(failure, proxy)
}

fn not_found(url: &Url, proxy: Option<&Proxy>) -> Error {
    let whose = if proxy.is_some() { "its proxy's name cannot be looked up" } else { "its name cannot be looked up" };
    remote(url, format!("is not reached: {whose}"))
}

/// What lasted too long.
fn late(timeout: Timeout, limits: &Limits) -> String {
    match timeout {
        Timeout::Resolve => format!("was not found within {} s", limits.connect.as_secs()),
        Timeout::Connect => format!("did not take a connection within {} s", limits.connect.as_secs()),
        Timeout::PerWrite | Timeout::SendRequest | Timeout::SendBody => format!("took nothing for {} s", limits.stall.as_secs()),
        Timeout::RecvResponse => format!("did not answer within {} s", limits.answer.as_secs()),
        _ => format!("sent nothing for {} s", limits.stall.as_secs()),
    }
}

fn of_tls(error: &rustls::Error, url: &Url, complaints: &str) -> Error {
    let says = |what: &str| remote(url, what);
    match error {
        // Of another authority of the same name is the signature that is bad.
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            let hint = format!("if you trust it, name the certificate of its authority: --ca FILE{complaints}");
            says("has a certificate of an authority that is not known here").hint(hint)
        }
        rustls::Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            says("has a certificate for other names")
        }
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            says("has a certificate that has expired").hint("is the clock of this machine right?")
        }
        rustls::Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            says("has a certificate that is not good yet").hint("is the clock of this machine right?")
        }
        rustls::Error::InvalidMessage(_) => {
            says("does not speak TLS").hint("plain HTTP is spoken to a mirror that is named so: http://HOST")
        }
        other => says("does not agree on TLS").because(shown(&other.to_string(), SHOWN)),
    }
}
