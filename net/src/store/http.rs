//! A server that gives files in pieces, and takes them by PUT (RFC 9110, 14 and 9.3.4), as WebDAV and signed URLs do. The one request that brings the file gives it its name.

use super::{Ranges, Store, Stores, Upload, Wishes, taken};
use crate::{
    http::{Answer, Body, Request},
    parts::{Part, Rules},
    refusal,
    retry::{Failure, persist},
    url::Url,
};
use formats::{Blob, Error, Kind, Result};
use std::sync::Arc;
use ureq::http::Method;

pub(super) const HTTP: Store = Store {
    scheme: "http://",
    about: "a server that has files, and takes them by PUT, as WebDAV does",
    example: "http://HOST:8080/images/app.qcow2",
    object: |stores, rest, wishes| begin(stores, &format!("http://{rest}"), wishes),
    ranges: |stores, rest| Ok(Box::new(Get { stores, url: Url::parse(&format!("http://{rest}"))? })),
};

pub(super) const HTTPS: Store = Store {
    scheme: "https://",
    about: "the same by TLS",
    example: "https://HOST/images/app.qcow2",
    object: |stores, rest, wishes| begin(stores, &format!("https://{rest}"), wishes),
    ranges: |stores, rest| Ok(Box::new(Get { stores, url: Url::parse(&format!("https://{rest}"))? })),
};

fn begin(stores: Arc<Stores>, url: &str, wishes: Wishes) -> Result<Box<dyn Upload>> {
    let url = Url::parse(url)?;
    if url.path.split('?').next().is_some_and(|path| path.ends_with('/')) {
        return Err(Error::bad_input("it must name a file"));
    }
    Ok(Box::new(Put { stores, url, wishes }))
}

/// A file of anybody who has it.
struct Get {
    stores: Arc<Stores>,
    url: Url,
}

impl Ranges for Get {
    fn get(&self, headers: &[(&'static str, String)]) -> Result<Answer, Failure> {
        self.stores.http.send(&Request { method: Method::GET, url: &self.url, headers, authorization: None, body: Body::None })
    }
}

struct Put {
    stores: Arc<Stores>,
    url: Url,
    wishes: Wishes,
}

impl Put {
    fn ask(&self, method: &Method, headers: &[(&'static str, String)], body: Body<'_>) -> Result<Answer> {
        let http = &self.stores.http;
        persist(&http.transport.limits, &*http.clock, &self.url.path, || {
            let request = Request { method: method.clone(), url: &self.url, headers, authorization: None, body };
            let answer = http.send(&request)?;
            match answer.status {
                200..=299 | 404 | 412 => Ok(answer),
                _ => Err::<_, Failure>(refusal::of_server(answer, "refuses")),
            }
        })
    }
}

impl Upload for Put {
    fn rules(&self) -> Option<Rules> {
        None
    }

    fn begin(&self, _: &Blob, _: Option<&str>) -> Result<()> {
        match self.wishes.no_clobber && self.ask(&Method::HEAD, &[], Body::None)?.status != 404 {
            true => Err(taken()),
            false => Ok(()),
        }
    }

    fn put(&self, _: &Part, _: &Blob) -> Result<()> {
        Ok(())
    }

    fn finish(&self, file: &Blob) -> Result<()> {
        let mut headers = vec![("Content-Type", "application/octet-stream".to_owned())];
        headers.extend(self.wishes.no_clobber.then(|| ("If-None-Match", "*".to_owned())));
        let answer = self.ask(&Method::PUT, &headers, Body::Blob(file))?;
        match answer.status {
            412 => Err(taken()),
            404 => Err(refusal::of_server(answer, "refuses")
                .error
                .of_kind(Kind::BadInput)
                .hint("is there such a directory, and does it take files?")),
            _ => Ok(()),
        }
    }

    fn abandon(&self) -> Result<()> {
        Ok(())
    }

    /// Nobody keeps one there.
    fn key(&self) -> Result<Option<String>> {
        Ok(None)
    }
}
