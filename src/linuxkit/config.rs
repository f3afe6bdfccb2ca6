//! `Config`: what one or several ymls say, checked and merged.
//!
//! An `Option` tells what was left out from what was given: an empty list, `false` and, where the real tool looks for it, an empty
//! text are given. Where an empty text means the same as none, it is `None`.

mod decode;
mod image;

use super::schema::{self, Report};
use super::yaml::{self, Node, Value};
use crate::error::Result;
use std::collections::HashMap;

pub(crate) use super::place::{Place, Placed, Text};
pub(crate) use super::reference::Reference;
pub(crate) use image::{
    BlockIo, Cpu, Device, DeviceRule, Id, IdMapping, Image, ImageConfig, Interface, Memory, Mount, Namespaces, Network, Pids, Priority,
    Resources, Runtime,
};

/// Finds the image of a package by its directory: `@pkg:DIR`.
pub(crate) type Packages<'a> = &'a dyn Fn(&str) -> Result<String>;

/// A configuration: of one file, or of several merged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    /// The kernel.
    pub kernel: Kernel,
    /// The images that make up the root file system.
    pub init: Vec<Reference>,
    /// What runs once, in order, before the services.
    pub onboot: Vec<Image>,
    /// What runs once, in order, at shutdown.
    pub onshutdown: Vec<Image>,
    /// What runs all the time. Their names are unique.
    pub services: Vec<Image>,
    /// Single files.
    pub files: Vec<File>,
    /// Volumes, of all the files. Their names are unique.
    pub volumes: Vec<Volume>,
    /// Whose signatures are asked for.
    pub trust: Trust,
    /// What the user should know: keys without effect, texts that the real tool would lose.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads a yml. `file` is what messages call it; without `packages` no text is taken for a template.
    ///
    /// # Errors
    /// What is no YAML; and all that is no configuration, each with its place.
    pub(crate) fn parse(file: &str, text: &[u8], packages: Option<Packages<'_>>) -> Result<Self> {
        let mut tree = yaml::parse(file, text)?;
        // The real tool takes nothing at all for an empty configuration.
        if tree.value == Value::Null {
            tree.value = Value::Map(Vec::new());
        }
        let mut report = schema::check(&tree, &schema::TOP);
        if let Some(packages) = packages {
            resolve(&mut tree, packages, &mut report);
        }
        let config = decode::config(&tree, &mut report);
        config.check_names(&mut report);
        Ok(Self { warnings: report.finish()?, ..config })
    }

    /// Adds a later file to it.
    ///
    /// # Errors
    /// Two services of one name.
    pub(crate) fn merge(mut self, later: Self) -> Result<Self> {
        let Kernel { image, cmdline, binary, tar, ucode } = self.kernel;
        self.kernel = Kernel {
            image: later.kernel.image.or(image),
            cmdline: later.kernel.cmdline.or(cmdline),
            binary: later.kernel.binary.or(binary),
            tar: later.kernel.tar.or(tar),
            ucode: later.kernel.ucode.or(ucode),
        };
        self.init.extend(later.init);
        self.onboot.extend(later.onboot);
        self.onshutdown.extend(later.onshutdown);
        self.services.extend(later.services);
        self.files.extend(later.files);
        self.volumes.extend(later.volumes);
        self.trust.org.extend(later.trust.org);
        self.trust.image.extend(later.trust.image);
        self.trust.cosign.extend(later.trust.cosign);
        self.warnings.extend(later.warnings);
        let mut report = Report::default();
        unique("service", self.services.iter().map(|image| &image.name), &mut report);
        report.finish()?;
        Ok(self)
    }

    /// The volume of a name; of two files that have it, the later one's.
    pub(super) fn volume(&self, name: &str) -> Option<&Volume> {
        self.volumes.iter().rev().find(|volume| volume.name.value == name)
    }

    fn check_names(&self, report: &mut Report) {
        for image in self.onboot.iter().chain(&self.onshutdown).chain(&self.services) {
            let name = &image.name;
            if matches!(name.as_str(), "" | "." | "..") || name.contains(['/', '\0']) {
                report.fault(&name.at, format!("the name '{}' must be one part of a path", name.escape_debug()));
            }
        }
        for Volume { name, .. } in &self.volumes {
            if name.contains(|c: char| !matches!(c, 'a'..='z' | '0'..='9' | '_' | '-')) {
                report.fault(&name.at, format!("the name '{}' of a volume must be of a-z, 0-9, _ and -", name.escape_debug()));
            }
        }
        unique("service", self.services.iter().map(|image| &image.name), report);
        unique("volume", self.volumes.iter().map(|volume| &volume.name), report);
    }
}

impl ImageConfig {
    /// Reads a label of an image, JSON or YAML, and what to warn of. `what` is what messages call it.
    ///
    /// # Errors
    /// As [`Config::parse`]; a label may have neither `name` nor `image`.
    pub(crate) fn parse(what: &str, text: &str) -> Result<(Self, Vec<String>)> {
        let tree = yaml::parse(what, text.as_bytes())?;
        let warnings = schema::check(&tree, &schema::CONTAINER).finish()?;
        Ok((decode::container(&tree), warnings))
    }
}

/// Puts in the images of packages. Where the real tool would make a text empty, it is kept.
fn resolve(node: &mut Node, packages: Packages<'_>, report: &mut Report) {
    match &mut node.value {
        Value::List(nodes) => nodes.iter_mut().for_each(|node| resolve(node, packages, report)),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, node)| resolve(node, packages, report)),
        Value::Text(text) => match text.strip_prefix("@pkg:").map(packages) {
            Some(Ok(image)) => *text = image,
            Some(Err(error)) => report.warn(&node.at, format!("'{}' is kept as it is: {error}", text.escape_debug())),
            None if text.starts_with('@') => report.warn(&node.at, "a text that begins with '@' is kept, where LinuxKit makes it empty"),
            None => {}
        },
        _ => {}
    }
}

/// Finds names that are there twice.
fn unique<'a>(what: &str, names: impl Iterator<Item = &'a Text>, report: &mut Report) {
    let mut seen = HashMap::new();
    for name in names {
        if let Some(first) = seen.insert(name.as_str(), &name.at) {
            report.fault(&name.at, format!("the {what} '{}' is there already, at {first}", name.escape_debug()));
        }
    }
}

/// The kernel. A later file replaces what it has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kernel {
    /// Where it is; without one there is no kernel.
    pub image: Option<Reference>,
    /// Its command line.
    pub cmdline: Option<Text>,
    /// The file in the image, else `kernel`.
    pub binary: Option<Text>,
    /// The tar of modules in the image, else `kernel.tar`; `none` or empty for no such tar.
    pub tar: Option<Text>,
    /// The microcode in the image, else none.
    pub ucode: Option<Text>,
}

/// A file, directory or symbolic link.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Where the entry begins.
    pub at: Place,
    /// Its path in the image; empty where none was given, which is an error when it is made.
    pub path: Text,
    /// A directory.
    pub directory: bool,
    /// The target of a symbolic link.
    pub symlink: Option<Text>,
    /// What is in it; may be empty.
    pub contents: Option<Text>,
    /// The file that it is a copy of.
    pub source: Option<Text>,
    /// Which text about the configuration it holds: `yaml` or `json`.
    pub metadata: Option<Text>,
    /// It may be absent.
    pub optional: bool,
    /// Its mode, octal.
    pub mode: Option<Text>,
    /// Its owner.
    pub uid: Option<Placed<Id>>,
    /// Its group.
    pub gid: Option<Placed<Id>>,
}

/// A volume.
#[derive(Clone, Debug)]
pub(crate) struct Volume {
    /// Where the entry begins.
    pub at: Place,
    /// Its name, of `a-z0-9_-`; may be empty.
    pub name: Text,
    /// What is in it at first.
    pub image: Option<Reference>,
    /// It may not be written to.
    pub readonly: bool,
    /// `oci` or `filesystem`.
    pub format: Option<Text>,
    /// Which platforms of the image, for `oci`; none for all.
    pub platforms: Vec<Text>,
}

/// Whose signatures are asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    /// Organisations, as Docker's content trust has them: without effect.
    pub org: Vec<Text>,
    /// Images, as Docker's content trust has them: without effect.
    pub image: Vec<Text>,
    /// Keys of cosign, one of each file that has one.
    pub cosign: Vec<Cosign>,
}

/// A key, and the images that must be signed with it.
#[derive(Clone, Debug)]
pub(crate) struct Cosign {
    /// The file of the public key.
    pub key: Text,
    /// The images, as they are written elsewhere in the yml.
    pub image: Vec<Text>,
}

#[cfg(test)]
mod tests;
