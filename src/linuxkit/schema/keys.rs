//! The table: the schema of `LinuxKit`, and a key of ours, `trust.cosign`.

use super::{Key, Object, Type};

const TEXTS: Type = Type::List(&Type::Text);
const ANY_INTEGER: Type = Type::Integer(i128::MIN, i128::MAX);
const I64: Type = Type::Integer(i64::MIN as i128, i64::MAX as i128);
const U64: Type = Type::Integer(0, u64::MAX as i128);
const U32: Type = Type::Integer(0, u32::MAX as i128);
const U16: Type = Type::Integer(0, u16::MAX as i128);
const MOUNTS: Type = Type::List(&Type::Object(&MOUNT));
const MAPPINGS: Type = Type::List(&Type::Object(&MAPPING));
const IMAGES: Type = Type::List(&Type::Object(&IMAGE));
const THROTTLES: Type = Type::List(&Type::Object(&THROTTLE));

const fn key(name: &'static str, of: Type) -> Key {
    Key { name, of, is_required: false, is_idle: false }
}

const fn required(name: &'static str, of: Type) -> Key {
    Key { name, of, is_required: true, is_idle: false }
}

/// It passes the real tool's schema, but its decoder looks for the lower-case name.
const fn idle(name: &'static str, of: Type) -> Key {
    Key { name, of, is_required: false, is_idle: true }
}

const fn object(keys: &'static [Key]) -> Object {
    Object { keys, rest: None }
}

/// A yml.
pub(crate) static TOP: Object = object(&[
    key("kernel", Type::Object(&KERNEL)),
    key("init", TEXTS),
    key("onboot", IMAGES),
    key("onshutdown", IMAGES),
    key("services", IMAGES),
    key("files", Type::List(&Type::Object(&FILE))),
    key("volumes", Type::List(&Type::Object(&VOLUME))),
    key("trust", Type::Object(&TRUST)),
]);

static KERNEL: Object = object(&[
    key("image", Type::Text),
    key("cmdline", Type::Text),
    key("binary", Type::Text),
    key("tar", Type::Text),
    key("ucode", Type::Text),
]);

static FILE: Object = object(&[
    key("path", Type::Text),
    key("directory", Type::Flag),
    key("symlink", Type::Text),
    key("contents", Type::Text),
    key("source", Type::Text),
    key("metadata", Type::Text),
    key("optional", Type::Flag),
    key("mode", Type::Text),
    key("uid", Type::Id),
    key("gid", Type::Id),
]);

static VOLUME: Object = object(&[
    key("name", Type::Text),
    key("image", Type::Text),
    key("readonly", Type::Flag),
    key("format", Type::Word(&["oci", "filesystem"])),
    key("platforms", TEXTS),
]);

static TRUST: Object = object(&[key("org", TEXTS), key("image", TEXTS), key("cosign", Type::Object(&COSIGN))]);

static COSIGN: Object = object(&[required("key", Type::Text), required("image", TEXTS)]);

static IMAGE: Object = Object { keys: &[required("name", Type::Text), required("image", Type::Text)], rest: Some(&CONTAINER) };

/// What the label of an image may have, too.
pub(crate) static CONTAINER: Object = object(&[
    key("capabilities", TEXTS),
    key("capabilities.add", TEXTS),
    key("ambient", TEXTS),
    key("mounts", MOUNTS),
    key("binds", TEXTS),
    key("binds.add", TEXTS),
    key("devices", Type::List(&Type::Object(&DEVICE))),
    key("tmpfs", TEXTS),
    key("command", TEXTS),
    key("env", TEXTS),
    key("cwd", Type::Text),
    key("net", Type::Text),
    key("pid", Type::Text),
    key("ipc", Type::Text),
    key("uts", Type::Text),
    key("userns", Type::Text),
    key("hostname", Type::Text),
    key("readonly", Type::Flag),
    key("maskedPaths", TEXTS),
    key("readonlyPaths", TEXTS),
    key("uid", Type::Id),
    key("gid", Type::Id),
    key("additionalGids", Type::List(&Type::Id)),
    key("noNewPrivileges", Type::Flag),
    key("oomScoreAdj", I64),
    key("rootfsPropagation", Type::Text),
    key("cgroupsPath", Type::Text),
    key("resources", Type::Object(&RESOURCES)),
    key("sysctl", Type::Texts),
    key("rlimits", TEXTS),
    key("uidMappings", MAPPINGS),
    key("gidMappings", MAPPINGS),
    key("annotations", Type::Texts),
    key("runtime", Type::Object(&RUNTIME)),
]);

static MOUNT: Object = object(&[
    key("destination", Type::Text),
    key("type", Type::Text),
    key("source", Type::Text),
    key("options", TEXTS),
    key("uidmappings", MAPPINGS),
    key("gidmappings", MAPPINGS),
]);

static MAPPING: Object = object(&[idle("hostID", ANY_INTEGER), idle("containerID", ANY_INTEGER), key("size", U32)]);

static DEVICE: Object =
    object(&[key("path", Type::Text), key("type", Type::Text), key("major", I64), key("minor", I64), key("mode", Type::Text)]);

static RUNTIME: Object = object(&[
    key("cgroups", TEXTS),
    key("mounts", MOUNTS),
    key("mkdir", TEXTS),
    key("interfaces", Type::List(&Type::Object(&INTERFACE))),
    key("bindNS", Type::Object(&NAMESPACES)),
    key("namespace", Type::Text),
]);

static INTERFACE: Object =
    object(&[key("name", Type::Text), key("add", Type::Text), key("peer", Type::Text), key("createInRoot", Type::Flag)]);

static NAMESPACES: Object = object(&[
    key("cgroup", Type::Text),
    key("ipc", Type::Text),
    key("mnt", Type::Text),
    key("net", Type::Text),
    key("pid", Type::Text),
    key("user", Type::Text),
    key("uts", Type::Text),
]);

static RESOURCES: Object = object(&[
    key("devices", Type::List(&Type::Object(&RULE))),
    key("memory", Type::Object(&MEMORY)),
    key("cpu", Type::Object(&CPU)),
    key("pids", Type::Object(&PIDS)),
    key("blockio", Type::Object(&BLOCK_IO)),
    idle("hugepageLimits", Type::List(&Type::Object(&HUGE_PAGES))),
    key("network", Type::Object(&NETWORK)),
]);

static RULE: Object =
    object(&[key("allow", Type::Flag), key("type", Type::Text), key("major", I64), key("minor", I64), key("access", Type::Text)]);

static MEMORY: Object = object(&[
    key("limit", I64),
    key("reservation", I64),
    key("swap", I64),
    key("kernel", I64),
    idle("kernelTCP", ANY_INTEGER),
    key("swappiness", U64),
    idle("disableOOMKiller", Type::Flag),
]);

static CPU: Object = object(&[
    key("shares", U64),
    key("quota", I64),
    key("period", U64),
    idle("realtimeRuntime", ANY_INTEGER),
    idle("realtimePeriod", ANY_INTEGER),
    key("cpus", Type::Text),
    key("mems", Type::Text),
]);

static PIDS: Object = object(&[key("limit", I64)]);

static BLOCK_IO: Object = object(&[
    key("weight", U16),
    idle("leafWeight", ANY_INTEGER),
    idle("weightDevice", Type::List(&Type::Object(&WEIGHT))),
    idle("throttleReadBpsDevice", THROTTLES),
    idle("throttleWriteBpsDevice", THROTTLES),
    idle("throttleReadIOPSDevice", THROTTLES),
    idle("throttleWriteIOPSDevice", THROTTLES),
]);

static WEIGHT: Object =
    object(&[key("major", ANY_INTEGER), key("minor", ANY_INTEGER), key("weight", ANY_INTEGER), key("leafWeight", ANY_INTEGER)]);

static THROTTLE: Object = object(&[key("major", ANY_INTEGER), key("minor", ANY_INTEGER), key("rate", ANY_INTEGER)]);

static HUGE_PAGES: Object = object(&[key("pageSize", ANY_INTEGER), key("limit", ANY_INTEGER)]);

static NETWORK: Object = object(&[idle("classID", ANY_INTEGER), key("priorities", Type::List(&Type::Object(&PRIORITY)))]);

static PRIORITY: Object = object(&[key("name", Type::Text), key("priority", U32)]);
