//! Trees as YAML: the bytes of Go's two yaml packages. Both are libyaml's emitter, in block style only.
//!
//! What looks odd is theirs: they are rules of how it is written, not of what YAML demands.

use super::{Value as Meaning, scalar};
use serde_json::Value;

/// Whose bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `yaml.v2`: two columns a level, lists not indented below their key, folded at 80 columns.
    V2,
    /// `yaml.v3`: four columns a level, never folded.
    V3,
}

/// A tree as a document; objects in their order.
pub(crate) fn emit(value: &Value, dialect: Dialect) -> String {
    let mut emitter = Emitter { dialect, out: String::new(), column: 0, is_blank: true, is_indent: true };
    emitter.node(value, None, Around::Root);
    emitter.break_to(0);
    emitter.out
}

/// What a node is in.
#[derive(Clone, Copy, PartialEq)]
enum Around {
    Root,
    List,
    /// A value, or a key that is too long for a line of its own.
    Map,
    Key,
}

struct Emitter {
    dialect: Dialect,
    out: String,
    column: usize,
    /// The last character is a blank, or there is none in this line.
    is_blank: bool,
    /// This line holds only indentation and the marks of lists.
    is_indent: bool,
}

impl Emitter {
    fn step(&self) -> usize {
        if self.dialect == Dialect::V2 { 2 } else { 4 }
    }

    /// The column of what is inside of a node at `indent`.
    fn deeper(&self, indent: usize, around: Around) -> usize {
        match (self.dialect, around) {
            (Dialect::V2, _) | (_, Around::List) => indent + 2,
            (Dialect::V3, _) => self.step() * ((indent + self.step()) / self.step()),
        }
    }

    fn node(&mut self, value: &Value, indent: Option<usize>, around: Around) {
        match value {
            Value::Array(values) if values.is_empty() => self.mark("[]"),
            Value::Object(entries) if entries.is_empty() => self.mark("{}"),
            Value::Array(values) => {
                let is_flush = self.dialect == Dialect::V2 && around == Around::Map && !self.is_indent;
                let inside = indent.map_or(0, |indent| if is_flush { indent } else { self.deeper(indent, around) });
                for value in values {
                    self.break_to(inside);
                    self.lead("-");
                    self.node(value, Some(inside), Around::List);
                }
            }
            Value::Object(entries) => {
                let inside = indent.map_or(0, |indent| self.deeper(indent, around));
                for (key, value) in entries {
                    self.break_to(inside);
                    if is_simple_key(key) {
                        self.text(key, inside, Around::Key);
                        self.put(":");
                    } else {
                        self.lead("?");
                        self.text(key, inside, Around::Map);
                        self.break_to(inside);
                        self.lead(":");
                    }
                    (self.is_blank, self.is_indent) = (false, self.is_indent && !is_simple_key(key));
                    self.node(value, Some(inside), Around::Map);
                }
            }
            Value::String(text) => self.text(text, indent.unwrap_or(0), around),
            other => self.plain(&other.to_string(), 0, false),
        }
    }

    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn put_char(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    /// A mark that begins a node, after a blank.
    fn mark(&mut self, mark: &str) {
        if !self.is_blank {
            self.put(" ");
        }
        self.put(mark);
        (self.is_blank, self.is_indent) = (false, false);
    }

    /// A mark that what follows may stand behind, in the same line.
    fn lead(&mut self, mark: &str) {
        let was_indent = self.is_indent;
        self.mark(mark);
        self.is_indent = was_indent;
    }

    fn line_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    /// A break of the text itself, which may be one of Unicode's.
    fn own_break(&mut self, c: char) {
        self.out.push(c);
        self.column = 0;
        self.is_indent = true;
    }

    /// To a column, in a new line if need be.
    fn break_to(&mut self, indent: usize) {
        if !self.is_indent || self.column > indent || (self.column == indent && !self.is_blank) {
            self.line_break();
        }
        while self.column < indent {
            self.put(" ");
        }
        (self.is_blank, self.is_indent) = (true, true);
    }

    fn text(&mut self, text: &str, indent: usize, around: Around) {
        let about = About::new(text, self.dialect);
        let inside = if around == Around::Root { self.step() } else { self.deeper(indent, around) };
        let may_fold = around != Around::Key && self.dialect == Dialect::V2;
        match () {
            () if text.contains('\n') && about.may_be_literal => self.literal(text, inside),
            () if text.contains('\n') || !is_text(text) => self.double_quoted(text, inside, may_fold),
            () if about.may_be_plain => self.plain(text, inside, may_fold),
            () if about.may_be_single => self.single_quoted(text, inside, may_fold),
            () => self.double_quoted(text, inside, may_fold),
        }
    }

    /// Whether a line is long enough to be folded at this space.
    fn is_long(&self, may_fold: bool) -> bool {
        /// The column past which lines are folded.
        const WIDTH: usize = 80;
        may_fold && self.column > WIDTH
    }

    fn plain(&mut self, text: &str, inside: usize, may_fold: bool) {
        if !self.is_blank {
            self.put(" ");
        }
        self.folded(text, inside, may_fold);
        (self.is_blank, self.is_indent) = (false, false);
    }

    fn single_quoted(&mut self, text: &str, inside: usize, may_fold: bool) {
        self.mark("'");
        self.folded(&text.replace('\'', "''"), inside, may_fold);
        self.put("'");
        (self.is_blank, self.is_indent) = (false, false);
    }

    /// A text whose lines may be folded at single spaces, but not at its ends.
    fn folded(&mut self, text: &str, inside: usize, may_fold: bool) {
        let (mut was_space, mut was_break) = (false, false);
        let mut chars = text.chars().enumerate().peekable();
        while let Some((at, c)) = chars.next() {
            let word_follows = chars.peek().is_some_and(|(_, next)| *next != ' ');
            if c == ' ' {
                if !was_space && self.is_long(may_fold) && word_follows && at > 0 {
                    self.break_to(inside);
                } else {
                    self.put_char(c);
                }
                was_space = true;
            } else if is_break(c) {
                if !was_break && c == '\n' {
                    self.line_break();
                }
                self.own_break(c);
                was_break = true;
            } else {
                if was_break {
                    self.break_to(inside);
                }
                self.put_char(c);
                (self.is_indent, was_space, was_break) = (false, false, false);
            }
        }
    }

    fn double_quoted(&mut self, text: &str, inside: usize, may_fold: bool) {
        // A mark in front makes them take every character for one.
        let escapes_all = text.starts_with('\u{feff}');
        let mut was_space = false;
        let chars: Vec<char> = text.chars().collect();
        self.mark("\"");
        for (at, c) in chars.iter().copied().enumerate() {
            if escapes_all || !is_printable(c) || is_break(c) || c == '"' || c == '\\' {
                self.put(&escape(c));
                was_space = false;
            } else if c == ' ' {
                if !was_space && self.is_long(may_fold) && at > 0 && at + 1 < chars.len() {
                    self.break_to(inside);
                    if chars[at + 1] == ' ' {
                        self.put("\\");
                    }
                } else {
                    self.put(" ");
                }
                was_space = true;
            } else {
                self.put_char(c);
                was_space = false;
            }
        }
        self.put("\"");
        (self.is_blank, self.is_indent) = (false, false);
    }

    fn literal(&mut self, text: &str, inside: usize) {
        self.mark("|");
        if text.starts_with(|c| c == ' ' || is_break(c)) {
            // Their step, even where what follows is indented by less.
            self.put(&self.step().to_string());
        }
        let mut ends = text.chars().rev();
        match (ends.next().is_some_and(is_break), ends.next().is_none_or(is_break)) {
            (false, _) => self.put("-"),
            (true, true) => self.put("+"),
            (true, false) => {}
        }
        self.line_break();
        (self.is_blank, self.is_indent) = (true, true);
        let mut was_break = true;
        for c in text.chars() {
            if is_break(c) {
                self.own_break(c);
                was_break = true;
            } else {
                if was_break {
                    self.break_to(inside);
                }
                self.put_char(c);
                (self.is_indent, was_break) = (false, false);
            }
        }
    }
}

/// Whether a text is read back as one when it is plain, also by those who know only YAML 1.1.
fn is_text(text: &str) -> bool {
    let is_word = !scalar::is_timestamp(text) && !scalar::is_base_60(text) && !scalar::is_old_flag(text);
    is_word && matches!(scalar::resolve(text), Meaning::Text(_))
}

fn is_simple_key(key: &str) -> bool {
    /// Bytes.
    const LENGTH_MAX: usize = 128;
    key.len() <= LENGTH_MAX && !key.contains(is_break)
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

fn escape(c: char) -> String {
    let name = match c {
        '\0' => '0',
        '\x07' => 'a',
        '\x08' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\x0b' => 'v',
        '\x0c' => 'f',
        '\r' => 'r',
        '\x1b' => 'e',
        '"' | '\\' => c,
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        _ => {
            return match u32::from(c) {
                code @ ..=0xff => format!("\\x{code:02X}"),
                code @ ..=0xffff => format!("\\u{code:04X}"),
                code => format!("\\U{code:08X}"),
            };
        }
    };
    format!("\\{name}")
}

/// How a text may be written.
struct About {
    may_be_plain: bool,
    may_be_single: bool,
    may_be_literal: bool,
}

impl About {
    fn new(text: &str, dialect: Dialect) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let (Some(first), Some(last)) = (chars.first().copied(), chars.last().copied()) else {
            return Self { may_be_plain: true, may_be_single: true, may_be_literal: false };
        };
        let is_blank = |at: usize| chars.get(at).is_none_or(|c| matches!(c, ' ' | '\t'));
        let pair = |a: fn(char) -> bool, b: fn(char) -> bool| chars.windows(2).any(|pair| a(pair[0]) && b(pair[1]));
        let is_space = |c: char| c == ' ';
        let is_mark = matches!(first, '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`')
            || matches!(first, '-' | '?' | ':') && is_blank(1)
            || text.starts_with("---")
            || text.starts_with("...");
        let is_inner_mark = chars.iter().enumerate().skip(1).any(|(at, c)| match c {
            ':' => is_blank(at + 1),
            '#' => matches!(chars[at - 1], ' ' | '\t' | '\0') || is_break(chars[at - 1]),
            _ => false,
        });
        let has_tabs = text.contains('\t');
        let is_special = chars.iter().any(|c| !is_printable(*c) && (*c != '\t' || dialect == Dialect::V2));
        let has_breaks = text.contains(is_break);
        let (space_break, break_space) = (pair(is_space, is_break), pair(is_break, is_space));
        let is_padded = [first, last].into_iter().any(|c| is_space(c) || is_break(c));
        let may_be_single = !break_space && !space_break && !is_special && !has_tabs;
        Self {
            may_be_plain: may_be_single && !is_padded && !has_breaks && !is_mark && !is_inner_mark,
            may_be_single,
            may_be_literal: !is_space(last) && !space_break && !is_special,
        }
    }
}
