//! For tests: a server that answers as it is told, a clock that stands, variables, and chains with all of these.

use crate::{
    clock::Clock,
    http::{Http, Transport},
    retry::Limits,
    variables::Variables,
};
use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// What was asked: the first line, headers as lines with lower-case names, and the body.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) line: String,
    pub(super) headers: String,
    pub(super) body: String,
}

impl Asked {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Method and path.
    pub(super) fn what(&self) -> &str {
        self.line.rsplit_once(' ').map_or("", |(what, _)| what)
    }
}

/// Status line, headers as lines, and body.
pub(super) type Reply = (&'static str, String, String);

/// An answer that goes well.
pub(super) fn ok(body: impl Into<String>) -> Reply {
    ("200 OK", String::new(), body.into())
}

/// One that does not.
pub(super) fn refusal(status: &'static str, body: &str) -> Reply {
    (status, String::new(), body.to_owned())
}

pub(super) struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    is_over: Arc<AtomicBool>,
}

impl Server {
    pub(super) fn start(answer: impl Fn(&Asked) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { port: listener.local_addr().unwrap().port(), asked: Arc::default(), is_over: Arc::default() };
        let (asked, is_over) = (Arc::clone(&server.asked), Arc::clone(&server.is_over));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let request = read(&stream);
                let (status, headers, body) = answer(&request);
                asked.lock().unwrap().push(request);
                let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = (&stream).write_all((head + &body).as_bytes());
            }
        });
        server
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Everything that was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // So that the thread looks.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn read(stream: &TcpStream) -> Asked {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut reader = BufReader::new(stream);
    let mut asked = Asked::default();
    let _ = reader.read_line(&mut asked.line);
    asked.line = asked.line.trim_end().to_owned();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or_default() <= 2 {
            break;
        }
        let (name, value) = line.trim_end().split_once(':').unwrap_or_default();
        asked.headers += &format!("{}: {}\n", name.to_ascii_lowercase(), value.trim());
    }
    let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    asked.body = String::from_utf8_lossy(&body).into_owned();
    asked
}

/// An address where nobody listens.
pub(super) fn nobody() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}")
}

/// A clock that stands until it is set, and on which waiting takes no time.
#[derive(Debug, Default)]
pub(super) struct Standing(AtomicU64);

impl Standing {
    pub(super) fn at(seconds: u64) -> Arc<Self> {
        Arc::new(Self(seconds.into()))
    }

    pub(super) fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::Relaxed);
    }
}

impl Clock for Standing {
    fn now(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }

    fn wait(&self, _: Duration) {}
}

/// A way to servers, with limits that a test can wait for.
pub(super) fn http(clock: &Arc<Standing>) -> Http {
    let [connect, stall, answer, wait] = [10; 4].map(Duration::from_secs);
    let limits = Limits { connect, stall, answer, wait, attempts: 3 };
    Http::new(Transport { limits, ..Transport::default() }, Arc::clone(clock) as Arc<dyn Clock>)
}

/// These variables and no other.
pub(super) fn variables(these: &[(&str, &str)]) -> impl Fn(&str) -> Option<OsString> + use<> {
    let these: HashMap<String, OsString> = these.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    move |name| these.get(name).cloned()
}

/// 2024-02-29 12:00:00.
pub(super) const NOON: u64 = 1_709_208_000;

/// Variables.
pub(super) type Set<'a> = &'a [(&'a str, &'a str)];

/// A chain with a home of its own, at noon.
pub(super) struct Case<C> {
    pub(super) home: tempfile::TempDir,
    pub(super) clock: Arc<Standing>,
    pub(super) http: Http,
    pub(super) chain: C,
}

impl<C> Case<C> {
    /// With these variables, and files below its home; those without a text are not there.
    pub(super) fn of(chain: impl FnOnce(Variables<'_>) -> C, these: Set<'_>, files: Set<'_>) -> Self {
        let home = tempfile::tempdir().unwrap();
        for (name, text) in files.iter().filter(|(_, text)| !text.is_empty()) {
            let file = home.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let all: Vec<_> = [("HOME", home.path().to_str().unwrap())].iter().chain(these).copied().collect();
        let clock = Standing::at(NOON);
        let (http, chain) = (http(&clock), chain(&variables(&all)));
        Self { home, clock, http, chain }
    }
}
