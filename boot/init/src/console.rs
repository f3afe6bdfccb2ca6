//! What we say, and where: lines that begin with `moby:` on the kernel's console.

use std::{
    fs::File,
    io::{self, Write},
};

use nix::unistd;

/// One line. That it cannot be said is no reason to end.
pub(crate) fn say(text: impl AsRef<str>) {
    let line = format!("moby: {}\n", text.as_ref());
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Makes the console standard output and error, and `/dev/null` standard input: what the kernel opened may have been a file of the image.
pub(crate) fn open() {
    let null = File::options().read(true).write(true).open("/dev/null");
    let console = File::options().read(true).write(true).open("/dev/console");
    if let Ok(null) = &null {
        let _ = unistd::dup2_stdin(null);
    }
    if let Ok(out) = console.as_ref().or(null.as_ref()) {
        let _ = unistd::dup2_stdout(out);
        let _ = unistd::dup2_stderr(out);
    }
}

/// The terminal behind the console: no process can have `/dev/console` itself as its own.
pub(crate) fn terminal() -> Option<String> {
    let active = crate::files::word("/sys/class/tty/console/active")?;
    active.split(' ').next_back().map(|name| format!("/dev/{name}"))
}
