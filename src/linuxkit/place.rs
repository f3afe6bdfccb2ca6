//! `Place`: where in which file something was written, for every message about it.

use std::{fmt, ops::Deref, sync::Arc};

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The file as the user named it, or what else the text is of: a label.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A value with its place. It is equal to what holds the same, wherever that was written.
#[derive(Clone, Debug)]
pub(crate) struct Placed<T> {
    /// What was written.
    pub value: T,
    /// Where.
    pub at: Place,
}

/// A text as it was written.
pub(crate) type Text = Placed<String>;

impl<T> Deref for Placed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Placed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}
