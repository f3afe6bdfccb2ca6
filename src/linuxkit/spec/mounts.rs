//! Mounts: what every container has, then `tmpfs`, `binds` and `mounts`; a later one takes the place of an earlier one.

use super::super::config::{Mount, Text};
use super::Said;
use crate::error::{Error, Result};
use formats::tree::ShowPath;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The mounts of a container, by destination.
///
/// # Errors
/// When one is malformed.
pub(super) fn all(said: &Said<'_>) -> Result<Value> {
    let mut all = BTreeMap::new();
    let mut add = |destination: &str, kind: &str, source: &str, options: Vec<&str>| {
        all.insert(destination.as_bytes().to_vec(), mount(destination, kind, source, &options));
    };
    let ro: &[_] = if said.is_readonly() { &["ro"] } else { &[] };
    add("/proc", "proc", "proc", vec!["nosuid", "nodev", "noexec", "relatime"]);
    add("/dev", "tmpfs", "tmpfs", [&["nosuid", "strictatime", "mode=755", "size=65536k"], ro].concat());
    add("/dev/pts", "devpts", "devpts", vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]);
    add("/sys", "sysfs", "sysfs", [&["nosuid", "noexec", "nodev"], ro].concat());
    add("/sys/fs/cgroup", "cgroup", "cgroup", vec!["nosuid", "noexec", "nodev", "relatime", "ro"]);
    for text in said.texts(|config| &config.tmpfs) {
        match text.split(':').collect::<Vec<_>>()[..] {
            [destination] => add(destination, "tmpfs", "tmpfs", Vec::new()),
            [destination, options] => add(destination, "tmpfs", "tmpfs", options.split(',').collect()),
            _ => return Err(malformed("tmpfs", text, "DESTINATION[:OPTIONS]")),
        }
    }
    for text in said.added(|config| &config.binds, &said.yml.binds_add) {
        match text.split(':').collect::<Vec<_>>()[..] {
            [source, destination] => add(destination, "bind", source, vec!["rw", "rbind", "rshared"]),
            [source, destination, options] => add(destination, "bind", source, options.split(',').chain(["rbind"]).collect()),
            _ => return Err(malformed("bind", &text, "SOURCE:DESTINATION[:OPTIONS]")),
        }
    }
    for given in said.of(|config| &config.mounts).into_iter().flatten() {
        let (destination, kind, source) = whole(given)?;
        add(destination, kind, source, given.options.iter().map(|option| option.value.as_str()).collect());
    }
    Ok(all.into_values().collect())
}

/// Destination, type and source of a mount, of which some may be left out.
fn whole(given: &Mount) -> Result<(&str, &str, &str)> {
    let Mount { destination, kind, source, at, .. } = given;
    let kind = match (kind.as_str(), source.as_str()) {
        ("", "mqueue" | "devpts" | "proc" | "sysfs" | "cgroup") => source.as_str(),
        ("", _) if destination.value == "/dev" => "tmpfs",
        ("", _) => {
            let what = format!("the mount at '{}' has no type", ShowPath(destination.as_bytes()));
            return Err(Error::bad_input(what).hint("add type: bind, tmpfs, ...").at(at));
        }
        (kind, _) => kind,
    };
    let source = if source.is_empty() { kind } else { source.as_str() };
    let destination = match (destination.as_str(), kind) {
        ("", "proc") => "/proc",
        ("", "devpts") => "/dev/pts",
        ("", "sysfs") => "/sys",
        ("", "cgroup") => "/sys/fs/cgroup",
        ("", "mqueue") => "/dev/mqueue",
        ("", _) => return Err(Error::bad_input(format!("the mount of type {} has no destination", ShowPath(kind.as_bytes()))).at(at)),
        (destination, _) => destination,
    };
    Ok((destination, kind, source))
}

/// A mount as the specification has it.
pub(in crate::linuxkit) fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    let mut fields = Map::new();
    fields.insert("destination".into(), destination.into());
    super::put(&mut fields, "type", kind.into());
    super::put(&mut fields, "source", source.into());
    super::put(&mut fields, "options", options.to_vec().into());
    fields.into()
}

fn malformed(what: &str, text: &Text, form: &str) -> Error {
    Error::bad_input(format!("{what} '{}' must be {form}", ShowPath(text.as_bytes()))).at(&text.at)
}
