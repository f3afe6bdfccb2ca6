//! `Conversion`: an input becomes artifacts, as one call.
//!
//! ```
//! use formats::{Blob, Env};
//! use moby::{
//!     convert::{Conversion, Quiet, Source},
//!     names::find,
//!     request::Request,
//! };
//!
//! # fn main() -> Result<(), moby::error::Error> {
//! let disk = Source::Disk(Blob::zeros(1 << 20).into());
//! let conversion = Conversion::new(vec![find("qcow2")?, find("vdi")?], Request::default())?;
//! let artifacts = conversion.run(disk, Env::scratch(2), &Quiet)?;
//! assert_eq!(artifacts[0].files[0].read_array(0)?, *b"QFI\xfb");
//! assert_eq!(artifacts[1].output.name, "vdi");
//! # Ok(())
//! # }
//! ```
//! What cannot be met is refused by [`Conversion::new`], before an input is read. [`source`] makes a [`Source`] out of an input; what
//! else makes an image makes one too. [`crate::emit`] writes the files.

use crate::{
    bootable,
    error::{At, Error, Result},
    filled::Filled,
    image::{self, Draft},
    input::Input,
    layout::Given,
    names,
    outputs::{EFI_VARS, Output},
    process,
    recipes::{Files, Job},
    request::{self, Heeder, Request, Root, Setting},
    run::Run,
};
use formats::{Blob, Env, Progress, Silent, compress::Encoding, zeros};
use std::{fmt, sync::Arc};

pub use crate::run::Source;

/// Who is told what a conversion does.
pub trait Reporter {
    /// A step begins. Whoever works announces its bytes ([`Progress::expect`]). It ends when the value is dropped.
    fn step(&self, name: &'static str) -> Arc<dyn Progress>;

    /// The user should know this, and it is no error.
    fn warn(&self, text: &str);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug)]
pub struct Quiet;

impl Reporter for Quiet {
    fn step(&self, _: &'static str) -> Arc<dyn Progress> {
        Arc::new(Silent)
    }

    fn warn(&self, _: &str) {}
}

/// A conversion, understood: what it can be refused for without its input, it was not.
pub struct Conversion {
    outputs: Vec<&'static Output>,
    jobs: Vec<Job>,
    encoding: Encoding,
    request: Request,
}

impl fmt::Debug for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversion").field("outputs", &self.outputs).field("request", &self.request).finish_non_exhaustive()
    }
}

/// What was made.
#[derive(Debug)]
pub struct Artifact {
    /// What it is.
    pub output: &'static Output,
    /// One blob for each of the output's files.
    pub files: Vec<Blob>,
    /// What goes beside the first, which names it so: the data of a disk in several files.
    pub extents: Vec<(String, Blob)>,
    /// How its file is to be compressed as a whole.
    pub encoding: Encoding,
}

impl Conversion {
    /// A conversion to these outputs, in this order.
    ///
    /// # Errors
    /// When an option belongs to none of the outputs or has a wrong value, nothing heeds a wish, or wishes contradict each other.
    pub fn new(outputs: Vec<&'static Output>, request: Request) -> Result<Self> {
        refuse_unknown_options(&outputs, &request)?;
        refuse_unheeded(&outputs, &request)?;
        if let Root::Partition(root) = request.root {
            root.check(&request.options_of(root.options, &[])?)?;
        }
        for part in request.filled() {
            let options = request.options_of(part.options(), &[])?;
            part.root().map_or(Ok(()), |root| root.check(&options))?;
        }
        let plan = |output: &&'static Output| output.recipe.plan(&request).at(|| format!("format {}", output.name));
        let jobs = outputs.iter().map(plan).collect::<Result<_>>()?;
        let encoding = request.output_encoding()?;
        Ok(Self { outputs, jobs, encoding, request })
    }

    /// What the user asked for.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The outputs.
    pub fn outputs(&self) -> &[&'static Output] {
        &self.outputs
    }

    /// Makes the artifacts, in the order of the outputs. What they share is made once.
    ///
    /// # Errors
    /// When the source cannot become an output, or reading or spooling fails.
    pub fn run(self, source: Source, mut env: Env, reporter: &dyn Reporter) -> Result<Vec<Artifact>> {
        if let Source::Disk(_) = &source {
            refuse_unused_seed(&self.outputs, &self.request)?;
        }
        let step = reporter.step("build");
        env.progress = Arc::clone(&step);
        let mut run = Run::new(source, self.request, env);
        let mut artifacts = Vec::new();
        for (output, job) in self.outputs.into_iter().zip(&self.jobs) {
            let Files { rows: files, extents } = job(&mut run).at(|| format!("format {}", output.name))?;
            let encoding = if output.is_compressible() { self.encoding } else { Encoding::default() };
            artifacts.push(Artifact { output, files, extents, encoding });
        }
        run.silence();
        drop(step);
        refused_containers(&artifacts, run.request()).iter().for_each(|warning| reporter.warn(warning));
        run.warnings().iter().for_each(|warning| reporter.warn(warning));
        Ok(artifacts)
    }
}

fn refuse_unknown_options(outputs: &[&'static Output], request: &Request) -> Result<()> {
    let of_parts = request.filled().flat_map(Filled::options);
    let specs = outputs.iter().flat_map(|output| output.options()).chain(request.root.option_specs()).chain(of_parts);
    let known: Vec<_> = specs.map(|spec| spec.name).collect();
    match request.options.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some((key, _)) if known.is_empty() => {
            let none = format!("option '{}': {} has no options", key.escape_debug(), names_of(outputs));
            Err(Error::bad_input(none).hint("leave it out"))
        }
        Some((key, _)) => Err(names::unknown("option", key, &known).at(names_of(outputs))),
    }
}

fn refuse_unheeded(outputs: &[&'static Output], request: &Request) -> Result<()> {
    if request.verity && !matches!(request.root, Root::Partition(_)) {
        return Err(Error::bad_input("--verity is for a root in a partition").hint("say which, with --root squashfs"));
    }
    if let (true, Root::Partition(root), false) = (request.secure_boot.signing.is_some(), request.root, request.verity) {
        let what = format!("--root {} with a signature needs --verity: nothing else covers what is in a partition", root.name);
        return Err(Error::unsupported(what).hint("add --verity, or leave --root out"));
    }
    // Whoever makes the machine may put them there; else the disk has to, in the form that firmware takes them.
    let has_variables = outputs.iter().any(|output| EFI_VARS.iter().any(|row| std::ptr::eq(row, *output)));
    if let (Some(enrolment), Some(_), false) = (&request.secure_boot.enrolment, &request.secure_boot.signing, has_variables) {
        enrolment.signed()?;
    }
    let heeded: Vec<_> = outputs.iter().flat_map(|output| output.heeds(request)).collect();
    match request.given(Heeder::Output).chain(request.given(Heeder::Artifact)).find(|setting| !heeded.contains(setting)) {
        Some(setting) => Err(without_effect(setting, &names_of(outputs))),
        None => Ok(()),
    }
}

/// A disk has its identifiers, so that a seed is for those of containers alone.
fn refuse_unused_seed(outputs: &[&'static Output], request: &Request) -> Result<()> {
    let containers = outputs.iter().filter_map(|output| formats::format(output.recipe.container()?));
    if request.seed.is_none() || containers.into_iter().any(|container| container.has_identifiers()) {
        return Ok(());
    }
    Err(without_effect(&request::SEED, &format!("{} of a disk, which has its identifiers", names_of(outputs))))
}

fn without_effect(setting: &Setting, what: &str) -> Error {
    Error::unsupported(format!("{} has no effect on {what}", setting.option)).hint("leave it out")
}

fn names_of(outputs: &[&'static Output]) -> String {
    outputs.iter().map(|output| output.name).collect::<Vec<_>>().join(", ")
}

/// Warnings about outputs that the platform does not take.
fn refused_containers(artifacts: &[Artifact], request: &Request) -> Vec<String> {
    let Some(platform) = request.platform else { return Vec::new() };
    let taken = platform.rules.containers;
    let refused = artifacts.iter().filter(|artifact| artifact.output.recipe.container().is_some_and(|name| !taken.contains(&name)));
    refused.map(|Artifact { output, .. }| format!("{} takes {}, not {}", platform.name, taken.join(" or "), output.name)).collect()
}

/// When a disk that others made is looked at for the zeros that it holds as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Before anything is made of it: they become gaps of the outputs.
    Before,
    /// While the outputs are written, by whoever writes them ([`Source::has_zeros`]); before that only as far as their layout asks for it.
    Later,
}

/// What an input is to a conversion, with what the user gives beside it.
///
/// # Errors
/// When it is damaged, or the user asks for something that it cannot heed.
pub fn source(input: &Input, request: &Request, look: Look, env: &mut Env) -> Result<Source> {
    let draft: Draft = match input {
        Input::Disk { format, file, disk, unpacked } => {
            request.refuse_for_disk()?;
            let sector = format.sector(file)?;
            // What a decoder had to unpack it has looked at.
            return Ok(Source::Disk(match look {
                Look::Before => Given { disk: zeros::drop_zeros(disk, unpacked, env)?, sector, seen: None },
                Look::Later => Given { disk: disk.clone(), sector, seen: Some(unpacked.clone()) },
            }));
        }
        Input::Tar(tar) => tar.draft(env)?,
        Input::Uki(file) => image::uki::boot(file)?.image(env)?.into(),
        Input::Container(container) => process::draft(container, &request.process),
    };
    let execution = if let Input::Container(container) = input { Some(&container.execution) } else { None };
    if let (false, Some(setting)) = (request.process.is_ours(execution), request.given(Heeder::Process).next()) {
        let what = format!("{} is for a process that moby starts, and here it starts none", setting.option);
        return Err(Error::unsupported(what).hint("leave it out, or say what to start with --entrypoint"));
    }
    let image = process::image(draft, execution, &request.process, &request.overrides, env)?;
    let image = bootable::mend_console(image, &mut |text| env.progress.warn(text))?;
    Ok(Source::Image(Arc::new(image)))
}
