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

/// An operating system error; the kind is told from its code.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::OutOfMemory => Kind::Environment,
            io::ErrorKind::NotFound | io::ErrorKind::IsADirectory => Kind::BadInput,
            io::ErrorKind::InvalidData => Kind::BadInput,
            _ => Kind::Io,
        };
        // A library error that travelled through an `io::Read` keeps its own kind and words.
        match error.downcast::<Error>() {
            Ok(inner) => inner,
            Err(error) => Self::new(kind, error.to_string()),
        }
    }
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
        assert_eq!(Error::from(io::Error::from(io::ErrorKind::StorageFull)).kind(), Kind::Environment);
    }
}
