//! What is asked of S3.

use super::{S3, address::below, refusal::Refusal};
use crate::{
    http::{Answer, Body, Request, remote},
    retry::{Failure, persist},
    sign,
    store::{lock, taken},
    url::{Url, encoded},
    xml,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use formats::{At, Blob, Result, units};
use md5::Md5;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use ureq::http::Method;

/// What a file was made of.
const KEY: &str = "x-amz-meta-moby-key";
/// Most bytes of an answer: a list of a thousand parts.
const ANSWER_MAX: u64 = 4 << 20;

/// A part as the store has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// What the store calls these bytes; with most keys their MD5.
    pub(super) etag: String,
    /// In base64; empty where the store does not say.
    pub(super) sha256: String,
    pub(super) len: u64,
}

impl Sent {
    /// Whether these are its bytes, as far as the store tells.
    pub(super) fn is(&self, body: &Blob) -> Result<bool> {
        if self.len != body.len() {
            return Ok(false);
        }
        if !self.sha256.is_empty() {
            return Ok(self.sha256 == BASE64_STANDARD.encode(body.sha256()?));
        }
        Ok(self.etag.trim_matches('"') == units::hex(&body.digest::<Md5>()?))
    }
}

/// A request for the bucket.
struct Ask<'a> {
    method: Method,
    key: &'a str,
    query: String,
    headers: Vec<(&'static str, String)>,
    body: Body<'a>,
    sha256: [u8; 32],
}

impl<'a> Ask<'a> {
    fn new(method: Method, key: &'a str, query: impl Into<String>) -> Self {
        Self { method, key, query: query.into(), headers: Vec::new(), body: Body::Bytes(&[]), sha256: Sha256::digest([]).into() }
    }
}

impl S3 {
    /// Who is asked in the place of Amazon, if anybody.
    fn endpoint(&self) -> Result<Option<&Url>> {
        if let Some(known) = self.endpoint.get() {
            return Ok(known.as_ref());
        }
        let found = match &self.stores.endpoint {
            Some(named) => Some(Url::parse(named).at(|| "--endpoint")?),
            None => self.stores.aws.endpoint("s3")?,
        };
        Ok(self.endpoint.get_or_init(|| found).as_ref())
    }

    /// Where the bucket is.
    fn region(&self) -> Result<String> {
        match &*lock(&self.region) {
            Some(region) => Ok(region.clone()),
            None => self.stores.aws.region(&self.stores.http, &*self.stores.clock),
        }
    }

    /// Asks until there is an answer that stays. Another region is asked where the store names it, and credentials that have expired are
    /// renewed once.
    fn ask(&self, ask: &Ask<'_>) -> Result<Result<Answer, Refusal>> {
        let (limits, clock) = (self.stores.http.transport.limits, &*self.stores.clock);
        let (mut renewed, mut moved) = (false, false);
        loop {
            let asked = persist(&limits, clock, &format!("{}{}", ask.key, ask.query), || {
                let answer = self.once(ask)?;
                if (200..300).contains(&answer.status) {
                    return Ok(Ok(answer));
                }
                let refusal = Refusal::of(answer);
                if refusal.is_passing() { Err(Failure::after(refusal.error(), refusal.wait)) } else { Ok(Err(refusal)) }
            })?;
            match asked {
                Err(Refusal { region: Some(region), .. }) if !moved && region != self.region()? => {
                    moved = true;
                    *lock(&self.region) = Some(region);
                }
                Err(refusal) if !renewed && refusal.is_expired() => {
                    renewed = true;
                    self.stores.aws.forget();
                }
                asked => return Ok(asked),
            }
        }
    }

    fn once(&self, ask: &Ask<'_>) -> Result<Answer, Failure> {
        let region = self.region()?;
        let bucket = self.address.url(self.endpoint()?, &region)?;
        let url = below(&bucket, ask.key, &ask.query);
        let http = &self.stores.http;
        let key = self.stores.aws.key(http, &*self.stores.clock)?;
        let scope = sign::aws::Scope { region: &region, service: "s3" };
        let payload = units::hex(&ask.sha256);
        let request = sign::aws::Request { method: ask.method.as_str(), url: &url, headers: &ask.headers, payload: &payload };
        let signed = sign::aws::sign(&request, &key, scope, self.stores.clock.now());
        let headers = [ask.headers.clone(), signed.headers].concat();
        let authorization = Some(signed.authorization.told());
        http.send_signed(&Request { method: ask.method.clone(), url: &url, headers: &headers, authorization, body: ask.body })
    }

    /// The text of an answer that must come.
    fn text(&self, ask: &Ask<'_>) -> Result<(Url, String)> {
        let mut answer = self.ask(ask)?.map_err(|refusal| refusal.error())?;
        let bytes = answer.bytes(ANSWER_MAX).map_err(|failure| failure.error)?;
        let text = String::from_utf8(bytes).map_err(|_| remote(&answer.url, "answers what is no text"))?;
        match Refusal::said(&answer.url, &text) {
            Some(refusal) => Err(refusal.error()),
            None => Ok((answer.url, text)),
        }
    }

    /// Begins an upload.
    pub(super) fn create(&self, key: Option<&str>) -> Result<String> {
        let mut ask = Ask::new(Method::POST, &self.address.key, "uploads=");
        ask.headers.push(("x-amz-checksum-algorithm", "SHA256".to_owned()));
        ask.headers.extend(key.map(|key| (KEY, key.to_owned())));
        let (url, text) = self.text(&ask)?;
        self.word(&url, &text, "UploadId")
    }

    fn word(&self, url: &Url, text: &str, name: &str) -> Result<String> {
        let document = xml::document(url, text)?;
        let word = xml::text(document.root(), name).filter(|word| !word.is_empty());
        word.map(str::to_owned).ok_or_else(|| remote(url, format!("answers without {name}")))
    }

    /// The uploads of this key that are open, the last first.
    pub(super) fn open_uploads(&self) -> Result<Vec<String>> {
        let (url, text) = self.text(&Ask::new(Method::GET, "", format!("prefix={}&uploads=", encoded(&self.address.key))))?;
        let document = xml::document(&url, &text)?;
        let of_key = xml::all(document.root(), "Upload").filter(|upload| xml::text(*upload, "Key") == Some(&self.address.key));
        let mut ids: Vec<_> = of_key.filter_map(|upload| xml::text(upload, "UploadId").map(str::to_owned)).collect();
        ids.reverse();
        Ok(ids)
    }

    /// The parts that an upload has.
    pub(super) fn parts_of(&self, id: &str) -> Result<BTreeMap<u64, Sent>> {
        let (mut parts, mut marker) = (BTreeMap::new(), 0);
        loop {
            let query = format!("part-number-marker={marker}&uploadId={}", encoded(id));
            let (url, text) = self.text(&Ask::new(Method::GET, &self.address.key, query))?;
            let document = xml::document(&url, &text)?;
            for part in xml::all(document.root(), "Part") {
                let word = |name| xml::text(part, name).unwrap_or_default();
                let (Ok(number), Ok(len)) = (word("PartNumber").parse::<u64>(), word("Size").parse()) else { continue };
                parts.insert(number, Sent { etag: word("ETag").to_owned(), sha256: word("ChecksumSHA256").to_owned(), len });
            }
            let last = parts.last_key_value().map_or(0, |(number, _)| *number);
            if xml::text(document.root(), "IsTruncated") != Some("true") || last <= marker {
                return Ok(parts);
            }
            marker = last;
        }
    }

    /// Sends a part.
    pub(super) fn put_part(&self, id: &str, number: u64, body: &Blob, sha256: &[u8; 32]) -> Result<Sent> {
        let checksum = BASE64_STANDARD.encode(sha256);
        let mut ask = Ask::new(Method::PUT, &self.address.key, format!("partNumber={number}&uploadId={}", encoded(id)));
        ask.headers.push(("x-amz-checksum-sha256", checksum.clone()));
        (ask.body, ask.sha256) = (Body::Blob(body), *sha256);
        let answer = self.ask(&ask)?.map_err(|refusal| refusal.error())?;
        let etag = answer.header("etag").map(str::to_owned).ok_or_else(|| remote(&answer.url, "takes a part and does not name it"))?;
        Ok(Sent { etag, sha256: checksum, len: body.len() })
    }

    /// Has a part copied from the object of zeros.
    pub(super) fn copy_zeros(&self, id: &str, number: u64, len: u64, sha256: &[u8; 32]) -> Result<Sent> {
        let mut ask = Ask::new(Method::PUT, &self.address.key, format!("partNumber={number}&uploadId={}", encoded(id)));
        let source: Vec<_> = self.zeros_key().split('/').map(encoded).collect();
        ask.headers.push(("x-amz-copy-source", format!("/{}/{}", self.address.bucket, source.join("/"))));
        let (url, text) = self.text(&ask)?;
        Ok(Sent { etag: self.word(&url, &text, "ETag")?, sha256: BASE64_STANDARD.encode(sha256), len })
    }

    /// Has the object copied onto itself, to keep another key.
    pub(super) fn keep_key(&self, key: Option<&str>) -> Result<()> {
        let mut ask = Ask::new(Method::PUT, &self.address.key, "");
        let source: Vec<_> = self.address.key.split('/').map(encoded).collect();
        ask.headers.push(("x-amz-copy-source", format!("/{}/{}", self.address.bucket, source.join("/"))));
        ask.headers.push(("x-amz-metadata-directive", "REPLACE".to_owned()));
        ask.headers.push(("x-amz-checksum-algorithm", "SHA256".to_owned()));
        ask.headers.extend(key.map(|key| (KEY, key.to_owned())));
        self.text(&ask).map(drop)
    }

    /// Where the zeros lie that are copied.
    fn zeros_key(&self) -> String {
        format!("{}.moby-zeros", self.address.key)
    }

    /// Puts the object of zeros.
    pub(super) fn put_zeros(&self, zeros: &Blob, sha256: &[u8; 32]) -> Result<()> {
        let key = self.zeros_key();
        let mut ask = Ask::new(Method::PUT, &key, "");
        (ask.body, ask.sha256) = (Body::Blob(zeros), *sha256);
        self.ask(&ask)?.map(drop).map_err(|refusal| refusal.error())
    }

    /// Deletes it.
    pub(super) fn delete_zeros(&self) -> Result<()> {
        self.delete(&self.zeros_key(), String::new())
    }

    /// Deletes what may be gone already.
    fn delete(&self, key: &str, query: String) -> Result<()> {
        match self.ask(&Ask::new(Method::DELETE, key, query))? {
            Err(refusal) if refusal.status != 404 => Err(refusal.error()),
            _ => Ok(()),
        }
    }

    /// Puts the parts together, and says whether there still was such an upload.
    pub(super) fn complete(&self, id: &str, parts: &BTreeMap<u64, Sent>) -> Result<bool> {
        let part = |(number, Sent { etag, sha256, .. }): (&u64, &Sent)| {
            let etag = xml::escaped(etag);
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag><ChecksumSHA256>{sha256}</ChecksumSHA256></Part>")
        };
        let list = parts.iter().map(part).collect::<String>();
        let body = format!("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{list}</CompleteMultipartUpload>");
        let mut ask = Ask::new(Method::POST, &self.address.key, format!("uploadId={}", encoded(id)));
        (ask.body, ask.sha256) = (Body::Bytes(body.as_bytes()), Sha256::digest(body.as_bytes()).into());
        if self.wishes.no_clobber {
            ask.headers.push(("If-None-Match", "*".to_owned()));
        }
        match self.ask(&ask)? {
            Err(refusal) if refusal.code == "NoSuchUpload" => Ok(false),
            Err(refusal) if refusal.code == "PreconditionFailed" => Err(taken()),
            Err(refusal) => Err(refusal.error()),
            Ok(mut answer) => {
                // It may have failed after the status was sent.
                let said = answer.bytes(ANSWER_MAX).map_err(|failure| failure.error)?;
                match Refusal::said(&answer.url, &String::from_utf8_lossy(&said)) {
                    Some(refusal) => Err(refusal.error()),
                    None => Ok(true),
                }
            }
        }
    }

    /// Whether the object is there with the bytes that these parts have.
    pub(super) fn is_there(&self, len: u64, parts: &BTreeMap<u64, Sent>) -> Result<bool> {
        let mut ask = Ask::new(Method::HEAD, &self.address.key, "");
        ask.headers.push(("x-amz-checksum-mode", "ENABLED".to_owned()));
        let Ok(answer) = self.ask(&ask)? else { return Ok(false) };
        let is_same = match answer.header("x-amz-checksum-sha256") {
            // Not everybody says of how many parts it is.
            Some(said) => said.split('-').next() == composite(parts).split('-').next(),
            None => answer.header("etag").is_some_and(|etag| etag.trim_matches('"') == etag_of(parts)),
        };
        Ok(answer.length() == Some(len) && is_same)
    }

    /// Asks for bytes of the object that is there. Another region is asked where the store names it.
    pub(super) fn read(&self, headers: &[(&'static str, String)]) -> Result<Answer, Failure> {
        let ask = Ask { headers: headers.to_vec(), body: Body::None, ..Ask::new(Method::GET, &self.address.key, "") };
        let answer = self.once(&ask)?;
        match answer.header("x-amz-bucket-region").map(str::to_owned) {
            Some(region) if matches!(answer.status, 301 | 307 | 400) && region != self.region()? => {
                *lock(&self.region) = Some(region);
                self.once(&ask)
            }
            _ => Ok(answer),
        }
    }

    /// The key of the object that is there.
    pub(super) fn kept_key(&self) -> Result<Option<String>> {
        match self.ask(&Ask::new(Method::HEAD, &self.address.key, ""))? {
            Ok(answer) => Ok(answer.header(KEY).map(str::to_owned)),
            Err(refusal) if refusal.status == 404 => Ok(None),
            Err(refusal) => Err(refusal.error()),
        }
    }

    /// Refuses to send what could not have its name.
    pub(super) fn refuse_taken(&self) -> Result<()> {
        match self.wishes.no_clobber && self.ask(&Ask::new(Method::HEAD, &self.address.key, ""))?.is_ok() {
            true => Err(taken()),
            false => Ok(()),
        }
    }

    /// Ends an upload without an object.
    pub(super) fn abort(&self, id: &str) -> Result<()> {
        self.delete(&self.address.key, format!("uploadId={}", encoded(id))).at(|| "an upload that was begun")
    }
}

/// What the store says of the whole: the SHA-256 of the parts' digests, and how many they are.
fn composite(parts: &BTreeMap<u64, Sent>) -> String {
    let digests: Vec<u8> = parts.values().filter_map(|part| BASE64_STANDARD.decode(&part.sha256).ok()).flatten().collect();
    format!("{}-{}", BASE64_STANDARD.encode(Sha256::digest(digests)), parts.len())
}

/// What it calls the whole where it says nothing better: the same by MD5, in hexadecimal.
fn etag_of(parts: &BTreeMap<u64, Sent>) -> String {
    let digest = |part: &Sent| {
        let hex = part.etag.trim_matches('"').as_bytes().to_vec();
        hex.chunks(2).filter_map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect::<Vec<_>>()
    };
    let digests: Vec<u8> = parts.values().flat_map(digest).collect();
    format!("{}-{}", units::hex(&Md5::digest(digests)), parts.len())
}
