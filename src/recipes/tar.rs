//! The tagged tar itself.

use super::{Job, Recipe};
use crate::{
    error::Result,
    request::{Request, Setting},
};

/// The tar that a build made, as it is; of anything else one that makes the same image again.
#[derive(Debug)]
pub(crate) struct Tar;

impl Recipe for Tar {
    fn heeds(&self, _: &Request) -> Vec<&'static Setting> {
        Vec::new()
    }

    fn is_tar(&self) -> bool {
        true
    }

    fn plan(&self, _: &Request) -> Result<Job> {
        Ok(Box::new(|run| Ok([run.tagged()?].into())))
    }
}
