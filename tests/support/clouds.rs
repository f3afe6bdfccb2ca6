//! Fakes of clouds, for want of emulators: they take what the published schemas have, keep it, and let a test see every request.
//!
//! | fake | stands for |
//! |---|---|
//! | [`openstack`] | Keystone (Identity v3) and Glance (Image v2) |
//! | [`google`] | the metadata service and Compute Engine's images (v1); its buckets are of [`storage`], an emulator of others |
//! | [`azure`] | Entra ID and the resource manager's images; its blobs are of [`blobs`], an emulator of others |
//! | [`vsphere`] | a vCenter with one cluster |

#[path = "clouds/vcenter.rs"]
pub mod vcenter;

use super::{
    asked::{Asked, Port, reply},
    docker_registry::{Running, listening},
};
use formats::units::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha512};
use std::{
    collections::BTreeMap,
    io::{BufReader, Read},
    net::{Shutdown, TcpStream},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// What is done to a request.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// It is served.
    Served,
    /// It is answered so: status, more headers, body.
    Answered(&'static str, &'static str, &'static str),
    /// The connection ends in the midst of its body.
    Reset,
    /// It is served, and the answer is lost.
    Lost,
    /// Nothing more is read of its body, until the other side goes.
    Held,
    /// A byte of its body is another one.
    Damaged,
}

/// What a fake has.
#[derive(Debug, Default)]
pub struct Has {
    /// Images, by id or name: what is said of each.
    pub images: BTreeMap<String, Value>,
    /// What was sent of each.
    pub files: BTreeMap<String, Vec<u8>>,
    /// How many tokens were given; the last is good, if any is.
    pub tokens: usize,
    pub is_expired: bool,
    /// How the next images end: what is wrong with them.
    pub fails: Option<&'static str>,
}

type Serve = fn(&Asked, &mut Has, u16) -> (&'static str, String, String);
type Decide = dyn Fn(usize, &str) -> Fate + Send + Sync;

/// A fake on the loopback interface.
pub struct Cloud {
    pub port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    has: Arc<Mutex<Has>>,
    _port: Port,
}

/// What `tests/setup.sh` installs, from this crate's directory or the one above.
fn installed(name: &str) -> String {
    let path = format!("{}/../.cache/{name}", env!("CARGO_MANIFEST_DIR"));
    if Path::new(&path).exists() { path } else { path.replace("/../", "/") }
}

/// Runs lines of Python with the clouds' own libraries; what they print.
fn python(lines: &str) -> String {
    let output = Command::new(installed("stores/bin/python3")).args(["-c", lines]).output().expect("tests/setup.sh installs it");
    assert!(output.status.success(), "{lines}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it prints text").trim().to_owned()
}

/// Azurite, which verifies who asks.
pub fn blobs() -> (Running, u16) {
    let mut command = Command::new(installed("azurite/node_modules/.bin/azurite-blob"));
    command.args(["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--silent"]);
    command.args(["--skipApiVersionCheck", "--disableTelemetry"]);
    listening(command, "listens on http://127.0.0.1:")
}

/// Azurite's account.
pub const ACCOUNT: &str = "devstoreaccount1";
/// Its key, which every emulator has.
pub const ACCOUNT_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// How it is reached by a key.
pub fn connection(port: u16, key: &str) -> String {
    format!("DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};")
}

/// Runs lines of Python with a client `service` of it, of Microsoft's own library.
pub fn ask_blobs(port: u16, lines: &str) -> String {
    python(&format!(
        "import hashlib\nfrom azure.storage.blob import BlobServiceClient\n\
         service = BlobServiceClient('http://127.0.0.1:{port}/{ACCOUNT}', credential='{ACCOUNT_KEY}', api_version='2021-08-06')\n{lines}"
    ))
}

/// How many files the bucket of [`storage`] has.
pub fn stored(port: u16) -> String {
    let url = format!("http://127.0.0.1:{port}/storage/v1/b/images/o");
    python(&format!("import json, urllib.request\nprint(len(json.load(urllib.request.urlopen('{url}')).get('items', [])))"))
}

/// `gcp-storage-emulator`, with a bucket `images`: it asks nobody who he is.
pub fn storage() -> (Running, u16) {
    let lines = "from gcp_storage_emulator.server import create_server\nimport time\n\
                 server = create_server('127.0.0.1', 0, in_memory=True, default_bucket='images')\nserver.start()\n\
                 while server._api._httpd is None: time.sleep(0.01)\n\
                 print('listens on', server._api._httpd.server_address[1], flush=True)\ntime.sleep(3600)";
    let mut command = Command::new(installed("stores/bin/python3"));
    command.args(["-c", lines]);
    listening(command, "listens on ")
}

/// Keystone and Glance. `decide` is given the number of a request, from 0 on, and its line.
pub fn openstack(decide: impl Fn(usize, &str) -> Fate + Send + Sync + 'static) -> Cloud {
    Cloud::start(of_openstack, Arc::new(decide))
}

/// The metadata service and Compute Engine.
pub fn google(decide: impl Fn(usize, &str) -> Fate + Send + Sync + 'static) -> Cloud {
    Cloud::start(of_google, Arc::new(decide))
}

/// Entra ID and the resource manager, whose operations never end.
pub fn azure(decide: impl Fn(usize, &str) -> Fate + Send + Sync + 'static) -> Cloud {
    Cloud::start(of_azure, Arc::new(decide))
}

/// A vCenter.
pub fn vsphere(decide: impl Fn(usize, &str) -> Fate + Send + Sync + 'static) -> Cloud {
    Cloud::start(vcenter::serve, Arc::new(decide))
}

impl Cloud {
    fn start(serve: Serve, decide: Arc<Decide>) -> Self {
        let (asked, has): (Arc<Mutex<Vec<Asked>>>, Arc<Mutex<Has>>) = Default::default();
        let (all, theirs) = (Arc::clone(&asked), Arc::clone(&has));
        let port = Port::open(move |stream| {
            let port = stream.local_addr().expect("it is connected").port();
            answer(&stream, &all, &theirs, &*decide, &|asked, has| serve(asked, has, port));
        });
        Self { port: port.number, asked, has, _port: port }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Everything that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("nobody panics with it").clone()
    }

    /// The lines of it.
    pub fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    pub fn has(&self) -> std::sync::MutexGuard<'_, Has> {
        self.has.lock().expect("nobody panics with it")
    }
}

/// One request of a connection, which ends then.
fn answer(
    client: &TcpStream,
    all: &Mutex<Vec<Asked>>,
    has: &Mutex<Has>,
    decide: &Decide,
    serve: &dyn Fn(&Asked, &mut Has) -> (&'static str, String, String),
) -> Option<()> {
    let mut reader = BufReader::new(client);
    let mut asked = Asked::head(&mut reader)?;
    asked.line = asked.what().to_owned();
    let number = {
        let mut all = all.lock().ok()?;
        all.push(asked.clone());
        all.len() - 1
    };
    let fate = decide(number, &asked.line);
    let length = if matches!(fate, Fate::Reset | Fate::Held) { asked.length() / 2 } else { asked.length() };
    asked.take(&mut reader, length);
    // Whoever sends it has ended.
    if asked.is_cut {
        return None;
    }
    match fate {
        Fate::Reset => return client.shutdown(Shutdown::Both).ok(),
        Fate::Held => {
            // It ends with the other side.
            thread::sleep(Duration::from_millis(200));
            let _ = std::io::copy(&mut reader.take(1 << 20), &mut std::io::sink());
            thread::sleep(Duration::from_secs(20));
            return None;
        }
        Fate::Damaged => *asked.bytes.last_mut()? ^= 1,
        Fate::Served | Fate::Answered(..) | Fate::Lost => {}
    }
    if let Some(kept) = all.lock().ok()?.get_mut(number) {
        kept.clone_from(&asked);
    }
    let (status, headers, body) = match fate {
        Fate::Answered(status, headers, body) => (status, headers.to_owned(), body.to_owned()),
        _ => serve(&asked, &mut *has.lock().ok()?),
    };
    if matches!(fate, Fate::Lost) {
        return client.shutdown(Shutdown::Both).ok();
    }
    let mut client = client;
    reply(&mut client, status, &headers, body.as_bytes());
    Some(())
}

fn ok(body: &Value) -> (&'static str, String, String) {
    ("200 OK", "Content-Type: application/json\r\n".to_owned(), body.to_string())
}

fn refused(status: &'static str, body: &Value) -> (&'static str, String, String) {
    (status, String::new(), body.to_string())
}

/// Whether a token is the one that is good.
fn is_good(token: &str, has: &Has) -> bool {
    !has.is_expired && token == format!("token-{}", has.tokens)
}

fn new_token(has: &mut Has) -> String {
    has.tokens += 1;
    has.is_expired = false;
    format!("token-{}", has.tokens)
}

fn of_openstack(asked: &Asked, has: &mut Has, port: u16) -> (&'static str, String, String) {
    let (method, path) = asked.line.split_once(' ').expect("a line of a request");
    if path == "/identity/v3/auth/tokens" {
        let user = &asked.json()["auth"]["identity"]["password"]["user"];
        if (user["name"].as_str(), user["password"].as_str()) != (Some("app"), Some("hunter2")) {
            return refused(
                "401 Unauthorized",
                &json!({"error": {"code": 401, "message": "No such user or password.", "title": "Unauthorized"}}),
            );
        }
        let url = format!("http://127.0.0.1:{port}/image/v2");
        let endpoints = json!([{"interface": "public", "region_id": "one", "region": "one", "url": url}]);
        let catalogue = json!([{"type": "image", "name": "glance", "endpoints": endpoints}]);
        let token = json!({"token": {"expires_at": "2099-01-01T00:00:00.000000Z", "catalog": catalogue}});
        return ("201 Created", format!("X-Subject-Token: {}\r\n", new_token(has)), token.to_string());
    }
    let Some(below) = path.strip_prefix("/image/v2/images") else { return refused("404 Not Found", &json!({})) };
    if !is_good(asked.header("x-auth-token").unwrap_or_default(), has) {
        return refused(
            "401 Unauthorized",
            &json!({"error": {"code": 401, "message": "The request you have made requires authentication."}}),
        );
    }
    let page = |text: &str| json!({"message": format!("{text}<br /><br />\n\n\n"), "code": "x", "title": "x"});
    let id = below.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default().to_owned();
    match (method, below) {
        ("GET", "?limit=1") => ok(&json!({"images": []})),
        ("POST", "") => {
            let mut image = asked.json();
            let id = image["id"].as_str().expect("an id of the client's").to_owned();
            if has.images.contains_key(&id) {
                return refused("409 Conflict", &page(&format!("Image ID {id} already exists!")));
            }
            image["status"] = json!("queued");
            has.images.insert(id, image.clone());
            ("201 Created", String::new(), image.to_string())
        }
        (_, _) if !has.images.contains_key(&id) => refused("404 Not Found", &page(&format!("No image found with ID {id}"))),
        ("PUT", _) if below.ends_with("/file") => {
            let image = has.images.get_mut(&id).expect("it is there");
            assert_eq!(asked.header("content-type"), Some("application/octet-stream"));
            if image["status"] != "queued" {
                return refused("409 Conflict", &page("Image status transition from active to saving is not allowed"));
            }
            image["size"] = json!(asked.bytes.len());
            image["os_hash_algo"] = json!("sha512");
            image["os_hash_value"] = json!(hex(&Sha512::digest(&asked.bytes)));
            image["status"] = json!(if has.fails.is_some() { "killed" } else { "active" });
            has.files.insert(id, asked.bytes.clone());
            ("204 No Content", String::new(), String::new())
        }
        ("GET", _) if below.ends_with("/tasks") => ok(&json!({"tasks": [{"status": "failure", "message": has.fails.unwrap_or_default()}]})),
        ("GET", _) => ok(&has.images[&id]),
        ("DELETE", _) => {
            has.images.remove(&id);
            has.files.remove(&id);
            ("204 No Content", String::new(), String::new())
        }
        _ => refused("405 Method Not Allowed", &json!({})),
    }
}

fn of_google(asked: &Asked, has: &mut Has, _: u16) -> (&'static str, String, String) {
    let (method, path) = asked.line.split_once(' ').expect("a line of a request");
    if let Some(below) = path.strip_prefix("/computeMetadata/v1/") {
        let flavoured = |body: String| ("200 OK", "Metadata-Flavor: Google\r\n".to_owned(), body);
        assert_eq!(asked.header("metadata-flavor"), Some("Google"));
        return match below.split('?').next() {
            Some("project/project-id") => flavoured("proj".to_owned()),
            _ => flavoured(json!({"access_token": new_token(has), "expires_in": 3600, "token_type": "Bearer"}).to_string()),
        };
    }
    let Some(below) = path.strip_prefix("/compute/v1/projects/proj/global/") else { return refused("404 Not Found", &json!({})) };
    let error = |code: u16, text: &str| json!({"error": {"code": code, "message": text, "errors": [{"message": text, "reason": "x"}]}});
    if !is_good(asked.header("authorization").unwrap_or_default().trim_start_matches("Bearer "), has) {
        return refused("401 Unauthorized", &error(401, "Request had invalid authentication credentials."));
    }
    let name = below.rsplit('/').next().unwrap_or_default();
    match (method, below.split(['/', '?']).next()) {
        ("POST", Some("images")) => {
            let image = asked.json();
            let name = image["name"].as_str().expect("a name").to_owned();
            let request = below.split_once("requestId=").expect("an id of the request").1;
            let is_same = has.files.get(&name).is_some_and(|of| of == request.as_bytes());
            if has.images.contains_key(&name) && !is_same {
                return refused("409 Conflict", &error(409, "The resource already exists"));
            }
            has.files.insert(name.clone(), request.as_bytes().to_vec());
            has.images.insert(name.clone(), image);
            ok(&json!({"name": format!("operation-{name}"), "status": "PENDING"}))
        }
        ("GET", Some("operations")) => {
            let mut operation = json!({"name": name, "status": "DONE"});
            if let Some(why) = has.fails {
                has.images.remove(name.trim_start_matches("operation-"));
                operation["error"] = json!({"errors": [{"code": "INVALID_IMAGE", "message": why}]});
            }
            ok(&operation)
        }
        ("GET" | "DELETE", Some("images")) if !has.images.contains_key(name) => refused("404 Not Found", &error(404, "was not found")),
        ("GET", Some("images")) => {
            ok(&json!({"id": "4711", "name": name, "selfLink": format!("https://compute/{name}"), "status": "READY"}))
        }
        ("DELETE", Some("images")) => {
            has.images.remove(name);
            ok(&json!({"name": "operation-delete", "status": "PENDING"}))
        }
        _ => refused("405 Method Not Allowed", &json!({})),
    }
}

fn of_azure(asked: &Asked, has: &mut Has, port: u16) -> (&'static str, String, String) {
    let (method, path) = asked.line.split_once(' ').expect("a line of a request");
    if path == "/tenant/oauth2/v2.0/token" {
        return ok(&json!({"access_token": new_token(has), "expires_in": 3600}));
    }
    if !is_good(asked.header("authorization").unwrap_or_default().trim_start_matches("Bearer "), has) {
        return refused("401 Unauthorized", &json!({"error": {"code": "InvalidAuthenticationToken", "message": "no such token"}}));
    }
    let path = path.split('?').next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    match method {
        "GET" if path.ends_with("/resourceGroups/images") => ok(&json!({"location": "westeurope"})),
        "GET" if path == "/operation" => ok(&json!({"status": "InProgress"})),
        "GET" if has.images.contains_key(&name) => ok(&has.images[&name]),
        "PUT" => {
            has.images.insert(name, asked.json());
            ("201 Created", format!("Azure-AsyncOperation: http://127.0.0.1:{port}/operation\r\nRetry-After: 1\r\n"), "{}".to_owned())
        }
        "DELETE" if has.images.remove(&name).is_some() => ("202 Accepted", String::new(), String::new()),
        _ => refused("404 Not Found", &json!({"error": {"code": "ResourceNotFound", "message": "it is not there"}})),
    }
}
