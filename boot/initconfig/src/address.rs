//! What an interface is set to, and `ip=` of the kernel's command line, Linux `Documentation/admin-guide/nfs/nfsroot.rst`, which we read
//! because the kernels of distributions do not (`CONFIG_IP_PNP`).
//!
//! ```text
//!  ip=CLIENT:SERVER:GATEWAY:NETMASK:HOSTNAME:DEVICE:AUTOCONF:DNS0:DNS1     ip=off | none | dhcp | on | any | both
//! ```
//! SERVER is passed over, for nothing is mounted from it. A netmask that is not given is that of the address's class, as in the kernel.

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use crate::config::is_hostname;

/// What an interface is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its address.
    pub address: Ipv4Addr,
    /// Bits of the network.
    pub prefix: u8,
    /// Routes besides that to its own network.
    pub routes: Vec<Route>,
    /// Name servers, as many as resolv.conf(5) takes.
    pub dns: Vec<Ipv4Addr>,
    /// The domain in which names are looked up; empty for none.
    pub domain: Vec<u8>,
    /// The machine's name; empty for none.
    pub hostname: Vec<u8>,
}

/// A route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Where it leads; all bits past `prefix` are zeros.
    pub to: Ipv4Addr,
    /// Bits of that network; 0 for all others.
    pub prefix: u8,
    /// By way of whom; none for what is on the link itself.
    pub gateway: Option<Ipv4Addr>,
}

/// Name servers that resolv.conf(5) takes.
pub const DNS_MAX: usize = 3;

/// What `ip=` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ip {
    /// Nothing: no interface is touched.
    Off,
    /// DHCP on every interface, or on this one.
    Dhcp(Vec<u8>),
    /// These settings for the first interface, or for this one.
    Static(Settings, Vec<u8>),
}

impl Ip {
    /// Reads the value of `ip=`.
    ///
    /// # Errors
    /// What is required.
    pub fn parse(value: &[u8]) -> Result<Self, &'static str> {
        let text = str::from_utf8(value).map_err(|_| "it is not text")?;
        let mut fields = [""; 10];
        let mut parts = text.split(':');
        for (field, part) in fields.iter_mut().zip(&mut parts) {
            *field = part;
        }
        if parts.next().is_some() {
            return Err("it has more than ten fields");
        }
        let [client, _, gateway, netmask, hostname, device, autoconf, dns0, dns1, _] = fields;
        let device_ok = device.len() < 16 && device.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        if !device_ok {
            return Err("a device has at most 15 letters");
        }
        let device = device.as_bytes().to_vec();
        let is_auto = |word| matches!(word, "on" | "any" | "dhcp" | "both" | "bootp" | "rarp");
        if !text.contains(':') && client.parse::<Ipv4Addr>().is_err() {
            return match client {
                "off" | "none" => Ok(Self::Off),
                word if is_auto(word) => Ok(Self::Dhcp(device)),
                _ => Err("it has to be off, dhcp or CLIENT::GATEWAY:NETMASK:HOSTNAME:DEVICE"),
            };
        }
        if client.is_empty() {
            return if autoconf.is_empty() || is_auto(autoconf) { Ok(Self::Dhcp(device)) } else { Ok(Self::Off) };
        }
        let address = |text: &str| text.parse::<Ipv4Addr>().ok().filter(|address| is_host(*address)).ok_or("an address has to be a host's");
        let client = address(client)?;
        let prefix = match netmask {
            "" => class(client),
            text => text.parse().ok().and_then(prefix).ok_or("a netmask has to be ones, then zeros")?,
        };
        let mut routes = Vec::new();
        if !gateway.is_empty() {
            routes.push(Route { to: Ipv4Addr::UNSPECIFIED, prefix: 0, gateway: Some(address(gateway)?) });
        }
        let dns = [dns0, dns1].into_iter().filter(|text| !text.is_empty()).map(address).collect::<Result<_, _>>()?;
        let hostname = if is_hostname(hostname.as_bytes()) { hostname.as_bytes().to_vec() } else { Vec::new() };
        Ok(Self::Static(Settings { address: client, prefix, routes, dns, domain: Vec::new(), hostname }, device))
    }
}

impl Settings {
    /// The text of `/etc/resolv.conf`; empty when nobody is known to ask.
    pub fn resolv_conf(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if !self.domain.is_empty() && !self.dns.is_empty() {
            text.extend([b"search ", self.domain.as_slice(), b"\n"].concat());
        }
        for server in self.dns.iter().take(DNS_MAX) {
            text.extend(alloc::format!("nameserver {server}\n").bytes());
        }
        text
    }
}

/// Whether an address can be that of one machine.
pub fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    (1..224).contains(&first) && !address.is_loopback()
}

/// The bits of a netmask.
pub fn prefix(netmask: Ipv4Addr) -> Option<u8> {
    let bits = u32::from(netmask);
    let ones = bits.leading_ones();
    (ones > 0 && bits.count_ones() == ones).then(|| u8::try_from(ones).unwrap_or(32))
}

/// The bits of the network that an address had before netmasks.
pub fn class(address: Ipv4Addr) -> u8 {
    match address.octets() {
        [0..128, ..] => 8,
        [128..192, ..] => 16,
        _ => 24,
    }
}

/// The network of an address: all bits past `prefix` are zeros.
pub fn network(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let host = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    Ipv4Addr::from(u32::from(address) & !host)
}

#[cfg(test)]
mod tests {
    use super::{Ip, Ipv4Addr, class, network, prefix};

    #[test]
    fn ip_is_read_as_the_kernel_does() {
        for off in ["off", "none", ":::::eth0:off"] {
            assert_eq!(Ip::parse(off.as_bytes()), Ok(Ip::Off), "{off}");
        }
        for (dhcp, device) in [("dhcp", ""), ("on", ""), ("any", ""), (":::::eth1:dhcp", "eth1"), ("::::web:eth0", "eth0")] {
            assert_eq!(Ip::parse(dhcp.as_bytes()), Ok(Ip::Dhcp(device.into())), "{dhcp}");
        }
        let Ok(Ip::Static(settings, device)) = Ip::parse(b"10.0.2.15::10.0.2.2:255.255.255.0:web:eth0:off:10.0.2.3:1.1.1.1") else {
            panic!("it is static")
        };
        assert_eq!((device.as_slice(), settings.prefix, settings.hostname.as_slice()), (b"eth0".as_slice(), 24, b"web".as_slice()));
        assert_eq!(settings.routes[0].gateway, Some(Ipv4Addr::new(10, 0, 2, 2)));
        assert_eq!(settings.resolv_conf(), b"nameserver 10.0.2.3\nnameserver 1.1.1.1\n");
        let Ok(Ip::Static(bare, _)) = Ip::parse(b"192.168.1.9") else { panic!("it is static") };
        assert_eq!((bare.prefix, bare.routes.len(), bare.resolv_conf().len()), (24, 0, 0));
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for bad in ["", "offf", "1.2.3", "1.2.3.4:::255.0.255.0", "127.0.0.1", "0.0.0.0", "224.0.0.1", "1.2.3.4::0.0.0.0", "\u{e9}"] {
            assert!(Ip::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Ip::parse(b"1:2:3:4:5:6:7:8:9:10:11").is_err());
        assert!(Ip::parse(b":::::a/b:dhcp").is_err());
    }

    #[test]
    fn masks_networks_and_classes() {
        assert_eq!(prefix(Ipv4Addr::new(255, 255, 255, 255)), Some(32));
        assert_eq!(prefix(Ipv4Addr::new(255, 0, 255, 0)), None);
        assert_eq!(prefix(Ipv4Addr::UNSPECIFIED), None);
        assert_eq!(network(Ipv4Addr::new(10, 1, 2, 3), 8), Ipv4Addr::new(10, 0, 0, 0));
        assert_eq!(network(Ipv4Addr::new(10, 1, 2, 3), 0), Ipv4Addr::UNSPECIFIED);
        assert_eq!(network(Ipv4Addr::new(10, 1, 2, 3), 32), Ipv4Addr::new(10, 1, 2, 3));
        assert_eq!((class(Ipv4Addr::new(10, 0, 0, 1)), class(Ipv4Addr::new(172, 16, 0, 1))), (8, 16));
    }
}
