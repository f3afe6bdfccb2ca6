//! Servers that hand out credentials: token servers anywhere, and those of a cloud, next to its machines.

use crate::{
    http::{Body, Http, Request, Transport, remote},
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
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) url: &'a Url,
    pub(super) headers: &'a [(&'static str, String)],
    /// The value of `Authorization`.
    pub(super) authorization: Option<&'a str>,
    /// Fields of a form.
    pub(super) form: Option<&'a str>,
}

impl<'a> Ask<'a> {
    /// What a URL has.
    pub(super) fn get(url: &'a Url, headers: &'a [(&'static str, String)]) -> Self {
        Self { method: Method::GET, url, headers, authorization: None, form: None }
    }

    /// What is answered to a form.
    pub(super) fn post(url: &'a Url, form: &'a str) -> Self {
        Self { method: Method::POST, url, headers: &[], authorization: None, form: Some(form) }
    }

    /// Asks once; the status, a header and the body of an answer.
    ///
    /// # Errors
    /// When there is no answer, or a refusal.
    fn once(&self, http: &Http) -> Result<Vec<u8>, Failure> {
        let Self { ref method, url, headers, authorization, form } = *self;
        let mut answer =
            http.send(&Request { method: method.clone(), url, headers, authorization, body: form.map_or(Body::None, Body::Form) })?;
        match answer.status {
            200 | 201 => answer.bytes(MAX),
            _ => Err(refusal::of_server(answer, "gives no credentials")),
        }
    }

    /// The body of the answer.
    ///
    /// # Errors
    /// Remote: the server is not reached, fails or refuses.
    pub(super) fn bytes(&self, http: &Http) -> Result<Vec<u8>> {
        persist(&http.transport.limits, &*http.clock, &self.url.to_string(), || self.once(http))
    }

    /// The same as text.
    ///
    /// # Errors
    /// As [`Ask::bytes`].
    pub(super) fn text(&self, http: &Http) -> Result<String> {
        self.bytes(http).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The same as JSON.
    ///
    /// # Errors
    /// As [`Ask::bytes`]; remote: it is none.
    pub(super) fn json(&self, http: &Http) -> Result<Value> {
        // What was said is not shown: a secret may be in it.
        serde_json::from_slice(&self.bytes(http)?).map_err(|_| remote(self.url, "answers with something that is no JSON"))
    }

    /// Asks a server that may not be there, once: its status and a header of its own. What it is if there is none says why.
    pub(super) fn knock(&self, http: &Http, header: &str) -> Result<Knocked, String> {
        let Self { ref method, url, headers, authorization, form } = *self;
        let sent = http.send(&Request { method: method.clone(), url, headers, authorization, body: form.map_or(Body::None, Body::Form) });
        let mut answer = sent.map_err(|failure| failure.error.to_string())?;
        let header = answer.header(header).map(str::to_owned);
        let status = answer.status;
        let body = answer.bytes(MAX).map_err(|failure| failure.error.to_string())?;
        Ok(Knocked { status, header, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

/// Who opened.
pub(super) struct Knocked {
    pub(super) status: u16,
    /// The header that was asked for.
    pub(super) header: Option<String>,
    pub(super) body: String,
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
