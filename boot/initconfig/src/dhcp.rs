//! DHCP messages, RFC 2131 and 2132, with routes of RFC 3442 and long options of RFC 3396.
//!
//! ```text
//!   0  op, htype, hlen, hops    8  secs, flags    16  yiaddr    28  chaddr (16)   108  file (128)   240  options
//!   4  xid                     12  ciaddr         20  siaddr    44  sname (64)    236  99.130.83.99
//! ```
//! Whoever answers is not trusted: an address has to be a host's, a mask ones and then zeros, names have letters, digits, `.` and `-` only,
//! and there are at most [`ROUTES_MAX`] routes.

use alloc::{collections::BTreeMap, vec::Vec};
use core::net::Ipv4Addr;

use crate::{
    address::{self, DNS_MAX, Route, Settings},
    config::is_hostname,
};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// The port of servers.
pub const SERVER_PORT: u16 = 67;
/// The port of clients.
pub const CLIENT_PORT: u16 = 68;
/// Routes of one answer that are believed.
pub const ROUTES_MAX: usize = 64;
/// The shortest lease that is believed, in seconds: a shorter one would have us ask all the time.
const LEASE_MIN: u32 = 60;
/// A lease without an end.
const FOREVER: u32 = u32::MAX;
/// The lease of a server that does not say.
const LEASE_DEFAULT: u32 = 3600;

const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Where the options begin.
const OPTIONS: usize = 240;
/// Some relays drop shorter messages: BOOTP's length.
const LENGTH_MIN: usize = 300;

/// Option codes.
mod code {
    pub(super) const MASK: u8 = 1;
    pub(super) const ROUTER: u8 = 3;
    pub(super) const DNS: u8 = 6;
    pub(super) const HOSTNAME: u8 = 12;
    pub(super) const DOMAIN: u8 = 15;
    pub(super) const ADDRESS: u8 = 50;
    pub(super) const LEASE: u8 = 51;
    pub(super) const OVERLOAD: u8 = 52;
    pub(super) const KIND: u8 = 53;
    pub(super) const SERVER: u8 = 54;
    pub(super) const WANTED: u8 = 55;
    pub(super) const SIZE: u8 = 57;
    pub(super) const RENEW: u8 = 58;
    pub(super) const REBIND: u8 = 59;
    pub(super) const CLIENT: u8 = 61;
    pub(super) const ROUTES: u8 = 121;
    pub(super) const END: u8 = 255;
}

/// What a client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Who is there?
    Discover,
    /// I take what this server offered: address, server.
    Select(Ipv4Addr, Ipv4Addr),
    /// May I keep this address that I have?
    Keep(Ipv4Addr),
}

/// A client's message.
pub fn message(ask: Ask, xid: u32, mac: Mac, seconds: u16) -> Vec<u8> {
    let own = if let Ask::Keep(address) = ask { address } else { Ipv4Addr::UNSPECIFIED };
    let mut message = [1, 1, 6, 0].to_vec();
    message.extend(xid.to_be_bytes());
    message.extend(seconds.to_be_bytes());
    // We hear what is sent to the address that we do not have yet: no broadcast is asked for.
    message.extend([0, 0]);
    message.extend(own.octets());
    message.extend([0; 12]);
    message.extend(mac);
    message.resize(OPTIONS.saturating_sub(COOKIE.len()), 0);
    message.extend(COOKIE);
    let mut option = |code: u8, value: &[u8]| {
        message.extend([code, u8::try_from(value.len()).unwrap_or(0)]);
        message.extend(value);
    };
    option(code::KIND, &[if ask == Ask::Discover { 1 } else { 3 }]);
    option(code::CLIENT, &[1].into_iter().chain(mac).collect::<Vec<_>>());
    if let Ask::Select(address, server) = ask {
        option(code::ADDRESS, &address.octets());
        option(code::SERVER, &server.octets());
    }
    option(code::SIZE, &1500_u16.to_be_bytes());
    // RFC 3442: 121 before 3.
    option(
        code::WANTED,
        &[code::MASK, code::ROUTES, code::ROUTER, code::DNS, code::HOSTNAME, code::DOMAIN, code::LEASE, code::RENEW, code::REBIND],
    );
    message.push(code::END);
    message.resize(message.len().max(LENGTH_MIN), 0);
    message
}

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This address, by this server.
    Offer(Ipv4Addr, Ipv4Addr),
    /// What was asked for.
    Ack(Lease),
    /// No.
    Nak,
}

/// An address for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Address and all else.
    pub settings: Settings,
    /// Who gave it.
    pub server: Ipv4Addr,
    /// When it is over; without them never.
    pub times: Option<Times>,
}

/// Seconds from the moment at which a lease was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Its server is asked to go on (T1).
    pub renew: u32,
    /// Any server is asked to go on (T2).
    pub rebind: u32,
    /// The address is another's.
    pub end: u32,
}

/// The DHCP message in an IPv4 packet that a server sent to a client; none when it is anything else.
pub fn payload(packet: &[u8]) -> Option<&[u8]> {
    let first = packet.first()?;
    let header = usize::from(first & 15).saturating_mul(4);
    let word = |at: usize| Some(u16::from_be_bytes(packet.get(at..at.saturating_add(2))?.try_into().ok()?));
    let total = usize::from(word(2)?);
    // The first piece of a packet is a whole one, or none of ours.
    let whole = word(6)? & 0x3fff == 0;
    if first >> 4 != 4 || header < 20 || packet.get(9) != Some(&17) || !whole {
        return None;
    }
    let ports = (word(header)?, word(header.saturating_add(2))?);
    let length = usize::from(word(header.saturating_add(4))?);
    let end = header.checked_add(length).filter(|end| *end <= total)?;
    let payload = packet.get(header.saturating_add(8)..end)?;
    (ports == (SERVER_PORT, CLIENT_PORT)).then_some(payload)
}

impl Answer {
    /// Reads a server's message to this client in this transaction; none when it is anything else.
    pub fn parse(message: &[u8], xid: u32, mac: Mac) -> Option<Self> {
        let head = message.get(..OPTIONS)?;
        let part = |range| head.get::<core::ops::Range<usize>>(range);
        let ours = part(0..3)? == [2, 1, 6] && part(4..8)? == xid.to_be_bytes() && part(28..34)? == mac && part(236..240)? == COOKIE;
        if !ours {
            return None;
        }
        let mut options = BTreeMap::new();
        read(message.get(OPTIONS..)?, &mut options);
        let overload = options.get(&code::OVERLOAD).and_then(|value| value.first()).copied().unwrap_or(0);
        if overload & 1 != 0 {
            read(part(108..236)?, &mut options);
        }
        if overload & 2 != 0 {
            read(part(44..108)?, &mut options);
        }
        let options = Options(options);
        let address = first_address(part(16..20)?);
        match options.get(code::KIND) {
            [2] => Some(Self::Offer(address?, options.host(code::SERVER)?)),
            [5] => {
                Some(Self::Ack(Lease { settings: options.settings(address?), server: options.host(code::SERVER)?, times: options.times() }))
            }
            [6] => Some(Self::Nak),
            _ => None,
        }
    }
}

/// Adds a field's options; the parts of a long one follow each other.
fn read(mut field: &[u8], options: &mut BTreeMap<u8, Vec<u8>>) {
    loop {
        match field {
            [0, rest @ ..] => field = rest,
            [code, len, rest @ ..] if *code != code::END => {
                let Some((value, after)) = rest.split_at_checked(usize::from(*len)) else { return };
                options.entry(*code).or_default().extend(value);
                field = after;
            }
            _ => return,
        }
    }
}

struct Options(BTreeMap<u8, Vec<u8>>);

impl Options {
    fn get(&self, code: u8) -> &[u8] {
        self.0.get(&code).map_or(b"", Vec::as_slice)
    }

    fn host(&self, code: u8) -> Option<Ipv4Addr> {
        first_address(self.get(code))
    }

    fn number(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(code).try_into().ok()?))
    }

    fn settings(&self, address: Ipv4Addr) -> Settings {
        let netmask: Option<[u8; 4]> = self.get(code::MASK).try_into().ok();
        let prefix = netmask.and_then(|mask| address::prefix(mask.into()));
        let mut routes = routes(self.get(code::ROUTES));
        if !self.0.contains_key(&code::ROUTES) {
            routes.extend(self.host(code::ROUTER).map(|router| Route { to: Ipv4Addr::UNSPECIFIED, prefix: 0, gateway: Some(router) }));
        }
        Settings {
            address,
            prefix: prefix.unwrap_or_else(|| address::class(address)),
            routes,
            dns: self.get(code::DNS).chunks_exact(4).filter_map(first_address).take(DNS_MAX).collect(),
            domain: name(self.get(code::DOMAIN)),
            hostname: name(self.get(code::HOSTNAME)),
        }
    }

    fn times(&self) -> Option<Times> {
        let end = self.number(code::LEASE).unwrap_or(LEASE_DEFAULT);
        if end == FOREVER {
            return None;
        }
        let end = end.max(LEASE_MIN);
        let (half, most) = (end / 2, end.saturating_sub(end / 8));
        let (renew, rebind) = (self.number(code::RENEW).unwrap_or(half), self.number(code::REBIND).unwrap_or(most));
        let sound = LEASE_MIN / 2 <= renew && renew < rebind && rebind < end;
        Some(if sound { Times { renew, rebind, end } } else { Times { renew: half, rebind: most, end } })
    }
}

/// The address that a field begins with, when it is a host's.
fn first_address(field: &[u8]) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = field.get(..4)?.try_into().ok()?;
    Some(Ipv4Addr::from(octets)).filter(|address| address::is_host(*address))
}

/// RFC 3442: the bits of a network, as many octets as these need, a router.
fn routes(mut field: &[u8]) -> Vec<Route> {
    let mut routes = Vec::new();
    while let Some((prefix, rest)) = field.split_first() {
        let significant = usize::from(prefix.div_ceil(8));
        let (Some((network, rest)), true) = (rest.split_at_checked(significant), *prefix <= 32) else { break };
        let Some((router, rest)) = rest.split_at_checked(4) else { break };
        field = rest;
        let mut octets = [0; 4];
        octets.iter_mut().zip(network).for_each(|(octet, found)| *octet = *found);
        let on_link = router == [0; 4];
        let gateway = first_address(router);
        if (on_link || gateway.is_some()) && routes.len() < ROUTES_MAX {
            routes.push(Route { to: address::network(octets.into(), *prefix), prefix: *prefix, gateway });
        }
    }
    routes
}

/// A name, when it is one; servers are known to end it with a zero byte.
fn name(field: &[u8]) -> Vec<u8> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    field.get(..end).filter(|name| is_hostname(name)).map(<[u8]>::to_vec).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Answer, Ask, CLIENT_PORT, Ipv4Addr, OPTIONS, Route, SERVER_PORT, Times, message, payload};
    use alloc::{vec, vec::Vec};

    pub(crate) const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    pub(crate) const SERVER: [u8; 4] = [10, 0, 2, 2];

    /// A server's message for 10.0.2.15 with these options.
    pub(crate) fn answer(xid: u32, options: &[u8]) -> Vec<u8> {
        let mut answer = message(Ask::Discover, xid, MAC, 0);
        answer.truncate(OPTIONS);
        answer[0] = 2;
        answer[16..20].copy_from_slice(&[10, 0, 2, 15]);
        answer.extend(options);
        answer
    }

    /// As dnsmasq has them.
    const ACK: &[u8] = &[
        53, 1, 5, 54, 4, 10, 0, 2, 2, 51, 4, 0, 0, 14, 16, 58, 4, 0, 0, 7, 8, 59, 4, 0, 0, 12, 78, 1, 4, 255, 255, 255, 0, 3, 4, 10, 0, 2,
        2, 6, 8, 10, 0, 2, 3, 1, 1, 1, 1, 15, 4, b'l', b'a', b'n', 0, 12, 3, b'w', b'e', b'b', 255,
    ];

    fn ack(options: &[u8]) -> Option<super::Lease> {
        match Answer::parse(&answer(7, options), 7, MAC)? {
            Answer::Ack(lease) => Some(lease),
            _ => None,
        }
    }

    /// A minimal acknowledgement and more.
    fn with(more: &[u8]) -> super::Lease {
        ack(&[&[53, 1, 5, 54, 4, 10, 0, 2, 2], more].concat()).unwrap()
    }

    #[test]
    fn a_lease_is_read() {
        let lease = ack(ACK).unwrap();
        assert_eq!((lease.settings.address, lease.settings.prefix), (Ipv4Addr::new(10, 0, 2, 15), 24));
        assert_eq!(lease.settings.routes, [Route { to: Ipv4Addr::UNSPECIFIED, prefix: 0, gateway: Some(SERVER.into()) }]);
        assert_eq!(lease.settings.resolv_conf(), b"search lan\nnameserver 10.0.2.3\nnameserver 1.1.1.1\n");
        assert_eq!((lease.settings.hostname.as_slice(), lease.server), (b"web".as_slice(), SERVER.into()));
        assert_eq!(lease.times, Some(Times { renew: 1800, rebind: 3150, end: 3600 }));
        let offer = [53, 1, 2, 54, 4, 10, 0, 2, 2, 255];
        assert_eq!(Answer::parse(&answer(7, &offer), 7, MAC), Some(Answer::Offer(Ipv4Addr::new(10, 0, 2, 15), SERVER.into())));
        assert_eq!(Answer::parse(&answer(7, &[53, 1, 6]), 7, MAC), Some(Answer::Nak));
    }

    #[test]
    fn only_answers_to_us_are_read() {
        assert_eq!(Answer::parse(&answer(7, ACK), 8, MAC), None);
        assert_eq!(Answer::parse(&answer(7, ACK), 7, [0; 6]), None);
        assert_eq!(Answer::parse(&message(Ask::Discover, 7, MAC, 0), 7, MAC), None);
        let mut elsewhere = answer(7, ACK);
        elsewhere[239] = 0;
        assert_eq!(Answer::parse(&elsewhere, 7, MAC), None);
        for address in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255]] {
            let mut hostile = answer(7, ACK);
            hostile[16..20].copy_from_slice(&address);
            assert_eq!(Answer::parse(&hostile, 7, MAC), None, "{address:?}");
        }
    }

    /// RFC 3442, its own examples and AWS's: classless routes stand for the router.
    #[test]
    fn classless_routes_replace_the_router() {
        let classless = [121, 23, 0, 10, 0, 2, 1, 32, 169, 254, 169, 254, 0, 0, 0, 0, 24, 10, 229, 0, 10, 0, 2, 9, 5];
        let lease = with(&[&classless[..24], &[5], &[3, 4, 10, 0, 2, 2]].concat());
        let route = |to: [u8; 4], prefix, gateway: Option<[u8; 4]>| Route { to: to.into(), prefix, gateway: gateway.map(Into::into) };
        let wanted =
            [route([0; 4], 0, Some([10, 0, 2, 1])), route([169, 254, 169, 254], 32, None), route([10, 229, 0, 0], 24, Some([10, 0, 2, 9]))];
        assert_eq!(lease.settings.routes, wanted);
        // Host bits are none of the network's, and 33 bits are none.
        assert_eq!(with(&[121, 6, 4, 0xff, 10, 0, 2, 1]).settings.routes, [route([0xf0, 0, 0, 0], 4, Some([10, 0, 2, 1]))]);
        assert!(with(&[121, 9, 33, 1, 2, 3, 4, 10, 0, 2, 1]).settings.routes.is_empty());
        let many: Vec<u8> = (0..40).flat_map(|_| [121, 50].into_iter().chain([0, 10, 0, 2, 1].repeat(10))).collect();
        assert_eq!(with(&many).settings.routes.len(), super::ROUTES_MAX);
    }

    #[test]
    fn long_options_go_on_in_other_fields() {
        let mut split = answer(7, &[53, 1, 5, 54, 4, 10, 0, 2, 2, 52, 1, 3, 121, 2, 0, 10, 255]);
        split[108..113].copy_from_slice(&[121, 1, 0, 121, 1]);
        split[113..115].copy_from_slice(&[2, 255]);
        split[44..48].copy_from_slice(&[121, 1, 1, 255]);
        let Some(Answer::Ack(lease)) = Answer::parse(&split, 7, MAC) else { panic!("it is an acknowledgement") };
        assert_eq!(lease.settings.routes[0].gateway, Some(Ipv4Addr::new(10, 0, 2, 1)));
    }

    #[test]
    fn times_are_in_order_and_never_short() {
        let times = |lease: u32, renew: u32, rebind: u32| {
            let option = |code: u8, value: u32| [vec![code, 4], value.to_be_bytes().to_vec()].concat();
            with(&[option(51, lease), option(58, renew), option(59, rebind)].concat()).times
        };
        assert_eq!(times(0, 0, 0), Some(Times { renew: 30, rebind: 53, end: 60 }));
        assert_eq!(times(3600, 3000, 100), Some(Times { renew: 1800, rebind: 3150, end: 3600 }));
        assert_eq!(times(3600, 0, 3500).unwrap().renew, 1800);
        assert_eq!(times(u32::MAX, 1, 2), None);
        assert_eq!(with(&[]).times.unwrap().end, 3600);
    }

    #[test]
    fn names_have_no_bytes_that_do_anything() {
        for hostile in ["a b", "-x", "a\nnameserver 6.6.6.6", "$(x)", "a/../b", "\u{e9}"] {
            let option = [&[15, u8::try_from(hostile.len()).unwrap()], hostile.as_bytes()].concat();
            assert!(with(&option).settings.domain.is_empty(), "{hostile:?}");
        }
        let domain = with(&[15, 1, b'a']).settings;
        assert_eq!((domain.domain.as_slice(), domain.resolv_conf().len()), (b"a".as_slice(), 0));
    }

    fn packet(payload: &[u8]) -> Vec<u8> {
        let len = u16::try_from(payload.len() + 8).unwrap();
        let mut packet = vec![0x45, 0];
        packet.extend((len + 20).to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 2, 2, 255, 255, 255, 255]);
        for word in [SERVER_PORT, CLIENT_PORT, len, 0] {
            packet.extend(word.to_be_bytes());
        }
        packet.extend(payload);
        packet
    }

    #[test]
    fn a_packet_is_unwrapped_without_what_ethernet_pads() {
        let whole = packet(b"message");
        assert_eq!(payload(&whole), Some(b"message".as_slice()));
        assert_eq!(payload(&[whole.as_slice(), &[0; 10]].concat()), Some(b"message".as_slice()));
        for (at, byte) in [(0, 0x65), (0, 0x41), (6, 0x20), (7, 1), (9, 6), (21, 68), (23, 67), (24, 0xff), (3, 20)] {
            let mut other = whole.clone();
            other[at] = byte;
            assert_eq!(payload(&other), None, "{at}");
        }
    }

    /// Every message cut short, and every byte of it changed.
    #[test]
    fn no_message_is_too_odd() {
        let sound = packet(&answer(7, ACK));
        for at in 0..sound.len() {
            let _ = payload(&sound[..at]).and_then(|message| Answer::parse(message, 7, MAC));
            for bit in 0..8 {
                let mut damaged = sound.clone();
                damaged[at] ^= 1 << bit;
                let _ = payload(&damaged).and_then(|message| Answer::parse(message, 7, MAC));
            }
        }
    }

    #[test]
    fn what_we_ask_is_a_message() {
        let select = message(Ask::Select([10, 0, 2, 15].into(), SERVER.into()), 0x0102_0304, MAC, 9);
        assert_eq!((select.len(), &select[4..10]), (300, [1, 2, 3, 4, 0, 9].as_slice()));
        assert_eq!(&select[240..243], [53, 1, 3]);
        assert!(select.windows(6).any(|option| option == [50, 4, 10, 0, 2, 15]));
        let keep = message(Ask::Keep([10, 0, 2, 15].into()), 1, MAC, 0);
        assert_eq!(&keep[12..16], [10, 0, 2, 15]);
        assert!(!keep.windows(2).any(|option| option == [50, 4]));
    }
}
