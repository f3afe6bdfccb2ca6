//! `config.json`: the OCI runtime specification of a container, out of the yml, the label of its image and its config.

mod capabilities;
mod limits;
mod mounts;

pub(super) use mounts::mount;

use super::{
    config::{Device, Id, IdMapping, ImageConfig, Placed, Resources, Text},
    metadata::{self, Form},
};
use crate::error::{Error, Result};
use formats::{oci::Execution, tree::ShowPath};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The version of the specification that LinuxKit names.
const VERSION: &str = "1.2.1";
/// Bits that a device's mode may have; LinuxKit reads 32-bit numbers.
const MODE_MAX: i64 = i32::MAX as i64;

/// The numbers of containers, by name.
pub(super) type Ids = BTreeMap<String, u32>;

/// What is said of a container, from what counts most to what counts least.
pub(super) struct Said<'a> {
    pub(super) yml: &'a ImageConfig,
    pub(super) label: &'a ImageConfig,
    pub(super) image: &'a Execution,
}

impl Said<'_> {
    /// What the yml says, else the label.
    fn of<'a, T>(&'a self, field: impl Fn(&'a ImageConfig) -> &'a Option<T>) -> Option<&'a T> {
        field(self.yml).as_ref().or(field(self.label).as_ref())
    }

    fn texts<'a>(&'a self, field: impl Fn(&'a ImageConfig) -> &'a Option<Vec<Text>>) -> &'a [Text] {
        self.of(field).map_or(&[], Vec::as_slice)
    }

    fn text<'a>(&'a self, field: impl Fn(&'a ImageConfig) -> &'a Option<Text>) -> &'a str {
        self.of(field).map_or("", |text| text.value.as_str())
    }

    /// A list that the yml gives, else the label's with what the yml adds.
    fn added<'a>(&'a self, whole: impl Fn(&'a ImageConfig) -> &'a Option<Vec<Text>>, more: &'a Option<Vec<Text>>) -> Vec<Text> {
        if let Some(list) = whole(self.yml) {
            return list.clone();
        }
        let label = whole(self.label).as_ref();
        label.into_iter().chain(more.as_ref()).flatten().cloned().collect()
    }

    /// Whether the container may not write to its root.
    pub(super) fn is_readonly(&self) -> bool {
        self.of(|config| &config.readonly).copied().unwrap_or(false)
    }

    /// The specification.
    ///
    /// # Errors
    /// When something is not what it must be; the error says where it was written.
    pub(super) fn spec(&self, ids: &Ids) -> Result<Value> {
        let mut spec = json!({"ociVersion": VERSION, "process": self.process(ids)?, "root": {"path": "rootfs"}});
        if self.is_readonly() {
            spec["root"]["readonly"] = true.into();
        }
        let Value::Object(fields) = &mut spec else { return Ok(spec) };
        put(fields, "hostname", self.text(|config| &config.hostname).into());
        put(fields, "mounts", mounts::all(self)?);
        put(fields, "annotations", strings(self.of(|config| &config.annotations)));
        fields.insert("linux".into(), self.linux()?);
        Ok(spec)
    }

    fn process(&self, ids: &Ids) -> Result<Value> {
        let id = |id: Option<&Placed<Id>>| id.map_or(Ok(0), |id| number(id, ids));
        let mut user = Map::new();
        user.insert("uid".into(), id(self.of(|config| &config.uid))?.into());
        user.insert("gid".into(), id(self.of(|config| &config.gid))?.into());
        let groups = self.of(|config| &config.additional_gids).into_iter().flatten();
        put(&mut user, "additionalGids", groups.map(|group| Ok(number(group, ids)?.into())).collect::<Result<Vec<Value>>>()?.into());
        let mut process = Map::new();
        process.insert("user".into(), user.into());
        let args = self.of(|config| &config.command).map_or_else(|| self.image.args(), |command| plain(command));
        put(&mut process, "args", args.into());
        let env = self.of(|config| &config.env).map_or_else(|| self.image.env.clone(), |env| plain(env));
        put(&mut process, "env", env.into());
        let cwd = [self.text(|config| &config.cwd), &self.image.working_dir].into_iter().find(|cwd| !cwd.is_empty()).unwrap_or("/");
        process.insert("cwd".into(), cwd.into());
        process.insert("capabilities".into(), capabilities::all(self)?);
        put(&mut process, "rlimits", limits::all(self.texts(|config| &config.rlimits))?);
        put(&mut process, "noNewPrivileges", self.of(|config| &config.no_new_privileges).copied().unwrap_or(false).into());
        if let Some(score) = self.of(|config| &config.oom_score_adj) {
            process.insert("oomScoreAdj".into(), (*score).into());
        }
        Ok(process.into())
    }

    fn linux(&self) -> Result<Value> {
        let (devices, rules) = self.devices()?;
        let mut linux = Map::new();
        put(&mut linux, "uidMappings", mappings(self.of(|config| &config.uid_mappings)));
        put(&mut linux, "gidMappings", mappings(self.of(|config| &config.gid_mappings)));
        put(&mut linux, "sysctl", strings(self.of(|config| &config.sysctl)));
        linux.insert("resources".into(), resources(self.of(|config| &config.resources), rules));
        put(&mut linux, "cgroupsPath", self.text(|config| &config.cgroups_path).into());
        linux.insert("namespaces".into(), self.namespaces());
        put(&mut linux, "devices", devices.into());
        put(&mut linux, "rootfsPropagation", self.text(|config| &config.rootfs_propagation).into());
        put(&mut linux, "maskedPaths", plain(self.texts(|config| &config.masked_paths)).into());
        put(&mut linux, "readonlyPaths", plain(self.texts(|config| &config.readonly_paths)).into());
        Ok(linux.into())
    }

    /// New ones, or those at a path; the host's own are not named.
    fn namespaces(&self) -> Value {
        let wanted = [
            ("network", self.text(|config| &config.net), "root"),
            ("ipc", self.text(|config| &config.ipc), "root"),
            ("uts", self.text(|config| &config.uts), "root"),
            ("pid", self.text(|config| &config.pid), "new"),
            ("user", self.text(|config| &config.userns), "root"),
            ("mount", "new", "new"),
        ];
        let namespace = |(kind, wish, default): (&str, &str, &str)| {
            let wish = if wish.is_empty() { default.to_owned() } else { wish.to_owned() };
            match wish.as_str() {
                "host" | "root" => None,
                "new" => Some(json!({"type": kind})),
                "none" if kind == "network" => Some(json!({"type": kind})),
                path => Some(json!({"type": kind, "path": path})),
            }
        };
        wanted.into_iter().filter_map(namespace).collect()
    }

    /// Devices, and what their control group allows.
    fn devices(&self) -> Result<(Vec<Value>, Vec<Value>)> {
        let (mut devices, mut rules) = (Vec::new(), Vec::new());
        for device in self.of(|config| &config.devices).into_iter().flatten() {
            let Device { path, kind, major, minor, mode, at } = device;
            let mut rule = Map::new();
            rule.insert("allow".into(), true.into());
            put(&mut rule, "type", kind.as_str().into());
            if path.value != "all" {
                let mode = octal(mode).filter(|mode| (-MODE_MAX - 1..=MODE_MAX).contains(mode));
                let refuse =
                    || Error::bad_input(format!("mode of a device is '{}', must be octal", ShowPath(device.mode.as_bytes()))).at(at);
                let mode = mode.ok_or_else(refuse)?;
                // Go keeps the bits of a negative number.
                let bits = mode.cast_unsigned() & 0xffff_ffff;
                devices.push(json!({"path": path.value, "type": kind.value, "major": major, "minor": minor, "fileMode": bits}));
                rule.insert("major".into(), (*major).into());
                rule.insert("minor".into(), (*minor).into());
            }
            rule.insert("access".into(), "rwm".into());
            rules.push(rule.into());
        }
        Ok((devices, rules))
    }
}

/// A number in octal as Go's `strconv.ParseInt` reads it.
pub(super) fn octal(text: &str) -> Option<i64> {
    i64::from_str_radix(text, 8).ok()
}

/// The number of a user or a group: a name is a container's.
pub(super) fn number(id: &Placed<Id>, ids: &Ids) -> Result<u32> {
    match &id.value {
        // Go keeps the lower bits.
        Id::Number(number) => Ok((number.cast_unsigned() & u64::from(u32::MAX)).try_into().unwrap_or_default()),
        Id::Name(name) if name.is_empty() || name == "root" => Ok(0),
        Id::Name(name) => ids.get(name).copied().ok_or_else(|| {
            let what = format!("'{}' is no container of this configuration", ShowPath(name.as_bytes()));
            Error::bad_input(what).hint("users and groups are numbers without quotes, or names of containers").at(&id.at)
        }),
    }
}

/// Adds a field, unless it is what Go leaves out.
fn put(fields: &mut Map<String, Value>, name: &str, value: Value) {
    let is_empty = match &value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    if !is_empty {
        fields.insert(name.into(), value);
    }
}

fn plain(texts: &[Text]) -> Vec<String> {
    texts.iter().map(|text| text.value.clone()).collect()
}

fn strings(map: Option<&BTreeMap<String, String>>) -> Value {
    map.into_iter().flatten().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect::<Map<_, _>>().into()
}

fn mappings(list: Option<&Vec<IdMapping>>) -> Value {
    list.into_iter().flatten().map(|mapping| metadata::mapping(mapping, Form::Json)).collect()
}

fn resources(resources: Option<&Resources>, rules: Vec<Value>) -> Value {
    let mut value = metadata::resources(resources.unwrap_or(&Resources::default()), Form::Json);
    if rules.is_empty() {
        return value;
    }
    let mut all = value.get("devices").and_then(Value::as_array).cloned().unwrap_or_default();
    all.extend(rules);
    // Devices come first, also where there were none.
    if let Value::Object(fields) = &mut value {
        let mut ordered = Map::from_iter([("devices".to_owned(), Value::from(all))]);
        ordered.extend(std::mem::take(fields).into_iter().filter(|(name, _)| name != "devices"));
        *fields = ordered;
    }
    value
}
