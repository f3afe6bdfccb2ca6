//! Errors as the user meets them: one exit code for each kind, and a hint where one is known.

pub use formats::{At, Error, Kind, Result};
use std::process::ExitCode;

/// The exit codes, as the manual lists them.
pub const EXIT_CODES: &[(u8, &str)] = &[
    (0, "success"),
    (1, "a fault in moby itself"),
    (2, "wrong usage or bad input"),
    (3, "a combination or feature that is not supported"),
    (4, "the machine lacks space, memory or a permission"),
    (6, "reading or writing failed"),
    (130, "interrupted; nothing was left behind"),
];

/// The exit codes of `moby compare`, which are those of `qemu-img compare`.
pub const COMPARE_EXIT_CODES: &[(u8, &str)] =
    &[(0, "the same"), (1, "different"), (2, "a disk cannot be opened"), (3, "unused: allocation is not compared"), (4, "reading failed")];

/// The exit codes of `moby check`, which are those of `qemu-img check`.
pub const CHECK_EXIT_CODES: &[(u8, &str)] = &[
    (0, "sound"),
    (1, "not checked to the end"),
    (2, "corrupt"),
    (3, "space is leaked, but nothing is corrupt"),
    (63, "the format, or a feature that the file uses, cannot be checked"),
];

/// The exit code of a kind of error.
pub fn exit_code(kind: Kind) -> ExitCode {
    ExitCode::from(match kind {
        Kind::Bug => 1,
        Kind::BadInput => 2,
        Kind::Unsupported => 3,
        Kind::Environment => 4,
        Kind::Io => 6,
    })
}
