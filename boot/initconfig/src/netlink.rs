//! Messages to the kernel that set up interfaces: rtnetlink(7), in the host's byte order.
//!
//! ```text
//!  nlmsghdr: length (4), type (2), flags (2), sequence (4), port (4)   body of the type   attributes: length (2), type (2), value, padding
//! ```

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use crate::address::{Route, Settings};

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;

/// `NLM_F_REQUEST | NLM_F_ACK`.
const ASK: u16 = 5;
/// `NLM_F_REPLACE | NLM_F_CREATE`.
const REPLACE: u16 = 0x500;

const AF_INET: u8 = 2;
const IFF_UP: u32 = 1;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_DHCP: u8 = 16;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
const RTNH_F_ONLINK: u32 = 4;

/// Sets an interface up.
pub fn up(index: u32) -> Vec<u8> {
    let mut body = [0; 4].to_vec();
    [index, IFF_UP, IFF_UP].iter().for_each(|word| body.extend(word.to_ne_bytes()));
    message(RTM_NEWLINK, ASK, body)
}

/// Gives an interface its address.
pub fn add_address(index: u32, settings: &Settings) -> Vec<u8> {
    address(RTM_NEWADDR, ASK | REPLACE, index, settings)
}

/// Takes it away, and the kernel its routes with it.
pub fn remove_address(index: u32, settings: &Settings) -> Vec<u8> {
    address(RTM_DELADDR, ASK, index, settings)
}

fn address(kind: u16, flags: u16, index: u32, settings: &Settings) -> Vec<u8> {
    let mut body = [AF_INET, settings.prefix, 0, 0].to_vec();
    body.extend(index.to_ne_bytes());
    let octets = settings.address.octets();
    attribute(&mut body, 2, &octets);
    attribute(&mut body, 1, &octets);
    // RFC 3021: two addresses have no third for everybody.
    if settings.prefix < 31 {
        let host = u32::MAX.checked_shr(u32::from(settings.prefix)).unwrap_or(0);
        attribute(&mut body, 4, &Ipv4Addr::from(u32::from(settings.address) | host).octets());
    }
    message(kind, flags, body)
}

/// Adds a route by an interface. Of two that lead to the same place the kernel takes the interface with the lower index.
pub fn add_route(index: u32, source: Ipv4Addr, route: &Route) -> Vec<u8> {
    let scope = if route.gateway.is_some() { 0 } else { RT_SCOPE_LINK };
    // A cloud's gateway may be outside of a network of one address.
    let flags = if route.gateway.is_some() { RTNH_F_ONLINK } else { 0 };
    let mut body = [AF_INET, route.prefix, 0, 0, RT_TABLE_MAIN, RTPROT_DHCP, scope, RTN_UNICAST].to_vec();
    body.extend(flags.to_ne_bytes());
    attribute(&mut body, 1, &route.to.octets());
    attribute(&mut body, 4, &index.to_ne_bytes());
    if let Some(gateway) = route.gateway {
        attribute(&mut body, 5, &gateway.octets());
    }
    attribute(&mut body, 6, &index.to_ne_bytes());
    attribute(&mut body, 7, &source.octets());
    message(RTM_NEWROUTE, ASK | REPLACE, body)
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(value.len().saturating_add(4)).unwrap_or(u16::MAX);
    body.extend(len.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn message(kind: u16, flags: u16, body: Vec<u8>) -> Vec<u8> {
    let len = u32::try_from(body.len().saturating_add(HEADER)).unwrap_or(u32::MAX);
    let mut message = len.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// The error number in the kernel's answer, 0 when it did what it was asked; none when this is no answer.
pub fn answer(message: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
    let number = i32::from_ne_bytes(message.get(HEADER..HEADER.saturating_add(4))?.try_into().ok()?);
    (kind == NLMSG_ERROR).then(|| number.saturating_neg())
}

#[cfg(test)]
mod tests {
    use super::{HEADER, Ipv4Addr, Route, Settings, add_address, add_route, answer, up};
    use alloc::vec::Vec;

    fn settings(prefix: u8) -> Settings {
        let address = Ipv4Addr::new(10, 0, 2, 15);
        Settings { address, prefix, routes: Vec::new(), dns: Vec::new(), domain: Vec::new(), hostname: Vec::new() }
    }

    /// The attributes of a message whose body has this length: number and value.
    fn attributes(message: &[u8], body: usize) -> Vec<(u16, Vec<u8>)> {
        let mut rest = &message[HEADER + body..];
        let mut found = Vec::new();
        while !rest.is_empty() {
            let word = |at: usize| u16::from_ne_bytes(rest[at..at + 2].try_into().unwrap());
            let len = usize::from(word(0));
            found.push((word(2), rest[4..len].to_vec()));
            rest = &rest[len.next_multiple_of(4)..];
        }
        found
    }

    #[test]
    fn messages_are_as_long_as_they_say() {
        let route = Route { to: Ipv4Addr::UNSPECIFIED, prefix: 0, gateway: Some(Ipv4Addr::new(10, 0, 2, 2)) };
        for message in [up(2), add_address(2, &settings(24)), add_route(2, Ipv4Addr::new(10, 0, 2, 15), &route)] {
            assert_eq!(u32::from_ne_bytes(message[..4].try_into().unwrap()) as usize, message.len());
            assert_eq!(message.len() % 4, 0);
        }
    }

    #[test]
    fn addresses_have_a_broadcast_address_where_there_is_room() {
        let broadcast = |prefix| attributes(&add_address(2, &settings(prefix)), 8).into_iter().find(|(kind, _)| *kind == 4);
        assert_eq!(broadcast(24), Some((4, [10, 0, 2, 255].to_vec())));
        assert_eq!(broadcast(31), None);
        assert_eq!(broadcast(32), None);
    }

    #[test]
    fn the_lower_interface_has_the_better_route() {
        let route = Route { to: Ipv4Addr::UNSPECIFIED, prefix: 0, gateway: None };
        let message = add_route(3, Ipv4Addr::new(10, 0, 2, 15), &route);
        let attributes = attributes(&message, 12);
        assert!(attributes.contains(&(6, 3_u32.to_ne_bytes().to_vec())) && !attributes.iter().any(|(kind, _)| *kind == 5));
    }

    #[test]
    fn the_kernel_says_yes_or_why_not() {
        let said = |kind: u16, number: i32| {
            let mut message = up(1);
            message[4..6].copy_from_slice(&kind.to_ne_bytes());
            message[16..20].copy_from_slice(&number.to_ne_bytes());
            answer(&message)
        };
        assert_eq!((said(2, 0), said(2, -17), said(3, -17), answer(&[0; 19])), (Some(0), Some(17), None, None));
        assert_eq!(said(2, i32::MIN), Some(i32::MAX));
    }
}
