//! `Request`: what a user asks for, and who heeds it. What nobody heeds is refused, never ignored.

use crate::{
    error::{At, Error, Result},
    filled::Filled,
    image::Overrides,
    layout::{Firmware, Part, SectorSize, Size},
    names::Named,
    platforms::Platform,
    process::{Starter, Wishes},
    secure_boot::SecureBoot,
};
pub use crate::{payload::InitrdCompression, root::Root};
use formats::{
    Limits, OptionSpec, Options, Plan,
    compress::{Codec, Encoding},
    fat::File,
};

/// What the user asks for, apart from the input and the outputs.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Which firmware the disk is for, where the output leaves it open.
    pub firmware: Firmware,
    /// Size of the disk.
    pub size: Size,
    /// Its sectors; the usual ones of an image, and those that it has of a disk, when absent.
    pub sector_size: Option<SectorSize>,
    /// Partitions that the user fills.
    pub filled_parts: Vec<Filled>,
    /// The volume for cloud-init.
    pub cloud_init: Option<Filled>,
    /// Empty partitions.
    pub data_parts: Vec<Part>,
    /// Compression of the initrd.
    pub compression: InitrdCompression,
    /// Its level; the codec's own when absent.
    pub level: Option<u32>,
    /// Where identifiers come from; the content when absent.
    pub seed: Option<String>,
    /// Where the root file system of disks is.
    pub root: Root,
    /// Whether the kernel is to verify it.
    pub verity: bool,
    /// Options of the outputs: `--opt`.
    pub options: Vec<(String, String)>,
    /// Whether containers compress what they hold, where they can.
    pub compress: bool,
    /// How outputs are compressed as a whole.
    pub output_compression: Option<OutputCompression>,
    /// Its level; the codec's own when absent.
    pub output_level: Option<u32>,
    /// What the names of the outputs begin with, where they have any: the files of a disk in several name each other.
    pub name: Option<String>,
    /// The platform that the outputs are for.
    pub platform: Option<&'static Platform>,
    /// Whether kernels that are files of their own are unpacked.
    pub decompress_kernel: bool,
    /// A Raspberry Pi's firmware: the files of its boot directory.
    pub pi_firmware: Vec<File>,
    /// What signs, and what machines are to trust.
    pub secure_boot: SecureBoot,
    /// What goes before what the input has.
    pub overrides: Overrides,
    /// The process of a container image, and what starts it.
    pub process: Wishes,
}

/// How an output is compressed as a whole, by what its name then ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputCompression(pub Codec);

impl Named for OutputCompression {
    const WHAT: &'static str = "output compression";

    fn all() -> Vec<Self> {
        Codec::written().filter(|codec| *codec != Codec::None).map(Self).collect()
    }

    fn name(self) -> &'static str {
        self.0.ending().trim_start_matches('.')
    }

    fn aliases(self) -> &'static [&'static str] {
        match self.0 {
            Codec::Gzip => &["gzip"],
            Codec::Zstd => &["zstd"],
            _ => &[],
        }
    }
}

/// The option of containers that `--compress` stands for.
pub(crate) const COMPRESSED: &str = "compressed";

/// Something that a user can ask for and that not everything heeds: a row of [`SETTINGS`].
#[derive(Debug)]
pub struct Setting {
    /// As users spell it.
    pub option: &'static str,
    /// Who may heed it.
    pub of: Heeder,
    /// Whether the user asks for it.
    is_given: fn(&Request) -> bool,
}

/// Who may heed a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heeder {
    /// The outputs that say so, when they are made of an image.
    Output,
    /// The outputs that say so, whatever they are made of.
    Artifact,
    /// Every image, before it becomes anything.
    Image,
    /// The process of an image, where moby starts it.
    Process,
}

const fn setting(option: &'static str, of: Heeder, is_given: fn(&Request) -> bool) -> Setting {
    Setting { option, of, is_given }
}

pub(crate) static BOOT: Setting = setting("--boot", Heeder::Output, |request| request.firmware != Firmware::Hybrid);
pub(crate) static SIZE: Setting = setting("--size", Heeder::Output, |request| request.size != Size::Auto);
pub(crate) static SECTOR_SIZE: Setting = setting("--sector-size", Heeder::Output, |request| request.sector_size.is_some());
pub(crate) static DATA_PART: Setting = setting("--data-part", Heeder::Output, |request| !request.data_parts.is_empty());
pub(crate) static PART: Setting = setting("--part", Heeder::Output, |request| !request.filled_parts.is_empty());
pub(crate) static CLOUD_INIT: Setting = setting("--cloud-init", Heeder::Output, |request| request.cloud_init.is_some());
pub(crate) static ROOT: Setting = setting("--root", Heeder::Output, |request| matches!(request.root, Root::Partition(_)));
pub(crate) static VERITY: Setting = setting("--verity", Heeder::Output, |request| request.verity);
pub(crate) static COMPRESSION: Setting =
    setting("--initrd-compression", Heeder::Output, |request| request.compression != InitrdCompression::Auto);
pub(crate) static LEVEL: Setting = setting("--initrd-level", Heeder::Output, |request| request.level.is_some());
pub(crate) static DECOMPRESS_KERNEL: Setting = setting("--decompress-kernel", Heeder::Output, |request| request.decompress_kernel);
pub(crate) static FIRMWARE: Setting = setting("--firmware", Heeder::Output, |request| !request.pi_firmware.is_empty());
pub(crate) static SIGN: Setting = setting("--sign-key", Heeder::Output, |request| request.secure_boot.signing.is_some());
pub(crate) static ENROLL_KEYS: Setting = setting("--enroll-keys", Heeder::Output, |request| request.secure_boot.enrolment.is_some());
pub(crate) static SHIM: Setting = setting("--shim", Heeder::Output, |request| request.secure_boot.shim.is_some());
pub(crate) static PCR_KEY: Setting = setting("--pcr-key", Heeder::Output, |request| request.secure_boot.pcr_key.is_some());
/// Containers have identifiers, too.
pub(crate) static SEED: Setting = setting("--seed", Heeder::Artifact, |request| request.seed.is_some());
pub(crate) static COMPRESS: Setting = setting("--compress", Heeder::Artifact, |request| request.compress);
pub(crate) static COMPRESS_OUTPUT: Setting = setting("--compress-output", Heeder::Artifact, |request| request.output_compression.is_some());
pub(crate) static OUTPUT_LEVEL: Setting = setting("--output-level", Heeder::Artifact, |request| request.output_level.is_some());
static KERNEL: Setting = setting("--kernel", Heeder::Image, |request| request.overrides.kernel.is_some());
static CMDLINE: Setting = setting("--cmdline", Heeder::Image, |request| request.overrides.cmdline.is_some());
static APPEND: Setting = setting("--append", Heeder::Image, |request| !request.overrides.append.is_empty());
static UCODE: Setting = setting("--ucode", Heeder::Image, |request| request.overrides.ucode.is_some());
static ARCH: Setting = setting("--arch", Heeder::Image, |request| request.overrides.arch.is_some());
static INIT: Setting = setting("--init", Heeder::Image, |request| request.process.starter != Starter::Auto);
static ENTRYPOINT: Setting = setting("--entrypoint", Heeder::Process, |request| request.process.entrypoint.is_some());
static CMD: Setting = setting("--cmd", Heeder::Process, |request| request.process.cmd.is_some());
static ENV: Setting = setting("--env", Heeder::Process, |request| !request.process.env.is_empty());
static USER: Setting = setting("--user", Heeder::Process, |request| request.process.user.is_some());
static WORKDIR: Setting = setting("--workdir", Heeder::Process, |request| request.process.workdir.is_some());
static TTY: Setting = setting("--tty", Heeder::Process, |request| request.process.tty);
static RESTART: Setting = setting("--restart", Heeder::Process, |request| request.process.restart.is_some());
static PID1: Setting = setting("--pid1", Heeder::Process, |request| request.process.pid1.is_some());
static HOSTNAME: Setting = setting("--hostname", Heeder::Process, |request| request.process.hostname.is_some());
static MODULES: Setting = setting("--modules", Heeder::Process, |request| request.process.modules.is_some());

/// What a disk as the input heeds, too: its container has identifiers, it can be made larger, and its GPT be counted anew.
static OF_DISKS: [&Setting; 3] = [&SEED, &SIZE, &SECTOR_SIZE];

/// Every setting.
pub static SETTINGS: &[&Setting] = &[
    &BOOT,
    &SIZE,
    &SECTOR_SIZE,
    &PART,
    &CLOUD_INIT,
    &DATA_PART,
    &ROOT,
    &VERITY,
    &COMPRESSION,
    &LEVEL,
    &DECOMPRESS_KERNEL,
    &FIRMWARE,
    &SIGN,
    &ENROLL_KEYS,
    &SHIM,
    &PCR_KEY,
    &SEED,
    &COMPRESS,
    &COMPRESS_OUTPUT,
    &OUTPUT_LEVEL,
    &KERNEL,
    &CMDLINE,
    &APPEND,
    &UCODE,
    &ARCH,
    &INIT,
    &ENTRYPOINT,
    &CMD,
    &ENV,
    &USER,
    &WORKDIR,
    &TTY,
    &RESTART,
    &PID1,
    &HOSTNAME,
    &MODULES,
];

impl PartialEq for Setting {
    fn eq(&self, other: &Self) -> bool {
        self.option == other.option
    }
}

impl Request {
    /// The settings that the user asks for, of those that this one may heed.
    pub(crate) fn given(&self, of: Heeder) -> impl Iterator<Item = &'static Setting> {
        SETTINGS.iter().copied().filter(move |setting| setting.of == of && (setting.is_given)(self))
    }

    /// Refuses what would change a disk, which is converted as it is.
    ///
    /// # Errors
    /// Names the first option that would be ignored.
    pub(crate) fn refuse_for_disk(&self) -> Result<()> {
        let given = [Heeder::Output, Heeder::Image, Heeder::Process].into_iter().flat_map(|of| self.given(of));
        match given.into_iter().find(|setting| !OF_DISKS.contains(setting)) {
            Some(setting) => Err(Error::unsupported(format!("{} is for a tar, and this is a disk", setting.option))
                .hint("moby extract IMAGE tar gives the tar of a disk of ours, to be converted anew")),
            None => Ok(()),
        }
    }

    /// How outputs are compressed that can be.
    ///
    /// # Errors
    /// When the codec is not written, or has no such level.
    pub(crate) fn output_encoding(&self) -> Result<Encoding> {
        let OutputCompression(codec) = self.output_compression.unwrap_or(OutputCompression(Codec::None));
        Encoding::new(codec, self.output_level).at(|| COMPRESS_OUTPUT.option)
    }

    /// Refuses what no disk in this container can be like.
    ///
    /// # Errors
    /// When it would be too large, or have other sectors than the container speaks of.
    pub(crate) fn check_disk(&self, plan: &dyn Plan, limits: Limits) -> Result<()> {
        self.size.check(limits)?;
        self.sector_size.unwrap_or_default().check(plan)
    }

    /// The options of something: its own, then the platform's, then the user's, as far as it has them.
    ///
    /// # Errors
    /// When a value is not one of the option's.
    pub(crate) fn options_of(&self, specs: &'static [OptionSpec], own: &[(&'static str, &'static str)]) -> Result<Options> {
        let of_platform = self.platform.map_or(&[][..], |platform| platform.options);
        let users = self.options.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let compressed = self.compress.then_some((COMPRESSED, "on"));
        let options = Options::parse_known(specs, own.iter().chain(of_platform).copied().chain(users).chain(compressed))?;
        // One stream of compressed bytes is one file.
        Ok(options.named(self.name.clone().filter(|_| self.output_compression.is_none())))
    }

    /// The partitions that are filled, in the order in which they stand on the disk.
    pub(crate) fn filled(&self) -> impl Iterator<Item = &Filled> {
        self.filled_parts.iter().chain(&self.cloud_init)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn nothing_is_asked_for_by_default_and_every_setting_has_one_name() {
        let nothing = Request::default();
        for of in [Heeder::Output, Heeder::Artifact, Heeder::Image, Heeder::Process] {
            assert_eq!(nothing.given(of).count(), 0);
        }
        assert_eq!(SETTINGS.iter().map(|setting| setting.option).collect::<HashSet<_>>().len(), SETTINGS.len());
    }
}
