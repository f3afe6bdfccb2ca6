//! Debian's `docker-registry` on loopback.

use super::{
    docker_registry::{Running, serve},
    text,
    tools::run,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A registry without a door. It ends with the value.
pub struct Registry {
    _running: Running,
    store: PathBuf,
    pub port: u16,
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
        let (running, port) = serve(&config);
        Self { _running: running, store: root, port }
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

    /// What a repository of it is called.
    pub fn name(&self, path: &str) -> String {
        format!("127.0.0.1:{}/{path}", self.port)
    }

    /// Pulls an image into a layout in a directory, by skopeo, and unpacks it, by umoci: where its root file system is then.
    pub fn pulled(&self, name: &str, directory: &Path) -> PathBuf {
        let (layout, bundle) = (directory.join("pulled"), directory.join("bundle"));
        let (from, to) = (format!("docker://{}", self.name(name)), format!("oci:{}:it", layout.display()));
        run("skopeo", ["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", &from, &to]);
        let image = format!("{}:it", layout.display());
        let mut arguments = vec!["unpack", "--image", &image, text(&bundle)];
        if run("id", ["-u"]).trim() != "0" {
            arguments.insert(1, "--rootless");
        }
        run("umoci", arguments);
        bundle.join("rootfs")
    }

    /// The uploads of a repository that are not finished.
    pub fn open_uploads(&self, path: &str) -> Vec<PathBuf> {
        let uploads = self.store.join("docker/registry/v2/repositories").join(path).join("_uploads");
        let all = fs::read_dir(uploads).into_iter().flatten().map(|entry| entry.expect("a name").path());
        // Of one that is cancelled it writes down once more what it had hashed, and knows it no longer.
        all.filter(|upload| upload.join("startedat").exists() || upload.join("data").exists()).collect()
    }

    /// Where it keeps a blob.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a digest of SHA-256");
        self.store.join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }
}
