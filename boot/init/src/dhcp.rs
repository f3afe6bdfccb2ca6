//! A DHCP client on one interface: the sockets and the clock of `initconfig::lease`.
//!
//! While there is no address, answers are heard by a packet socket, which hears those to an address that is not ours yet; a socket for
//! UDP sends. Both are open only while an answer is waited for: the one would be given every packet of the machine, the other would listen.

use std::{
    ffi::OsString,
    fs::File,
    io::Read,
    net::Ipv4Addr,
    os::fd::{AsRawFd, OwnedFd},
    sync::mpsc::Sender,
    thread,
    time::{Duration, Instant},
};

use initconfig::{
    dhcp::{CLIENT_PORT, Lease, SERVER_PORT, payload},
    lease::{Change, Client, Millis, Send},
};
use nix::{
    errno::Errno,
    sys::{
        socket::{self, AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sockopt},
        time::{TimeVal, TimeValLike},
    },
};

use crate::{
    console::say,
    event::Event,
    failure::{At, Result},
    net::Interface,
};

/// The longest message that fits what we said we take.
const MESSAGE_MAX: usize = 2048;
/// No longer than this is waited without looking at the clock.
const WAIT_MAX: Millis = 3_600_000;
/// Messages of one wait: who floods us has no more of our time than this.
const FLOOD: u32 = 1000;

/// Gets a lease and keeps it, for as long as the interface is there.
pub(crate) fn run(interface: &Interface, events: &Sender<Event>) -> Result<()> {
    interface.up()?;
    let start = Instant::now();
    let now = || Millis::try_from(start.elapsed().as_millis()).unwrap_or(Millis::MAX);
    let mut client = Client::new(interface.mac, random()?, now());
    let mut held: Option<Lease> = None;
    while interface.is_there() {
        let (message, change) = client.tick(now());
        settle(interface, &mut held, &client, change, events);
        if let Some(send) = message {
            // A wire that is pulled out, or a server that is gone: the next attempt is due anyway.
            if let Err(failure) = exchange(interface, &mut client, &send, now, &mut held, events) {
                say(format!("{}: {failure}", interface.name));
            }
        }
        thread::sleep(Duration::from_millis(client.due().saturating_sub(now()).min(WAIT_MAX)));
    }
    let _ = events.send(Event::Interface(interface.index, None));
    Ok(())
}

/// Sends a message and hears answers until the next is due, or a lease is there.
fn exchange(
    interface: &Interface,
    client: &mut Client,
    send: &Send,
    now: impl Fn() -> Millis,
    held: &mut Option<Lease>,
    events: &Sender<Event>,
) -> Result<()> {
    let udp = udp(interface)?;
    let ears = if client.lease().is_none() { Some(packets().at("packet socket")?) } else { None };
    let to = SockaddrIn::from(std::net::SocketAddrV4::new(send.to, SERVER_PORT));
    socket::sendto(udp.as_raw_fd(), &send.message, &to, MsgFlags::empty()).at(send.to)?;
    let mut buffer = [0; MESSAGE_MAX];
    let until = client.due();
    for _ in 0..FLOOD {
        let left = until.saturating_sub(now()).min(WAIT_MAX);
        if left == 0 {
            return Ok(());
        }
        let message = match &ears {
            Some(ears) => hear::<LinkAddr>(ears, &mut buffer, left)?.and_then(|(packet, from)| {
                let ours = from.is_some_and(|from| u32::try_from(from.ifindex()) == Ok(interface.index));
                payload(packet).filter(|_| ours)
            }),
            None => hear::<SockaddrIn>(&udp, &mut buffer, left)?
                .and_then(|(message, from)| Some(message).filter(|_| from.is_some_and(|from| from.port() == SERVER_PORT))),
        };
        let change = message.and_then(|message| client.receive(message, now()));
        let done = change.is_some() || client.due() != until;
        settle(interface, held, client, change, events);
        if done {
            return Ok(());
        }
    }
    Ok(())
}

/// What a socket hears within so many milliseconds, and from whom.
fn hear<'a, A: socket::SockaddrLike>(socket: &OwnedFd, buffer: &'a mut [u8], left: Millis) -> Result<Option<(&'a [u8], Option<A>)>> {
    let left = TimeVal::milliseconds(i64::try_from(left.max(1)).unwrap_or(i64::MAX));
    socket::setsockopt(socket, sockopt::ReceiveTimeout, &left).at("timeout")?;
    match socket::recvfrom::<A>(socket.as_raw_fd(), buffer) {
        Ok((len, from)) => Ok(buffer.get(..len).map(|heard| (heard, from))),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        Err(error) => Err(error).at("answer"),
    }
}

/// Does what a change of the lease asks for, and tells of it.
fn settle(interface: &Interface, held: &mut Option<Lease>, client: &Client, change: Option<Change>, events: &Sender<Event>) {
    let new = match change {
        None => return,
        Some(Change::Lost(_)) => None,
        Some(Change::Bound) => client.lease().cloned(),
    };
    if new.as_ref().map(|lease| &lease.settings) == held.as_ref().map(|lease| &lease.settings) {
        *held = new;
        return;
    }
    if let Some(old) = held.take() {
        interface.remove(&old.settings);
        say(format!("{}: {} is over", interface.name, old.settings.address));
    }
    if let Some(lease) = &new {
        let settings = &lease.settings;
        match interface.add(settings) {
            Ok(()) => say(format!("{}: {}/{} by {}", interface.name, settings.address, settings.prefix, lease.server)),
            Err(failure) => say(format!("{}: {failure}", interface.name)),
        }
    }
    let _ = events.send(Event::Interface(interface.index, new.as_ref().map(|lease| lease.settings.clone())));
    *held = new;
}

fn udp(interface: &Interface) -> Result<OwnedFd> {
    let open = || {
        let socket = socket::socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        socket::setsockopt(&socket, sockopt::ReuseAddr, &true)?;
        socket::setsockopt(&socket, sockopt::Broadcast, &true)?;
        socket::setsockopt(&socket, sockopt::BindToDevice, &OsString::from(&interface.name))?;
        let any = std::net::SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT);
        socket::bind(socket.as_raw_fd(), &SockaddrIn::from(any))?;
        Ok::<_, Errno>(socket)
    };
    open().at("socket")
}

fn packets() -> nix::Result<OwnedFd> {
    socket::socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::EthIp)
}

fn random() -> Result<u32> {
    let mut bytes = [0; 4];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).at("/dev/urandom")?;
    Ok(u32::from_ne_bytes(bytes))
}
