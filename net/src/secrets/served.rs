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
    io::BufReader,
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

#[path = "../../../tests/support/asked.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)]
mod asked;

use asked::{Port, reply};

pub(super) use asked::Asked;

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
    port: Port,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub(super) fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let all = Arc::clone(&asked);
        let port = Port::open(move |mut stream| {
            let Some(request) = Asked::whole(&mut BufReader::new(&stream)) else { return };
            // One after the other, as they were asked.
            let mut all = all.lock().unwrap();
            let (status, headers, body) = answer(&request);
            all.push(request);
            reply(&mut stream, status, &headers, body.as_bytes());
        });
        Self { port, asked }
    }

    pub(super) fn url(&self) -> String {
        self.port.url()
    }

    /// Everything that was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
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
