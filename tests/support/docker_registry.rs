//! Servers as processes: Debian's `docker-registry`, and what starts others; the network crate's own tests start them by this file, too.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// How long it may take until a server listens.
const UP: Duration = Duration::from_secs(60);

/// A process that ends with its test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `docker-registry` by a configuration whose address is `127.0.0.1:0`; gives the port that it got.
pub fn serve(config: &Path) -> (Running, u16) {
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(config);
    listening(command, "listening on 127.0.0.1:")
}

/// Starts a server that was told to take any port; gives the one behind these words of what it says.
pub fn listening(mut command: Command, words: &'static str) -> (Running, u16) {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} cannot be run: {error}; see tests/setup.sh"));
    let streams: [Box<dyn Read + Send>; 2] =
        [Box::new(child.stdout.take().expect("its output is a pipe")), Box::new(child.stderr.take().expect("so are its errors"))];
    let running = Running(child);
    let (found, port) = mpsc::channel();
    for stream in streams {
        let found = found.clone();
        // To the end, so that it never waits for us.
        thread::spawn(move || {
            let mut said = Vec::new();
            for line in BufReader::new(stream).lines().map_while(std::io::Result::ok) {
                let port = line.split(words).nth(1).map(|rest| rest.chars().take_while(char::is_ascii_digit).collect());
                if let Some(port) = port.and_then(|port: String| port.parse().ok()) {
                    let _ = found.send(Ok(port));
                }
                said.push(line);
            }
            let _ = found.send(Err(said.join("\n")));
        });
    }
    drop(found);
    // A stream may end early while the other goes on.
    let mut log = String::new();
    loop {
        match port.recv_timeout(UP) {
            Ok(Ok(port)) => return (running, port),
            Ok(Err(said)) => log += &said,
            Err(_) => panic!("{name} does not listen:\n{log}"),
        }
    }
}
