//! Somebody between a client and a server: passes requests on, or does to them what a test wants.

use sha2::{Digest, Sha256};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// What is done to a request.
pub(super) enum Fate {
    /// It goes on, and the answer comes back.
    Passes,
    /// It is answered here.
    Answered(&'static str),
    /// The connection is reset in the middle of its body.
    Reset,
    /// It goes on, and its answer is lost.
    AnswerLost,
    /// A byte of its body changes on the way. S3 compares with the hash that is signed and refuses, which moto does not: so it is done here.
    Damaged,
}

const MISMATCH: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 54\r\nConnection: close\r\n\r\n<Error><Code>XAmzContentSHA256Mismatch</Code></Error>\n";

type Decide = dyn Fn(usize, &str) -> Fate + Send + Sync;

pub(super) struct Between {
    pub(super) port: u16,
    lines: Arc<Mutex<Vec<String>>>,
    requests: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
}

impl Between {
    /// Somebody in front of a port. `decide` is given the number of a request, from 0 on, and its first line.
    pub(super) fn start(server: u16, decide: impl Fn(usize, &str) -> Fate + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let this =
            Self { port: listener.local_addr().unwrap().port(), lines: Arc::default(), requests: Arc::default(), is_over: Arc::default() };
        let requests = Arc::clone(&this.requests);
        let (lines, is_over, decide) = (Arc::clone(&this.lines), Arc::clone(&this.is_over), Arc::new(decide) as Arc<Decide>);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let (lines, requests, decide) = (Arc::clone(&lines), Arc::clone(&requests), Arc::clone(&decide));
                thread::spawn(move || pass(&stream, server, &lines, &requests, &*decide));
            }
        });
        this
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The first lines of all requests so far.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// All requests so far, of their bodies the first bytes.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // So that the thread looks.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// One request of a connection, which ends then.
fn pass(client: &TcpStream, server: u16, lines: &Mutex<Vec<String>>, requests: &Mutex<Vec<String>>, decide: &Decide) -> Option<()> {
    client.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let mut reader = BufReader::new(client);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
        let line = head[start..].trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let line = head.lines().next()?.to_owned();
    let number = {
        let mut lines = lines.lock().unwrap();
        lines.push(line.clone());
        lines.len() - 1
    };
    let fate = decide(number, &line);
    let mut body = vec![0; if matches!(fate, Fate::Reset) { length / 2 } else { length }];
    reader.read_exact(&mut body).ok()?;
    requests.lock().unwrap().push(head.clone() + &String::from_utf8_lossy(&body[..body.len().min(4096)]));
    let mut client = client;
    match fate {
        // What was not read is what resets it.
        Fate::Reset => return client.shutdown(Shutdown::Both).ok(),
        Fate::Answered(answer) => return client.write_all(answer.as_bytes()).ok(),
        Fate::Damaged => {
            *body.last_mut()? ^= 1;
            let signed = head.lines().find_map(|line| line.strip_prefix("x-amz-content-sha256: "));
            assert_ne!(signed, Some(formats::units::hex(&Sha256::digest(&body)).as_str()));
            return client.write_all(MISMATCH).ok();
        }
        Fate::Passes | Fate::AnswerLost => {}
    }
    let mut to = TcpStream::connect(("127.0.0.1", server)).ok()?;
    let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    to.write_all(head.as_bytes()).and_then(|()| to.write_all(&body)).ok()?;
    let mut answer = Vec::new();
    to.read_to_end(&mut answer).ok()?;
    if matches!(fate, Fate::AnswerLost) {
        return client.shutdown(Shutdown::Both).ok();
    }
    // The connection ends here, whatever the server says of it.
    let first = answer.iter().position(|byte| *byte == b'\n')? + 1;
    let whole = [&answer[..first], b"Connection: close\r\n", &answer[first..]].concat();
    client.write_all(&whole).ok()
}
