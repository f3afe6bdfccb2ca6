//! Amazon's images: a snapshot by EBS direct (API 2019-11-02), registered by EC2 (API 2016-11-15).
//!
//! ```text
//!  StartSnapshot ─► PutSnapshotBlock, 512 KiB each ─► CompleteSnapshot ─► DescribeSnapshots: completed ─► RegisterImage
//! ```
//! Blocks of zeros are left out. A snapshot that is not completed cannot be found again, so a killed run is not gone on with: its
//! snapshot ends by itself, a while after its last block.

mod requests;

use crate::{
    secrets,
    store::{Stores, each, lock},
    text::{SHOWN, shown},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use formats::{At, Blob, Error, Kind, Progress, Result, blob::is_zero, units};
use requests::Started;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Bytes of a block.
const BLOCK: u64 = 512 * units::KIB;
/// How long a snapshot is waited for once all its blocks are there.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// How long it takes at most until everybody knows of a snapshot.
const KNOWN_WITHIN: Duration = Duration::from_secs(60);
/// The longest time between two looks at it.
const LOOK_MAX: Duration = Duration::from_secs(15);

/// What machines are told by when they start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootMode {
    /// BIOS.
    LegacyBios,
    /// UEFI.
    Uefi,
    /// UEFI where the type of machine has it, else BIOS.
    UefiPreferred,
}

impl BootMode {
    /// As EC2 writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::LegacyBios => "legacy-bios",
            Self::Uefi => "uefi",
            Self::UefiPreferred => "uefi-preferred",
        }
    }
}

/// What an image is to be.
#[derive(Clone, Debug)]
pub struct Image {
    /// Unique among those of its owner in a region.
    pub name: String,
    /// What people read; empty where there is nothing.
    pub description: String,
    /// `x86_64` or `arm64`.
    pub architecture: &'static str,
    /// What its machines start by.
    pub boot_mode: BootMode,
    /// Whether they have a TPM.
    pub tpm: bool,
    /// The variables of their firmware, as EC2 takes them.
    pub uefi_data: Option<String>,
    /// Names and values that image and snapshot get.
    pub tags: Vec<(String, String)>,
}

impl Image {
    /// Refuses what EC2 would refuse when everything is sent.
    ///
    /// # Errors
    /// Bad input: the name has other characters or another length; a TPM or variables of UEFI without UEFI; a tag that is none.
    pub fn check(&self) -> Result<()> {
        let sound = |c: char| c.is_ascii_alphanumeric() || "()[] ./-'@_".contains(c);
        if !(3..=128).contains(&self.name.len()) || !self.name.chars().all(sound) {
            let what = format!("the name '{}' has {} bytes", self.name.escape_debug(), self.name.len());
            return Err(Error::bad_input(what).hint("names of images have 3 to 128 letters, digits, and ( ) [ ] . / - ' @ _ and blanks"));
        }
        if self.description.chars().count() > 255 {
            return Err(Error::bad_input("the description has more than 255 characters"));
        }
        let wants = if self.tpm { Some("a TPM") } else { self.uefi_data.as_ref().map(|_| "UefiData") };
        if let Some(wants) = wants.filter(|_| self.boot_mode != BootMode::Uefi) {
            let what = format!("{wants} needs the boot mode uefi, the image's is {}", self.boot_mode.name());
            return Err(Error::bad_input(what).hint("--boot-mode uefi"));
        }
        // "Up to 50 tags; keys have at most 128 characters and do not begin with aws:, values at most 256."
        let bad = |(key, value): &&(String, String)| {
            key.is_empty() || key.starts_with("aws:") || key.chars().count() > 128 || value.chars().count() > 256
        };
        if let Some((key, _)) = self.tags.iter().find(bad) {
            let what = format!("the tag '{}' is none that EC2 takes", key.escape_debug());
            return Err(Error::bad_input(what).hint("keys have 1 to 128 characters and do not begin with aws:, values at most 256"));
        }
        Ok(())
    }
}

/// An image that comes to be.
pub struct Import {
    stores: Arc<Stores>,
    region: String,
    /// The snapshot that was begun and is no image's yet. Held while it is begun or becomes one.
    snapshot: Mutex<Option<String>>,
    is_over: AtomicBool,
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Import({})", self.region)
    }
}

/// Blocks that are there, and their digests.
type Digests = BTreeMap<u64, [u8; 32]>;

impl Import {
    /// Into a region, or the one that is meant where none is named.
    ///
    /// # Errors
    /// Bad input: no place names a region, or it is none.
    pub fn new(stores: Arc<Stores>, region: Option<&str>) -> Result<Self> {
        let region = match region {
            Some(region) => {
                secrets::aws::checked_region(region).at(|| "--region")?;
                region.to_owned()
            }
            None => stores.aws.region(&stores.http, &*stores.clock)?,
        };
        Ok(Self { stores, region, snapshot: Mutex::default(), is_over: AtomicBool::default() })
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Refuses a name that an image has already, before anything is sent.
    ///
    /// # Errors
    /// Bad input: it is taken. Remote: the cloud refuses or fails.
    pub fn refuse_taken(&self, image: &Image) -> Result<()> {
        match self.image_of(&image.name)? {
            Some((id, _)) => Err(taken(&image.name, &id, &self.region)),
            None => Ok(()),
        }
    }

    /// Brings the blocks of a disk into a snapshot that nobody uses yet, and says which.
    ///
    /// # Errors
    /// Remote: the cloud refuses or fails. Io: the disk cannot be read, or it was abandoned.
    pub fn send(&self, disk: &Blob, image: &Image, progress: &dyn Progress) -> Result<String> {
        let id = {
            let mut snapshot = lock(&self.snapshot);
            self.refuse_over()?;
            let gib = disk.len().div_ceil(units::GIB).max(1);
            let Started { id, block } = self.start(gib, &self.token(disk, image), image)?;
            snapshot.replace(id.clone());
            if block.is_some_and(|block| block != BLOCK) {
                return Err(Error::new(Kind::Remote, format!("{id} has blocks of {} bytes, must be {BLOCK}", block.unwrap_or_default())));
            }
            id
        };
        let digests = self.blocks(&id, disk, progress)?;
        self.refuse_over()?;
        if let Err(error) = self.complete(&id, digests.len(), &linear(&digests)) {
            // The answer to an earlier try may have been lost: what is completed cannot be completed once more.
            self.refuse_over()?;
            let is_completed = self.state(&id)?.is_some_and(|(state, _)| state == "completed");
            return if is_completed { Ok(id) } else { Err(error) };
        }
        self.completed(&id)?;
        Ok(id)
    }

    /// What makes a request that is sent twice one snapshot. It has the moment in it: who begins anew after a snapshot was deleted would
    /// else be told of the deleted one.
    fn token(&self, disk: &Blob, image: &Image) -> String {
        let text = format!("{}\n{}\n{}\n{}\n", image.name, self.region, disk.len(), self.stores.clock.now().as_nanos());
        units::hex(&Sha256::digest(text))
    }

    /// Puts every block that has data, several at a time.
    fn blocks(&self, id: &str, disk: &Blob, progress: &dyn Progress) -> Result<Digests> {
        progress.expect(disk.data_units(BLOCK).map(|run| (run.end * BLOCK).min(disk.len()) - run.start * BLOCK).sum());
        let digests = Mutex::new(Digests::new());
        each(self.stores.connections.get(), disk.data_units(BLOCK).flatten(), || {
            let mut block = vec![0; usize::try_from(BLOCK).unwrap_or_default()];
            let digests = &digests;
            move |number| {
                self.refuse_over()?;
                let digest = self.block(id, disk, number, &mut block)?;
                lock(digests).extend(digest.map(|digest| (number, digest)));
                progress.advance(((number + 1) * BLOCK).min(disk.len()) - number * BLOCK);
                Ok(())
            }
        })?;
        Ok(digests.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts one block, unless it is all zeros; what lies behind the disk's end is.
    fn block(&self, id: &str, disk: &Blob, number: u64, block: &mut [u8]) -> Result<Option<[u8; 32]>> {
        let start = number * BLOCK;
        let len = usize::try_from(disk.len().min(start + BLOCK) - start).unwrap_or_default();
        let (data, behind) = block.split_at_mut(len);
        disk.read_at(start, data)?;
        behind.fill(0);
        if is_zero(block) {
            return Ok(None);
        }
        let digest = Sha256::digest(&*block).into();
        self.put(id, number, block, &digest)?;
        Ok(Some(digest))
    }

    /// Waits until a snapshot is whole.
    fn completed(&self, id: &str) -> Result<()> {
        let (mut waited, mut next) = (Duration::ZERO, Duration::from_secs(1));
        loop {
            self.refuse_over()?;
            let Some((state, told)) = self.state(id)?.or_else(|| (waited < KNOWN_WITHIN).then(|| ("unknown".to_owned(), String::new())))
            else {
                return Err(Error::new(Kind::Remote, format!("the snapshot {id} is gone: somebody deleted it")));
            };
            match state.as_str() {
                "completed" => return Ok(()),
                "error" => return Err(Error::new(Kind::Remote, format!("the snapshot {id} has failed{told}"))),
                _ if waited >= WAIT_MAX => {
                    let what = format!("the snapshot {id} is still {state}{told} after {} minutes", WAIT_MAX.as_secs() / 60);
                    return Err(Error::new(Kind::Remote, what).hint("try later"));
                }
                _ => {}
            }
            self.stores.clock.wait(next);
            waited += next;
            next = (next * 2).min(LOOK_MAX);
        }
    }

    /// Makes an image of the snapshot that was sent, and says which.
    ///
    /// # Errors
    /// Bad input: its name is taken by now. Remote: the cloud refuses or fails.
    pub fn register(&self, image: &Image) -> Result<String> {
        let mut snapshot = lock(&self.snapshot);
        self.refuse_over()?;
        let Some(id) = snapshot.clone() else { return Err(Error::bad_input("there is no snapshot to make an image of")) };
        let made = match self.register_on(&id, image)? {
            Some(made) => made,
            // An answer that was lost: the image is ours. Else somebody was faster.
            None => match self.image_of(&image.name)? {
                Some((made, snapshots)) if snapshots.contains(&id) => made,
                Some((other, _)) => return Err(taken(&image.name, &other, &self.region)),
                None => return Err(taken(&image.name, "another image", &self.region)),
            },
        };
        *snapshot = None;
        self.is_over.store(true, Ordering::Relaxed);
        Ok(made)
    }

    /// Deletes the snapshot of which no image was made; what is under way ends with an error. It lasts as long as EC2 takes to answer.
    ///
    /// # Errors
    /// When it may be left.
    pub fn abandon(&self) -> Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        // Who comes second waits for the first.
        let mut snapshot = lock(&self.snapshot);
        snapshot.take().map_or(Ok(()), |id| self.delete(&id).at(|| id))
    }

    fn refuse_over(&self) -> Result<()> {
        if self.is_over.load(Ordering::Relaxed) { Err(Error::new(Kind::Environment, "was abandoned")) } else { Ok(()) }
    }
}

/// The checksum of a snapshot: over the digests of its blocks, as bytes and in the order of blocks.
fn linear(digests: &Digests) -> String {
    let all: Vec<u8> = digests.values().flatten().copied().collect();
    BASE64_STANDARD.encode(Sha256::digest(all))
}

fn taken(name: &str, id: &str, region: &str) -> Error {
    let what = format!("the name '{}' is taken in {region} by {}", name.escape_debug(), shown(id, SHOWN));
    Error::bad_input(what).hint("choose another name, or deregister that image")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        Image {
            name: "app 1.0".into(),
            description: String::new(),
            architecture: "x86_64",
            boot_mode: BootMode::UefiPreferred,
            tpm: false,
            uefi_data: None,
            tags: Vec::new(),
        }
    }

    /// What hashlib says: `b64encode(sha256(sha256(b"a").digest() + sha256(b"b").digest()).digest())`.
    #[test]
    fn a_snapshot_has_the_checksum_of_raw_digests_in_order() {
        let digests = Digests::from([(7, Sha256::digest(b"b").into()), (3, Sha256::digest(b"a").into())]);
        assert_eq!(linear(&digests), "5aAf7hTg7VxIcU8iGA8lrYNltT+XefedxKPX6Tlj+Uo=");
    }

    #[test]
    fn what_ec2_would_refuse_is_refused_first() {
        image().check().unwrap();
        let refused = |image: Image| {
            let error = image.check().unwrap_err();
            format!("{error} {}", error.hint_text().unwrap_or_default())
        };
        assert!(refused(Image { name: "ab".into(), ..image() }).contains("3 to 128"));
        assert!(refused(Image { name: "app:1".into(), ..image() }).contains("'app:1'"));
        assert!(refused(Image { tpm: true, ..image() }).contains("--boot-mode uefi"));
        assert!(refused(Image { uefi_data: Some("x".into()), ..image() }).contains("UefiData needs the boot mode uefi"));
        assert!(refused(Image { tags: vec![("aws:x".into(), "y".into())], ..image() }).contains("do not begin with aws:"));
        Image { tpm: true, boot_mode: BootMode::Uefi, ..image() }.check().unwrap();
    }
}
