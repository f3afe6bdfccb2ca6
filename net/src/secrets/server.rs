//! Servers that hand out credentials: token servers anywhere, and those of a cloud, next to its machines.

use super::{
    Secret,
    chain::{Found, Looked},
};
use crate::{
    http::{Answer, Body, Http, Request, Transport, remote},
    proxy::Proxies,
    refusal,
    retry::{Failure, Limits, persist},
    url::Url,
};
use formats::Result;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use ureq::http::Method;

/// The most that an answer may have, in bytes.
const MAX: u64 = 1 << 20;

/// What is asked.
#[derive(Clone)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) url: &'a Url,
    pub(super) headers: &'a [(&'static str, String)],
    /// The value of `Authorization`.
    pub(super) authorization: Option<&'a str>,
    pub(super) body: Body<'a>,
}

/// What was answered.
pub(super) struct Said {
    pub(super) status: u16,
    /// The header that was asked for.
    pub(super) header: Option<String>,
    pub(super) body: Vec<u8>,
}

impl<'a> Ask<'a> {
    /// What a URL has.
    pub(super) fn get(url: &'a Url, headers: &'a [(&'static str, String)]) -> Self {
        Self { method: Method::GET, url, headers, authorization: None, body: Body::None }
    }

    /// What is answered to a form.
    pub(super) fn post(url: &'a Url, form: &'a str) -> Self {
        Self { method: Method::POST, url, headers: &[], authorization: None, body: Body::Form(form) }
    }

    fn send(&self, http: &Http) -> Result<Answer, Failure> {
        let Self { ref method, url, headers, authorization, body } = *self;
        http.send(&Request { method: method.clone(), url, headers, authorization, body })
    }

    /// What a server answers that gives what is asked for, and one header of it.
    ///
    /// # Errors
    /// Remote: the server is not reached, fails or refuses.
    pub(super) fn said(&self, http: &Http, header: &str) -> Result<Said> {
        persist(&http.transport.limits, &*http.clock, &self.url.to_string(), || {
            let mut answer = self.send(http)?;
            match answer.status {
                200 | 201 => Said::of(&mut answer, header),
                _ => Err(refusal::of_server(answer, "gives no credentials")),
            }
        })
    }

    /// The same as text.
    ///
    /// # Errors
    /// As [`Ask::said`].
    pub(super) fn text(&self, http: &Http) -> Result<String> {
        self.said(http, "").map(|said| String::from_utf8_lossy(&said.body).into_owned())
    }

    /// The same as JSON.
    ///
    /// # Errors
    /// As [`Ask::said`]; remote: it is none.
    pub(super) fn json(&self, http: &Http) -> Result<Value> {
        self.said(http, "")?.json(self.url)
    }

    /// What a server answers that may not be there, whatever its status; it is asked once.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(super) fn knock(&self, http: &Http, header: &str) -> Result<Said, String> {
        self.send(http).and_then(|mut answer| Said::of(&mut answer, header)).map_err(|failure| failure.error.to_string())
    }
}

impl Said {
    fn of(answer: &mut Answer, header: &str) -> Result<Self, Failure> {
        let header = answer.header(header).map(str::to_owned);
        Ok(Self { status: answer.status, header, body: answer.bytes(MAX)? })
    }

    /// The body as JSON. What it says is not shown: a secret may be in it.
    ///
    /// # Errors
    /// Remote: it is none.
    pub(super) fn json(&self, url: &Url) -> Result<Value> {
        serde_json::from_slice(&self.body).map_err(|_| remote(url, "answers with something that is no JSON"))
    }
}

/// The way to servers that this machine alone can reach: past all proxies, and without waiting where there are none.
pub(super) fn nearby(http: &Http) -> Http {
    let [connect, answer] = [1, 5].map(Duration::from_secs);
    let limits = Limits { connect, stall: answer, answer, attempts: 3, ..http.transport.limits };
    Http::new(Transport { proxies: Proxies::default(), limits, ..http.transport.clone() }, Arc::clone(&http.clock))
}

/// The text of a field that is there and not empty.
pub(super) fn field<'a>(of: &'a Value, name: &str) -> Option<&'a str> {
    of.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A number of a field, which some servers write as text.
pub(super) fn number(of: &Value, name: &str) -> Option<u64> {
    let value = of.get(name)?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// An access token of OAuth 2 (RFC 6749, 5.1) that was asked for at `asked`; some say in how many seconds it ends, some when.
///
/// # Errors
/// Remote: there is none.
pub(super) fn access_token(said: &Value, url: &Url, asked: Duration, from: &str) -> Result<Looked<Secret>> {
    let token = field(said, "access_token").filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()));
    let token = token.ok_or_else(|| remote(url, "answers with JSON that has no token").at(from))?;
    let until = match number(said, "expires_in") {
        Some(seconds) => asked.checked_add(Duration::from_secs(seconds)),
        None => number(said, "expires_on").map(Duration::from_secs),
    };
    Ok(Looked::Found(Found { value: Secret::new(token), until, from: from.to_owned() }))
}
