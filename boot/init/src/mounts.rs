//! The file systems that a process expects, as a container has them.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use nix::mount::{MsFlags, mount};

use crate::{
    console::say,
    failure::{At, Result},
    files,
};

/// A file system that is mounted.
struct Mount {
    target: &'static str,
    kind: &'static str,
    flags: MsFlags,
    data: &'static str,
}

const QUIET: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);
const TMP: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// What we ourselves need. A root that is mounted later gets them, too.
pub(crate) const FIRST: [&str; 3] = ["/proc", "/sys", "/dev"];
const EARLY: [Mount; 3] = [
    Mount { target: "/proc", kind: "proc", flags: QUIET, data: "" },
    Mount { target: "/sys", kind: "sysfs", flags: QUIET, data: "" },
    Mount { target: "/dev", kind: "devtmpfs", flags: MsFlags::MS_NOSUID, data: "mode=755" },
];

/// What the image's process needs besides.
const LATE: [Mount; 4] = [
    Mount { target: "/dev/pts", kind: "devpts", flags: MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC), data: "mode=620,ptmxmode=666,gid=5" },
    Mount { target: "/dev/shm", kind: "tmpfs", flags: TMP, data: "mode=1777" },
    Mount { target: "/dev/mqueue", kind: "mqueue", flags: QUIET, data: "" },
    Mount { target: "/sys/fs/cgroup", kind: "cgroup2", flags: QUIET, data: "" },
];
const RUN: Mount = Mount { target: "/run", kind: "tmpfs", flags: TMP, data: "mode=755" };

/// Links that programs look for beside the devices.
const LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

impl Mount {
    fn mount(&self) -> Result<()> {
        if !self.target.starts_with("/sys/") {
            files::directory(self.target, 0o755).at(self.target)?;
        }
        mount(Some(self.kind), self.target, Some(self.kind), self.flags, Some(self.data))
            .at(format_args!("{} ({})", self.target, self.kind))
    }
}

/// `/proc`, `/sys` and `/dev`.
pub(crate) fn early() -> Result<()> {
    EARLY.iter().try_for_each(Mount::mount)
}

/// A `/proc` of the PID namespace that this process is in.
pub(crate) fn proc() -> Result<()> {
    EARLY.iter().filter(|mount| mount.target == "/proc").try_for_each(Mount::mount)
}

/// All else, on the root that stays. What a kernel does not have, a process may not need.
pub(crate) fn late() {
    // Images make directories in /run when they are built, which are to be there: it is covered where nothing is lost.
    let run = fs::symlink_metadata(RUN.target);
    let covers = run.is_err() || run.is_ok_and(|found| found.is_dir()) && files::names(RUN.target).is_empty();
    for mount in LATE.iter().chain(covers.then_some(&RUN)) {
        if let Err(failure) = mount.mount() {
            say(format!("not mounted: {failure}"));
        }
    }
    for (link, target) in LINKS {
        let _ = symlink(target, link);
    }
    if !Path::new("/tmp").exists() && fs::create_dir("/tmp").is_ok() {
        let _ = fs::set_permissions("/tmp", fs::Permissions::from_mode(0o1777));
    }
    // As Docker has it: a process that is not root may serve port 80, and ping.
    for (setting, value) in [("ip_unprivileged_port_start", "0"), ("ping_group_range", "0 2147483647")] {
        let _ = fs::write(format!("/proc/sys/net/ipv4/{setting}"), value);
    }
}
