//! Pulling from Debian's registry: what skopeo and plain PUT put there.

use crate::real::{Door, Kept, OCI, Registry, blob, client, digest, noise, pulls, run, scratch, settings, text};
use formats::{Kind, Silent};
use net::{Mirror, Repository};
use std::fs;

const SCHEMA_2: &str = "application/vnd.docker.distribution.manifest.v2+json";

#[test]
fn what_was_put_there_comes_back() {
    let dir = scratch();
    let registry = Registry::start(dir.path(), &Door::Open, None);
    let image = registry.put_image("a/b");
    let client = client(settings());
    let repository = registry.repository("a/b");
    pulls(&client, &repository, &image);
    assert!(client.has_blob(&repository, &digest(&image.1)).unwrap());
    assert!(!client.has_blob(&repository, &digest(b"absent")).unwrap());

    // From the middle, and of nothing.
    let mut kept = Kept::default();
    let half = image.1.len() / 2;
    client.blob(&repository, &digest(&image.1), image.1.len() as u64, half as u64, &mut kept, &Silent).unwrap();
    assert!(kept.bytes == image.1[half..] && kept.restarts == 0);
    client.blob(&repository, &digest(b""), 0, 0, &mut kept, &Silent).unwrap();
}

#[test]
fn indexes_and_lists_come_as_they_are() {
    let dir = scratch();
    let registry = Registry::start(dir.path(), &Door::Open, None);
    let (manifest, _) = registry.put_image("a");
    let client = client(settings());
    for (tag, media_type) in
        [("index", "application/vnd.oci.image.index.v1+json"), ("list", "application/vnd.docker.distribution.manifest.list.v2+json")]
    {
        let entry = format!(
            r#"{{"mediaType": "{OCI}", "digest": "{}", "size": {}, "platform": {{"os": "linux", "architecture": "amd64"}}}}"#,
            digest(&manifest),
            manifest.len()
        );
        let index = format!(r#"{{"schemaVersion": 2, "mediaType": "{media_type}", "manifests": [{entry}]}}"#);
        registry.put_manifest("a", tag, media_type, index.as_bytes());
        let found = client.manifest(&registry.repository("a"), tag).unwrap();
        assert_eq!((found.media_type.as_str(), found.bytes.as_slice()), (media_type, index.as_bytes()));
    }
}

#[test]
fn what_skopeo_pushes_is_pulled() {
    let dir = scratch();
    let registry = Registry::start(dir.path(), &Door::Open, None);
    let (manifest, layer) = registry.put_image("a");
    let (layout, policy) = (format!("oci:{}/layout:v1", dir.path().display()), dir.path().join("policy.json"));
    fs::write(&policy, r#"{"default": [{"type": "insecureAcceptAnything"}]}"#).unwrap();
    let copy = |arguments: &[&str]| run("skopeo", &[&["--policy", text(&policy), "copy", "--quiet"], arguments].concat());
    copy(&["--src-tls-verify=false", &format!("docker://{}/a:v1", registry.host()), &layout]);
    for (tag, format, media_type) in [("oci", "oci", OCI), ("docker", "v2s2", SCHEMA_2)] {
        copy(&["--dest-tls-verify=false", "--format", format, &layout, &format!("docker://{}/b/c:{tag}", registry.host())]);
        let repository = registry.repository("b/c");
        let found = client(settings()).manifest(&repository, tag).unwrap();
        assert_eq!(found.media_type, media_type);
        assert!(tag == "docker" || found.bytes == manifest || found.digest != digest(&manifest));
        let json: serde_json::Value = serde_json::from_slice(&found.bytes).unwrap();
        let descriptor = &json["layers"][0];
        let mut kept = Kept::default();
        let (of, size) = (descriptor["digest"].as_str().unwrap(), descriptor["size"].as_u64().unwrap());
        client(settings()).blob(&repository, of, size, 0, &mut kept, &Silent).unwrap();
        assert_eq!(digest(&kept.bytes), of);
        // skopeo compresses what it pushes.
        assert!(kept.bytes == layer || kept.bytes.starts_with(&[0x1f, 0x8b]));
    }
}

#[test]
fn what_is_not_there_is_told_by_name() {
    let dir = scratch();
    let registry = Registry::start(dir.path(), &Door::Open, None);
    registry.put_image("a");
    let repository = registry.repository("a");
    let error = client(settings()).manifest(&repository, "v2").unwrap_err();
    let wanted = format!("{0}/a:v2: {0} has no such thing: 404 Not Found: MANIFEST_UNKNOWN: manifest unknown", registry.host());
    assert_eq!((error.kind(), error.to_string()), (Kind::BadInput, wanted));
    let error = blob(&client(settings()), &repository, b"absent").unwrap_err().to_string();
    assert!(error.starts_with(&format!("{repository}@sha256:")) && error.contains("404 Not Found: BLOB_UNKNOWN"), "{error}");
    for bad in ["", "a b", "sha256:12", "../x"] {
        assert_eq!(client(settings()).manifest(&repository, bad).unwrap_err().kind(), Kind::BadInput, "{bad}");
    }
}

#[test]
fn referrers_stand_under_a_tag_where_there_is_no_api() {
    let dir = scratch();
    let registry = Registry::start(dir.path(), &Door::Open, None);
    let (manifest, _) = registry.put_image("a");
    let (client, repository, of) = (client(settings()), registry.repository("a"), digest(&manifest));
    assert_eq!(client.referrers(&repository, &of).unwrap(), None);
    let index = br#"{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}"#;
    registry.put_manifest("a", &of.replace(':', "-"), "application/vnd.oci.image.index.v1+json", index);
    assert_eq!(client.referrers(&repository, &of).unwrap().unwrap().bytes, index);
}

#[test]
fn a_mirror_stands_for_its_registry() {
    let dir = scratch();
    let registry = Registry::start(dir.path(), &Door::Open, None);
    let image = registry.put_image("prefix/library/alpine");
    let mut with_mirror = settings();
    // The second one stands for others, and nobody is there.
    for mirror in [format!("docker.io=http://{}/prefix/", registry.host()), "http://127.0.0.1:1".to_owned()] {
        with_mirror.mirrors.push(Mirror::parse(&mirror).unwrap());
    }
    let client = client(with_mirror);
    pulls(&client, &Repository::new("docker.io", "alpine").unwrap(), &image);
    let error = client.manifest(&registry.repository("prefix/library/alpine"), "v1").unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1 is not reached: nobody listens there"), "{error}");
}

#[test]
fn several_threads_share_a_client() {
    let dir = scratch();
    let registry = Registry::start(dir.path(), &Door::Open, None);
    let layers: Vec<_> = (1..9).map(|n| noise(n * 100_000)).collect();
    layers.iter().for_each(|layer| drop(registry.put_blob("a", layer)));
    let (client, repository) = (client(settings()), registry.repository("a"));
    std::thread::scope(|scope| {
        for layer in &layers {
            scope.spawn(|| assert!(blob(&client, &repository, layer).unwrap() == *layer));
        }
    });
}
