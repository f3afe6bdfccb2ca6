//! A command line as a test matches it.

use core::fmt::{self, Write as _};

/// Bytes as text: printable ASCII as it is, anything else as `\\xNN`.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&byte| match byte {
            b' '..=b'~' => f.write_char(char::from(byte)),
            _ => write!(f, "\\x{byte:02x}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Escaped;

    #[test]
    fn a_command_line_is_printed_as_it_is() {
        assert_eq!(Escaped(br#"root=/dev/sda a="b c" %s \n"#).to_string(), r#"root=/dev/sda a="b c" %s \n"#);
        assert_eq!(Escaped("t\u{e4}g\n".as_bytes()).to_string(), r"t\xc3\xa4g\x0a");
    }
}
