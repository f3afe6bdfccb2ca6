//! Places that are not of this machine.

use crate::error::Result;
use formats::{Blob, Progress};
use std::{fmt, sync::Arc};

/// What is elsewhere and comes to be there in two steps: first the bytes, which nobody sees, then the name.
pub trait Destination: fmt::Debug + fmt::Display + Send + Sync {
    /// Brings all bytes; `key` says what they were made of.
    ///
    /// # Errors
    /// When the other side refuses or fails, or the bytes cannot be read.
    fn send(&self, body: &Blob, key: Option<&str>, progress: &dyn Progress) -> Result<()>;

    /// Gives them their name.
    ///
    /// # Errors
    /// When the other side refuses or fails.
    fn commit(&self, progress: &dyn Progress) -> Result<()>;

    /// Leaves nothing there of what has not its name. Nothing happens where it has.
    ///
    /// # Errors
    /// When something may be left.
    fn abandon(&self) -> Result<()>;

    /// Of what that was made which is there; nothing where nobody says.
    ///
    /// # Errors
    /// When the other side refuses or fails.
    fn key(&self) -> Result<Option<String>>;

    /// Another one of this name in the same place.
    ///
    /// # Errors
    /// When there can be none of that name.
    fn beside(&self, name: &str) -> Result<Arc<dyn Destination>>;
}

/// Whether a text is an address and no path: no path of a sane mind has `://`.
pub fn is_address(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}
