//! To a registry: what an image becomes there, and how it gets there.

use super::UnderWay;
use crate::{
    error::{At, Error, Result},
    images::go_arch,
    names::Named,
};
use formats::{
    Blob, Format, Progress, Timestamp,
    kernel::Arch,
    oci::{Artifact, Descriptor, Execution, Made, Platform, Reference, container_disk},
    parallel,
};
use net::{Arrival, Client, Push, Repository};
use std::{
    fmt,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

/// Blobs that are under way at once.
const AT_ONCE: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// What an artifact of ours is.
const ARTIFACT_TYPE: &str = "application/vnd.moby.disk.v1";

/// What images become: values of `--as`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// What KubeVirt starts a machine from.
    ContainerDisk,
    /// Files.
    Artifact,
    /// What containers are started from.
    Image,
}

impl Named for Form {
    const WHAT: &'static str = "form";

    fn all() -> Vec<Self> {
        vec![Self::ContainerDisk, Self::Artifact, Self::Image]
    }

    fn name(self) -> &'static str {
        match self {
            Self::ContainerDisk => "container-disk",
            Self::Artifact => "artifact",
            Self::Image => "image",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::ContainerDisk => "what KubeVirt starts a machine from",
            Self::Artifact => "files as they are, as ORAS pushes and pulls them",
            Self::Image => "what containers are started from: a tar as its one layer",
        }
    }
}

impl Form {
    /// The platform whose rules a disk has to keep to.
    pub fn platform(self) -> Option<&'static str> {
        (self == Self::ContainerDisk).then_some("kubevirt")
    }
}

/// A file that is pushed.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What it is called.
    pub name: String,
    /// What container it is, if it is one.
    pub format: Option<&'static dyn Format>,
    /// Its bytes.
    pub file: Blob,
    /// The machine that it is for, where that is known.
    pub platform: Option<Platform>,
}

/// What files become, several under one index.
///
/// # Errors
/// When one cannot be read or become that, or its machine has to be known and is not.
pub fn made(form: Form, subjects: &[Subject], execution: &Execution, time: Timestamp) -> Result<Made> {
    let one = |subject: &Subject| {
        let format = subject.format.map(Format::name);
        match form {
            Form::ContainerDisk => {
                let layer = container_disk::layer(format.unwrap_or("no disk"), &subject.file, time)?;
                Made::image(&layer, &Execution::default(), subject.machine()?, time)
            }
            Form::Image => Made::image(&subject.file, execution, subject.machine()?, time),
            Form::Artifact => {
                let (name, body, platform) = (&*subject.name, &subject.file, subject.platform.clone());
                let media_type = media_type(format);
                Made::artifact(&Artifact { artifact_type: ARTIFACT_TYPE, media_type, name, body, platform }, time)
            }
        }
    };
    let all = subjects.iter().map(|subject| one(subject).at(|| &subject.name)).collect::<Result<_>>()?;
    Made::index(all)
}

impl Subject {
    fn machine(&self) -> Result<&Platform> {
        self.platform.as_ref().ok_or_else(|| Error::bad_input("nothing tells which machines it is for").hint("say it with --arch"))
    }
}

/// Whether a containerDisk holds disks of this format as they are.
pub(crate) fn takes(format: &dyn Format) -> bool {
    ["qcow2", "raw"].contains(&format.name())
}

/// The machines of an architecture.
pub(crate) fn machine(arch: Arch) -> Platform {
    Platform::linux(go_arch(arch))
}

/// What a file in a container of this format is to whoever opens it, by the database of MIME types that desktops share.
fn media_type(format: Option<&str>) -> &'static str {
    match format {
        Some("qcow2") => "application/x-qemu-disk",
        Some("raw") => "application/x-raw-disk-image",
        Some("vdi") => "application/x-vdi-disk",
        Some("vhd") => "application/x-vhd-disk",
        Some("vhdx") => "application/x-vhdx-disk",
        Some("vmdk") => "application/x-vmdk-disk",
        _ => "application/octet-stream",
    }
}

/// What was put into a repository, and has no name there yet.
pub struct Unnamed {
    push: Arc<Push>,
    made: Made,
    tag: String,
    /// How each blob came there, in the order of [`Made::blobs`].
    pub arrivals: Vec<Arrival>,
    _under_way: UnderWay,
}

impl fmt::Debug for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unnamed").field("push", &self.push).finish_non_exhaustive()
    }
}

/// Where a name leads: a repository, and the tag in it.
///
/// # Errors
/// When the name has a digest, which is for nobody to choose, or no registry would take it.
pub fn place(name: &Reference) -> Result<(Repository, String)> {
    if name.digest().is_some() {
        return Err(Error::bad_input(format!("{name} has a digest, which follows from what is pushed")).hint("name a tag"));
    }
    Ok((Repository::new(name.host(), name.path())?, name.tag().unwrap_or("latest").to_owned()))
}

/// Looks whether a registry is there and lets us in, before much work is done for it.
///
/// # Errors
/// When it is not, or does not.
pub fn greet(client: &Arc<Client>, name: &Reference) -> Result<()> {
    client.push(&place(name)?.0)?.greet()
}

/// The first step: every blob, several at a time, and the manifests. `elsewhere` is a repository of the same registry that may have blobs
/// already.
///
/// # Errors
/// As [`Push::blob`]; then no upload is left open.
pub fn put(client: &Arc<Client>, name: &Reference, made: Made, elsewhere: Option<&Repository>, progress: &dyn Progress) -> Result<Unnamed> {
    let (repository, tag) = place(name)?;
    if let Some(other) = elsewhere.filter(|other| other.registry() != repository.registry()) {
        return Err(Error::bad_input(format!("{other} is at another registry than {repository}")));
    }
    let push = Arc::new(client.push(&repository)?);
    let under_way = UnderWay::new(Arc::clone(&push) as _, repository.to_string());
    let arrivals = blobs(&push, &made.blobs, elsewhere, progress)?;
    for manifest in &made.manifests {
        push.manifest(&manifest.descriptor.media_type, &manifest.bytes)?;
    }
    Ok(Unnamed { push, made, tag, arrivals, _under_way: under_way })
}

/// Puts blobs, several at a time; one that fails ends the others.
fn blobs(push: &Push, blobs: &[(Descriptor, Blob)], elsewhere: Option<&Repository>, progress: &dyn Progress) -> Result<Vec<Arrival>> {
    // The others fail because of it, and say less.
    let first: Mutex<Option<Error>> = Mutex::default();
    let arrivals = parallel::map(AT_ONCE, blobs.iter().collect(), |(descriptor, blob)| {
        let part = progress.part(&descriptor.digest.hex()[..8]);
        let arrival = push.blob(descriptor.digest.as_str(), blob, elsewhere, part.as_deref().unwrap_or(progress));
        arrival.map(Some).or_else(|error| {
            first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            push.abandon();
            Ok(None)
        })
    })?;
    match first.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(arrivals.into_iter().flatten().collect()),
    }
}

impl Unnamed {
    /// The second step: the tag.
    ///
    /// # Errors
    /// As [`Push::tag`]; then the tag is what it was.
    pub fn commit(self) -> Result<()> {
        self.push.tag(&self.tag, &self.made.top.descriptor.media_type, &self.made.top.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::{qcow2::Qcow2, vdi::Vdi};

    fn subject(format: &'static dyn Format, platform: Option<&str>) -> Subject {
        // Each has its own bytes: the same are there once.
        let file = Blob::bytes(platform.unwrap_or_default().as_bytes());
        Subject { name: "a.disk".into(), format: Some(format), file, platform: platform.map(Platform::linux) }
    }

    fn of(form: Form, subjects: &[Subject]) -> Result<Made> {
        made(form, subjects, &Execution::default(), Timestamp(0))
    }

    #[test]
    fn several_disks_are_an_index() {
        let both = [subject(&Qcow2, Some("amd64")), subject(&Qcow2, Some("arm64"))];
        for form in Form::all() {
            assert_eq!(of(form, &both).unwrap().manifests.len(), 2);
            assert!(of(form, &both[..1]).unwrap().manifests.is_empty());
        }
    }

    #[test]
    fn a_machine_that_nobody_knows_is_asked_for() {
        let error = of(Form::ContainerDisk, &[subject(&Qcow2, None)]).unwrap_err();
        assert!(error.to_string().starts_with("a.disk: nothing tells") && error.hint_text().unwrap().contains("--arch"), "{error}");
        assert!(of(Form::Artifact, &[subject(&Vdi, None)]).is_ok() && of(Form::ContainerDisk, &[subject(&Vdi, Some("amd64"))]).is_err());
    }

    #[test]
    fn a_name_has_no_digest() {
        let with: Reference = format!("h.test/a@sha256:{}", "0".repeat(64)).parse().unwrap();
        assert!(place(&with).is_err());
        let (repository, tag) = place(&"h.test/a/b".parse().unwrap()).unwrap();
        assert_eq!((repository.to_string().as_str(), tag.as_str()), ("h.test/a/b", "latest"));
    }
}
