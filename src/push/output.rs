//! An output of a conversion at a registry: what `-o oci://NAME` is.
//!
//! A disk that KubeVirt takes, and of which we know for which machines it is, becomes a containerDisk; anything else an artifact.

use super::oci::{self, Form, Subject, Unnamed};
use crate::{
    emit::Destination,
    error::{At, Error, Kind, Result},
    image::disk,
};
use formats::{
    Blob, Env, FORMATS, Progress, Reading, Silent, Spool, Timestamp,
    oci::{Execution, Manifest, Reference},
    raw::Raw,
    spool::Place,
};
use net::Client;
use std::{
    fmt,
    fs::File,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What addresses at registries begin with.
pub(crate) const SCHEME: &str = "oci://";

/// The annotation that says of what an output was made.
const KEY: &str = "vnd.moby.key";

/// Registries as places for outputs.
#[derive(Clone, Debug)]
pub(crate) struct Registries {
    pub(crate) client: Arc<Client>,
    /// Whether what has a name there stays.
    pub(crate) no_clobber: bool,
    /// When images are made.
    pub(crate) time: Timestamp,
}

impl Registries {
    /// The place of an address; none where it is no registry's.
    ///
    /// # Errors
    /// When no registry would take the name.
    pub(crate) fn at(&self, address: &str) -> Result<Option<Arc<dyn Destination>>> {
        let Some(name) = address.strip_prefix(SCHEME) else { return Ok(None) };
        let name: Reference = name.parse()?;
        oci::place(&name)?;
        Ok(Some(Arc::new(Output { registries: self.clone(), name, unnamed: Mutex::default() })))
    }
}

/// An output.
#[derive(Debug)]
struct Output {
    registries: Registries,
    name: Reference,
    /// What is there, until it has its name.
    unnamed: Mutex<Option<Unnamed>>,
}

impl Output {
    fn unnamed(&self) -> MutexGuard<'_, Option<Unnamed>> {
        self.unnamed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes as they are pushed, and what they become.
    fn subject(&self, body: &Blob) -> Result<(Form, Subject)> {
        let mut env =
            Env { spool: Spool::new(Unpacked), time: self.registries.time, threads: NonZeroUsize::MIN, progress: Arc::new(Silent) };
        let mut format = None;
        for row in FORMATS {
            if format.is_none() && row.probe(body)? {
                format = Some(*row);
            }
        }
        // What no container claims is a disk where there is something to boot.
        let disk = format.map_or(Ok(body.clone()), |format| format.decode(body, &Reading::default(), &mut env));
        let platform = disk.ok().and_then(|disk| disk::arch(&disk, &mut env.spool)).map(oci::machine);
        let format = format.or_else(|| platform.is_some().then_some(&Raw as _));
        let is_disk = platform.is_some() && format.is_some_and(oci::takes);
        let form = if is_disk { Form::ContainerDisk } else { Form::Artifact };
        let name = self.name.path().rsplit('/').next().unwrap_or_default().to_owned();
        Ok((form, Subject { name, format, file: body.clone(), platform }))
    }
}

/// What is unpacked of an output of ours to look into it.
struct Unpacked;

impl fmt::Display for Unpacked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("temporary file")
    }
}

impl Place for Unpacked {
    fn file(&self) -> Result<File> {
        Ok(tempfile::tempfile()?)
    }

    fn may_grow(&self, _: &File, _: u64) -> Result<()> {
        Ok(())
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.name)
    }
}

impl Destination for Output {
    fn send(&self, body: &Blob, key: Option<&str>, progress: &dyn Progress) -> Result<()> {
        let Registries { client, no_clobber, time } = &self.registries;
        let (repository, tag) = oci::place(&self.name)?;
        if *no_clobber && client.tagged(&repository, &tag)?.is_some() {
            return Err(Error::bad_input("somebody made it, and --no-clobber is given"));
        }
        let (form, subject) = self.subject(body)?;
        let made = oci::made(form, &[subject], &Execution::default(), *time)?;
        let made = key.into_iter().fold(made, |made, key| made.saying(KEY, key));
        let unnamed = oci::put(client, &self.name, made, None, progress)?;
        *self.unnamed() = Some(unnamed);
        Ok(())
    }

    fn commit(&self, _: &dyn Progress) -> Result<()> {
        let unnamed = self.unnamed().take().ok_or_else(|| Error::new(Kind::Bug, "a name for what was not sent"))?;
        unnamed.commit()
    }

    /// What is being sent takes itself back ([`super::sweep`]); what was sent has no name, and the registry forgets it.
    fn abandon(&self) -> Result<()> {
        Ok(())
    }

    fn key(&self) -> Result<Option<String>> {
        let (repository, tag) = oci::place(&self.name)?;
        let manifest = self.registries.client.tagged(&repository, &tag)?;
        // What others put there is none of ours, and says nothing.
        let said = manifest.and_then(|manifest| Manifest::parse(&manifest.bytes).ok()).map(|manifest| manifest.annotations);
        Ok(said.into_iter().flatten().find_map(|(name, value)| (name == KEY).then_some(value)))
    }

    fn beside(&self, name: &str) -> Result<Arc<dyn Destination>> {
        let path = format!("{}/{}", self.name.host(), self.name.path());
        let directory = path.rfind('/').map_or("", |end| &path[..=end]);
        let beside = self.registries.at(&format!("{SCHEME}{directory}{name}")).at(|| name)?;
        beside.ok_or_else(|| Error::new(Kind::Bug, "a registry's address that is none"))
    }
}
