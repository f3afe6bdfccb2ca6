//! Whose signatures images must have: cosign's, by key.

use super::{Cache, Found, PublicKey, Puller};
use crate::error::{At, Error, Result};
use formats::{
    Blob, Progress,
    oci::{
        Digest, Reference, Store,
        cosign::{self, Signature},
        named,
    },
    tree::ShowPath,
    units,
};
use std::sync::Arc;

/// What `cosign save` says of the signatures in a layout, which then need no name.
const KIND: (&str, &str) = ("kind", "dev.cosignproject.cosign/sigs");

/// Images that must be signed.
pub(crate) struct Demand {
    /// Keys, each with what messages call it: one must have signed.
    pub(crate) keys: Vec<(String, PublicKey)>,
    /// Which images: their references, with tag or digest or without, or what stands before a `/` of those. None: all.
    pub(crate) images: Vec<String>,
}

/// Most bytes of a file with a key.
const KEY_MAX: u64 = 64 * units::KIB;

/// The key in a file, with what messages call it.
///
/// # Errors
/// When there is no such file, or it holds no key that can be used.
pub(crate) fn key(path: &str, file: Result<Option<Blob>>) -> Result<(String, PublicKey)> {
    let name = ShowPath(path.as_bytes()).to_string();
    let missing = || {
        let hint = "a public key in PEM, as cosign.pub; what a service keeps is saved into a file by `cosign public-key`";
        Error::bad_input("there is no such file").hint(hint)
    };
    let read = || PublicKey::parse(&file?.ok_or_else(missing)?.to_vec(KEY_MAX)?);
    let key = read().at(|| format!("key {name}"))?;
    Ok((name, key))
}

impl Demand {
    /// Whether an image must be signed.
    pub(crate) fn covers(&self, image: &Reference) -> bool {
        self.images.is_empty() || self.images.iter().any(|pattern| covers(pattern, image))
    }

    /// Looks for a good signature of an image, or of the index that it was chosen from: where the image is, in the cache, then at its
    /// registry.
    ///
    /// # Errors
    /// When there is none; the error says what was found instead.
    pub(super) fn check(
        &self,
        image: &Reference,
        found: &Found,
        cache: &Arc<Cache>,
        registries: Option<&Puller>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let top = found.image.index.as_ref().map(|index| &index.digest);
        let digests: Vec<&Digest> = top.into_iter().chain([&found.image.manifest.digest]).collect();
        let here = [Arc::clone(&found.store), Arc::clone(cache) as Arc<dyn Store>];
        let mut refused = Vec::new();
        if self.is_met(image, &digests, &here, &mut refused)? {
            return Ok(());
        }
        if let Some(registries) = registries {
            digests.iter().try_for_each(|digest| registries.signatures(image, digest, progress))?;
            refused.clear();
            if self.is_met(image, &digests, &here[1..], &mut refused)? {
                return Ok(());
            }
        }
        let keys: Vec<_> = self.keys.iter().map(|(name, _)| name.as_str()).collect();
        let what = format!("{} is not signed by {}", digests[0], keys.join(" or by "));
        let why = if refused.is_empty() { "there is no signature".into() } else { refused.join("; ") };
        Err(Error::bad_input(format!("{what}: {why}")).hint("`cosign sign --key` signs an image; what nobody signs is left out of trust"))
    }

    /// Whether one of the stores has a good signature; else why those that it has are not.
    fn is_met(&self, image: &Reference, digests: &[&Digest], stores: &[Arc<dyn Store>], refused: &mut Vec<String>) -> Result<bool> {
        for store in stores {
            for signature in signatures(&**store, image, digests)? {
                let why = match signature {
                    Ok(signed) if self.keys.iter().any(|(_, key)| key.signed(&signed.message, &signed.signature)) => return Ok(true),
                    Ok(_) => "there is a signature by another key".into(),
                    Err(why) => why.to_string(),
                };
                refused.push(format!("{}: {why}", store.name()));
            }
        }
        refused.dedup();
        Ok(false)
    }
}

/// What a store has as signatures of one of these digests.
fn signatures(store: &dyn Store, image: &Reference, digests: &[&Digest]) -> Result<Vec<Result<Signature>>> {
    let index = store.index()?;
    let mut all = Vec::new();
    for digest in digests {
        let tags = cosign::tags(digest);
        let tagged = tags.iter().filter_map(|tag| named(&index, &image.tagged(tag)).or_else(|| named(&index, tag)));
        let saved = index.iter().filter(|entry| entry.annotation(KIND.0) == Some(KIND.1));
        for descriptor in tagged.chain(saved) {
            for manifest in cosign::manifests(store, descriptor)? {
                all.extend(cosign::signatures(store, &manifest, digest)?);
            }
        }
    }
    Ok(all)
}

/// `a/b` covers `docker.io/a/b:1` and `docker.io/a/b/c`; `a/b:1` the first alone.
pub(crate) fn covers(pattern: &str, image: &Reference) -> bool {
    let whole = format!("{}/{}", image.host(), image.path());
    match pattern.parse::<Reference>() {
        Ok(exact) if exact.tag().is_some() || exact.digest().is_some() => {
            exact.host() == image.host()
                && exact.path() == image.path()
                && exact.tag().is_none_or(|tag| image.tag() == Some(tag))
                && exact.digest().is_none_or(|digest| image.digest() == Some(digest))
        }
        Ok(exact) if (exact.host(), exact.path()) == (image.host(), image.path()) => true,
        // A part of names need not be one itself: a host, or an organisation of Docker's.
        _ => {
            let begins = |text: &str| whole.strip_prefix(text).is_some_and(|rest| rest.starts_with('/'));
            let pattern = pattern.trim_end_matches('/');
            begins(pattern) || begins(&format!("docker.io/{pattern}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_an_image_a_repository_or_all_below() {
        let digest = format!("@{}", Digest::sha256(b""));
        for (pattern, image, is_covered) in [
            ("lab/app", "lab/app:1", true),
            ("lab/app", "docker.io/lab/app", true),
            ("lab/app:1", "lab/app:1", true),
            ("lab/app:1", "lab/app:2", false),
            ("lab/app:1", "lab/app", false),
            ("lab", "lab/app:1", true),
            ("lab/", "lab/app:1", true),
            ("la", "lab/app:1", false),
            ("redis", "redis:7", true),
            ("redis", "lab/redis:7", false),
            ("ghcr.io", "ghcr.io/c/x:1", true),
            ("ghcr.io/c", "ghcr.io/c/x/y:1", true),
            ("ghcr.io/c", "ghcr.io/cd/x", false),
            ("docker.io", "redis", true),
            (&format!("redis{digest}"), &format!("redis:7{digest}"), true),
            (&format!("redis{digest}"), "redis:7", false),
        ] {
            assert_eq!(covers(pattern, &image.parse().unwrap()), is_covered, "{pattern} {image}");
        }
    }
}
