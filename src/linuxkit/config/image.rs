//! What a container is made of: what a yml says of it, and the label of its image.

use super::super::place::{Place, Placed, Text};
use super::Reference;
use std::collections::BTreeMap;

/// A container of `onboot`, `onshutdown` or `services`.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Its name: one part of a path.
    pub name: Text,
    /// Its image.
    pub image: Reference,
    /// All the rest, which the label of the image may have too.
    pub config: ImageConfig,
}

/// What both a yml and a label say of a container. Fields are called as keys are, where no key is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ImageConfig {
    pub capabilities: Option<Vec<Text>>,
    /// `capabilities.add`
    pub capabilities_add: Option<Vec<Text>>,
    pub ambient: Option<Vec<Text>>,
    pub mounts: Option<Vec<Mount>>,
    pub binds: Option<Vec<Text>>,
    /// `binds.add`
    pub binds_add: Option<Vec<Text>>,
    pub devices: Option<Vec<Device>>,
    pub tmpfs: Option<Vec<Text>>,
    pub command: Option<Vec<Text>>,
    pub env: Option<Vec<Text>>,
    pub cwd: Option<Text>,
    pub net: Option<Text>,
    pub pid: Option<Text>,
    pub ipc: Option<Text>,
    pub uts: Option<Text>,
    pub userns: Option<Text>,
    pub hostname: Option<Text>,
    pub readonly: Option<bool>,
    pub masked_paths: Option<Vec<Text>>,
    pub readonly_paths: Option<Vec<Text>>,
    pub uid: Option<Placed<Id>>,
    pub gid: Option<Placed<Id>>,
    pub additional_gids: Option<Vec<Placed<Id>>>,
    pub no_new_privileges: Option<bool>,
    pub oom_score_adj: Option<i64>,
    pub rootfs_propagation: Option<Text>,
    pub cgroups_path: Option<Text>,
    pub resources: Option<Resources>,
    pub sysctl: Option<BTreeMap<String, String>>,
    pub rlimits: Option<Vec<Text>>,
    pub uid_mappings: Option<Vec<IdMapping>>,
    pub gid_mappings: Option<Vec<IdMapping>>,
    pub annotations: Option<BTreeMap<String, String>>,
    pub runtime: Option<Runtime>,
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Id {
    /// That of a container, by its name.
    Name(String),
    /// A number; -1 is the largest.
    Number(i64),
}

/// A mount; what was left out is empty.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mount {
    pub at: Place,
    pub destination: Text,
    /// `type`
    pub kind: Text,
    pub source: Text,
    pub options: Vec<Text>,
    pub uid_mappings: Vec<IdMapping>,
    pub gid_mappings: Vec<IdMapping>,
}

/// A range of users or groups. Of what is written, the real tool reads only the size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct IdMapping {
    pub container_id: u32,
    pub host_id: u32,
    pub size: u32,
}

/// A device; what was left out is empty or 0.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Device {
    pub at: Place,
    /// `all` for a rule for all the devices and no device.
    pub path: Text,
    /// `type`
    pub kind: Text,
    pub major: i64,
    pub minor: i64,
    /// Octal.
    pub mode: Text,
}

/// What is done when the container starts, beside its OCI specification: `runtime.json`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Runtime {
    pub cgroups: Option<Vec<Text>>,
    pub mounts: Option<Vec<Mount>>,
    pub mkdir: Option<Vec<Text>>,
    pub interfaces: Option<Vec<Interface>>,
    /// `bindNS`
    pub bind_ns: Namespaces,
    pub namespace: Option<Text>,
}

/// A network interface; what was left out is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Interface {
    pub name: String,
    pub add: String,
    pub peer: String,
    pub create_in_root: bool,
}

/// Where namespaces are bound to; an empty text counts as given.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Namespaces {
    pub cgroup: Option<Text>,
    pub ipc: Option<Text>,
    pub mnt: Option<Text>,
    pub net: Option<Text>,
    pub pid: Option<Text>,
    pub user: Option<Text>,
    pub uts: Option<Text>,
}

/// Limits, as far as the real tool reads them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Resources {
    pub devices: Vec<DeviceRule>,
    pub memory: Option<Memory>,
    pub cpu: Option<Cpu>,
    pub pids: Option<Pids>,
    pub block_io: Option<BlockIo>,
    pub network: Option<Network>,
}

/// Which devices may be used; what was left out is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DeviceRule {
    pub allow: bool,
    /// `type`
    pub kind: String,
    pub major: Option<i64>,
    pub minor: Option<i64>,
    pub access: String,
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Memory {
    pub limit: Option<i64>,
    pub reservation: Option<i64>,
    pub swap: Option<i64>,
    pub kernel: Option<i64>,
    pub swappiness: Option<u64>,
}

/// Processors; lists that were left out are empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cpu {
    pub shares: Option<u64>,
    pub quota: Option<i64>,
    pub period: Option<u64>,
    pub cpus: String,
    pub mems: String,
}

/// Processes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Pids {
    pub limit: i64,
}

/// Block devices.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BlockIo {
    pub weight: Option<u16>,
}

/// Networks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Network {
    pub priorities: Vec<Priority>,
}

/// The priority of a network interface.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Priority {
    pub name: String,
    pub priority: u32,
}
