//! A wire to a server on loopback, slow and broken as a test wants it.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

const OPEN: &str = "it is open";

/// A wire to a server, which is slow and breaks.
pub struct Wire {
    pub port: u16,
    /// How many bytes went to the server.
    pub sent: Arc<Mutex<u64>>,
}

impl Wire {
    /// One that breaks after so many bytes of one connection, so often, and waits after each of its steps of 64 KiB.
    pub fn start(to: u16, breaks_after: u64, breaks: usize, wait: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let wire = Self { port: listener.local_addr().expect("it is bound").port(), sent: Arc::default() };
        let (sent, left) = (Arc::clone(&wire.sent), Arc::new(Mutex::new(breaks)));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", to)).expect("loopback is there");
                let (mut back_from, mut back_to) = (server.try_clone().expect(OPEN), client.try_clone().expect(OPEN));
                thread::spawn(move || {
                    let _ = std::io::copy(&mut back_from, &mut back_to);
                    let _ = back_to.shutdown(Shutdown::Both);
                });
                let (sent, left) = (Arc::clone(&sent), Arc::clone(&left));
                thread::spawn(move || {
                    let (mut client, mut server) = (client, server);
                    let (mut bytes, mut passed) = (vec![0; 64 << 10], 0);
                    loop {
                        let n = client.read(&mut bytes).unwrap_or_default();
                        if n == 0 || server.write_all(&bytes[..n]).is_err() {
                            break;
                        }
                        passed += n as u64;
                        *sent.lock().expect("nobody panics with it") += n as u64;
                        let mut left = left.lock().expect("loopback is there");
                        if passed > breaks_after && *left > 0 {
                            *left -= 1;
                            break;
                        }
                        drop(left);
                        thread::sleep(wait);
                    }
                    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
                });
            }
        });
        wire
    }
}
