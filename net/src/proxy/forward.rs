//! Plain HTTP by way of a proxy: the whole URL in the request line, for many proxies tunnel (`CONNECT`) to port 443 alone.
//!
//! `ureq` only tunnels. So it is told that every host has the proxy's address, and what it sends gets its first line changed on the way.

use super::Proxy;
use base64::{Engine, prelude::BASE64_STANDARD};
use formats::Result;
use ureq::{
    Agent, Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{Buffers, ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport},
    },
};

/// What sends plain HTTP by a plain proxy. `config` names no proxy.
///
/// # Errors
/// When the proxy's user or password cannot be decoded.
pub(crate) fn agent(config: Config, proxy: &Proxy) -> Result<Agent> {
    let proxy = proxy.to_ureq()?;
    let login = proxy.username().is_some().then(|| {
        let both = format!("{}:{}", proxy.username().unwrap_or_default(), proxy.password().unwrap_or_default());
        format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(both))
    });
    let resolver = ToProxy { proxy: proxy.uri().clone(), real: DefaultResolver::default() };
    Ok(Agent::with_parts(config, TcpConnector::default().chain(Absolute { login: login.unwrap_or_default() }), resolver))
}

/// Every host is where the proxy is.
#[derive(Debug)]
struct ToProxy {
    proxy: Uri,
    real: DefaultResolver,
}

impl Resolver for ToProxy {
    fn resolve(&self, _: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        self.real.resolve(&self.proxy, config, timeout)
    }
}

/// Makes the requests of a connection absolute.
struct Absolute {
    /// A header of the request, or nothing.
    login: String,
}

impl std::fmt::Debug for Absolute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Absolute")
    }
}

impl<In: Transport> Connector<In> for Absolute {
    type Out = Rewriting<In>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Rewriting<In>>, Error> {
        let authority = details.uri.authority().map(ToString::to_string).unwrap_or_default();
        let before = format!("http://{authority}").into_bytes();
        Ok(chained.map(|inner| Rewriting { inner, before, login: self.login.clone().into_bytes(), is_head: true }))
    }
}

/// A connection to a proxy.
struct Rewriting<In> {
    inner: In,
    /// Goes before the path.
    before: Vec<u8>,
    login: Vec<u8>,
    /// Whether what is sent next begins a request.
    is_head: bool,
}

impl<In> std::fmt::Debug for Rewriting<In> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rewriting")
    }
}

/// `GET /a HTTP/1.1` and headers as `GET http://host/a HTTP/1.1`, the login and headers.
fn absolute(head: &[u8], before: &[u8], login: &[u8]) -> Option<Vec<u8>> {
    let method = head.iter().position(|byte| *byte == b' ')? + 1;
    let line = head.windows(2).position(|end| end == b"\r\n")? + 2;
    Some([&head[..method], before, &head[method..line], login, &head[line..]].concat())
}

impl<In: Transport> Transport for Rewriting<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if !std::mem::take(&mut self.is_head) {
            return self.inner.transmit_output(amount, timeout);
        }
        let output = self.inner.buffers().output();
        let whole = absolute(&output[..amount], &self.before, &self.login);
        let (whole, room) = whole.and_then(|whole| Some((output.get_mut(..whole.len())?, whole))).ok_or(Error::ConnectionFailed)?;
        whole.copy_from_slice(&room);
        self.inner.transmit_output(room.len(), timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        // What is sent after an answer is the next request.
        self.is_head = true;
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_line_gets_the_host() {
        let whole = absolute(b"GET /a HTTP/1.1\r\nhost: h\r\n\r\n", b"http://h", b"login\r\n").unwrap();
        assert_eq!(whole, b"GET http://h/a HTTP/1.1\r\nlogin\r\nhost: h\r\n\r\n");
    }
}
