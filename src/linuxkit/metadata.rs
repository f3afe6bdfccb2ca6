//! What a configuration says, as text again: `metadata:` of a file, and `--dry-run`.
//!
//! Both the order of keys and what is said of what was left out are those of Go's structs. Structs of the runtime specification
//! have no names for YAML, so that these are in lower case there and nothing is left out.

use super::config::{
    BlockIo, Config, Cpu, Device, DeviceRule, File, Id, IdMapping, Image, ImageConfig, Interface, Kernel, Memory, Mount, Namespaces,
    Network, Pids, Placed, Reference, Resources, Runtime, Text, Volume,
};
use super::go_json;
use super::yaml::{self, Dialect};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What the text is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    /// JSON, with the whole names of images.
    Json,
    /// YAML, with the whole names of images.
    Yaml,
    /// YAML, with the names of images as they were written.
    DryRun,
}

/// A configuration as text.
pub(crate) fn text(config: &Config, form: Form) -> String {
    let tree = config_tree(config, form);
    match form {
        Form::Json => go_json::to_string(&tree),
        Form::Yaml => yaml::emit(&tree, Dialect::V2),
        Form::DryRun => yaml::emit(&tree, Dialect::V3),
    }
}

/// A mapping in the making.
struct Entries {
    form: Form,
    map: Map<String, Value>,
}

impl Entries {
    fn new(form: Form) -> Self {
        Self { form, map: Map::new() }
    }

    fn put(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.map.insert(key.to_owned(), value.into());
        self
    }

    /// Left out where there is none.
    fn some<T: Into<Value>>(self, key: &str, value: Option<T>) -> Self {
        match value {
            Some(value) => self.put(key, value),
            None => self,
        }
    }

    fn text(self, key: &str, text: Option<&Text>) -> Self {
        self.some(key, text.map(|text| text.value.as_str()))
    }

    fn texts(self, key: &str, texts: Option<&Vec<Text>>) -> Self {
        self.some(key, texts.map(|texts| list(texts, |text| text.value.as_str().into())))
    }

    fn texts_by_name(self, key: &str, texts: Option<&BTreeMap<String, String>>) -> Self {
        let form = self.form;
        self.some(key, texts.map(|texts| sorted(texts, form)))
    }

    /// Of the runtime specification: there in every form.
    fn spec(self, key: &str, value: impl Into<Value>) -> Self {
        let key = if self.form == Form::Json { key.to_owned() } else { key.to_lowercase() };
        self.put(&key, value)
    }

    /// Of the runtime specification: left out of JSON when it is empty.
    fn spec_some(self, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        let is_empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(values) => values.is_empty(),
            _ => false,
        };
        if self.form == Form::Json && is_empty { self } else { self.spec(key, value) }
    }

    /// Of the runtime specification: what the yml cannot set, so that JSON does not have it.
    fn spec_unset(self, keys: &[&str], value: &Value) -> Self {
        let is_json = self.form == Form::Json;
        keys.iter().filter(|_| !is_json).fold(self, |entries, key| entries.spec(key, value.clone()))
    }

    fn done(self) -> Value {
        Value::Object(self.map)
    }
}

fn list<T>(values: &[T], value: impl FnMut(&T) -> Value) -> Value {
    values.iter().map(value).collect::<Vec<_>>().into()
}

fn sorted(texts: &BTreeMap<String, String>, form: Form) -> Value {
    let keys: Vec<&str> = texts.keys().map(String::as_str).collect();
    let keys = match form {
        Form::Json => keys,
        Form::Yaml => yaml::natural_order(keys, Dialect::V2),
        Form::DryRun => yaml::natural_order(keys, Dialect::V3),
    };
    keys.into_iter().map(|key| (key.to_owned(), Value::from(texts[key].as_str()))).collect::<Map<_, _>>().into()
}

fn name(reference: &Reference, form: Form) -> &str {
    if form == Form::DryRun { &reference.written } else { &reference.expanded }
}

fn config_tree(config: &Config, form: Form) -> Value {
    /// Go's JSON has no list where nothing was added to one.
    fn all<T>(values: &[T], form: Form, value: impl FnMut(&T) -> Value) -> Value {
        if values.is_empty() && form == Form::Json { Value::Null } else { list(values, value) }
    }
    let images = |images: &[Image]| all(images, form, |image| self::image(image, form));
    Entries::new(form)
        .put("kernel", kernel(&config.kernel, form))
        .put("init", all(&config.init, form, |reference| name(reference, form).into()))
        .put("onboot", images(&config.onboot))
        .put("onshutdown", images(&config.onshutdown))
        .put("services", images(&config.services))
        .put("files", all(&config.files, form, |file| self::file(file, form)))
        .put("volumes", all(&config.volumes, form, |volume| self::volume(volume, form)))
        .done()
}

fn kernel(kernel: &Kernel, form: Form) -> Value {
    Entries::new(form)
        .put("image", kernel.image.as_ref().map_or("", |image| name(image, form)))
        .text("cmdline", kernel.cmdline.as_ref())
        .text("binary", kernel.binary.as_ref())
        .text("tar", kernel.tar.as_ref())
        .text("ucode", kernel.ucode.as_ref())
        .done()
}

fn file(file: &File, form: Form) -> Value {
    Entries::new(form)
        .put("path", file.path.value.as_str())
        .put("directory", file.directory)
        .text("symlink", file.symlink.as_ref())
        .text("contents", file.contents.as_ref())
        .text("source", file.source.as_ref())
        .text("metadata", file.metadata.as_ref())
        .put("optional", file.optional)
        .text("mode", file.mode.as_ref())
        .some("uid", file.uid.as_ref().map(id))
        .some("gid", file.gid.as_ref().map(id))
        .done()
}

fn volume(volume: &Volume, form: Form) -> Value {
    Entries::new(form)
        .put("name", volume.name.value.as_str())
        .text("image", volume.image.as_ref().map(|image| &image.written))
        .some("readonly", volume.readonly.then_some(true))
        .text("format", volume.format.as_ref())
        .texts("platforms", Some(&volume.platforms).filter(|platforms| !platforms.is_empty()))
        .done()
}

fn id(id: &Placed<Id>) -> Value {
    match &id.value {
        Id::Name(name) => name.as_str().into(),
        Id::Number(number) => (*number).into(),
    }
}

fn image(image: &Image, form: Form) -> Value {
    let config = &image.config;
    let entries = Entries::new(form).put("name", image.name.value.as_str()).put("image", name(&image.image, form));
    settings(process(entries, config), config).done()
}

fn process(entries: Entries, config: &ImageConfig) -> Entries {
    let form = entries.form;
    entries
        .texts("capabilities", config.capabilities.as_ref())
        .texts("capabilities.add", config.capabilities_add.as_ref())
        .texts("ambient", config.ambient.as_ref())
        .some("mounts", config.mounts.as_ref().map(|mounts| list(mounts, |mount| self::mount(mount, form))))
        .texts("binds", config.binds.as_ref())
        .texts("binds.add", config.binds_add.as_ref())
        .some("devices", config.devices.as_ref().map(|devices| list(devices, |device| self::device(device, form))))
        .texts("tmpfs", config.tmpfs.as_ref())
        .texts("command", config.command.as_ref())
        .texts("env", config.env.as_ref())
        .text("cwd", config.cwd.as_ref())
        .text("net", config.net.as_ref())
        .text("pid", config.pid.as_ref())
        .text("ipc", config.ipc.as_ref())
        .text("uts", config.uts.as_ref())
        .text("userns", config.userns.as_ref())
        .text("hostname", config.hostname.as_ref())
}

fn settings(entries: Entries, config: &ImageConfig) -> Entries {
    let form = entries.form;
    let mappings = |mappings: &Vec<IdMapping>| list(mappings, |mapping| self::mapping(mapping, form));
    entries
        .some("readonly", config.readonly)
        .texts("maskedPaths", config.masked_paths.as_ref())
        .texts("readonlyPaths", config.readonly_paths.as_ref())
        .some("uid", config.uid.as_ref().map(id))
        .some("gid", config.gid.as_ref().map(id))
        .some("additionalGids", config.additional_gids.as_ref().map(|gids| list(gids, id)))
        .some("noNewPrivileges", config.no_new_privileges)
        .some("oomScoreAdj", config.oom_score_adj)
        .text("rootfsPropagation", config.rootfs_propagation.as_ref())
        .text("cgroupsPath", config.cgroups_path.as_ref())
        .some("resources", config.resources.as_ref().map(|resources| self::resources(resources, form)))
        .texts_by_name("sysctl", config.sysctl.as_ref())
        .texts("rlimits", config.rlimits.as_ref())
        .some("uidMappings", config.uid_mappings.as_ref().map(mappings))
        .some("gidMappings", config.gid_mappings.as_ref().map(mappings))
        .texts_by_name("annotations", config.annotations.as_ref())
        .some("runtime", config.runtime.as_ref().map(|runtime| self::runtime(runtime, form)))
}

/// A mount, as `config.json` and `runtime.json` have it, too.
pub(crate) fn mount(mount: &Mount, form: Form) -> Value {
    let mappings = |mappings: &[IdMapping]| list(mappings, |mapping| self::mapping(mapping, form));
    Entries::new(form)
        .spec("destination", mount.destination.value.as_str())
        .spec_some("type", mount.kind.value.as_str())
        .spec_some("source", mount.source.value.as_str())
        .spec_some("options", list(&mount.options, |option| option.value.as_str().into()))
        .spec_some("uidMappings", mappings(&mount.uid_mappings))
        .spec_some("gidMappings", mappings(&mount.gid_mappings))
        .done()
}

/// A range of users or groups, as `config.json` has it, too.
pub(crate) fn mapping(mapping: &IdMapping, form: Form) -> Value {
    Entries::new(form).spec("containerID", mapping.container_id).spec("hostID", mapping.host_id).spec("size", mapping.size).done()
}

fn device(device: &Device, form: Form) -> Value {
    Entries::new(form)
        .put("path", device.path.value.as_str())
        .put("type", device.kind.value.as_str())
        .put("major", device.major)
        .put("minor", device.minor)
        .text("mode", Some(&device.mode).filter(|mode| !mode.is_empty()))
        .done()
}

fn runtime(runtime: &Runtime, form: Form) -> Value {
    let namespaces = namespaces(&runtime.bind_ns, form);
    let is_bound = form == Form::Json || runtime.bind_ns != Namespaces::default();
    Entries::new(form)
        .texts("cgroups", runtime.cgroups.as_ref())
        .some("mounts", runtime.mounts.as_ref().map(|mounts| list(mounts, |mount| self::mount(mount, form))))
        .texts("mkdir", runtime.mkdir.as_ref())
        .some("interfaces", runtime.interfaces.as_ref().map(|all| list(all, |one| interface(one, form))))
        .some("bindNS", is_bound.then_some(namespaces))
        .text("namespace", runtime.namespace.as_ref())
        .done()
}

/// A network interface, as `runtime.json` has it, too.
pub(crate) fn interface(interface: &Interface, form: Form) -> Value {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Entries::new(form)
        .some("name", some(&interface.name))
        .some("add", some(&interface.add))
        .some("peer", some(&interface.peer))
        .put("createInRoot", interface.create_in_root)
        .done()
}

fn namespaces(bound: &Namespaces, form: Form) -> Value {
    Entries::new(form)
        .text("cgroup", bound.cgroup.as_ref())
        .text("ipc", bound.ipc.as_ref())
        .text("mnt", bound.mnt.as_ref())
        .text("net", bound.net.as_ref())
        .text("pid", bound.pid.as_ref())
        .text("user", bound.user.as_ref())
        .text("uts", bound.uts.as_ref())
        .done()
}

/// Limits, as `config.json` has them, too.
pub(crate) fn resources(resources: &Resources, form: Form) -> Value {
    let priority = |network: &Network| {
        list(&network.priorities, |one| Entries::new(form).spec("name", one.name.as_str()).spec("priority", one.priority).done())
    };
    let network =
        |network: &Network| Entries::new(form).spec_unset(&["classID"], &Value::Null).spec_some("priorities", priority(network)).done();
    let pids = |pids: &Pids| Entries::new(form).spec("limit", pids.limit).done();
    Entries::new(form)
        .spec_some("devices", list(&resources.devices, |rule| self::rule(rule, form)))
        .spec_some("memory", resources.memory.as_ref().map(|memory| self::memory(memory, form)))
        .spec_some("cpu", resources.cpu.as_ref().map(|cpu| self::cpu(cpu, form)))
        .spec_some("pids", resources.pids.as_ref().map(pids))
        .spec_some("blockIO", resources.block_io.as_ref().map(|block_io| self::block_io(block_io, form)))
        .spec_unset(&["hugepageLimits"], &list::<()>(&[], |()| Value::Null))
        .spec_some("network", resources.network.as_ref().map(network))
        .spec_unset(&["rdma", "unified"], &Map::new().into())
        .done()
}

/// Which devices may be used, as `config.json` has it, too.
pub(crate) fn rule(rule: &DeviceRule, form: Form) -> Value {
    Entries::new(form)
        .spec("allow", rule.allow)
        .spec_some("type", rule.kind.as_str())
        .spec_some("major", rule.major)
        .spec_some("minor", rule.minor)
        .spec_some("access", rule.access.as_str())
        .done()
}

fn memory(memory: &Memory, form: Form) -> Value {
    Entries::new(form)
        .spec_some("limit", memory.limit)
        .spec_some("reservation", memory.reservation)
        .spec_some("swap", memory.swap)
        .spec_some("kernel", memory.kernel)
        .spec_unset(&["kernelTCP"], &Value::Null)
        .spec_some("swappiness", memory.swappiness)
        .spec_unset(&["disableOOMKiller", "useHierarchy", "checkBeforeUpdate"], &Value::Null)
        .done()
}

fn cpu(cpu: &Cpu, form: Form) -> Value {
    Entries::new(form)
        .spec_some("shares", cpu.shares)
        .spec_some("quota", cpu.quota)
        .spec_unset(&["burst"], &Value::Null)
        .spec_some("period", cpu.period)
        .spec_unset(&["realtimeRuntime", "realtimePeriod"], &Value::Null)
        .spec_some("cpus", cpu.cpus.as_str())
        .spec_some("mems", cpu.mems.as_str())
        .spec_unset(&["idle"], &Value::Null)
        .done()
}

fn block_io(block_io: &BlockIo, form: Form) -> Value {
    let throttles = ["throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice", "throttleWriteIOPSDevice"];
    let none = list::<()>(&[], |()| Value::Null);
    Entries::new(form)
        .spec_some("weight", block_io.weight)
        .spec_unset(&["leafWeight"], &Value::Null)
        .spec_unset(&["weightDevice"], &none)
        .spec_unset(&throttles, &none)
        .done()
}
