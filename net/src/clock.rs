//! The one place that asks for the time, and that waits.
//!
//! What is below us asks for itself: time limits are `ureq`'s, and whether a certificate is still good is `rustls`'s.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Says what time it is, and waits. Tests hand in their own.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time since 1970-01-01 00:00:00 UTC.
    fn now(&self) -> Duration;

    /// Comes back when so much time has passed.
    fn wait(&self, time: Duration);
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Machine;

impl Clock for Machine {
    fn now(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn wait(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
