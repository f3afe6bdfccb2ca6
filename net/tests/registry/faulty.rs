//! A server that does what a test tells it, also what no server should do.

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    io::{BufReader, Read, Write},
    sync::{Arc, Mutex},
};

use crate::{asked::Port, real::Certificate};

pub(crate) use crate::asked::{Asked, reply};

/// Both directions of a connection.
pub(crate) trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// Answers a request, the nth of all, from 0 on.
type Answer = dyn Fn(usize, &Asked, &mut dyn Stream) + Send + Sync;

pub(crate) struct Faulty {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    _port: Port,
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
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let all = Arc::clone(&asked);
        let port = Port::open(move |stream| match tls.clone() {
            Some(config) => {
                let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                serve(&mut stream, &all, &*answer);
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
            None => serve(&mut { stream }, &all, &*answer),
        });
        Self { port: port.number, asked, _port: port }
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Everything that was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(stream: &mut dyn Stream, asked: &Mutex<Vec<Asked>>, answer: &Answer) {
    let mut reader = BufReader::new(stream);
    let Some(request) = Asked::whole(&mut reader) else { return };
    let number = {
        let mut asked = asked.lock().unwrap();
        asked.push(request.clone());
        asked.len() - 1
    };
    answer(number, &request, reader.into_inner());
}

/// Sends bytes as they are, to whoever still listens.
pub(crate) fn send(stream: &mut dyn Stream, bytes: &[u8]) {
    let _ = stream.write_all(bytes).and_then(|()| stream.flush());
}
