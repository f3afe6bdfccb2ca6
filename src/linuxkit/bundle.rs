//! The OCI bundle of a container: its root file system, `config.json`, and `runtime.json`, which says what to mount before it starts.

use super::{
    config::{Config, Image, ImageConfig, Mount, Namespaces, Place, Runtime, Text},
    filesystem::{self, Resolver},
    flatten, go_json,
    metadata::{self, Form},
    spec::{self, Ids, Said},
    tagged::{Tag, Tagged},
};
use crate::error::{Error, Result};
use formats::{oci::Execution, tree::ShowPath};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Where the tree of an image is, by its reference: one is there once.
pub(super) type Roots = HashMap<String, String>;

/// What a container is made of.
pub(super) struct Container<'a> {
    pub(super) image: &'a Image,
    pub(super) label: &'a ImageConfig,
    pub(super) execution: &'a Execution,
    pub(super) layers: &'a [flatten::Tar],
    /// Where its bundle is.
    pub(super) path: String,
    pub(super) tag: Tag,
}

impl Container<'_> {
    /// Puts the bundle into the tar.
    ///
    /// Gives what shows although an opaque whiteout hides it by OCI's rules.
    ///
    /// # Errors
    /// When the configuration is not what it must be, or a layer is damaged.
    pub(super) fn put(&self, to: &mut Tagged, config: &Config, ids: &Ids, roots: &mut Roots) -> Result<Option<String>> {
        let yml = with_volumes(&self.image.config, config)?;
        let said = Said { yml: &yml, label: self.label, image: self.execution };
        let (config, runtime) = (go_json::to_string(&said.spec(ids)?), runtime(self.label.runtime.as_ref(), yml.runtime.as_ref()));
        let (path, tag) = (&self.path, &self.tag);
        let is_readonly = said.is_readonly();
        let own_root = format!("{path}/{}", if is_readonly { "rootfs" } else { "lower" });
        let mut shown = None;
        let root = match roots.get(&tag.source) {
            Some(root) => {
                to.directories(tag, path)?;
                root.clone()
            }
            None => {
                shown = filesystem::put(to, self.layers, tag, &own_root, Resolver::File)?;
                roots.insert(tag.source.clone(), own_root.clone());
                own_root.clone()
            }
        };
        to.file(tag, &format!("{path}/config.json"), config)?;
        let rootfs = format!("{path}/rootfs");
        let mut mounts = if is_readonly {
            if root != own_root {
                to.directory(tag, &rootfs)?;
            }
            vec![spec::mount(&format!("/{rootfs}"), "", &format!("/{root}"), &["bind"])]
        } else {
            let tmp = format!("{path}/tmp");
            to.directory(tag, &tmp)?;
            to.directory(tag, &rootfs)?;
            let layers = [format!("lowerdir=/{root}"), format!("upperdir=/{tmp}/upper"), format!("workdir=/{tmp}/work")];
            vec![
                spec::mount(&format!("/{tmp}"), "tmpfs", "tmpfs", &[]),
                // Nothing else should see the layers.
                spec::mount(&format!("/{tmp}"), "", "", &["remount", "private"]),
                spec::mount(&format!("/{rootfs}"), "overlay", "overlay", &layers.each_ref().map(String::as_str)),
            ]
        };
        mounts.extend(runtime.mounts.iter().map(given));
        to.file(tag, &format!("{path}/runtime.json"), go_json::to_string(&runtime.json(mounts)))?;
        Ok(shown)
    }
}

fn given(mount: &Mount) -> Value {
    metadata::mount(mount, Form::Json)
}

/// What `runtime.json` says, of label and yml field by field.
struct Merged<'a> {
    cgroups: &'a [Text],
    mounts: &'a [Mount],
    mkdir: &'a [Text],
    interfaces: Vec<Value>,
    bind_ns: Map<String, Value>,
    namespace: &'a str,
}

/// A field of namespaces.
type Field = fn(&Namespaces) -> &Option<Text>;

fn runtime<'a>(label: Option<&'a Runtime>, yml: Option<&'a Runtime>) -> Merged<'a> {
    fn of<'a, T>(from: [Option<&'a Runtime>; 2], field: impl Fn(&'a Runtime) -> &'a Option<T>) -> Option<&'a T> {
        from.into_iter().flatten().find_map(|runtime| field(runtime).as_ref())
    }
    let from = [yml, label];
    let interfaces = of(from, |runtime| &runtime.interfaces).into_iter().flatten();
    let namespaces: [(&str, Field); 7] = [
        ("cgroup", |ns| &ns.cgroup),
        ("ipc", |ns| &ns.ipc),
        ("mnt", |ns| &ns.mnt),
        ("net", |ns| &ns.net),
        ("pid", |ns| &ns.pid),
        ("user", |ns| &ns.user),
        ("uts", |ns| &ns.uts),
    ];
    let bind_ns = namespaces.map(|(name, field)| {
        let path = from.into_iter().flatten().find_map(|runtime| field(&runtime.bind_ns).as_ref());
        (name.to_owned(), path.map_or("", |path| path.value.as_str()).into())
    });
    Merged {
        cgroups: of(from, |runtime| &runtime.cgroups).map_or(&[], Vec::as_slice),
        mounts: of(from, |runtime| &runtime.mounts).map_or(&[], Vec::as_slice),
        mkdir: of(from, |runtime| &runtime.mkdir).map_or(&[], Vec::as_slice),
        interfaces: interfaces.map(|interface| metadata::interface(interface, Form::Json)).collect(),
        bind_ns: bind_ns.into_iter().collect(),
        namespace: of(from, |runtime| &runtime.namespace).map_or("", |text| text.value.as_str()),
    }
}

impl Merged<'_> {
    fn json(&self, mounts: Vec<Value>) -> Value {
        let plain = |texts: &[Text]| texts.iter().map(|text| text.value.clone()).collect::<Vec<_>>();
        json!({
            "cgroups": plain(self.cgroups),
            "mounts": mounts,
            "mkdir": plain(self.mkdir),
            "interfaces": self.interfaces,
            "bindNS": self.bind_ns,
            "namespace": self.namespace,
        })
    }
}

/// The configuration with the paths of volumes in the place of their names.
fn with_volumes(container: &ImageConfig, config: &Config) -> Result<ImageConfig> {
    let mut container = container.clone();
    for binds in [&mut container.binds, &mut container.binds_add].into_iter().flatten() {
        for bind in binds {
            let parts: Vec<_> = bind.split(':').collect();
            let is_readonly = parts.get(2) == Some(&"ro");
            if let Some(path) = volume(parts[0], is_readonly, config, &bind.at)? {
                bind.value = [&[path.as_str()], &parts[1..]].concat().join(":");
            }
        }
    }
    for mount in container.mounts.iter_mut().flatten().filter(|mount| mount.kind.value == "bind") {
        let said = mount.options.iter().rev().find(|option| option.value == "ro" || option.value == "rw");
        let is_readonly = said.is_some_and(|option| option.value == "ro") && mount.options.iter().all(|option| option.value != "rw");
        if let Some(path) = volume(&mount.source, is_readonly, config, &mount.at)? {
            // LinuxKit checks the name and then leaves it there.
            mount.source.value = path;
        }
    }
    Ok(container)
}

/// The path of the volume that a source names, if it is no path itself.
fn volume(source: &str, is_readonly: bool, config: &Config, at: &Place) -> Result<Option<String>> {
    if source.starts_with('/') {
        return Ok(None);
    }
    let shown = ShowPath(source.as_bytes());
    let unknown =
        || Error::bad_input(format!("there is no volume '{shown}'")).hint("name it under volumes:, or write a path from /").at(at);
    let volume = config.volume(source).ok_or_else(unknown)?;
    if volume.readonly && !is_readonly {
        return Err(Error::bad_input(format!("volume '{shown}' is read-only, it is bound to be written to")).hint("add :ro").at(at));
    }
    Ok(Some(format!("/containers/volumes/{source}/merged")))
}
