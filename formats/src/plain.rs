//! Text for a terminal: nothing of it is executed, and none stands elsewhere than it was written.

use std::fmt::{self, Write};

/// Whether a terminal only shows a character: no control, no mark of bidirectional text (Unicode, UAX 9, 2.1 to 2.6), no separator of lines.
pub fn is_plain(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text whose other characters are escaped, but for line feeds: a message may have several lines.
pub struct Plain<T>(pub T);

impl<T: fmt::Display> fmt::Display for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

/// The same in one line.
pub fn line(text: &str) -> String {
    Plain(text).to_string().replace('\n', "\\n")
}

/// Writes characters, escaped where a terminal would do more than show them.
struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(|c| !is_plain(c) && c != '\n') {
            let (head, tail) = rest.split_at(at);
            let mut chars = tail.chars();
            self.0.write_str(head)?;
            chars.next().map_or(Ok(()), |c| write!(self.0, "{}", c.escape_default()))?;
            rest = chars.as_str();
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_execute_is_escaped() {
        let text = format!("{}", Plain("a\u{1b}[2J\nb\t\u{202e}c\u{7f}\u{9b}d ü"));
        assert_eq!(text, "a\\u{1b}[2J\nb\\t\\u{202e}c\\u{7f}\\u{9b}d ü");
        assert_eq!((Plain("").to_string().as_str(), line("a\n\tb").as_str()), ("", "a\\n\\tb"));
    }
}
