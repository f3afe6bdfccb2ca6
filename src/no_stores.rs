//! What stands in the place of stores in a program without network code.

use crate::{
    emit::{Destination, is_address},
    error::{Error, Result},
};
use formats::Blob;
use std::sync::Arc;

/// There are none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stores;

impl Stores {
    /// # Errors
    /// When it is an address and no path.
    pub(crate) fn at(&self, address: &str) -> Result<Option<Arc<dyn Destination>>> {
        refuse(address).map(|()| None)
    }

    /// # Errors
    /// When it is an address and no path.
    pub(crate) fn open(&self, address: &str) -> Result<Option<Blob>> {
        refuse(address).map(|()| None)
    }
}

fn refuse(address: &str) -> Result<()> {
    match is_address(address) {
        true => Err(Error::unsupported("this program was built without network code").hint("name a file")),
        false => Ok(()),
    }
}
