//! A small registry that lets a test see everything and misbehave.

use crate::{
    faulty::{Asked, Faulty, Stream, reply},
    real::digest,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

/// What a registry has.
#[derive(Debug, Default)]
pub(crate) struct Has {
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    /// By name: a tag or a digest.
    pub(crate) manifests: BTreeMap<String, Vec<u8>>,
    /// What was sent of uploads that are not finished.
    pub(crate) uploads: BTreeMap<usize, Vec<u8>>,
}

/// A registry of one repository, whose locations are relative and have a query that changes with every answer.
pub(crate) struct Small {
    pub(crate) server: Faulty,
    has: Arc<Mutex<Has>>,
}

impl Small {
    /// One that does what `misbehaves` does, and where that gives false, what it should.
    pub(crate) fn start(misbehaves: impl Fn(usize, &Asked, &mut Has, &mut dyn Stream) -> bool + Send + Sync + 'static) -> Self {
        let has: Arc<Mutex<Has>> = Arc::default();
        let theirs = Arc::clone(&has);
        let server = Faulty::start(move |number, asked, stream| {
            let mut has = theirs.lock().unwrap();
            if !misbehaves(number, asked, &mut has, stream) {
                serve(number, asked, &mut has, stream);
            }
        });
        Self { server, has }
    }

    pub(crate) fn has(&self) -> MutexGuard<'_, Has> {
        self.has.lock().unwrap()
    }

    /// The methods that were asked for, in order, of blobs and uploads.
    pub(crate) fn methods(&self) -> Vec<String> {
        self.server.asked().iter().map(|asked| asked.line.split(' ').next().unwrap().to_owned()).collect()
    }
}

/// What a registry should do.
fn serve(number: usize, asked: &Asked, has: &mut Has, stream: &mut dyn Stream) {
    let mut words = asked.line.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let name = path.rsplit('/').next().unwrap().to_owned();
    let location = |upload: usize| format!("Location: {upload}?state={number}\r\n");
    if method == "POST" {
        has.uploads.insert(number, Vec::new());
        return reply(stream, "202 Accepted", &format!("Location: uploads/{number}?state={number}\r\n"), b"");
    }
    if path.contains("/manifests/") {
        has.manifests.insert(name, asked.bytes.clone());
        return reply(stream, "201 Created", &format!("Docker-Content-Digest: {}\r\n", digest(&asked.bytes)), b"");
    }
    if !path.contains("/uploads/") {
        let status = if has.blobs.contains_key(&name) { "200 OK" } else { "404 Not Found" };
        return reply(stream, status, "", b"");
    }
    let upload: usize = name.parse().unwrap();
    let Some(had) = has.uploads.get_mut(&upload) else { return reply(stream, "404 Not Found", "", b"") };
    // Whoever comes with an old location is not understood.
    let state = query.split('&').find_map(|field| field.strip_prefix("state=")).unwrap();
    assert!(state.parse::<usize>().unwrap() < number);
    match method {
        "GET" => {
            let last = had.len().saturating_sub(1);
            reply(stream, "204 No Content", &format!("{}Range: 0-{last}\r\n", location(upload)), b"");
        }
        "PATCH" => {
            if asked.is_cut {
                return had.extend_from_slice(&asked.bytes);
            }
            let range = format!("{}-{}", had.len(), had.len() + asked.bytes.len() - 1);
            if asked.header("content-range") != Some(&range) {
                return reply(stream, "416 Range Not Satisfiable", "", b"");
            }
            had.extend_from_slice(&asked.bytes);
            let last = had.len() - 1;
            reply(stream, "202 Accepted", &format!("{}Range: 0-{last}\r\n", location(upload)), b"");
        }
        "PUT" => {
            had.extend_from_slice(&asked.bytes);
            let whole = has.uploads.remove(&upload).unwrap();
            let named = query.split('&').find_map(|field| field.strip_prefix("digest=")).unwrap().replace("%3A", ":");
            if digest(&whole) != named {
                return reply(stream, "400 Bad Request", "", br#"{"errors": [{"code": "DIGEST_INVALID"}]}"#);
            }
            has.blobs.insert(named, whole);
            reply(stream, "201 Created", "", b"");
        }
        "DELETE" => {
            has.uploads.remove(&upload);
            reply(stream, "204 No Content", "", b"");
        }
        _ => reply(stream, "405 Method Not Allowed", "", b""),
    }
}
