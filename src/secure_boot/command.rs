//! Keys that are elsewhere, in a token or a service: a command of the user's signs.

use crate::error::{Error, Kind, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use formats::{
    plain,
    signer::{PublicKey, Signer},
};
use std::{
    io::{self, Read, Write},
    process::{Child, Command as Process, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// More than any signature is, base64 and all.
const ANSWER_MAX: u64 = 64 << 10;
/// What is looked at of its standard error.
const COMPLAINT_MAX: u64 = 4 << 10;
/// Between two looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(10);

/// A command that signs: the shell runs it with the SHA-256 to be signed, 32 bytes, on its standard input, and it writes the signature to its
/// standard output (RSASSA-PKCS1-v1_5, RFC 8017 section 8.2), as it is or as base64. `MOBY_SIGN_KEY` tells it whose key is asked for.
#[derive(Clone, Debug)]
pub struct Command {
    /// What the shell is given.
    pub command: String,
    /// What `MOBY_SIGN_KEY` says: `db`, `KEK`, `PK`, `pcr`.
    pub key: &'static str,
    /// The key that it has, by the certificate.
    pub public: PublicKey,
    /// How long it may take.
    pub limit: Duration,
}

impl Signer for Command {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, digest: &[u8; 32]) -> formats::Result<Vec<u8>> {
        self.run(digest).map_err(|error| error.at("--sign-command"))
    }
}

impl Command {
    fn run(&self, digest: &[u8; 32]) -> Result<Vec<u8>> {
        let mut child = shell(&self.command).env("MOBY_SIGN_KEY", self.key).spawn().map_err(Error::from)?;
        let (answer, complaint) = (reader(child.stdout.take(), ANSWER_MAX), reader(child.stderr.take(), COMPLAINT_MAX));
        if let Some(mut input) = child.stdin.take() {
            // Whoever does not read has ended, and that is told below.
            let _: io::Result<()> = input.write_all(digest);
        }
        let status = self.wait(&mut child)?;
        // What it started may go on and keep the pipes open.
        let said = |from: mpsc::Receiver<Vec<u8>>| from.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        let (answer, complaint) = (said(answer), said(complaint));
        if !status.success() {
            let complaint = String::from_utf8_lossy(&complaint);
            return Err(Error::new(Kind::Environment, format!("{status}: {}", plain::line(complaint.trim()))));
        }
        let len = self.public.bits().div_ceil(8);
        signature(answer, len).ok_or_else(|| {
            let what = format!("wrote no signature of {len} bytes to its standard output, neither as it is nor as base64");
            Error::bad_input(what).hint("a command such as: openssl pkeyutl -sign -inkey db.key -pkeyopt digest:sha256")
        })
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus> {
        let begun = Instant::now();
        while begun.elapsed() < self.limit {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(LOOK);
        }
        // It may have ended by itself just now.
        let _: io::Result<()> = child.kill();
        child.wait()?;
        let seconds = self.limit.as_secs();
        Err(Error::new(Kind::Environment, format!("did not end within {seconds} seconds")).hint("--sign-timeout gives it more"))
    }
}

/// The signature in an answer.
fn signature(answer: Vec<u8>, len: usize) -> Option<Vec<u8>> {
    if answer.len() == len {
        return Some(answer);
    }
    let text: Vec<u8> = answer.into_iter().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64_STANDARD.decode(text).ok().filter(|signature| signature.len() == len)
}

fn shell(command: &str) -> Process {
    let (shell, option) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    let mut process = Process::new(shell);
    process.args([option, command]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    process
}

/// What is written to a pipe, all of it read and so much of it kept.
fn reader(pipe: Option<impl Read + Send + 'static>, most: u64) -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut pipe) = pipe {
            let _: io::Result<usize> = pipe.by_ref().take(most).read_to_end(&mut kept);
            let _: io::Result<u64> = io::copy(&mut pipe, &mut io::sink());
        }
        let _: Result<(), mpsc::SendError<Vec<u8>>> = send.send(kept);
    });
    receive
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn command(command: &str, limit: Duration) -> Command {
        let public = PublicKey::new(&[0xff; 256], &[1, 0, 1]).unwrap();
        Command { command: command.to_owned(), key: "db", public, limit }
    }

    #[test]
    fn answers_are_bytes_or_base64() {
        let long = Duration::from_secs(60);
        let raw = command("head -c 256 /dev/zero", long).sign(&[0; 32]).unwrap();
        assert_eq!(raw, command("head -c 256 /dev/zero | base64", long).sign(&[0; 32]).unwrap());
        assert_eq!(
            command("test $MOBY_SIGN_KEY = db && for i in 1 2 3 4 5 6 7 8; do printf 12345678901234567890123456789012; done", long)
                .sign(&[0; 32])
                .unwrap()
                .len(),
            256
        );
    }

    #[test]
    fn what_goes_wrong_is_said() {
        let said = |text: &str, limit: u64| command(text, Duration::from_millis(limit)).sign(&[0; 32]).unwrap_err();
        assert_eq!(said("echo 'no token' >&2; exit 3", 60_000).to_string(), "--sign-command: exit status: 3: no token");
        assert_eq!(said("exit 3", 60_000).kind(), Kind::Environment);
        assert!(said("echo short", 60_000).to_string().contains("wrote no signature of 256 bytes"));
        assert!(said("sleep 60", 50).to_string().contains("did not end within"));
    }
}
