//! From a checked tree to structs. The tree fits the table, so that only names and references can be wrong.

use super::super::schema::{Report, whole};
use super::super::yaml::{Node, Value};
use super::{
    BlockIo, Config, Cosign, Cpu, Device, DeviceRule, File, Id, IdMapping, Image, ImageConfig, Interface, Kernel, Memory, Mount,
    Namespaces, Network, Pids, Placed, Priority, Reference, Resources, Runtime, Text, Trust, Volume,
};
use std::collections::BTreeMap;

/// The values of a mapping, by their keys.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a Node);

impl<'a> Fields<'a> {
    fn text(self, key: &str) -> Option<Text> {
        self.0.get(key).and_then(text)
    }

    /// A text of which empty means none.
    fn some_text(self, key: &str) -> Option<Text> {
        self.text(key).filter(|text| !text.is_empty())
    }

    /// A text that is empty by default.
    fn any_text(self, key: &str) -> Text {
        self.text(key).unwrap_or_else(|| Placed { value: String::new(), at: self.0.at.clone() })
    }

    fn string(self, key: &str) -> String {
        self.any_text(key).value
    }

    fn flag(self, key: &str) -> Option<bool> {
        match self.0.get(key)?.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    fn number<T: TryFrom<i128>>(self, key: &str) -> Option<T> {
        T::try_from(number(self.0.get(key)?)?).ok()
    }

    fn id(self, key: &str) -> Option<Placed<Id>> {
        self.0.get(key).and_then(id)
    }

    fn list<T>(self, key: &str, item: impl FnMut(&'a Node) -> Option<T>) -> Option<Vec<T>> {
        match &self.0.get(key)?.value {
            Value::List(nodes) => Some(nodes.iter().filter_map(item).collect()),
            _ => None,
        }
    }

    fn texts(self, key: &str) -> Option<Vec<Text>> {
        self.list(key, text)
    }

    fn all<T>(self, key: &str, mut item: impl FnMut(Fields<'a>) -> T) -> Option<Vec<T>> {
        self.list(key, |node| Some(item(Fields(node))))
    }

    fn map(self, key: &str) -> Option<BTreeMap<String, String>> {
        match &self.0.get(key)?.value {
            Value::Map(entries) => Some(entries.iter().filter_map(|(key, node)| Some((key.value.clone(), text(node)?.value))).collect()),
            _ => None,
        }
    }

    fn within<T>(self, key: &str, item: impl FnOnce(Fields<'a>) -> T) -> Option<T> {
        self.0.get(key).map(|node| item(Fields(node)))
    }
}

fn text(node: &Node) -> Option<Text> {
    match &node.value {
        Value::Text(value) => Some(Placed { value: value.clone(), at: node.at.clone() }),
        _ => None,
    }
}

fn number(node: &Node) -> Option<i128> {
    match node.value {
        Value::Integer(number, _) => Some(number),
        Value::Float(number, _) => whole(number),
        _ => None,
    }
}

fn id(node: &Node) -> Option<Placed<Id>> {
    let value = match &node.value {
        Value::Text(name) => Id::Name(name.clone()),
        _ => Id::Number(number(node)?.try_into().ok()?),
    };
    Some(Placed { value, at: node.at.clone() })
}

/// A configuration, and the faults of its references.
pub(super) fn config(node: &Node, report: &mut Report) -> Config {
    let top = Fields(node);
    let mut reference = |written| {
        let reference = Reference::new(written);
        if let Some(what) = reference.fault() {
            report.fault(&reference.written.at, what);
        }
        reference
    };
    let kernel = top.within("kernel", |kernel| Kernel {
        image: kernel.some_text("image").map(&mut reference),
        cmdline: kernel.some_text("cmdline"),
        binary: kernel.some_text("binary"),
        tar: kernel.text("tar"),
        ucode: kernel.text("ucode"),
    });
    let init = top.list("init", |node| text(node).map(&mut reference));
    let mut images = |key| top.list(key, |node| image(Fields(node), &mut reference)).unwrap_or_default();
    let [onboot, onshutdown, services] = [images("onboot"), images("onshutdown"), images("services")];
    let volumes = top.all("volumes", |volume| Volume {
        at: volume.0.at.clone(),
        name: volume.any_text("name"),
        image: volume.some_text("image").map(&mut reference),
        readonly: volume.flag("readonly").unwrap_or_default(),
        format: volume.text("format"),
        platforms: volume.texts("platforms").unwrap_or_default(),
    });
    Config {
        kernel: kernel.unwrap_or_default(),
        init: init.unwrap_or_default(),
        onboot,
        onshutdown,
        services,
        files: top.all("files", file).unwrap_or_default(),
        volumes: volumes.unwrap_or_default(),
        trust: top.within("trust", trust).unwrap_or_default(),
        warnings: Vec::new(),
    }
}

fn file(file: Fields<'_>) -> File {
    File {
        at: file.0.at.clone(),
        path: file.any_text("path"),
        directory: file.flag("directory").unwrap_or_default(),
        symlink: file.some_text("symlink"),
        contents: file.text("contents"),
        source: file.some_text("source"),
        metadata: file.some_text("metadata"),
        optional: file.flag("optional").unwrap_or_default(),
        mode: file.some_text("mode"),
        uid: file.id("uid"),
        gid: file.id("gid"),
    }
}

fn trust(trust: Fields<'_>) -> Trust {
    let cosign = |cosign: Fields<'_>| Cosign { key: cosign.any_text("key"), image: cosign.texts("image").unwrap_or_default() };
    Trust {
        org: trust.texts("org").unwrap_or_default(),
        image: trust.texts("image").unwrap_or_default(),
        cosign: trust.within("cosign", cosign).into_iter().collect(),
    }
}

fn image(image: Fields<'_>, mut reference: impl FnMut(Text) -> Reference) -> Option<Image> {
    let config = container(image.0);
    Some(Image { name: image.text("name")?, image: reference(image.text("image")?), config })
}

/// What a yml and a label have in common.
pub(super) fn container(node: &Node) -> ImageConfig {
    let image = Fields(node);
    ImageConfig {
        capabilities: image.texts("capabilities"),
        capabilities_add: image.texts("capabilities.add"),
        ambient: image.texts("ambient"),
        mounts: image.all("mounts", mount),
        binds: image.texts("binds"),
        binds_add: image.texts("binds.add"),
        devices: image.all("devices", device),
        tmpfs: image.texts("tmpfs"),
        command: image.texts("command"),
        env: image.texts("env"),
        cwd: image.some_text("cwd"),
        net: image.some_text("net"),
        pid: image.some_text("pid"),
        ipc: image.some_text("ipc"),
        uts: image.some_text("uts"),
        userns: image.some_text("userns"),
        hostname: image.some_text("hostname"),
        readonly: image.flag("readonly"),
        masked_paths: image.texts("maskedPaths"),
        readonly_paths: image.texts("readonlyPaths"),
        uid: image.id("uid"),
        gid: image.id("gid"),
        additional_gids: image.list("additionalGids", id),
        no_new_privileges: image.flag("noNewPrivileges"),
        oom_score_adj: image.number("oomScoreAdj"),
        rootfs_propagation: image.text("rootfsPropagation"),
        cgroups_path: image.text("cgroupsPath"),
        resources: image.within("resources", resources),
        sysctl: image.map("sysctl"),
        rlimits: image.texts("rlimits"),
        uid_mappings: image.all("uidMappings", mapping),
        gid_mappings: image.all("gidMappings", mapping),
        annotations: image.map("annotations"),
        runtime: image.within("runtime", runtime),
    }
}

fn mount(mount: Fields<'_>) -> Mount {
    Mount {
        at: mount.0.at.clone(),
        destination: mount.any_text("destination"),
        kind: mount.any_text("type"),
        source: mount.any_text("source"),
        options: mount.texts("options").unwrap_or_default(),
        uid_mappings: mount.all("uidmappings", mapping).unwrap_or_default(),
        gid_mappings: mount.all("gidmappings", mapping).unwrap_or_default(),
    }
}

/// Only the size, as the real tool: the other keys are warned of.
fn mapping(mapping: Fields<'_>) -> IdMapping {
    IdMapping { size: mapping.number("size").unwrap_or_default(), ..IdMapping::default() }
}

fn device(device: Fields<'_>) -> Device {
    Device {
        at: device.0.at.clone(),
        path: device.any_text("path"),
        kind: device.any_text("type"),
        major: device.number("major").unwrap_or_default(),
        minor: device.number("minor").unwrap_or_default(),
        mode: device.any_text("mode"),
    }
}

fn runtime(runtime: Fields<'_>) -> Runtime {
    let interface = |interface: Fields<'_>| Interface {
        name: interface.string("name"),
        add: interface.string("add"),
        peer: interface.string("peer"),
        create_in_root: interface.flag("createInRoot").unwrap_or_default(),
    };
    let namespaces = |bound: Fields<'_>| Namespaces {
        cgroup: bound.text("cgroup"),
        ipc: bound.text("ipc"),
        mnt: bound.text("mnt"),
        net: bound.text("net"),
        pid: bound.text("pid"),
        user: bound.text("user"),
        uts: bound.text("uts"),
    };
    Runtime {
        cgroups: runtime.texts("cgroups"),
        mounts: runtime.all("mounts", mount),
        mkdir: runtime.texts("mkdir"),
        interfaces: runtime.all("interfaces", interface),
        bind_ns: runtime.within("bindNS", namespaces).unwrap_or_default(),
        namespace: runtime.text("namespace"),
    }
}

fn resources(resources: Fields<'_>) -> Resources {
    let rule = |rule: Fields<'_>| DeviceRule {
        allow: rule.flag("allow").unwrap_or_default(),
        kind: rule.string("type"),
        major: rule.number("major"),
        minor: rule.number("minor"),
        access: rule.string("access"),
    };
    let memory = |memory: Fields<'_>| Memory {
        limit: memory.number("limit"),
        reservation: memory.number("reservation"),
        swap: memory.number("swap"),
        kernel: memory.number("kernel"),
        swappiness: memory.number("swappiness"),
    };
    let cpu = |cpu: Fields<'_>| Cpu {
        shares: cpu.number("shares"),
        quota: cpu.number("quota"),
        period: cpu.number("period"),
        cpus: cpu.string("cpus"),
        mems: cpu.string("mems"),
    };
    let priority =
        |priority: Fields<'_>| Priority { name: priority.string("name"), priority: priority.number("priority").unwrap_or_default() };
    Resources {
        devices: resources.all("devices", rule).unwrap_or_default(),
        memory: resources.within("memory", memory),
        cpu: resources.within("cpu", cpu),
        pids: resources.within("pids", |pids| Pids { limit: pids.number("limit").unwrap_or_default() }),
        block_io: resources.within("blockio", |block_io| BlockIo { weight: block_io.number("weight") }),
        network: resources.within("network", |network| Network { priorities: network.all("priorities", priority).unwrap_or_default() }),
    }
}
