//! How a secret stays one.

use std::{fmt, sync::Once};

/// Text that is sent and never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// Keeps it.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        static FIRST: Once = Once::new();
        FIRST.call_once(leave_no_core);
        Self(text.into())
    }

    /// For sending.
    pub(crate) fn told(&self) -> &str {
        &self.0
    }
}

/// A process that knows a secret leaves no image of its memory behind, and shows it to no other process of its user. Where the system does
/// not let it, it goes on: the secret is no less one.
#[cfg(target_os = "linux")]
fn leave_no_core() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    let _: rustix::io::Result<()> = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// The image alone: others have no word for the rest.
#[cfg(all(unix, not(target_os = "linux")))]
fn leave_no_core() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _: rustix::io::Result<()> = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

#[cfg(not(unix))]
fn leave_no_core() {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a secret)")
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::process::{DumpableBehavior, dumpable_behavior};

    #[test]
    fn who_knows_a_secret_leaves_no_core() {
        drop(Secret::new("geheim"));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
