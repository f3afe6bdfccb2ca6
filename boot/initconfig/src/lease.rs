//! A DHCP client's states, RFC 2131 section 4.4: what to send, and what an answer changes. The caller has the clock and the sockets.
//!
//! ```text
//!  Selecting ── offer ─► Requesting ── ack ─► Bound ── renew ─► Renewing ── rebind ─► Rebinding
//!      ▲                      │ nak, silence    ▲                  │ ack                  │ ack
//!      └──────────────────────┴─────────────────┴──────────────────┴───── nak, end ───────┘
//! ```
//! A server that answers nonsense, or says yes and no in turn, is asked ever more seldom, down to once in 64 seconds.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use crate::dhcp::{Answer, Ask, Lease, Mac, message};

/// Milliseconds on the caller's clock.
pub type Millis = u64;

/// The first wait for an answer, doubled with every attempt.
const WAIT: Millis = 1000;
/// Waits are doubled so often: 64 seconds.
const DOUBLED_MAX: u32 = 6;
/// Requests without an answer until it is another server's turn.
const REQUESTS_MAX: u32 = 3;
/// How often a lease is asked for again at most.
const AGAIN_MIN: Millis = 60_000;

/// A client on one interface.
#[derive(Debug)]
pub struct Client {
    mac: Mac,
    xid: u32,
    state: State,
    /// When something is due.
    due: Millis,
    /// When this transaction began.
    since: Millis,
    /// Messages since the last lease.
    attempts: u32,
}

#[derive(Debug)]
enum State {
    Selecting,
    Requesting { address: Ipv4Addr, server: Ipv4Addr, sent: u32 },
    Bound { lease: Lease, at: Millis },
}

/// A message to send.
#[derive(Debug, PartialEq, Eq)]
pub struct Send {
    /// Its bytes.
    pub message: Vec<u8>,
    /// To whom; the broadcast address for everybody.
    pub to: Ipv4Addr,
}

/// What happened to the lease.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// There is one, or the one that was there goes on, perhaps with other settings.
    Bound,
    /// There is none any more.
    Lost(Lease),
}

impl Client {
    /// A client that begins now. `xid` is random: by it strangers cannot guess what we wait for.
    pub fn new(mac: Mac, xid: u32, now: Millis) -> Self {
        Self { mac, xid, state: State::Selecting, due: now, since: now, attempts: 0 }
    }

    /// When [`Client::tick`] is due.
    pub fn due(&self) -> Millis {
        self.due
    }

    /// The lease that is held.
    pub fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Bound { lease, .. } => Some(lease),
            _ => None,
        }
    }

    /// Does what is due: what to send, and whether the lease is over.
    pub fn tick(&mut self, now: Millis) -> (Option<Send>, Option<Change>) {
        if now < self.due {
            return (None, None);
        }
        let (ask, to, change) = match &mut self.state {
            State::Selecting => {
                self.since = if self.attempts == 0 { now } else { self.since };
                (Ask::Discover, Ipv4Addr::BROADCAST, None)
            }
            State::Requesting { sent, .. } if *sent >= REQUESTS_MAX => {
                self.begin(now);
                (Ask::Discover, Ipv4Addr::BROADCAST, None)
            }
            State::Requesting { address, server, sent } => {
                *sent = sent.saturating_add(1);
                (Ask::Select(*address, *server), Ipv4Addr::BROADCAST, None)
            }
            State::Bound { lease, at } => {
                let Some(times) = lease.times else {
                    self.due = Millis::MAX;
                    return (None, None);
                };
                let [rebind, end] = [times.rebind, times.end].map(|seconds| at.saturating_add(seconds_of(seconds)));
                if now >= end {
                    let lost = lease.clone();
                    self.begin(now);
                    (Ask::Discover, Ipv4Addr::BROADCAST, Some(Change::Lost(lost)))
                } else {
                    // Half of what is left until the next step, RFC 2131 section 4.4.5.
                    let (to, next) = if now < rebind { (lease.server, rebind) } else { (Ipv4Addr::BROADCAST, end) };
                    let left = next.saturating_sub(now);
                    self.due = now.saturating_add((left / 2).max(AGAIN_MIN).min(left));
                    self.since = now;
                    let message = message(Ask::Keep(lease.settings.address), self.xid, self.mac, 0);
                    return (Some(Send { message, to }), None);
                }
            }
        };
        let seconds = u16::try_from(now.saturating_sub(self.since) / 1000).unwrap_or(u16::MAX);
        let message = message(ask, self.xid, self.mac, seconds);
        self.due = now.saturating_add(WAIT << self.attempts.min(DOUBLED_MAX));
        self.attempts = self.attempts.saturating_add(1);
        (Some(Send { message, to }), change)
    }

    /// Takes a server's message.
    pub fn receive(&mut self, message: &[u8], now: Millis) -> Option<Change> {
        let answer = Answer::parse(message, self.xid, self.mac)?;
        match (answer, &self.state) {
            (Answer::Offer(address, server), State::Selecting) => {
                self.state = State::Requesting { address, server, sent: 0 };
                self.due = now;
                None
            }
            (Answer::Ack(lease), State::Requesting { .. }) => Some(self.bind(lease, now)),
            // One that was not asked for again is an echo, or somebody's who tries.
            (Answer::Ack(lease), State::Bound { lease: old, at }) if self.since > *at => {
                // Another address is not what was asked for.
                (lease.settings.address == old.settings.address).then(|| self.bind(lease, now))
            }
            (Answer::Nak, State::Requesting { .. }) => {
                self.begin(now);
                // Not at once: who says yes and no in turn would have us ask without end.
                self.due = now.saturating_add(WAIT << self.attempts.min(DOUBLED_MAX));
                None
            }
            (Answer::Nak, State::Bound { lease, at }) if self.since > *at => {
                let lost = lease.clone();
                self.begin(now);
                Some(Change::Lost(lost))
            }
            _ => None,
        }
    }

    fn bind(&mut self, lease: Lease, now: Millis) -> Change {
        self.due = lease.times.map_or(Millis::MAX, |times| now.saturating_add(seconds_of(times.renew)));
        self.state = State::Bound { lease, at: now };
        self.since = now;
        self.attempts = 0;
        self.xid = self.xid.wrapping_add(1);
        Change::Bound
    }

    /// From the start, with another number.
    fn begin(&mut self, now: Millis) {
        self.state = State::Selecting;
        self.xid = self.xid.wrapping_add(1);
        self.due = now;
    }
}

fn seconds_of(seconds: u32) -> Millis {
    Millis::from(seconds).saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::{Change, Client, Ipv4Addr};
    use crate::dhcp::tests::{MAC, SERVER, answer};

    const OFFER: [u8; 10] = [53, 1, 2, 54, 4, 10, 0, 2, 2, 255];
    /// For 3600 seconds.
    const ACK: [u8; 16] = [53, 1, 5, 54, 4, 10, 0, 2, 2, 51, 4, 0, 0, 14, 16, 255];
    const NAK: [u8; 4] = [53, 1, 6, 255];

    fn bound() -> Client {
        let mut client = Client::new(MAC, 7, 0);
        assert_eq!(client.tick(0).0.unwrap().to, Ipv4Addr::BROADCAST);
        assert_eq!(client.receive(&answer(7, &OFFER), 10), None);
        assert_eq!(client.due(), 10);
        let request = client.tick(10).0.unwrap().message;
        assert_eq!(request[242], 3);
        assert_eq!(client.receive(&answer(7, &ACK), 20), Some(Change::Bound));
        assert_eq!(client.lease().unwrap().settings.address, Ipv4Addr::new(10, 0, 2, 15));
        client
    }

    #[test]
    fn a_lease_is_renewed_then_asked_of_everybody_then_lost() {
        let mut client = bound();
        assert_eq!(client.due(), 1_800_020);
        let sent = client.tick(1_800_020).0.unwrap();
        assert_eq!((sent.to, &sent.message[12..16]), (SERVER.into(), [10, 0, 2, 15].as_slice()));
        assert_eq!(client.receive(&answer(8, &ACK), 1_800_030), Some(Change::Bound));
        assert_eq!(client.due(), 3_600_030);
        // Nobody answers any more.
        let (mut told, mut broadcast) = (0, 0);
        loop {
            let (sent, change) = client.tick(client.due());
            if let Some(Change::Lost(lease)) = change {
                assert_eq!(lease.settings.address, Ipv4Addr::new(10, 0, 2, 15));
                break;
            }
            match sent.unwrap().to {
                Ipv4Addr::BROADCAST => broadcast += 1,
                _ => told += 1,
            }
        }
        assert!((2..20).contains(&told) && (2..10).contains(&broadcast), "{told} {broadcast}");
        assert!(client.lease().is_none());
    }

    #[test]
    fn a_refusal_while_renewing_takes_the_address() {
        let mut client = bound();
        // Not asked for: an echo.
        assert_eq!(client.receive(&answer(8, &NAK), 30), None);
        assert_eq!(client.receive(&answer(8, &ACK), 30), None);
        client.tick(client.due());
        assert!(matches!(client.receive(&answer(8, &NAK), 1_900_000), Some(Change::Lost(_))));
        assert!(client.tick(1_900_000).0.is_some());
    }

    #[test]
    fn silence_is_asked_ever_more_seldom() {
        let mut client = Client::new(MAC, 7, 0);
        let mut times = alloc::vec::Vec::new();
        for _ in 0..10 {
            times.push(client.due());
            assert!(client.tick(client.due()).0.is_some());
        }
        assert_eq!(&times[..5], [0, 1000, 3000, 7000, 15_000]);
        assert_eq!(times[9] - times[8], 64_000);
        assert_eq!(client.tick(times[9]), (None, None));
    }

    /// It offers and refuses in turn, and offers what it then says nothing about.
    #[test]
    fn a_hostile_server_has_no_more_than_one_message_a_minute() {
        for silent in [false, true] {
            let mut client = Client::new(MAC, 7, 0);
            let (mut now, mut sent) = (0, 0);
            while now < 3_600_000 {
                now = now.max(client.due());
                let Some(send) = client.tick(now).0 else { continue };
                sent += 1;
                let xid = u32::from_be_bytes(send.message[4..8].try_into().unwrap());
                match (send.message[242], silent) {
                    (1, _) => assert_eq!(client.receive(&answer(xid, &OFFER), now), None),
                    (_, false) => assert_eq!(client.receive(&answer(xid, &NAK), now), None),
                    _ => {}
                }
            }
            assert!(sent < 200, "{sent}");
        }
    }

    #[test]
    fn a_lease_without_an_end_is_never_asked_for_again() {
        let mut client = Client::new(MAC, 7, 0);
        client.tick(0);
        client.receive(&answer(7, &OFFER), 0);
        client.tick(0);
        client.receive(&answer(7, &[&ACK[..11], &[0xff; 4], &[255]].concat()), 0);
        assert_eq!(client.due(), u64::MAX);
        assert_eq!(client.tick(u64::MAX), (None, None));
    }
}
