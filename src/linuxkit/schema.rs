//! The keys of a yml, as one table: what is checked, what a wrong key was probably meant to be, and what documents list.
//!
//! It is as strict as the real tool's, and names every fault at once.

mod check;
mod keys;

use std::iter;

pub(crate) use check::{Report, check, whole};
pub(crate) use keys::{CONTAINER, TOP};

/// A mapping with a known set of keys.
#[derive(Debug)]
pub(crate) struct Object {
    /// Its keys, in the order of documents.
    pub keys: &'static [Key],
    /// What else it has.
    pub rest: Option<&'static Object>,
}

impl Object {
    /// All its keys, in the order of documents.
    pub(crate) fn all(&'static self) -> impl Iterator<Item = &'static Key> {
        iter::successors(Some(self), |object| object.rest).flat_map(|object| object.keys)
    }
}

/// A key.
#[derive(Debug)]
pub(crate) struct Key {
    /// What it is called.
    pub name: &'static str,
    /// What its value must be.
    pub of: Type,
    /// Whether it may not be left out.
    pub is_required: bool,
    /// Whether the real tool takes it and does nothing with it, by mistake.
    pub is_idle: bool,
}

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Type {
    /// A text.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number, within limits.
    Integer(i128, i128),
    /// A text or a whole number.
    Id,
    /// One of these texts.
    Word(&'static [&'static str]),
    /// A list.
    List(&'static Type),
    /// A mapping of any keys to texts.
    Texts,
    /// A mapping with a known set of keys.
    Object(&'static Object),
}

impl Type {
    /// What is right, in words.
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Integer(i128::MIN, _) => "a whole number".to_owned(),
            Self::Integer(min, _) if min == i128::from(i64::MIN) => "a whole number below 2^63".to_owned(),
            Self::Integer(min, max) => format!("a whole number from {min} to {max}"),
            Self::Id => "a text or a whole number below 2^63".to_owned(),
            Self::Word(words) => words.join(" or "),
            Self::List(of) => match *of {
                Self::Text => "a list of texts".to_owned(),
                Self::Object(_) => "a list of mappings".to_owned(),
                _ => "a list".to_owned(),
            },
            Self::Texts => "a mapping of texts".to_owned(),
            Self::Object(_) => "a mapping".to_owned(),
        }
    }
}
