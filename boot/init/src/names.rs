//! Who this machine is called and whom it asks for names: `/etc/hostname`, `/etc/hosts`, `/etc/resolv.conf`, as far as the image leaves
//! them to us. Docker mounts its own over them, so images have them empty.

use std::{collections::BTreeMap, fs};

use initconfig::{address::Settings, config::is_hostname};
use nix::unistd;

use crate::{console::say, files};

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// What a machine is called when nobody says.
const NAMELESS: &[u8] = b"moby";

/// What the interfaces say of names.
#[derive(Default)]
pub(crate) struct Names {
    interfaces: BTreeMap<u32, Settings>,
    resolv_conf: Vec<u8>,
    hostname: Vec<u8>,
}

impl Names {
    /// An interface got other settings, or lost them. That with the lowest index counts, as it does for routes.
    pub(crate) fn set(&mut self, index: u32, settings: Option<Settings>) {
        match settings {
            Some(settings) => drop(self.interfaces.insert(index, settings)),
            None => drop(self.interfaces.remove(&index)),
        }
        let texts = self.interfaces.values().map(Settings::resolv_conf);
        let text = texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        if !text.is_empty() && text != self.resolv_conf && fill(RESOLV_CONF, &text, &self.resolv_conf) {
            self.resolv_conf = text;
        }
    }

    /// Names the machine: as it was configured, as an interface was told, as the image says.
    pub(crate) fn settle(&mut self, configured: &[u8]) {
        if !self.hostname.is_empty() {
            return;
        }
        let told = self.interfaces.values().map(|settings| settings.hostname.as_slice()).find(|name| !name.is_empty());
        let own = files::read("/etc/hostname", 1 << 12).unwrap_or_default();
        let own = own.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
        let names = [Some(configured), told, Some(own), Some(NAMELESS)];
        let name = names.into_iter().flatten().find(|name| is_hostname(name)).unwrap_or(NAMELESS);
        self.hostname = name.to_vec();
        let shown = String::from_utf8_lossy(name);
        if let Err(error) = unistd::sethostname(shown.as_ref()) {
            say(format!("the name {shown} could not be set: {error}"));
        }
        fill("/etc/hostname", format!("{shown}\n").as_bytes(), b"");
        let hosts = format!("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 {shown}\n");
        fill("/etc/hosts", hosts.as_bytes(), b"");
    }

    /// The machine's name.
    pub(crate) fn hostname(&self) -> &[u8] {
        &self.hostname
    }
}

fn fill(path: &str, text: &[u8], ours: &[u8]) -> bool {
    // An image of one program has no /etc.
    let _ = fs::create_dir("/etc");
    files::fill(path, text, ours).unwrap_or_else(|error| {
        say(format!("{path}: {error}"));
        false
    })
}
