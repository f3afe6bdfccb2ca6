//! YAML: a text to a tree of nodes, as `yaml.v3` of Go reads it; and trees to texts, as `yaml.v2` and `yaml.v3` write them.
//!
//! Of a text only the first document counts. JSON is YAML. Depth and what aliases grow to are bounded.

mod emit;
mod order;
mod scalar;

use super::place::{Place, Placed, Text};
use crate::error::{At, Error, Result};
use granit_parser::{Event, Parser, ScalarStyle, Span, options};
use std::{collections::HashMap, fmt, sync::Arc};

pub(crate) use emit::{Dialect, emit};
pub(crate) use order::natural as natural_order;

/// More levels than this nobody writes; what walks over a tree recurses.
const DEPTH_MAX: usize = 500;

/// Memory that anchors and aliases may add, about.
const ALIASED_MAX: usize = 16 << 20;

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where.
    pub at: Place,
    /// What.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`; `yes` and `no` are texts.
    Flag(bool),
    /// A whole number, and as it was written.
    Integer(i128, String),
    /// Another number, and as it was written.
    Float(f64, String),
    /// A text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in its order.
    Map(Vec<(Text, Node)>),
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Node {
    /// The value of a key of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(name, _)| name.value == key).map(|(_, node)| node)
    }

    /// How many levels, and how much memory, about.
    fn extent(&self) -> (usize, usize) {
        /// Of a node without its text.
        const NODE: usize = 64;
        let around = |(depth, size): (usize, usize), (inner, more): (usize, usize)| (depth.max(inner + 1), size + more);
        let entry = |(key, node): &(Text, Self)| {
            let (depth, size) = node.extent();
            (depth, size + NODE + key.len())
        };
        match &self.value {
            Value::Null | Value::Flag(_) => (0, NODE),
            Value::Integer(_, text) | Value::Float(_, text) | Value::Text(text) => (0, NODE + text.len()),
            Value::List(nodes) => nodes.iter().map(Self::extent).fold((1, NODE), around),
            Value::Map(entries) => entries.iter().map(entry).fold((1, NODE), around),
        }
    }
}

/// What is found, for messages.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("empty"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Integer(_, text) | Self::Float(_, text) => write!(f, "the number {text}"),
            Self::Text(text) => {
                /// Characters that are shown.
                const SHOWN_MAX: usize = 60;
                let shown: String = text.escape_debug().take(SHOWN_MAX).collect();
                let more = if text.chars().count() > SHOWN_MAX { "..." } else { "" };
                write!(f, "the text '{shown}{more}'")
            }
            Self::List(_) => f.write_str("a list"),
            Self::Map(_) => f.write_str("a mapping"),
        }
    }
}

/// Reads the first document of a text. `file` is what messages call it.
///
/// # Errors
/// What is no YAML, or is empty; a key that is no text or is there twice; too deep, or too much by aliases.
pub(crate) fn parse(file: &str, text: &[u8]) -> Result<Node> {
    let text = std::str::from_utf8(text).map_err(|e| Error::bad_input(format!("byte {} is not UTF-8", e.valid_up_to()))).at(|| file)?;
    let mut tree = Tree { file: file.into(), ..Tree::default() };
    let options = options! { bom_inside_document_as_content: true, block_scalar_eof_without_line_feed: true, emit_comments: false };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|e| {
            let at = Place { file: tree.file.clone(), line: e.marker().line(), column: e.marker().col() + 1 };
            Error::bad_input(e.info()).at(at)
        })?;
        match event {
            Event::DocumentEnd => break,
            event => tree.take(event, &span)?,
        }
    }
    match tree.root {
        _ if !tree.faults.is_empty() => Err(Error::bad_input(tree.faults.join("\n"))),
        Some(root) => Ok(root),
        None => Err(Error::bad_input("is empty, must be a configuration").at(file)),
    }
}

/// A collection whose end was not seen yet.
struct Open {
    at: Place,
    anchor: usize,
    value: Value,
    /// The key whose value comes next.
    key: Option<Key>,
    /// Where each key was seen first.
    seen: HashMap<String, Place>,
    /// What is merged, at the place of `<<`.
    merged: Vec<Node>,
}

/// What a value is for.
enum Key {
    /// `<<`: its entries belong to the mapping around it.
    Merge,
    Name(Text),
}

/// What is put together out of events.
#[derive(Default)]
struct Tree {
    file: Arc<str>,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    aliased: usize,
    faults: Vec<String>,
}

impl Tree {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<()> {
        let at = Place { file: self.file.clone(), line: span.start.line(), column: span.start.col() + 1 };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain;
                let tag = tag.filter(|tag| tag.original() != "!");
                let is_merge = is_plain && text == scalar::MERGE && tag.is_none();
                let tag = tag.as_ref().map(|tag| tag.suffix_in_namespace("tag:yaml.org,2002:").unwrap_or_default());
                let value = scalar::value(&text, is_plain, tag.as_deref()).at(|| &at)?;
                self.put(Node { at, value }, anchor, is_merge)
            }
            Event::SequenceStart(_, anchor, _) => self.enter(at, anchor, Value::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => self.enter(at, anchor, Value::Map(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::Alias(anchor) => {
                let within = || Error::bad_input("the alias is inside of what it stands for").at(&at);
                let (depth, size) = self.anchors.get(&anchor).ok_or_else(within)?.extent();
                self.charge(size, &at)?;
                self.check_depth(depth, &at)?;
                let value = self.anchors[&anchor].value.clone();
                self.put(Node { at, value }, 0, false)
            }
            _ => Ok(()),
        }
    }

    fn check_depth(&self, more: usize, at: &Place) -> Result<()> {
        let is_deep = self.open.len() + more > DEPTH_MAX;
        if is_deep { Err(Error::bad_input(format!("nested deeper than {DEPTH_MAX} levels")).at(at)) } else { Ok(()) }
    }

    fn enter(&mut self, at: Place, anchor: usize, value: Value) -> Result<()> {
        self.check_depth(1, &at)?;
        if let Some(Open { value: Value::Map(_), key: None, .. }) = self.open.last() {
            return Err(Error::bad_input("a key is a list or a mapping, must be a text").at(at));
        }
        self.open.push(Open { at, anchor, value, key: None, seen: HashMap::new(), merged: Vec::new() });
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        let Some(mut open) = self.open.pop() else { return Ok(()) };
        if let Value::Map(entries) = &mut open.value {
            for node in open.merged.drain(..) {
                merge(entries, &mut open.seen, node)?;
            }
        }
        self.put(Node { at: open.at, value: open.value }, open.anchor, false)
    }

    /// Memory that is there twice.
    fn charge(&mut self, size: usize, at: &Place) -> Result<()> {
        self.aliased = self.aliased.saturating_add(size);
        let is_much = self.aliased > ALIASED_MAX;
        if is_much { Err(Error::bad_input("the aliases stand for too much").at(at)) } else { Ok(()) }
    }

    /// A finished node: the root, an element, a key or a value.
    fn put(&mut self, node: Node, anchor: usize, is_merge: bool) -> Result<()> {
        if anchor != 0 {
            self.charge(node.extent().1, &node.at)?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.value, open.key.take()) {
            (Value::Map(_), None) => {
                let Value::Text(value) = node.value else {
                    let error = Error::bad_input(format!("a key is {}, must be a text", node.value)).at(node.at);
                    return Err(error.hint("put the key in quotes"));
                };
                let key = Placed { value, at: node.at };
                match open.seen.get(&key.value) {
                    Some(first) => {
                        self.faults.push(format!("{}: the key '{}' is there already, in line {}", key.at, key.escape_debug(), first.line));
                    }
                    None => drop(open.seen.insert(key.value.clone(), key.at.clone())),
                }
                open.key = Some(if is_merge { Key::Merge } else { Key::Name(key) });
            }
            (Value::Map(_), Some(Key::Merge)) => open.merged.push(node),
            (Value::Map(entries), Some(Key::Name(key))) => entries.push((key, node)),
            (Value::List(nodes), _) => nodes.push(node),
            _ => {}
        }
        Ok(())
    }
}

/// Adds the entries of a mapping, or of several: what is there already stays.
fn merge(entries: &mut Vec<(Text, Node)>, seen: &mut HashMap<String, Place>, node: Node) -> Result<()> {
    let nodes = match node.value {
        Value::List(nodes) => nodes,
        value => vec![Node { value, at: node.at }],
    };
    for node in nodes {
        let Value::Map(more) = node.value else {
            return Err(Error::bad_input(format!("{} is merged, must be a mapping", node.value)).at(node.at));
        };
        for (key, value) in more {
            if seen.insert(key.value.clone(), key.at.clone()).is_none() {
                entries.push((key, value));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
