//! The configuration of process 1, `/.moby/config` in the initrd: text, one `KEY VALUE` a line.
//!
//! ```text
//!  format 1                          the first line
//!  entrypoint /bin/server            one line for each word; likewise cmd
//!  env TZ=UTC                        one line for each variable
//!  user www-data:adm
//!  limit nofile 1024 1048576
//!  root PARTUUID=6cbb66ac-3f7a-4a5f-a0c1-0e31a0a1d5f1
//! ```
//! A value is every byte behind the first space, but for the two escapes `\n` (a line feed) and `\\`; it holds no zero byte. Unknown keys
//! are errors: an older process 1 does not pass over what a newer tool asked for.

use alloc::vec::Vec;
use core::fmt;

use crate::signal;

/// The configuration of process 1: what an image's own configuration says, and what the machine adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The image's Entrypoint, one element for each word.
    pub entrypoint: Vec<Vec<u8>>,
    /// The image's Cmd, which words behind `--` on the kernel's command line replace.
    pub cmd: Vec<Vec<u8>>,
    /// The image's Env: `NAME=VALUE`.
    pub env: Vec<Vec<u8>>,
    /// The image's User: `NAME`, `UID`, `NAME:GROUP`; empty for root.
    pub user: Vec<u8>,
    /// The image's WorkingDir.
    pub cwd: Vec<u8>,
    /// The signal that asks the main process to end, by number.
    pub stop: u8,
    /// Seconds until it is killed.
    pub stop_timeout: u16,
    /// Whether the main process has the console as its terminal.
    pub tty: bool,
    /// Who is process 1.
    pub pid1: Pid1,
    /// What follows when the main process ends.
    pub restart: Restart,
    /// The machine's name; empty where the network or nobody says.
    pub hostname: Vec<u8>,
    /// Resource limits of the main process.
    pub limits: Vec<Limit>,
    /// The device of the root file system: `PARTUUID=GUID` or `/dev/NAME`; without one the initrd is the root.
    pub root: Option<Vec<u8>>,
    /// The table by which device-mapper verifies the root, as dmsetup(8) has it: `0 SECTORS verity 1 DATA HASHES ...`.
    pub verity: Option<Vec<u8>>,
    /// The image's Volumes.
    pub volumes: Vec<Vec<u8>>,
}

/// Who is process 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pid1 {
    /// As the program is: [`Config::pid1`] says.
    Auto,
    /// We are; the main process is a child.
    No,
    /// We are; the main process is process 1 of a PID namespace.
    Namespace,
    /// The main process: it gets the machine, and we are gone.
    Yes,
}

/// What follows when the main process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// The machine is powered off.
    No,
    /// It is started again unless it ended with 0.
    OnFailure,
    /// It is started again.
    Always,
}

/// A resource limit, setrlimit(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// What is limited, one of [`LIMITS`].
    pub name: &'static str,
    /// What is in force; `u64::MAX` is none.
    pub soft: u64,
    /// What the process may raise it to.
    pub hard: u64,
}

/// Who is process 1, by name.
pub const PID1: [(&str, Pid1); 4] = [("auto", Pid1::Auto), ("no", Pid1::No), ("namespace", Pid1::Namespace), ("yes", Pid1::Yes)];
/// What follows, by name.
pub const RESTART: [(&str, Restart); 3] = [("no", Restart::No), ("on-failure", Restart::OnFailure), ("always", Restart::Always)];

/// Where programs without a `/` in their name are looked for when the image's Env has no `PATH`, as Docker has it.
pub const PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What can be limited, in the order of the kernel's numbers, as Docker's `--ulimit` calls them.
pub const LIMITS: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

/// Longer configurations are nobody's, in bytes.
pub const MAX: usize = 4 << 20;
/// The longest time that a main process is given to end, in seconds.
const STOP_TIMEOUT_MAX: u16 = 3600;

/// Process 1 of these images wants the machine: systemd and its like.
const WANT_THE_MACHINE: [&[u8]; 5] =
    [b"/sbin/init", b"/usr/sbin/init", b"/lib/systemd/systemd", b"/usr/lib/systemd/systemd", b"/sbin/openrc-init"];
/// These insist on being process 1: s6-overlay.
const WANT_A_NAMESPACE: [&[u8]; 1] = [b"/init"];

impl Default for Config {
    fn default() -> Self {
        Self {
            entrypoint: Vec::new(),
            cmd: Vec::new(),
            env: Vec::new(),
            user: Vec::new(),
            cwd: b"/".to_vec(),
            stop: 15,
            stop_timeout: 10,
            tty: false,
            pid1: Pid1::Auto,
            restart: Restart::No,
            hostname: Vec::new(),
            limits: Vec::new(),
            root: None,
            verity: None,
            volumes: Vec::new(),
        }
    }
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`Error`] with the line that cannot be read.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let mut config = Self::default();
        let mut known = false;
        let mut seen = Vec::new();
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let error = |why| Error { line: index.saturating_add(1), text: line.get(..60).unwrap_or(line).to_vec(), why };
            let space = line.iter().position(|byte| *byte == b' ').ok_or_else(|| error("it has to be KEY VALUE"))?;
            let (key, rest) = line.split_at_checked(space).unwrap_or((line, b""));
            let value = unescape(rest.get(1..).unwrap_or_default()).map_err(error)?;
            if !known {
                if key != b"format" || value != b"1" {
                    return Err(error("the first line has to be \"format 1\": this process 1 knows no other"));
                }
                known = true;
                continue;
            }
            let repeated = matches!(key, b"entrypoint" | b"cmd" | b"env" | b"limit" | b"volume");
            if !repeated && seen.contains(&key) {
                return Err(error("this key is there already"));
            }
            seen.push(key);
            config.set(key, value).map_err(error)?;
        }
        Ok(config)
    }

    fn set(&mut self, key: &[u8], value: Vec<u8>) -> Result<(), &'static str> {
        match key {
            b"entrypoint" => self.entrypoint.push(value),
            b"cmd" => self.cmd.push(value),
            b"env" if value.iter().skip(1).any(|byte| *byte == b'=') => self.env.push(value),
            b"env" => return Err("a variable has to be NAME=VALUE"),
            b"user" => self.user = value,
            b"cwd" if value.starts_with(b"/") => self.cwd = value,
            b"cwd" => return Err("a directory has to begin with /"),
            b"stop" => self.stop = signal::number(&value).ok_or("a signal has to be a name or 1 to 64")?,
            b"stop-timeout" => {
                let seconds = number(&value).and_then(|seconds| u16::try_from(seconds).ok()).filter(|s| *s <= STOP_TIMEOUT_MAX);
                self.stop_timeout = seconds.ok_or("it has to be 0 to 3600 seconds")?;
            }
            b"tty" => self.tty = named(&value, &TTY)?,
            b"pid1" => self.pid1 = named(&value, &PID1)?,
            b"restart" => self.restart = named(&value, &RESTART)?,
            b"hostname" if is_hostname(&value) => self.hostname = value,
            b"hostname" => return Err("a name of a machine has letters, digits, '.' and '-', at most 64 of them"),
            b"limit" => self.limits.push(limit(&value).ok_or("a limit has to be NAME SOFT HARD, SOFT not above HARD")?),
            b"root" if value.starts_with(b"PARTUUID=") || value.starts_with(b"/dev/") => self.root = Some(value),
            b"root" => return Err("a root has to be PARTUUID=GUID or /dev/NAME"),
            b"verity" => self.verity = Some(value),
            b"volume" if value.starts_with(b"/") => self.volumes.push(value),
            b"volume" => return Err("a volume has to begin with /"),
            _ => return Err("this key is not known"),
        }
        Ok(())
    }

    /// The text that [`Config::parse`] reads as this configuration.
    pub fn write(&self) -> Vec<u8> {
        let mut text = b"format 1\n".to_vec();
        let mut line = |key: &str, value: &[u8]| {
            text.extend(key.bytes().chain(*b" "));
            for byte in value {
                match byte {
                    b'\n' => text.extend(b"\\n"),
                    b'\\' => text.extend(b"\\\\"),
                    byte => text.push(*byte),
                }
            }
            text.push(b'\n');
        };
        let lists = [("entrypoint", &self.entrypoint), ("cmd", &self.cmd), ("env", &self.env), ("volume", &self.volumes)];
        lists.into_iter().for_each(|(key, values)| values.iter().for_each(|value| line(key, value)));
        line("user", &self.user);
        line("cwd", &self.cwd);
        line("stop", alloc::format!("{}", self.stop).as_bytes());
        line("stop-timeout", alloc::format!("{}", self.stop_timeout).as_bytes());
        line("tty", name(self.tty, &TTY).as_bytes());
        line("pid1", name(self.pid1, &PID1).as_bytes());
        line("restart", name(self.restart, &RESTART).as_bytes());
        if !self.hostname.is_empty() {
            line("hostname", &self.hostname);
        }
        for Limit { name, soft, hard } in &self.limits {
            line("limit", alloc::format!("{name} {soft} {hard}").as_bytes());
        }
        for (key, value) in [("root", &self.root), ("verity", &self.verity)] {
            value.iter().for_each(|value| line(key, value));
        }
        text
    }

    /// The words of the main process: Entrypoint, then `instead` of Cmd where there are any.
    pub fn words(&self, instead: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let cmd = if instead.is_empty() { &self.cmd } else { instead };
        self.entrypoint.iter().chain(cmd).cloned().collect()
    }

    /// Who is process 1 when the main process is `program`: never [`Pid1::Auto`].
    pub fn pid1(&self, program: &[u8]) -> Pid1 {
        match self.pid1 {
            Pid1::Auto if WANT_THE_MACHINE.contains(&program) => Pid1::Yes,
            Pid1::Auto if WANT_A_NAMESPACE.contains(&program) => Pid1::Namespace,
            Pid1::Auto => Pid1::No,
            said => said,
        }
    }
}

const TTY: [(&str, bool); 2] = [("no", false), ("yes", true)];

fn named<T: Copy>(value: &[u8], names: &[(&str, T)]) -> Result<T, &'static str> {
    let found = names.iter().find(|(name, _)| name.as_bytes() == value);
    found.map(|(_, found)| *found).ok_or("this value is not known")
}

/// The name of a value out of a table like [`PID1`]; empty where it has none.
pub fn name<T: Copy + PartialEq>(value: T, names: &[(&'static str, T)]) -> &'static str {
    names.iter().find(|(_, named)| *named == value).map_or("", |(name, _)| name)
}

/// A number in decimal digits.
fn number(value: &[u8]) -> Option<u64> {
    str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

fn limit(value: &[u8]) -> Option<Limit> {
    let mut words = value.split(|byte| *byte == b' ');
    let name = words.next()?;
    let name = LIMITS.iter().find(|known| known.as_bytes() == name)?;
    let (soft, hard) = (number(words.next()?)?, number(words.next()?)?);
    (words.next().is_none() && soft <= hard).then_some(Limit { name, soft, hard })
}

/// Whether a name can be that of a machine; Linux takes 64 bytes.
pub fn is_hostname(name: &[u8]) -> bool {
    let sound = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=64).contains(&name.len()) && name.iter().all(sound) && !matches!(name.first(), Some(b'.' | b'-'))
}

fn unescape(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut plain = Vec::with_capacity(value.len());
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        plain.push(match (byte, *byte == b'\\') {
            (0, _) => return Err("it holds a zero byte, which no word and no variable can"),
            (_, false) => *byte,
            _ => match bytes.next() {
                Some(b'n') => b'\n',
                Some(b'\\') => b'\\',
                _ => return Err("the only escapes are \\n and \\\\"),
            },
        });
    }
    Ok(plain)
}

/// A configuration that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The line, from 1.
    pub line: usize,
    /// How it begins.
    pub text: Vec<u8>,
    /// What is required.
    pub why: &'static str,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, \"{}\": {}", self.line, self.text.escape_ascii(), self.why)
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::{Config, LIMITS, Limit, Pid1, Restart};
    use alloc::{string::ToString, vec, vec::Vec};

    fn full() -> Config {
        let every: Vec<u8> = (1..=255).collect();
        Config {
            entrypoint: vec![b"/bin/a".to_vec(), every.clone()],
            cmd: vec![b"".to_vec(), b" b \\n\n".to_vec()],
            env: vec![[b"A=".as_slice(), &every].concat(), b"B=".to_vec()],
            user: b"www-data:adm".to_vec(),
            cwd: b"/a b\n".to_vec(),
            stop: 37,
            stop_timeout: 3600,
            tty: true,
            pid1: Pid1::Namespace,
            restart: Restart::OnFailure,
            hostname: b"web-1.example".to_vec(),
            limits: vec![Limit { name: LIMITS[7], soft: 1024, hard: u64::MAX }],
            root: Some(b"PARTUUID=6cbb66ac-3f7a-4a5f-a0c1-0e31a0a1d5f1".to_vec()),
            verity: Some(b"0 8 verity 1 PARTUUID=a PARTUUID=b 4096 4096 1 1 sha256 00 -".to_vec()),
            volumes: vec![b"/var/lib/x".to_vec()],
        }
    }

    #[test]
    fn a_configuration_is_read_as_it_was_written_whatever_its_bytes_are() {
        for config in [Config::default(), full()] {
            let text = config.write();
            assert_eq!(Config::parse(&text), Ok(config), "{}", text.escape_ascii());
        }
        assert_eq!(Config::parse(b"format 1"), Ok(Config::default()));
    }

    #[test]
    fn what_cannot_be_read_names_its_line() {
        for (text, wanted) in [
            ("", "KEY VALUE"),
            ("cmd a", "format 1"),
            ("format 2", "format 1"),
            ("format 1\ncmd", "line 2, \"cmd\": it has to be KEY VALUE"),
            ("format 1\n\nuser a", "line 2, \"\": it has to be KEY VALUE"),
            ("format 1\ncmd a\\b", "escapes"),
            ("format 1\ncmd a\\", "escapes"),
            ("format 1\ncmd a\0b", "zero byte"),
            ("format 1\nenv A", "NAME=VALUE"),
            ("format 1\nenv =A", "NAME=VALUE"),
            ("format 1\nuser a\nuser b", "line 3, \"user b\": this key is there already"),
            ("format 1\ncwd a", "begin with /"),
            ("format 1\nstop SIGNONE", "a signal"),
            ("format 1\nstop-timeout 3601", "0 to 3600"),
            ("format 1\nstop-timeout +1", "0 to 3600"),
            ("format 1\ntty maybe", "not known"),
            ("format 1\nhostname a b", "name of a machine"),
            ("format 1\nlimit nofile 2 1", "SOFT HARD"),
            ("format 1\nlimit files 1 1", "SOFT HARD"),
            ("format 1\nlimit nofile 1 1 1", "SOFT HARD"),
            ("format 1\nroot LABEL=x", "PARTUUID"),
            ("format 1\nvolume x", "begin with /"),
            ("format 1\nshell /bin/sh", "not known"),
            ("format 1\n\x1b[31m x", "\\x1b[31m"),
        ] {
            let error = Config::parse(text.as_bytes()).expect_err(text).to_string();
            assert!(error.contains(wanted), "{text:?}: {error}");
            assert!(!error.contains(|c: char| c.is_control()), "{error:?}");
        }
    }

    #[test]
    fn arguments_of_the_command_line_replace_cmd() {
        let config = Config { entrypoint: vec![b"a".to_vec()], cmd: vec![b"b".to_vec()], ..Config::default() };
        assert_eq!(config.words(&[]), [b"a", b"b"]);
        assert_eq!(config.words(&[b"c".to_vec(), b"d".to_vec()]), [b"a", b"c", b"d"]);
    }

    #[test]
    fn who_is_process_1_is_seen_by_the_program() {
        let said = |pid1, program: &str| Config { pid1, ..Config::default() }.pid1(program.as_bytes());
        for (program, wanted) in [("/init", Pid1::Namespace), ("/sbin/init", Pid1::Yes), ("/bin/init", Pid1::No), ("nginx", Pid1::No)] {
            assert_eq!(said(Pid1::Auto, program), wanted, "{program}");
        }
        assert_eq!(said(Pid1::No, "/init"), Pid1::No);
        assert_eq!(said(Pid1::Yes, "nginx"), Pid1::Yes);
    }

    /// A number of mutants of a sound configuration: an error or a configuration that is written as it is read.
    #[test]
    fn damaged_text_is_an_error_or_another_configuration() {
        let text = full().write();
        for at in 0..text.len() {
            for byte in [0, b'\n', b'\\', b' ', 0xff] {
                let mut damaged = text.clone();
                damaged[at] = byte;
                if let Ok(config) = Config::parse(&damaged) {
                    assert_eq!(Config::parse(&config.write()), Ok(config), "{at} {byte}");
                }
            }
        }
    }
}
