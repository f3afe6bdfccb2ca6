//! What the supervisor waits for. Threads of their own wait for it and tell.

use std::{sync::mpsc::Sender, thread};

use initconfig::address::Settings;
use nix::sys::signal::{SigSet, Signal};

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A signal to process 1.
    Signal(Signal),
    /// The power button.
    Button,
    /// There may be a device that was not there before.
    Device,
    /// An interface, by its index, got these settings or lost them.
    Interface(u32, Option<Settings>),
}

/// The signals that mean something to process 1: of a child, of `reboot`, `halt` and `poweroff`, of Ctrl-Alt-Del and of a failing supply.
const SIGNALS: [Signal; 6] = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGINT, Signal::SIGPWR];

/// Has signals told as events. Called before there is another thread, for threads inherit that they are blocked.
pub(crate) fn signals(events: Sender<Event>) {
    let set: SigSet = SIGNALS.into_iter().collect();
    let _ = set.thread_block();
    thread::spawn(move || {
        while let Ok(signal) = set.wait() {
            if events.send(Event::Signal(signal)).is_err() {
                break;
            }
        }
    });
}
