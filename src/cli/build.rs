//! `moby build`: a LinuxKit configuration becomes artifacts.

use super::{
    Global,
    images::ImageArgs,
    making::{Makes, Making},
    spool,
    yml::{configuration, lock_beside},
};
use crate::{
    convert::{self, Conversion, Look, Reporter, Source},
    emit::Target,
    error::{At, Error, Result},
    image::Overrides,
    images::{self, Demand, Lock},
    input::{FileId, Input, STDIN, Tar},
    linuxkit::{self, Config, Parts, Wishes},
    names::find,
    outputs::Output,
    plan, process,
};
use formats::{
    Blob, Env, Silent, Spool,
    oci::{Platform, Reference},
    tree::ShowPath,
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

const EXAMPLES: &str = "\
Examples:
  moby build app.yml                                 app-kernel, app-initrd.img, app-cmdline
  moby build app.yml -f qcow2,iso                    disks that boot, on BIOS and UEFI
  moby build base.yml debug.yml -o app.tar           several files, merged; the tagged tar, byte for byte LinuxKit's
  moby build app.yml --images oci-archive:my.tar     images that are in no registry
  envsubst < app.yml.in | moby build - --name app -f raw
  moby build app.yml --dry-run                       the merged configuration, and nothing else

Images are looked for in the places of --images, then in the cache, then at their registries. Where LinuxKit is wrong, moby differs, as --help says.";

/// The examples, and where moby differs.
fn long_help() -> String {
    let rows = linuxkit::DEVIATIONS.iter().map(|(theirs, ours)| format!("\n- LinuxKit {theirs}:\n  moby {ours}"));
    format!("{EXAMPLES}\n{}", rows.collect::<String>()).replace('`', "")
}

/// Build a LinuxKit configuration: its images become a tagged tar, and that any output
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = long_help())]
pub(super) struct Build {
    /// Configurations, merged from left to right; - for standard input
    #[arg(value_name = "YML|-", required = true)]
    configurations: Vec<PathBuf>,

    #[command(flatten)]
    making: Making,

    /// The architecture to build for, as Go names it: amd64, arm64, riscv64, ... [default: this machine's]
    #[arg(long, value_name = "ARCH", default_value = images::host_arch(), hide_default_value = true, help_heading = "Image")]
    arch: String,
    /// Unpack the kernel
    #[arg(long, help_heading = "Image")]
    decompress_kernel: bool,
    /// Leave out the list of packages (SPDX) that the images bring
    #[arg(long, help_heading = "Image")]
    no_sbom: bool,
    /// Where the list of packages stands in the image
    #[arg(long, value_name = "PATH", default_value = "sbom.spdx.json", conflicts_with = "no_sbom", help_heading = "Image")]
    sbom_output: String,
    /// Print the merged configuration and build nothing
    #[arg(long)]
    dry_run: bool,

    /// How the layers of an image lie over one another: as LinuxKit lays them, or by OCI's rules, which differ over opaque whiteouts
    #[arg(long, value_name = "RULES", default_value = "linuxkit", help_heading = "Images")]
    layers: Layers,
    #[command(flatten)]
    images: ImageArgs,
    /// Take exactly the images that `moby lock` wrote down, and fail on any other
    #[arg(long, help_heading = "Images")]
    locked: bool,
    /// Where they are written down [default: the name of the last configuration, ending in .lock]
    #[arg(long, value_name = "FILE", requires = "locked", help_heading = "Images")]
    lock: Option<PathBuf>,
    /// Taken for LinuxKit's sake: a build is always whole
    #[arg(long, value_name = "TAR", hide = true)]
    #[cfg_attr(feature = "net", arg(conflicts_with = "pull"))]
    input_tar: Option<PathBuf>,
    /// Ask the Docker daemon of this machine before the cache, where there is one; DOCKER_HOST names another socket
    #[arg(long, help_heading = "Images")]
    docker: bool,
}

/// How layers lie over one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Layers {
    /// From the top down, and of every name the first.
    Linuxkit,
    /// By the image specification.
    Oci,
}

impl Build {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let config = configuration(&self.configurations, &|url, most| self.images.document(url, most))?;
        if self.dry_run {
            return super::print(&format!("{}\n", linuxkit::dry_run(&config)));
        }
        let mut made = self.making.begin(&self.named_after(), || self.default(), self.images.ca(), global)?;
        config.warnings.iter().for_each(|warning| made.ui().warn(warning));
        let trust = demands(&config, made.ui())?;
        let directory = made.directory();
        let mut env = super::env(global, &directory)?;
        let request = self.making.request(&made, Overrides::default(), process::Wishes::default(), false, &mut env)?;
        let conversion = Conversion::new(made.outputs().to_vec(), request)?;
        made.refuse_inputs(self.files().filter_map(FileId::of).collect())?;
        made.key = if self.making.metadata_file.is_some() || made.is_elsewhere() { self.key(global)? } else { None };

        let spool = || spool::in_directory(&directory, global);
        let building = Building {
            images: &self.images,
            arch: &self.arch,
            layers: self.layers,
            docker: self.docker,
            lock: self.lock()?,
            wishes: Wishes { decompress_kernel: self.decompress_kernel, sbom: (!self.no_sbom).then(|| self.sbom_output.clone()) },
        };
        let tar = building.tar(&config, trust, made.ui(), &mut env, &spool)?;
        let source = self.source(tar, &conversion, &mut env)?;
        made.finish(&self.making, conversion, source, env)
    }

    /// What outputs are named after, as LinuxKit names them: the last configuration without its ending.
    fn named_after(&self) -> PathBuf {
        let last = self.configurations.last().map_or(Path::new(STDIN), PathBuf::as_path);
        if last == Path::new(STDIN) { "moby".into() } else { last.file_stem().unwrap_or_default().into() }
    }

    /// The files and directories that are read, as far as the command line names them.
    fn files(&self) -> impl Iterator<Item = &Path> {
        let named = self.configurations.iter().map(PathBuf::as_path);
        named.chain(self.making.files()).chain(self.images.files())
    }

    /// What is made where no format is named: a name tells it, else a file is the tar, as LinuxKit has it.
    fn default(&self) -> Result<&'static Output> {
        match (&self.making.output, self.making.named_output()) {
            (None, _) => find("kernel+initrd"),
            (Some(_), Some(Some(output))) => Ok(output),
            (Some(_), _) => find("tar"),
        }
    }

    /// The images that are taken, and no others.
    fn lock(&self) -> Result<Option<Lock>> {
        if !self.locked {
            return Ok(None);
        }
        let path = self.lock.clone().map_or_else(|| lock_beside(&self.configurations), Ok)?;
        let place = || path.display().to_string();
        let text = std::fs::read_to_string(&path).at(place).map_err(|error| error.hint("`moby lock` writes it"))?;
        Lock::parse(&text).at(place).map(Some)
    }

    /// What is converted: the image in the tar, with the tar itself. What needs no image is made of a tar without a kernel too.
    fn source(&self, tar: Blob, conversion: &Conversion, env: &mut Env) -> Result<Source> {
        if conversion.outputs().iter().all(|output| output.recipe.is_tar()) {
            return Ok(Source::Tagged(None, tar));
        }
        env.progress = Arc::new(Silent);
        let made = Tar { file: tar.clone(), name: "the tagged tar".into(), strict: false };
        let source = convert::source(&Input::Tar(made), conversion.request(), Look::Before, env)?;
        Ok(match source {
            Source::Image(image) => Source::Tagged(Some(image), tar),
            other => other,
        })
    }
}

/// How the tagged tar of a configuration is made.
pub(super) struct Building<'a> {
    /// Where images are looked for.
    pub(super) images: &'a ImageArgs,
    /// The architecture, by Go's name.
    pub(super) arch: &'a str,
    pub(super) layers: Layers,
    /// Whether the Docker daemon is asked.
    pub(super) docker: bool,
    /// The images that are taken, and no others.
    pub(super) lock: Option<Lock>,
    pub(super) wishes: Wishes,
}

impl Building<'_> {
    /// The tagged tar.
    ///
    /// # Errors
    /// When an image is not to be had or is damaged, or the configuration asks for what is not there.
    pub(super) fn tar(
        mut self,
        config: &Config,
        trust: Vec<Demand>,
        reporter: &dyn Reporter,
        env: &mut Env,
        spool: &(dyn Fn() -> Spool + Sync),
    ) -> Result<Blob> {
        let images = self.pulled(config, trust, reporter, env, spool)?;
        let warn = |text: String| reporter.warn(&text);
        let parts = Parts { images: &images, sources: &Files, headers: spool(), spool: &mut env.spool, warn: &warn };
        linuxkit::tar(config, &self.wishes, parts)
    }

    /// The images of the configuration, unpacked.
    fn pulled(
        &mut self,
        config: &Config,
        trust: Vec<Demand>,
        reporter: &dyn Reporter,
        env: &mut Env,
        spool: &(dyn Fn() -> Spool + Sync),
    ) -> Result<HashMap<String, images::Pulled>> {
        let mut sources = self.images.sources(env)?;
        sources.lock = self.lock.take();
        sources.trust.extend(trust);
        if self.docker && !self.images.always() {
            sources.docker = images::Docker::find(spool());
        }
        let platform = Platform::linux(self.arch);
        let mut found = Vec::new();
        let step = reporter.step("fetch");
        for (reference, is_layout) in linuxkit::references(config) {
            let name = &reference.expanded;
            let image = sources.find(name, &platform, is_layout, &*step).at(|| &reference.written.at)?;
            if let Some(other) = image.image.config.platform.as_ref().filter(|has| image.image.index.is_none() && !has.serves(&platform)) {
                let name = ShowPath(name.as_bytes());
                reporter.warn(&format!("{}: image {name} is for {other}, the build for {platform}", reference.written.at));
            }
            if !found.iter().any(|(other, _)| other == name) {
                found.push((name.clone(), image));
            }
        }
        drop(step);
        let step = reporter.step("unpack");
        let pulled = images::unpack(found, env.threads, &*step, spool)?;
        match self.layers {
            Layers::Linuxkit => Ok(pulled),
            Layers::Oci => {
                let merged = |(name, image): (String, images::Pulled)| {
                    let image = image.merged().at(|| format!("image {}", ShowPath(name.as_bytes())))?;
                    Ok((name, image))
                };
                pulled.into_iter().map(merged).collect()
            }
        }
    }
}

impl Makes for Build {
    fn making(&self) -> &Making {
        &self.making
    }

    fn targets(&self) -> Result<Vec<Target>> {
        if self.dry_run {
            return Err(Error::bad_input("--dry-run makes nothing").hint("leave it out"));
        }
        self.making.targets(&self.named_after(), || self.default())
    }

    /// None with standard input, and images that no lock holds.
    fn key(&self, global: &Global) -> Result<Option<String>> {
        let is_local = |path: &PathBuf| path != Path::new(STDIN) && !plan::is_elsewhere(path);
        if !self.locked || self.docker || !self.configurations.iter().all(is_local) {
            return Ok(None);
        }
        let config = configuration(&self.configurations, &|url, most| self.images.document(url, most))?;
        let lock = self.lock.clone().map_or_else(|| lock_beside(&self.configurations), Ok)?;
        let named = config.files.iter().filter_map(|file| file.source.as_deref());
        let named: Vec<_> = named.map(|path| path_of(path)).filter(|path| path.exists()).chain([lock]).collect();
        let files: Vec<_> = self.files().chain(named.iter().map(PathBuf::as_path)).collect();
        global.digests.key(super::source_date_epoch()?, &self.arch, &global.line, &files)
    }

    fn make(&self, global: &Global) -> Result<()> {
        self.run(global)
    }
}

/// The files that a configuration names: relative to the current directory, `~/` for the home directory, as LinuxKit has it.
struct Files;

impl linuxkit::Sources for Files {
    fn open(&self, path: &str) -> Result<Option<Blob>> {
        images::file(&path_of(path))
    }
}

/// The path of a file that a configuration names.
fn path_of(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

/// What the configuration says must be signed.
///
/// # Errors
/// When a key cannot be read.
pub(super) fn demands(config: &Config, reporter: &dyn Reporter) -> Result<Vec<Demand>> {
    let trust = &config.trust;
    if let Some(first) = trust.org.iter().chain(&trust.image).next() {
        reporter.warn(&format!("{}: trust: org and image, Notary's, verify nothing any more", first.at));
    }
    let used: Vec<Reference> = linuxkit::references(config).into_iter().filter_map(|(image, _)| image.expanded.parse().ok()).collect();
    let mut demands = Vec::new();
    for cosign in &trust.cosign {
        let key = images::key(&cosign.key, linuxkit::Sources::open(&Files, &cosign.key)).at(|| &cosign.key.at)?;
        for pattern in cosign.image.iter().filter(|pattern| !used.iter().any(|image| images::covers(pattern, image))) {
            let shown = ShowPath(pattern.as_bytes());
            reporter.warn(&format!("{}: trust: cosign: no image is called or begins with '{shown}'", pattern.at));
        }
        let images: Vec<_> = cosign.image.iter().map(|pattern| pattern.value.clone()).collect();
        // One that names no images asks for nothing: to a demand that is all.
        if !images.is_empty() {
            demands.push(Demand { keys: vec![key], images });
        }
    }
    Ok(demands)
}
