//! What help says after the options, one paragraph each: examples, exit codes, remarks. The manual takes it apart again.
//!
//! A paragraph of words is one line, whatever its length: clap breaks it where the terminal ends.

/// How the paragraph of examples begins.
const EXAMPLES: &str = "Examples:";
/// How the paragraph of exit codes begins.
const EXIT_CODES: &str = "Exit codes";

/// Examples, the exit codes of a table under a heading that begins with "Exit codes", and what else is to say.
pub(super) fn with_exit_codes(examples: &str, heading: &str, codes: &[(u8, &str)], remark: &str) -> String {
    let codes: String = codes.iter().map(|(code, meaning)| format!("\n  {code:>3}  {meaning}")).collect();
    format!("{examples}\n\n{heading}:{codes}\n\n{remark}")
}

/// What stands after the options, by kind.
#[derive(Debug, Default)]
pub(super) struct Notes<'a> {
    /// Command lines, some with what they do.
    pub examples: Vec<&'a str>,
    /// The command's own exit codes, and what they mean.
    pub exit_codes: Vec<(&'a str, &'a str)>,
    /// Everything else.
    pub remarks: Vec<&'a str>,
}

impl<'a> Notes<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let mut notes = Self::default();
        for paragraph in text.split("\n\n") {
            match paragraph.strip_prefix(EXAMPLES) {
                Some(lines) => notes.examples.extend(lines.lines().map(str::trim).filter(|line| !line.is_empty())),
                None if paragraph.starts_with(EXIT_CODES) => {
                    notes.exit_codes.extend(paragraph.lines().filter_map(|line| line.trim_start().split_once("  ")));
                }
                None => notes.remarks.push(paragraph),
            }
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_together_is_taken_apart() {
        let text = with_exit_codes("Examples:\n  moby a\n  moby b", "Exit codes, those of x", &[(0, "good"), (63, "bad")], "A remark.");
        assert_eq!(text, "Examples:\n  moby a\n  moby b\n\nExit codes, those of x:\n    0  good\n   63  bad\n\nA remark.");
        let notes = Notes::of(&text);
        assert_eq!(notes.examples, ["moby a", "moby b"]);
        assert_eq!(notes.remarks, ["A remark."]);
        assert_eq!(notes.exit_codes, [("0", "good"), ("63", "bad")]);
        assert!(Notes::of("A remark.").exit_codes.is_empty());
    }
}
