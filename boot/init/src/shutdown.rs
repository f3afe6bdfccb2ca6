//! The end of the machine: the rest of the processes, what is mounted, power.

use std::{
    convert::Infallible,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::{
        reboot::{RebootMode, reboot},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, sync},
};

use crate::{console::say, files};

/// What follows the last process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    PowerOff,
    Restart,
}

/// How long the processes beside the main one have.
const GRACE: Duration = Duration::from_secs(2);
const ROUND: Duration = Duration::from_millis(10);
/// Everybody but process 1.
const ALL: Pid = Pid::from_raw(-1);

/// Ends all processes, unmounts, and leaves the machine.
pub(crate) fn end(ending: Ending) -> ! {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let end = Instant::now() + GRACE;
        let _ = kill(ALL, signal);
        while !reaped() && Instant::now() < end {
            thread::sleep(ROUND);
        }
    }
    sync();
    let mounts = files::read("/proc/self/mounts", 1 << 20).unwrap_or_default();
    let targets = mounts.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(1));
    for target in targets.collect::<Vec<_>>().into_iter().rev().filter(|target| !matches!(*target, b"/" | b"/proc" | b"/dev")) {
        let _ = umount2(target, MntFlags::empty());
    }
    let _ = mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, None::<&str>);
    sync();
    let mode = if ending == Ending::Restart { RebootMode::RB_AUTOBOOT } else { RebootMode::RB_POWER_OFF };
    let Err(error): nix::Result<Infallible> = reboot(mode);
    say(format!("the machine does not go off: {error}"));
    loop {
        thread::park();
    }
}

/// Whether there is no child left, after those are buried that ended.
fn reaped() -> bool {
    loop {
        match waitpid(ALL, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return false,
            Err(Errno::ECHILD) => return true,
            _ => {}
        }
    }
}
