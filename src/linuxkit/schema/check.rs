//! A tree held against the table.

use super::{Key, Object, Type};
use crate::error::{Error, Result};
use crate::linuxkit::place::Place;
use crate::linuxkit::yaml::{Node, Value};
use formats::likeness::nearest;

/// What was found: what is wrong, and what the user should know.
#[derive(Debug, Default)]
pub(crate) struct Report {
    faults: Vec<(Place, String)>,
    warnings: Vec<(Place, String)>,
}

impl Report {
    /// Something wrong.
    pub(crate) fn fault(&mut self, at: &Place, what: impl Into<String>) {
        self.faults.push((at.clone(), what.into()));
    }

    /// Something that the user should know.
    pub(crate) fn warn(&mut self, at: &Place, what: impl Into<String>) {
        self.warnings.push((at.clone(), what.into()));
    }

    /// What to warn of.
    ///
    /// # Errors
    /// When anything is wrong: all of it, in the order of the file, with what is known of the same place.
    pub(crate) fn finish(mut self) -> Result<Vec<String>> {
        let show = |(at, what)| format!("{at}: {what}");
        if self.faults.is_empty() {
            return Ok(self.warnings.into_iter().map(show).collect());
        }
        self.warnings.retain(|(at, _)| self.faults.iter().any(|(other, _)| other == at));
        self.warnings.append(&mut self.faults);
        self.warnings.sort_by_key(|(at, _)| (at.line, at.column));
        Err(Error::bad_input(self.warnings.into_iter().map(show).collect::<Vec<_>>().join("\n")))
    }
}

/// Holds a tree against a mapping of the table.
pub(crate) fn check(node: &Node, object: &'static Object) -> Report {
    let mut report = Report::default();
    check_node(node, Type::Object(object), "", &mut report);
    report
}

fn check_node(node: &Node, of: Type, path: &str, report: &mut Report) {
    let is_right = match (&node.value, of) {
        (Value::Text(_), Type::Text | Type::Id) | (Value::Flag(_), Type::Flag) => true,
        (Value::Text(text), Type::Word(words)) => words.contains(&text.as_str()),
        (Value::Integer(number, _), Type::Integer(min, max)) => (min..=max).contains(number),
        (Value::Integer(number, _), Type::Id) => i64::try_from(*number).is_ok(),
        (Value::Float(number, _), Type::Integer(min, max)) => whole(*number).is_some_and(|number| (min..=max).contains(&number)),
        (Value::List(nodes), Type::List(of)) => {
            nodes.iter().enumerate().for_each(|(index, node)| check_node(node, *of, &format!("{path}[{index}]"), report));
            true
        }
        (Value::Map(entries), Type::Texts) => {
            entries.iter().for_each(|(key, node)| check_node(node, Type::Text, &within(path, key), report));
            true
        }
        (Value::Map(_), Type::Object(object)) => {
            check_entries(node, object, path, report);
            true
        }
        _ => false,
    };
    if !is_right {
        let hint = match (&node.value, of) {
            (Value::Integer(..) | Value::Float(..) | Value::Flag(_), Type::Text) => ": put it in quotes",
            (Value::Text(text), Type::Flag) if matches!(text.as_str(), "true" | "false") => ": write it without quotes",
            (Value::Text(text), Type::Integer(..)) if text.parse::<i64>().is_ok() => ": write it without quotes",
            _ => "",
        };
        report.fault(&node.at, format!("{} must be {}{hint}", said(path, &format!("is {},", node.value)), of.describe()));
    }
}

fn check_entries(node: &Node, object: &'static Object, path: &str, report: &mut Report) {
    let Value::Map(entries) = &node.value else { return };
    for (key, value) in entries {
        match object.all().find(|known| known.name == key.value) {
            Some(Key { of, is_idle, .. }) => {
                let path = within(path, key);
                if *is_idle {
                    report.warn(&key.at, format!("{path} is without effect: LinuxKit ignores it, too"));
                }
                check_node(value, *of, &path, report);
            }
            None => report.fault(&key.at, said(path, &unknown(key, object))),
        }
    }
    for key in object.all().filter(|key| key.is_required && node.get(key.name).is_none()) {
        report.fault(&node.at, said(path, &format!("'{}' is missing", key.name)));
    }
}

fn unknown(key: &str, object: &'static Object) -> String {
    /// More than these nobody reads.
    const LISTED_MAX: usize = 12;
    let known: Vec<_> = object.all().map(|known| known.name).collect();
    let meant = match nearest(key, &known) {
        Some(nearest) => format!(", did you mean '{nearest}'?"),
        None if known.len() <= LISTED_MAX => format!(", the keys are: {}", known.join(", ")),
        None => String::new(),
    };
    format!("unknown key '{}'{meant}", key.escape_debug())
}

/// The path of a key in a mapping.
fn within(path: &str, key: &str) -> String {
    let key = key.escape_debug();
    if path.is_empty() { key.to_string() } else { format!("{path}.{key}") }
}

/// What is said of a path; of the whole there is no path.
fn said(path: &str, what: &str) -> String {
    if path.is_empty() { what.to_owned() } else { format!("{path}: {what}") }
}

/// A number without a fraction.
#[expect(clippy::cast_possible_truncation, reason = "it has no fraction, and what is too large is out of every range")]
pub(crate) fn whole(number: f64) -> Option<i128> {
    (number.fract() == 0.0 && number.abs() < 1e30).then_some(number as i128)
}
