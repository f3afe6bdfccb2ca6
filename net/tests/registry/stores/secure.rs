//! Stores and clouds by TLS: nginx before moto, with an authority that nobody knows, and tinyproxy on the way there.

use super::{noise, stores_by};
use crate::{
    moto::Moto,
    real::{Authority, Front, Proxy, scratch},
};
use formats::{Blob, Error, Kind, Silent};
use net::{
    Proxies, Roots, Stores, Transport,
    import::{aws, openstack},
    store::Wishes,
};
use std::{path::Path, sync::Arc};

/// moto behind TLS, with a bucket `secure`. Its name is none of this machine's, so that a proxy is gone by.
struct Case {
    dir: tempfile::TempDir,
    authority: Authority,
    moto: Moto,
    front: Front,
}

impl Case {
    fn start() -> Self {
        let (dir, moto) = (scratch(), Moto::start());
        moto.python("s3.create_bucket(Bucket='secure')");
        let authority = Authority::new(dir.path());
        let front = Front::start(dir.path(), &authority.issue("server", "IP:0.0.0.0"), moto.port);
        Self { dir, authority, moto, front }
    }

    fn url(&self) -> String {
        format!("https://0.0.0.0:{}", self.front.port)
    }

    fn reached(&self, transport: Transport) -> Arc<Stores> {
        let key = [("AWS_ACCESS_KEY_ID", self.moto.id.as_str()), ("AWS_SECRET_ACCESS_KEY", self.moto.secret.as_str())];
        stores_by(transport, &[&key[..], &[("AWS_REGION", "us-east-1"), ("AWS_ENDPOINT_URL", &self.url())]].concat(), 0).0
    }
}

fn trusting(ca: &Path) -> Transport {
    Transport { roots: Roots { ca: Some(ca.to_owned()), ..Roots::default() }, ..Transport::default() }
}

fn by(proxy: &str, transport: Transport) -> Transport {
    let proxy = proxy.to_owned();
    Transport { proxies: Proxies::from_env(&|name| (name == "https_proxy").then(|| proxy.clone().into())), ..transport }
}

/// Sends a file and names it; leaves nothing where that fails.
fn put(stores: &Arc<Stores>, name: &str, file: &Blob) -> Result<(), Error> {
    let object = stores.at(&format!("s3://secure/{name}"), Wishes::default()).unwrap().unwrap();
    object.send(file, None, &Silent).and_then(|()| object.commit(&Silent))
}

fn is_there(stores: &Arc<Stores>, name: &str, file: &Blob) -> bool {
    let found = stores.open(&format!("s3://secure/{name}")).unwrap().unwrap();
    found.to_vec(1 << 30).unwrap() == file.to_vec(1 << 30).unwrap()
}

#[test]
fn a_store_is_reached_by_tls_and_by_a_proxy() {
    let (case, file) = (Case::start(), noise(20 << 20, 1));
    let trusting = || trusting(&case.authority.file);
    let direct = case.reached(trusting());
    put(&direct, "direct", &file).unwrap();
    assert!(is_there(&direct, "direct", &file));

    let proxy = Proxy::start(case.dir.path(), case.front.port, "pass-word");
    let by_proxy = case.reached(by(&format!("http://user:pass-word@127.0.0.1:{}", proxy.port), trusting()));
    put(&by_proxy, "by-proxy", &file).unwrap();
    assert!(is_there(&by_proxy, "by-proxy", &file));
    // S3 compares every body with the hash that is signed, also by TLS.
    let lines = case.front.lines();
    assert!(lines.iter().filter(|line| line.starts_with("PUT /secure/")).count() >= 6, "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("UNSIGNED")), "{lines:?}");

    let stranger = case.reached(by(&format!("http://user:wrong-one@127.0.0.1:{}", proxy.port), trusting()));
    let error = put(&stranger, "x", &file).unwrap_err();
    let said = format!("{error} {}", error.hint_text().unwrap_or_default());
    assert!(error.kind() == Kind::Remote && said.contains("by way of the proxy http://127.0.0.1:"), "{said}");
    assert!(said.contains("the proxy refused") && !said.contains("wrong-one"), "{said}");
    let nobody = case.reached(by(&format!("http://127.0.0.1:{}", proxy.port), trusting()));
    let error = put(&nobody, "x", &file).unwrap_err();
    assert!(error.hint_text().unwrap_or_default().contains("name user and password in the proxy's URL"), "{error:?}");
}

#[test]
fn an_authority_that_nobody_knows_is_told() {
    let (case, other) = (Case::start(), scratch());
    let wrong = Authority::new(other.path());
    for transport in [Transport::default(), trusting(&wrong.file)] {
        let error = put(&case.reached(transport), "x", &noise(1000, 1)).unwrap_err();
        assert!(error.to_string().ends_with("has a certificate of an authority that is not known here"), "{error}");
        assert!(error.kind() == Kind::Remote && error.hint_text().unwrap().contains("--ca FILE"), "{error:?}");
    }
    assert_eq!(case.front.lines(), [""; 0]);
}

/// A block is not hashed twice where TLS keeps it whole, and never goes without a hash elsewhere.
#[test]
fn blocks_are_unsigned_by_tls_alone() {
    let case = Case::start();
    let image = aws::Image {
        name: "app".to_owned(),
        description: String::new(),
        architecture: "x86_64",
        boot_mode: aws::BootMode::Uefi,
        tpm: false,
        uefi_data: None,
        tags: Vec::new(),
    };
    let import = aws::Import::new(case.reached(trusting(&case.authority.file)), Some("us-east-1")).unwrap();
    import.send(&noise(1 << 20, 1), &image, &Silent).unwrap();
    let lines = case.front.lines();
    let blocks: Vec<_> = lines.iter().filter(|line| line.starts_with("PUT /snapshots/")).collect();
    assert!(blocks.len() == 2 && blocks.iter().all(|line| line.ends_with(" UNSIGNED-PAYLOAD")), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.contains("UNSIGNED")).count(), 2, "{lines:?}");
}

/// Keystone and Glance by TLS: the authority is the cloud's own.
#[test]
fn a_cloud_of_openstack_names_its_authority() {
    let (dir, cloud) = (scratch(), crate::clouds::openstack(|_, _| crate::clouds::Fate::Served));
    let authority = Authority::new(dir.path());
    let front = Front::start(dir.path(), &authority.issue("server", "IP:127.0.0.1"), cloud.port);
    let clouds = |more: &str| {
        let url = format!("https://127.0.0.1:{}/identity", front.port);
        let file = dir.path().join("clouds.yaml");
        let auth = format!("auth: {{auth_url: '{url}', username: app, password: hunter2, project_name: p}}");
        // The catalogue of the fake is without TLS.
        let glance = format!("image_endpoint_override: 'https://127.0.0.1:{}/image'", front.port);
        std::fs::write(&file, format!("clouds: {{a: {{{auth}, {glance}{more}}}}}")).unwrap();
        let variables = [("OS_CLIENT_CONFIG_FILE", file.to_str().unwrap()), ("OS_CLOUD", "a")];
        openstack::Import::new(stores_by(Transport::default(), &variables, 0).0).unwrap().greet()
    };
    clouds(&format!(", cacert: {}", authority.file.display())).unwrap();
    assert!(front.lines().iter().any(|line| line.starts_with("GET /image/v2/images")), "{:?}", front.lines());
    let error = clouds("").unwrap_err();
    assert!(error.to_string().contains("has a certificate of an authority that is not known here"), "{error}");
    let error = clouds(", verify: false").unwrap_err();
    assert!(error.kind() == Kind::Unsupported && error.to_string().contains("is not to be verified"), "{error}");
}
