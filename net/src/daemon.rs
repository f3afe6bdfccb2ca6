//! A Docker daemon on this machine, by its socket (Docker Engine API 1.24 and later, `GET /images/NAME/get`).

use crate::{
    text::{SHOWN, shown},
    variables::Variables,
};
use formats::{At, Error, Kind, Result};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    path::PathBuf,
};

/// Where the daemon listens if nobody says otherwise.
const SOCKET: &str = "/var/run/docker.sock";
/// Most bytes of a line of its answer's head, and most lines.
const LINE_MAX: u64 = 16 << 10;
const LINES_MAX: usize = 100;

/// A daemon.
#[derive(Clone, Debug)]
pub struct Daemon {
    socket: PathBuf,
}

impl Daemon {
    /// The daemon that `DOCKER_HOST` names, or the one at `/var/run/docker.sock`; none where there is no such socket, and none that listens
    /// elsewhere than at one.
    pub fn find(env: Variables<'_>) -> Option<Self> {
        let named = env("DOCKER_HOST").filter(|host| !host.is_empty());
        let socket = match &named {
            Some(host) => PathBuf::from(host.to_str()?.strip_prefix("unix://")?),
            None => SOCKET.into(),
        };
        socket.exists().then_some(Self { socket })
    }

    /// Writes the archive that `docker save` would make of an image; whether it has the image.
    ///
    /// # Errors
    /// Remote: the daemon refuses, breaks off or is not reached. Else what writing says.
    pub fn save(&self, image: &str, to: &mut dyn Write) -> Result<bool> {
        self.get(image, to).at(|| format!("Docker at {}", self.socket.display()))
    }

    fn get(&self, image: &str, to: &mut dyn Write) -> Result<bool> {
        let remote = |what: String| Error::new(Kind::Remote, what);
        // Names have nothing that a path of a URL has not; whatever else comes here is no name.
        if image.bytes().any(|byte| !(byte.is_ascii_alphanumeric() || b"/:@._-[]".contains(&byte))) {
            return Err(Error::bad_input(format!("'{}' is no name of an image", shown(image, SHOWN))));
        }
        let mut stream = connect(&self.socket).map_err(|error| remote("it is not reached".into()).because(error))?;
        // To 1.0 the answer has no chunks: it ends with the connection, or where its length says.
        write!(stream, "GET /images/{image}/get HTTP/1.0\r\nHost: docker\r\n\r\n")
            .map_err(|error| remote("it hangs up".into()).because(error))?;
        let mut answer = BufReader::with_capacity(256 << 10, stream);
        let mut line = || -> Result<String> {
            let mut line = Vec::new();
            let broken = |error: io::Error| remote("it breaks off".into()).because(error);
            (&mut answer).take(LINE_MAX).read_until(b'\n', &mut line).map_err(broken)?;
            Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
        };
        let status = line()?;
        let mut length = None;
        for _ in 0..LINES_MAX {
            let header = line()?;
            if header.is_empty() {
                break;
            }
            let (name, value) = header.split_once(':').unwrap_or((&header, ""));
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse::<u64>().ok();
            }
        }
        match status.split(' ').nth(1) {
            Some("200") => {}
            Some("404") => return Ok(false),
            _ => return Err(remote(format!("it answers '{}'", shown(&status, SHOWN)))),
        }
        let copied = io::copy(&mut answer, to)?;
        match length {
            Some(length) if length != copied => Err(remote(format!("it breaks off after {copied} of {length} bytes"))),
            _ => Ok(true),
        }
    }
}

#[cfg(unix)]
fn connect(socket: &std::path::Path) -> io::Result<std::os::unix::net::UnixStream> {
    use std::time::Duration;
    let stream = std::os::unix::net::UnixStream::connect(socket)?;
    // It packs an image before it answers.
    stream.set_read_timeout(Some(Duration::from_secs(300)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

#[cfg(not(unix))]
fn connect(_: &std::path::Path) -> io::Result<std::net::TcpStream> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::{ffi::OsString, os::unix::net::UnixListener, thread};

    /// What a daemon answers to one request, and what it was asked.
    fn asked(answer: &'static str, image: &str) -> (Result<bool>, Vec<u8>, String) {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            for line in BufReader::new(&stream).lines() {
                match line.unwrap() {
                    line if line.is_empty() => break,
                    line => request += &format!("{line}\n"),
                }
            }
            stream.write_all(answer.as_bytes()).unwrap();
            request
        });
        let host = OsString::from(format!("unix://{}", socket.display()));
        let daemon = Daemon::find(&|name| (name == "DOCKER_HOST").then(|| host.clone())).unwrap();
        let mut body = Vec::new();
        let result = daemon.save(image, &mut body);
        (result, body, server.join().unwrap())
    }

    #[test]
    fn what_a_daemon_answers_is_told_apart() {
        let (result, body, request) = asked("HTTP/1.0 200 OK\r\nContent-Type: application/x-tar\r\n\r\narchive", "docker.io/lab/app:1");
        assert!(
            result.unwrap() && body == b"archive" && request.starts_with("GET /images/docker.io/lab/app:1/get HTTP/1.0\n"),
            "{request}"
        );
        assert!(!asked("HTTP/1.0 404 Not Found\r\n\r\n{}", "a").0.unwrap());
        for (answer, words) in [
            ("HTTP/1.0 500 Internal\x1b[2J\r\n\r\n", "it answers 'HTTP/1.0 500 Internal"),
            ("HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nshort", "after 5 of 9 bytes"),
            ("", "it answers ''"),
        ] {
            let error = asked(answer, "a").0.unwrap_err();
            let text = error.to_string();
            assert!(error.kind() == Kind::Remote && text.contains(words) && !text.contains('\x1b'), "{text}");
        }
    }

    #[test]
    fn there_may_be_no_daemon() {
        for host in ["tcp://127.0.0.1:2375", "unix:///nowhere/docker.sock"] {
            assert!(Daemon::find(&|_| Some(host.into())).is_none(), "{host}");
        }
    }
}
