//! The second life of this program: it becomes the image's process. Everything between fork and exec that std has no word for happens here,
//! in a program of one thread.
//!
//! It is told by its arguments: `UID GID GROUP,GROUP,... DIRECTORY TERMINAL|- LIMIT:SOFT:HARD,... PROGRAM ARGUMENT...`; its environment is
//! the process's.

use std::{
    env::ArgsOs,
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::{ffi::OsStringExt, process::CommandExt},
    process::{Command, ExitCode},
};

use initconfig::config::LIMITS;
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        resource::{Resource, setrlimit},
        signal::{SigSet, Signal, kill, raise},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{self, Gid, Pid, Uid},
};

use crate::{
    console::say,
    failure::{At, Failure, Result},
    mounts,
};

/// Our names as the image's process, as the same in a PID namespace of which it is process 1, and as what keeps that namespace.
pub(crate) const PROCESS: &str = "moby-process";
pub(crate) const FIRST: &str = "moby-process-1";
pub(crate) const NAMESPACE: &str = "moby-namespace";

/// Exit codes, as Docker has them: ours, a program that cannot be executed, one that is not there.
pub(crate) const OURS: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// This program.
const SELF: &str = "/proc/self/exe";

/// What to become.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) cwd: Vec<u8>,
    pub(crate) terminal: Option<String>,
    /// Number of the resource, what is in force, what it may be raised to.
    pub(crate) limits: Vec<(usize, u64, u64)>,
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) env: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Life {
    /// The command that begins it, under one of our names.
    pub(crate) fn command(self, name: &str) -> Command {
        let mut command = Command::new(SELF);
        let groups = self.groups.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let limits = self.limits.iter().map(|(number, soft, hard)| format!("{number}:{soft}:{hard}")).collect::<Vec<_>>().join(",");
        command.arg0(name).args([self.uid.to_string(), self.gid.to_string(), groups]);
        command.arg(OsString::from_vec(self.cwd)).args([self.terminal.as_deref().unwrap_or("-"), &limits]);
        command.args(self.words.into_iter().map(OsString::from_vec));
        command.env_clear().envs(self.env.into_iter().map(|(name, value)| (OsString::from_vec(name), OsString::from_vec(value))));
        command
    }
}

/// Becomes the image's process; comes back only when it cannot.
pub(crate) fn become_process(arguments: ArgsOs, first: bool) -> ExitCode {
    let mut arguments = arguments;
    match prepare(&mut arguments, first) {
        Ok(program) => {
            let error = Command::new(&program).args(arguments).exec();
            say(format!("{}: {error}", program.as_encoded_bytes().escape_ascii()));
            ExitCode::from(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE })
        }
        Err(failure) => {
            say(failure.to_string());
            ExitCode::from(OURS)
        }
    }
}

/// Takes up all that the arguments say before the program, and says which that is.
fn prepare(arguments: &mut ArgsOs, first: bool) -> Result<OsString> {
    let mut next = || arguments.next().ok_or_else(|| Failure::new("an argument is missing"));
    let mut text = || Ok::<_, Failure>(next()?.to_string_lossy().into_owned());
    let (uid, gid, groups) = (text()?.parse().at("UID")?, text()?.parse().at("GID")?, text()?);
    let groups: Vec<Gid> =
        groups.split(',').map(|group| group.parse().map(Gid::from_raw)).collect::<std::result::Result<_, _>>().at("groups")?;
    let (cwd, terminal, limits) = (next()?, next()?, next()?);
    let program = next()?;
    if first {
        mounts::proc()?;
    }
    // What process 1 waits for in threads is blocked, and would stay so.
    SigSet::empty().thread_set_mask().at("signals")?;
    // Process 1 that hands the machine over may lead a session already.
    let _ = unistd::setsid();
    if terminal != "-" {
        let file = File::options().read(true).write(true).open(&terminal).at(terminal.to_string_lossy())?;
        unistd::dup2_stdin(&file).and_then(|()| unistd::dup2_stdout(&file)).and_then(|()| unistd::dup2_stderr(&file)).at("terminal")?;
    }
    for limit in limits.to_string_lossy().split(',').filter(|limit| !limit.is_empty()) {
        let mut parts = limit.split(':').map(str::parse::<u64>);
        let (Some(Ok(number)), Some(Ok(soft)), Some(Ok(hard))) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Failure::new(format!("limit {limit}")));
        };
        let number = usize::try_from(number).at("limit")?;
        let (Some(resource), Some(name)) = (RESOURCES.get(number), LIMITS.get(number)) else {
            return Err(Failure::new(format!("limit {limit}")));
        };
        setrlimit(*resource, soft, hard).at(format_args!("limit {name}"))?;
    }
    // Docker makes a directory that is missing.
    let shown = cwd.as_encoded_bytes().escape_ascii();
    fs::create_dir_all(&cwd).at(&shown)?;
    if uid != 0 {
        // Opened again by its name, as `/dev/stdout` is.
        let _ = unistd::fchown(io::stdout(), Some(Uid::from_raw(uid)), None);
        let _ = unistd::fchown(io::stderr(), Some(Uid::from_raw(uid)), None);
    }
    unistd::setgroups(&groups).at("setgroups")?;
    unistd::setgid(Gid::from_raw(gid)).at("setgid")?;
    unistd::setuid(Uid::from_raw(uid)).at("setuid")?;
    if first {
        // Not longer than the namespace is kept. Another user would not have inherited it.
        prctl::set_pdeathsig(Signal::SIGKILL).at("prctl")?;
    }
    unistd::chdir(cwd.as_os_str()).at(&shown)?;
    Ok(program)
}

/// In the order of `LIMITS`.
const RESOURCES: [Resource; LIMITS.len()] = [
    Resource::RLIMIT_CPU,
    Resource::RLIMIT_FSIZE,
    Resource::RLIMIT_DATA,
    Resource::RLIMIT_STACK,
    Resource::RLIMIT_CORE,
    Resource::RLIMIT_RSS,
    Resource::RLIMIT_NPROC,
    Resource::RLIMIT_NOFILE,
    Resource::RLIMIT_MEMLOCK,
    Resource::RLIMIT_AS,
    Resource::RLIMIT_LOCKS,
    Resource::RLIMIT_SIGPENDING,
    Resource::RLIMIT_MSGQUEUE,
    Resource::RLIMIT_NICE,
    Resource::RLIMIT_RTPRIO,
    Resource::RLIMIT_RTTIME,
];

/// Keeps a PID namespace whose process 1 is the image's process: passes signals on to it, and ends as it ended.
pub(crate) fn keep_namespace(arguments: ArgsOs) -> ExitCode {
    let all = SigSet::all();
    let begin = || {
        all.thread_block().at("signals")?;
        unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS).at("namespaces")?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).at("/")?;
        Command::new(SELF).arg0(FIRST).args(arguments).spawn().at(SELF)
    };
    let child = begin().and_then(|child| i32::try_from(child.id()).at("its number"));
    let child = match child {
        Ok(child) => Pid::from_raw(child),
        Err(failure) => {
            say(failure.to_string());
            return ExitCode::from(OURS);
        }
    };
    // No thread may be made here any more: it would be of the old namespace.
    loop {
        match all.wait() {
            Ok(Signal::SIGCHLD) => {}
            Ok(signal) => drop(kill(child, signal)),
            // One of the real-time signals, which have no name here.
            Err(_) => {}
        }
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => return ExitCode::from(u8::try_from(code).unwrap_or(OURS)),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                // `reboot` in there ended it by a signal, which process 1 is to see.
                let _ = SigSet::all().thread_unblock();
                let _ = raise(signal);
                return ExitCode::from(OURS);
            }
            Err(Errno::ECHILD) => return ExitCode::from(OURS),
            _ => {}
        }
    }
}
