//! Pushing: blobs first, then manifests by their digests, at the end the one that gets the tag.
//!
//! ```text
//!  HEAD blobs/D ─ 200 ────────────────────────────────────────────► there
//!    └ 404 ─ POST blobs/uploads/[?mount=D&from=R] ─ 201 ──────────► mounted
//!              └ 202, Location ─ PATCH A-B ... ─ PUT ?digest=D ───► sent
//!                     ▲              └ broken off ─┐
//!                     └ GET Location, Range ◄──────┘
//! ```
//! Every answer has another `Location`. A registry that takes no chunks gets the blob whole, with the `PUT`. What is not finished is
//! cancelled (`DELETE`), so that nothing stays at the registry; who sees a tag sees all that it leads to.
//!
//! Docker's registry, whose locations hold how much it has, neither goes on with nor cancels an upload that broke off within a chunk (it
//! forgets it after a week): there a blob begins anew, and who is interrupted lets the chunk end that is on its way.

use super::{Client, Intent, Place, Repository};
use crate::{
    http::{Answer, Body, interrupted, remote},
    retry::{Failure, persist},
    text::{SHOWN, shown},
    url::{Url, encoded},
};
use formats::{
    At, Blob, Error, Progress, Result, Stage,
    oci::{Digest, is_tag},
    units,
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use ureq::http::Method;

/// As much as is sent at a time, in bytes, unless the registry wants more: what who is interrupted waits for.
const CHUNK: u64 = 8 * units::MIB;

/// Blobs up to so many bytes are sent whole: it saves a request, and they come anew as fast as they go on.
const WHOLE_MAX: u64 = units::MIB;

/// What went well for so long before it broke is not counted as an attempt: bytes.
const GOT_ON: u64 = units::MIB;

/// A server that was left in the middle of a chunk may take so long until it noticed.
const NOTICE: Duration = Duration::from_millis(100);

/// How often, after [`NOTICE`] each, those who send are looked after once they were told to end, and once they were made to.
const LOOKS: [usize; 2] = [50, 10];

/// How a blob came to be in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It was there.
    There,
    /// The registry took it out of another repository.
    Mounted,
    /// It was sent.
    Sent,
}

/// What is put into a repository. Several threads may put blobs at once.
pub struct Push {
    client: Arc<Client>,
    repository: Repository,
    place: Place,
    /// Where unfinished uploads are, by digest.
    open: Mutex<BTreeMap<String, Url>>,
    /// Whether nothing new begins.
    is_over: AtomicBool,
}

/// Without the uploads, whose locations may be all that it takes to write there.
impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push").field("repository", &self.repository).finish_non_exhaustive()
    }
}

impl Client {
    /// Puts things into a repository; at its registry itself, for a mirror has only what others put there. Nothing is sent yet.
    ///
    /// # Errors
    /// When the certificates of the registry cannot be read.
    pub fn push(self: &Arc<Self>, repository: &Repository) -> Result<Push> {
        let place = self.own_place(repository, Intent::Push)?;
        Ok(Push { client: Arc::clone(self), repository: repository.clone(), place, open: Mutex::default(), is_over: AtomicBool::default() })
    }
}

impl Push {
    /// Whether the registry is there and lets us in, before much work is done for it. It may still take nothing.
    ///
    /// # Errors
    /// Remote: it is not, or does not. Bad input: credentials cannot be read.
    pub fn greet(&self) -> Result<()> {
        let Client { http, .. } = &*self.client;
        let below = format!("blobs/{}", Digest::sha256(b""));
        persist(&http.transport.limits, &*http.clock, &below, || {
            let answer = self.client.ask(&self.place, Method::HEAD, &below, &[])?;
            if matches!(answer.status, 200 | 404) { Ok(()) } else { Err(self.client.refused(&self.place, answer)) }
        })
        .at(|| &self.repository)
    }

    /// Puts a blob there, which has this digest. `elsewhere` is a repository of the same registry that may have it already. What breaks
    /// off goes on from where the registry has it.
    ///
    /// # Errors
    /// Remote: the registry refuses, fails or is not reached. Bad input: `digest` is none, or credentials cannot be read. And where the
    /// blob cannot be read. The upload is cancelled then.
    pub fn blob(&self, digest: &str, blob: &Blob, elsewhere: Option<&Repository>, progress: &dyn Progress) -> Result<Arrival> {
        let place = || format!("{}@{}", self.repository, shown(digest, SHOWN));
        let digest: Digest = digest.parse().at(place)?;
        let stage = Stage::new(progress, blob.len());
        let mut upload = Upload { push: self, digest, blob, at: 0, chunk: CHUNK, is_whole: blob.len() <= WHOLE_MAX, elsewhere };
        // Where it is, and how far it ever was: who begins anew each time gets nowhere.
        let mut furthest = 0;
        let below = format!("blobs/{}", upload.digest);
        let arrival = persist(&self.client.http.transport.limits, &*self.client.http.clock, &below, || {
            let before = furthest;
            upload
                .go_on(&mut |at| {
                    stage.advance(at.saturating_sub(furthest));
                    furthest = furthest.max(at);
                })
                .map_err(|mut failure| {
                    failure.got_on = furthest - before >= GOT_ON;
                    failure
                })
        });
        if arrival.is_err() {
            upload.cancel();
        }
        stage.finish();
        arrival.at(place)
    }

    /// Puts a manifest or an index there under its digest, which it gives back. All that it leads to must be there.
    ///
    /// # Errors
    /// Remote: the registry refuses, fails or is not reached. Bad input: credentials cannot be read.
    pub fn manifest(&self, media_type: &str, bytes: &[u8]) -> Result<String> {
        let digest = Digest::sha256(bytes).to_string();
        self.put(&digest, media_type, bytes).at(|| format!("{}@{digest}", self.repository))?;
        Ok(digest)
    }

    /// Gives a manifest or an index a tag: the last step, and the first that others see.
    ///
    /// # Errors
    /// As [`Push::manifest`], and where `tag` is none.
    pub fn tag(&self, tag: &str, media_type: &str, bytes: &[u8]) -> Result<()> {
        let place = || format!("{}:{}", self.repository, shown(tag, SHOWN));
        if !is_tag(tag) {
            return Err(Error::bad_input("it is no tag").at(place()));
        }
        self.put(tag, media_type, bytes).at(place)
    }

    /// Lets those who send come to the end of their chunks, and cancels what they began: for another thread, when the user wants no
    /// more. Nothing is put there any more. It takes some seconds at most.
    pub fn abandon(&self) {
        let http = &self.client.http;
        self.is_over.store(true, Ordering::Relaxed);
        for looks in LOOKS {
            for _ in 0..looks {
                if self.open().is_empty() {
                    return;
                }
                http.clock.wait(NOTICE);
            }
            http.stop();
        }
        let left: Vec<Url> = self.open().values().cloned().collect();
        left.iter().for_each(|location| self.delete(location));
    }

    fn refuse_abandoned(&self) -> Result<()> {
        if self.is_over.load(Ordering::Relaxed) { Err(interrupted()) } else { Ok(()) }
    }

    fn put(&self, name: &str, media_type: &str, bytes: &[u8]) -> Result<()> {
        let url = self.place.url(&format!("manifests/{name}"));
        let headers = [("Content-Type", media_type.to_owned())];
        let http = &self.client.http;
        persist(&http.transport.limits, &*http.clock, &url.path, || {
            self.refuse_abandoned()?;
            let answer = self.client.ask_at(&self.place, &Method::PUT, &url, &headers, Body::Bytes(bytes))?;
            if !matches!(answer.status, 200..=204) {
                return Err(self.client.refused(&self.place, answer));
            }
            let claimed = answer.header("docker-content-digest").and_then(|claimed| claimed.parse::<Digest>().ok());
            match claimed.map(|claimed| (claimed.alike(bytes), claimed)) {
                Some((found, claimed)) if found != claimed => {
                    Err(remote(&answer.url, format!("took another manifest: {claimed}, not {found}")).into())
                }
                _ => Ok(()),
            }
        })
    }

    /// Where uploads are under way.
    fn open(&self) -> MutexGuard<'_, BTreeMap<String, Url>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels an upload, where the registry still has it and lets us.
    fn delete(&self, location: &Url) {
        // A registry forgets by itself what is not finished, and the user hears of what kept it from being finished.
        let _: Result<Answer, Failure> = self.client.ask_at(&self.place, &Method::DELETE, location, &[], Body::None);
    }
}

/// A blob on its way.
struct Upload<'a> {
    push: &'a Push,
    digest: Digest,
    blob: &'a Blob,
    /// How much of it the registry has.
    at: u64,
    /// How much is sent at a time.
    chunk: u64,
    /// Whether it is sent with the last request.
    is_whole: bool,
    /// Where it may be taken from; asked once.
    elsewhere: Option<&'a Repository>,
}

impl Upload<'_> {
    /// One attempt, which tells how far it comes.
    fn go_on(&mut self, tell: &mut dyn FnMut(u64)) -> Result<Arrival, Failure> {
        self.push.refuse_abandoned()?;
        if self.is_going_on()? {
            tell(self.at);
        } else {
            if self.is_there()? {
                return Ok(Arrival::There);
            }
            if self.begin()? {
                return Ok(Arrival::Mounted);
            }
        }
        while !self.is_whole && self.at < self.blob.len() {
            self.push.refuse_abandoned()?;
            if self.chunk()? {
                tell(self.at);
            } else {
                self.is_whole = true;
                self.cancel();
                self.begin()?;
            }
        }
        self.push.refuse_abandoned()?;
        self.finish()?;
        tell(self.blob.len());
        Ok(Arrival::Sent)
    }

    /// Whether an earlier attempt can be gone on with, from where the registry has it.
    fn is_going_on(&mut self) -> Result<bool, Failure> {
        let Some(location) = self.location() else { return Ok(false) };
        if self.is_whole {
            self.cancel();
            return Ok(false);
        }
        let answer = self.ask(&Method::GET, &location, &[], Body::None)?;
        match (answer.status, range_of(&answer)) {
            (200..=204, Some(at)) if at <= self.blob.len() => {
                self.at = at;
                // It may be told here, too.
                self.moves_on(&answer, false)?;
                Ok(true)
            }
            (401 | 403 | 429 | 500.., _) => Err(self.push.client.refused(&self.push.place, answer)),
            (404, _) => {
                self.push.open().remove(self.digest.as_str());
                Ok(false)
            }
            _ => {
                self.cancel();
                Ok(false)
            }
        }
    }

    fn is_there(&self) -> Result<bool, Failure> {
        let Push { client, place, .. } = self.push;
        let answer = client.ask(place, Method::HEAD, &format!("blobs/{}", self.digest), &[])?;
        match answer.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(client.refused(place, answer)),
        }
    }

    /// Begins an upload, or has the blob mounted: then it says so.
    fn begin(&mut self) -> Result<bool, Failure> {
        self.at = 0;
        let digest = encoded(self.digest.as_str());
        let query = self.elsewhere.take().map(|from| format!("?mount={digest}&from={}", encoded(from.path())));
        let mut answer = self.post(query.as_deref().unwrap_or_default())?;
        // Who may not read there sends it.
        if query.is_some() && matches!(answer.status, 400..=404) {
            answer = self.post("")?;
        }
        match answer.status {
            201 if query.is_some() => Ok(true),
            202 => {
                self.moves_on(&answer, true)?;
                let least = answer.header("oci-chunk-min-length").and_then(|least| least.trim().parse().ok());
                self.chunk = CHUNK.max(least.unwrap_or_default());
                Ok(false)
            }
            _ => Err(self.push.client.refused(&self.push.place, answer)),
        }
    }

    fn post(&self, query: &str) -> Result<Answer, Failure> {
        // With a length of 0, which some servers want to hear.
        self.ask(&Method::POST, &self.push.place.url(&format!("blobs/uploads/{query}")), &[], Body::Bytes(b""))
    }

    /// Sends the next chunk; false where the registry takes none.
    fn chunk(&mut self) -> Result<bool, Failure> {
        let Some(location) = self.location() else { return Err(remote(&self.push.place.base, "has no upload").into()) };
        let end = self.blob.len().min(self.at.saturating_add(self.chunk));
        let headers = [("Content-Type", "application/octet-stream".to_owned()), ("Content-Range", format!("{}-{}", self.at, end - 1))];
        let answer = self.ask(&Method::PATCH, &location, &headers, Body::Blob(&self.blob.slice(self.at..end)))?;
        match answer.status {
            200..=204 => {
                self.moves_on(&answer, false)?;
                let has = range_of(&answer).unwrap_or(end);
                // A few bytes at a time would go on for ever.
                if has > end || has < end.min(self.at.saturating_add(GOT_ON)) {
                    let what = format!("says that it has {has} bytes, of a chunk from {} to {end}", self.at);
                    return Err(Failure::passing(remote(&answer.url, what)));
                }
                self.at = has;
                Ok(true)
            }
            400 | 404 | 405 | 411 | 413 | 415 | 501 if self.at == 0 => Ok(false),
            // It has another part than we thought, or has lost it: the next attempt asks.
            404 | 416 => Err(Failure::passing(self.push.client.refused(&self.push.place, answer).error)),
            _ => Err(self.push.client.refused(&self.push.place, answer)),
        }
    }

    /// Names what was sent.
    fn finish(&mut self) -> Result<(), Failure> {
        let Some(location) = self.location() else { return Err(remote(&self.push.place.base, "has no upload").into()) };
        let joint = if location.path.contains('?') { '&' } else { '?' };
        let url = Url { path: format!("{}{joint}digest={}", location.path, encoded(self.digest.as_str())), ..location };
        let headers = [("Content-Type", "application/octet-stream".to_owned())];
        let body = if self.is_whole { Body::Blob(self.blob) } else { Body::Bytes(b"") };
        let answer = self.ask(&Method::PUT, &url, &headers, body)?;
        match answer.status {
            200..=204 => {
                self.push.open().remove(self.digest.as_str());
                Ok(())
            }
            404 | 416 => Err(Failure::passing(self.push.client.refused(&self.push.place, answer).error)),
            _ => Err(self.push.client.refused(&self.push.place, answer)),
        }
    }

    fn ask(&self, method: &Method, url: &Url, headers: &[(&'static str, String)], body: Body<'_>) -> Result<Answer, Failure> {
        self.push.client.ask_at(&self.push.place, method, url, headers, body)
    }

    /// Where the next request goes.
    fn location(&self) -> Option<Url> {
        self.push.open().get(self.digest.as_str()).cloned()
    }

    /// Takes the location of an answer.
    fn moves_on(&self, answer: &Answer, must: bool) -> Result<()> {
        let Some(location) = answer.header("location") else {
            return if must { Err(remote(&answer.url, "begins an upload and does not say where")) } else { Ok(()) };
        };
        let base = &self.push.place.base;
        let mut next =
            answer.url.join(location).map_err(|error| remote(&answer.url, "sends an upload where nobody can go").because(error))?;
        // Behind a proxy that speaks TLS for them, registries take themselves for plain ones.
        if base.secure && !next.secure && next.host == base.host {
            next = Url { path: next.path, ..base.clone() };
        }
        if base.secure && !next.secure {
            return Err(remote(&answer.url, format!("sends an upload from https to {next}, where anyone could change it: refused")));
        }
        self.push.open().insert(self.digest.to_string(), next);
        Ok(())
    }

    /// Cancels what was begun.
    fn cancel(&mut self) {
        self.at = 0;
        if let Some(location) = self.location() {
            // What is broken off is written down by the server when it notices, also where it was deleted before.
            self.push.client.http.clock.wait(NOTICE);
            self.push.delete(&location);
            self.push.open().remove(self.digest.as_str());
        }
    }
}

fn range_of(answer: &Answer) -> Option<u64> {
    has_until(answer.header("range")?)
}

/// How many bytes a registry says that it has: `0-LAST`. Docker's says `0-0` of nothing, too.
fn has_until(range: &str) -> Option<u64> {
    let range = range.trim();
    let range = range.strip_prefix("bytes").map_or(range, |rest| rest.trim_start_matches(['=', ' ']));
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let has = if last == 0 { 0 } else { last.checked_add(1)? };
    (first == 0).then_some(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_has_begins_at_nothing() {
        assert_eq!(["0-0", "0-9", " bytes=0-9 ", "bytes 0-1"].map(has_until), [Some(0), Some(10), Some(10), Some(2)]);
        assert_eq!(["", "0", "5-9", "0-18446744073709551615", "-1-2", "a-b"].map(has_until), [None; 6]);
    }
}
