//! The root file system as an image that the kernel mounts, instead of an initrd that it unpacks: a file of its own
//! (`kernel+squashfs`), or a partition of a disk (`--root squashfs`), where it can be verified (`--verity`).

use crate::{
    error::{At, Error, Result},
    image::{Cmdline, init::RootDevice},
    layout::{self, Part},
    losses,
    names::Named,
};
use formats::{
    Blob, Env, Ids, OptionSpec, Options, Tree,
    compress::Codec,
    erofs, gpt,
    kernel::{Arch, Facts},
    squashfs, units,
    verity::{OnDamage, Verity},
};

/// Names of the partitions.
const ROOT_NAME: &str = "root";
const VERITY_NAME: &str = "root verity";

/// A file system that a root can be written as.
#[derive(Debug)]
pub struct RootFs {
    /// What Linux calls it.
    pub name: &'static str,
    /// What `--opt` can say of it.
    pub options: &'static [OptionSpec],
    /// Whether it has identifiers, so that a seed matters.
    pub(crate) has_identifiers: bool,
    /// Refuses options that contradict each other.
    check: fn(&Options) -> Result<()>,
    /// Writes a tree so that a kernel reads it, as far as it says what it reads.
    write: fn(&Tree, &Options, &Result<Facts>, &Ids, &mut Env) -> Result<Blob>,
    /// What may keep a kernel from mounting it as its root.
    doubts: fn(&Options, &Result<Facts>) -> Result<Vec<String>>,
    /// Whether a kernel has it built in, as far as it says.
    pub(crate) is_built_in: fn(&Result<Facts>) -> bool,
    /// What it cannot hold of a tree.
    losses: fn(&Tree) -> Vec<String>,
}

/// Every file system that a root can be written as.
pub(crate) static ROOT_FILE_SYSTEMS: &[&RootFs] = &[&SQUASHFS, &EROFS];

/// squashfs.
pub(crate) static SQUASHFS: RootFs = RootFs {
    name: "squashfs",
    options: &squashfs::OPTIONS,
    has_identifiers: false,
    check: check_squashfs,
    write: write_squashfs,
    doubts: squashfs_doubts,
    is_built_in: |facts| !squashfs_codecs(facts).is_empty(),
    losses: |tree| losses::warnings("squashfs", "1970 to 2106", &squashfs::losses(tree)),
};

/// EROFS.
pub(crate) static EROFS: RootFs = RootFs {
    name: "erofs",
    options: &erofs::OPTIONS,
    has_identifiers: true,
    check: erofs::check_options,
    write: |tree, options, _, ids, env| erofs::write(tree, options, ids, env),
    doubts: |options, facts| Ok(erofs_doubts(options, facts)),
    is_built_in: |facts| facts.as_ref().is_ok_and(|facts| facts.config.is_some()) && missing(facts, &["CONFIG_EROFS_FS"], "").is_none(),
    losses: |tree| losses::warnings("EROFS", "any year", &erofs::losses(tree)),
};

/// A root file system, written.
#[derive(Clone, Debug)]
pub struct RootImage {
    /// The image: whole blocks of 4 KiB.
    pub image: Blob,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Where the root file system of a disk is.
#[derive(Clone, Copy, Debug, Default)]
pub enum Root {
    /// In an initrd; of a container image that would take much memory there, in a partition.
    #[default]
    Auto,
    /// In an initrd.
    Initrd,
    /// In a partition.
    Partition(&'static RootFs),
}

impl Named for Root {
    const WHAT: &'static str = "root";

    fn all() -> Vec<Self> {
        [Self::Auto, Self::Initrd].into_iter().chain(ROOT_FILE_SYSTEMS.iter().map(|root| Self::Partition(root))).collect()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Initrd => "initrd",
            Self::Partition(root) => root.name,
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::Auto => "the initrd, but a partition for container images above 64 MiB",
            Self::Initrd => "unpacked into memory",
            Self::Partition(_) => "a partition that the kernel mounts by itself",
        }
    }
}

impl Root {
    /// What `--opt` can say of it.
    pub fn option_specs(self) -> &'static [OptionSpec] {
        match self {
            Self::Auto | Self::Initrd => &[],
            Self::Partition(root) => root.options,
        }
    }
}

impl RootFs {
    /// Refuses options that contradict each other, before any work.
    ///
    /// # Errors
    /// Says which do.
    pub fn check(&self, options: &Options) -> Result<()> {
        (self.check)(options).at(|| self.name)
    }

    /// Writes a root file system for a kernel that says this of itself.
    ///
    /// # Errors
    /// Names the file that the file system cannot hold; when reading or spooling fails.
    pub fn make(&self, tree: &Tree, options: &Options, facts: &Result<Facts>, ids: &Ids, env: &mut Env) -> Result<RootImage> {
        let mut warnings = (self.doubts)(options, facts).at(|| self.name)?;
        let RootImage { image, warnings: losses } = self.write(tree, options, facts, ids, env)?;
        warnings.extend(losses);
        Ok(RootImage { image, warnings })
    }

    /// The same for what is no root: a kernel that has no driver for it at first may load one.
    ///
    /// # Errors
    /// As [`RootFs::make`].
    pub fn write(&self, tree: &Tree, options: &Options, facts: &Result<Facts>, ids: &Ids, env: &mut Env) -> Result<RootImage> {
        let image = (self.write)(tree, options, facts, ids, env).at(|| self.name)?;
        Ok(RootImage { image, warnings: (self.losses)(tree) })
    }
}

fn check_squashfs(options: &Options) -> Result<()> {
    squashfs::Settings::new(options, &[]).map(|_| ())
}

/// The codecs of squashfs that a kernel has, as far as it says.
fn squashfs_codecs(facts: &Result<Facts>) -> &[Codec] {
    facts.as_ref().map_or(&[], |facts| &facts.squashfs_codecs)
}

fn write_squashfs(tree: &Tree, options: &Options, facts: &Result<Facts>, _: &Ids, env: &mut Env) -> Result<Blob> {
    squashfs::write(tree, &squashfs::Settings::new(options, squashfs_codecs(facts))?, env)
}

fn squashfs_doubts(options: &Options, facts: &Result<Facts>) -> Result<Vec<String>> {
    let known = squashfs_codecs(facts);
    let codec = squashfs::Settings::new(options, known)?.codec();
    let has = || known.iter().map(|codec| codec.name()).collect::<Vec<_>>().join(", ");
    Ok(match facts {
        Err(error) => vec![format!("whether the kernel has squashfs is unknown, as it cannot be asked: {error}")],
        Ok(_) if known.is_empty() => {
            vec!["the kernel does not say that squashfs is built in: it would need an initrd to mount this root".into()]
        }
        Ok(_) if codec != Codec::None && !known.contains(&codec) => {
            vec![format!("the kernel cannot read squashfs compressed with {codec}: it has {}", has())]
        }
        Ok(_) => Vec::new(),
    })
}

fn erofs_doubts(options: &Options, facts: &Result<Facts>) -> Vec<String> {
    let mut doubts = Vec::from_iter(missing(facts, &["CONFIG_EROFS_FS"], "mount this root"));
    if options.word("erofs_compression") == "zstd" {
        doubts.extend(facts.as_ref().ok().and_then(erofs_zstd_warning));
    }
    doubts
}

/// Linux reads zstd in EROFS from this version on, where it is built with it.
const EROFS_ZSTD_SINCE: (u32, u32) = (6, 10);

/// What a kernel lacks to read EROFS compressed by zstd, as far as it says. No initrd helps there.
fn erofs_zstd_warning(facts: &Facts) -> Option<String> {
    let lacks = match &facts.config {
        Some(config) => config.get("CONFIG_EROFS_FS_ZIP_ZSTD") != Some("y"),
        None => facts.version()? < EROFS_ZSTD_SINCE,
    };
    let (major, minor) = EROFS_ZSTD_SINCE;
    let what =
        format!("the kernel cannot read EROFS compressed by zstd: that is Linux from {major}.{minor} on with CONFIG_EROFS_FS_ZIP_ZSTD");
    lacks.then_some(what)
}

/// What a kernel with a configuration inside lacks to verify its root by the command line alone.
pub(crate) fn verity_warning(facts: &Result<Facts>) -> Option<String> {
    missing(facts, &["CONFIG_BLK_DEV_DM", "CONFIG_DM_INIT", "CONFIG_DM_VERITY"], "verify its root")
}

/// Says which of these options a kernel with a configuration inside has not built in.
fn missing(facts: &Result<Facts>, needed: &[&str], purpose: &str) -> Option<String> {
    let config = facts.as_ref().ok()?.config.as_ref()?;
    let missing: Vec<_> = needed.iter().copied().filter(|option| config.get(option) != Some("y")).collect();
    let what = format!("the kernel has no {} built in: it would need an initrd to {purpose}", missing.join(", "));
    (!missing.is_empty()).then_some(what)
}

/// A root in partitions.
pub(crate) struct Placed {
    /// The partitions.
    pub(crate) parts: Vec<Part>,
    /// What finds it there.
    pub(crate) device: RootDevice,
    /// What the command line needs to say of it where no process 1 of ours does.
    pub(crate) arguments: String,
}

/// A root in partitions, for the kernel's architecture.
///
/// # Errors
/// When the image cannot be read, or the command line has a root of its own beside `--verity`.
pub(crate) fn partitions(
    root: &RootFs,
    image: &Blob,
    verified: Option<OnDamage>,
    arch: Arch,
    cmdline: &Cmdline,
    ids: &Ids,
    env: &mut Env,
) -> Result<Placed> {
    let (root_type, verity_type) = match arch {
        Arch::Aarch64 => (gpt::LINUX_ROOT_ARM64, gpt::LINUX_ROOT_ARM64_VERITY),
        _ => (gpt::LINUX_ROOT_X86_64, gpt::LINUX_ROOT_X86_64_VERITY),
    };
    let mut parts = vec![Part::around(ROOT_NAME, root_type, image.clone())];
    let has_root = cmdline.has_root();
    let mount = format!("rootfstype={} ro rootwait", root.name);
    let data = part_uuid(ids, ROOT_NAME);
    let Some(on_damage) = verified else {
        let arguments = if has_root { String::new() } else { format!("root={data} {mount}") };
        return Ok(Placed { parts, device: RootDevice { name: data, verity: None }, arguments });
    };
    if has_root {
        return Err(Error::bad_input("the command line has a root= of its own, which would not be verified")
            .hint("take it out, or leave --verity out"));
    }
    let verity = Verity { salt: *ids.guid("verity salt").as_bytes(), uuid: ids.guid("verity") };
    let hashed = verity.hash(image, env)?;
    let hashes = part_uuid(ids, VERITY_NAME);
    let table = hashed.table(&data, &hashes, on_damage);
    let sectors = image.len() / units::SECTOR;
    parts.push(Part::around(VERITY_NAME, verity_type, hashed.image));
    // The kernel makes the device before it mounts the root (Documentation/admin-guide/device-mapper/dm-init.rst).
    let create = format!("dm-mod.create=\"root,,0,ro,0 {sectors} {table}\" dm-mod.waitfor={data},{hashes}");
    let arguments = format!("{create} root=/dev/dm-0 {mount}");
    Ok(Placed { parts, device: RootDevice { name: data, verity: Some(format!("0 {sectors} {table}")) }, arguments })
}

fn part_uuid(ids: &Ids, name: &str) -> String {
    format!("PARTUUID={}", layout::partition_guid(ids, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_without_zstd_in_erofs_are_told_of() {
        let configured = |config: &str| Facts { config: Some(config.to_owned().into()), ..Facts::default() };
        let banner = |version: &str| Facts { banner: Some(format!("Linux version {version} (us) #1")), ..Facts::default() };
        let is_told = |facts: Facts| erofs_zstd_warning(&facts).is_some();
        assert!(is_told(configured("CONFIG_EROFS_FS=y\n# CONFIG_EROFS_FS_ZIP_ZSTD is not set\n")));
        assert!(!is_told(configured("CONFIG_EROFS_FS=m\nCONFIG_EROFS_FS_ZIP_ZSTD=y\n")));
        assert!(is_told(banner("6.9.12-cloud")) && is_told(banner("5.15.0")));
        assert!(!is_told(banner("6.10.0-rc1")) && !is_told(banner("7.0.0")) && !is_told(Facts::default()));
    }
}
