//! `Cmdline`: a kernel command line.

use crate::error::{Error, Result};
use formats::tree::ShowPath;
use std::fmt;

/// What an argument begins with that names a console.
const CONSOLE: &str = "console=";

/// A kernel command line: one line of UTF-8 without control characters other than tabs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cmdline(String);

impl Cmdline {
    /// A command line from text.
    ///
    /// # Errors
    /// When the text is more than one line or has control characters.
    pub fn new(text: &str) -> Result<Self> {
        let text = text.trim();
        match text.chars().find(|c| c.is_control() && *c != '\t') {
            Some(c) => Err(Error::bad_input(format!(
                "the kernel command line '{}' has a '{}', must be one line without control characters",
                ShowPath(text.as_bytes()),
                c.escape_default()
            ))),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// A command line from the bytes of a file: what stands before the first newline.
    ///
    /// # Errors
    /// When that is not UTF-8 or has control characters.
    pub fn from_file(bytes: &[u8]) -> Result<Self> {
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let refuse = |_| Error::bad_input(format!("the kernel command line '{}' is not UTF-8", ShowPath(line)));
        Self::new(std::str::from_utf8(line).map_err(refuse)?)
    }

    /// Puts more arguments behind it.
    ///
    /// # Errors
    /// As [`Cmdline::new`].
    pub fn append(&mut self, text: &str) -> Result<()> {
        *self = Self::new(&format!("{} {}", self.0, text.trim()))?;
        Ok(())
    }

    /// That of a machine for which nobody says one: these consoles, and a restart half a minute after a panic, which nobody may see.
    pub(crate) fn of_machine(consoles: &[&str]) -> Self {
        let mut cmdline = Self("panic=30".to_owned());
        cmdline.set_consoles(consoles);
        cmdline
    }

    /// Puts these consoles in the place of those that it has; nothing changes where there are none.
    pub fn set_consoles(&mut self, consoles: &[&str]) {
        if consoles.is_empty() {
            return;
        }
        let others = self.0.split(' ').filter(|word| !word.is_empty() && !word.starts_with(CONSOLE)).map(str::to_owned);
        let consoles = consoles.iter().map(|console| format!("{CONSOLE}{console}"));
        // In front: behind a lone `--`, words are for init.
        self.0 = consoles.chain(others).collect::<Vec<_>>().join(" ");
    }

    /// Whether it says which device holds the root file system.
    pub fn has_root(&self) -> bool {
        self.value("root=").is_some()
    }

    /// What stands behind an argument's name, `root=` say, where it has it; of several the last.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.split_whitespace().filter_map(|word| word.strip_prefix(name)).next_back()
    }

    /// Refuses one that a kernel would cut off or leave out.
    ///
    /// # Errors
    /// Says how many bytes the kernel takes.
    pub fn check(&self, max: Option<u32>) -> Result<()> {
        let len = self.0.len();
        match max.and_then(|max| usize::try_from(max).ok()) {
            Some(max) if len > max => Err(Error::bad_input(format!("the kernel command line has {len} bytes, this kernel takes {max}"))
                .hint("shorten it, with --cmdline")),
            _ => Ok(()),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cmdline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_one_line_of_text() {
        let good = [("", ""), ("\n", ""), ("a b\r\nc", "a b"), (" quiet\t%d \\n ü ", "quiet\t%d \\n ü"), ("a", "a")];
        for (file, cmdline) in good {
            assert_eq!(Cmdline::from_file(file.as_bytes()).unwrap().as_str(), cmdline);
        }
        let bad: [(&[u8], &str); 3] = [
            (b"a\0b", r"'a\u{0}b' has a '\u{0}'"),
            (b"root=\xff\n", r"'root=\xff' is not UTF-8"),
            (b"a\x1bb", "must be one line without control characters"),
        ];
        for (file, message) in bad {
            let error = Cmdline::from_file(file).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        assert!(Cmdline::new("two\nlines").is_err());
    }
}
