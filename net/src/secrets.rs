//! Where secrets come from: one file for each kind of server, each with the vendor's own order of places.
//!
//! ```text
//!  place ──► place ──► place        a place that has nothing: the next one
//!    │         │         │          a place that is there and broken: an error, for the next one would be another user
//!    └─────────┴─────────┴──► a secret, and how long it is good ──► kept, and fetched anew before its end
//! ```

pub(crate) mod aws;
pub(crate) mod azure;
mod chain;
mod environment;
pub(crate) mod google;
pub(crate) mod openstack;
mod program;
pub(crate) mod registry;
#[cfg(test)]
mod served;
mod server;
pub(crate) mod vsphere;

pub(crate) use crate::secret::Secret;
pub(crate) use crate::variables::Variables;
