//! Somebody between a client and a server: passes requests on, or does to them what a test wants.

use crate::asked::{Asked, Port};
use sha2::{Digest, Sha256};
use std::{
    io::{BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Arc, Mutex},
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

type Log = Arc<Mutex<Vec<String>>>;

pub(super) struct Between {
    pub(super) port: u16,
    lines: Log,
    requests: Log,
    _port: Port,
}

impl Between {
    /// Somebody in front of a port. `decide` is given the number of a request, from 0 on, and its first line.
    pub(super) fn start(server: u16, decide: impl Fn(usize, &str) -> Fate + Send + Sync + 'static) -> Self {
        let (lines, requests) = <(Log, Log)>::default();
        let (all_lines, all_requests) = (Arc::clone(&lines), Arc::clone(&requests));
        let port = Port::open(move |stream| {
            pass(&stream, server, &all_lines, &all_requests, &decide);
        });
        Self { port: port.number, lines, requests, _port: port }
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

/// One request of a connection, which ends then.
fn pass(client: &TcpStream, server: u16, lines: &Mutex<Vec<String>>, requests: &Mutex<Vec<String>>, decide: &Decide) -> Option<()> {
    let mut reader = BufReader::new(client);
    let mut asked = Asked::head(&mut reader)?;
    let number = {
        let mut lines = lines.lock().unwrap();
        lines.push(asked.line.clone());
        lines.len() - 1
    };
    let fate = decide(number, &asked.line);
    let length = if matches!(fate, Fate::Reset) { asked.length() / 2 } else { asked.length() };
    asked.take(&mut reader, length);
    let head = format!("{}\r\n{}\r\n", asked.line, asked.headers.replace('\n', "\r\n"));
    requests.lock().unwrap().push(head.clone() + &String::from_utf8_lossy(&asked.bytes[..asked.bytes.len().min(4096)]));
    if asked.is_cut {
        return None;
    }
    let mut body = asked.bytes;
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
