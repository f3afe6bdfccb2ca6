//! Interfaces: the loopback, and every Ethernet device, each set up by DHCP or by `ip=`. IPv6 is the kernel's, by router advertisements.

use std::{collections::BTreeSet, fs, os::fd::AsRawFd, sync::mpsc::Sender, thread, time::Duration};

use initconfig::{
    address::{Ip, Settings},
    dhcp::Mac,
    netlink,
};
use nix::{
    errno::Errno,
    sys::socket::{self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType},
};

use crate::{
    console::say,
    dhcp,
    event::Event,
    failure::{At, Failure, Result},
    files,
};

const INTERFACES: &str = "/sys/class/net";
/// The type of an Ethernet device, `ARPHRD_ETHER`.
const ETHERNET: &str = "1";
/// How often it is looked whether a cable is in: so many times soon, then seldom.
const SOON: Duration = Duration::from_millis(100);
const SELDOM: Duration = Duration::from_secs(1);
const SOON_MAX: u32 = 200;

/// An Ethernet device.
#[derive(Debug, Clone)]
pub(crate) struct Interface {
    /// Its name.
    pub(crate) name: String,
    /// By which the kernel knows it.
    pub(crate) index: u32,
    /// Its address on the wire.
    pub(crate) mac: Mac,
}

/// What is done with interfaces as they appear.
pub(crate) struct Network {
    events: Sender<Event>,
    ip: Ip,
    known: BTreeSet<u32>,
}

impl Network {
    /// Sets the loopback up. `ip` is the value of the kernel's parameter.
    pub(crate) fn new(ip: Option<Vec<u8>>, events: Sender<Event>) -> Self {
        let ip = ip.map_or(Ok(Ip::Dhcp(Vec::new())), |value| {
            Ip::parse(&value).map_err(|why| say(format!("ip={}: {why}; DHCP is used", value.escape_ascii())))
        });
        let loopback = files::word(format!("{INTERFACES}/lo/ifindex")).and_then(|index| index.parse().ok());
        if let Some(Err(failure)) = loopback.map(|index| ask(&netlink::up(index))) {
            say(format!("lo: {failure}"));
        }
        Self { events, ip: ip.unwrap_or(Ip::Dhcp(Vec::new())), known: BTreeSet::new() }
    }

    /// Takes interfaces into use that are there and were not before; whether there are any from which settings may come.
    pub(crate) fn look(&mut self) -> bool {
        let (device, settings) = match &self.ip {
            Ip::Off => return false,
            Ip::Dhcp(device) => (device, None),
            Ip::Static(settings, device) => (device, Some(settings)),
        };
        let found = files::names(INTERFACES).into_iter().filter_map(|name| Interface::find(&name));
        let wanted = found.filter(|interface| device.is_empty() || interface.name.as_bytes() == device);
        let mut interfaces: Vec<Interface> = wanted.collect();
        interfaces.sort_by_key(|interface| interface.index);
        // What is static is one interface's: the first there ever was.
        let all = if settings.is_some() { usize::from(self.known.is_empty()) } else { interfaces.len() };
        for interface in interfaces.into_iter().take(all) {
            if !self.known.insert(interface.index) {
                continue;
            }
            let (events, settings) = (self.events.clone(), settings.cloned());
            thread::spawn(move || {
                let name = interface.name.clone();
                let done = match settings {
                    Some(settings) => interface.fix(settings, &events),
                    None => dhcp::run(&interface, &events),
                };
                if let Err(failure) = done {
                    say(format!("{name}: {failure}"));
                }
            });
        }
        !self.known.is_empty()
    }
}

impl Interface {
    /// An interface that is a device on a wire: a bridge or a tunnel is its maker's.
    fn find(name: &str) -> Option<Self> {
        let of = |file: &str| files::word(format!("{INTERFACES}/{name}/{file}"));
        let path = format!("{INTERFACES}/{name}");
        if of("type")? != ETHERNET || fs::metadata(format!("{path}/device")).is_err() || fs::metadata(format!("{path}/wireless")).is_ok() {
            return None;
        }
        let mut mac = Mac::default();
        let address = of("address")?;
        let mut parts = address.split(':');
        for byte in &mut mac {
            *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
        }
        Some(Self { name: name.to_owned(), index: of("ifindex")?.parse().ok()?, mac })
    }

    /// Sets it up and waits until a cable is in.
    pub(crate) fn up(&self) -> Result<()> {
        ask(&netlink::up(self.index))?;
        let mut rounds = 0_u32;
        while self.is_there() && files::word(format!("{INTERFACES}/{}/carrier", self.name)).as_deref() != Some("1") {
            thread::sleep(if rounds < SOON_MAX { SOON } else { SELDOM });
            rounds = rounds.saturating_add(1);
        }
        Ok(())
    }

    /// Whether it was not taken away.
    pub(crate) fn is_there(&self) -> bool {
        files::word(format!("{INTERFACES}/{}/ifindex", self.name)).and_then(|index| index.parse().ok()) == Some(self.index)
    }

    /// Gives it these settings. A route that the kernel does not take is said, and no other suffers from it.
    pub(crate) fn add(&self, settings: &Settings) -> Result<()> {
        ask(&netlink::add_address(self.index, settings)).at(settings.address)?;
        // Those on the link first: the others' gateways may be behind them.
        let (on_link, others): (Vec<_>, Vec<_>) = settings.routes.iter().partition(|route| route.gateway.is_none());
        for route in on_link.into_iter().chain(others) {
            if let Err(failure) = ask(&netlink::add_route(self.index, settings.address, route)) {
                say(format!("{}: route to {}/{}: {failure}", self.name, route.to, route.prefix));
            }
        }
        Ok(())
    }

    /// Takes its address away.
    pub(crate) fn remove(&self, settings: &Settings) {
        let _ = ask(&netlink::remove_address(self.index, settings));
    }

    /// Has these settings for good.
    fn fix(&self, settings: Settings, events: &Sender<Event>) -> Result<()> {
        ask(&netlink::up(self.index))?;
        self.add(&settings)?;
        say(format!("{}: {}/{}", self.name, settings.address, settings.prefix));
        let _ = events.send(Event::Interface(self.index, Some(settings)));
        Ok(())
    }
}

/// Asks the kernel for a change of interfaces, addresses or routes.
fn ask(message: &[u8]) -> Result<()> {
    let socket = socket::socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute).at("netlink")?;
    socket::sendto(socket.as_raw_fd(), message, &NetlinkAddr::new(0, 0), MsgFlags::empty()).at("netlink")?;
    let mut buffer = [0; 4096];
    loop {
        let (len, from) = socket::recvfrom::<NetlinkAddr>(socket.as_raw_fd(), &mut buffer).at("netlink")?;
        let answer = buffer.get(..len).and_then(netlink::answer).filter(|_| from.is_some_and(|from| from.pid() == 0));
        match answer {
            Some(0) => return Ok(()),
            Some(number) => return Err(Failure::new(Errno::from_raw(number).desc())),
            None => {}
        }
    }
}
