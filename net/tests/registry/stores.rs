//! Stores: real ones of others on the loopback interface, and what happens between us and them.

mod arm;
mod aws;
mod azure;
mod between;
mod compute;
mod google;
mod logins;
mod openstack;
mod s3;
mod secure;
mod vsphere;

use formats::Blob;
use net::{Limits, Stores, clock::Clock, store};
use std::{
    collections::HashMap,
    ffi::OsString,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Python with what the clouds' own libraries are, in which emulators are written, too.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.cache/stores/bin/python3");

/// Runs lines of Python; what they print.
fn python(lines: &str) -> String {
    String::from_utf8(crate::real::run(PYTHON, &["-c", lines])).unwrap().trim().to_owned()
}

/// The machine's time, later or earlier by so many seconds; waiting costs nothing.
#[derive(Debug, Default)]
struct Shifted {
    seconds: i64,
    waits: Mutex<Vec<Duration>>,
}

impl Clock for Shifted {
    fn now(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Duration::from_secs(now.as_secs().checked_add_signed(self.seconds).unwrap())
    }

    fn wait(&self, time: Duration) {
        self.waits.lock().unwrap().push(time);
    }
}

/// Stores by these variables, and their clock.
fn stores(variables: &[(&str, &str)], seconds: i64) -> (Arc<Stores>, Arc<Shifted>) {
    stores_by(net::Transport::default(), variables, seconds)
}

/// The same by such a way.
fn stores_by(transport: net::Transport, variables: &[(&str, &str)], seconds: i64) -> (Arc<Stores>, Arc<Shifted>) {
    let variables: HashMap<String, OsString> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    let clock = Arc::new(Shifted { seconds, ..Shifted::default() });
    let limits = Limits { stall: Duration::from_secs(10), ..Limits::default() };
    let transport = net::Transport { limits, ..transport };
    let settings = store::Settings { transport, endpoint: None, connections: NonZeroUsize::new(3).unwrap() };
    (Stores::new(settings, &|name| variables.get(name).cloned(), Arc::clone(&clock) as Arc<dyn Clock>), clock)
}

/// Bytes that repeat nowhere.
fn noise(len: usize, mut seed: u64) -> Blob {
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(seed >> 16).to_le_bytes()[..6]);
    }
    bytes.truncate(len);
    Blob::bytes(bytes)
}
