//! What stands in the place of a Docker daemon in a program without network code.

use super::Found;
use crate::error::Result;
use formats::{
    Spool,
    oci::{Digest, Platform},
};

/// There is none.
pub(crate) enum Docker {}

impl Docker {
    /// None.
    pub(crate) fn find(_: Spool) -> Option<Self> {
        None
    }

    /// Nobody gets here.
    pub(super) fn image(&self, _: &str, _: Option<&Digest>, _: &Platform) -> Result<Option<Found>> {
        match *self {}
    }
}
