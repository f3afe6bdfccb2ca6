//! Debian's nginx: files by HTTP, in pieces, and taken by PUT.

use super::{container::free_port, docker_registry::Running};
use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// A server of its own.
pub struct Nginx {
    _running: Running,
    /// Where it listens, on the loopback interface.
    pub port: u16,
    /// The files that it has.
    pub files: PathBuf,
    log: PathBuf,
}

impl Nginx {
    /// Starts it below a directory.
    pub fn start(dir: &Path) -> Self {
        let (files, log, port) = (dir.join("files"), dir.join("access.log"), free_port());
        fs::create_dir(&files).expect("a new directory");
        let own = |name: &str| dir.join(name).display().to_string();
        let config = format!(
            "daemon off; user root; error_log {}; pid {}; events {{}} http {{ log_format all '$request_method $status $body_bytes_sent'; \
             access_log {} all; client_body_temp_path {}; proxy_temp_path {}; fastcgi_temp_path {}; uwsgi_temp_path {}; scgi_temp_path {}; \
             server {{ listen 127.0.0.1:{port}; root {}; dav_methods PUT DELETE; create_full_put_path on; client_max_body_size 0; }} }}",
            own("error.log"),
            own("pid"),
            log.display(),
            own("body"),
            own("proxy"),
            own("fastcgi"),
            own("uwsgi"),
            own("scgi"),
            files.display()
        );
        fs::write(dir.join("nginx.conf"), config).expect("a file there");
        let mut command = Command::new("nginx");
        command.arg("-c").arg(dir.join("nginx.conf")).arg("-e").arg(dir.join("error.log"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let running = Running(child.unwrap_or_else(|error| panic!("nginx cannot be run: {error}; see tests/setup.sh")));
        let up = (0..300).any(|_| {
            TcpStream::connect(("127.0.0.1", port)).is_ok() || {
                thread::sleep(Duration::from_millis(100));
                false
            }
        });
        assert!(up, "nginx does not listen: {}", fs::read_to_string(dir.join("error.log")).unwrap_or_default());
        Self { _running: running, port, files, log }
    }

    /// The URL of a file.
    pub fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }

    /// How many bytes of files it has sent so far.
    pub fn sent(&self) -> u64 {
        let log = fs::read_to_string(&self.log).expect("it keeps a log");
        log.lines().filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }
}
