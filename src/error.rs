//! Errors as the user meets them: one exit code for each kind, and a hint where one is known.

pub use formats::{At, Error, Kind, Result};
use std::process::ExitCode;

/// The exit codes, as help and the manual list them.
pub(crate) const EXIT_CODES: &[(u8, &str)] = &[
    (0, "success"),
    (1, "a fault in moby itself"),
    (2, "wrong usage or bad input"),
    (3, "a combination or feature that is not supported"),
    (4, "the machine lacks space, memory or a permission"),
    (5, "another machine, such as a registry, refused, failed or was not reached"),
    (6, "reading or writing failed"),
    (130, "interrupted; nothing was left behind"),
];

/// The exit codes of `moby compare`, by name.
pub(crate) mod compared {
    pub(crate) const SAME: u8 = 0;
    pub(crate) const DIFFERENT: u8 = 1;
    pub(crate) const NOT_OPENED: u8 = 2;
    pub(crate) const NOT_READ: u8 = 4;
}

/// The exit codes of `moby compare`, which are those of `qemu-img compare`.
pub(crate) const COMPARE_EXIT_CODES: &[(u8, &str)] = &[
    (compared::SAME, "the same"),
    (compared::DIFFERENT, "different"),
    (compared::NOT_OPENED, "a disk cannot be opened"),
    (3, "unused: allocation is not compared"),
    (compared::NOT_READ, "reading failed"),
];

/// The exit codes of `moby check`, by name.
pub(crate) mod checked {
    pub(crate) const SOUND: u8 = 0;
    pub(crate) const INCOMPLETE: u8 = 1;
    pub(crate) const CORRUPT: u8 = 2;
    pub(crate) const LEAKS: u8 = 3;
    pub(crate) const NOT_SUPPORTED: u8 = 63;
}

/// The exit codes of `moby check`, which are those of `qemu-img check`.
pub(crate) const CHECK_EXIT_CODES: &[(u8, &str)] = &[
    (checked::SOUND, "sound"),
    (checked::INCOMPLETE, "not checked to the end"),
    (checked::CORRUPT, "corrupt"),
    (checked::LEAKS, "space is leaked, but nothing is corrupt"),
    (checked::NOT_SUPPORTED, "the format, or a feature that the file uses, cannot be checked"),
];

/// How much sense it makes to try again: 0 for never, and more where it is likelier to help. `docs/many-machines.md` tells it by exit code.
pub(crate) fn hope(kind: Kind) -> u8 {
    match kind {
        Kind::Bug | Kind::BadInput | Kind::Unsupported => 0,
        Kind::Environment => 1,
        Kind::Remote | Kind::Io => 2,
    }
}

/// The exit code of a kind of error.
pub fn exit_code(kind: Kind) -> ExitCode {
    ExitCode::from(match kind {
        Kind::Bug => 1,
        Kind::BadInput => 2,
        Kind::Unsupported => 3,
        Kind::Environment => 4,
        Kind::Remote => 5,
        Kind::Io => 6,
    })
}
