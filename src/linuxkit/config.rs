//! `Config`: what one or several ymls say, checked and merged.
//!
//! An `Option` tells what was left out from what was given: an empty list, `false` and, where the real tool looks for it, an empty
//! text are given. Where an empty text means the same as none, it is `None`.

mod image;

pub(crate) use super::place::{Place, Placed, Text};
pub(crate) use image::{
    BlockIo, Cpu, Device, DeviceRule, Id, IdMapping, Image, ImageConfig, Interface, Memory, Mount, Namespaces, Network, Pids, Priority,
    Resources, Runtime,
};

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

/// The name of an image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reference {
    /// As it was written.
    pub written: Text,
    /// With its registry: `docker.io/library/redis`. A tag is not added.
    pub expanded: String,
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
