//! Programs that say a secret.

use formats::{Error, Kind, Result};
use std::{
    io::{Read, Write},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// How long a program may take; it may ask the user something.
const TIME: Duration = Duration::from_secs(120);

/// An answer has some hundred bytes.
const MAX: u64 = 1 << 20;

/// How a program ends, and what it says when it is told `asked`. `name` is what it is called in messages.
///
/// # Errors
/// Environment: it cannot be run, or says nothing for two minutes.
pub(super) fn run(mut command: Command, asked: &str, name: &str) -> Result<(ExitStatus, Vec<u8>)> {
    let failed = |what: String| Error::new(Kind::Environment, format!("{name} {what}"));
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = child.map_err(|error| failed("cannot be run".to_owned()).because(error))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let (done, answer) = mpsc::channel();
    let asked = asked.to_owned();
    // Both ends in a thread of their own: a program that hangs does not hang us.
    thread::spawn(move || {
        // One that does not read what it is asked says so by its answer.
        let _ = stdin.map(|mut stdin| stdin.write_all(asked.as_bytes()));
        let mut said = Vec::new();
        let read = stdout.map_or(Ok(0), |stdout| stdout.take(MAX).read_to_end(&mut said));
        // Nobody waits any more when time was up.
        let _ = done.send(read.map(|_| said));
    });
    let said = answer.recv_timeout(TIME);
    if said.is_err() {
        // It may have ended by itself by now.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| failed("was lost".to_owned()).because(error))?;
    let said = said.map_err(|_| failed(format!("said nothing for {} s", TIME.as_secs())))??;
    Ok((status, said))
}
