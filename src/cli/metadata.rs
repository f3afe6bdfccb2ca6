//! `--metadata-file`: a file that tells of the outputs of a run, for whoever takes them on.

use crate::{
    convert::Artifact,
    emit::{Body, Target, is_address},
    error::{Error, Result},
    input::STDIN,
    targets::{Naming, Place},
};
use formats::units;
use serde_json::{Value, json};
use std::{num::NonZeroUsize, path::Path};

/// Where the file goes.
///
/// # Errors
/// When an output goes there, too, or it is an address that no store has.
pub(super) fn target(path: Option<&Path>, naming: &Naming, outputs: &[Target]) -> Result<Option<Target>> {
    let Some(path) = path else { return Ok(None) };
    let target = naming.at(path)?;
    match outputs.contains(&target) {
        true => Err(Error::bad_input(format!("--metadata-file and an output would both write {target}")).hint("name another file")),
        false => Ok(Some(target)),
    }
}

/// What stands in the file: moby's version, the key of the run, and every file that it makes.
///
/// # Errors
/// When an output cannot be read.
pub(super) fn text(
    files: &[(Target, Body)],
    places: &[Place],
    artifacts: &[Artifact],
    key: Option<&str>,
    threads: NonZeroUsize,
) -> Result<String> {
    let mut outputs = Vec::new();
    for (number, (target, body)) in files.iter().enumerate() {
        // The extents of a disk stand in front of the file that names them, and are of its output.
        let place = files[number..].iter().find_map(|(target, _)| places.iter().find(|place| place.target == *target));
        let format = place.map(|place| artifacts[place.output].output.name);
        let (bytes, sha256) = body.sha256(threads)?;
        let path = if *target == Target::Stdout { STDIN.to_owned() } else { target.to_string() };
        outputs.push(json!({"path": path, "format": format, "bytes": bytes, "sha256": units::hex(&sha256)}));
    }
    let all = json!({"moby": env!("CARGO_PKG_VERSION"), "key": key, "outputs": outputs});
    Ok(format!("{all:#}\n"))
}

/// Whether such a file says that a run of this key made all of its outputs, and they are there as long as it says and no younger than it.
/// What is in them is not read. What is elsewhere tells of itself.
pub(super) fn tells_made(path: &Path, key: &str) -> bool {
    let Some(told) = std::fs::read(path).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok()) else { return false };
    let written = |path: &Path| std::fs::metadata(path).and_then(|file| Ok((file.len(), file.modified()?))).ok();
    let Some((_, since)) = written(path) else { return false };
    let is_there = |output: &Value| {
        let path = output["path"].as_str().unwrap_or_default();
        is_address(path) || written(Path::new(path)).is_some_and(|(len, time)| output["bytes"].as_u64() == Some(len) && time <= since)
    };
    told["key"].as_str() == Some(key)
        && told["outputs"].as_array().is_some_and(|outputs| !outputs.is_empty() && outputs.iter().all(is_there))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_told_by_key_and_length() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        std::fs::write(at("a.img"), "1234").unwrap();
        let told = |bytes: u64| json!({"key": "k", "outputs": [{"path": at("a.img"), "bytes": bytes}]}).to_string();
        std::fs::write(at("a.json"), told(4)).unwrap();
        assert!(tells_made(&at("a.json"), "k"));
        assert!(!tells_made(&at("a.json"), "other") && !tells_made(&at("gone.json"), "k"));
        std::fs::write(at("a.json"), told(5)).unwrap();
        assert!(!tells_made(&at("a.json"), "k"));
        std::fs::write(at("a.json"), r#"{"key": "k", "outputs": []}"#).unwrap();
        assert!(!tells_made(&at("a.json"), "k"));
    }

    #[test]
    fn an_output_that_is_younger_was_made_by_another() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        std::fs::write(at("a.json"), json!({"key": "k", "outputs": [{"path": at("a.img"), "bytes": 4}]}).to_string()).unwrap();
        std::fs::write(at("a.img"), "1234").unwrap();
        let output = std::fs::File::options().write(true).open(at("a.img")).unwrap();
        let written = output.metadata().unwrap().modified().unwrap();
        output.set_modified(written + std::time::Duration::from_secs(10)).unwrap();
        assert!(!tells_made(&at("a.json"), "k"));
    }

    #[test]
    fn an_output_keeps_its_name() {
        let output = Target::Path("a.img".into());
        let naming = Naming::default();
        let refused = target(Some(Path::new("a.img")), &naming, &[output]).unwrap_err().to_string();
        assert_eq!(refused, "--metadata-file and an output would both write a.img");
        assert_eq!(target(Some(Path::new("-")), &naming, &[]).unwrap(), Some(Target::Stdout));
    }
}
