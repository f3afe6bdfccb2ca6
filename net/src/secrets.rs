//! Where secrets come from, and how they stay so: one file for each kind of server.

pub(crate) mod registry;

use std::fmt;

/// Text that is sent and never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// Keeps it.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For sending.
    pub(crate) fn told(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a secret)")
    }
}

/// A variable of the environment by its name; an empty one is none. Tests hand in their own.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<std::ffi::OsString>;

/// The variables of this process.
pub fn process_variables(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
