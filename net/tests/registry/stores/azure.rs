//! Azure's blobs, as Azurite has them: it verifies SharedKey and ranges. Microsoft's own library tells what it keeps.

use super::{
    between::{Between, Fate},
    noise, stores,
};
use crate::{
    clouds::{ACCOUNT_KEY, ask_blobs, blobs, connection},
    docker_registry::Running,
};
use formats::{Blob, Error, Kind, Silent};
use net::{Object, Stores, store::Wishes};
use std::sync::{Arc, OnceLock};

pub(super) fn azurite() -> u16 {
    static AZURITE_RUNS: OnceLock<(Running, u16)> = OnceLock::new();
    AZURITE_RUNS.get_or_init(blobs).1
}

fn reached_with(port: u16, key: &str) -> Arc<Stores> {
    let string = connection(port, key);
    stores(&[("AZURE_STORAGE_CONNECTION_STRING", &string)], 0).0
}

fn reached(port: u16) -> Arc<Stores> {
    reached_with(port, ACCOUNT_KEY)
}

/// Runs lines of Python with a client `service` of Microsoft's own library.
pub(super) fn ask(lines: &str) -> String {
    ask_blobs(azurite(), lines)
}

pub(super) fn container(name: &str) -> &str {
    ask(&format!("service.create_container('{name}')"));
    name
}

/// What a container has, also of blobs that were begun.
pub(super) fn kept(container: &str) -> String {
    ask(&format!(
        "c = service.get_container_client('{container}')\nfor b in c.list_blobs(include=['uncommittedblobs', 'metadata']):\n  \
         data = c.download_blob(b.name).readall() if c.get_blob_client(b.name).exists() else b''\n  \
         print(b.name, b.blob_type.value, len(data), hashlib.sha256(data).hexdigest(), sorted(b.metadata or {{}}))"
    ))
}

fn listed(name: &str, kind: &str, file: &Blob) -> String {
    format!("{name} {kind} {} {} []", file.len(), formats::units::hex(&file.sha256().unwrap()))
}

fn object(stores: &Arc<Stores>, address: &str) -> Object {
    stores.at(address, Wishes::default()).unwrap().unwrap()
}

fn put(object: &Object, file: &Blob) -> Result<(), Error> {
    object.send(file, None, &Silent).and_then(|()| object.commit(&Silent)).inspect_err(|_| object.abandon().unwrap())
}

/// 20 MiB, zeros among them.
fn file() -> Blob {
    let mut file = noise(9 << 20, 1);
    file.append(&Blob::zeros(50 << 20));
    file.append(&noise(1 << 20, 2));
    file
}

fn puts(between: &Between, what: &str) -> usize {
    between.lines().iter().filter(|line| line.starts_with("PUT") && line.contains(what)).count()
}

#[test]
fn a_file_is_there_when_it_is_committed() {
    let name = container("whole");
    let between = Between::start(azurite(), |_, _| Fate::Passes);
    let there = object(&reached(between.port), &format!("az://{name}/a b/ü%.img"));
    there.send(&file(), None, &Silent).unwrap();
    there.commit(&Silent).unwrap();
    assert_eq!(kept(name), listed("a b/ü%.img", "BlockBlob", &file()));
    // Blocks of zeros are one.
    assert_eq!(puts(&between, "comp=block&"), 4);
    put(&object(&reached(azurite()), &format!("az://{name}/a b/ü%.img")), &Blob::default()).unwrap();
    assert_eq!(kept(name), listed("a b/ü%.img", "BlockBlob", &Blob::default()));
}

#[test]
fn what_is_abandoned_is_gone_and_what_was_killed_goes_on() {
    let name = container("unfinished");
    for file_name in ["x.img", "x.vhd"] {
        let address = format!("az://{name}/{file_name}");
        let there = object(&reached(azurite()), &address);
        there.send(&file(), None, &Silent).unwrap();
        there.abandon().unwrap();
        assert_eq!(kept(name), "", "{file_name}");
        // A killed run leaves what it sent.
        object(&reached(azurite()), &address).send(&file(), None, &Silent).unwrap();
        assert!(kept(name).starts_with(file_name));
        let between = Between::start(azurite(), |_, _| Fate::Passes);
        put(&object(&reached(between.port), &address), &file()).unwrap();
        assert_eq!(puts(&between, "comp=block&") + puts(&between, "comp=page"), 0, "{:?}", between.lines());
        let kind = if file_name == "x.vhd" { "PageBlob" } else { "BlockBlob" };
        assert_eq!(kept(name), listed(file_name, kind, &file()));
        ask(&format!("service.get_container_client('{name}').delete_blob('{file_name}')"));
    }
}

/// Of what a file was made says who finished it, and not who began.
#[test]
fn a_key_is_that_of_the_file() {
    let name = container("keys");
    for file_name in ["x.img", "x.vhd"] {
        let address = format!("az://{name}/{file_name}");
        let at = || object(&reached(azurite()), &address);
        for (key, finishes) in [(Some("one"), false), (Some("two"), true)] {
            let there = at();
            there.send(&file(), key, &Silent).unwrap();
            assert_eq!(there.key().unwrap(), None, "{file_name}");
            if finishes {
                there.commit(&Silent).unwrap();
            }
        }
        assert_eq!(at().key().unwrap().as_deref(), Some("two"), "{file_name}");
        ask(&format!("service.get_container_client('{name}').delete_blob('{file_name}')"));
        // Nor is there a key where who finishes it has none.
        at().send(&file(), Some("one"), &Silent).unwrap();
        put(&at(), &file()).unwrap();
        assert_eq!(at().key().unwrap(), None, "{file_name}");
    }
}

#[test]
fn a_vhd_is_pages_without_zeros() {
    let name = container("pages");
    let between = Between::start(azurite(), |_, _| Fate::Passes);
    let there = object(&reached(between.port), &format!("az://{name}/disk.vhd"));
    there.send(&file(), None, &Silent).unwrap();
    assert!(kept(name).ends_with("['mobyunfinished']"));
    there.commit(&Silent).unwrap();
    assert_eq!(kept(name), listed("disk.vhd", "PageBlob", &file()));
    assert_eq!(puts(&between, "comp=page"), 4);
    let again = put(&object(&reached(azurite()), &format!("az://{name}/disk.vhd")), &file()).unwrap_err();
    assert!(again.kind() == Kind::BadInput && again.to_string().contains("is there already"), "{again}");
    let odd = put(&object(&reached(azurite()), &format!("az://{name}/odd.vhd")), &noise(1000, 1)).unwrap_err();
    assert!(odd.to_string().contains("whole pages of 512 bytes, the file has 1000 bytes"), "{odd}");
    assert_eq!(kept(name), listed("disk.vhd", "PageBlob", &file()));
}

#[test]
fn failures_have_words_and_leave_nothing() {
    let name = container("refused");
    let error = put(&object(&reached(azurite()), "az://nowhere/x"), &file()).unwrap_err();
    assert!(error.kind() == Kind::BadInput && error.hint_text().unwrap().contains("make the container"), "{error}");
    let error =
        put(&object(&reached_with(azurite(), &ACCOUNT_KEY.replace("Eby8", "Eby9")), &format!("az://{name}/x")), &file()).unwrap_err();
    assert!(error.kind() == Kind::Remote && error.to_string().contains("403") && !error.to_string().contains("Eby9"), "{error}");
    let error = put(
        &object(&stores(&[("AZURE_STORAGE_ACCOUNT", "a"), ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/")], 0).0, &format!("az://{name}/x")),
        &file(),
    );
    assert!(error.is_err());

    const BUSY: &str = "HTTP/1.1 503 Server Busy\r\nRetry-After: 3\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let passing = Between::start(azurite(), |number, _| match number % 7 {
        2 => Fate::Answered(BUSY),
        5 => Fate::Reset,
        _ => Fate::Passes,
    });
    put(&object(&reached(passing.port), &format!("az://{name}/x")), &file()).unwrap();
    assert_eq!(kept(name), listed("x", "BlockBlob", &file()));

    let wishes = Wishes { no_clobber: true };
    let error = reached(azurite()).at(&format!("az://{name}/x"), wishes).unwrap().unwrap().send(&file(), None, &Silent).unwrap_err();
    assert!(error.to_string().contains("--no-clobber"), "{error}");
}
