//! A fake of Azure's resource manager, which has no emulator: it keeps what it is told, and answers as a test wants. Blobs are Azurite's.

use super::{
    azure::{azurite, container, kept},
    noise, stores,
};
use crate::{
    asked::{Asked, Port, reply},
    clouds::{ACCOUNT, ACCOUNT_KEY, connection},
};
use formats::{Blob, Error, Kind, Silent};
use net::import::azure::{Generation, Image, Import, Version};
use serde_json::{Value, json};
use std::{
    io::BufReader,
    sync::{Arc, Mutex},
};

/// Status, more headers, and a body.
type Answer = (u16, String, Value);

struct Fake {
    port: Port,
    /// Method and path, and the body, of each request with a token; the token's own are left out.
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Fake {
    /// `decide` is given method and path, and how many requests were before it, the token's left out.
    fn start(decide: impl Fn(u16, &str, usize) -> Answer + Send + Sync + 'static) -> Self {
        let asked: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let all = Arc::clone(&asked);
        let port = Port::open(move |mut stream| {
            let Some(asked) = Asked::whole(&mut BufReader::new(&stream)).filter(|asked| !asked.is_cut) else { return };
            let (status, headers, said) = answer(&asked, stream.local_addr().unwrap().port(), &all, &decide);
            reply(&mut stream, &format!("{status} X"), &headers, said.to_string().as_bytes());
        });
        Self { port, asked }
    }

    fn url(&self) -> String {
        self.port.url()
    }

    fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().unwrap().clone()
    }

    fn import(&self, container: &str, image: &Image) -> Arc<Import> {
        let variables = [
            ("AZURE_STORAGE_CONNECTION_STRING", connection(azurite(), ACCOUNT_KEY)),
            ("AZURE_AUTHORITY_HOST", self.url()),
            ("AZURE_TENANT_ID", "tenant".to_owned()),
            ("AZURE_CLIENT_ID", "client".to_owned()),
            ("AZURE_CLIENT_SECRET", "secret".to_owned()),
        ];
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Arc::new(Import::new(stores(&variables, 0).0, Some(self.url()), container, image).unwrap())
    }
}

fn answer(asked: &Asked, port: u16, all: &Mutex<Vec<(String, Value)>>, decide: &impl Fn(u16, &str, usize) -> Answer) -> Answer {
    let what = asked.what();
    if what == "POST /tenant/oauth2/v2.0/token" {
        let scope = format!("&scope=http%3A%2F%2F127.0.0.1%3A{port}%2F.default&");
        assert!(asked.body.contains(&scope) && asked.body.contains("client_secret=secret"), "{}", asked.body);
        return (200, String::new(), json!({"access_token": "a-token", "expires_in": 3600}));
    }
    assert_eq!(asked.header("authorization"), Some("Bearer a-token"));
    let number = {
        let mut all = all.lock().unwrap();
        all.push((what.to_owned(), serde_json::from_slice(&asked.bytes).unwrap_or_default()));
        all.len() - 1
    };
    decide(port, what, number)
}

const GROUP: &str = "/subscriptions/0-1/resourceGroups/images";
const COMPUTE: &str = "/subscriptions/0-1/resourceGroups/images/providers/Microsoft.Compute";

fn image(name: &str) -> Image {
    Image {
        name: name.to_owned(),
        subscription: "0-1".to_owned(),
        group: "images".to_owned(),
        location: None,
        version: None,
        regions: Vec::new(),
        uefi: None,
        disk: false,
        architecture: "x64",
        generation: Generation::V2,
        tags: vec![("team".to_owned(), "db".to_owned())],
    }
}

/// Some MiB, zeros among them.
fn file() -> Blob {
    let mut file = noise(1 << 20, 1);
    file.append(&Blob::zeros(8 << 20));
    file.append(&noise(512, 2));
    file
}

fn push(import: &Import, image: &Image) -> Result<String, Error> {
    let all = || {
        let location = import.refuse_taken(image)?;
        import.refuse_other_machines(image)?;
        import.send(&file(), image, &location, &Silent)?;
        import.make(image, &location)
    };
    all().inspect_err(|_| import.abandon().unwrap())
}

fn nothing() -> Answer {
    (404, String::new(), json!({"error": {"code": "ResourceNotFound", "message": "it is not there"}}))
}

#[test]
fn a_blob_becomes_an_image_and_goes() {
    let name = container("arm-image");
    let fake = Fake::start(|port, what, number| match number {
        0 => (200, String::new(), json!({"location": "westeurope"})),
        1 => nothing(),
        2 => {
            // All of the disk is there by now.
            let header = format!("Azure-AsyncOperation: http://127.0.0.1:{port}/operations/1?t=x\r\nRetry-After: 2\r\n");
            (201, header, json!({"properties": {"provisioningState": "Creating"}}))
        }
        3 => (200, String::new(), json!({"status": "InProgress"})),
        4 => (503, "Retry-After: 1\r\n".to_owned(), json!({})),
        5 => (200, String::new(), json!({"status": "Succeeded"})),
        _ => panic!("{what}"),
    });
    let import = fake.import(name, &image("app"));
    let id = push(&import, &image("app")).unwrap();
    assert_eq!(id, format!("{COMPUTE}/images/app"));
    let asked = fake.asked();
    let lines: Vec<_> = asked.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(
        lines,
        [
            &format!("GET {GROUP}?api-version=2021-04-01"),
            &format!("GET {id}?api-version=2023-09-01"),
            &format!("PUT {id}?api-version=2023-09-01"),
            "GET /operations/1?t=x",
            "GET /operations/1?t=x",
            "GET /operations/1?t=x",
        ]
    );
    let uri = format!("http://127.0.0.1:{}/{ACCOUNT}/{name}/app.vhd", azurite());
    let wanted = json!({
        "location": "westeurope",
        "tags": {"team": "db"},
        "properties": {
            "hyperVGeneration": "V2",
            "storageProfile": {"osDisk": {"osType": "Linux", "osState": "Generalized", "blobUri": uri}},
        },
    });
    assert_eq!(asked[2].1, wanted);
    assert_eq!(kept(name), "");
    import.abandon().unwrap();
    assert_eq!(fake.asked().len(), 6);
}

#[test]
fn a_version_is_for_the_machines_of_its_definition() {
    let name = container("arm-version");
    let image = Image {
        version: Some(Version { gallery: "ours".into(), definition: "app".into(), number: "1.0.0".into() }),
        location: Some("northeurope".into()),
        regions: vec!["West Europe".into(), "North Europe".into(), "westeurope".into()],
        uefi: Some(json!({"signatureTemplateNames": ["NoSignatureTemplate"]})),
        ..image("app")
    };
    let fake = Fake::start(|port, what, _| match what.split('?').next().unwrap() {
        what if what.ends_with("/resourceGroups/images") => (200, String::new(), json!({"location": "westeurope"})),
        what if what.starts_with("GET") && what.ends_with("/versions/1.0.0") => nothing(),
        what if what.ends_with("/galleries/ours/images/app") => {
            (200, String::new(), json!({"properties": {"hyperVGeneration": "V2", "architecture": "x64"}}))
        }
        what if what.ends_with("/storageAccounts") => {
            (200, String::new(), json!({"value": [{"name": "other", "id": "/o"}, {"name": ACCOUNT, "id": "/the/account"}]}))
        }
        what if what.starts_with("PUT") => (202, format!("Location: http://127.0.0.1:{port}/later\r\n"), Value::Null),
        "GET /later" => (200, String::new(), json!({"properties": {"provisioningState": "Succeeded"}})),
        other => panic!("{other}"),
    });
    let id = push(&fake.import(name, &image), &image).unwrap();
    assert_eq!(id, format!("{COMPUTE}/galleries/ours/images/app/versions/1.0.0"));
    let asked = fake.asked();
    let put = &asked.iter().find(|(line, _)| line.starts_with("PUT")).unwrap().1;
    let uri = format!("http://127.0.0.1:{}/{ACCOUNT}/{name}/app.vhd", azurite());
    assert_eq!(put["properties"]["storageProfile"]["osDiskImage"]["source"], json!({"storageAccountId": "/the/account", "uri": uri}));
    let regions: Vec<_> =
        put["properties"]["publishingProfile"]["targetRegions"].as_array().unwrap().iter().map(|at| &at["name"]).collect();
    assert_eq!(regions, ["northeurope", "West Europe"]);
    assert_eq!(put["properties"]["securityProfile"]["uefiSettings"], json!({"signatureTemplateNames": ["NoSignatureTemplate"]}));
    assert_eq!(kept(name), "");

    let other = Image { generation: Generation::V1, uefi: None, ..image };
    let error = push(&fake.import(name, &other), &other).unwrap_err();
    assert!(error.kind() == Kind::BadInput && error.to_string().contains("is for hyperVGeneration V2, the disk for V1"), "{error}");
    assert_eq!(kept(name), "");
}

#[test]
fn what_fails_leaves_neither_image_nor_blob() {
    let name = container("arm-fails");
    let found = || (200, String::new(), json!({"location": "westeurope"}));
    let fails = Fake::start(move |port, what, number| match number {
        0 => found(),
        1 => nothing(),
        2 => (201, format!("Azure-AsyncOperation: http://127.0.0.1:{port}/operation\r\n"), json!({})),
        3 => (200, String::new(), json!({"status": "Failed", "error": {"code": "BadDisk", "message": "no \u{1b}[1m disk"}})),
        4 => (202, String::new(), Value::Null),
        _ => panic!("{what}"),
    });
    let error = push(&fails.import(name, &image("app")), &image("app")).unwrap_err();
    assert!(error.kind() == Kind::Remote && error.to_string().contains("Failed: BadDisk: no \\u{1b}[1m disk"), "{error}");
    assert_eq!(fails.asked()[4].0, format!("DELETE {COMPUTE}/images/app?api-version=2023-09-01"));
    assert_eq!(kept(name), "");

    // A token goes to nobody else.
    let elsewhere = Fake::start(move |_, _, number| match number {
        0 => found(),
        1 => nothing(),
        2 => (201, "Azure-AsyncOperation: https://elsewhere.test/operation\r\n".to_owned(), json!({})),
        _ => (200, String::new(), json!({})),
    });
    let error = push(&elsewhere.import(name, &image("app")), &image("app")).unwrap_err();
    assert!(error.to_string().contains("an operation at another server, elsewhere.test: refused"), "{error}");

    let taken = Fake::start(move |_, _, _| found());
    let error = push(&taken.import(name, &image("app")), &image("app")).unwrap_err();
    assert!(error.kind() == Kind::BadInput && error.to_string().contains("is there already"), "{error}");
    assert_eq!((taken.asked().len(), kept(name).as_str()), (2, ""));

    let denied = Fake::start(|_, _, _| (403, String::new(), json!({"error": {"code": "AuthorizationFailed", "message": "you may not"}})));
    let error = push(&denied.import(name, &image("app")), &image("app")).unwrap_err();
    assert!(error.kind() == Kind::Remote && error.hint_text().unwrap().contains("Contributor"), "{error}");
}

#[test]
fn a_disk_is_written_by_its_url() {
    let name = container("arm-disk");
    let image = Image { disk: true, architecture: "Arm64", ..image("app") };
    let (port, len) = (azurite(), file().len());
    let url = super::azure::ask(&format!(
        "from azure.storage.blob import generate_blob_sas, BlobSasPermissions\nfrom datetime import datetime, timedelta, timezone\n\
         service.get_blob_client('{name}', 'disk').create_page_blob({len})\n\
         print(f\"http://127.0.0.1:{port}/{ACCOUNT}/{name}/disk?\" + generate_blob_sas('{ACCOUNT}', '{name}', 'disk', account_key=service.credential.account_key, \
         permission=BlobSasPermissions(write=True), expiry=datetime.now(timezone.utc) + timedelta(hours=1)))"
    ));
    let is_refused = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let refused = Arc::clone(&is_refused);
    let fake = Fake::start(move |port, what, _| {
        let operation = |name: &str| (202, format!("Azure-AsyncOperation: http://127.0.0.1:{port}/{name}\r\n"), Value::Null);
        let ok = |value| (200, String::new(), value);
        match what.split('?').next().unwrap() {
            what if what.ends_with("/resourceGroups/images") => ok(json!({"location": "westeurope"})),
            what if what.starts_with("GET") && what.ends_with("/disks/app") => nothing(),
            what if what.starts_with("PUT") => operation("made"),
            what if what.ends_with("/beginGetAccess") => operation("access"),
            what if what.ends_with("/endGetAccess") => operation("ended"),
            what if what.starts_with("DELETE") => (204, String::new(), Value::Null),
            "GET /access" => {
                let url = if refused.load(std::sync::atomic::Ordering::Relaxed) { url.replace("sig=", "sig=x") } else { url.clone() };
                ok(json!({"status": "Succeeded", "properties": {"output": {"accessSAS": url}}}))
            }
            "GET /made" | "GET /ended" => ok(json!({"status": "Succeeded"})),
            other => panic!("{other}"),
        }
    });
    let id = push(&fake.import("no", &image), &image).unwrap();
    assert_eq!(id, format!("{COMPUTE}/disks/app"));
    let asked = fake.asked();
    let body = |what: &str| asked.iter().find(|(line, _)| line.contains(what)).unwrap().1.clone();
    let wanted = json!({
        "location": "westeurope",
        "tags": {"team": "db"},
        "properties": {
            "osType": "Linux",
            "hyperVGeneration": "V2",
            "supportedCapabilities": {"architecture": "Arm64"},
            "creationData": {"createOption": "Upload", "uploadSizeBytes": len},
        },
    });
    assert_eq!(body("PUT "), wanted);
    assert_eq!(body("/beginGetAccess"), json!({"access": "Write", "durationInSeconds": 86400}));
    assert_eq!(asked.last().unwrap().0, "GET /ended");
    assert_eq!(kept(name), format!("disk PageBlob {len} {} []", formats::units::hex(&file().sha256().unwrap())));

    is_refused.store(true, std::sync::atomic::Ordering::Relaxed);
    let error = push(&fake.import("no", &image), &image).unwrap_err();
    assert!(error.kind() == Kind::Remote && error.to_string().contains("403") && !format!("{error:?}").contains("sig="), "{error:?}");
    let lines: Vec<_> = fake.asked().into_iter().map(|(line, _)| line).collect();
    assert!(lines[lines.len() - 2].contains("/endGetAccess") && lines[lines.len() - 1].starts_with("DELETE"), "{lines:?}");
}
