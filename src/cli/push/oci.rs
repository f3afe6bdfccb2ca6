//! `moby push oci`: to a container registry.

use super::disk::{DiskArgs, Wanted, file_name, is_yml};
use crate::{
    cli::{self, Global, notes::with_exit_codes, values::named},
    convert::Reporter,
    emit::{self, Manner, Target},
    error::{self, At, Error, Result},
    image::disk,
    images::archive_of_made,
    input::{self, Input, Opening},
    names,
    process::Words,
    push::oci::{self, Form, Subject},
    ui::{Summary, Ui},
};
use formats::{
    Blob, Env, Reading, elf,
    kernel::Arch,
    oci::{Descriptor, Execution, Made, Reference},
    tar,
    tree::Content,
    units::show_size,
};
use net::Arrival;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  moby push oci registry.example/vms/app:1 app.qcow2     a containerDisk for KubeVirt
  moby push oci registry.example/vms/app:1 app.yml       built, made a disk and pushed, with no file here
  moby push oci registry.example/vms/app:1 amd64.qcow2 arm64.qcow2
  moby push oci localhost:5000/disks/app app.vhdx --as artifact
  moby push oci ghcr.io/me/tool:1 tool.tar --as image --entrypoint /tool --arch amd64
  moby push oci tool:1 amd64.tar arm64.tar --as image --entrypoint /tool --archive tool.tar     pushes nothing";

fn notes() -> String {
    let remark = "The tag is given last, when all that it leads to is there; who interrupts it leaves nothing behind. Credentials are those \
of docker login and podman login. For a containerDisk, what moby lint --target kubevirt refuses is refused.";
    with_exit_codes(EXAMPLES, "Exit codes", error::EXIT_CODES, remark)
}

/// To a container registry: for KubeVirt, as artifact, or as container image
#[derive(Debug, clap::Args)]
#[command(after_help = notes())]
pub(super) struct Oci {
    /// What it is called there
    #[arg(value_name = "[HOST[:PORT]/]PATH[:TAG]")]
    name: String,
    /// Disks, plain or compressed; what is no qcow2 or raw disk, a tagged tar or a .yml becomes a compressed qcow2 on the way. Several
    /// are one image for several machines
    #[arg(value_name = "IMAGE", required = true)]
    inputs: Vec<PathBuf>,
    /// What images become there
    #[arg(long = "as", value_name = "FORM", default_value = "container-disk", value_parser = named::<Form>())]
    form: Form,
    /// What a container of --as image runs: a word, or a list in JSON
    #[arg(long, value_name = "WORD|JSON")]
    entrypoint: Option<Words>,
    /// A repository of the same registry that may have some of the bytes already, so that they are not sent again
    #[arg(long, value_name = "NAME")]
    mount: Option<Reference>,
    /// Write it to this file, an OCI archive, and push nothing; - is standard output
    #[arg(long, value_name = "FILE", conflicts_with_all = ["mount", "dry_run"])]
    archive: Option<PathBuf>,
    #[command(flatten)]
    disk: DiskArgs,
}

impl Oci {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let ui = &global.ui();
        let name: Reference = self.name.parse()?;
        let (repository, tag) = oci::place(&name)?;
        let mount = self.mount.as_ref().map(|other| oci::place(other).map(|(repository, _)| repository)).transpose().at(|| "--mount")?;
        if let (Some(_), false) = (&self.entrypoint, self.form == Form::Image) {
            return Err(Error::unsupported(format!("--entrypoint has no effect on {}", names::Named::name(self.form))).hint("leave it out"));
        }
        let client = self.disk.images.client()?;
        let is_pushed = !self.disk.dry_run && self.archive.is_none();
        if is_pushed {
            oci::greet(&client, &name)?;
        }
        let subjects = self.inputs.iter().map(|path| self.subject(path, global, ui)).collect::<Result<Vec<_>>>()?;
        let execution = Execution { entrypoint: self.entrypoint.clone().unwrap_or_default().0, ..Execution::default() };
        let made = oci::made(self.form, &subjects, &execution, cli::source_date_epoch()?)?;
        let place = format!("{repository}:{tag}");
        if let Some(file) = &self.archive {
            return self.write(file, &name, &made, global);
        }
        if self.disk.dry_run {
            return cli::print(&if self.disk.json { json(&place, &made, &[]) } else { text(&place, &made) });
        }
        let step = ui.step("push");
        let unnamed = oci::put(&client, &name, made.clone(), mount.as_ref(), &*step)?;
        drop(step);
        let arrivals = unnamed.arrivals.clone();
        unnamed.commit()?;
        if self.disk.json {
            cli::print(&json(&place, &made, &arrivals))?;
        }
        let is_sent = |(_, arrival): &(&(Descriptor, Blob), &Arrival)| **arrival == Arrival::Sent;
        let sent: u64 = made.blobs.iter().zip(&arrivals).filter(is_sent).map(|((descriptor, _), _)| descriptor.size).sum();
        ui.note(format_args!("{:>8}: {place} is {}, {} sent", "pushed", made.top.descriptor.digest, show_size(sent)));
        Ok(())
    }

    /// In the place of pushing it.
    fn write(&self, file: &Path, name: &Reference, made: &Made, global: &Global) -> Result<()> {
        let (ui, summary, name) = (global.ui(), Summary::start(), name.to_string());
        let target = if file == Path::new(input::STDIN) { Target::Stdout } else { Target::Path(file.to_owned()) };
        let files = [(target, archive_of_made(made, &name)?.into())];
        let step = ui.step("write");
        let lens = emit::emit(&files, Manner::default(), &*step)?;
        drop(step);
        if self.disk.json {
            cli::print(&json(&name, made, &[]))?;
        }
        summary.tell(&ui, files.iter().map(|(target, _)| target).zip(lens));
        Ok(())
    }

    /// What becomes a disk on the way, and what goes as it is.
    fn wanted(&self) -> Wanted {
        let takes: &[&str] = if self.form == Form::ContainerDisk { &["qcow2", "raw"] } else { &["qcow2"] };
        Wanted { platform: self.form.platform(), takes, by_blocks: false, output: "qcow2", compress: true }
    }

    /// A file, as it is pushed; errors name it.
    fn subject(&self, path: &Path, global: &Global, ui: &Ui) -> Result<Subject> {
        match self.form {
            Form::Image => self.layer(path, global),
            Form::Artifact if !is_yml(path) => self.artifact(path, global, ui),
            Form::ContainerDisk | Form::Artifact => Ok(of_disk(self.disk.disk(path, self.wanted(), global, ui)?)),
        }
    }

    fn layer(&self, path: &Path, global: &Global) -> Result<Subject> {
        let mut env = cli::env(global, &std::env::temp_dir())?;
        let file = input::open(path, &self.opening(), &mut env)?;
        match tar::probe(&file).at(|| input::show(path))? {
            true => {
                let arch = self.disk.arch.or_else(|| self.arch_of(&file));
                Ok(Subject { name: file_name(path), format: None, file, platform: arch.map(oci::machine) })
            }
            false => Err(Error::bad_input("it is no tar, which the one layer of --as image is").at(input::show(path))),
        }
    }

    /// What the program of a layer is for that is run.
    fn arch_of(&self, layer: &Blob) -> Option<Arch> {
        let path = self.entrypoint.as_ref()?.0.first()?.trim_start_matches('/');
        match &tar::tree(layer).ok()?.get(path.as_bytes())?.content {
            Content::File(program) => elf::arch(elf::machine(&program.read_array::<20>(0).ok()?)?),
            _ => None,
        }
    }

    /// A file as it is; of a tagged tar the disk.
    fn artifact(&self, path: &Path, global: &Global, ui: &Ui) -> Result<Subject> {
        let mut env = cli::env(global, &std::env::temp_dir())?;
        let file = input::open_plain(path, &self.opening(), &mut env).at(|| input::show(path))?;
        if let Some(tar) = tagged(path, &file, &self.opening(), &mut env)? {
            return Ok(of_disk(self.disk.converted(&tar, path, self.wanted(), env, global, ui).at(|| input::show(path))?));
        }
        let format = input::probe(&file).at(|| input::show(path))?;
        let disk = format.and_then(|format| format.decode(&file, &Reading::default(), &mut env).ok());
        let arch = self.disk.arch.or_else(|| disk::arch(&disk?, &mut env.spool));
        Ok(Subject { name: file_name(path), format, file, platform: arch.map(oci::machine) })
    }

    fn opening(&self) -> Opening {
        Opening { force: self.disk.force, arch: self.disk.arch, ..Opening::default() }
    }
}

fn of_disk(disk: super::disk::Disk) -> Subject {
    Subject { name: disk.name, format: Some(disk.format), file: disk.file, platform: disk.arch.map(oci::machine) }
}

/// The tar in a file, if there is one with a kernel to boot: any other is a file as others are.
fn tagged(path: &Path, file: &Blob, opening: &Opening, env: &mut Env) -> Result<Option<Input>> {
    if !tar::probe(file).at(|| input::show(path))? {
        return Ok(None);
    }
    let input = input::read_any(path, None, opening, env)?.input;
    let is_tagged = matches!(input, Input::Tar(_)) && input.image(env).is_ok_and(|image| !image.kernel.is_empty());
    Ok(is_tagged.then_some(input))
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
