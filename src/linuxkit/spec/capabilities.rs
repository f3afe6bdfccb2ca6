//! Capabilities: which a container may have, and which it has.

use super::{Said, Text, put};
use crate::error::{Error, Result};
use formats::tree::ShowPath;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// All of Linux, in the order of their numbers (`capability.h`).
const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The five sets.
///
/// # Errors
/// When a name is unknown.
pub(super) fn all(said: &Said<'_>) -> Result<Value> {
    let effective = expanded(&said.added(|config| &config.capabilities, &said.yml.capabilities_add))?;
    let ambient = expanded(said.texts(|config| &config.ambient))?;
    let bounding: BTreeSet<_> = effective.iter().chain(&ambient).copied().collect();
    let bounding: Vec<_> = bounding.into_iter().collect();
    let mut sets = Map::new();
    for (name, set) in
        [("bounding", &bounding), ("effective", &effective), ("inheritable", &bounding), ("permitted", &bounding), ("ambient", &ambient)]
    {
        put(&mut sets, name, set.clone().into());
    }
    Ok(sets.into())
}

/// The names of a list; `all` and `none` stand alone.
fn expanded(list: &[Text]) -> Result<Vec<&'static str>> {
    match list {
        [only] if only.eq_ignore_ascii_case("none") => return Ok(Vec::new()),
        [only] if only.eq_ignore_ascii_case("all") => return Ok(ALL.to_vec()),
        _ => {}
    }
    list.iter().map(|text| ALL.into_iter().find(|name| *name == text.value).ok_or_else(|| unknown(text))).collect()
}

fn unknown(text: &Text) -> Error {
    let name = &text.value;
    let upper = format!("CAP_{}", name.to_ascii_uppercase().trim_start_matches("CAP_"));
    let error = Error::bad_input(format!("unknown capability: {}", ShowPath(name.as_bytes()))).at(&text.at);
    match ALL.contains(&upper.as_str()) {
        true => error.hint(format!("write {upper}")),
        false if name.eq_ignore_ascii_case("all") || name.eq_ignore_ascii_case("none") => error.hint("it must stand alone"),
        false => error.hint("capabilities are named as in capabilities(7), or all, or none"),
    }
}
