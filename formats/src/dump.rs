//! A text dump of on-disk structures: one `name: value` a line, nested by indent. Golden files are made of it.

use std::fmt;

/// Collects the dump.
#[derive(Debug, Default)]
pub struct Dump {
    text: String,
    depth: usize,
}

impl Dump {
    /// An empty dump.
    pub fn new() -> Self {
        Self::default()
    }

    /// One line.
    pub fn field(&mut self, name: &str, value: impl fmt::Display) {
        self.line(format_args!("{name}: {value}"));
    }

    /// A number whose bits matter, in hexadecimal.
    pub fn hex(&mut self, name: &str, value: impl fmt::LowerHex) {
        self.line(format_args!("{name}: {value:#x}"));
    }

    /// A heading; what `inside` adds is indented under it.
    pub fn section<R>(&mut self, name: &str, inside: impl FnOnce(&mut Self) -> R) -> R {
        self.line(format_args!("{name}"));
        self.depth += 1;
        let result = inside(self);
        self.depth -= 1;
        result
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        use fmt::Write;
        let indent = self.depth * 2;
        writeln!(self.text, "{:indent$}{line}", "").expect("a String takes every write");
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_indent() {
        let mut dump = Dump::new();
        dump.field("size", 3);
        dump.section("header", |dump| dump.hex("magic", 0xfb_u8));
        assert_eq!(dump.finish(), "size: 3\nheader\n  magic: 0xfb\n");
    }
}
