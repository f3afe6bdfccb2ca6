//! Images of Compute Engine: the bucket is an emulator's, Compute Engine and the metadata service are fakes.

use super::{
    google::{emulator, kept},
    noise, stores,
};
use crate::clouds::{Cloud, Fate, google};
use formats::{Error, Kind, Silent};
use net::import::google::{Image, Import, Made};
use serde_json::json;

fn image(name: &str) -> Image {
    Image {
        name: name.to_owned(),
        family: Some("app".to_owned()),
        description: String::new(),
        architecture: "X86_64",
        features: vec!["UEFI_COMPATIBLE", "VIRTIO_SCSI_MULTIQUEUE"],
        labels: vec![("team".to_owned(), "db".to_owned())],
        shielded: None,
    }
}

fn import(cloud: &Cloud, project: Option<&str>) -> Import {
    let (compute, storage) = (format!("{}/compute/v1/", cloud.url()), format!("http://127.0.0.1:{}", emulator()));
    let host = format!("127.0.0.1:{}", cloud.port);
    let variables = [
        ("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", &*compute),
        ("STORAGE_EMULATOR_HOST", &storage),
        ("GCE_METADATA_HOST", &host),
        ("HOME", "/nonexistent"),
    ];
    Import::new(stores(&variables, 0).0, project, "gs://images/tmp/").unwrap()
}

/// Pushes; what came of it, and the name of the file in the bucket.
fn push(cloud: &Cloud, name: &str) -> (Result<Made, Error>, String) {
    let (import, image, tar) = (import(cloud, Some("proj")), image(name), noise(1 << 20, 1));
    let mut file = String::new();
    let made = import.refuse_taken(&image).and_then(|()| import.send(&tar, &image, &Silent)).and_then(|address| {
        file = address.strip_prefix("gs://images/").unwrap().to_owned();
        assert!(kept(&file.replace('/', "%2F")).unwrap() == tar.to_vec(1 << 30).unwrap(), "the file is there first");
        import.register(&image, &address)
    });
    (made.inspect_err(|_| import.abandon().unwrap()), file)
}

#[test]
fn a_tar_becomes_an_image_and_goes() {
    let cloud = google(|_, _| Fate::Served);
    let (made, file) = push(&cloud, "app-1");
    assert_eq!(made.unwrap(), Made { id: "4711".to_owned(), link: "https://compute/app-1".to_owned() });
    assert!(file.starts_with("tmp/moby-app-1-") && kept(&file.replace('/', "%2F")).is_none(), "{file}");
    let asked: Vec<_> = cloud.asked().into_iter().filter(|asked| !asked.line.contains("computeMetadata")).collect();
    let insert = &asked[1];
    let said = json!({"name": "app-1", "architecture": "X86_64", "rawDisk": {"source": format!("https://storage.googleapis.com/images/{file}")},
        "guestOsFeatures": [{"type": "UEFI_COMPATIBLE"}, {"type": "VIRTIO_SCSI_MULTIQUEUE"}], "family": "app", "labels": {"team": "db"}});
    assert_eq!(insert.json(), said);
    assert!(insert.line.starts_with("POST /compute/v1/projects/proj/global/images?requestId="), "{}", insert.line);
    let lines: Vec<_> = asked.iter().map(|asked| asked.line.split('?').next().unwrap().rsplit("global/").next().unwrap()).collect();
    assert_eq!(lines, ["images/app-1", "images", "operations/operation-app-1", "images/app-1"]);
    assert!(asked.iter().all(|asked| asked.header("authorization").unwrap().starts_with("Bearer token-")));
}

#[test]
fn the_project_is_that_of_the_machine() {
    let cloud = google(|_, _| Fate::Served);
    assert_eq!(import(&cloud, None).project(), "proj");
}

#[test]
fn a_name_that_is_taken_is_refused_before_anything_is_sent() {
    let cloud = google(|_, _| Fate::Served);
    push(&cloud, "taken").0.unwrap();
    let (made, file) = push(&cloud, "taken");
    let error = made.unwrap_err();
    assert!(error.kind() == Kind::BadInput && error.to_string() == "the project proj has an image taken already", "{error}");
    assert!(file.is_empty() && cloud.has().images.contains_key("taken"));
}

#[test]
fn what_breaks_is_asked_again() {
    const FAILS: Fate = Fate::Answered("503 Service Unavailable", "", "");
    const ENDED: Fate = Fate::Answered("401 Unauthorized", "", "");
    for (fate, tokens) in [(FAILS, 1), (Fate::Lost, 1), (Fate::Reset, 1), (ENDED, 2)] {
        let cloud = google(move |number, line| {
            // A token and a look at the name come before it.
            if line.contains("requestId") && number == 2 { fate } else { Fate::Served }
        });
        let (made, file) = push(&cloud, "again");
        made.unwrap_or_else(|error| panic!("{fate:?}: {error} {:?}", cloud.lines()));
        let has = cloud.has();
        assert_eq!((has.images.len(), has.tokens), (1, tokens), "{fate:?}");
        drop(has);
        let ids: Vec<_> = cloud.lines().into_iter().filter(|line| line.contains("requestId")).collect();
        assert!(ids.len() == 2 && ids[0] == ids[1], "{ids:?}");
        assert!(kept(&file.replace('/', "%2F")).is_none());
    }
}

#[test]
fn an_image_that_fails_leaves_nothing() {
    let cloud = google(|_, _| Fate::Served);
    cloud.has().fails = Some("The tar archive is not a valid image.");
    let (made, file) = push(&cloud, "bad");
    let error = made.unwrap_err();
    assert!(error.kind() == Kind::Remote && error.to_string().contains("INVALID_IMAGE: The tar archive is not a valid image."), "{error}");
    assert!(!file.is_empty() && kept(&file.replace('/', "%2F")).is_none() && cloud.has().images.is_empty());
}

#[test]
fn what_is_abandoned_leaves_nothing() {
    let cloud = google(|_, _| Fate::Served);
    let (import, image, tar) = (import(&cloud, Some("proj")), image("abandoned"), noise(1 << 20, 2));
    let address = import.send(&tar, &image, &Silent).unwrap();
    import.abandon().unwrap();
    assert!(kept(&address.strip_prefix("gs://images/").unwrap().replace('/', "%2F")).is_none());
    assert!(import.register(&image, &address).is_err() && import.send(&tar, &image, &Silent).is_err());
    assert!(cloud.has().images.is_empty());
}
