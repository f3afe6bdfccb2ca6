//! Where images are pushed to, one file a target, and what is under way when the user wants no more.
//!
//! | target | what is there then |
//! |---|---|
//! | aws | in a region of EC2, an image on a snapshot |
//! | azure | an image, or a version of one in a gallery |
//! | gcp | in a project of Google's, an image of Compute Engine |
//! | oci | in a registry, a containerDisk of KubeVirt, a container image of one layer, or an artifact, as ORAS has them |
//! | openstack | in a cloud, an image of Glance |
//! | vsphere | on a vCenter or an ESXi, a machine or a template |
//!
//! Every target has two steps: all bytes first, then the name by which others see them. What is not finished is taken back.

pub mod aws;
pub mod azure;
pub mod gcp;
pub mod oci;
pub mod openstack;
pub(crate) mod output;
pub mod vsphere;

use crate::{
    error::{Error, Result},
    taking_back::Unfinished,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What can be taken back while it is under way.
trait Abandon: Send + Sync {
    /// Ends it and takes back what was begun; another thread is at it.
    fn abandon(&self) -> Result<()>;
}

impl Abandon for net::Push {
    fn abandon(&self) -> Result<()> {
        Self::abandon(self);
        Ok(())
    }
}

/// What is under way in this process, and what users know it by.
static UNDER_WAY: Mutex<Vec<(Arc<dyn Abandon>, String)>> = Mutex::new(Vec::new());

fn under_way() -> MutexGuard<'static, Vec<(Arc<dyn Abandon>, String)>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds what is under way to what is to be taken back. Called when the program is interrupted. Gives back a guard that keeps those who
/// were at it from going on, and from telling of an error that is none.
pub(crate) fn sweep(elsewhere: &mut Vec<Unfinished>) -> impl Drop + use<> {
    let all = under_way();
    elsewhere.extend(all.iter().cloned().map(|(one, what)| Unfinished { what, take_back: Box::new(move || one.abandon()) }));
    all
}

/// That something is under way, until this is dropped.
struct UnderWay(Arc<dyn Abandon>);

impl UnderWay {
    fn new(one: Arc<dyn Abandon>, what: String) -> Self {
        under_way().push((Arc::clone(&one), what));
        Self(one)
    }

    /// A failure, once what was begun is taken back; it tells what may be left.
    fn failed(&self, error: Error) -> Error {
        match self.0.abandon() {
            Ok(()) => error,
            Err(left) => {
                let hint = error.hint_text().map(|hint| format!("{hint}; ")).unwrap_or_default();
                error.hint(format!("{hint}look what is left: {left}"))
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        under_way().retain(|(other, _)| !Arc::ptr_eq(other, &self.0));
    }
}
