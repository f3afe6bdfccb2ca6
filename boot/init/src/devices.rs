//! Devices that come later: plugged in, or on a bus that is slow. The kernel's uevents tell of them.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    sync::mpsc::Sender,
    thread,
};

use initconfig::uevent::{self, Uevent};
use nix::{
    errno::Errno,
    sys::socket::{self, AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType},
};

use crate::{console::say, event::Event, modules::Modules};

/// What the kernel tells from now on. Opened before devices are looked at, so that none is missed.
pub(crate) struct Uevents(Option<OwnedFd>);

impl Uevents {
    pub(crate) fn open() -> Self {
        let open = || {
            let socket =
                socket::socket(AddressFamily::Netlink, SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkKObjectUEvent)?;
            socket::bind(socket.as_raw_fd(), &NetlinkAddr::new(0, uevent::GROUP))?;
            Ok::<_, Errno>(socket)
        };
        Self(open().map_err(|error| say(format!("devices that come later are not seen: {error}"))).ok())
    }

    /// Loads the modules of every device that comes, and tells of it.
    pub(crate) fn watch(self, mut modules: Modules, events: Sender<Event>) {
        let Some(socket) = self.0 else { return };
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            loop {
                match socket::recvfrom::<NetlinkAddr>(socket.as_raw_fd(), &mut buffer) {
                    // Port 0 is the kernel; any process may send.
                    Ok((len, Some(from))) if from.pid() == 0 => {
                        let Some(event) = buffer.get(..len).and_then(Uevent::parse) else { continue };
                        if let Some(alias) = event.modalias {
                            modules.device(alias);
                        }
                        let told = event.action != b"add" || !matches!(event.subsystem, b"net" | b"input");
                        if !told && events.send(Event::Device).is_err() {
                            return;
                        }
                    }
                    // There were more than the kernel keeps: all devices are looked at.
                    Err(Errno::ENOBUFS) => {
                        modules.look();
                        if events.send(Event::Device).is_err() {
                            return;
                        }
                    }
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(error) => return say(format!("devices that come later are not seen: {error}")),
                }
            }
        });
    }
}
