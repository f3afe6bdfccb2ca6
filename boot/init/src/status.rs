//! How the main process ended, for whoever runs the machine: a virtio port named `moby.status`, where there is one.

use std::{fs::File, io::Write, os::unix::fs::OpenOptionsExt};

use nix::libc;

use crate::{console::say, files};

const PORTS: &str = "/sys/class/virtio-ports";
const NAME: &str = "moby.status";

/// Says an exit code on the console, and on the port. Nobody may be at its other end: it is not waited for.
pub(crate) fn ended(code: u8) {
    say(format!("main process: exit {code}"));
    let ours = |port: &String| files::word(format!("{PORTS}/{port}/name")).as_deref() == Some(NAME);
    if let Some(port) = files::names(PORTS).into_iter().find(ours) {
        let open = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(format!("/dev/{port}"));
        if let Ok(mut port) = open {
            let _ = port.write_all(format!("exit {code}\n").as_bytes());
        }
    }
}
