//! OpenStack's images: Glance (Image API v2), with a login of Keystone's.
//!
//! ```text
//!  POST images ─► queued ── PUT images/ID/file ─► saving ─► active: size and hash are those of the file
//!                    ▲                              │
//!                    └─────── what breaks ──────────┘
//! ```
//! An upload that breaks begins anew: Glance goes on with none. The image's id is ours to choose, so that a request whose answer is lost
//! makes no second image, and what was begun can be taken back whenever it ends.

use crate::{
    http::{Answer, Body, Http, Request, remote},
    refusal,
    retry::{Failure, persist},
    store::{Stores, lock},
    text::{SHOWN, shown},
    url::Url,
};
use formats::{At, Blob, Error, Kind, Progress, Result, Stage, units};
use md5::Md5;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256, Sha512};
use std::{
    fmt,
    io::Read,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use ureq::http::Method;

/// Most bytes of an answer.
const ANSWER_MAX: u64 = 1 << 20;
/// How long an image is waited for once all its bytes are there.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// The longest time between two looks at it.
const LOOK_MAX: Duration = Duration::from_secs(15);

/// What Glance knows of an image beside its properties; these are no properties.
const OURS: &[&str] = &["container_format", "disk_format", "id", "name", "protected", "tags", "visibility"];
/// Those that are numbers.
const NUMBERS: &[&str] = &["min_disk", "min_ram"];

/// What an image is to be.
#[derive(Clone, Debug)]
pub struct Image {
    /// What it is called; others may be called the same.
    pub name: String,
    /// What Glance calls the format of the file.
    pub disk_format: &'static str,
    /// Who sees it, as Glance says it.
    pub visibility: &'static str,
    /// Whether nobody can delete it.
    pub is_protected: bool,
    /// Words by which it is found.
    pub tags: Vec<String>,
    /// What machines of it are like; of two of a name the last counts.
    pub properties: Vec<(String, String)>,
}

impl Image {
    /// Refuses what Glance would refuse when the image is begun.
    ///
    /// # Errors
    /// Bad input: a name, a tag or a property that is too long, empty or none.
    pub fn check(&self) -> Result<()> {
        let is_long = |text: &str| text.chars().count() > 255;
        if self.name.is_empty() || is_long(&self.name) {
            return Err(Error::bad_input("names of images have 1 to 255 characters"));
        }
        if let Some(tag) = self.tags.iter().find(|tag| tag.is_empty() || is_long(tag)) {
            return Err(Error::bad_input(format!("the tag '{}' must have 1 to 255 characters", shown(tag, SHOWN))));
        }
        for (name, value) in &self.properties {
            let refuse = |why: &str| Err(Error::bad_input(format!("the property '{}' {why}", shown(name, SHOWN))));
            match name.as_str() {
                "" => return refuse("has no name"),
                name if OURS.contains(&name) => return refuse("is no property: it has an option, or follows from the disk"),
                name if is_long(name) => return refuse("must have at most 255 characters"),
                name if NUMBERS.contains(&name) && value.parse::<u32>().is_err() => return refuse("must be a number"),
                _ => {}
            }
        }
        Ok(())
    }

    /// As Glance takes it.
    fn json(&self, id: &str) -> Value {
        let mut json = Map::new();
        json.insert("id".to_owned(), json!(id));
        json.insert("name".to_owned(), json!(self.name));
        json.insert("disk_format".to_owned(), json!(self.disk_format));
        json.insert("container_format".to_owned(), json!("bare"));
        json.insert("visibility".to_owned(), json!(self.visibility));
        json.insert("protected".to_owned(), json!(self.is_protected));
        json.insert("tags".to_owned(), json!(self.tags));
        for (name, value) in &self.properties {
            let number = value.parse::<u32>().ok().filter(|_| NUMBERS.contains(&name.as_str()));
            json.insert(name.clone(), number.map_or_else(|| json!(value), |number| json!(number)));
        }
        json.into()
    }
}

/// What came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// By which users name it.
    pub id: String,
    /// The bytes of its file.
    pub size: u64,
    /// The algorithm of its hash, and the hash that Glance computed and we did, too; none where it tells of none that we know.
    pub hash: Option<(String, String)>,
}

/// An image that comes to be.
pub struct Import {
    stores: Arc<Stores>,
    /// How the cloud is reached, once it is known whom its servers are trusted by.
    http: OnceLock<Http>,
    /// Glance without Keystone.
    endpoint: Option<Url>,
    /// The image that was begun. Held while it is begun.
    begun: Mutex<Option<String>>,
    is_over: AtomicBool,
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Import {
    /// Into the cloud of the login, or into a Glance that asks for none where the stores have an endpoint.
    ///
    /// # Errors
    /// Bad input: the endpoint is no URL.
    pub fn new(stores: Arc<Stores>) -> Result<Self> {
        let endpoint = stores.endpoint.as_deref().map(Url::parse).transpose().at(|| "--endpoint")?;
        Ok(Self { stores, http: OnceLock::new(), endpoint, begun: Mutex::default(), is_over: AtomicBool::default() })
    }

    fn http(&self) -> Result<&Http> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let mut transport = self.stores.http.transport.clone();
        if self.endpoint.is_none() {
            transport.roots = self.stores.openstack.roots(&transport.roots)?;
        }
        Ok(self.http.get_or_init(|| Http::new(transport, Arc::clone(&self.stores.clock))))
    }

    /// Looks whether Glance is there and lets us in, before much work is done for it.
    ///
    /// # Errors
    /// When it is not, or does not.
    pub fn greet(&self) -> Result<()> {
        self.asked(&Method::GET, "?limit=1", None, "lets nobody in").map(drop)
    }

    /// Brings a file, which is an image then that nobody uses before [`Import::finish`]; its id.
    ///
    /// # Errors
    /// Bad input: see [`Image::check`]. Remote: Glance refuses or fails. Io: the file cannot be read, or it was abandoned.
    pub fn send(&self, file: &Blob, image: &Image, progress: &dyn Progress) -> Result<String> {
        image.check()?;
        let id = {
            let mut begun = lock(&self.begun);
            self.refuse_over()?;
            let id = self.new_id(image);
            // Before it is there: its answer may be lost.
            *begun = Some(id.clone());
            self.begin(&id, image)?;
            id
        };
        self.upload(&id, file, progress)?;
        Ok(id)
    }

    /// Waits until an image is usable, and compares it with its file.
    ///
    /// # Errors
    /// Remote: Glance refused the bytes, or has others.
    pub fn finish(&self, id: &str, file: &Blob) -> Result<Made> {
        let made = self.active(id).and_then(|about| compare(id, &about, file))?;
        self.refuse_over()?;
        self.is_over.store(true, Ordering::Relaxed);
        *lock(&self.begun) = None;
        Ok(made)
    }

    /// Leaves nothing of an image that is not finished; what is under way ends with an error. It lasts as long as Glance takes to answer.
    ///
    /// # Errors
    /// When it may be left.
    pub fn abandon(&self) -> Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(http) = self.http.get() {
            http.stop();
        }
        // Who comes second waits for the first.
        let mut begun = lock(&self.begun);
        let Some(id) = begun.take() else { return Ok(()) };
        let http = self.http()?;
        persist(&http.transport.limits, &*http.clock, &id, || {
            let answer = self.ask(&Method::DELETE, &format!("/{id}"), None)?;
            match answer.status {
                200..=299 | 404 | 410 => Ok(()),
                409 => Err(Failure::passing(refusal::of_server(answer, "keeps it").error)),
                _ => Err(refusal::of_server(answer, "keeps it")),
            }
        })
        .at(|| format!("the image {id}"))
    }

    /// An id that no other image has: it has the moment in it.
    fn new_id(&self, image: &Image) -> String {
        let text = format!("{}\n{}\n{}", std::process::id(), self.stores.clock.now().as_nanos(), image.json(""));
        super::uuid(&Sha256::digest(text).into())
    }

    fn begin(&self, id: &str, image: &Image) -> Result<()> {
        let body = image.json(id).to_string();
        let http = self.http()?;
        let mut is_again = false;
        persist(&http.transport.limits, &*http.clock, id, || {
            let was_again = std::mem::replace(&mut is_again, true);
            let answer = self.ask(&Method::POST, "", Some(("application/json", Body::Bytes(body.as_bytes()))))?;
            match answer.status {
                200..=299 => Ok(()),
                // The answer of an earlier try was lost.
                409 if was_again => Ok(()),
                _ => Err(refused(answer, "refuses the image")),
            }
        })
    }

    fn upload(&self, id: &str, file: &Blob, progress: &dyn Progress) -> Result<()> {
        let (http, stage) = (self.http()?, Stage::new(progress, file.len()));
        let mut is_again = false;
        persist(&http.transport.limits, &*http.clock, id, || {
            self.refuse_over()?;
            if std::mem::replace(&mut is_again, true) {
                match status(&self.about(id)?) {
                    "queued" => {}
                    "active" => return Ok(()),
                    // It has not heard yet that the connection is gone.
                    status @ "saving" => return Err(Failure::passing(Error::new(Kind::Remote, format!("the image {id} is {status}")))),
                    _ => return Err(self.failed(id).into()),
                }
            }
            let body = Body::Watched(file, &stage);
            let answer = self.ask(&Method::PUT, &format!("/{id}/file"), Some(("application/octet-stream", body)))?;
            match answer.status {
                200..=299 => Ok(()),
                _ => Err(refused(answer, "refuses the file")),
            }
        })?;
        stage.finish();
        Ok(())
    }

    /// What is said of an image that is usable.
    fn active(&self, id: &str) -> Result<Value> {
        let (mut waited, mut next) = (Duration::ZERO, Duration::from_secs(1));
        loop {
            self.refuse_over()?;
            let about = self.about(id)?;
            match status(&about) {
                "active" => return Ok(about),
                "saving" | "importing" | "uploading" if waited < WAIT_MAX => {}
                _ => return Err(self.failed(id)),
            }
            self.stores.clock.wait(next);
            waited += next;
            next = (next * 2).min(LOOK_MAX);
        }
    }

    /// Why an image will not be usable.
    fn failed(&self, id: &str) -> Error {
        let about = self.about(id).unwrap_or_default();
        let tasks = self.asked(&Method::GET, &format!("/{id}/tasks"), None, "says nothing").ok().unwrap_or_default();
        let of_task = tasks["tasks"].as_array().and_then(|tasks| tasks.iter().rev().find_map(|task| task["message"].as_str()));
        let why = of_task.or_else(|| about["message"].as_str()).filter(|why| !why.is_empty());
        let why = why.map(|why| format!(": {}", shown(why, SHOWN))).unwrap_or_default();
        let status = shown(status(&about), SHOWN);
        Error::new(Kind::Remote, format!("the image {id} is {status}, must be active{why}"))
    }

    fn about(&self, id: &str) -> Result<Value> {
        self.asked(&Method::GET, &format!("/{id}"), None, "tells nothing of the image")
    }

    /// What Glance says to a request that can be sent again; `does` is what it does where it refuses.
    fn asked(&self, method: &Method, below: &str, body: Option<(&str, Body<'_>)>, does: &str) -> Result<Value> {
        let http = self.http()?;
        persist(&http.transport.limits, &*http.clock, below, || {
            let mut answer = self.ask(method, below, body)?;
            match answer.status {
                200..=299 => {
                    let bytes = answer.bytes(ANSWER_MAX)?;
                    serde_json::from_slice(&bytes).map_err(|_| remote(&answer.url, "answers with something that is no JSON").into())
                }
                _ => Err(refused(answer, does)),
            }
        })
    }

    /// One request; where the login has ended, with a new one.
    fn ask(&self, method: &Method, below: &str, body: Option<(&str, Body<'_>)>) -> Result<Answer, Failure> {
        let answer = self.once(method, below, body)?;
        if answer.status != 401 || self.endpoint.is_some() {
            return Ok(answer);
        }
        self.stores.openstack.forget();
        self.once(method, below, body)
    }

    fn once(&self, method: &Method, below: &str, body: Option<(&str, Body<'_>)>) -> Result<Answer, Failure> {
        let http = self.http()?;
        // Words for people come as a page where nobody asks for JSON.
        let mut headers = vec![("accept", "application/json".to_owned())];
        let base = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => {
                let session = self.stores.openstack.session(http, &*self.stores.clock)?;
                headers.push(("x-auth-token", session.token.told().to_owned()));
                session.endpoint("image")?
            }
        };
        headers.extend(body.map(|(kind, _)| ("content-type", kind.to_owned())));
        let url = Url { path: format!("{}/v2/images{below}", unversioned(&base.path)), ..base };
        let body = body.map_or(Body::None, |(_, body)| body);
        http.send_signed(&Request { method: method.clone(), url: &url, headers: &headers, authorization: None, body })
    }

    fn refuse_over(&self) -> Result<()> {
        if self.is_over.load(Ordering::Relaxed) { Err(Error::new(Kind::Environment, "was abandoned")) } else { Ok(()) }
    }
}

/// Catalogues name Glance with its version and without.
fn unversioned(path: &str) -> &str {
    let path = path.split('?').next().unwrap_or_default().trim_end_matches('/');
    match path.rsplit_once('/') {
        Some((before, last)) if last.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) => before,
        _ => path,
    }
}

fn status(about: &Value) -> &str {
    about["status"].as_str().unwrap_or("without a status")
}

fn refused(answer: Answer, does: &str) -> Failure {
    let status = answer.status;
    let mut failure = refusal::of_server(answer, does);
    if failure.error.hint_text().is_none() {
        failure.error = match status {
            401 => failure.error.hint("the login has ended or is another cloud's: log in again"),
            403 => failure.error.hint("the login may not do this: public images are for administrators alone in many clouds"),
            413 => failure.error.hint("the project may keep no more: delete images, or ask for a larger quota"),
            _ => failure.error,
        };
    }
    failure
}

/// Refuses an image whose bytes are not those of its file.
fn compare(id: &str, about: &Value, file: &Blob) -> Result<Made> {
    let size = about["size"].as_u64();
    if size != Some(file.len()) {
        let has = size.map_or_else(|| "no size".to_owned(), |size| format!("{size} bytes"));
        return Err(Error::new(Kind::Remote, format!("the image {id} has {has}, must have {} bytes", file.len())));
    }
    let text = |name: &str| about[name].as_str().filter(|text| !text.is_empty());
    let hash = match (text("os_hash_algo"), text("os_hash_value"), text("checksum")) {
        (Some("sha512"), Some(theirs), _) => Some(("sha512", theirs, hash::<Sha512>(file)?)),
        (Some("sha256"), Some(theirs), _) => Some(("sha256", theirs, hash::<Sha256>(file)?)),
        (_, _, Some(theirs)) => Some(("md5", theirs, hash::<Md5>(file)?)),
        _ => None,
    };
    match hash {
        Some((algorithm, theirs, ours)) if !theirs.eq_ignore_ascii_case(&ours) => {
            let theirs = shown(theirs, SHOWN);
            Err(Error::new(
                Kind::Remote,
                format!("the image {id} has other bytes than were sent: their {algorithm} is {theirs}, must be {ours}"),
            ))
        }
        hash => Ok(Made { id: id.to_owned(), size: file.len(), hash: hash.map(|(algorithm, _, ours)| (algorithm.to_owned(), ours)) }),
    }
}

fn hash<D: Digest>(file: &Blob) -> Result<String> {
    let (mut hash, mut reader, mut chunk) = (D::new(), file.reader(), vec![0; 1 << 20]);
    loop {
        match reader.read(&mut chunk)? {
            0 => return Ok(units::hex(&hash.finalize())),
            n => hash.update(&chunk[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        let properties = [("hw_disk_bus", "virtio"), ("min_disk", "1"), ("hw_disk_bus", "scsi")];
        Image {
            name: "app".to_owned(),
            disk_format: "qcow2",
            visibility: "private",
            is_protected: false,
            tags: vec!["a".to_owned()],
            properties: properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        }
    }

    #[test]
    fn an_image_is_said_as_glance_takes_it() {
        let id = super::super::uuid(&[0xff; 32]);
        assert_eq!(id, "ffffffff-ffff-8fff-bfff-ffffffffffff");
        let said = json!({"id": id, "name": "app", "disk_format": "qcow2", "container_format": "bare", "visibility": "private",
            "protected": false, "tags": ["a"], "hw_disk_bus": "scsi", "min_disk": 1});
        image().check().unwrap();
        assert_eq!(image().json(&id), said);
    }

    #[test]
    fn what_glance_would_refuse_is_refused_before() {
        for (name, value) in [("", "x"), ("disk_format", "raw"), ("min_ram", "lots"), (&*"n".repeat(256), "x")] {
            let mut bad = image();
            bad.properties.push((name.to_owned(), value.to_owned()));
            assert_eq!(bad.check().unwrap_err().kind(), Kind::BadInput, "{name}");
        }
        assert!(Image { name: String::new(), ..image() }.check().is_err());
        assert!(Image { tags: vec![String::new()], ..image() }.check().is_err());
    }

    #[test]
    fn an_endpoint_has_its_version_or_not() {
        for (path, base) in [("/", ""), ("/v2", ""), ("/v2.15/", ""), ("/image", "/image"), ("/image/v2/", "/image"), ("/vault", "/vault")]
        {
            assert_eq!(unversioned(path), base, "{path}");
        }
    }

    #[test]
    fn other_bytes_are_no_image() {
        let file = Blob::bytes(*b"abc");
        // Of coreutils.
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let md5 = "900150983cd24fb0d6963f7d28e17f72";
        let about = json!({"size": 3, "os_hash_algo": "sha256", "os_hash_value": sha256, "checksum": md5});
        assert_eq!(compare("i", &about, &file).unwrap().hash.unwrap().1, sha256);
        assert_eq!(compare("i", &json!({"size": 3, "checksum": md5}), &file).unwrap().hash.unwrap().0, "md5");
        assert_eq!(compare("i", &json!({"size": 3}), &file).unwrap().hash, None);
        for bad in [json!({"size": 4, "checksum": md5}), json!({"checksum": md5}), json!({"size": 3, "checksum": "900"})] {
            assert_eq!(compare("i", &bad, &file).unwrap_err().kind(), Kind::Remote, "{bad}");
        }
    }
}
