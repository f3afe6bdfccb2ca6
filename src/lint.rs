//! What a platform would refuse, or not boot, before anything is uploaded (`moby lint --target`).
//!
//! | rule | looks at |
//! |---|---|
//! | container | the format that the platform imports |
//! | size | the multiple that it demands, and the most that it takes |
//! | sectors | those that the partition table counts in |
//! | partitions | a GPT with a protective MBR of one entry, as Glance's inspector has it, or an MBR |
//! | boot | a loader for the firmware of the platform's machines; whether what it starts can be started |
//! | console | the last `console=`, which the platform shows |
//! | secure-boot | whether the platform's machines start it with Secure Boot on, and with whose keys; where that is asked, or on by itself |
//! | drivers | the storage and the network of its machines, in the kernel's configuration or as modules in the initrd |
//!
//! What a platform demands stands in its row of [`crate::platforms`].

use crate::{
    bootable::{self, Start},
    error::Result,
    image::{
        Image,
        disk::{self, Loaders, Scheme},
    },
    platforms::{Keys, Machines, Platform, SecureBoot},
    secure_boot,
};
use formats::{
    Blob, Env, Format, Info, gpt,
    kernel::{Arch, Facts, Kernel},
    tree::Content,
    units::{SECTOR, show_size},
};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works, but something is missing.
    Warning,
    /// Nothing here can tell.
    Unknown,
    /// The platform refuses the image, or it does not boot.
    Error,
}

/// One thing that is not as the platform needs it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The rule.
    pub rule: &'static str,
    /// What the image has.
    pub found: String,
    /// What the platform needs.
    pub needed: String,
    /// What to do.
    pub fix: String,
}

/// An image for a platform.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The container.
    pub format: &'static dyn Format,
    /// Its bytes.
    pub file: &'a Blob,
    /// The disk in it.
    pub disk: &'a Blob,
}

/// What is wrong with an image for a platform, on machines with Secure Boot on where that is said. What it boots is copied to the spool.
///
/// # Errors
/// When the image cannot be read.
pub fn lint(subject: &Subject<'_>, platform: &'static Platform, has_secure_boot: bool, env: &mut Env) -> Result<Vec<Finding>> {
    let mut lint = Lint { platform, findings: Vec::new() };
    lint.container(subject)?;
    lint.size(subject.disk);
    let loaders = Loaders::of(subject.disk, &mut env.spool)?;
    let image = disk::image(subject.disk, env);
    let others = loaders.others();
    let arch = match &image {
        // Of a CD of others only the files may be known.
        Ok(image) if !image.kernel.is_empty() => lint.image(image)?,
        _ if !others.is_empty() => {
            let needed = "boot entries or a unified kernel image on a FAT volume, which can be read";
            lint.find(
                Severity::Unknown,
                "boot",
                others.join(", "),
                needed,
                "start it once: kernel, drivers and console were not looked at",
            );
            None
        }
        Ok(_) => {
            lint.error("boot", "nothing that boots".to_owned(), "a boot entry", "make the disk with moby convert");
            None
        }
        Err(error) => {
            lint.error("boot", error.to_string(), "a boot entry that our loaders can read", "make the disk with moby convert");
            None
        }
    };
    lint.sectors(subject)?;
    lint.partitions(subject.disk, &loaders)?;
    lint.loaders(&loaders, arch);
    lint.secure_boot(&loaders, has_secure_boot)?;
    lint.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(lint.findings)
}

/// What lacks for any firmware.
const NO_LOADER: &str = "no loader that firmware starts by itself";

struct Lint {
    platform: &'static Platform,
    findings: Vec<Finding>,
}

impl Lint {
    fn find(&mut self, severity: Severity, rule: &'static str, found: String, needed: impl Into<String>, fix: impl Into<String>) {
        self.findings.push(Finding { severity, rule, found, needed: needed.into(), fix: fix.into() });
    }

    fn error(&mut self, rule: &'static str, found: String, needed: impl Into<String>, fix: impl Into<String>) {
        self.find(Severity::Error, rule, found, needed, fix);
    }

    fn warn(&mut self, rule: &'static str, found: String, needed: impl Into<String>, fix: impl Into<String>) {
        self.find(Severity::Warning, rule, found, needed, fix);
    }

    /// Firmware trusts what its machine's owner says, where the platform lets him; Microsoft's keys sign no image of ours.
    fn secure_boot(&mut self, loaders: &Loaders, is_on: bool) -> Result<()> {
        const SIGN: &str = "moby convert TAR --secure-boot KEYS";
        let SecureBoot { is_default, keys } = self.platform.rules.secure_boot;
        if !is_on && !is_default {
            return Ok(());
        }
        let severity = if is_on { Severity::Error } else { Severity::Warning };
        let Some(program) = loaders.defaults().next() else {
            self.find(severity, "secure-boot", NO_LOADER.to_owned(), "a signed program for UEFI", SIGN);
            return Ok(());
        };
        let signers = secure_boot::signers(&program.body).unwrap_or_default();
        match (signers.is_empty(), keys) {
            (true, Keys::None(instead)) => self.find(severity, "secure-boot", "no signature".to_owned(), "one by Microsoft", instead),
            (true, Keys::Own(way)) => {
                let fix = format!("{SIGN}, and {way}; or turn Secure Boot off");
                self.find(severity, "secure-boot", "no signature".to_owned(), "one that the machine trusts", fix);
            }
            // Whoever signs shims has told Microsoft.
            (false, _) if signers.iter().any(|signer| signer.contains("Microsoft")) => {}
            (false, Keys::None(instead)) => {
                self.find(severity, "secure-boot", format!("a signature by {}", signers.join(" and ")), "one by Microsoft", instead);
            }
            (false, Keys::Own(way)) if is_on => {
                let found = format!("a signature by {}", signers.join(" and "));
                self.find(Severity::Unknown, "secure-boot", found, "machines that trust it", way);
            }
            (false, Keys::Own(_)) => {}
        }
        Ok(())
    }

    fn fix(&self) -> String {
        format!("moby convert IMAGE --format {}", self.platform.output)
    }

    fn container(&mut self, subject: &Subject<'_>) -> Result<()> {
        let rules = &self.platform.rules;
        let name = subject.format.name();
        if !rules.containers.contains(&name) {
            self.error("container", name.to_owned(), rules.containers.join(" or "), self.fix());
            return Ok(());
        }
        let info = subject.format.info(subject.file)?;
        if let Some((subformat, taken)) = refused(&info, name, self.platform) {
            self.error("container", format!("{name}, {subformat}"), format!("{name}, {}", taken.join(" or ")), self.fix());
        }
        if info.backing_file.is_some() || info.specific.iter().any(|(key, _)| *key == "data-file") {
            self.error("container", "a disk in several files".to_owned(), "one file", "moby convert IMAGE --follow");
        }
        if info.dirty {
            self.error("container", "marked dirty".to_owned(), "closed properly", "qemu-img check -r all IMAGE");
        }
        Ok(())
    }

    fn size(&mut self, disk: &Blob) {
        let multiple = self.platform.size_multiple;
        if !disk.len().is_multiple_of(multiple) {
            let found = format!("{} bytes", disk.len());
            self.error("size", found, format!("a multiple of {}", show_size(multiple)), self.fix());
        }
        let size_max = self.platform.rules.size_max;
        if disk.len() > size_max {
            self.error("size", show_size(disk.len()), format!("at most {}", show_size(size_max)), "make a smaller disk: --size");
        }
    }

    /// A container that speaks of sectors is taken at its word.
    fn sectors(&mut self, subject: &Subject<'_>) -> Result<()> {
        let block = gpt::sector_of(subject.disk)?;
        if block != SECTOR && subject.format.sector(subject.file)?.is_none() {
            let found = format!("a partition table for sectors of {block} bytes");
            self.warn("sectors", found, "drives that have such sectors; a BIOS boots few of them", "moby convert IMAGE --sector-size 512");
        }
        Ok(())
    }

    fn partitions(&mut self, disk: &Blob, loaders: &Loaders) -> Result<()> {
        match disk::table(disk) {
            Ok(table) if table.scheme == Scheme::Gpt && self.platform.rules.strict_mbr => self.protective_mbr(disk)?,
            Ok(_) => {}
            // What starts without a table needs none.
            Err(_) if loaders.is_known() => {}
            Err(error) => self.error("partitions", error.to_string(), "a GPT or an MBR", "make the disk with moby convert"),
        }
        Ok(())
    }

    fn loaders(&mut self, loaders: &Loaders, arch: Option<Arch>) {
        let (has_bios, has_uefi) = (loaders.bios.is_some(), loaders.has_default(arch));
        let is_arm = arch == Some(Arch::Aarch64);
        let machines = if is_arm { Machines::Uefi } else { self.platform.rules.firmware };
        let fix = "moby convert TAR --boot hybrid";
        match machines {
            Machines::Uefi if !has_uefi => self.error("boot", NO_LOADER.to_owned(), "UEFI", fix),
            Machines::Either if !has_uefi && !has_bios => self.error("boot", NO_LOADER.to_owned(), "BIOS or UEFI", fix),
            Machines::BiosFirst if !has_uefi && !has_bios => {
                self.error("boot", NO_LOADER.to_owned(), "BIOS, or UEFI where it is asked for", fix)
            }
            Machines::BiosFirst if !has_bios => {
                self.warn("boot", "no loader for a BIOS".to_owned(), "BIOS, which machines have unless UEFI is asked for", fix);
            }
            _ => {}
        }
    }

    /// oslo.utils takes one entry of type 0xee in the first slot, from CHS 0/0/2 and LBA 1, and nothing in the other slots.
    fn protective_mbr(&mut self, disk: &Blob) -> Result<()> {
        let table: [u8; 64] = disk.read_array(446)?;
        let first = &table[..16];
        let is_strict = matches!(first[0], 0 | 0x80) && first[1..5] == [0, 2, 0, 0xee] && first[8..12] == [1, 0, 0, 0];
        if !is_strict || table[16..].iter().any(|byte| *byte != 0) {
            let needed = "one entry of type 0xee at LBA 1 (Glance inspects it)";
            self.error("partitions", "a hybrid or unusual protective MBR".to_owned(), needed, "make the disk with moby convert");
        }
        Ok(())
    }

    /// Looks at what is booted, and says on what it runs.
    fn image(&mut self, image: &Image) -> Result<Option<Arch>> {
        let kernel = match Kernel::identify(&image.kernel) {
            Ok(kernel) => kernel,
            Err(error) => {
                self.error("kernel", error.to_string(), "a Linux kernel", "build the image with another kernel");
                return Ok(None);
            }
        };
        for doubt in bootable::doubts(image, Start::Initramfs)? {
            let severity = if doubt.depends { Severity::Warning } else { Severity::Error };
            self.find(severity, "boot", doubt.found, doubt.needed, doubt.fix);
        }
        if let Some(doubt) = bootable::without_stub(kernel.has_efi_stub) {
            let is_uefi_alone = self.platform.rules.firmware == Machines::Uefi || kernel.arch == Arch::Aarch64;
            let severity = if is_uefi_alone { Severity::Error } else { Severity::Warning };
            self.find(severity, "boot", doubt.found, doubt.needed, doubt.fix);
        }
        self.console(image, kernel.arch);
        self.drivers(image, &kernel.facts().unwrap_or_default())?;
        Ok(Some(kernel.arch))
    }

    fn console(&mut self, image: &Image, arch: Arch) {
        let wanted = self.platform.consoles.on(arch);
        let found: Vec<_> = image.cmdline.as_str().split_whitespace().filter_map(|word| word.strip_prefix("console=")).collect();
        let device = |console: &str| console.split(',').next().unwrap_or_default().to_owned();
        let Some(last) = wanted.last() else { return };
        let shown = if found.is_empty() { "none".to_owned() } else { found.join(" ") };
        let fix = format!("moby convert TAR --target {}", self.platform.name);
        if !found.iter().any(|console| device(console) == device(last)) {
            self.warn("console", shown, format!("console={last}, where the platform looks"), fix);
        } else if found.last().map(|console| device(console)) != Some(device(last)) {
            self.warn("console", shown, format!("console={last} as the last one"), fix);
        }
    }

    fn drivers(&mut self, image: &Image, facts: &Facts) -> Result<()> {
        let rules = &self.platform.rules;
        let drivers = Drivers::of(image, facts)?;
        if !drivers.are_told() && !rules.drivers.is_empty() {
            let needed = "CONFIG_IKCONFIG, /boot/config-* or modules.builtin";
            self.warn("drivers", "a kernel that does not say what it has".to_owned(), needed, "check the kernel's configuration yourself");
            return Ok(());
        }
        for driver in rules.drivers {
            if driver.any.iter().any(|any| drivers.have(*any)) {
                continue;
            }
            let (options, names): (Vec<_>, Vec<_>) = driver.any.iter().copied().unzip();
            let severity = if driver.needed { Severity::Error } else { Severity::Warning };
            let needed = format!("{} built in, or the module {} in the initrd", options.join(" or "), names.join(" or "));
            self.find(
                severity,
                "drivers",
                format!("no driver for the {}", driver.what),
                needed,
                "build the image with another kernel or its modules",
            );
        }
        Ok(())
    }
}

/// The drivers of an image.
struct Drivers {
    config: Option<String>,
    modules: Modules,
}

/// The subformat of a container that a platform refuses, and those that it takes.
fn refused(info: &Info, container: &str, platform: &Platform) -> Option<(String, Vec<&'static str>)> {
    let text = |wanted: &str| info.specific.iter().find(|(key, _)| *key == wanted).map(|(_, fact)| fact.to_string());
    let subformat = text("subformat").or_else(|| text("create-type"))?;
    let rows = platform.rules.subformats.iter().filter(|(of, _)| *of == container);
    let taken: Vec<_> = rows.map(|(_, subformat)| *subformat).collect();
    (!taken.is_empty() && !taken.contains(&subformat.as_str())).then_some((subformat, taken))
}

/// Whether a platform refuses a file of a format that it takes, for it is of another subformat.
///
/// # Errors
/// When the file says nothing of itself.
#[cfg(feature = "net")]
pub(crate) fn is_other_subformat(format: &dyn Format, file: &Blob, platform: &Platform) -> Result<bool> {
    Ok(refused(&format.info(file)?, format.name(), platform).is_some())
}

impl Drivers {
    fn of(image: &Image, facts: &Facts) -> Result<Self> {
        let config = match &facts.config {
            Some(config) => Some(config.text().to_owned()),
            None => config_file(image)?,
        };
        Ok(Self { config, modules: Modules::of(image)? })
    }

    /// Whether the kernel says what it has.
    fn are_told(&self) -> bool {
        self.config.is_some() || !self.modules.builtin.is_empty()
    }

    /// Whether a driver is among them, by its option and its module.
    fn have(&self, (option, module): (&str, &str)) -> bool {
        let is_built_in = self.config.as_deref().is_some_and(|text| value(text, option) == Some("y"));
        is_built_in || [&self.modules.builtin, &self.modules.files].iter().any(|names| names.iter().any(|name| name == module))
    }
}

/// Whether what a disk boots has a driver, by its option and its module; not where nobody can tell.
#[cfg(feature = "net")]
pub(crate) fn has_driver(disk: &Blob, driver: (&str, &str), env: &mut Env) -> bool {
    let Ok(image) = disk::image(disk, env) else { return false };
    let facts = Kernel::identify(&image.kernel).ok().and_then(|kernel| kernel.facts().ok()).unwrap_or_default();
    Drivers::of(&image, &facts).is_ok_and(|drivers| drivers.have(driver))
}

/// Most bytes of a text that is read: configurations and lists of modules have some 100 KiB.
const TEXT_MAX: u64 = 4 << 20;

/// The configuration that distributions put beside the kernel.
fn config_file(image: &Image) -> Result<Option<String>> {
    let trees = [&image.boot, &image.rootfs];
    let names = trees.iter().flat_map(|tree| tree.names.iter().map(move |name| (&name.path, &tree.inodes[name.inode].content)));
    for (path, content) in names {
        if path.starts_with(b"boot/config")
            && let Content::File(body) = content
        {
            return Ok(Some(String::from_utf8_lossy(&body.to_vec(TEXT_MAX)?).into_owned()));
        }
    }
    Ok(None)
}

/// The value of an option of a configuration.
fn value<'a>(config: &'a str, option: &str) -> Option<&'a str> {
    config.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('='))
}

/// Modules by name, with `_` for `-`.
#[derive(Debug, Default)]
struct Modules {
    /// Built into the kernel, as `modules.builtin` lists them.
    builtin: Vec<String>,
    /// Files below `lib/modules`, or where process 1 of ours has them.
    files: Vec<String>,
}

impl Modules {
    fn of(image: &Image) -> Result<Self> {
        let mut modules = Self::default();
        for name in &image.rootfs.names {
            let path = name.path.strip_prefix(b"usr/").unwrap_or(&name.path);
            if ![&b"lib/modules/"[..], b".moby/modules/"].iter().any(|start| path.starts_with(start)) {
                continue;
            }
            if let Some(module) = module(path) {
                modules.files.push(module);
            } else if path.ends_with(b"/modules.builtin")
                && let Content::File(body) = &image.rootfs.inodes[name.inode].content
            {
                let text = body.to_vec(TEXT_MAX)?;
                modules.builtin.extend(text.split(|byte| *byte == b'\n').filter_map(module));
            }
        }
        Ok(modules)
    }
}

/// The module in a file, by its name: `kernel/drivers/net/virtio_net.ko.xz` has `virtio_net`.
fn module(path: &[u8]) -> Option<String> {
    let file = std::str::from_utf8(path.rsplit(|byte| *byte == b'/').next()?).ok()?;
    let (name, ending) = file.split_once(".ko")?;
    ["", ".gz", ".xz", ".zst"].contains(&ending).then(|| name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_told_by_their_files() {
        assert_eq!(module(b"kernel/drivers/net/virtio_net.ko").unwrap(), "virtio_net");
        assert_eq!(module(b"lib/modules/6/kernel/mpt-spi.ko.zst").unwrap(), "mpt_spi");
        assert!(module(b"lib/modules/6/modules.dep").is_none() && module(b"x.kopi").is_none());
    }
}
