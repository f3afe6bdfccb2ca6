//! Where secrets come from: one file for each kind of server.

pub(crate) mod aws;
pub(crate) mod registry;

pub(crate) use crate::secret::Secret;
pub(crate) use crate::variables::Variables;
