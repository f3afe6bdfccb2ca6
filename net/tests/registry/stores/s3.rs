//! S3, as moto has it: it verifies every signature, and tells what it keeps by Amazon's own library.

use super::{
    between::{Between, Fate},
    noise, stores,
};
use crate::moto::Moto;
use formats::{Blob, Error, Kind, Silent};
use net::{Object, Stores, store::Wishes};
use std::{
    fs,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// One server for all tests, each of which has a bucket of its own.
fn moto() -> &'static Moto {
    static MOTO: OnceLock<Moto> = OnceLock::new();
    MOTO.get_or_init(Moto::start)
}

fn bucket(name: &str) -> &str {
    moto().python(&format!("s3.create_bucket(Bucket='{name}')"));
    name
}

fn reached(url: &str, seconds: i64) -> Arc<Stores> {
    let moto = moto();
    let key = [("AWS_ACCESS_KEY_ID", moto.id.as_str()), ("AWS_SECRET_ACCESS_KEY", moto.secret.as_str())];
    stores(&[&key[..], &[("AWS_REGION", "us-east-1"), ("AWS_ENDPOINT_URL", url)]].concat(), seconds).0
}

fn object(stores: &Arc<Stores>, address: &str) -> Object {
    stores.at(address, Wishes::default()).unwrap().unwrap()
}

/// Sends a file and names it; leaves nothing where that fails.
fn put(object: &Object, file: &Blob) -> Result<(), Error> {
    object.send(file, None, &Silent).and_then(|()| object.commit(&Silent)).inspect_err(|_| object.abandon().unwrap())
}

/// What a bucket has: names with lengths and SHA-256, and how many uploads are open.
fn kept(bucket: &str) -> String {
    moto().python(&format!(
        "for o in s3.list_objects_v2(Bucket='{bucket}').get('Contents', []):\n  \
         body = s3.get_object(Bucket='{bucket}', Key=o['Key'])['Body'].read()\n  \
         print(o['Key'], len(body), hashlib.sha256(body).hexdigest())\n\
         print(len(s3.list_multipart_uploads(Bucket='{bucket}').get('Uploads', [])), 'open')"
    ))
}

fn listed(key: &str, file: &Blob) -> String {
    format!("{key} {} {}\n0 open", file.len(), formats::units::hex(&file.sha256().unwrap()))
}

/// 20 MiB, so of three parts.
fn file() -> Blob {
    noise(20 << 20, 1)
}

#[test]
fn a_file_is_there_when_it_is_committed() {
    let name = bucket("whole");
    let stores = reached(&moto().url(), 0);
    let key = "a b/ü+%.img";
    let there = object(&stores, &format!("s3://{name}/{key}"));
    there.send(&file(), None, &Silent).unwrap();
    assert_eq!(kept(name), "1 open");
    there.commit(&Silent).unwrap();
    assert_eq!(kept(name), listed(key, &file()));
    // Nothing is left to abandon.
    there.abandon().unwrap();
    assert_eq!(kept(name), listed(key, &file()));
    let small = object(&stores, &format!("s3://{name}/{key}"));
    put(&small, &Blob::default()).unwrap();
    assert_eq!(kept(name), listed(key, &Blob::default()));
}

/// As botocore finds it: the section of services of a profile has S3 elsewhere.
#[test]
fn a_profile_says_where_its_store_is() {
    let (moto, name, home) = (moto(), bucket("profile"), tempfile::tempdir().unwrap());
    fs::create_dir(home.path().join(".aws")).unwrap();
    let key = format!("aws_access_key_id = {}\naws_secret_access_key = {}", moto.id, moto.secret);
    let profile = "[profile app]\nregion = us-east-1\nservices = here\nendpoint_url = http://127.0.0.1:1\n";
    let config = format!("{profile}{key}\n[services here]\ns3 =\n  endpoint_url = {}\n", moto.url());
    fs::write(home.path().join(".aws/config"), config).unwrap();
    let there = stores(&[("HOME", home.path().to_str().unwrap()), ("AWS_PROFILE", "app")], 0).0;
    put(&object(&there, &format!("s3://{name}/x")), &file()).unwrap();
    assert_eq!(kept(name), listed("x", &file()));
}

#[test]
fn zeros_are_copied_at_the_store() {
    let name = bucket("zeros");
    let between = Between::start(moto().port, |_, _| Fate::Passes);
    let mut file = noise(9 << 20, 2);
    file.append(&Blob::zeros(300 << 20));
    file.append(&noise(1000, 3));
    put(&object(&reached(&between.url(), 0), &format!("s3://{name}/disk.img")), &file).unwrap();
    assert_eq!(kept(name), listed("disk.img", &file));
    let parts = between.lines().iter().filter(|line| line.starts_with("PUT") && line.contains("partNumber")).count();
    assert_eq!(parts, 39);
}

#[test]
fn what_is_abandoned_is_gone() {
    let name = bucket("abandoned");
    let there = object(&reached(&moto().url(), 0), &format!("s3://{name}/x"));
    there.send(&file(), None, &Silent).unwrap();
    there.abandon().unwrap();
    assert_eq!(kept(name), "0 open");
    assert_eq!(there.send(&file(), None, &Silent).unwrap_err().to_string(), "was abandoned");
}

#[test]
fn a_killed_upload_is_gone_on_with() {
    let name = bucket("resumed");
    let address = format!("s3://{name}/x");
    // Killed runs leave what they sent.
    let other = object(&reached(&moto().url(), 0), &address);
    other.send(&noise(20 << 20, 9), None, &Silent).unwrap();
    let killed = object(&reached(&moto().url(), 0), &address);
    killed.send(&file(), None, &Silent).unwrap();
    let between = Between::start(moto().port, |_, _| Fate::Passes);
    put(&object(&reached(&between.url(), 0), &address), &file()).unwrap();
    assert!(!between.lines().iter().any(|line| line.contains("partNumber=")), "{:?}", between.lines());
    other.abandon().unwrap();
    assert_eq!(kept(name), listed("x", &file()));
}

/// Of what a file was made says who finished it, and not who began.
#[test]
fn a_key_is_that_of_the_file() {
    let name = bucket("keys");
    let address = format!("s3://{name}/x");
    let there = object(&reached(&moto().url(), 0), &address);
    assert_eq!(there.key().unwrap(), None);
    there.send(&file(), Some("one"), &Silent).unwrap();
    let next = object(&reached(&moto().url(), 0), &address);
    next.send(&file(), Some("two"), &Silent).unwrap();
    next.commit(&Silent).unwrap();
    assert_eq!((next.key().unwrap().as_deref(), kept(name)), (Some("two"), listed("x", &file())));
    // Whoever was taken for dead changes nothing.
    there.abandon().unwrap();
    assert_eq!(kept(name), listed("x", &file()));
}

#[test]
fn what_passes_is_tried_again() {
    const BUSY: &str = "HTTP/1.1 503 Slow Down\r\nRetry-After: 7\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let name = bucket("passing");
    // Each request once in three is not what it should be.
    let between = Between::start(moto().port, |number, _| match number % 9 {
        1 => Fate::Answered(BUSY),
        4 => Fate::Answered(BROKEN),
        7 => Fate::Reset,
        _ => Fate::Passes,
    });
    put(&object(&reached(&between.url(), 0), &format!("s3://{name}/x")), &file()).unwrap();
    assert_eq!(kept(name), listed("x", &file()));
}

#[test]
fn an_answer_that_is_lost_is_no_failure() {
    let name = bucket("lost");
    let between = Between::start(moto().port, |_, line| match line {
        line if line.starts_with("POST") && line.contains("uploadId") => Fate::AnswerLost,
        _ => Fate::Passes,
    });
    put(&object(&reached(&between.url(), 0), &format!("s3://{name}/x")), &file()).unwrap();
    let once = AtomicBool::new(true);
    let between = Between::start(moto().port, move |_, line| {
        let is_last = line.starts_with("POST") && line.contains("uploadId");
        if is_last && once.swap(false, Ordering::Relaxed) { Fate::AnswerLost } else { Fate::Passes }
    });
    put(&object(&reached(&between.url(), 0), &format!("s3://{name}/y")), &file()).unwrap();
    assert!(kept(name).ends_with(&listed("y", &file())));
}

#[test]
fn failures_have_words_and_leave_nothing() {
    let name = bucket("refused");
    let refused = |stores: &Arc<Stores>, address: &str| put(&object(stores, address), &file()).unwrap_err();
    let here = reached(&moto().url(), 0);

    let error = refused(&here, "s3://nowhere/x");
    assert_eq!(error.kind(), Kind::BadInput);
    assert!(error.to_string().contains("NoSuchBucket") && error.hint_text().unwrap().contains("make the bucket"), "{error}");

    let [id, wrong] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    let stranger = stores(&[(id, &moto().id), (wrong, "wrong"), ("AWS_REGION", "us-east-1"), ("AWS_ENDPOINT_URL", &moto().url())], 0).0;
    let error = refused(&stranger, &format!("s3://{name}/x"));
    assert!(error.kind() == Kind::Remote && error.to_string().contains("SignatureDoesNotMatch"), "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");

    const FULL: &str = "HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 81\r\nConnection: close\r\n\r\n<Error><Code>XMinioStorageFull</Code><Message>no room \x1b[1m left</Message></Error>";
    let full = Between::start(moto().port, |_, line| if line.contains("partNumber=2") { Fate::Answered(FULL) } else { Fate::Passes });
    let error = refused(&reached(&full.url(), 0), &format!("s3://{name}/x"));
    assert!(error.kind() == Kind::Remote && error.to_string().contains("XMinioStorageFull: no room \\u{1b}[1m left"), "{error}");
    assert_eq!(kept(name), "0 open");

    let damaged = Between::start(moto().port, |_, line| if line.contains("partNumber=3") { Fate::Damaged } else { Fate::Passes });
    let error = refused(&reached(&damaged.url(), 0), &format!("s3://{name}/x"));
    assert!(error.kind() == Kind::Remote && error.to_string().contains("tried 5 times: "), "{error}");
    assert_eq!(kept(name), "0 open");

    let skewed = Between::start(moto().port, |_, _| Fate::Answered(SKEWED));
    let error = refused(&reached(&skewed.url(), 3600), &format!("s3://{name}/x"));
    assert!(error.to_string().contains("RequestTimeTooSkewed") && error.to_string().contains("ahead of the server's"), "{error}");
    assert!(error.hint_text().unwrap().starts_with("set the clock"), "{error}");
}

/// As S3 says it; moto judges no dates.
const SKEWED: &str = "HTTP/1.1 403 Forbidden\r\nDate: Fri, 27 Nov 2026 12:00:00 GMT\r\nContent-Length: 48\r\nConnection: close\r\n\r\n<Error><Code>RequestTimeTooSkewed</Code></Error>";

#[test]
fn what_is_damaged_on_its_way_is_sent_again() {
    let name = bucket("damaged");
    let once = AtomicBool::new(true);
    let between = Between::start(moto().port, move |_, line| {
        if line.contains("partNumber=2") && once.swap(false, Ordering::Relaxed) { Fate::Damaged } else { Fate::Passes }
    });
    put(&object(&reached(&between.url(), 0), &format!("s3://{name}/x")), &file()).unwrap();
    assert_eq!(kept(name), listed("x", &file()));
}

#[test]
fn who_is_first_stays_where_that_is_wished() {
    let name = bucket("first");
    let stores = reached(&moto().url(), 0);
    let wishes = || Wishes { no_clobber: true };
    // Goes on with what the one before it left, which is not killed, but does nothing more.
    let at = || stores.at(&format!("s3://{name}/x"), wishes()).unwrap().unwrap();
    at().send(&file(), None, &Silent).unwrap();
    // moto does not look whether an upload's name was taken in the meantime.
    const TAKEN: &str = "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 47\r\nConnection: close\r\n\r\n<Error><Code>PreconditionFailed</Code></Error>\n";
    let is_last = |line: &str| line.starts_with("POST") && line.contains("uploadId");
    let taken = Between::start(moto().port, move |_, line| if is_last(line) { Fate::Answered(TAKEN) } else { Fate::Passes });
    let late = reached(&taken.url(), 0).at(&format!("s3://{name}/x"), wishes()).unwrap().unwrap();
    let error = put(&late, &file()).unwrap_err();
    assert!(error.kind() == Kind::BadInput && error.to_string().contains("--no-clobber"), "{error}");
    assert_eq!(kept(name), "0 open");
    put(&at(), &file()).unwrap();
    assert!(at().send(&noise(100, 5), None, &Silent).unwrap_err().to_string().contains("--no-clobber"));
    assert_eq!(kept(name), listed("x", &file()));
}
