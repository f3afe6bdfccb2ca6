//! Servers that misbehave: what goes on, what ends, and with which words.

use crate::{
    faulty::{Faulty, reply, send},
    real::{Impatient, Kept, blob, client, digest, noise, settings},
};
use formats::{Error, Kind, Progress, Silent};
use net::{Client, Limits, Repository, Sink};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

fn of(server: &Faulty) -> Repository {
    Repository::new(&server.host(), "a").unwrap()
}

/// What a server makes of a manifest.
fn manifest_of(server: &Faulty) -> Error {
    client(settings()).manifest(&of(server), "v1").unwrap_err()
}

/// Where a client wants to go on.
fn first(asked: &crate::faulty::Asked) -> usize {
    asked.header("range").map_or(0, |range| range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap())
}

#[test]
fn a_broken_transfer_goes_on_where_it_broke() {
    let bytes = noise(5 << 20);
    let served = bytes.clone();
    // It gives up after a mebibyte and a half each time: more often than attempts are allowed.
    let server = Faulty::start(move |_, asked, stream| {
        let from = first(asked);
        let until = served.len().min(from + (3 << 19));
        let status = if from == 0 { "200 OK" } else { "206 Partial Content" };
        let range = format!("Content-Range: bytes {from}-{}/{}\r\n", served.len() - 1, served.len());
        send(stream, format!("HTTP/1.1 {status}\r\n{range}Content-Length: {}\r\n\r\n", served.len() - from).as_bytes());
        send(stream, &served[from..until]);
    });
    let mut with = settings();
    with.transport.limits.attempts = 2;
    let mut kept = Kept::default();
    let counted = Counted::default();
    client(with).blob(&of(&server), &digest(&bytes), bytes.len() as u64, 0, &mut kept, &counted).unwrap();
    assert!(kept.bytes == bytes && kept.restarts == 0);
    assert_eq!(server.asked().len(), 4);
    assert_eq!((counted.0.load(Ordering::Relaxed), counted.1.load(Ordering::Relaxed)), (5 << 20, 5 << 20));
}

#[derive(Debug, Default)]
struct Counted(AtomicU64, AtomicU64);

impl Progress for Counted {
    fn expect(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn advance(&self, bytes: u64) {
        self.1.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[test]
fn who_knows_no_ranges_begins_anew() {
    let bytes = noise(100_000);
    let served = bytes.clone();
    let server = Faulty::start(move |number, _, stream| {
        send(stream, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", served.len()).as_bytes());
        send(stream, &served[..if number == 0 { 60_000 } else { served.len() }]);
    });
    let mut kept = Kept::default();
    let counted = Counted::default();
    client(settings()).blob(&of(&server), &digest(&bytes), 100_000, 0, &mut kept, &counted).unwrap();
    assert!(kept.bytes == bytes && kept.restarts == 1);
    assert_eq!(server.asked()[1].header("range"), Some("bytes=60000-"));
    assert_eq!((counted.0.load(Ordering::Relaxed), counted.1.load(Ordering::Relaxed)), (100_000, 100_000));
}

#[test]
fn who_never_gets_on_is_given_up() {
    let bytes = noise(4 << 20);
    let served = bytes.clone();
    // Much each time, and never further: it knows no ranges.
    let server = Faulty::start(move |_, _, stream| {
        send(stream, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", served.len()).as_bytes());
        send(stream, &served[..3 << 20]);
    });
    let error = blob(&client(settings()), &of(&server), &bytes).unwrap_err();
    assert!(error.to_string().contains("tried 3 times: ") && error.kind() == Kind::Remote, "{error}");
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn another_part_is_refused() {
    for (range, wanted) in [("bytes 0-9/10", "'bytes 0-9/10'"), ("bytes 4-9/11", "sends another part"), ("", "of 10: ''")] {
        let server = Faulty::start(move |_, _, stream| {
            let headers = if range.is_empty() { String::new() } else { format!("Content-Range: {range}\r\n") };
            reply(stream, "206 Partial Content", &headers, b"456789");
        });
        let error = client(settings()).blob(&of(&server), &digest(b"x"), 10, 4, &mut Kept::default(), &Silent).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[test]
fn no_more_bytes_are_taken_than_are_due() {
    // With a length that says so, with chunks that do not, and with a length that is too short.
    let long = Faulty::start(|_, _, stream| reply(stream, "200 OK", "", b"0123456789ABC"));
    let chunked = Faulty::start(|_, _, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n01234567\r\n5\r\n89ABC\r\n0\r\n\r\n");
    });
    let short = Faulty::start(|_, _, stream| reply(stream, "200 OK", "", b"012"));
    for (server, wanted) in [(long, "announces 13 bytes"), (chunked, "sends more than the 10 bytes"), (short, "announces 3 bytes")] {
        let mut kept = Kept::default();
        let error = client(settings()).blob(&of(&server), &digest(b"x"), 10, 0, &mut kept, &Silent).unwrap_err();
        assert!(error.to_string().contains(wanted) && error.kind() == Kind::Remote, "{error}");
        assert!(kept.bytes.len() <= 10 && server.asked().len() == 1);
    }
}

#[test]
fn what_is_busy_is_asked_again() {
    let clock = Arc::new(Impatient::default());
    let client = Client::new(settings(), clock.clone()).unwrap();
    let server = Faulty::start(|number, _, stream| match number {
        0 => reply(stream, "429 Too Many Requests", "Retry-After: 7\r\n", b""),
        1 => reply(stream, "503 Service Unavailable", "", b""),
        _ => reply(stream, "200 OK", "Content-Type: text/plain; charset=x\r\n", b"{}"),
    });
    assert_eq!(client.manifest(&of(&server), "v1").unwrap().media_type, "text/plain");
    let waits = clock.0.lock().unwrap().clone();
    assert!(waits.len() == 2 && waits[0] == Duration::from_secs(7) && waits[1] <= Duration::from_secs(2), "{waits:?}");
}

#[test]
fn what_stays_busy_is_given_up() {
    let busy = Faulty::start(|_, _, stream| reply(stream, "503 Service Unavailable", "", b"<html>down"));
    let error = manifest_of(&busy).to_string();
    assert!(error.ends_with(&format!("tried 3 times: {} fails: 503 Service Unavailable", busy.host())), "{error}");
    let late = Faulty::start(|_, _, stream| reply(stream, "429 Too Many Requests", "Retry-After: 3600\r\n", b""));
    let error = manifest_of(&late);
    assert!(error.hint_text().unwrap().contains("it asks to wait 3600 s"), "{error}");
    assert_eq!(late.asked().len(), 1);
    let denied = Faulty::start(|_, _, stream| reply(stream, "403 Forbidden", "", b""));
    assert!(manifest_of(&denied).to_string().ends_with("refuses: 403 Forbidden"));
    assert_eq!(denied.asked().len(), 1);
}

#[test]
fn a_server_that_falls_silent_is_left() {
    let silent = Faulty::start(|_, _, _| thread::sleep(Duration::from_secs(15)));
    let stuck = Faulty::start(|_, _, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234");
        thread::sleep(Duration::from_secs(15));
    });
    for server in [silent, stuck] {
        let mut with = settings();
        with.transport.limits = Limits { stall: Duration::from_secs(1), attempts: 1, ..with.transport.limits };
        let began = Instant::now();
        let error = blob(&client(with), &of(&server), b"0123456789").unwrap_err();
        assert!(error.to_string().ends_with(&format!("{} sent nothing for 1 s", server.host())), "{error}");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}

#[test]
fn a_connection_that_breaks_is_asked_again() {
    let server = Faulty::start(|number, _, stream| {
        if number > 0 {
            reply(stream, "200 OK", "", b"{}");
        }
    });
    client(settings()).manifest(&of(&server), "v1").unwrap();
    let never = Faulty::start(|_, _, _| {});
    let error = manifest_of(&never).to_string();
    assert!(error.ends_with("broke the connection off"), "{error}");
}

#[test]
fn a_manifest_has_an_end() {
    let told = Faulty::start(|_, _, stream| send(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"));
    let untold = Faulty::start(|_, _, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        send(stream, &vec![b' '; 5 << 20]);
    });
    let headers = Faulty::start(|_, _, stream| {
        send(stream, b"HTTP/1.1 200 OK\r\n");
        send(stream, "X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(9999).as_bytes());
    });
    for server in [told, untold] {
        let error = manifest_of(&server).to_string();
        assert!(error.contains("sends more than 4194304 bytes"), "{error}");
    }
    assert_eq!(manifest_of(&headers).kind(), Kind::Remote);
}

#[test]
fn a_manifest_is_the_one_that_was_asked_for() {
    let server = Faulty::start(|_, _, stream| reply(stream, "200 OK", "", b"{}"));
    let error = client(settings()).manifest(&of(&server), &digest(b"other")).unwrap_err().to_string();
    assert!(error.contains(&format!("sends another manifest: {}, not {}", digest(b"{}"), digest(b"other"))), "{error}");
    let claims = Faulty::start(|_, _, stream| reply(stream, "200 OK", &format!("Docker-Content-Digest: {}\r\n", digest(b"other")), b"{}"));
    assert!(manifest_of(&claims).to_string().contains("sends another manifest"));
}

#[test]
fn a_terminal_is_not_steered() {
    let server = Faulty::start(|_, _, stream| {
        reply(stream, "400 Bad Request", "", b"{\"errors\": [{\"code\": \"\\u001b]0;x\\u0007\", \"message\": \"\\u202ea\\nb\"}]}");
    });
    let text = Faulty::start(|_, _, stream| reply(stream, "400 \x1b[2J", "", b"\x1b[31mred\r\n"));
    let location = Faulty::start(|_, _, stream| reply(stream, "302 Found", "Location: \x1b[31m\r\n", b""));
    for server in [server, text, location] {
        let error = manifest_of(&server);
        assert!(!format!("{error}{error:?}").chars().any(|c| c.is_control() || c == '\u{202e}'), "{error:?}");
    }
}

#[test]
fn a_sink_that_is_full_ends_it() {
    struct Full;

    impl Sink for Full {
        fn write(&mut self, _: &[u8]) -> formats::Result<()> {
            Err(Error::new(Kind::Environment, "the disk is full"))
        }

        fn restart(&mut self) -> formats::Result<()> {
            Ok(())
        }
    }

    let server = Faulty::start(|_, _, stream| reply(stream, "200 OK", "", b"bytes"));
    let error = client(settings()).blob(&of(&server), &digest(b"bytes"), 5, 0, &mut Full, &Silent).unwrap_err();
    assert_eq!((error.kind(), server.asked().len()), (Kind::Environment, 1));
    let error = client(settings()).blob(&of(&server), &digest(b"bytes"), 5, 6, &mut Full, &Silent).unwrap_err();
    assert_eq!(error.kind(), Kind::BadInput);
}

#[test]
fn we_say_who_we_are() {
    let server = Faulty::start(|_, _, stream| reply(stream, "200 OK", "", b"{}"));
    client(settings()).manifest(&of(&server), "v1").unwrap();
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "GET /v2/a/manifests/v1 HTTP/1.1");
    assert!(asked.header("user-agent").unwrap().starts_with("moby/"), "{asked:?}");
    assert_eq!(asked.header("accept").unwrap().split(", ").count(), 4);
}
