//! Real servers: Debian's registry and proxy, certificates, and what is put into a registry.

use crate::docker_registry::{Running, serve};
use formats::{Result, Silent};
use net::{Client, Limits, Manifest, Repository, Settings, Sink, clock::Clock};
use sha2::{Digest, Sha256};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A server may take so long to be up.
const UP: Duration = Duration::from_secs(30);

/// Runs a foreign program that must succeed; its standard output.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be run: {error}; tests/setup.sh installs what the tests need"));
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// How a registry wants to be logged in to.
pub(crate) enum Door<'a> {
    Open,
    /// The user `user` with this password.
    Basic(&'a str),
    /// By tokens of this realm, signed by who has this certificate.
    Token {
        realm: &'a str,
        signer: &'a Path,
    },
}

/// Debian's `docker-registry`. Several may have one store.
pub(crate) struct Registry {
    _running: Running,
    pub(crate) port: u16,
}

impl Registry {
    /// A registry over the directory `store`, with TLS where there is a certificate.
    pub(crate) fn start(store: &Path, door: &Door<'_>, tls: Option<&Certificate>) -> Self {
        let number = fs::read_dir(store).unwrap().count();
        let config = store.join(format!("config-{number}.yml"));
        let mut yml = format!("version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}/root}}}}\n", store.display());
        match door {
            Door::Open => {}
            Door::Basic(password) => {
                let file = store.join("htpasswd");
                fs::write(&file, run("htpasswd", &["-Bbn", "user", password])).unwrap();
                yml += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", file.display());
            }
            Door::Token { realm, signer } => {
                yml +=
                    &format!("auth: {{token: {{realm: '{realm}', service: test, issuer: test, rootcertbundle: {}}}}}\n", signer.display());
            }
        }
        // It says which port it got.
        yml += "http:\n  addr: 127.0.0.1:0\n  secret: test\n";
        if let Some(Certificate { certificate, key }) = tls {
            yml += &format!("  tls: {{certificate: {}, key: {}}}\n", certificate.display(), key.display());
        }
        fs::write(&config, yml).unwrap();
        let (running, port) = serve(&config);
        Self { _running: running, port }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A repository of it.
    pub(crate) fn repository(&self, path: &str) -> Repository {
        Repository::new(&self.host(), path).unwrap()
    }

    /// Puts a blob into it, which is open and plain; its digest.
    pub(crate) fn put_blob(&self, path: &str, bytes: &[u8]) -> String {
        let agent = ureq::Agent::config_builder().proxy(None).timeout_global(Some(UP)).build().new_agent();
        let answer = agent.post(format!("http://{}/v2/{path}/blobs/uploads/", self.host())).send_empty().unwrap();
        let location = answer.headers()["location"].to_str().unwrap();
        let digest = digest(bytes);
        agent.put(format!("{location}&digest={digest}")).content_type("application/octet-stream").send(bytes).unwrap();
        digest
    }

    /// Puts a manifest into it, which is open and plain; its digest.
    pub(crate) fn put_manifest(&self, path: &str, tag: &str, media_type: &str, bytes: &[u8]) -> String {
        let agent = ureq::Agent::config_builder().proxy(None).timeout_global(Some(UP)).build().new_agent();
        agent.put(format!("http://{}/v2/{path}/manifests/{tag}", self.host())).content_type(media_type).send(bytes).unwrap();
        digest(bytes)
    }

    /// Puts a small image into it under `v1`; its manifest and its layer.
    pub(crate) fn put_image(&self, path: &str) -> (Vec<u8>, Vec<u8>) {
        let layer = noise(3 << 20);
        let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
        let (config_digest, layer_digest) = (self.put_blob(path, config), self.put_blob(path, &layer));
        let manifest = format!(
            r#"{{"schemaVersion": 2, "mediaType": "{OCI}", "config": {{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "{config_digest}", "size": {}}},
            "layers": [{{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "{layer_digest}", "size": {}}}]}}"#,
            config.len(),
            layer.len()
        );
        self.put_manifest(path, "v1", OCI, manifest.as_bytes());
        (manifest.into_bytes(), layer)
    }
}

pub(crate) const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

/// Debian's `tinyproxy`, which tunnels to one port alone and wants the user `user`.
pub(crate) struct Proxy {
    _running: Running,
    pub(crate) port: u16,
}

impl Proxy {
    pub(crate) fn start(dir: &Path, tunnels_to: u16, password: &str) -> Self {
        // It cannot say which port it got; somebody else may take ours first.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let config = dir.join("tinyproxy.conf");
            let text =
                format!("Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nBasicAuth user {password}\nConnectPort {tunnels_to}\n");
            fs::write(&config, text).unwrap();
            let child = Command::new("tinyproxy").arg("-d").arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
            let child = child.unwrap_or_else(|error| panic!("tinyproxy cannot be run: {error}; see tests/setup.sh"));
            if let Some(running) = up(child, port) {
                return Self { _running: running, port };
            }
        }
        panic!("tinyproxy does not come up");
    }
}

/// Debian's `nginx`, which speaks TLS before a server that does not.
pub(crate) struct Front {
    _running: Running,
    pub(crate) port: u16,
    log: PathBuf,
}

impl Front {
    pub(crate) fn start(dir: &Path, of: &Certificate, to: u16) -> Self {
        let own = |name: &str| dir.join(name).display().to_string();
        let log = dir.join("front.log");
        // It cannot say which port it got; somebody else may take ours first.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let text = format!(
                "daemon off; user root; error_log {0}; pid {1}; events {{}} http {{ log_format all '$request_method $uri $http_x_amz_content_sha256'; \
                 access_log {2} all; client_body_temp_path {3}; proxy_temp_path {3}; fastcgi_temp_path {3}; uwsgi_temp_path {3}; \
                 scgi_temp_path {3}; server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {4}; ssl_certificate_key {5}; \
                 client_max_body_size 0; location / {{ proxy_pass http://127.0.0.1:{to}; proxy_http_version 1.1; proxy_set_header Host $http_host; }} }} }}",
                own("error.log"),
                own("pid"),
                log.display(),
                own("bodies"),
                of.certificate.display(),
                of.key.display()
            );
            let config = dir.join("nginx.conf");
            fs::write(&config, text).unwrap();
            let mut command = Command::new("nginx");
            command
                .arg("-c")
                .arg(&config)
                .arg("-e")
                .arg(dir.join("error.log"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let child = command.spawn().unwrap_or_else(|error| panic!("nginx cannot be run: {error}; see tests/setup.sh"));
            if let Some(running) = up(child, port) {
                return Self { _running: running, port, log };
            }
        }
        panic!("nginx does not come up: {}", fs::read_to_string(dir.join("error.log")).unwrap_or_default());
    }

    /// Method, path and `x-amz-content-sha256` (or `-`) of all requests so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.log).unwrap().lines().map(str::to_owned).collect()
    }
}

/// A server once it listens; none where it ended before that.
fn up(child: Child, port: u16) -> Option<Running> {
    let mut running = Running(child);
    for _ in 0..UP.as_millis() / 50 {
        if running.0.try_wait().unwrap().is_some() {
            return None;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some(running);
        }
        thread::sleep(Duration::from_millis(50));
    }
    None
}

/// A certificate and its key, in PEM.
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// An authority that nobody knows.
pub(crate) struct Authority {
    dir: PathBuf,
    pub(crate) file: PathBuf,
}

impl Authority {
    pub(crate) fn new(dir: &Path) -> Self {
        let own = Self { dir: dir.to_owned(), file: dir.join("authority.pem") };
        let key = dir.join("authority.key");
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        let names = ["-subj", "/CN=moby test authority", "-keyout", text(&key), "-out", text(&own.file)];
        run("openssl", &[&["req", "-x509"], &curve[..], &names[..]].concat());
        own
    }

    /// A certificate with an RSA key, which also signs tokens, for names as openssl writes them: `DNS:localhost,IP:127.0.0.1`.
    pub(crate) fn issue(&self, name: &str, names: &str) -> Certificate {
        let path = |extension: &str| self.dir.join(format!("{name}.{extension}"));
        let (certificate, key, request, extensions) = (path("pem"), path("key"), path("csr"), path("ext"));
        fs::write(&extensions, format!("subjectAltName={names}\n")).unwrap();
        let request_of = ["-subj", "/CN=moby test", "-keyout", text(&key), "-out", text(&request)];
        run("openssl", &[&["req", "-newkey", "rsa:2048", "-nodes"], &request_of[..]].concat());
        let signer = ["-CA", text(&self.file), "-CAkey", text(&self.dir.join("authority.key")), "-CAcreateserial", "-days", "2"]
            .map(ToOwned::to_owned);
        let signer: Vec<&str> = signer.iter().map(String::as_str).collect();
        let files = ["-in", text(&request), "-out", text(&certificate), "-extfile", text(&extensions)];
        run("openssl", &[&["x509", "-req"], &signer[..], &files[..]].concat());
        Certificate { certificate, key }
    }
}

/// A path as text: all of ours are.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A directory for one test.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// `sha256:HEX`.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Bytes of which no two parts are alike.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..len.div_ceil(8)).flat_map(|_| next()).take(len).collect()
}

/// A clock on which waiting takes no time.
#[derive(Debug, Default)]
pub(crate) struct Impatient(pub(crate) Mutex<Vec<Duration>>);

impl Clock for Impatient {
    fn now(&self) -> Duration {
        let waited: Duration = self.0.lock().unwrap().iter().sum();
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + waited
    }

    fn wait(&self, time: Duration) {
        self.0.lock().unwrap().push(time);
    }
}

/// Settings that know nothing of this machine, with limits that a test can wait for.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings::default();
    let limits = Limits { connect: Duration::from_secs(10), stall: Duration::from_secs(10), ..Limits::default() };
    settings.transport.limits = Limits { attempts: 3, ..limits };
    settings
}

/// A client that does not wait.
pub(crate) fn client(settings: Settings) -> Client {
    Client::new(settings, Arc::new(Impatient::default())).unwrap()
}

/// A sink that keeps everything.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) bytes: Vec<u8>,
    pub(crate) restarts: usize,
}

impl Sink for Kept {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn restart(&mut self) -> Result<()> {
        self.bytes.clear();
        self.restarts += 1;
        Ok(())
    }
}

/// A whole blob.
pub(crate) fn blob(client: &Client, repository: &Repository, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut kept = Kept::default();
    client.blob(repository, &digest(bytes), bytes.len() as u64, 0, &mut kept, &Silent)?;
    Ok(kept.bytes)
}

/// Fails unless the image of [`Registry::put_image`] comes as it was put.
pub(crate) fn pulls(client: &Client, repository: &Repository, image: &(Vec<u8>, Vec<u8>)) {
    let (bytes, layer) = image;
    let wanted = Manifest { bytes: bytes.clone(), media_type: OCI.to_owned(), digest: digest(bytes) };
    assert_eq!(client.manifest(repository, "v1").unwrap(), wanted);
    assert_eq!(client.manifest(repository, &digest(bytes)).unwrap(), wanted);
    assert!(blob(client, repository, layer).unwrap() == *layer, "the layer is another");
}
