//! Registries: manifests and blobs, by the OCI distribution specification 1.1 and Docker's Registry HTTP API V2.
//!
//! A client moves bytes and speaks the protocol. What the bytes mean, where they are kept and how layers are put together is the
//! caller's; so are digests of blobs, which nobody knows before the last byte. A manifest that was asked for by its digest has it.
//!
//! Plain HTTP is spoken to `localhost` and loopback addresses, unless there is a certificate of an authority for them, and to mirrors
//! that are named so; TLS to everybody else.

mod auth;
mod blob;
mod challenge;
mod mirror;
mod push;
mod repository;

pub use blob::Sink;
pub use mirror::Mirror;
pub use push::{Arrival, Push};
pub use repository::Repository;

use crate::{
    clock::Clock,
    http::{Answer, Body, Http, Request, Transport, remote},
    proxy::Proxies,
    refusal,
    retry::{Failure, persist},
    secrets::{Variables, registry as secrets},
    text::{SHOWN, shown},
    url::{Url, is_loopback},
};
use auth::Auth;
use formats::{
    At, Error, Kind, Result,
    oci::{Digest, is_tag},
};
use std::{path::PathBuf, sync::Arc};
use ureq::http::Method;

/// The most that a manifest may have, in bytes: what registries take.
pub const MANIFEST_MAX: u64 = 4 << 20;

/// The media types of manifests that are asked for, the best first.
pub const MEDIA_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// How registries are spoken to.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Certificates, proxies, time limits, our name.
    pub transport: Transport,
    /// Who is asked instead of a registry; of several for one registry the last.
    pub mirrors: Vec<Mirror>,
    /// Where credentials are looked for.
    pub credentials: secrets::Sources,
}

impl Settings {
    /// What the environment says: proxies, credentials, the authorities of registries (`certs.d` of Docker and of the containers tools,
    /// the user's before the machine's), and `LINUXKIT_MIRROR`, a list with commas or spaces.
    ///
    /// # Errors
    /// When a mirror in it is malformed.
    pub fn from_env(env: Variables<'_>) -> Result<Self> {
        let mut settings = Self { credentials: secrets::Sources::from_env(env), ..Self::default() };
        settings.transport.proxies = Proxies::from_env(env);
        let user = secrets::home_of_containers(env).map(|dir| dir.join("certs.d"));
        let machine = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
        settings.transport.roots.directories = user.into_iter().chain(machine).collect();
        let mirrors = env("LINUXKIT_MIRROR").map(|list| list.to_string_lossy().into_owned()).unwrap_or_default();
        let mirrors = mirrors.split([',', ' ']).filter(|entry| !entry.is_empty()).map(Mirror::parse);
        settings.mirrors = mirrors.collect::<Result<_>>().at(|| "LINUXKIT_MIRROR")?;
        Ok(settings)
    }
}

/// A manifest or an index as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its bytes, which the digest is over.
    pub bytes: Vec<u8>,
    /// What the registry says that it is, without parameters; empty when it says nothing.
    pub media_type: String,
    /// `sha256:HEX`, or the digest that was asked for; computed, whatever the registry says.
    pub digest: String,
}

/// Speaks to registries. It may be used from several threads; connections, tokens and what was found out are shared.
#[derive(Debug)]
pub struct Client {
    http: Http,
    mirrors: Vec<Mirror>,
    auth: Auth,
}

/// Where a repository is really asked for.
#[derive(Debug)]
struct Place {
    /// Scheme, host and port.
    base: Url,
    /// The registry for which credentials are looked up.
    registry: String,
    path: String,
    intent: Intent,
}

/// What is done in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intent {
    Pull,
    Push,
}

impl Place {
    fn url(&self, below: &str) -> Url {
        Url { path: format!("/v2/{}/{below}", self.path), ..self.base.clone() }
    }

    /// What we want to do, as token servers call it.
    fn scope(&self) -> String {
        let actions = if self.intent == Intent::Push { "pull,push" } else { "pull" };
        format!("repository:{}:{actions}", self.path)
    }
}

impl Client {
    /// A client; nothing is connected yet.
    ///
    /// # Errors
    /// When the file of `--ca` cannot be read or holds no certificate.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self> {
        let Settings { transport, mirrors, credentials } = settings;
        if let Some(file) = &transport.roots.ca {
            std::fs::metadata(file).at(|| file.display())?;
        }
        Ok(Self { http: Http::new(transport, clock), mirrors, auth: Auth::new(credentials) })
    }

    /// The manifest or the index of a tag or of a digest (`sha256:HEX`). The bytes of a digest are verified.
    ///
    /// # Errors
    /// Remote: the registry refuses, fails or is not reached, or sends another one or more than [`MANIFEST_MAX`].
    /// Bad input: the registry knows no such manifest, `what` is neither a tag nor a digest, or credentials cannot be read.
    pub fn manifest(&self, repository: &Repository, what: &str) -> Result<Manifest> {
        let separator = if what.contains(':') { '@' } else { ':' };
        let place = || format!("{repository}{separator}{}", shown(what, SHOWN));
        match self.manifest_or_none(repository, what).at(place)? {
            Ok(manifest) => Ok(manifest),
            // Whoever asked for it has the name wrong, or another must push it: trying again does not help.
            Err(refusal) => Err(refusal.of_kind(Kind::BadInput).at(place())),
        }
    }

    /// The manifest or the index of a tag, if there is one.
    ///
    /// # Errors
    /// As [`Client::manifest`], but for its absence.
    pub fn tagged(&self, repository: &Repository, tag: &str) -> Result<Option<Manifest>> {
        let found = self.manifest_or_none(repository, tag).at(|| format!("{repository}:{}", shown(tag, SHOWN)))?;
        Ok(found.ok())
    }

    /// What refers to a manifest, as signatures do: an index of the referrers API, or where the registry has none, of the tag that
    /// stands for it (`sha256-HEX`). None: nothing does. Only the first page of a long list.
    ///
    /// # Errors
    /// As [`Client::manifest`].
    pub fn referrers(&self, repository: &Repository, digest: &str) -> Result<Option<Manifest>> {
        let place = || format!("{repository}@{}: referrers", shown(digest, SHOWN));
        let digest: Digest = digest.parse().at(place)?;
        let tag = format!("{}-{}", digest.algorithm(), digest.hex());
        let place_of = self.place(repository).at(place)?;
        let found = self.fetch(&place_of, &format!("referrers/{digest}"), None).at(place)?;
        let found = match found {
            Err(_) => self.manifest_or_none(repository, &tag).at(place)?,
            found => found,
        };
        Ok(found.ok())
    }

    /// Whether a registry has a blob.
    ///
    /// # Errors
    /// As [`Client::manifest`].
    pub fn has_blob(&self, repository: &Repository, digest: &str) -> Result<bool> {
        let has = || -> Result<bool> {
            let digest: Digest = digest.parse()?;
            let place = self.place(repository)?;
            let below = format!("blobs/{digest}");
            persist(&self.http.transport.limits, &*self.http.clock, &below, || {
                let answer = self.ask(&place, Method::HEAD, &below, &[])?;
                match answer.status {
                    200 => Ok(true),
                    404 => Ok(false),
                    _ => Err(self.refused(&place, answer)),
                }
            })
        };
        has().at(|| format!("{repository}@{}", shown(digest, SHOWN)))
    }

    /// The manifest, or what the registry says when it has none.
    fn manifest_or_none(&self, repository: &Repository, what: &str) -> Result<Result<Manifest>> {
        let digest: Option<Digest> = what.contains(':').then(|| what.parse()).transpose()?;
        if digest.is_none() && !is_tag(what) {
            return Err(Error::bad_input("is neither a tag nor a digest (sha256: and 64 hexadecimal digits)"));
        }
        self.fetch(&self.place(repository)?, &format!("manifests/{what}"), digest.as_ref())
    }

    /// Manifests and what looks like them; within, what the registry says when there is none.
    fn fetch(&self, place: &Place, below: &str, digest: Option<&Digest>) -> Result<Result<Manifest>> {
        let accept = [("Accept", MEDIA_TYPES.join(", "))];
        persist(&self.http.transport.limits, &*self.http.clock, below, || {
            let mut answer = self.ask(place, Method::GET, below, &accept)?;
            if answer.status == 404 {
                return Ok(Err(self.refused(place, answer).error));
            }
            if answer.status != 200 {
                return Err(self.refused(place, answer));
            }
            let bytes = answer.bytes(MANIFEST_MAX)?;
            let claimed = answer.header("docker-content-digest").and_then(|claimed| claimed.parse::<Digest>().ok());
            for wanted in digest.into_iter().chain(&claimed) {
                let found = wanted.alike(&bytes);
                if found != *wanted {
                    return Err(Failure::from(remote(&answer.url, format!("sends another manifest: {found}, not {wanted}"))));
                }
            }
            let digest = digest.cloned().unwrap_or_else(|| Digest::sha256(&bytes)).to_string();
            let media_type = answer.header("content-type").and_then(|value| value.split(';').next()).unwrap_or_default().trim();
            Ok(Ok(Manifest { media_type: media_type.to_ascii_lowercase(), digest, bytes }))
        })
    }

    /// One request without a body, logged in as the registry wants it.
    fn ask(&self, place: &Place, method: Method, below: &str, headers: &[(&'static str, String)]) -> Result<Answer, Failure> {
        self.ask_at(place, &method, &place.url(below), headers, Body::None)
    }

    /// One request to a URL that the registry named, logged in as the registry wants it.
    fn ask_at(
        &self,
        place: &Place,
        method: &Method,
        url: &Url,
        headers: &[(&'static str, String)],
        body: Body<'_>,
    ) -> Result<Answer, Failure> {
        let send = |authorization: Option<&str>| self.http.send(&Request { method: method.clone(), url, headers, authorization, body });
        // Who is not the registry gets no credentials of it.
        let is_registry = |url: &Url| url.is_beside(&place.base);
        let known = if is_registry(url) { self.auth.known(place, &*self.http.clock) } else { None };
        let answer = send(known.as_ref().map(|login| login.header.told()))?;
        if answer.status != 401 || !is_registry(&answer.url) {
            return Ok(answer);
        }
        match self.auth.log_in(&self.http, place, &answer, known.is_some())? {
            Some(login) => send(Some(login.header.told())),
            None => Ok(answer),
        }
    }

    /// Where a repository is asked for: at the registry, or at the mirror that stands for it.
    fn place(&self, repository: &Repository) -> Result<Place> {
        let registry = repository.registry();
        // One that is named for the registry before one for all; of those that are alike the last.
        let named = self.mirrors.iter().rfind(|mirror| mirror.of.as_deref() == Some(registry));
        if let Some(mirror) = named.or_else(|| self.mirrors.iter().rfind(|mirror| mirror.of.is_none())) {
            let prefix = mirror.url.path.trim_matches('/');
            let path = if prefix.is_empty() { repository.path().to_owned() } else { format!("{prefix}/{}", repository.path()) };
            return Ok(Place { base: mirror.url.clone(), registry: mirror.url.authority(), path, intent: Intent::Pull });
        }
        self.own_place(repository, Intent::Pull)
    }

    /// A repository at its registry itself.
    fn own_place(&self, repository: &Repository, intent: Intent) -> Result<Place> {
        let host = repository.host();
        let mut base = Url::parse(&format!("https://{host}/"))?;
        // A certificate for it says that it speaks TLS.
        if is_loopback(&base.host) && self.http.transport.roots.of_host(&base.authority())?.is_empty() {
            base = Url::parse(&format!("http://{host}/"))?;
        }
        Ok(Place { base, registry: repository.registry().to_owned(), path: repository.path().to_owned(), intent })
    }

    /// An answer that is not what was asked for, and what the user can do.
    fn refused(&self, place: &Place, answer: Answer) -> Failure {
        let status = answer.status;
        // A store that a registry sends us on to has no users.
        let is_registry = answer.url.is_beside(&place.base);
        let mut failure = refusal::of_server(answer, if is_registry { "refuses" } else { "refuses what the registry sent us there for" });
        let or = if place.intent == Intent::Push { "who has them may not push there" } else { "there is no such repository" };
        let hint = match status {
            401 | 403 if is_registry => Some(format!("{}; or {or}", self.auth.hint(place))),
            404 if is_registry => Some("look at the name and the tag".to_owned()),
            429 if is_registry => Some(format!("who is logged in may ask more often: {}", self.auth.hint(place))),
            _ => None,
        };
        if let Some(hint) = hint {
            failure.error = failure.error.hint(hint);
        }
        failure
    }
}
