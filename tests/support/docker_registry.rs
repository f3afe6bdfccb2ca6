//! Debian's `docker-registry` as a process; the registry client's own tests start it by this file, too.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// How long it may take until it listens.
const UP: Duration = Duration::from_secs(30);

/// A process that ends with its test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it by a configuration whose address is `127.0.0.1:0`; gives the port that it got.
pub fn serve(config: &Path) -> (Running, u16) {
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("docker-registry cannot be run: {error}; see tests/setup.sh"));
    let log = BufReader::new(child.stderr.take().expect("its standard error is a pipe"));
    let running = Running(child);
    let (found, port) = mpsc::channel();
    // To the end, so that it never waits for us.
    thread::spawn(move || {
        let mut said = Vec::new();
        for line in log.lines().map_while(std::io::Result::ok) {
            let port = line.split("listening on 127.0.0.1:").nth(1).map(|rest| rest.chars().take_while(char::is_ascii_digit).collect());
            if let Some(port) = port.and_then(|port: String| port.parse().ok()) {
                let _ = found.send(Ok(port));
            }
            said.push(line);
        }
        let _ = found.send(Err(said.join("\n")));
    });
    let port = port.recv_timeout(UP).expect("docker-registry listens in time").unwrap_or_else(|log| panic!("docker-registry:\n{log}"));
    (running, port)
}
