//! Images of a Docker daemon on this machine.

use super::Found;
use crate::error::{Error, Result};
use formats::{
    Spool,
    oci::{Digest, Platform, Store, archive::Archive},
};
use std::sync::{Arc, Mutex, PoisonError};

/// A daemon, and where its archives go.
pub(crate) struct Docker {
    daemon: net::Daemon,
    spool: Mutex<Spool>,
}

impl Docker {
    /// The daemon of this machine, if it has one.
    pub(crate) fn find(spool: Spool) -> Option<Self> {
        Some(Self { daemon: net::Daemon::find(&net::process_variables)?, spool: Mutex::new(spool) })
    }

    /// The image of a name, if the daemon has it and for this platform.
    ///
    /// # Errors
    /// When the daemon fails, or what it sends is damaged.
    pub(super) fn image(&self, name: &str, wanted: Option<&Digest>, platform: &Platform) -> Result<Option<Found>> {
        let mut spool = self.spool.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = spool.position();
        if !self.daemon.save(name, &mut *spool)? {
            return Ok(None);
        }
        let archive = Archive::open(&spool.since(mark), "Docker")?.ok_or_else(|| Error::bad_input("Docker sends no archive of images"))?;
        let store: Arc<dyn Store> = Arc::new(archive);
        let found = Found::of(&store, name, wanted, platform)?;
        Ok(found.filter(|found| found.image.config.platform.as_ref().is_none_or(|has| has.serves(platform))))
    }
}
