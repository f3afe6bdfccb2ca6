//! Azure's images: a page blob, of which the resource manager makes an image or a version of a gallery's.
//!
//! ```text
//!  pages of NAME.vhd ─► PUT images/NAME, or galleries/G/images/D/versions/V ─► its operation: Succeeded ─► the blob is deleted
//! ```
//! A disk of Azure's own keeping needs no storage account: it is begun empty, its pages are written by a URL that is good for a day.
//! What is made of a blob has copied the blob by then. Managed images are for x64 alone; a gallery's are what their definition says.

mod requests;

use crate::{
    parts::{Part, Rules, Zeros},
    store::{Object, Stores, Wishes, each, lock},
    text::{SHOWN, shown},
    url::{Url, is_loopback},
};
use formats::{At, Blob, Error, Kind, Progress, Result, units};
use serde_json::{Value, json};
use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// Versions of the interface: for images, disks, galleries, storage accounts and resource groups.
const IMAGES: &str = "2023-09-01";
const DISKS: &str = "2023-10-02";
const GALLERIES: &str = "2023-07-03";
const ACCOUNTS: &str = "2023-01-01";
const GROUPS: &str = "2021-04-01";

/// What machines are made of: BIOS, or UEFI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// They start by BIOS.
    V1,
    /// They start by UEFI.
    V2,
}

impl Generation {
    /// As Azure writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "V1",
            Self::V2 => "V2",
        }
    }
}

/// Where a version is in a gallery.
#[derive(Clone, Debug)]
pub struct Version {
    /// The gallery.
    pub gallery: String,
    /// The definition in it.
    pub definition: String,
    /// Three numbers.
    pub number: String,
}

/// What an image is to be.
#[derive(Clone, Debug)]
pub struct Image {
    /// The name of an image; a version has its own.
    pub name: String,
    /// Whose it is.
    pub subscription: String,
    /// In which group.
    pub group: String,
    /// Where it is; the group's place where nobody says.
    pub location: Option<String>,
    /// A version of a gallery's in the place of an image.
    pub version: Option<Version>,
    /// Where copies of a version are, beside where it is.
    pub regions: Vec<String>,
    /// The `uefiSettings` of a version: whom Secure Boot trusts on its machines.
    pub uefi: Option<Value>,
    /// A disk in the place of an image.
    pub disk: bool,
    /// `x64` or `Arm64`.
    pub architecture: &'static str,
    /// What its machines start by.
    pub generation: Generation,
    /// Names and values.
    pub tags: Vec<(String, String)>,
}

impl Image {
    /// Refuses what Azure would refuse when everything is sent.
    ///
    /// # Errors
    /// Bad input: a name with other characters or another length, a version that is none. Unsupported: an image for ARM without a gallery,
    /// copies or `uefiSettings` of what is no version, or settings of UEFI for machines that have none.
    pub fn check(&self) -> Result<()> {
        let sound = |what: &str, name: &str, most: usize| {
            let is_sound = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if (1..=most).contains(&name.len()) && name.chars().all(is_sound) && !name.ends_with('.') {
                return Ok(());
            }
            let text = format!("the {what} '{}' has {} bytes", shown(name, SHOWN), name.len());
            Err(Error::bad_input(text).hint(format!("it must have 1 to {most} letters, digits, hyphens, dots and underscores")))
        };
        sound("name", &self.name, 80)?;
        sound("subscription", &self.subscription, 36)?;
        sound("resource group", &self.group, 90)?;
        self.regions.iter().try_for_each(|region| sound("region", &place(region), 80))?;
        if self.uefi.is_some() && self.generation == Generation::V1 {
            return Err(Error::unsupported("uefiSettings are for machines that start by UEFI, the image is for generation V1"));
        }
        let Some(version) = &self.version else {
            if self.uefi.is_some() || !self.regions.is_empty() {
                let error = Error::unsupported("only versions in galleries have copies and uefiSettings");
                return Err(error.hint("--gallery NAME --definition NAME --version 1.0.0"));
            }
            if self.architecture == "Arm64" && !self.disk {
                let error = Error::unsupported("Azure has no images for ARM but in galleries");
                return Err(error.hint("--gallery NAME --definition NAME --version 1.0.0, or --disk"));
            }
            return Ok(());
        };
        sound("gallery", &version.gallery, 80)?;
        sound("definition", &version.definition, 80)?;
        let numbers: Vec<_> = version.number.split('.').map(str::parse::<u32>).collect();
        match numbers.len() == 3 && numbers.iter().all(Result::is_ok) {
            true => Ok(()),
            false => Err(Error::bad_input(format!("the version '{}' must be three numbers, as 1.0.0", shown(&version.number, SHOWN)))),
        }
    }

    fn group(&self) -> String {
        format!("/subscriptions/{}/resourceGroups/{}", self.subscription, self.group)
    }

    /// Where the definition of a gallery's image is.
    fn definition(&self, version: &Version) -> String {
        let Version { gallery, definition, .. } = version;
        format!("{}/providers/Microsoft.Compute/galleries/{gallery}/images/{definition}", self.group())
    }

    /// What it is called by everybody, and the version of the interface that has such things.
    fn id(&self) -> (String, &'static str) {
        match &self.version {
            Some(version) => (format!("{}/versions/{}", self.definition(version), version.number), GALLERIES),
            None if self.disk => (format!("{}/providers/Microsoft.Compute/disks/{}", self.group(), self.name), DISKS),
            None => (format!("{}/providers/Microsoft.Compute/images/{}", self.group(), self.name), IMAGES),
        }
    }

    /// What the resource manager is told of it.
    fn body(&self, location: &str, from: &Source<'_>) -> Value {
        let tags: serde_json::Map<_, _> = self.tags.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
        let properties = match from {
            Source::Nothing { bytes } => json!({
                "osType": "Linux",
                "hyperVGeneration": self.generation.name(),
                "supportedCapabilities": {"architecture": self.architecture},
                "creationData": {"createOption": "Upload", "uploadSizeBytes": bytes},
            }),
            Source::Blob { uri, account } if self.version.is_some() => {
                let mut version = json!({
                    "publishingProfile": {"targetRegions": self.targets(location)},
                    "storageProfile": {"osDiskImage": {"source": {"storageAccountId": account, "uri": uri}}},
                });
                if let Some(settings) = &self.uefi {
                    version["securityProfile"] = json!({"uefiSettings": settings});
                }
                version
            }
            Source::Blob { uri, .. } => json!({
                "hyperVGeneration": self.generation.name(),
                "storageProfile": {"osDisk": {"osType": "Linux", "osState": "Generalized", "blobUri": uri}},
            }),
        };
        json!({"location": location, "tags": tags, "properties": properties})
    }
}

impl Image {
    /// Where a version is: each place once.
    fn targets(&self, location: &str) -> Value {
        let mut places: Vec<&str> = Vec::new();
        for region in [location].into_iter().chain(self.regions.iter().map(String::as_str)) {
            if !places.iter().any(|other| place(other) == place(region)) {
                places.push(region);
            }
        }
        places.into_iter().map(|name| json!({"name": name, "regionalReplicaCount": 1})).collect()
    }
}

/// A place as Azure compares it: `West Europe` is `westeurope`.
fn place(name: &str) -> String {
    name.replace(' ', "").to_ascii_lowercase()
}

/// Of what it is made.
enum Source<'a> {
    /// A blob, and what the resource manager calls its account.
    Blob { uri: &'a str, account: &'a str },
    /// So many bytes are going to be written, with a VHD's footer.
    Nothing { bytes: u64 },
}

/// "Pages have 512 bytes; at most 4 MiB are put at a time."
const PAGES: Rules =
    Rules { unit: 64 * units::KIB, part: 4 * units::MIB, part_max: 4 * units::MIB, count_max: u64::MAX, zeros: Zeros::Skipped };

/// An image that comes to be.
pub struct Import {
    stores: Arc<Stores>,
    /// The resource manager, where it is not the public cloud's.
    endpoint: Option<String>,
    /// The blob while it is needed; a disk has none.
    blob: Option<Object>,
    /// What ARM calls the blob, and the account that it is in.
    uri: String,
    account: String,
    /// What was begun, until it is whole. Held while it is.
    begun: Mutex<Option<(String, &'static str)>>,
    is_over: AtomicBool,
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Import({})", self.uri)
    }
}

impl Import {
    /// By way of a blob in a container of the storage account that the environment names.
    ///
    /// # Errors
    /// Bad input: there is no account, or the container or the endpoint is none.
    pub fn new(stores: Arc<Stores>, endpoint: Option<String>, container: &str, image: &Image) -> Result<Self> {
        image.check()?;
        if image.disk {
            let (blob, uri, account) = (None, String::new(), String::new());
            return Ok(Self { stores, endpoint, blob, uri, account, begun: Mutex::default(), is_over: AtomicBool::default() });
        }
        let rest = format!("{container}/{}.vhd", image.name);
        let (account, uri) = crate::store::azure::place(&stores, &rest)?;
        let none = || Error::bad_input("there is no such store");
        let blob = Some(stores.at(&format!("az://{rest}"), Wishes::default())?.ok_or_else(none)?);
        Ok(Self { stores, endpoint, blob, uri, account, begun: Mutex::default(), is_over: AtomicBool::default() })
    }

    /// What there may be of an image that is not finished.
    pub fn unfinished(&self, image: &Image) -> String {
        let (id, _) = image.id();
        if self.blob.is_some() { format!("{id}, and the blob {}", self.uri) } else { id }
    }

    /// Refuses what is there already, and says where the image is to be.
    ///
    /// # Errors
    /// Bad input: it is there, or its group is not. Remote: the resource manager refuses or fails.
    pub fn refuse_taken(&self, image: &Image) -> Result<String> {
        let group = self.get(&image.group(), GROUPS)?;
        let lacks = |what: String| Error::bad_input(what).hint("make it first, or name another");
        let group = group.ok_or_else(|| lacks(format!("there is no resource group {}", image.group)))?;
        let (id, version) = image.id();
        if self.get(&id, version)?.is_some() {
            return Err(Error::bad_input(format!("{id} is there already")).hint("choose another name or version, or delete it"));
        }
        let theirs = group.get("location").and_then(Value::as_str);
        let location = image.location.as_deref().or(theirs).ok_or_else(|| Error::bad_input("nothing names a place").hint("--location"))?;
        Ok(location.to_owned())
    }

    /// Refuses a disk for other machines than the definition in the gallery is for.
    ///
    /// # Errors
    /// Bad input: it is, or there is no such definition. Remote: the resource manager refuses or fails.
    pub fn refuse_other_machines(&self, image: &Image) -> Result<()> {
        let Some(version) = &image.version else { return Ok(()) };
        let definition = self.get(&image.definition(version), GALLERIES)?.ok_or_else(|| {
            let what = format!("the gallery {} has no definition {}", version.gallery, version.definition);
            Error::bad_input(what).hint("make it first: az sig image-definition create")
        })?;
        let says = |name: &str, otherwise: &str| {
            let value = definition.get("properties").and_then(|properties| properties.get(name)).and_then(Value::as_str);
            shown(value.unwrap_or(otherwise), SHOWN)
        };
        for (name, found, ours) in [
            ("hyperVGeneration", says("hyperVGeneration", "V1"), image.generation.name()),
            ("architecture", says("architecture", "x64"), image.architecture),
        ] {
            if !found.eq_ignore_ascii_case(ours) {
                let what = format!("the definition {} is for {name} {found}, the disk for {ours}", version.definition);
                return Err(Error::bad_input(what).hint("choose a definition that is for the same machines"));
            }
        }
        Ok(())
    }

    /// Brings the pages of a fixed VHD into the blob, or into a disk that is begun for them.
    ///
    /// # Errors
    /// As [`Object::send`].
    pub fn send(&self, file: &Blob, image: &Image, location: &str, progress: &dyn Progress) -> Result<()> {
        self.refuse_over()?;
        match &self.blob {
            Some(blob) => blob.send(file, None, progress),
            None => self.write(file, image, location, progress),
        }
    }

    /// Begins a disk, and writes its pages.
    fn write(&self, file: &Blob, image: &Image, location: &str, progress: &dyn Progress) -> Result<()> {
        let (id, version) = self.begin(image, location, &Source::Nothing { bytes: file.len() })?;
        let access = json!({"access": "Write", "durationInSeconds": 86400});
        let said = self.post(&format!("{id}/beginGetAccess"), version, &access)?;
        let url = signed(&self.follow(said, &id, version)?)?;
        progress.expect(PAGES.parts(file)?.map(|part| part.len()).sum());
        each(self.stores.connections.get(), PAGES.parts(file)?, || {
            |part: Part| {
                self.refuse_over()?;
                self.page(&url, part.range.start, &file.slice(part.range.clone()))?;
                progress.advance(part.len());
                Ok(())
            }
        })
    }

    /// Has something made, and waits until it is there.
    fn begin(&self, image: &Image, location: &str, from: &Source<'_>) -> Result<(String, &'static str)> {
        let (id, version) = image.id();
        let said = {
            let mut begun = lock(&self.begun);
            self.refuse_over()?;
            *begun = Some((id.clone(), version));
            self.put(&id, version, &image.body(location, from))?
        };
        self.follow(said, &id, version)?;
        Ok((id, version))
    }

    /// Makes an image of the blob, and deletes that, or ends the writing of a disk. Says what it is called.
    ///
    /// # Errors
    /// Remote: the resource manager refuses or fails, or takes hours.
    pub fn make(&self, image: &Image, location: &str) -> Result<String> {
        let id = if image.disk {
            let (id, version) = image.id();
            let said = self.post(&format!("{id}/endGetAccess"), version, &json!({}))?;
            self.follow(said, &id, version)?;
            id
        } else {
            let account = match image.version {
                Some(_) => self.account_id(&image.subscription)?,
                None => String::new(),
            };
            self.begin(image, location, &Source::Blob { uri: &self.uri, account: &account })?.0
        };
        lock(&self.begun).take();
        self.is_over.store(true, Ordering::Relaxed);
        // The image has copied it.
        match self.blob.as_ref().map_or(Ok(()), Object::abandon) {
            Ok(()) => Ok(id),
            Err(error) => Err(error.at(&self.uri).hint(format!("{id} is there; delete the blob yourself"))),
        }
    }

    /// The name by which the resource manager knows the storage account.
    fn account_id(&self, subscription: &str) -> Result<String> {
        let path = format!("/subscriptions/{subscription}/providers/Microsoft.Storage/storageAccounts");
        let accounts = self.get(&path, ACCOUNTS)?.unwrap_or_default();
        let all = accounts.get("value").and_then(Value::as_array).cloned().unwrap_or_default();
        let text = |account: &Value, name: &str| account.get(name).and_then(Value::as_str).map(str::to_owned);
        let ours = all.iter().find(|account| text(account, "name").as_ref() == Some(&self.account));
        ours.and_then(|account| text(account, "id")).ok_or_else(|| {
            Error::bad_input(format!("the subscription has no storage account {}", self.account))
                .hint("name one of its own: AZURE_STORAGE_ACCOUNT")
        })
    }

    /// Deletes the blob and what was begun of an image; what is under way ends with an error. It lasts as long as the cloud takes to answer.
    ///
    /// # Errors
    /// When one of them may be left.
    pub fn abandon(&self) -> Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        // Who comes second waits for the first.
        let mut begun = lock(&self.begun);
        let begun = begun.take().map_or(Ok(()), |(id, version)| {
            if self.blob.is_none() {
                // A disk that is being written is not deleted.
                let _: Result<_> = self.post(&format!("{id}/endGetAccess"), version, &json!({}));
            }
            self.delete(&id, version).at(|| id)
        });
        let blob = self.blob.as_ref().map_or(Ok(()), |blob| blob.abandon().at(|| &self.uri));
        begun.and(blob)
    }

    fn refuse_over(&self) -> Result<()> {
        if self.is_over.load(Ordering::Relaxed) { Err(Error::new(Kind::Environment, "was abandoned")) } else { Ok(()) }
    }
}

/// The URL by which pages are written, out of what an operation has come to.
fn signed(said: &Value) -> Result<Url> {
    let output = said.get("properties").and_then(|properties| properties.get("output")).unwrap_or(said);
    let text = output.get("accessSAS").and_then(Value::as_str);
    let url = text.and_then(|text| Url::parse(text).ok()).filter(|url| url.secure || is_loopback(&url.host));
    url.ok_or_else(|| Error::new(Kind::Remote, "Azure names no URL by which the disk is written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        Image {
            name: "app-1.0".into(),
            subscription: "00000000-0000-0000-0000-000000000000".into(),
            group: "images".into(),
            location: None,
            version: None,
            regions: Vec::new(),
            uefi: None,
            disk: false,
            architecture: "x64",
            generation: Generation::V2,
            tags: Vec::new(),
        }
    }

    fn version(number: &str) -> Option<Version> {
        Some(Version { gallery: "ours".into(), definition: "app".into(), number: number.into() })
    }

    #[test]
    fn what_azure_would_refuse_is_refused_first() {
        image().check().unwrap();
        Image { version: version("1.0.0"), architecture: "Arm64", ..image() }.check().unwrap();
        for (image, words) in [
            (Image { name: "a/b".into(), ..image() }, "the name 'a/b' has 3 bytes"),
            (Image { subscription: "../x".into(), ..image() }, "the subscription '../x'"),
            (Image { group: String::new(), ..image() }, "the resource group '' has 0 bytes"),
            (Image { architecture: "Arm64", ..image() }, "no images for ARM but in galleries"),
            (Image { version: version("1.0"), ..image() }, "must be three numbers"),
            (Image { version: version("1.0.x"), ..image() }, "must be three numbers"),
            (Image { version: version("1.0.0"), regions: vec!["a/b".into()], ..image() }, "the region 'a/b'"),
            (Image { regions: vec!["northeurope".into()], ..image() }, "only versions in galleries"),
            (Image { uefi: Some(json!({})), ..image() }, "only versions in galleries"),
            (Image { uefi: Some(json!({})), version: version("1.0.0"), generation: Generation::V1, ..image() }, "start by UEFI"),
        ] {
            let error = image.check().unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
