//! Requests as the small servers of the tests hear them, one a connection; unit tests of the network crate include this file, too.

use serde_json::Value;
use std::{
    io::{BufRead, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// How long somebody may say nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// What a client sent.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The first line.
    pub line: String,
    /// All headers, lines with lower-case names.
    pub headers: String,
    pub body: String,
    /// The same, whatever it is.
    pub bytes: Vec<u8>,
    /// Whether the connection broke off within it.
    pub is_cut: bool,
}

impl Asked {
    /// All before the body; none where nobody asks.
    pub fn head(from: &mut impl BufRead) -> Option<Self> {
        let mut asked = Self::default();
        from.read_line(&mut asked.line).ok().filter(|n| *n > 0)?;
        asked.line.truncate(asked.line.trim_end().len());
        loop {
            let mut line = String::new();
            from.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else { return Some(asked) };
            asked.headers += &format!("{}: {}\n", name.to_ascii_lowercase(), value.trim());
        }
    }

    /// The body, or as much of it as is wanted.
    pub fn take(&mut self, from: &mut impl BufRead, length: usize) {
        let _ = from.take(length as u64).read_to_end(&mut self.bytes);
        self.is_cut = self.bytes.len() < length;
        self.body = String::from_utf8_lossy(&self.bytes).into_owned();
    }

    /// All of it.
    pub fn whole(from: &mut impl BufRead) -> Option<Self> {
        let mut asked = Self::head(from)?;
        let length = asked.length();
        asked.take(from, length);
        Some(asked)
    }

    /// How many bytes the body is said to have.
    pub fn length(&self) -> usize {
        self.header("content-length").and_then(|length| length.parse().ok()).unwrap_or_default()
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("a body of JSON")
    }

    /// Method and path, with its query.
    pub fn what(&self) -> &str {
        self.line.rsplit_once(' ').map_or("", |(what, _)| what)
    }
}

/// Sends an answer with its length, after which the connection ends.
pub fn reply(to: &mut (impl Write + ?Sized), status: &str, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // Whoever asked may be gone.
    let _ = to.write_all(head.as_bytes()).and_then(|()| to.write_all(body)).and_then(|()| to.flush());
}

/// A port of the loopback interface, where connections are taken until this is dropped.
pub struct Port {
    pub number: u16,
    is_over: Arc<AtomicBool>,
}

impl Port {
    /// `serve` has each connection in a thread of its own: an answer may take long.
    pub fn open(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let port = Self { number: listener.local_addr().expect("it is bound").port(), is_over: Arc::default() };
        let (serve, is_over) = (Arc::new(serve), Arc::clone(&port.is_over));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let _ = stream.set_read_timeout(Some(SILENCE)).and_then(|()| stream.set_write_timeout(Some(SILENCE)));
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(stream));
            }
        });
        port
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.number)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // So that the thread looks.
        let _ = TcpStream::connect(("127.0.0.1", self.number));
    }
}
