//! Words of strangers, fit for a message.

/// Text of a server or of a file: what a terminal would obey is escaped, and what is longer than `max` characters is cut.
pub(crate) fn shown(text: &str, max: usize) -> String {
    let text = text.trim();
    let mut shown = String::new();
    for c in text.chars().take(max) {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    if text.chars().nth(max).is_some() {
        shown.push('…');
    }
    shown
}

/// How much of what a server says is shown, in characters.
pub(crate) const SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_steered() {
        assert_eq!(shown(" it's \u{1b}[31mred\u{202e}\r\n x", 99), "it's \\u{1b}[31mred\\u{202e}\\r\\n x");
        assert_eq!(shown(&"ä".repeat(300), 3), "äää…");
    }
}
