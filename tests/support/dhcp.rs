//! A DHCP server at the other end of a guest's wire that lies before it tells the truth.

use super::guest::Random;
use std::{
    io::Read,
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Lies for every truth.
const LIES: usize = 200;
/// Where the fields of a message stand in a frame: behind Ethernet, IPv4 and UDP.
const MESSAGE: usize = 42;
const OPTIONS: usize = MESSAGE + 240;
/// What a message is, by its option 53.
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;

/// Answers every request that comes as frames at this socket until it is told to stop. In the end the guest is 10.9.8.7.
pub fn lie(wire: &UdpSocket, stop: &AtomicBool) {
    wire.set_read_timeout(Some(Duration::from_millis(100))).expect("sockets have time limits");
    let mut random = Random::new(u64::MAX);
    let mut frame = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        let Ok((len, guest)) = wire.recv_from(&mut frame) else { continue };
        let Some(kind) = kind(&frame[..len]) else { continue };
        let truth = answer(&frame[..len], if kind == DISCOVER { OFFER } else { ACK });
        for nth in 0..LIES {
            // A wire takes what it takes.
            let _: std::io::Result<usize> = wire.send_to(&lies(&truth, nth, &mut random), guest);
        }
        let _: std::io::Result<usize> = wire.send_to(&truth, guest);
    }
}

/// What a client of DHCP says in a frame; nothing in any other.
fn kind(frame: &[u8]) -> Option<u8> {
    let is_dhcp = frame.get(12..14)? == [8, 0] && frame.get(23)? == &17 && frame.get(36..38)? == [0, 67];
    let kind = frame.get(OPTIONS..)?.windows(3).find(|bytes| bytes[..2] == [53, 1])?[2];
    (is_dhcp && [DISCOVER, REQUEST].contains(&kind)).then_some(kind)
}

fn answer(request: &[u8], kind: u8) -> Vec<u8> {
    let mut message = vec![0; 240];
    message[..4].copy_from_slice(&[2, 1, 6, 0]);
    message[4..8].copy_from_slice(&request[MESSAGE + 4..MESSAGE + 8]);
    message[16..20].copy_from_slice(&[10, 9, 8, 7]);
    message[28..34].copy_from_slice(&request[MESSAGE + 28..MESSAGE + 34]);
    message[236..].copy_from_slice(&[99, 130, 83, 99]);
    message.extend([53, 1, kind, 54, 4, 10, 9, 8, 1, 51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 255, 0, 3, 4, 10, 9, 8, 1, 6, 4, 10, 9, 8, 3]);
    let name = b"evil\x1b[31m;reboot";
    message.extend([12, 16]);
    message.extend(name);
    message.push(255);
    framed(&message)
}

/// A message in a frame to everybody.
fn framed(message: &[u8]) -> Vec<u8> {
    let len = |more: usize| u16::try_from(message.len() + more).expect("a frame is short").to_be_bytes();
    let mut header = vec![0x45, 0, len(28)[0], len(28)[1], 0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 8, 1, 255, 255, 255, 255];
    let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("a header is short");
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let ethernet = [[0xff; 6].as_slice(), &[2, 0, 0, 9, 8, 1], &[8, 0]].concat();
    let udp = [&[0, 67, 0, 68][..], &len(8), &[0, 0]].concat();
    [&ethernet, &header, &udp, message].concat()
}

/// A lie about a truth: cut, overwritten, or with options that are too long, too many or nonsense.
fn lies(truth: &[u8], nth: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = [0; 1024];
    random.read_exact(&mut bytes).expect("it has no end");
    let at = |from: usize, to: usize| from + usize::from(u16::from_le_bytes([bytes[0], bytes[1]])) % (to - from);
    let head = &truth[MESSAGE..OPTIONS];
    let message = match nth % 8 {
        0 => truth[MESSAGE..at(MESSAGE, truth.len())].to_vec(),
        1 => {
            let mut message = truth[MESSAGE..].to_vec();
            let place = at(0, message.len());
            message[place] ^= bytes[2] | 1;
            message
        }
        // Options that go on behind the end.
        2 => [head, &[53, 1, OFFER, 121, 255], &bytes[..at(0, 200)]].concat(),
        // A hundred routes, all of them nonsense.
        3 => [head, &[53, 1, ACK], &[[121, 250].as_slice(), &bytes[..250]].concat().repeat(4), &[255]].concat(),
        // An address of everybody, and a mask with holes.
        4 => {
            let mut message = truth[MESSAGE..].to_vec();
            message[16..20].copy_from_slice(&[255, 255, 255, bytes[3]]);
            [&message[..message.len() - 1], &[1, 4, 255, 0, 255, 0, 255]].concat()
        }
        // Options in the fields of names as well.
        5 => [&head[..44], &bytes[..192], &[99, 130, 83, 99, 53, 1, OFFER, 52, 1, 3, 255]].concat(),
        6 => [head, &bytes[..at(0, 1000)]].concat(),
        // No: begin anew.
        _ => [head, &[53, 1, 6, 54, 4, 9, 9, 9, 9, 255]].concat(),
    };
    framed(&message)
}
