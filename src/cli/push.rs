//! `moby push`: images go to where machines start.

use super::{
    Global,
    build::{Building, Layers, demands},
    images::ImageArgs,
    lint,
    notes::with_exit_codes,
    spool,
    values::named,
    yml::configuration,
};
use crate::{
    convert::{self, Conversion, Reporter},
    error::{self, At, Error, Result},
    image::{Overrides, disk},
    images::{go_arch, host_arch},
    input::{self, Input, Opening, Tar},
    lint::{Severity, Subject as Judged, lint},
    linuxkit::Wishes,
    names::{self, find},
    platforms::Platform,
    process::Words,
    push::{
        Destination, PUSHES, Service,
        oci::{self, Form, Subject},
    },
    request::Request,
    ui::Ui,
};
use formats::{
    Blob, Env, Format, Reading, Silent,
    kernel::{Arch, Kernel},
    oci::{Descriptor, Execution, Made, Platform as Machine, Reference},
    qcow2::Qcow2,
    tar,
    units::show_size,
};
use net::Arrival;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

const EXAMPLES: &str = "\
Examples:
  moby push oci registry.example/vms/app:1 app.qcow2     a containerDisk for KubeVirt
  moby push oci registry.example/vms/app:1 app.yml       built, made a disk and pushed, with no file here
  moby push oci registry.example/vms/app:1 amd64.qcow2 arm64.qcow2
  moby push oci localhost:5000/disks/app app.vhdx --as artifact
  moby push oci ghcr.io/me/tool:1 tool.tar --as image --entrypoint /tool --arch amd64";

fn notes() -> String {
    let remark = "The tag is given last, when all that it leads to is there; who interrupts it leaves nothing behind. Credentials are those \
of docker login and podman login. For a containerDisk, what moby lint --target kubevirt refuses is refused.";
    with_exit_codes(EXAMPLES, "Exit codes", error::EXIT_CODES, remark)
}

fn name_help() -> String {
    let rows = PUSHES.iter().map(|push| format!("; {}: {}", push.name, push.takes));
    format!("What it is called there{}", rows.collect::<String>())
}

/// Push images to where machines start
#[derive(Debug, clap::Args)]
#[command(after_help = notes())]
pub(super) struct PushCommand {
    /// Where to
    #[arg(value_name = "TARGET", value_parser = named::<&Destination>())]
    target: &'static Destination,
    #[arg(value_name = "NAME", help = name_help())]
    name: String,
    /// Disks, plain or compressed; what is no qcow2 or raw disk, a tagged tar or a .yml becomes a compressed qcow2 on the way. Several
    /// are one image for several machines
    #[arg(value_name = "IMAGE", required = true)]
    inputs: Vec<PathBuf>,
    /// What images become there
    #[arg(long = "as", value_name = "FORM", default_value = "container-disk", value_parser = named::<Form>())]
    form: Form,
    /// The architecture that they are for [default: what their kernels are for; of a yml this machine's]
    #[arg(long, value_name = "ARCH", value_parser = named::<Arch>())]
    arch: Option<Arch>,
    /// What a container of --as image runs: a word, or a list in JSON
    #[arg(long, value_name = "WORD|JSON")]
    entrypoint: Option<Words>,
    /// A repository of the same registry that may have some of the bytes already, so that they are not sent again
    #[arg(long, value_name = "NAME")]
    mount: Option<Reference>,
    /// Push also what the platform would refuse, and a disk that is marked dirty or in use
    #[arg(long)]
    force: bool,
    /// Say what would be pushed, and ask nobody
    #[arg(long)]
    dry_run: bool,
    /// Say what was pushed as JSON, on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    images: ImageArgs,
}

impl PushCommand {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        match self.target.service {
            Service::Registry => self.to_registry(global, &global.ui()),
        }
    }

    fn to_registry(&self, global: &Global, ui: &Ui) -> Result<()> {
        let name: Reference = self.name.parse()?;
        let (repository, tag) = oci::place(&name)?;
        let mount = self.mount.as_ref().map(|other| oci::place(other).map(|(repository, _)| repository)).transpose().at(|| "--mount")?;
        if let (Some(_), false) = (&self.entrypoint, self.form == Form::Image) {
            return Err(Error::unsupported(format!("--entrypoint has no effect on {}", names::Named::name(self.form))).hint("leave it out"));
        }
        let client = self.images.client()?;
        if !self.dry_run {
            oci::greet(&client, &name)?;
        }
        let subjects =
            self.inputs.iter().map(|path| self.subject(path, global, ui).at(|| input::show(path))).collect::<Result<Vec<_>>>()?;
        let execution = Execution { entrypoint: self.entrypoint.clone().unwrap_or_default().0, ..Execution::default() };
        let made = oci::made(self.form, &subjects, &execution, super::source_date_epoch()?)?;
        let place = format!("{repository}:{tag}");
        if self.dry_run {
            return super::print(&if self.json { json(&place, &made, &[]) } else { text(&place, &made) });
        }
        let step = ui.step("push");
        let unnamed = oci::put(&client, &name, made.clone(), mount.as_ref(), &*step)?;
        drop(step);
        let arrivals = unnamed.arrivals.clone();
        unnamed.commit()?;
        if self.json {
            super::print(&json(&place, &made, &arrivals))?;
        }
        let is_sent = |(_, arrival): &(&(Descriptor, Blob), &Arrival)| **arrival == Arrival::Sent;
        let sent: u64 = made.blobs.iter().zip(&arrivals).filter(is_sent).map(|((descriptor, _), _)| descriptor.size).sum();
        ui.note(format_args!("{:>8}: {place} is {}, {} sent", "pushed", made.top.descriptor.digest, show_size(sent)));
        Ok(())
    }

    /// A file, as it is pushed.
    fn subject(&self, path: &Path, global: &Global, ui: &Ui) -> Result<Subject> {
        let mut env = super::env(global, &std::env::temp_dir())?;
        let opening = Opening { force: self.force, arch: self.arch, ..Opening::default() };
        if is_yml(path) && self.form != Form::Image {
            let file = self.built(path, global, ui, &mut env)?;
            return self.converted(&Input::Tar(Tar { file, name: "the tagged tar".into(), strict: false }), path, env, global, ui);
        }
        match self.form {
            Form::ContainerDisk => match input::read_any(path, None, &opening, &mut env)?.input {
                Input::Disk { format, file, disk, .. } if takes(format) => self.disk(path, format, file, &disk, &mut env, ui),
                other => self.converted(&other, path, env, global, ui),
            },
            Form::Artifact => {
                let file = input::open_plain(path, &opening, &mut env)?;
                if let Some(tar) = tagged(path, &file, &opening, &mut env)? {
                    return self.converted(&tar, path, env, global, ui);
                }
                let format = input::probe(&file)?;
                let disk = format.and_then(|format| format.decode(&file, &Reading::default(), &mut env).ok());
                let arch = self.arch.or_else(|| arch_of(&disk?, &mut env));
                Ok(Subject { name: file_name(path), format, file, platform: arch.map(machine) })
            }
            Form::Image => {
                let file = input::open(path, &opening, &mut env)?;
                match tar::probe(&file)? {
                    true => Ok(Subject { name: file_name(path), format: None, file, platform: self.arch.map(machine) }),
                    false => Err(Error::bad_input("it is no tar, which the one layer of --as image is")),
                }
            }
        }
    }

    /// A disk that goes as it is, if its platform takes it.
    fn disk(&self, path: &Path, format: &'static dyn Format, file: Blob, disk: &Blob, env: &mut Env, ui: &Ui) -> Result<Subject> {
        if let Some(platform) = self.form.platform() {
            self.judge(&Judged { format, file: &file, disk }, find(platform)?, env, ui)?;
        }
        let arch = self.arch.or_else(|| arch_of(disk, env));
        Ok(Subject { name: file_name(path), format: Some(format), file, platform: arch.map(machine) })
    }

    /// Refuses what the platform would refuse, unless it is forced.
    fn judge(&self, disk: &Judged<'_>, platform: &'static Platform, env: &mut Env, ui: &Ui) -> Result<()> {
        let findings = lint(disk, platform, false, env)?;
        findings.iter().for_each(|finding| ui.warn(&lint::line(finding)));
        match findings.iter().filter(|finding| finding.severity == Severity::Error).count() {
            0 => Ok(()),
            _ if self.force => Ok(()),
            errors => Err(Error::bad_input(format!("it does not suit {}: {errors} of its rules are broken", platform.name))
                .hint("--force pushes it all the same")),
        }
    }

    /// A compressed qcow2 of an input, which is written nowhere.
    fn converted(&self, input: &Input, path: &Path, mut env: Env, global: &Global, ui: &Ui) -> Result<Subject> {
        let platform: Option<&'static Platform> = self.form.platform().map(find).transpose()?;
        let is_disk = matches!(input, Input::Disk { .. });
        let consoles = platform.filter(|_| !is_disk).map(|platform| platform.consoles);
        let overrides = Overrides { consoles, ..Overrides::default() };
        let name = Path::new(&file_name(path)).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let request = Request { compress: true, platform, overrides, name: Some(name.clone()), ..Request::default() };
        let conversion = Conversion::new(vec![find("qcow2")?], request)?;
        let source = convert::source(input, conversion.request(), &mut env)?;
        env.progress = Arc::new(Silent);
        let artifacts = conversion.run(source, env, ui)?;
        let file = artifacts.into_iter().flat_map(|artifact| artifact.files).next().unwrap_or_default();
        let mut env = super::env(global, &std::env::temp_dir())?;
        let disk = Qcow2.decode(&file, &Reading::default(), &mut env)?;
        self.disk(Path::new(&format!("{name}.qcow2")), &Qcow2, file, &disk, &mut env, ui)
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

/// Whether a containerDisk holds disks of this format as they are.
fn takes(format: &dyn Format) -> bool {
    ["qcow2", "raw"].contains(&format.name())
}

/// The tar in a file, if there is one with a kernel to boot: any other is a file as others are.
fn tagged(path: &Path, file: &Blob, opening: &Opening, env: &mut Env) -> Result<Option<Input>> {
    if !tar::probe(file)? {
        return Ok(None);
    }
    let input = input::read_any(path, None, opening, env)?.input;
    let is_tagged = matches!(input, Input::Tar(_)) && input.image(env).is_ok_and(|image| !image.kernel.is_empty());
    Ok(is_tagged.then_some(input))
}

fn is_yml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml")
}

fn file_name(path: &Path) -> String {
    if path == Path::new(input::STDIN) { "image".to_owned() } else { path.file_name().unwrap_or_default().to_string_lossy().into_owned() }
}

fn machine(arch: Arch) -> Machine {
    Machine::linux(go_arch(arch))
}

/// What the kernel of a disk is for, where we find one.
fn arch_of(disk: &Blob, env: &mut Env) -> Option<Arch> {
    let booted = disk::boot_any(disk, &mut env.spool).ok()?;
    Kernel::identify(&booted.kernel.1).ok().map(|kernel| kernel.arch)
}

/// What is pushed, in lines.
fn text(place: &str, made: &Made) -> String {
    let line = |what: &str, descriptor: &Descriptor| {
        let platform = descriptor.platform.as_ref().map(|platform| format!("  {platform}")).unwrap_or_default();
        format!("{what:<8}  {}  {:>10}  {}{platform}\n", descriptor.digest, show_size(descriptor.size), descriptor.media_type)
    };
    let blobs = made.blobs.iter().map(|(descriptor, _)| line("blob", descriptor));
    let manifests = made.manifests.iter().map(|manifest| line("manifest", &manifest.descriptor));
    let top = format!("{}{:<8}  {place}\n", line("manifest", &made.top.descriptor), "tag");
    blobs.chain(manifests).chain([top]).collect()
}

/// The same as JSON, with how each blob came to be there, where it is known.
fn json(place: &str, made: &Made, arrivals: &[Arrival]) -> String {
    let of = |descriptor: &Descriptor| descriptor.json();
    let arrivals = arrivals.iter().map(|arrival| match arrival {
        Arrival::There => "there",
        Arrival::Mounted => "mounted",
        Arrival::Sent => "sent",
    });
    let mut blobs: Vec<Value> = made.blobs.iter().map(|(descriptor, _)| of(descriptor)).collect();
    blobs.iter_mut().zip(arrivals).for_each(|(blob, arrival)| blob["arrival"] = arrival.into());
    let mut all = json!({"name": place});
    if let (Value::Object(all), Value::Object(top)) = (&mut all, of(&made.top.descriptor)) {
        all.extend(top);
    }
    all["manifests"] = made.manifests.iter().map(|manifest| of(&manifest.descriptor)).collect();
    all["blobs"] = blobs.into();
    format!("{all:#}\n")
}
