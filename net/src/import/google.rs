//! Google's images: a tar in a bucket, of which Compute Engine (API v1) makes an image.
//!
//! ```text
//!  gs://BUCKET/…tar.gz ─► POST global/images ─► operation: PENDING, RUNNING, DONE ─► the tar is deleted
//! ```
//! The tar is only the way: its name has the moment in it, so that it is nobody else's, and it goes in any case.

use crate::{
    http::{Answer, Body, Request, remote},
    refusal,
    retry::{Failure, persist},
    secrets::google::EVERYTHING,
    store::{Object, Stores, Wishes, lock},
    text::{SHOWN, shown},
    url::{Url, encoded, is_loopback},
};
use formats::{At, Blob, Error, Kind, Progress, Result};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use ureq::http::Method;

/// Most bytes of an answer.
const ANSWER_MAX: u64 = 1 << 20;
/// How long an image is waited for.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// The longest time between two looks at it.
const LOOK_MAX: Duration = Duration::from_secs(15);

/// What an image is to be.
#[derive(Clone, Debug)]
pub struct Image {
    /// Unique in a project.
    pub name: String,
    /// Of whose images the newest is taken.
    pub family: Option<String>,
    /// What people read; empty where there is nothing.
    pub description: String,
    /// `X86_64` or `ARM64`.
    pub architecture: &'static str,
    /// What the guest can do, as Compute Engine names it.
    pub features: Vec<&'static str>,
    /// Names and values by which it is found.
    pub labels: Vec<(String, String)>,
    /// `shieldedInstanceInitialState`: whom Secure Boot trusts.
    pub shielded: Option<Value>,
}

impl Image {
    /// Refuses what Compute Engine would refuse when everything is sent.
    ///
    /// # Errors
    /// Bad input: a name, a family or a label that is none.
    pub fn check(&self) -> Result<()> {
        for (what, name) in [("name", Some(&self.name)), ("family", self.family.as_ref())] {
            if let Some(name) = name.filter(|name| !is_name(name)) {
                let found = format!("the {what} '{}' is none that Compute Engine takes", shown(name, SHOWN));
                return Err(Error::bad_input(found).hint("1 to 63 lower-case letters, digits and hyphens; a letter first, no hyphen last"));
            }
        }
        // "Keys and values contain only lowercase letters, numeric characters, underscores, and dashes. Keys start with a letter."
        let sound =
            |text: &str| text.chars().count() <= 63 && text.chars().all(|c| (c.is_alphanumeric() && !c.is_uppercase()) || "_-".contains(c));
        let bad = |(key, value): &&(String, String)| !key.starts_with(|c: char| c.is_alphabetic()) || !sound(key) || !sound(value);
        if let Some((key, value)) = self.labels.iter().find(bad) {
            let found = format!("the label '{}={}' is none that Compute Engine takes", shown(key, SHOWN), shown(value, SHOWN));
            return Err(Error::bad_input(found).hint("at most 63 lower-case letters, digits, _ and -; keys begin with a letter"));
        }
        Ok(())
    }

    /// As Compute Engine takes it.
    fn json(&self, source: &str) -> Value {
        let features: Vec<_> = self.features.iter().map(|feature| json!({"type": feature})).collect();
        let mut json = json!({
            "name": self.name, "architecture": self.architecture, "rawDisk": {"source": source}, "guestOsFeatures": features,
        });
        let labels: Map<_, _> = self.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        let more = [
            ("family", self.family.as_ref().map(|family| json!(family))),
            ("description", Some(json!(self.description)).filter(|_| !self.description.is_empty())),
            ("labels", Some(labels.into()).filter(|_| !self.labels.is_empty())),
            ("shieldedInstanceInitialState", self.shielded.clone()),
        ];
        for (name, value) in more {
            if let Some(value) = value {
                json[name] = value;
            }
        }
        json
    }
}

/// "Must match `[a-z]([-a-z0-9]*[a-z0-9])?`", of 1 to 63.
fn is_name(name: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(sound) && name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.ends_with('-')
}

/// What came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its number.
    pub id: String,
    /// Where it is.
    pub link: String,
}

/// An image that comes to be.
pub struct Import {
    stores: Arc<Stores>,
    project: String,
    base: Url,
    /// Where the tar goes: `gs://BUCKET/` and what its name begins with.
    bucket: String,
    /// Held while something of it is begun.
    begun: Mutex<Begun>,
    is_over: AtomicBool,
}

/// What is to be taken back.
#[derive(Default)]
struct Begun {
    /// The tar, and its address.
    tar: Option<(Arc<Object>, String)>,
    /// The image's name, once it may be there.
    image: Option<String>,
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Import({}, {})", self.project, self.bucket)
    }
}

impl Import {
    /// Into a project, or the one that is meant where none is named, by way of a bucket: `gs://BUCKET[/PREFIX]`.
    ///
    /// # Errors
    /// Bad input: no place names a project, or it or the bucket is none.
    pub fn new(stores: Arc<Stores>, project: Option<&str>, bucket: &str) -> Result<Self> {
        let project = match project {
            Some(project) => project.to_owned(),
            None => stores.google.project(&stores.http, &*stores.clock)?,
        };
        // Older projects have their domain before them.
        if project.is_empty() || !project.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte)) {
            return Err(Error::bad_input(format!("'{}' is no project", shown(&project, SHOWN))));
        }
        let base = Url::parse(stores.compute_endpoint.as_deref().unwrap_or("https://compute.googleapis.com/compute/v1/"))?;
        if !base.secure && !is_loopback(&base.host) {
            return Err(Error::bad_input(format!("{base} would be told the login in the clear: must be https")));
        }
        if !bucket.starts_with("gs://") {
            return Err(Error::bad_input("must be gs://BUCKET or gs://BUCKET/PREFIX").at("--bucket"));
        }
        let bucket = format!("{}/", bucket.trim_end_matches('/'));
        Ok(Self { stores, project, base, bucket, begun: Mutex::default(), is_over: AtomicBool::default() })
    }

    /// The project.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Refuses a name that an image has already, before anything is sent.
    ///
    /// # Errors
    /// Bad input: it is taken. Remote: the cloud refuses or fails.
    pub fn refuse_taken(&self, image: &Image) -> Result<()> {
        match self.asked(&Method::GET, &format!("images/{}", image.name), &[])? {
            Some(_) => Err(taken(&image.name, &self.project)),
            None => Ok(()),
        }
    }

    /// Brings the tar of a disk into the bucket; its address.
    ///
    /// # Errors
    /// Bad input: see [`Image::check`]. As [`Object::send`].
    pub fn send(&self, tar: &Blob, image: &Image, progress: &dyn Progress) -> Result<String> {
        image.check()?;
        let address = format!("{}moby-{}-{}.tar.gz", self.bucket, image.name, self.stores.clock.now().as_nanos());
        let object = {
            let mut begun = lock(&self.begun);
            self.refuse_over()?;
            let object = self.stores.at(&address, Wishes { no_clobber: true })?;
            let object = Arc::new(object.ok_or_else(|| Error::new(Kind::Bug, "gs:// is no store"))?);
            begun.tar = Some((Arc::clone(&object), address.clone()));
            object
        };
        object.send(tar, None, progress).and_then(|()| object.commit(progress)).at(|| &address)?;
        Ok(address)
    }

    /// Makes the image of a tar, waits for it, and deletes the tar.
    ///
    /// # Errors
    /// Bad input: the name is taken. Remote: the cloud refuses or fails.
    pub fn register(&self, image: &Image, address: &str) -> Result<Made> {
        let body = image.json(&address.replacen("gs://", "https://storage.googleapis.com/", 1)).to_string();
        // By this a request that is sent twice is one.
        let hash = Sha256::digest(format!("{}\n{body}", self.stores.clock.now().as_nanos()));
        let id = super::uuid(&hash.into());
        let started = {
            let mut begun = lock(&self.begun);
            self.refuse_over()?;
            begun.image = Some(image.name.clone());
            let started = self.insert(&id, body.as_bytes(), &image.name);
            // Then the image of that name is somebody else's.
            if started.as_ref().is_err_and(|error| error.kind() == Kind::BadInput) {
                begun.image = None;
            }
            started?
        };
        self.done(started)?;
        let about = self.asked(&Method::GET, &format!("images/{}", image.name), &[])?.unwrap_or_default();
        self.refuse_over()?;
        self.is_over.store(true, Ordering::Relaxed);
        *lock(&self.begun) = Begun::default();
        if let Err(error) = self.stores.remove(address) {
            return Err(error.at(address).hint("the image is there; delete the file yourself"));
        }
        let text = |name: &str| about[name].as_str().unwrap_or_default().to_owned();
        Ok(Made { id: text("id"), link: text("selfLink") })
    }

    /// Leaves neither tar nor image, unless the image is finished; what is under way ends with an error. It lasts as long as the cloud
    /// takes to answer.
    ///
    /// # Errors
    /// When one of them may be left.
    pub fn abandon(&self) -> Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        self.stores.http.stop();
        // Who comes second waits for the first.
        let mut begun = lock(&self.begun);
        let Begun { tar, image } = std::mem::take(&mut *begun);
        let tar = tar.map_or(Ok(()), |(object, address)| object.abandon().and(self.stores.remove(&address)).at(|| address));
        let image = image.map_or(Ok(()), |name| {
            self.asked(&Method::DELETE, &format!("images/{name}"), &[]).map(drop).at(|| format!("the image {name} of {}", self.project))
        });
        tar.and(image)
    }

    /// The operation that makes the image.
    fn insert(&self, id: &str, body: &[u8], name: &str) -> Result<Value> {
        let http = &self.stores.http;
        persist(&http.transport.limits, &*http.clock, name, || {
            let mut answer = self.ask(&Method::POST, &format!("images?requestId={id}"), Some(body))?;
            match answer.status {
                200..=299 => json_of(&mut answer),
                409 => Err(taken(name, &self.project).into()),
                _ => Err(refused(answer)),
            }
        })
    }

    /// Waits for the end of an operation.
    fn done(&self, mut operation: Value) -> Result<()> {
        let name = operation["name"].as_str().unwrap_or_default().to_owned();
        let (mut waited, mut next) = (Duration::ZERO, Duration::from_secs(1));
        loop {
            self.refuse_over()?;
            if operation["status"] == "DONE" {
                return told(&operation);
            }
            if waited >= WAIT_MAX {
                return Err(Error::new(Kind::Remote, format!("the operation {} is not done after an hour", shown(&name, SHOWN))));
            }
            self.stores.clock.wait(next);
            waited += next;
            next = (next * 2).min(LOOK_MAX);
            let lost = || Error::new(Kind::Remote, format!("the operation {} is not known any more", shown(&name, SHOWN)));
            operation = self.asked(&Method::GET, &format!("operations/{}", encoded(&name)), &[])?.ok_or_else(lost)?;
        }
    }

    /// What is answered; none where there is no such thing.
    fn asked(&self, method: &Method, below: &str, body: &[u8]) -> Result<Option<Value>> {
        let http = &self.stores.http;
        persist(&http.transport.limits, &*http.clock, below, || {
            let mut answer = self.ask(method, below, Some(body).filter(|body| !body.is_empty()))?;
            match answer.status {
                200..=299 => json_of(&mut answer).map(Some),
                404 => Ok(None),
                _ => Err(refused(answer)),
            }
        })
    }

    /// One request; where the token has ended, with a new one.
    fn ask(&self, method: &Method, below: &str, body: Option<&[u8]>) -> Result<Answer, Failure> {
        let answer = self.once(method, below, body)?;
        if answer.status != 401 {
            return Ok(answer);
        }
        self.stores.google.forget();
        self.once(method, below, body)
    }

    fn once(&self, method: &Method, below: &str, body: Option<&[u8]>) -> Result<Answer, Failure> {
        let http = &self.stores.http;
        let path = format!("{}/projects/{}/global/{below}", self.base.path.trim_end_matches('/'), self.project);
        let url = Url { path, ..self.base.clone() };
        let token = self.stores.google.token(http, &*self.stores.clock, EVERYTHING)?;
        let headers = [("content-type", "application/json".to_owned())];
        let headers = if body.is_some() { &headers[..] } else { &[] };
        let authorization = Some(format!("Bearer {}", token.told()));
        let body = body.map_or(Body::None, Body::Bytes);
        http.send_signed(&Request { method: method.clone(), url: &url, headers, authorization: authorization.as_deref(), body })
    }

    fn refuse_over(&self) -> Result<()> {
        if self.is_over.load(Ordering::Relaxed) { Err(Error::new(Kind::Environment, "was abandoned")) } else { Ok(()) }
    }
}

fn json_of(answer: &mut Answer) -> Result<Value, Failure> {
    let bytes = answer.bytes(ANSWER_MAX)?;
    serde_json::from_slice(&bytes).map_err(|_| remote(&answer.url, "answers with something that is no JSON").into())
}

fn taken(name: &str, project: &str) -> Error {
    let what = format!("the project {} has an image {} already", shown(project, SHOWN), shown(name, SHOWN));
    Error::bad_input(what).hint("images are never replaced: name another, and have both in one --family")
}

/// How an operation ended.
fn told(operation: &Value) -> Result<()> {
    let Some(errors) = operation["error"]["errors"].as_array().filter(|errors| !errors.is_empty()) else { return Ok(()) };
    let text = |value: &Value| shown(value.as_str().unwrap_or_default(), SHOWN);
    let one = |error: &Value| format!("{}: {}", text(&error["code"]), text(&error["message"]));
    let all: Vec<_> = errors.iter().take(3).map(one).collect();
    Err(Error::new(Kind::Remote, format!("no image was made: {}", all.join(", "))))
}

fn refused(answer: Answer) -> Failure {
    let status = answer.status;
    let mut failure = refusal::of_server(answer, "refuses");
    if status == 403 && failure.error.hint_text().is_none() {
        failure.error =
            failure.error.hint("the login needs the role Compute Storage Admin in the project, and the API must be enabled there");
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        Image {
            name: "app-1".to_owned(),
            family: Some("app".to_owned()),
            description: String::new(),
            architecture: "X86_64",
            features: vec!["UEFI_COMPATIBLE", "GVNIC"],
            labels: vec![("team".to_owned(), "db".to_owned())],
            shielded: None,
        }
    }

    #[test]
    fn an_image_is_said_as_compute_engine_takes_it() {
        let source = "https://storage.googleapis.com/b/x.tar.gz";
        let said = json!({"name": "app-1", "architecture": "X86_64", "rawDisk": {"source": source},
            "guestOsFeatures": [{"type": "UEFI_COMPATIBLE"}, {"type": "GVNIC"}], "family": "app", "labels": {"team": "db"}});
        image().check().unwrap();
        assert_eq!(image().json(source), said);
        let shielded = json!({"pk": {"content": "AA==", "fileType": "X509"}});
        assert_eq!(Image { shielded: Some(shielded.clone()), ..image() }.json(source)["shieldedInstanceInitialState"], shielded);
    }

    #[test]
    fn names_are_those_that_are_taken() {
        for bad in ["", "App", "1app", "app-", "app_1", "app.1", &"a".repeat(64)] {
            let error = Image { name: bad.to_owned(), ..image() }.check().unwrap_err();
            assert!(error.kind() == Kind::BadInput && error.hint_text().unwrap().contains("lower-case"), "{bad}");
            assert!(Image { family: Some(bad.to_owned()), ..image() }.check().is_err(), "{bad}");
        }
        for (key, value) in [("", "x"), ("Team", "x"), ("1", "x"), ("a", "B"), ("a b", ""), ("a", &"x".repeat(64))] {
            assert!(Image { labels: vec![(key.to_owned(), value.to_owned())], ..image() }.check().is_err(), "{key}={value}");
        }
    }

    #[test]
    fn an_operation_that_failed_says_why() {
        assert!(told(&json!({"status": "DONE"})).is_ok());
        let failed = json!({"error": {"errors": [{"code": "INVALID_IMAGE", "message": "The tar\u{1b} has no disk.raw"}]}});
        let error = told(&failed).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (Kind::Remote, "no image was made: INVALID_IMAGE: The tar\\u{1b} has no disk.raw")
        );
    }
}
