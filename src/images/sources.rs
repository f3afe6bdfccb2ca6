//! Where images are looked for, one place after the other.

use super::{Cache, Demand, Docker, Found, Lock, Puller, Wanted};
use crate::error::{At, Error, Kind, Result};
use formats::{
    Progress,
    oci::{Platform, Reference, Store},
    tree::ShowPath,
};
use std::sync::Arc;

/// All places where images are looked for.
pub(crate) struct Sources {
    /// Those that the user names, in order.
    pub(crate) named: Vec<Arc<dyn Store>>,
    /// A Docker daemon, which is asked behind those; what it does not give is looked for on.
    pub(crate) docker: Option<Docker>,
    /// The cache, which is asked last.
    pub(crate) cache: Arc<Cache>,
    /// Who brings into the cache what is not there.
    pub(crate) registries: Option<Puller>,
    /// Whether the registries are asked even for what the cache has.
    pub(crate) always: bool,
    /// Which images are taken, and no others.
    pub(crate) lock: Option<Lock>,
    /// Whose signatures they must have.
    pub(crate) trust: Vec<Demand>,
}

impl Sources {
    /// The image of a reference for a platform, and where it is. With `all`, what else its index lists is brought along.
    ///
    /// # Errors
    /// When no place has it, or one has it and it is damaged, or a registry fails, or a signature that it must have is missing.
    pub(crate) fn find(&self, name: &str, platform: &Platform, all: bool, progress: &dyn Progress) -> Result<Found> {
        let reference: Reference = name.parse()?;
        let found = self.look(name, &reference, platform, all, progress)?;
        for demand in self.trust.iter().filter(|demand| demand.covers(&reference)) {
            demand
                .check(&reference, &found, &self.cache, self.registries.as_ref(), progress)
                .at(|| format!("image {}", ShowPath(name.as_bytes())))?;
        }
        Ok(found)
    }

    fn look(&self, name: &str, reference: &Reference, platform: &Platform, all: bool, progress: &dyn Progress) -> Result<Found> {
        let place = || format!("image {}", ShowPath(name.as_bytes()));
        let locked = self.lock.as_ref().map(|lock| lock.get(name, &platform.to_string())).transpose()?;
        let wanted = locked.or(reference.digest());
        for store in &self.named {
            if let Some(found) = Found::of(store, name, wanted, platform).at(place)? {
                return Ok(found);
            }
        }
        if let Some(found) = self.docker.as_ref().and_then(|docker| docker.image(name, wanted, platform).transpose()) {
            return found.at(place);
        }
        let cache = Arc::clone(&self.cache) as Arc<dyn Store>;
        let cached = if self.always { Ok(None) } else { Found::of(&cache, name, wanted, platform) };
        match (cached, &self.registries) {
            (Ok(Some(found)), _) => Ok(found),
            (cached, None) => cached.at(place)?.ok_or_else(|| self.missing(name)),
            // What the cache lacks or has damaged is brought anew.
            (cached, Some(registries)) => match (registries.pull(reference, Wanted { platform, all, digest: wanted }, progress), cached) {
                (Ok(_), _) => Found::of(&cache, name, wanted, platform).at(place)?.ok_or_else(|| self.missing(name)),
                (Err(failed), Ok(_)) => Err(failed),
                // What is wrong with it here says more than that nobody else was reached.
                (Err(failed), Err(error)) => Err(error.hint(format!("it was asked for again, in vain: {failed}")).at(place())),
            },
        }
    }

    /// The error about an image that nobody has.
    fn missing(&self, name: &str) -> Error {
        let mut places: Vec<_> = self.named.iter().map(|store| store.name()).collect();
        places.push(self.cache.name());
        let as_locked = if self.lock.is_some() { ", as it is locked," } else { "" };
        let what = format!("image {}{as_locked} is in none of: {}", ShowPath(name.as_bytes()), places.join(", "));
        Error::new(Kind::BadInput, what)
    }
}
