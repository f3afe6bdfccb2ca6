//! Google's Cloud Storage, as `gcp-storage-emulator` has it: it asks nobody who he is. What it keeps is read by a plain request.

use super::{
    between::{Between, Fate},
    noise, stores,
};
use crate::{clouds::storage, docker_registry::Running};
use formats::{Blob, Error, Kind, Silent};
use net::{Object, Stores, document, store::Wishes};
use std::sync::{Arc, OnceLock};

pub(super) fn emulator() -> u16 {
    static RUNS: OnceLock<(Running, u16)> = OnceLock::new();
    RUNS.get_or_init(storage).1
}

fn reached(port: u16) -> Arc<Stores> {
    stores(&[("STORAGE_EMULATOR_HOST", &format!("http://127.0.0.1:{port}"))], 0).0
}

fn object(stores: &Arc<Stores>, name: &str) -> Object {
    stores.at(&format!("gs://images/{name}"), Wishes::default()).unwrap().unwrap()
}

fn put(object: &Object, file: &Blob) -> Result<(), Error> {
    object.send(file, None, &Silent).and_then(|()| object.commit(&Silent)).inspect_err(|_| object.abandon().unwrap())
}

/// What is kept under a name.
pub(super) fn kept(name: &str) -> Option<Vec<u8>> {
    let url = format!("http://127.0.0.1:{}/download/storage/v1/b/images/o/{name}?alt=media", emulator());
    document(&url, 1 << 30, net::Transport::default(), Arc::new(net::clock::Machine)).ok()
}

fn bytes(file: &Blob) -> Vec<u8> {
    file.to_vec(1 << 30).unwrap()
}

#[test]
fn a_file_is_there_when_it_is_committed() {
    for (name, file) in
        [("three.img", noise(40 << 20, 1)), ("one.img", noise(1000, 2)), ("even.img", noise(32 << 20, 3)), ("none.img", Blob::default())]
    {
        let there = object(&reached(emulator()), name);
        there.send(&file, None, &Silent).unwrap();
        assert!(kept(name).is_none());
        there.commit(&Silent).unwrap();
        assert!(kept(name).unwrap() == bytes(&file), "{name}");
    }
}

/// Of what a file was made says who finished it: a session that was left is nobody's.
#[test]
fn a_key_is_that_of_the_file() {
    let (file, at) = (noise(20 << 20, 5), || object(&reached(emulator()), "keys.img"));
    at().send(&file, Some("one"), &Silent).unwrap();
    let there = at();
    there.send(&file, Some("two"), &Silent).unwrap();
    assert_eq!(there.key().unwrap(), None);
    there.commit(&Silent).unwrap();
    assert_eq!(at().key().unwrap().as_deref(), Some("two"));
}

#[test]
fn what_breaks_goes_on() {
    let file = noise(40 << 20, 4);
    let between = Between::start(emulator(), |number, _| match number {
        2 => Fate::Reset,
        4 => Fate::AnswerLost,
        _ => Fate::Passes,
    });
    let done = put(&object(&reached(between.port), "broken.img"), &file);
    assert!(done.is_ok(), "{done:?} {:?}", between.lines());
    assert!(kept("broken.img").unwrap() == bytes(&file));
}

#[test]
fn failures_have_words() {
    // The emulator says it, too, but resets the connection before anybody can hear of it.
    const NOWHERE: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let nowhere = Between::start(emulator(), |_, _| Fate::Answered(NOWHERE));
    let there = reached(nowhere.port).at("gs://nowhere/x.img", Wishes::default()).unwrap().unwrap();
    let error = put(&there, &noise(100, 1)).unwrap_err();
    assert!(error.kind() == Kind::BadInput && error.hint_text().unwrap().contains("make the bucket"), "{error}");
    // What the store kept is not what was sent.
    const OTHER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 27\r\nConnection: close\r\n\r\n{\"md5Hash\": \"AAAAAAAAAAA=\"}";
    let between = Between::start(emulator(), |_, line| if line.starts_with("PUT") { Fate::Answered(OTHER) } else { Fate::Passes });
    let error = put(&object(&reached(between.port), "other.img"), &noise(100, 1)).unwrap_err();
    assert!(error.kind() == Kind::Remote && error.to_string().contains("has other bytes than were sent"), "{error}");
}
