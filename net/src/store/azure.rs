//! Azure's blobs (REST API, version [`VERSION`]).
//!
//! | kind | when | how it comes to be |
//! |---|---|---|
//! | block blob | any file | blocks that nobody sees, each called after its bytes, so equal ones, as zeros are, go once; then the list of them |
//! | page blob | `*.vhd`, of which Azure makes disks | pages that are seen at once, zeros left out; until all are there a mark says so, and what has its name is never replaced |

mod blocks;
mod pages;

use super::{Ranges, Store, Stores, Upload, Wishes};
use crate::{
    http::{Answer, Body, Request},
    refusal,
    retry::{Failure, persist},
    secrets::azure::Login,
    sign::azure::{self as sign, VERSION},
    url::{Url, encoded},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use blocks::Blocks;
use formats::{Blob, Error, Kind, Result};
use md5::Md5;
use pages::Pages;
use std::sync::Arc;
use ureq::http::Method;

pub(super) const STORE: Store = Store {
    scheme: "az://",
    about: "Azure's blobs, of the account that AZURE_STORAGE_ACCOUNT names; pages for *.vhd",
    example: "az://CONTAINER/images/app.vhd",
    object: |stores, rest, wishes| {
        let place = Place::new(stores, rest, wishes)?;
        Ok(if place.name.ends_with(".vhd") { Box::new(Pages::new(place)) as Box<dyn Upload> } else { Box::new(Blocks::new(place)) })
    },
    ranges: |stores, rest| Ok(Box::new(Place::new(stores, rest, Wishes::default())?)),
};

/// The account of a blob, and its URL without a login.
///
/// # Errors
/// Bad input: nothing names the account, or the container or the name is none.
pub(crate) fn place(stores: &Arc<Stores>, rest: &str) -> Result<(String, String)> {
    let place = Place::new(Arc::clone(stores), rest, Wishes::default())?;
    let account = place.account()?;
    let url = place.url(&account, "")?;
    Ok((account, url.whole()))
}

/// A blob, and how it is asked for.
struct Place {
    stores: Arc<Stores>,
    container: String,
    name: String,
    wishes: Wishes,
}

/// A request for the blob.
struct Ask<'a> {
    method: Method,
    query: String,
    headers: Vec<(&'static str, String)>,
    body: Body<'a>,
    len: u64,
}

impl<'a> Ask<'a> {
    fn new(method: Method, query: impl Into<String>) -> Self {
        Self { method, query: query.into(), headers: Vec::new(), body: Body::Bytes(&[]), len: 0 }
    }

    /// With a body, whose bytes the service compares with their MD5.
    fn with(mut self, body: &'a Blob) -> Result<Self> {
        self.headers.push(("Content-MD5", BASE64_STANDARD.encode(body.digest::<Md5>()?)));
        (self.body, self.len) = (Body::Blob(body), body.len());
        Ok(self)
    }
}

impl Ranges for Place {
    fn get(&self, headers: &[(&'static str, String)]) -> Result<Answer, Failure> {
        self.once(&Ask { headers: headers.to_vec(), body: Body::None, ..Ask::new(Method::GET, "") })
    }
}

impl Place {
    /// "Container names have 3 to 63 lower-case letters, digits and hyphens. Blob names have 1 to 1024 characters."
    fn new(stores: Arc<Stores>, text: &str, wishes: Wishes) -> Result<Self> {
        let (container, name) = text.split_once('/').unwrap_or((text, ""));
        let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'$';
        if !(3..=63).contains(&container.len()) || !container.bytes().all(sound) {
            return Err(Error::bad_input("its container's name must have 3 to 63 lower-case letters, digits and hyphens"));
        }
        if name.is_empty() || name.ends_with(['/', '.']) || name.chars().count() > 1024 {
            return Err(Error::bad_input("it must name a blob in the container, with at most 1024 characters and no dot in the end"));
        }
        Ok(Self { stores, container: container.to_owned(), name: name.to_owned(), wishes })
    }

    fn account(&self) -> Result<String> {
        self.stores.azure.account()?.ok_or_else(|| {
            Error::bad_input("nothing names the storage account").hint("set AZURE_STORAGE_ACCOUNT or AZURE_STORAGE_CONNECTION_STRING")
        })
    }

    fn url(&self, account: &str, query: &str) -> Result<Url> {
        let base = match &self.stores.azure_endpoint {
            Some(endpoint) => Url::parse(endpoint)?,
            None => match self.stores.azure.endpoint(account)? {
                Some(url) => url,
                None => Url::parse(&format!("https://{account}.blob.core.windows.net/"))?,
            },
        };
        let name: Vec<_> = self.name.split('/').map(encoded).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        Ok(Url { path: format!("{}/{}/{}{mark}{query}", base.path.trim_end_matches('/'), self.container, name.join("/")), ..base })
    }

    /// Asks until there is an answer that stays; a token that is refused is renewed once. `expected` are refusals that the caller looks at.
    fn ask(&self, ask: &Ask<'_>, expected: &[u16]) -> Result<Answer> {
        let http = &self.stores.http;
        let renewed = std::cell::Cell::new(false);
        persist(&http.transport.limits, &*http.clock, &format!("{}{}", self.name, ask.query), || {
            loop {
                let answer = self.once(ask)?;
                match answer.status {
                    200..=299 => return Ok(answer),
                    status if expected.contains(&status) => return Ok(answer),
                    401 | 403 if !renewed.replace(true) => self.stores.azure.forget(),
                    _ => return Err(refused(answer)),
                }
            }
        })
    }

    fn once(&self, ask: &Ask<'_>) -> Result<Answer, Failure> {
        let (http, clock) = (&self.stores.http, &*self.stores.clock);
        let account = self.account()?;
        let login = self.stores.azure.storage(http, clock, &account)?;
        let query = match (&login, ask.query.as_str()) {
            (Login::Sas(signature), "") => signature.told().to_owned(),
            (Login::Sas(signature), query) => format!("{query}&{}", signature.told()),
            (_, query) => query.to_owned(),
        };
        let url = self.url(&account, &query)?;
        let mut headers = ask.headers.clone();
        let authorization = match &login {
            Login::SharedKey(key) => {
                let request = sign::Request { method: ask.method.as_str(), url: &url, headers: &ask.headers, length: ask.len };
                let signed = sign::sign(&request, key, clock.now());
                headers.extend(signed.headers);
                Some(signed.authorization.told().to_owned())
            }
            Login::Bearer(token) => {
                headers.push(("x-ms-version", VERSION.to_owned()));
                Some(format!("Bearer {}", token.told()))
            }
            Login::Sas(_) => {
                headers.push(("x-ms-version", VERSION.to_owned()));
                None
            }
        };
        let authorization = authorization.as_deref();
        http.send_signed(&Request { method: ask.method.clone(), url: &url, headers: &headers, authorization, body: ask.body })
    }

    /// The blob that is there, if any.
    fn found(&self) -> Result<Option<Answer>> {
        let answer = self.ask(&Ask::new(Method::HEAD, ""), &[404])?;
        Ok((answer.status != 404).then_some(answer))
    }

    /// Deletes it, where it is there.
    fn delete(&self) -> Result<()> {
        self.ask(&Ask::new(Method::DELETE, ""), &[404]).map(drop)
    }
}

/// What a file was made of.
const KEY: &str = "x-ms-meta-mobykey";

fn refused(answer: Answer) -> Failure {
    let (status, code) = (answer.status, answer.header("x-ms-error-code").unwrap_or_default().to_owned());
    let mut failure = refusal::of_server(answer, "refuses");
    let hint = match (status, code.as_str()) {
        (404, "ContainerNotFound") => "make the container first, or name another",
        (403, "AuthorizationPermissionMismatch") => "the login needs the role Storage Blob Data Contributor there",
        (403, "AuthenticationFailed") => "the account does not know this login",
        _ => return failure,
    };
    if failure.error.hint_text().is_none() {
        failure.error = failure.error.hint(hint);
    }
    if status == 404 {
        failure.error = failure.error.of_kind(Kind::BadInput);
    }
    failure
}
