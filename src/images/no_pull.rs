//! What stands in the place of pulling in a program without network code.

use super::Wanted;
use crate::error::{Error, Result};
use formats::{
    Progress,
    oci::{Descriptor, Digest, Reference},
};

/// There is none: what verifies signatures is what computes TLS.
#[derive(Clone, Debug)]
pub(crate) struct PublicKey;

impl PublicKey {
    /// # Errors
    /// Always.
    pub(crate) fn parse(_: &[u8]) -> Result<Self> {
        Err(Error::unsupported("this program was built without network code, and cannot verify signatures either"))
    }

    /// Nobody gets here.
    pub(crate) fn signed(&self, _: &[u8], _: &[u8]) -> bool {
        false
    }
}

/// There is none.
pub(crate) enum Puller {}

impl Puller {
    /// Nobody gets here.
    pub(crate) fn pull(&self, _: &Reference, _: Wanted<'_>, _: &dyn Progress) -> Result<Descriptor> {
        match *self {}
    }

    /// Nobody gets here.
    pub(crate) fn signatures(&self, _: &Reference, _: &Digest, _: &dyn Progress) -> Result<()> {
        match *self {}
    }
}
