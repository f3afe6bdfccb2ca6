//! Foreign programs, and our own: run one, and judge what it said.

use std::{
    env,
    ffi::OsStr,
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
};

/// A program that ended.
pub struct Finished {
    command: String,
    status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Finished {
    /// The exit code; a signal has none and fails the test.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("died of a signal\n{self}"))
    }

    /// Fails the test unless the exit code is 0.
    pub fn success(self) -> Self {
        assert!(self.status.success(), "failed\n{self}");
        self
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// The command with everything it said, for a failing test.
impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = |bytes: &[u8]| String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4000)..]).into_owned();
        write!(f, "$ {}\n{}\n-- stdout\n{}\n-- stderr\n{}", self.command, self.status, tail(&self.stdout), tail(&self.stderr))
    }
}

/// A foreign program by name, also found in the sbin directories that an ordinary user's `PATH` lacks.
pub fn tool(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    let path = env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).env("LC_ALL", "C").env_remove("MTOOLSRC");
    command
}

/// Our own program.
pub fn moby() -> Command {
    Command::new(env!("CARGO_BIN_EXE_moby"))
}

/// Runs a command to its end, whatever that is.
pub fn finish(command: &mut Command) -> Finished {
    finish_with(command, &[])
}

/// Runs a command to its end with `input` on its standard input.
pub fn finish_with(command: &mut Command, input: &[u8]) -> Finished {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{shown} cannot be run: {error}; tests/setup.sh installs what the tests need"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let output = thread::scope(|scope| {
        scope.spawn(move || match stdin.write_all(input) {
            // A program may well end before it has read everything.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => panic!("writing to its standard input: {error}"),
            _ => {}
        });
        child.wait_with_output().expect("its output can be read")
    });
    Finished { command: shown, status: output.status, stdout: output.stdout, stderr: output.stderr }
}

/// A Python program that `tests/setup.sh` installed, `python3` with its packages among them.
pub fn oracle(program: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/oracles/bin").join(program);
    assert!(path.exists(), "{} is missing: run tests/setup.sh", path.display());
    path
}

/// systemd's ukify, as `tests/setup.sh` fetched it.
pub fn ukify(arguments: &[&str]) -> String {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/.cache/ukify");
    run(super::text(&oracle("python3")), [&[program], arguments].concat())
}

/// `moby convert`, run in a directory.
pub fn convert_in(dir: &Path, arguments: &[&str]) -> Finished {
    finish(moby().current_dir(dir).args(["convert", "--quiet"]).args(arguments))
}

/// Runs a foreign program that must succeed; its standard output.
pub fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> String {
    finish(tool(program).args(arguments)).success().text()
}
