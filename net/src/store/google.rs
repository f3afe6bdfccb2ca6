//! Google's Cloud Storage: resumable uploads of the JSON API (version 1).
//!
//! A session takes a file front to back. Its last piece is held back until the file is to have its name: only then the file is seen. A
//! session that a killed run left cannot be found again, and ends within a week.

use super::{Ranges, Store, Stores, Upload, Wishes, lock, taken};
use crate::{
    http::{Answer, Body, Request, remote},
    parts::{Part, Rules, Zeros},
    refusal,
    retry::{Failure, persist},
    secrets::google::EVERYTHING,
    url::{Url, encoded},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use formats::{Blob, Error, Kind, Result, units};
use md5::{Digest, Md5};
use serde_json::{Value, json};
use std::{
    io::Read,
    sync::{Arc, Mutex},
};
use ureq::http::Method;

pub(super) const STORE: Store = Store {
    scheme: "gs://",
    about: "Google's Cloud Storage",
    example: "gs://BUCKET/images/app.tar.gz",
    object: |stores, rest, wishes| Ok(Box::new(Session::new(stores, rest, wishes)?)),
    ranges: |stores, rest| Ok(Box::new(Session::new(stores, rest, Wishes::default())?)),
};

/// "All pieces but the last are multiples of 256 KiB."
const RULES: Rules =
    Rules { unit: 256 * units::KIB, part: 16 * units::MIB, part_max: u64::MAX >> 1, count_max: u64::MAX, zeros: Zeros::Sent };
/// What a file was made of.
const KEY: &str = "moby-key";
/// Most bytes of an answer.
const ANSWER_MAX: u64 = 1 << 20;

struct Session {
    stores: Arc<Stores>,
    bucket: String,
    name: String,
    wishes: Wishes,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Where the session is.
    url: Option<Url>,
    file: Blob,
    /// The MD5 of what was sent.
    md5: Md5,
}

impl Ranges for Session {
    fn get(&self, headers: &[(&'static str, String)]) -> Result<Answer, Failure> {
        let url = self.object("?alt=media")?;
        self.once(&Method::GET, &url, headers, Body::None)
    }
}

impl Session {
    fn new(stores: Arc<Stores>, rest: &str, wishes: Wishes) -> Result<Self> {
        let (bucket, name) = rest.split_once('/').unwrap_or((rest, ""));
        let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if !(3..=222).contains(&bucket.len()) || !bucket.bytes().all(sound) {
            return Err(Error::bad_input("its bucket's name must have 3 to 63 lower-case letters, digits, dots, hyphens and underscores"));
        }
        if name.is_empty() || name.ends_with('/') || name.len() > 1024 {
            return Err(Error::bad_input("it must name a file in the bucket, with at most 1024 bytes"));
        }
        let (bucket, name) = (bucket.to_owned(), name.to_owned());
        Ok(Self { stores, bucket, name, wishes, state: Mutex::default() })
    }

    /// What is asked about the object that is there.
    fn object(&self, query: &str) -> Result<Url> {
        let base = self.base()?;
        let path = format!("{}/storage/v1/b/{}/o/{}{query}", base.path.trim_end_matches('/'), encoded(&self.bucket), encoded(&self.name));
        Ok(Url { path, ..base })
    }

    fn base(&self) -> Result<Url> {
        match &self.stores.google_endpoint {
            Some(endpoint) if endpoint.contains("://") => Url::parse(endpoint),
            // As Google's own variable has it.
            Some(endpoint) => Url::parse(&format!("http://{endpoint}")),
            None => Url::parse("https://storage.googleapis.com/"),
        }
    }

    /// One request; where the token has ended, with a new one. An emulator asks for no login, and gets none.
    fn once(&self, method: &Method, url: &Url, headers: &[(&'static str, String)], body: Body<'_>) -> Result<Answer, Failure> {
        let (http, clock, google) = (&self.stores.http, &*self.stores.clock, &self.stores.google);
        let send = |authorization: Option<&str>| http.send_signed(&Request { method: method.clone(), url, headers, authorization, body });
        if self.stores.google_endpoint.is_some() {
            return send(None);
        }
        let bearer = || google.token(http, clock, EVERYTHING).map(|token| format!("Bearer {}", token.told()));
        match send(Some(&bearer()?))? {
            answer if answer.status == 401 => {
                google.forget();
                send(Some(&bearer()?))
            }
            answer => Ok(answer),
        }
    }

    fn open(&self, len: u64, key: Option<&str>) -> Result<Url> {
        let base = self.base()?;
        let first_only = if self.wishes.no_clobber { "&ifGenerationMatch=0" } else { "" };
        let query = format!("uploadType=resumable&name={}{first_only}", encoded(&self.name));
        let path = format!("{}/upload/storage/v1/b/{}/o?{query}", base.path.trim_end_matches('/'), encoded(&self.bucket));
        let url = Url { path, ..base };
        let mut about = json!({ "name": self.name, "contentType": "application/octet-stream" });
        if let Some(key) = key {
            about["metadata"] = json!({ KEY: key });
        }
        let about = about.to_string();
        let headers = [("Content-Type", "application/json".to_owned()), ("X-Upload-Content-Length", len.to_string())];
        let http = &self.stores.http;
        persist(&http.transport.limits, &*http.clock, &url.path, || {
            let answer = self.once(&Method::POST, &url, &headers, Body::Bytes(about.as_bytes()))?;
            match (answer.status, answer.header("location")) {
                (200 | 201, Some(location)) => Ok(url.join(location)?),
                (200 | 201, None) => Err(remote(&url, "opens a session and does not say where").into()),
                (412, _) => Err(taken().into()),
                _ => Err(refused(answer)),
            }
        })
    }

    /// Brings the file from one byte to another; the answer to the last piece, which ends the session.
    fn bring(&self, from: u64, to: u64) -> Result<Option<Value>> {
        let (url, file) = {
            let state = lock(&self.state);
            (state.url.clone().ok_or_else(|| Error::new(Kind::Bug, "no session was opened"))?, state.file.clone())
        };
        let (http, len) = (&self.stores.http, file.len());
        let mut at = Some(from);
        persist(&http.transport.limits, &*http.clock, &url.path, || {
            let start = match at.take() {
                Some(start) => start,
                // It broke: how far did it come?
                None => {
                    let answer = self.once(&Method::PUT, &url, &[("Content-Range", format!("bytes */{len}"))], Body::Bytes(&[]))?;
                    match has(&answer) {
                        Some(has) => has,
                        None => return whole(answer),
                    }
                }
            };
            if start >= to && to < len {
                return Ok(None);
            }
            let range = if len == 0 { "bytes */0".to_owned() } else { format!("bytes {start}-{}/{len}", to - 1) };
            let answer = self.once(&Method::PUT, &url, &[("Content-Range", range)], Body::Blob(&file.slice(start..to)))?;
            match has(&answer) {
                Some(has) if has == to && to < len => Ok(None),
                // Where it says that it has less, it is asked again.
                Some(has) => Err(Failure::passing(remote(&url, format!("kept {has} bytes of {to}")))),
                None => whole(answer),
            }
        })
    }
}

/// Deletes a file, which may be gone already.
pub(super) fn remove(stores: Arc<Stores>, rest: &str) -> Result<()> {
    let session = Session::new(stores, rest, Wishes::default())?;
    let (url, http) = (session.object("")?, &session.stores.http);
    persist(&http.transport.limits, &*http.clock, &url.path, || {
        let answer = session.once(&Method::DELETE, &url, &[], Body::None)?;
        match answer.status {
            200..=299 | 404 => Ok(()),
            _ => Err(refused(answer)),
        }
    })
}

/// How many bytes a session has that goes on.
fn has(answer: &Answer) -> Option<u64> {
    (answer.status == 308).then(|| {
        let last = answer.header("range").and_then(|range| range.rsplit('-').next()?.parse::<u64>().ok());
        last.map_or(0, |last| last + 1)
    })
}

/// What a session says that ended.
fn whole(mut answer: Answer) -> Result<Option<Value>, Failure> {
    match answer.status {
        200 | 201 => Ok(Some(serde_json::from_slice(&answer.bytes(ANSWER_MAX)?).unwrap_or_default())),
        412 => Err(taken().into()),
        _ => Err(refused(answer)),
    }
}

fn refused(answer: Answer) -> Failure {
    let status = answer.status;
    let mut failure = refusal::of_server(answer, "refuses");
    failure.error = match status {
        404 => failure.error.of_kind(Kind::BadInput).hint("make the bucket first, or name another"),
        403 if failure.error.hint_text().is_none() => failure.error.hint("the login needs the role Storage Object Creator there"),
        _ => failure.error,
    };
    failure
}

impl Upload for Session {
    fn rules(&self) -> Option<Rules> {
        Some(RULES)
    }

    fn is_ordered(&self) -> bool {
        true
    }

    fn begin(&self, file: &Blob, key: Option<&str>) -> Result<()> {
        let url = self.open(file.len(), key)?;
        *lock(&self.state) = State { url: Some(url), file: file.clone(), md5: Md5::new() };
        Ok(())
    }

    fn put(&self, part: &Part, body: &Blob) -> Result<()> {
        let mut md5 = lock(&self.state).md5.clone();
        let (mut reader, mut chunk) = (body.reader(), vec![0; 1 << 20]);
        loop {
            match reader.read(&mut chunk)? {
                0 => break,
                n => md5.update(&chunk[..n]),
            }
        }
        lock(&self.state).md5 = md5;
        if part.range.end < lock(&self.state).file.len() {
            self.bring(part.range.start, part.range.end)?;
        }
        Ok(())
    }

    fn finish(&self, file: &Blob) -> Result<()> {
        let size = RULES.size(file.len())?;
        let from = file.len().saturating_sub(1) / size * size;
        let about = self.bring(from, file.len())?.unwrap_or_default();
        let ours = BASE64_STANDARD.encode(lock(&self.state).md5.clone().finalize());
        match about["md5Hash"].as_str() {
            Some(theirs) if theirs != ours => {
                Err(Error::new(Kind::Remote, format!("has other bytes than were sent: their MD5 is {theirs}, must be {ours}")))
            }
            _ => Ok(()),
        }
    }

    fn abandon(&self) -> Result<()> {
        match lock(&self.state).url.take() {
            // Whatever it says: it would end by itself within a week.
            Some(url) => self.once(&Method::DELETE, &url, &[], Body::Bytes(&[])).map(drop).map_err(|failure| failure.error),
            None => Ok(()),
        }
    }

    fn key(&self) -> Result<Option<String>> {
        let url = self.object("")?;
        let http = &self.stores.http;
        persist(&http.transport.limits, &*http.clock, &url.path, || {
            let mut answer = self.once(&Method::GET, &url, &[], Body::None)?;
            match answer.status {
                200 => {
                    let about: Value = serde_json::from_slice(&answer.bytes(ANSWER_MAX)?).unwrap_or_default();
                    Ok(about["metadata"][KEY].as_str().map(str::to_owned))
                }
                404 => Ok(None),
                _ => Err(refused(answer)),
            }
        })
    }
}
