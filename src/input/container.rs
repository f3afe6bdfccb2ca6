//! A container image as an input: a root file system.

use super::{Container, Input, Opening};
use crate::{
    error::{At, Error, Result},
    images::Layout,
};
use formats::{
    Blob, Env,
    oci::{self, Image, Store, archive::Archive, layer, merge},
    tree::ShowPath,
};
use std::{path::Path, sync::Arc};

/// The image in a tar of images; nothing where the tar is none. `name` is what warnings call it.
///
/// # Errors
/// When there are several and none is named, or it is damaged.
pub(super) fn of_archive(tar: &Blob, name: &str, opening: &Opening, env: &mut Env) -> Result<Option<Input>> {
    let Some(archive) = Archive::open(tar, "archive of images")? else { return Ok(None) };
    super::heed(archive.warnings(), name, opening.strict, env)?;
    of_store(&archive, opening, env).map(Some)
}

/// The image in a directory that is an image layout.
///
/// # Errors
/// As [`of_archive`], and when it is none.
pub(super) fn of_layout(path: &Path, opening: &Opening, env: &mut Env) -> Result<Input> {
    if !path.join("oci-layout").exists() {
        return Err(Error::bad_input("is a directory, must be a file, an OCI image layout, or - for standard input"));
    }
    of_store(&Layout::open(path)?, opening, env)
}

/// The image that is named, or the only one.
fn of_store(store: &dyn Store, opening: &Opening, env: &mut Env) -> Result<Input> {
    let index = store.index()?;
    let names = || index.iter().map(|entry| ShowPath(entry.name().unwrap_or("?").as_bytes()).to_string()).collect::<Vec<_>>().join(", ");
    let chosen = match &opening.image {
        Some(name) => {
            oci::named(&index, &name.to_string()).ok_or_else(|| Error::bad_input(format!("it has no image {name}, but: {}", names())))?
        }
        None => {
            let first = index.first().ok_or_else(|| Error::bad_input("there is no image in it"))?;
            if index.iter().any(|other| other.digest != first.digest) {
                let what = format!("there are {} images in it, must be one: {}", index.len(), names());
                return Err(Error::bad_input(what).hint("choose one with --image"));
            }
            first
        }
    };
    of_image(oci::select(store, chosen, &opening.platform())?, env)
}

/// A container image as a root file system: its layers over one another by OCI's rules.
///
/// # Errors
/// When a layer is damaged.
pub(crate) fn of_image(image: Image, env: &mut Env) -> Result<Input> {
    let progress = Arc::clone(&env.progress);
    let tar = |layer: &oci::Layer| Ok((format!("layer {}", layer.descriptor.digest), layer::unpack(layer, &mut env.spool, &*progress)?));
    let layers = image.layers.iter().map(tar).collect::<Result<Vec<_>>>()?;
    let tree = merge::tree(&layers).at(|| "layers")?;
    Ok(Input::Container(Container { tree, execution: image.config.execution }))
}
