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

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What can be taken back while it is under way.
trait Abandon: Send + Sync {
    /// Ends it and takes back what was begun; another thread is at it.
    fn abandon(&self);
}

impl Abandon for net::Push {
    fn abandon(&self) {
        Self::abandon(self);
    }
}

/// What is under way in this process.
static UNDER_WAY: Mutex<Vec<Arc<dyn Abandon>>> = Mutex::new(Vec::new());

fn under_way() -> MutexGuard<'static, Vec<Arc<dyn Abandon>>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes back what is under way. Called when the program is interrupted; it takes some seconds at most. Gives back a guard that keeps
/// those who were at it from going on, and from telling of an error that is none.
pub(crate) fn abandon() -> impl Drop {
    let all = under_way();
    all.iter().for_each(|one| one.abandon());
    all
}

/// That something is under way, until this is dropped.
struct UnderWay(Arc<dyn Abandon>);

impl UnderWay {
    fn new(what: Arc<dyn Abandon>) -> Self {
        under_way().push(Arc::clone(&what));
        Self(what)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        under_way().retain(|other| !Arc::ptr_eq(other, &self.0));
    }
}
