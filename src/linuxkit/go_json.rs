//! JSON as Go writes it: indented by four, with what HTML minds escaped, and no newline at the end.

use serde_json::Value;
use std::fmt::Write;

/// A tree as Go's `MarshalIndent` gives it, indented by four; objects in their order.
pub(crate) fn to_string(value: &Value) -> String {
    indented(value, "    ")
}

/// The same, indented by something else.
pub(crate) fn indented(value: &Value, by: &str) -> String {
    let mut out = String::new();
    put(&mut out, value, Some(by), 0);
    out
}

/// A tree as Go's `Marshal` gives it, on one line.
pub(crate) fn compact(value: &Value) -> String {
    let mut out = String::new();
    put(&mut out, value, None, 0);
    out
}

fn put(out: &mut String, value: &Value, by: Option<&str>, level: usize) {
    match value {
        Value::String(text) => put_text(out, text),
        Value::Array(values) => put_all(out, by, level, ['[', ']'], values, |out, value| put(out, value, by, level + 1)),
        Value::Object(entries) => put_all(out, by, level, ['{', '}'], entries, |out, (key, value)| {
            put_text(out, key);
            out.push_str(if by.is_some() { ": " } else { ":" });
            put(out, value, by, level + 1);
        }),
        other => out.push_str(&other.to_string()),
    }
}

fn put_all<T>(
    out: &mut String,
    by: Option<&str>,
    level: usize,
    [open, close]: [char; 2],
    all: impl IntoIterator<Item = T>,
    put: impl Fn(&mut String, T),
) {
    let line = |out: &mut String, level: usize| {
        if let Some(by) = by {
            out.push('\n');
            out.extend(std::iter::repeat_n(by, level));
        }
    };
    out.push(open);
    let mut is_empty = true;
    for one in all {
        if !is_empty {
            out.push(',');
        }
        is_empty = false;
        line(out, level + 1);
        put(out, one);
    }
    if !is_empty {
        line(out, level);
    }
    out.push(close);
}

fn put_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_is_gos() {
        let tree = json!({"a<b": ["&", "\u{2028}\u{7f}\u{1}\n\"", 1, null, true], "e": [], "o": {}});
        let text = "{\n    \"a\\u003cb\": [\n        \"\\u0026\",\n        \"\\u2028\u{7f}\\u0001\\n\\\"\",\n        1,\n        null,\n        true\n    ],\n    \"e\": [],\n    \"o\": {}\n}";
        assert_eq!(to_string(&tree), text);
    }
}
