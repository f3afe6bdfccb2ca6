//! A tar as an input.

use crate::{
    error::Result,
    image::{self, Draft},
};
use formats::{Blob, Env};

/// A tar, not read yet.
#[derive(Debug)]
pub struct Tar {
    /// The archive, not compressed.
    pub file: Blob,
    /// What warnings call it.
    pub name: String,
    /// Whether what is odd about it, as a missing end, is an error and no warning.
    pub strict: bool,
}

impl Tar {
    /// What is in it. What is odd about it is told.
    ///
    /// # Errors
    /// When the archive is malformed or has no entries, or is odd and must not be.
    pub fn draft(&self, env: &Env) -> Result<Draft> {
        let (draft, warnings) = image::tar::draft(&self.file)?;
        super::heed(&warnings, &self.name, self.strict, env)?;
        Ok(draft)
    }
}
