//! Debian's `docker-registry` on loopback.

use super::tools::{run, tool};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// How long it may take until it listens.
const UP: Duration = Duration::from_secs(30);

/// A registry without a door. It ends with the value.
pub struct Registry {
    child: Child,
    store: PathBuf,
    pub port: u16,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// A registry that keeps its blobs in a directory.
    pub fn start(store: &Path) -> Self {
        let config = store.join("config.yml");
        let root = store.join("root");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: 127.0.0.1:0\n  secret: test\n",
            root.display()
        );
        fs::write(&config, text).expect("the scratch directory can be written");
        let mut command = tool("docker-registry");
        command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("docker-registry cannot be run: {error}; see tests/setup.sh"));
        let log = BufReader::new(child.stderr.take().expect("its standard error is a pipe"));
        let (found, port) = mpsc::channel();
        // It says which port it got; its log is read to the end, so that it never waits for us.
        thread::spawn(move || {
            for line in log.lines().map_while(std::io::Result::ok) {
                if let Some(rest) = line.split("listening on 127.0.0.1:").nth(1) {
                    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                    let _ = found.send(digits.parse().expect("a port"));
                }
            }
        });
        let port = port.recv_timeout(UP).expect("docker-registry listens in time");
        Self { child, store: root, port }
    }

    /// `--mirror`: this one in the place of Docker's.
    pub fn mirror(&self) -> String {
        format!("docker.io=http://127.0.0.1:{}", self.port)
    }

    /// Pushes an image of a layout in a directory, by skopeo: `lab/app:1` as it stands in `docker.io`.
    pub fn push(&self, layout: &Path, name: &str) {
        let from = format!("oci:{}:docker.io/{name}", layout.display());
        let to = format!("docker://127.0.0.1:{}/{name}", self.port);
        run("skopeo", ["--insecure-policy", "copy", "--quiet", "--all", "--dest-tls-verify=false", &from, &to]);
    }

    /// Where it keeps a blob.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a digest of SHA-256");
        self.store.join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }
}
