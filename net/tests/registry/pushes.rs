//! What is pushed arrives, however often it breaks, and nothing stays behind of what does not.

use crate::{
    faulty::{Faulty, reply},
    logins::{token_server, with_password},
    real::{Authority, Door, Impatient, OCI, Registry, blob, client, digest, noise, scratch, settings},
    small::Small,
    wire::Wire,
};
use formats::{Blob, Error, Kind, Progress, Silent, blob::Backing};
use net::{Arrival, Client, Limits, Repository, Settings};
use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// A blob of several chunks.
const MANY: usize = 40 << 20;

fn shared(settings: Settings) -> Arc<Client> {
    Arc::new(client(settings))
}

/// One that waits as long as it says: until a registry noticed that a request was broken off.
fn patient() -> Arc<Client> {
    Arc::new(Client::new(settings(), Arc::new(net::clock::Machine)).unwrap())
}

/// Pushes an image of one layer under `v1`; its manifest.
fn push(client: &Arc<Client>, to: &Repository, layer: &[u8]) -> formats::Result<Vec<u8>> {
    let push = client.push(to)?;
    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    push.blob(&digest(config), &Blob::bytes(*config), None, &Silent)?;
    push.blob(&digest(layer), &Blob::bytes(layer), None, &Silent)?;
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},
        "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":{}}}]}}"#,
        digest(config),
        config.len(),
        digest(layer),
        layer.len()
    );
    assert_eq!(push.manifest(OCI, manifest.as_bytes())?, digest(manifest.as_bytes()));
    push.tag("v1", OCI, manifest.as_bytes())?;
    Ok(manifest.into_bytes())
}

/// Fails unless everything comes back as it was pushed, and no upload is open in the store of a registry.
fn arrives(client: &Arc<Client>, to: &Repository, store: &Path) {
    let layer = noise(MANY);
    let manifest = push(client, to, &layer).unwrap();
    let found = client.manifest(to, "v1").unwrap();
    assert_eq!((found.bytes, found.media_type.as_str()), (manifest, OCI));
    assert!(blob(client, to, &layer).unwrap() == layer, "the layer is another");
    no_upload_is_open(store);
}

fn no_upload_is_open(store: &Path) {
    let dir = store.join("root/docker/registry/v2/repositories/a/_uploads");
    // Of one that is cancelled it writes down once more what it had hashed, and knows it no longer.
    let is_open = |upload: &std::path::PathBuf| upload.join("startedat").exists() || upload.join("data").exists();
    let uploads = fs::read_dir(&dir).map(|entries| entries.map(|entry| entry.unwrap().path()).filter(is_open).collect());
    let open: Vec<_> = uploads.unwrap_or_default();
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn an_open_registry_takes_it_and_has_it_then() {
    let dir = scratch();
    let registry = Registry::start(dir.path(), &Door::Open, None);
    let (client, to) = (shared(settings()), registry.repository("a"));
    arrives(&client, &to, dir.path());
    let layer = noise(MANY);
    let again = client.push(&to).unwrap();
    assert_eq!(again.blob(&digest(&layer), &Blob::bytes(layer.clone()), None, &Silent).unwrap(), Arrival::There);
    // And so has a repository beside it, without another byte.
    let beside = client.push(&registry.repository("b/c")).unwrap();
    let counted = Counted::default();
    assert_eq!(beside.blob(&digest(&layer), &Blob::bytes(layer), Some(&to), &counted).unwrap(), Arrival::Mounted);
    let unknown = Blob::bytes(*b"of nobody");
    assert_eq!(beside.blob(&digest(b"of nobody"), &unknown, Some(&to), &Silent).unwrap(), Arrival::Sent);
    assert_eq!(beside.blob(&digest(b""), &Blob::default(), None, &Silent).unwrap(), Arrival::Sent);
}

#[test]
fn a_registry_with_passwords_takes_it() {
    let dir = scratch();
    let registry = Registry::start(dir.path(), &Door::Basic("geheim"), None);
    let (host, to) = (registry.host(), registry.repository("a"));
    arrives(&shared(with_password(dir.path(), &host, "geheim")), &to, dir.path());
    shared(with_password(dir.path(), &host, "geheim")).push(&to).unwrap().greet().unwrap();
    let wrong = shared(with_password(dir.path(), &host, "wrong-one"));
    assert!(wrong.push(&to).unwrap().greet().unwrap_err().to_string().contains("401 Unauthorized"));
    let error = push(&wrong, &to, b"x").unwrap_err();
    assert!(error.kind() == Kind::Remote && error.hint_text().unwrap().contains("or who has them may not push there"), "{error}");
}

#[test]
fn a_registry_with_tokens_takes_it_by_one_token() {
    let dir = scratch();
    let (tokens, certificate) = token_server(dir.path(), 300);
    let realm = format!("http://{}/token", tokens.host());
    let registry = Registry::start(dir.path(), &Door::Token { realm: &realm, signer: &certificate }, None);
    let to = registry.repository("a");
    let client = shared(with_password(dir.path(), &registry.host(), "geheim"));
    push(&client, &to, &noise(MANY)).unwrap();
    let asked = tokens.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].line.ends_with("scope=repository%3Aa%3Apull%2Cpush HTTP/1.1"), "{}", asked[0].line);
    // Cancelling wants more.
    let push = client.push(&to).unwrap();
    let error = push.blob(&digest(b"another"), &Blob::bytes(noise(2 << 20)), None, &Silent).unwrap_err();
    assert!(error.to_string().contains("DIGEST_INVALID"), "{error}");
    assert!(tokens.asked()[1].line.ends_with("scope=repository%3Aa%3Apull%2Cpush%2Cdelete HTTP/1.1"));
    no_upload_is_open(dir.path());
}

#[test]
fn a_registry_with_tls_takes_it() {
    let dir = scratch();
    let authority = Authority::new(dir.path());
    let certificate = authority.issue("server", "DNS:localhost,IP:127.0.0.1");
    let registry = Registry::start(dir.path(), &Door::Open, Some(&certificate));
    let mut with = settings();
    let own = dir.path().join("certs.d").join(registry.host());
    fs::create_dir_all(&own).unwrap();
    fs::copy(&authority.file, own.join("ca.crt")).unwrap();
    with.transport.roots.directories = vec![dir.path().join("certs.d")];
    arrives(&shared(with), &registry.repository("a"), dir.path());
}

#[derive(Debug, Default)]
struct Counted(AtomicU64, AtomicU64);

impl Progress for Counted {
    fn expect(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn advance(&self, bytes: u64) {
        self.1.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[test]
fn what_breaks_off_goes_on_from_where_the_registry_has_it() {
    let small = Small::start(|_, _, _, _| false);
    // Within chunks, more often than attempts are allowed.
    let wire = Wire::start(small.server.port, 3 << 20, 5, Duration::ZERO);
    let mut with = settings();
    with.transport.limits.attempts = 2;
    let client = Arc::new(Client::new(with, Arc::new(net::clock::Machine)).unwrap());
    let layer = noise(MANY);
    let counted = Counted::default();
    let push = client.push(&at(&wire)).unwrap();
    assert_eq!(push.blob(&digest(&layer), &Blob::bytes(layer.clone()), None, &counted).unwrap(), Arrival::Sent);
    let total = MANY as u64;
    assert_eq!((counted.0.load(Ordering::Relaxed), counted.1.load(Ordering::Relaxed)), (total, total));
    assert!(small.has().blobs[&digest(&layer)] == layer && small.has().uploads.is_empty());
    // Nothing but what was on its way is sent twice.
    assert!(*wire.sent.lock().unwrap() < total + (4 << 20), "{}", wire.sent.lock().unwrap());
    assert_eq!(small.methods().iter().filter(|method| *method == "GET").count(), 5);
}

#[test]
fn what_breaks_off_begins_anew_where_the_registry_knows_no_better() {
    let dir = scratch();
    let registry = Registry::start(dir.path(), &Door::Open, None);
    let wire = Wire::start(registry.port, 13 << 20, 1, Duration::ZERO);
    let layer = noise(MANY);
    let push = patient().push(&at(&wire)).unwrap();
    assert_eq!(push.blob(&digest(&layer), &Blob::bytes(layer.clone()), None, &Silent).unwrap(), Arrival::Sent);
    assert!(blob(&shared(settings()), &registry.repository("a"), &layer).unwrap() == layer, "the blob is another");
}

#[test]
fn who_is_interrupted_leaves_no_upload() {
    let dir = scratch();
    let registry = Registry::start(dir.path(), &Door::Open, None);
    let wire = Wire::start(registry.port, 0, 0, Duration::from_millis(10));
    let push = Arc::new(patient().push(&at(&wire)).unwrap());
    let sending = Arc::clone(&push);
    let layer = noise(MANY);
    let sender = thread::spawn(move || sending.blob(&digest(&layer), &Blob::bytes(layer), None, &Silent));
    while *wire.sent.lock().unwrap() < 1 << 20 {
        thread::sleep(Duration::from_millis(5));
    }
    push.abandon();
    no_upload_is_open(dir.path());
    let error = sender.join().unwrap().unwrap_err();
    assert!(error.to_string().ends_with("it was interrupted"), "{error}");
    assert!(push.tag("v1", OCI, b"{}").is_err() && push.blob(&digest(b"x"), &Blob::bytes(*b"x"), None, &Silent).is_err());
    assert!(*wire.sent.lock().unwrap() < 9 << 20, "more than the chunk that was on its way");
}

#[test]
fn a_chunk_without_an_end_is_broken_off() {
    let small = Small::start(|_, _, _, _| false);
    let wire = Wire::start(small.server.port, 0, 0, Duration::from_millis(100));
    let push = Arc::new(patient().push(&at(&wire)).unwrap());
    let sending = Arc::clone(&push);
    let layer = noise(MANY);
    let sender = thread::spawn(move || sending.blob(&digest(&layer), &Blob::bytes(layer), None, &Silent));
    while *wire.sent.lock().unwrap() < 256 << 10 {
        thread::sleep(Duration::from_millis(5));
    }
    push.abandon();
    assert!(sender.join().unwrap().is_err() && small.has().uploads.is_empty());
    assert!(*wire.sent.lock().unwrap() < 8 << 20);
}

#[test]
fn a_file_that_cannot_be_read_is_not_the_registrys_fault() {
    let small = Small::start(|_, _, _, _| false);
    let file = tempfile::tempfile().unwrap();
    file.set_len(3 << 20).unwrap();
    let short = Blob::file(Backing::from(file), 0, 4 << 20);
    let push = shared(settings()).push(&of(&small)).unwrap();
    let error = push.blob(&digest(b"whatever"), &short, None, &Silent).unwrap_err();
    assert_ne!(error.kind(), Kind::Remote, "{error}");
    assert!(small.has().uploads.is_empty());
}

fn of(small: &Small) -> Repository {
    Repository::new(&small.server.host(), "a").unwrap()
}

/// The repository `a` at the other end of a wire.
fn at(wire: &Wire) -> Repository {
    Repository::new(&format!("127.0.0.1:{}", wire.port), "a").unwrap()
}

/// What becomes of a blob, and what the registry has then.
fn sent(small: &Small, bytes: &[u8]) -> Result<Arrival, Error> {
    shared(settings()).push(&of(small)).unwrap().blob(&digest(bytes), &Blob::bytes(bytes), None, &Silent)
}

#[test]
fn chunks_follow_one_another_to_new_places() {
    let small = Small::start(|_, _, _, _| false);
    let bytes = noise(MANY);
    assert_eq!(sent(&small, &bytes).unwrap(), Arrival::Sent);
    assert_eq!(small.methods(), ["HEAD", "POST", "PATCH", "PATCH", "PATCH", "PATCH", "PATCH", "PUT"]);
    assert!(small.has().blobs[&digest(&bytes)] == bytes && small.has().uploads.is_empty());
}

#[test]
fn a_registry_without_chunks_gets_it_whole() {
    for status in ["405 Method Not Allowed", "404 Not Found", "413 Content Too Large", "501 Not Implemented"] {
        let small = Small::start(move |_, asked, _, stream| {
            let is_chunk = asked.line.starts_with("PATCH");
            if is_chunk {
                reply(stream, status, "", b"");
            }
            is_chunk
        });
        let bytes = noise(3 << 20);
        assert_eq!(sent(&small, &bytes).unwrap(), Arrival::Sent);
        assert_eq!(small.methods(), ["HEAD", "POST", "PATCH", "DELETE", "POST", "PUT"], "{status}");
        assert!(small.has().blobs[&digest(&bytes)] == bytes && small.has().uploads.is_empty());
    }
}

#[test]
fn what_passes_is_waited_for() {
    for (status, headers) in
        [("500 Internal Server Error", ""), ("503 Service Unavailable", "Retry-After: 7\r\n"), ("429 Too Many Requests", "")]
    {
        for method in ["HEAD", "POST", "PATCH", "PUT"] {
            let failed = AtomicU64::new(0);
            let small = Small::start(move |_, asked, _, stream| {
                let fails = asked.line.starts_with(method) && failed.fetch_add(1, Ordering::Relaxed) == 0;
                if fails {
                    reply(stream, status, headers, b"");
                }
                fails
            });
            let bytes = noise(9 << 20);
            let clock = Arc::new(Impatient::default());
            let client = Arc::new(Client::new(settings(), clock.clone()).unwrap());
            client.push(&of(&small)).unwrap().blob(&digest(&bytes), &Blob::bytes(bytes.clone()), None, &Silent).unwrap();
            assert!(small.has().blobs[&digest(&bytes)] == bytes && small.has().uploads.is_empty(), "{status} {method}");
            let waits = clock.0.lock().unwrap().clone();
            assert!(waits.len() == 1 && (headers.is_empty() || waits == [Duration::from_secs(7)]), "{status} {method}: {waits:?}");
        }
    }
}

#[test]
fn an_upload_that_the_registry_lost_begins_anew() {
    let small = Small::start(|number, asked, has, stream| {
        // It forgets all that it had before the third chunk.
        let loses = number == 4 && asked.line.starts_with("PATCH");
        if loses {
            has.uploads.clear();
            reply(stream, "404 Not Found", "", br#"{"errors": [{"code": "BLOB_UPLOAD_UNKNOWN"}]}"#);
        }
        loses
    });
    let bytes = noise(MANY);
    assert_eq!(sent(&small, &bytes).unwrap(), Arrival::Sent);
    let methods = small.methods();
    assert_eq!(methods[4..8], ["PATCH", "GET", "HEAD", "POST"]);
    assert!(small.has().blobs[&digest(&bytes)] == bytes);
}

#[test]
fn an_answer_that_is_lost_is_no_loss() {
    let small = Small::start(|_, asked, has, stream| {
        // It takes the blob, and breaks off before it says so.
        let is_lost = asked.line.starts_with("PUT") && has.blobs.is_empty();
        if is_lost {
            let whole = has.uploads.pop_first().unwrap().1;
            has.blobs.insert(digest(&whole), whole);
            let _ = stream.flush();
        }
        is_lost
    });
    let bytes = noise(20 << 20);
    assert_eq!(sent(&small, &bytes).unwrap(), Arrival::There);
    assert_eq!(small.methods().iter().filter(|method| *method == "PATCH").count(), 3);
}

#[test]
fn a_token_that_ends_on_the_way_is_fetched_again() {
    let tokens = Faulty::start(|number, _, stream| {
        reply(stream, "200 OK", "", format!(r#"{{"token": "t{number}"}}"#).as_bytes());
    });
    let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"s\"\r\n", tokens.host());
    // Each is good for three requests.
    let small = Small::start(move |number, asked, _, stream| {
        let good = format!("Bearer t{}", number / 4);
        let refuses = asked.header("authorization") != Some(&good);
        if refuses {
            reply(stream, "401 Unauthorized", &challenge, b"");
        }
        refuses
    });
    let bytes = noise(MANY);
    assert_eq!(sent(&small, &bytes).unwrap(), Arrival::Sent);
    assert!(small.has().blobs[&digest(&bytes)] == bytes && tokens.asked().len() > 1);
}

#[test]
fn a_refusal_ends_it_and_leaves_nothing() {
    for (method, status, kind) in [
        ("PATCH", "403 Forbidden", Kind::Remote),
        ("PUT", "400 Bad Request", Kind::Remote),
        ("PATCH", "507 Insufficient Storage", Kind::Remote),
    ] {
        let small = Small::start(move |number, asked, _, stream| {
            let refuses = number > 2 && asked.line.starts_with(method);
            if refuses {
                reply(stream, status, "", br#"{"errors": [{"code": "DENIED", "message": "the quota is \u001b[31mfull"}]}"#);
            }
            refuses
        });
        let error = sent(&small, &noise(MANY)).unwrap_err();
        let said = error.to_string();
        assert!(error.kind() == kind && said.contains(status) && said.contains("DENIED: the quota is \\u{1b}[31mfull"), "{said}");
        assert!(small.has().uploads.is_empty() && small.has().blobs.is_empty(), "{:?}", small.methods());
    }
}

#[test]
fn a_registry_that_fails_for_good_is_left() {
    let small = Small::start(|_, asked, _, stream| {
        let fails = asked.line.starts_with("PATCH");
        if fails {
            reply(stream, "502 Bad Gateway", "", b"");
        }
        fails
    });
    let mut with = settings();
    with.transport.limits = Limits { attempts: 4, ..with.transport.limits };
    let bytes = noise(MANY);
    let error = shared(with).push(&of(&small)).unwrap().blob(&digest(&bytes), &Blob::bytes(bytes), None, &Silent).unwrap_err();
    assert!(error.to_string().contains("tried 4 times: ") && error.to_string().contains("502"), "{error}");
    assert!(small.has().uploads.is_empty());
}

#[test]
fn who_is_not_the_registry_sees_no_credentials() {
    let dir = scratch();
    let bytes = noise(1000);
    // By the location of an upload, and by being sent on.
    for is_redirect in [false, true] {
        let store = Faulty::start(|_, _, stream| reply(stream, "201 Created", "", b""));
        let there = format!("http://{}/upload", store.host());
        let registry = Faulty::start(move |_, asked, stream| match asked.line.split(' ').next().unwrap() {
            _ if asked.header("authorization").is_none() => reply(stream, "401 Unauthorized", "WWW-Authenticate: Basic realm=r\r\n", b""),
            "HEAD" => reply(stream, "404 Not Found", "", b""),
            "POST" if is_redirect => reply(stream, "202 Accepted", "Location: /own\r\n", b""),
            "POST" => reply(stream, "202 Accepted", &format!("Location: {there}\r\n"), b""),
            _ => reply(stream, "307 Temporary Redirect", &format!("Location: {there}\r\n"), b""),
        });
        let client = shared(with_password(dir.path(), &registry.host(), "geheim"));
        let push = client.push(&Repository::new(&registry.host(), "a").unwrap()).unwrap();
        assert_eq!(push.blob(&digest(&bytes), &Blob::bytes(bytes.clone()), None, &Silent).unwrap(), Arrival::Sent);
        let asked = store.asked();
        assert!(asked.len() == 1 && asked[0].header("authorization").is_none() && asked[0].bytes == bytes, "{}", asked[0].headers);
    }
}

#[test]
fn a_registry_that_takes_a_byte_at_a_time_is_left() {
    let small = Small::start(|_, asked, has, stream| {
        let crawls = asked.line.starts_with("PATCH");
        if crawls {
            let had = has.uploads.first_entry().unwrap().into_mut();
            had.push(asked.bytes[0]);
            reply(stream, "202 Accepted", &format!("Range: 0-{}\r\n", had.len() - 1), b"");
        }
        crawls
    });
    let error = sent(&small, &noise(3 << 20)).unwrap_err();
    assert!(error.to_string().contains("tried 3 times: "), "{error}");
    assert!(small.methods().len() < 20 && small.has().uploads.is_empty());
}

#[test]
fn an_upload_goes_nowhere_without_tls() {
    let dir = scratch();
    let authority = Authority::new(dir.path());
    let certificate = authority.issue("server", "DNS:localhost,IP:127.0.0.1");
    for (location, goes) in [("http://127.0.0.1:1/upload", true), ("http://elsewhere.test/upload", false), ("ftp://h/", false)] {
        let server = Faulty::with_tls(&certificate, move |_, asked, stream| match asked.line.split(' ').next().unwrap() {
            "HEAD" => reply(stream, "404 Not Found", "", b""),
            "POST" => reply(stream, "202 Accepted", &format!("Location: {location}\r\n"), b""),
            _ => reply(stream, "201 Created", "", b""),
        });
        let mut with = settings();
        with.transport.roots.ca = Some(authority.file.clone());
        let to = Repository::new(&format!("localhost:{}", server.port), "a").unwrap();
        // A registry behind a proxy takes itself for a plain one: of its own host the path counts.
        let location_is_own = location.contains("127.0.0.1");
        let to = if location_is_own { Repository::new(&format!("127.0.0.1:{}", server.port), "a").unwrap() } else { to };
        let own = dir.path().join("certs.d").join(to.registry());
        fs::create_dir_all(&own).unwrap();
        fs::copy(&authority.file, own.join("ca.crt")).unwrap();
        with.transport.roots.directories = vec![dir.path().join("certs.d")];
        let result = shared(with).push(&to).unwrap().blob(&digest(b"x"), &Blob::bytes(*b"x"), None, &Silent);
        assert_eq!(result.is_ok(), goes, "{location}: {result:?}");
    }
}
