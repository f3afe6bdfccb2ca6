//! Variables as they were when a chain was made.

use super::Variables;
use formats::{Error, Result};
use std::{
    collections::HashMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

/// Some variables of the environment, of which some hold secrets.
#[derive(Clone)]
pub(super) struct Environment(HashMap<&'static str, OsString>);

impl Environment {
    /// Those of these names that are there, and the user's directory.
    pub(super) fn new(env: Variables<'_>, names: &[&'static str]) -> Self {
        let names = names.iter().chain(&["HOME", "USERPROFILE"]);
        Self(names.filter_map(|name| Some((*name, env(name).filter(|value| !value.is_empty())?))).collect())
    }

    /// The text of a variable.
    ///
    /// # Errors
    /// Bad input: it is not UTF-8.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>> {
        let not_text = || Error::bad_input(format!("the variable {name} is not UTF-8"));
        self.0.get(name).map(|value| value.to_str().ok_or_else(not_text)).transpose()
    }

    /// A variable that is on or off.
    ///
    /// # Errors
    /// As [`Environment::text`].
    pub(super) fn is_on(&self, name: &str) -> Result<bool> {
        Ok(self.text(name)?.is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true")))
    }

    /// The path that a variable names; `~` is the user's directory.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.expanded(Path::new(self.0.get(name)?)))
    }

    /// A path in which `~` is the user's directory.
    pub(super) fn expanded(&self, path: &Path) -> PathBuf {
        let below = path.strip_prefix("~").ok().and_then(|rest| self.in_home(rest));
        below.unwrap_or_else(|| path.to_owned())
    }

    /// A path in the user's directory.
    pub(super) fn in_home(&self, below: impl AsRef<Path>) -> Option<PathBuf> {
        Some(Path::new(self.0.get("HOME").or_else(|| self.0.get("USERPROFILE"))?).join(below))
    }
}

/// Names alone.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
