//! One error type for the whole library: a kind, where it happened, what was found and what to do.

use crate::plain::{self, Plain};
use std::{fmt, io};

/// What sort of thing went wrong. The program turns each kind into one exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The input is malformed or lacks something: only another input helps.
    BadInput,
    /// The request names a combination, an option or a feature that does not exist or is not supported.
    Unsupported,
    /// The machine lacks something: space, a permission, memory.
    Environment,
    /// Another machine refused, failed or was not reached: the same may go well later.
    Remote,
    /// Reading or writing failed.
    Io,
    /// A fault of ours: a worker panicked or an invariant of a planner broke.
    Bug,
}

/// An error: `where: what (hint)`, with the error that caused it. Shown, it has nothing that a terminal would execute.
pub struct Error {
    kind: Kind,
    places: Vec<String>,
    what: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of a kind. `what` says the value found, then the value required; lower case, no full stop.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, places: Vec::new(), what: what.into(), hint: None, source: None }
    }

    /// The input is malformed.
    pub fn bad_input(what: impl Into<String>) -> Self {
        Self::new(Kind::BadInput, what)
    }

    /// The request cannot be met.
    pub fn unsupported(what: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, what)
    }

    /// Names the place (a file, an entry, a field) around what is already said: outer places come first.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.places.push(place.to_string());
        self
    }

    /// Says what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, of another kind: what is wrong may be another's fault than it looked from inside.
    #[must_use]
    pub fn of_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// Attaches the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What the user can do about it, if anything is known.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in self.places.iter().rev() {
            write!(f, "{}: ", plain::line(place))?;
        }
        write!(f, "{}", Plain(&self.what))?;
        match &self.source {
            Some(source) => write!(f, ": {}", Plain(source)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// An operating system error; the kind is told from its code, however others have wrapped it.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        // A library error that travelled through an `io::Read` keeps its own kind and words.
        match error.downcast::<Error>() {
            Ok(inner) => inner,
            Err(error) => Self::new(kind(&error), error.to_string()),
        }
    }
}

fn kind(error: &io::Error) -> Kind {
    use std::error::Error as _;
    // Encoders pass on what their output refused as the cause of an error of their own.
    let mut cause = error.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<Error>() {
            return error.kind();
        }
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            return kind(error);
        }
        cause = inner.source();
    }
    match error.kind() {
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::FileTooLarge
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::OutOfMemory => Kind::Environment,
        io::ErrorKind::NotFound | io::ErrorKind::IsADirectory => Kind::BadInput,
        io::ErrorKind::InvalidData => Kind::BadInput,
        _ if is_out_of_files(error) => Kind::Environment,
        _ => Kind::Io,
    }
}

/// Whether the process or the machine has as many files open as it may: ENFILE and EMFILE (errno(3)), which have no kind.
fn is_out_of_files(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

/// Lets a library error travel through `std::io` traits.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::other(error)
    }
}

/// Adds the place to the error of a result.
pub trait At<T> {
    /// See [`Error::at`]. The place is made only when there is an error.
    fn at<P: fmt::Display>(self, place: impl FnOnce() -> P) -> Result<T>;
}

impl<T, E: Into<Error>> At<T> for std::result::Result<T, E> {
    fn at<P: fmt::Display>(self, place: impl FnOnce() -> P) -> Result<T> {
        self.map_err(|e| e.into().at(place()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_from_the_outside_in() {
        let error = Error::bad_input("size is 3, must be at least 512").at("entry boot/kernel").at("image.tar");
        assert_eq!(error.to_string(), "image.tar: entry boot/kernel: size is 3, must be at least 512");
    }

    #[test]
    fn a_library_error_survives_the_way_through_io() {
        let through = Error::from(io::Error::from(Error::unsupported("no such codec")));
        assert_eq!(through.kind(), Kind::Unsupported);
        assert_eq!(through.to_string(), "no such codec");
    }

    #[test]
    fn a_full_disk_is_the_environment() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(Error::from(full()).kind(), Kind::Environment);
        // As an encoder wraps it, twice.
        let wrapped = io::Error::other(Error::new(Kind::Io, "encoding failed").because(io::Error::other(full())));
        assert_eq!(Error::from(io::Error::other(Wrapped(wrapped))).kind(), Kind::Io, "a library error has its own kind");
        assert_eq!(Error::from(io::Error::other(Wrapped(io::Error::other(full())))).kind(), Kind::Environment);
    }

    #[derive(Debug)]
    struct Wrapped(io::Error);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("encoding failed")
        }
    }

    impl std::error::Error for Wrapped {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn too_many_open_files_are_the_environment() {
        let kind = Error::from(io::Error::from_raw_os_error(24)).kind();
        assert_eq!(kind, if cfg!(unix) { Kind::Environment } else { Kind::Io });
    }
}
