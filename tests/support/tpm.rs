//! A TPM 2.0 for one machine: `swtpm`.

use super::{text, tools::tool};
use std::{
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A running TPM; it ends with its machine, at the latest when it is dropped.
pub struct Tpm {
    child: Child,
    /// Where it listens.
    pub socket: PathBuf,
}

impl Tpm {
    /// A new one whose state is in this directory, which has a short name: a socket's address has 108 bytes.
    pub fn start(directory: &Path) -> Self {
        let socket = directory.join("tpm");
        let (state, control) = (format!("dir={}", text(directory)), format!("type=unixio,path={}", text(&socket)));
        let arguments = ["socket", "--tpm2", "--tpmstate", &state, "--ctrl", &control, "--terminate"];
        let child = tool("swtpm").args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("swtpm cannot be run: {error}; tests/setup.sh installs it"));
        let begun = Instant::now();
        while !socket.exists() {
            assert!(begun.elapsed() < Duration::from_secs(60), "swtpm does not listen at {}", socket.display());
            thread::sleep(Duration::from_millis(20));
        }
        Self { child, socket }
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        // It may have ended with its machine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
