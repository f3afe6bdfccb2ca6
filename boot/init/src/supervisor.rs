//! The main process: started when the network is there, started again where that is wanted, asked to end by the power button; and when it
//! has ended, so does the machine.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use initconfig::{
    Config,
    config::{LIMITS, PATH, Pid1, Restart},
    identity::Identity,
};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::{
    buttons::Buttons,
    console::{self, say},
    event::Event,
    failure::{At, Failure, Result},
    files,
    life::{self, Life},
    names::Names,
    net::Network,
    shutdown::Ending,
    status,
};

/// The main process is not kept waiting for an address any longer.
const NETWORK: Duration = Duration::from_secs(10);
/// The first and the longest time until a process is started again; one that ran that long begins anew.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// Open files where the image does not say: Linux gives process 1, and so all others, 4096 at most.
const OPEN_FILES: (usize, u64, u64) = (7, 1024, 1 << 20);

/// Everything that the main process and the end of the machine depend on.
pub(crate) struct Supervisor {
    pub(crate) config: Config,
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) pid1: Pid1,
    pub(crate) events: Receiver<Event>,
    pub(crate) buttons: Buttons,
    pub(crate) names: Names,
    state: State,
    waits_for_network: bool,
    /// What follows when it has ended because it was asked to.
    ending: Option<Ending>,
    again: Duration,
}

enum State {
    /// It is started then.
    Waiting { until: Instant },
    /// It runs; killed then.
    Running { pid: Pid, since: Instant, kill: Option<Instant> },
}

impl Supervisor {
    pub(crate) fn new(config: Config, words: Vec<Vec<u8>>, events: Receiver<Event>, buttons: Buttons) -> Self {
        let pid1 = config.pid1(words.first().map_or(b"", Vec::as_slice));
        let state = State::Waiting { until: Instant::now() };
        Self {
            config,
            words,
            pid1,
            events,
            buttons,
            names: Names::default(),
            state,
            waits_for_network: false,
            ending: None,
            again: AGAIN[0],
        }
    }

    /// Runs the main process until the machine is to end, and how.
    pub(crate) fn run(mut self, mut network: Network) -> Ending {
        self.waits_for_network = network.look();
        if self.waits_for_network {
            self.state = State::Waiting { until: Instant::now() + NETWORK };
        }
        loop {
            let due = match self.state {
                State::Waiting { until } => Some(until),
                State::Running { kill, .. } => kill,
            };
            let event = match due {
                // What is due is not put off by however many events there are.
                Some(due) if due <= Instant::now() => Err(RecvTimeoutError::Timeout),
                Some(due) => self.events.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => self.events.recv().map_err(RecvTimeoutError::from),
            };
            let ended = match event {
                Ok(Event::Signal(Signal::SIGCHLD)) => self.reap(),
                Ok(Event::Signal(Signal::SIGTERM | Signal::SIGINT)) => self.stop(Ending::Restart),
                Ok(Event::Signal(_) | Event::Button) => self.stop(Ending::PowerOff),
                Ok(Event::Device) => {
                    self.buttons.look();
                    network.look();
                    None
                }
                Ok(Event::Interface(index, settings)) => self.interface(index, settings),
                Err(_) => self.due(),
            };
            if let Some(ending) = ended {
                return ending;
            }
        }
    }

    fn interface(&mut self, index: u32, settings: Option<initconfig::address::Settings>) -> Option<Ending> {
        let came = settings.is_some();
        self.names.set(index, settings);
        // The first time it is the network that is waited for, later a process that ended.
        match self.state {
            State::Waiting { .. } if came && self.names.hostname().is_empty() => self.start(),
            _ => None,
        }
    }

    /// The time has come that the state names.
    fn due(&mut self) -> Option<Ending> {
        match &mut self.state {
            State::Waiting { .. } => {
                if self.waits_for_network && self.names.hostname().is_empty() {
                    say(format!("no address in {} s: the main process starts without one", NETWORK.as_secs()));
                }
                self.start()
            }
            State::Running { pid, kill: due, .. } => {
                *due = None;
                say("the main process did not end in time: it is killed");
                let _ = kill(*pid, Signal::SIGKILL);
                None
            }
        }
    }

    /// Asks the main process to end.
    fn stop(&mut self, ending: Ending) -> Option<Ending> {
        self.ending = Some(self.ending.unwrap_or(ending));
        let State::Running { pid, kill: due, .. } = &mut self.state else { return self.ending };
        if due.is_none() {
            *due = Some(Instant::now() + Duration::from_secs(self.config.stop_timeout.into()));
            let signal = Signal::try_from(i32::from(self.config.stop)).unwrap_or(Signal::SIGTERM);
            let _ = kill(*pid, signal);
        }
        None
    }

    /// Buries all that ended; how the machine goes on when the main process did.
    fn reap(&mut self) -> Option<Ending> {
        let mut main = None;
        loop {
            let (pid, code, signal) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, u8::try_from(code).unwrap_or(life::OURS), None),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    (pid, u8::try_from(signal as i32).map_or(life::OURS, |n| n + 128), Some(signal))
                }
                Ok(WaitStatus::StillAlive) | Err(_) => break,
                Ok(_) => continue,
            };
            if matches!(self.state, State::Running { pid: running, .. } if running == pid) {
                main = Some((code, signal));
            }
        }
        main.and_then(|(code, signal)| self.ended(code, signal))
    }

    fn ended(&mut self, code: u8, signal: Option<Signal>) -> Option<Ending> {
        // reboot(2) in a PID namespace ends its process 1 by one of these, pid_namespaces(7).
        let asked = match signal {
            Some(Signal::SIGHUP) if self.pid1 == Pid1::Namespace => Some(Ending::Restart),
            Some(Signal::SIGINT) if self.pid1 == Pid1::Namespace => Some(Ending::PowerOff),
            _ => None,
        };
        status::ended(if asked.is_some() { 0 } else { code });
        let again = match self.config.restart {
            Restart::No => false,
            Restart::OnFailure => code != 0,
            Restart::Always => true,
        };
        if let Some(ending) = self.ending.or(asked) {
            return Some(ending);
        }
        if !again {
            return Some(Ending::PowerOff);
        }
        if matches!(self.state, State::Running { since, .. } if since.elapsed() >= AGAIN[1]) {
            self.again = AGAIN[0];
        }
        say(format!("it is started again in {} s", self.again.as_secs()));
        self.state = State::Waiting { until: Instant::now() + self.again };
        self.again = AGAIN[1].min(self.again * 2);
        None
    }

    fn start(&mut self) -> Option<Ending> {
        self.names.settle(&self.config.hostname);
        let name = if self.pid1 == Pid1::Namespace { life::NAMESPACE } else { life::PROCESS };
        let started = self.life().and_then(|life| life.command(name).spawn().at("the main process could not be started"));
        let pid = started.and_then(|child| i32::try_from(child.id()).at("its number"));
        match pid {
            Ok(pid) => {
                self.state = State::Running { pid: Pid::from_raw(pid), since: Instant::now(), kill: None };
                None
            }
            Err(failure) => {
                say(failure.to_string());
                self.ended(life::OURS, None)
            }
        }
    }

    /// What the main process is to be, as image, machine and configuration say.
    pub(crate) fn life(&self) -> Result<Life> {
        let Config { user, env, cwd, tty, limits, .. } = &self.config;
        let text = |path: &str| match files::read(path, files::TEXT_MAX) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read.at(path),
        };
        let who = Identity::find(user, &text("/etc/passwd")?, &text("/etc/group")?).at(format_args!("user \"{}\"", user.escape_ascii()))?;
        if self.words.is_empty() {
            return Err(Failure::new("the configuration has neither an entrypoint nor a cmd: there is nothing to run"));
        }
        // What an image says goes before what everybody has, and a later word before an earlier one.
        let mut all =
            vec![(b"PATH".to_vec(), PATH.to_vec()), (b"HOSTNAME".to_vec(), self.names.hostname().to_vec()), (b"HOME".to_vec(), who.home)];
        all.extend(tty.then(|| (b"TERM".to_vec(), b"linux".to_vec())));
        all.extend(env.iter().filter_map(|word| {
            let (name, value) = word.split_at_checked(word.iter().position(|byte| *byte == b'=')?)?;
            Some((name.to_vec(), value.get(1..)?.to_vec()))
        }));
        let number = |name: &str| LIMITS.iter().position(|known| *known == name);
        let asked = limits.iter().filter_map(|limit| Some((number(limit.name)?, limit.soft, limit.hard)));
        Ok(Life {
            uid: who.uid,
            gid: who.gid,
            groups: who.groups,
            cwd: cwd.clone(),
            terminal: if *tty { console::terminal() } else { None },
            limits: [OPEN_FILES].into_iter().chain(asked).collect(),
            words: self.words.clone(),
            env: all,
        })
    }
}
