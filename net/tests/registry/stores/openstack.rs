//! Images of Glance, with a login of Keystone's; both are fakes, of which every request is looked at.

use super::{Shifted, noise, stores};
use crate::clouds::{Cloud, Fate, openstack};
use formats::{Blob, Error, Kind, Silent};
use net::import::openstack::{Image, Import, Made};
use serde_json::json;
use std::sync::Arc;

fn image() -> Image {
    let properties = [("hw_firmware_type", "uefi"), ("min_disk", "1")];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Image { name: "app".to_owned(), disk_format: "qcow2", visibility: "private", is_protected: false, tags: Vec::new(), properties }
}

fn import(cloud: &Cloud, password: &str) -> (Arc<Import>, Arc<Shifted>) {
    let url = format!("{}/identity", cloud.url());
    let (stores, clock) = stores(
        &[("OS_AUTH_URL", &url), ("OS_USERNAME", "app"), ("OS_PASSWORD", password), ("OS_PROJECT_NAME", "p"), ("OS_REGION_NAME", "one")],
        0,
    );
    (Arc::new(Import::new(stores).unwrap()), clock)
}

fn push(import: &Import, file: &Blob) -> Result<Made, Error> {
    let made = import.greet().and_then(|()| import.send(file, &image(), &Silent)).and_then(|id| import.finish(&id, file));
    made.inspect_err(|_| import.abandon().unwrap())
}

fn bytes(file: &Blob) -> Vec<u8> {
    file.to_vec(1 << 30).unwrap()
}

#[test]
fn a_file_becomes_an_image() {
    let (cloud, file) = (openstack(|_, _| Fate::Served), noise(3 << 20, 1));
    let made = push(&import(&cloud, "hunter2").0, &file).unwrap();
    let (lines, asked) = (cloud.lines(), cloud.asked());
    let id = &made.id;
    let expected = [
        "POST /identity/v3/auth/tokens".to_owned(),
        "GET /image/v2/images?limit=1".to_owned(),
        "POST /image/v2/images".to_owned(),
        format!("PUT /image/v2/images/{id}/file"),
        format!("GET /image/v2/images/{id}"),
    ];
    assert_eq!(lines, expected);
    let said = json!({"id": id, "name": "app", "disk_format": "qcow2", "container_format": "bare", "visibility": "private",
        "protected": false, "tags": [], "hw_firmware_type": "uefi", "min_disk": 1});
    assert_eq!(asked[2].json(), said);
    assert_eq!((asked[3].header("content-length"), asked[3].header("transfer-encoding")), (Some("3145728"), None));
    assert!(asked[1..].iter().all(|asked| asked.header("x-auth-token") == Some("token-1")));
    assert!(cloud.has().files[id] == bytes(&file) && made.size == 3 << 20 && made.hash.unwrap().0 == "sha512");
}

#[test]
fn what_breaks_is_sent_again() {
    const BUSY: Fate = Fate::Answered("503 Service Unavailable", "Retry-After: 7\r\n", "");
    const FAILS: Fate = Fate::Answered("500 Internal Server Error", "", "");
    // Of requests: what happens to them, and what is asked then.
    for (at, fate, waits) in
        [(2, FAILS, None), (2, Fate::Lost, None), (3, BUSY, Some(7)), (3, FAILS, None), (3, Fate::Reset, None), (3, Fate::Lost, None)]
    {
        let cloud = openstack(move |number, _| if number == at { fate } else { Fate::Served });
        let (import, clock) = import(&cloud, "hunter2");
        let file = noise(9 << 20, 2);
        let made = push(&import, &file);
        let made = made.unwrap_or_else(|error| panic!("{at} {fate:?}: {error} {:?}", cloud.lines()));
        let has = cloud.has();
        assert!(has.images.len() == 1 && has.files[&made.id] == bytes(&file), "{at} {fate:?}");
        let waited = clock.waits.lock().unwrap().clone();
        assert!(waited.len() == 1 && waits.is_none_or(|seconds| waited[0].as_secs() == seconds), "{at} {fate:?} {waited:?}");
    }
}

#[test]
fn a_token_that_ended_is_fetched_anew() {
    const ENDED: Fate = Fate::Answered("401 Unauthorized", "", "");
    let cloud = openstack(|number, line| if number == 3 && line.starts_with("PUT") { ENDED } else { Fate::Served });
    let file = noise(1 << 20, 3);
    let made = push(&import(&cloud, "hunter2").0, &file).unwrap();
    assert_eq!(cloud.asked().last().unwrap().header("x-auth-token"), Some("token-2"));
    let has = cloud.has();
    assert!(has.tokens == 2 && has.images.len() == 1 && has.files[&made.id] == bytes(&file));
}

#[test]
fn who_fails_leaves_nothing_and_says_why() {
    const WRONG: &str =
        r#"{"message": "Image disk_format qcow2 does not match stream data raw<br /><br />\n", "code": "415", "title": "x"}"#;
    const REFUSED: Fate = Fate::Answered("415 Unsupported Media Type", "", WRONG);
    const FULL: Fate = Fate::Answered(
        "413 Request Entity Too Large",
        "",
        r#"{"message": "Denying attempt to upload image because it exceeds the quota"}"#,
    );
    const FAILS: Fate = Fate::Answered("500 Internal Server Error", "", "");
    for (fate, words, hint) in [
        (REFUSED, "refuses the file: 415 Unsupported Media Type: Image disk_format qcow2 does not match stream data raw", ""),
        (FULL, "exceeds the quota", "larger quota"),
        (FAILS, "tried 5 times: ", ""),
        (Fate::Damaged, "has other bytes than were sent: their sha512 is ", ""),
    ] {
        let cloud = openstack(move |_, line| if line.starts_with("PUT") { fate } else { Fate::Served });
        let error = push(&import(&cloud, "hunter2").0, &noise(1 << 20, 4)).unwrap_err();
        assert!(error.kind() == Kind::Remote && error.to_string().contains(words), "{error}");
        assert!(error.hint_text().unwrap_or_default().contains(hint), "{error}");
        assert!(cloud.has().images.is_empty() && cloud.lines().last().unwrap().starts_with("DELETE"), "{error}");
    }
    let cloud = openstack(|_, _| Fate::Served);
    cloud.has().fails = Some("Virus found");
    let error = push(&import(&cloud, "hunter2").0, &noise(1 << 20, 5)).unwrap_err();
    assert!(error.to_string().ends_with("is killed, must be active: Virus found"), "{error}");
    assert!(cloud.has().images.is_empty());
}

#[test]
fn who_may_not_enter_hears_it_before_anything_is_sent() {
    let cloud = openstack(|_, _| Fate::Served);
    let error = push(&import(&cloud, "wrong-word").0, &noise(100, 6)).unwrap_err();
    assert!(error.kind() == Kind::Remote && error.to_string().contains("No such user or password."), "{error}");
    assert!(!format!("{error:?} {:?}", error.hint_text()).contains("wrong-word"));
    assert_eq!(cloud.lines(), ["POST /identity/v3/auth/tokens"]);
}
