//! A server that does what a test tells it, also what no server should do.

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::real::Certificate;

/// What a client sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// The first line.
    pub(crate) line: String,
    /// All headers, lines with lower-case names.
    pub(crate) headers: String,
    pub(crate) body: String,
    /// The same, whatever it is.
    pub(crate) bytes: Vec<u8>,
    /// Whether the connection broke off within it.
    pub(crate) is_cut: bool,
}

impl Asked {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Both directions of a connection.
pub(crate) trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// Answers a request, the nth of all, from 0 on.
type Answer = dyn Fn(usize, &Asked, &mut dyn Stream) + Send + Sync;

pub(crate) struct Faulty {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    is_over: Arc<AtomicBool>,
}

impl Faulty {
    /// A server whose connections end after one answer.
    pub(crate) fn start(answer: impl Fn(usize, &Asked, &mut dyn Stream) + Send + Sync + 'static) -> Self {
        Self::listen(None, Arc::new(answer))
    }

    /// The same with TLS.
    pub(crate) fn with_tls(of: &Certificate, answer: impl Fn(usize, &Asked, &mut dyn Stream) + Send + Sync + 'static) -> Self {
        let certificates = CertificateDer::pem_file_iter(&of.certificate).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(&of.key).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()));
        let config = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth().with_single_cert(certificates, key);
        Self::listen(Some(Arc::new(config.unwrap())), Arc::new(answer))
    }

    fn listen(tls: Option<Arc<ServerConfig>>, answer: Arc<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { port: listener.local_addr().unwrap().port(), asked: Arc::default(), is_over: Arc::default() };
        let (asked, is_over) = (Arc::clone(&server.asked), Arc::clone(&server.is_over));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
                let (tls, answer, asked) = (tls.clone(), Arc::clone(&answer), Arc::clone(&asked));
                // Its own thread: an answer may take long.
                thread::spawn(move || match tls {
                    Some(config) => {
                        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                        serve(&mut stream, &asked, &*answer);
                        stream.conn.send_close_notify();
                        let _ = stream.flush();
                    }
                    None => serve(&mut { stream }, &asked, &*answer),
                });
            }
        });
        server
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Everything that was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // So that the thread looks.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: &mut dyn Stream, asked: &Mutex<Vec<Asked>>, answer: &Answer) {
    let mut reader = BufReader::new(stream);
    let mut request = Asked::default();
    if reader.read_line(&mut request.line).unwrap_or_default() == 0 {
        return;
    }
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or_default() <= 2 {
            break;
        }
        let (name, value) = line.trim_end().split_once(':').unwrap_or_default();
        request.headers += &format!("{}: {}\n", name.to_ascii_lowercase(), value.trim());
    }
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
    let mut body = Vec::new();
    let _ = reader.by_ref().take(length).read_to_end(&mut body);
    request.is_cut = (body.len() as u64) < length;
    request.body = String::from_utf8_lossy(&body).into_owned();
    request.bytes = body;
    request.line = request.line.trim_end().to_owned();
    let number = {
        let mut asked = asked.lock().unwrap();
        asked.push(request.clone());
        asked.len() - 1
    };
    answer(number, &request, reader.into_inner());
}

/// Sends an answer with its length, and ends the connection.
pub(crate) fn reply(stream: &mut dyn Stream, status: &str, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    send(stream, head.as_bytes());
    send(stream, body);
}

/// Sends bytes as they are, to whoever still listens.
pub(crate) fn send(stream: &mut dyn Stream, bytes: &[u8]) {
    let _ = stream.write_all(bytes).and_then(|()| stream.flush());
}
