//! What is asked of Azure's resource manager.

use super::Import;
use crate::{
    http::{Answer, Body, Request, remote},
    refusal,
    retry::{Failure, persist},
    secrets::azure::MANAGEMENT,
    sign::azure as sign,
    text::{SHOWN, shown},
    url::{Url, is_loopback},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use formats::{At, Blob, Error, Kind, Result};
use md5::Md5;
use serde_json::Value;
use std::{cell::Cell, time::Duration};
use ureq::http::Method;

/// Most bytes of an answer: a list of accounts.
const ANSWER_MAX: u64 = 4 << 20;
/// How long an operation is waited for; versions of galleries are copied to where they are wanted.
const WAIT_MAX: Duration = Duration::from_secs(2 * 3600);
/// The time between two looks at it, where it does not say.
const LOOK: Duration = Duration::from_secs(5);
/// The longest.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// What came of a request: where to ask how far it is, when, and what was said.
pub(super) struct Said {
    url: Url,
    status: u16,
    /// An operation with a status of its own.
    operation: Option<String>,
    /// What answers with 202 until it is done.
    location: Option<String>,
    wait: Option<Duration>,
    body: Value,
}

impl Said {
    fn of(mut answer: Answer) -> Result<Self, Failure> {
        let header = |name| answer.header(name).map(str::to_owned);
        let (operation, location, wait) = (header("azure-asyncoperation"), header("location"), answer.retry_after());
        let bytes = answer.bytes(ANSWER_MAX)?;
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Self { url: answer.url, status: answer.status, operation, location, wait, body })
    }

    /// `Succeeded`, `Failed`, `Canceled`, or what it is about.
    fn state(&self) -> &str {
        let own = self.body.get("status");
        own.or_else(|| self.body.get("properties")?.get("provisioningState")).and_then(Value::as_str).unwrap_or_default()
    }

    /// Why it failed.
    fn error(&self, id: &str) -> Error {
        let word = |name: &str| self.body.get("error").and_then(|error| error.get(name)).and_then(Value::as_str).unwrap_or_default();
        let why = [word("code"), word("message")].into_iter().filter(|word| !word.is_empty()).map(|word| shown(word, SHOWN));
        let why: Vec<_> = why.collect();
        Error::new(Kind::Remote, format!("Azure does not make {id}: {}: {}", shown(self.state(), SHOWN), why.join(": ")))
    }
}

impl Import {
    fn base(&self) -> Result<Url> {
        let Some(endpoint) = &self.endpoint else { return Url::parse(MANAGEMENT) };
        let url = Url::parse(endpoint).at(|| "--endpoint")?;
        match url.secure || is_loopback(&url.host) {
            true => Ok(url),
            false => Err(Error::bad_input(format!("--endpoint: {url} would be told a token without TLS")).hint("name it with https://")),
        }
    }

    fn url(&self, path: &str, version: &str) -> Result<Url> {
        let base = self.base()?;
        Ok(Url { path: format!("{}{path}?api-version={version}", base.path.trim_end_matches('/')), ..base })
    }

    /// Asks until there is an answer that stays; a token that is refused is renewed once. `expected` is a refusal that the caller looks at.
    fn ask(&self, method: &Method, url: &Url, body: Option<&Value>, expected: Option<u16>) -> Result<Said> {
        let (http, clock) = (&self.stores.http, &*self.stores.clock);
        let resource = match &self.endpoint {
            Some(endpoint) => format!("{}/", endpoint.trim_end_matches('/')),
            None => MANAGEMENT.to_owned(),
        };
        let text = body.map(Value::to_string);
        let headers: Vec<_> = text.iter().map(|_| ("Content-Type", "application/json".to_owned())).collect();
        let renewed = Cell::new(false);
        persist(&http.transport.limits, clock, &url.to_string(), || {
            loop {
                let token = self.stores.azure.token(http, clock, &resource)?;
                let authorization = format!("Bearer {}", token.told());
                let body = text.as_ref().map_or(Body::None, |text| Body::Bytes(text.as_bytes()));
                let request = Request { method: method.clone(), url, headers: &headers, authorization: Some(&authorization), body };
                let answer = http.send_signed(&request)?;
                match answer.status {
                    200..=299 => return Said::of(answer),
                    status if expected == Some(status) => return Said::of(answer),
                    401 if !renewed.replace(true) => self.stores.azure.forget(),
                    _ => return Err(hinted(refusal::of_server(answer, "refuses"))),
                }
            }
        })
    }

    /// What is there of a name, if anything is.
    pub(super) fn get(&self, path: &str, version: &str) -> Result<Option<Value>> {
        let said = self.ask(&Method::GET, &self.url(path, version)?, None, Some(404))?;
        Ok((said.status != 404).then_some(said.body))
    }

    /// Begins something.
    pub(super) fn put(&self, path: &str, version: &str, body: &Value) -> Result<Said> {
        self.ask(&Method::PUT, &self.url(path, version)?, Some(body), None)
    }

    /// Has something done with it.
    pub(super) fn post(&self, path: &str, version: &str, body: &Value) -> Result<Said> {
        self.ask(&Method::POST, &self.url(path, version)?, Some(body), None)
    }

    /// Writes pages by a URL that says that we may; nobody gets to see its query.
    pub(super) fn page(&self, signed: &Url, start: u64, body: &Blob) -> Result<()> {
        let http = &self.stores.http;
        let and = if signed.path.contains('?') { '&' } else { '?' };
        let url = Url { path: format!("{}{and}comp=page", signed.path), ..signed.clone() };
        let headers = [
            ("Content-MD5", BASE64_STANDARD.encode(body.digest::<Md5>()?)),
            ("x-ms-page-write", "update".to_owned()),
            ("x-ms-range", format!("bytes={start}-{}", start + body.len() - 1)),
            ("x-ms-version", sign::VERSION.to_owned()),
        ];
        persist(&http.transport.limits, &*self.stores.clock, &format!("{url} {start}"), || {
            let body = Body::Blob(body);
            let answer = http.send_signed(&Request { method: Method::PUT, url: &url, headers: &headers, authorization: None, body })?;
            if (200..300).contains(&answer.status) { Ok(()) } else { Err(refusal::of_server(answer, "refuses")) }
        })
    }

    /// Deletes it, where it is there.
    pub(super) fn delete(&self, path: &str, version: &str) -> Result<()> {
        self.url(path, version).and_then(|url| self.ask(&Method::DELETE, &url, None, Some(404))).map(drop)
    }

    /// Waits until what was begun is there, and says what came of it.
    pub(super) fn follow(&self, begun: Said, path: &str, version: &str) -> Result<Value> {
        let mut said = begun;
        // The first that is named stays: later answers need not repeat it.
        let leads = said.operation.clone().or_else(|| said.location.clone().filter(|_| said.status == 202));
        let operation = leads.map(|url| self.beside(&said.url, &url)).transpose()?;
        let mut waited = Duration::ZERO;
        loop {
            let is_asked = operation.is_none() || waited > Duration::ZERO;
            match said.state() {
                "Failed" | "Canceled" => return Err(said.error(path)),
                "Succeeded" if is_asked => return Ok(said.body),
                "" if is_asked && said.status != 202 => return Ok(said.body),
                _ => {}
            }
            self.refuse_over()?;
            if waited >= WAIT_MAX {
                let what = format!("{path} is not there after {} minutes: {}", WAIT_MAX.as_secs() / 60, shown(said.state(), SHOWN));
                return Err(Error::new(Kind::Remote, what).hint("try later"));
            }
            let wait = said.wait.unwrap_or(LOOK).clamp(Duration::from_secs(1), LOOK_MAX);
            self.stores.clock.wait(wait);
            waited += wait;
            let url = operation.clone().map_or_else(|| self.url(path, version), Ok)?;
            said = self.ask(&Method::GET, &url, None, None)?;
        }
    }

    /// Where an operation is asked for, which must be where the token is good.
    fn beside(&self, from: &Url, location: &str) -> Result<Url> {
        let url = from.join(location).map_err(|error| remote(from, "names an operation that is nowhere").because(error))?;
        match url.is_beside(&self.base()?) {
            true => Ok(url),
            false => Err(remote(from, format!("names an operation at another server, {}: refused", url.authority()))),
        }
    }
}

/// What the user can do.
fn hinted(mut failure: Failure) -> Failure {
    let said = failure.error.to_string();
    let hint = if said.contains("AuthorizationFailed") {
        "the login needs the role Contributor in the resource group"
    } else if said.contains("SubscriptionNotFound") || said.contains("InvalidSubscriptionId") {
        "`az account show --query id` prints the subscription: --subscription, or AZURE_SUBSCRIPTION_ID"
    } else if said.contains("AuthenticationFailed") || said.contains("InvalidAuthenticationToken") {
        "Azure does not know this login"
    } else {
        return failure;
    };
    if failure.error.hint_text().is_none() {
        failure.error = failure.error.hint(hint);
    }
    failure
}
