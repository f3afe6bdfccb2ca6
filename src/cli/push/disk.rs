//! What every target asks of an image: a disk that the platform takes, as it is or made on the way, with no file here.

use crate::{
    cli::{
        self, Global,
        build::{Building, Layers, demands},
        images::ImageArgs,
        lint as judged, spool,
        values::named,
        yml::configuration,
    },
    convert::{self, Conversion, Look, Reporter},
    error::{At, Error, Result},
    image::{
        Overrides,
        disk::{self, Loaders},
    },
    images::{go_arch, host_arch},
    input::{self, Input, Opening, Tar},
    lint::{Severity, Subject as Judged, is_other_subformat, lint},
    linuxkit::Wishes,
    names::find,
    platforms::Platform,
    request::Request,
    ui::Ui,
};
use formats::{Blob, Env, Format, Reading, Silent, kernel::Arch, raw::Raw};
use std::{path::Path, sync::Arc};

/// How images are pushed, whatever the target.
#[derive(Debug, clap::Args)]
pub(super) struct DiskArgs {
    /// The architecture that they are for [default: what their kernels are for; of a yml this machine's]
    #[arg(long, value_name = "ARCH", value_parser = named::<Arch>())]
    pub(super) arch: Option<Arch>,
    /// Push also what the platform would refuse, and a disk that is marked dirty or in use
    #[arg(long)]
    pub(super) force: bool,
    /// Say what would be pushed, and ask nobody
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Say what was pushed as JSON, on standard output
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) images: ImageArgs,
}

/// What a target takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Whose rules must be kept.
    pub(super) platform: Option<&'static str>,
    /// The formats of disks that go as they are.
    pub(super) takes: &'static [&'static str],
    /// Whether what goes is what a machine sees, whatever format it is in.
    pub(super) by_blocks: bool,
    /// What is made of everything else: an output.
    pub(super) output: &'static str,
    /// Whether that is compressed inside.
    pub(super) compress: bool,
}

/// A disk as it is pushed.
#[derive(Debug)]
pub(super) struct Disk {
    /// What the file is called.
    pub(super) name: String,
    pub(super) format: &'static dyn Format,
    /// The file.
    pub(super) file: Blob,
    /// What a machine sees.
    pub(super) disk: Blob,
    /// What its kernel is for, or the user says.
    pub(super) arch: Option<Arch>,
    /// By what it starts.
    pub(super) firmware: Firmware,
}

/// By what a disk starts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Firmware {
    pub(super) bios: bool,
    pub(super) uefi: bool,
}

impl Wanted {
    /// Whether a disk goes as it is.
    fn is_met(&self, format: &dyn Format, file: &Blob) -> Result<bool> {
        if self.by_blocks || !self.takes.contains(&format.name()) {
            return Ok(self.by_blocks);
        }
        let platform: Option<&'static Platform> = self.platform.map(find).transpose()?;
        platform.map_or(Ok(true), |platform| Ok(!is_other_subformat(format, file, platform)?))
    }
}

impl DiskArgs {
    /// A disk as a target takes it; errors name it.
    ///
    /// # Errors
    /// When there is none, or the platform would refuse it and nobody forces it.
    pub(super) fn disk(&self, path: &Path, wanted: Wanted, global: &Global, ui: &Ui) -> Result<Disk> {
        let mut env = cli::env(global, &std::env::temp_dir())?;
        let opening = Opening { force: self.force, arch: self.arch, ..Opening::default() };
        let input = match is_yml(path) {
            true => Input::Tar(Tar { file: self.built(path, global, ui, &mut env)?, name: "the tagged tar".into(), strict: false }),
            false => input::read_any(path, None, &opening, &mut env)?.input,
        };
        // Whoever opens it names it; so is it named here.
        match input {
            Input::Disk { format, file, disk, .. } if wanted.is_met(format, &file).at(|| input::show(path))? => {
                let firmware = Firmware::default();
                self.judged(Disk { name: file_name(path), format, file, disk, arch: self.arch, firmware }, wanted, &mut env, ui)
            }
            other => self.converted(&other, path, wanted, env, global, ui),
        }
        .at(|| input::show(path))
    }

    /// It, where its platform takes it.
    fn judged(&self, mut disk: Disk, wanted: Wanted, env: &mut Env, ui: &Ui) -> Result<Disk> {
        if let Some(platform) = wanted.platform {
            let (format, file): (&'static dyn Format, _) = if wanted.by_blocks { (&Raw, &disk.disk) } else { (disk.format, &disk.file) };
            self.judge(&Judged { format, file, disk: &disk.disk }, find(platform)?, env, ui)?;
        }
        disk.arch = disk.arch.or_else(|| disk::arch(&disk.disk, &mut env.spool));
        let loaders = Loaders::of(&disk.disk, &mut env.spool)?;
        disk.firmware = Firmware { bios: loaders.bios.is_some(), uefi: loaders.has_default(disk.arch) };
        Ok(disk)
    }

    /// Refuses what the platform would refuse, unless it is forced.
    fn judge(&self, disk: &Judged<'_>, platform: &'static Platform, env: &mut Env, ui: &Ui) -> Result<()> {
        let findings = lint(disk, platform, false, env)?;
        findings.iter().for_each(|finding| ui.warn(&judged::line(finding)));
        match findings.iter().filter(|finding| finding.severity == Severity::Error).count() {
            0 => Ok(()),
            _ if self.force => Ok(()),
            errors => Err(Error::bad_input(format!("it does not suit {}: {errors} of its rules are broken", platform.name))
                .hint("--force pushes it all the same")),
        }
    }

    /// The target's own output of an input, which is written nowhere.
    ///
    /// # Errors
    /// As [`DiskArgs::disk`].
    pub(super) fn converted(&self, input: &Input, path: &Path, wanted: Wanted, mut env: Env, global: &Global, ui: &Ui) -> Result<Disk> {
        let platform: Option<&'static Platform> = wanted.platform.map(find).transpose()?;
        let is_disk = matches!(input, Input::Disk { .. });
        let consoles = platform.filter(|_| !is_disk).map(|platform| platform.consoles);
        let overrides = Overrides { consoles, ..Overrides::default() };
        let name = Path::new(&file_name(path)).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let request = Request { compress: wanted.compress, platform, overrides, name: Some(name.clone()), ..Request::default() };
        let output: &'static crate::outputs::Output = find(wanted.output)?;
        let suffix = output.files.first().copied().unwrap_or_default();
        let conversion = Conversion::new(vec![output], request)?;
        let source = convert::source(input, conversion.request(), Look::Before, &mut env)?;
        env.progress = Arc::new(Silent);
        let artifacts = conversion.run(source, env, ui)?;
        let file = artifacts.into_iter().flat_map(|artifact| artifact.files).next().unwrap_or_default();
        let mut env = cli::env(global, &std::env::temp_dir())?;
        let Some(format) = input::probe(&file)? else { return Err(Error::unsupported(format!("{} is no disk", wanted.output))) };
        let disk = format.decode(&file, &Reading::default(), &mut env)?;
        let firmware = Firmware::default();
        self.judged(Disk { name: name + suffix, format, file, disk, arch: self.arch, firmware }, wanted, &mut env, ui)
    }

    /// The tagged tar of a yml.
    fn built(&self, path: &Path, global: &Global, ui: &Ui, env: &mut Env) -> Result<Blob> {
        let config = configuration(&[path.to_owned()], &|url, most| self.images.document(url, most))?;
        config.warnings.iter().for_each(|warning| ui.warn(warning));
        let trust = demands(&config, ui)?;
        let spool = || spool::in_directory(&std::env::temp_dir(), global);
        let arch = self.arch.map_or_else(host_arch, go_arch);
        let wishes = Wishes { decompress_kernel: false, sbom: Some("sbom.spdx.json".to_owned()) };
        Building { images: &self.images, arch, layers: Layers::Linuxkit, docker: false, lock: None, wishes }
            .tar(&config, trust, ui, env, &spool)
    }
}

pub(super) fn is_yml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml")
}

pub(super) fn file_name(path: &Path) -> String {
    if path == Path::new(input::STDIN) { "image".to_owned() } else { path.file_name().unwrap_or_default().to_string_lossy().into_owned() }
}
