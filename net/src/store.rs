//! Stores of objects: where files go that machines elsewhere are made of. `STORES` has a row for each kind.
//!
//! ```text
//!  Stores ── at("s3://bucket/app.img") ──► Object ── send(file) ──► its bytes are there, and nobody sees them
//!                                            ├── commit ──► now it has its name
//!                                            └── abandon ─► as if nothing had been
//! ```
//! A file goes in parts, several at a time ([`crate::parts`]). What an earlier run sent of the same file before it was killed is not sent
//! again, where the store tells of it.

pub(crate) mod azure;
mod fetched;
mod google;
mod http;
mod s3;

use crate::{
    clock::Clock,
    http::{Answer, Http, Transport},
    parts::{Part, Rules},
    retry::Failure,
    secrets,
    text::{SHOWN, shown},
    variables::Variables,
};
use fetched::Fetched;
use formats::{At, Blob, Error, Progress, Result};
use std::{
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// A kind of store.
pub struct Store {
    /// What its addresses begin with.
    pub scheme: &'static str,
    /// What it is.
    pub about: &'static str,
    /// An address.
    pub example: &'static str,
    /// A file-to-be at the address whose part behind the scheme this is.
    object: fn(Arc<Stores>, &str, Wishes) -> Opened<dyn Upload>,
    /// The file that is there.
    ranges: fn(Arc<Stores>, &str) -> Opened<dyn Ranges>,
}

/// One of several kinds, or why there is none.
type Opened<T> = Result<Box<T>>;

/// Every kind of store.
pub static STORES: &[Store] = &[s3::STORE, google::STORE, azure::STORE, http::HTTPS, http::HTTP];

/// What a file is to be like at a store.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Whether what has its name stays.
    pub no_clobber: bool,
}

/// How stores are reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Certificates, proxies, time limits, our name.
    pub transport: Transport,
    /// Who is asked in the place of the vendor: a URL.
    pub endpoint: Option<String>,
    /// How many parts are sent at a time.
    pub connections: NonZeroUsize,
}

/// Everything that stores are spoken to with.
pub struct Stores {
    pub(crate) http: Http,
    pub(crate) clock: Arc<dyn Clock>,
    /// Who is asked in the place of the vendor, if the user names anybody.
    pub(crate) endpoint: Option<String>,
    /// Who is asked in the place of the vendor, if anybody.
    google_endpoint: Option<String>,
    azure_endpoint: Option<String>,
    pub(crate) compute_endpoint: Option<String>,
    pub(crate) connections: NonZeroUsize,
    pub(crate) aws: secrets::aws::Chain,
    pub(crate) azure: secrets::azure::Chain,
    pub(crate) google: secrets::google::Chain,
    pub(crate) openstack: secrets::openstack::Chain,
    pub(crate) vsphere: secrets::vsphere::Chain,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").field("http", &self.http).finish_non_exhaustive()
    }
}

impl Stores {
    /// Nothing is connected yet, and no credentials are looked for but in the environment.
    pub fn new(settings: Settings, env: Variables<'_>, clock: Arc<dyn Clock>) -> Arc<Self> {
        let Settings { transport, endpoint, connections } = settings;
        let named = |names: &[&str]| endpoint.clone().or_else(|| names.iter().find_map(|name| env(name)?.into_string().ok()));
        Arc::new(Self {
            http: Http::new(transport, Arc::clone(&clock)),
            clock,
            google_endpoint: named(&["STORAGE_EMULATOR_HOST"]),
            azure_endpoint: named(&[]),
            // As gcloud has it.
            compute_endpoint: env("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE").and_then(|value| value.into_string().ok()),
            endpoint,
            connections,
            aws: secrets::aws::Chain::new(env),
            azure: secrets::azure::Chain::new(env),
            google: secrets::google::Chain::new(env),
            openstack: secrets::openstack::Chain::new(env),
            vsphere: secrets::vsphere::Chain::new(env),
        })
    }

    /// The file that is at an address, of which only those bytes are fetched that are read; none where it is an address of no store.
    ///
    /// # Errors
    /// When the store has no such addresses, nothing is there, or it is not to be had in pieces.
    pub fn open(self: &Arc<Self>, address: &str) -> Result<Option<Blob>> {
        let Some((store, rest)) = store_of(address) else { return Ok(None) };
        let ranges = (store.ranges)(Arc::clone(self), rest).map_err(|error| error.hint(format!("as in {}", store.example)))?;
        let file = Fetched::open(ranges, Arc::clone(self))?;
        let len = file.len();
        Ok(Some(Blob::elsewhere(Arc::new(file), len)))
    }

    /// Deletes a file of Google's, which may be gone already.
    ///
    /// # Errors
    /// When the store refuses or fails.
    pub(crate) fn remove(self: &Arc<Self>, address: &str) -> Result<()> {
        google::remove(Arc::clone(self), address.trim_start_matches(google::STORE.scheme))
    }

    /// The file that is to be at an address; none where it is an address of no store.
    ///
    /// # Errors
    /// When the store has no such addresses.
    pub fn at(self: &Arc<Self>, address: &str, wishes: Wishes) -> Result<Option<Object>> {
        let Some((store, rest)) = store_of(address) else { return Ok(None) };
        let upload = (store.object)(Arc::clone(self), rest, wishes)
            .map_err(|error| error.hint(format!("as in {}", store.example)))
            .at(|| shown(address, SHOWN))?;
        let (is_over, is_named) = (AtomicBool::default(), AtomicBool::default());
        Ok(Some(Object { address: address.to_owned(), stores: Arc::clone(self), upload, is_over, is_named, file: Mutex::new(None) }))
    }
}

/// The kind of store of an address, and what follows the scheme.
fn store_of(address: &str) -> Option<(&'static Store, &str)> {
    STORES.iter().find_map(|store| Some((store, address.strip_prefix(store.scheme)?)))
}

/// How pieces of a file are had.
trait Ranges: Send + Sync {
    /// Asks for some bytes, by the headers that say which, and that it is still the file with this tag.
    fn get(&self, headers: &[(&'static str, String)]) -> Result<Answer, Failure>;
}

/// How a file comes to a store. Parts are put from several threads.
trait Upload: Send + Sync {
    /// In which parts; none where the request that brings the file gives it its name, too.
    fn rules(&self) -> Option<Rules>;

    /// Whether parts must come one after the other.
    fn is_ordered(&self) -> bool {
        false
    }

    /// Makes ready for the parts of a file, which keeps a key with it where the store can.
    fn begin(&self, file: &Blob, key: Option<&str>) -> Result<()>;

    /// Whether a part without data costs nothing.
    fn has_zeros(&self) -> bool {
        false
    }

    /// Brings one part, and says when it did not have to be sent.
    fn put(&self, part: &Part, body: &Blob) -> Result<()>;

    /// Gives the file its name.
    fn finish(&self, file: &Blob) -> Result<()>;

    /// Leaves nothing of it. What fails may be left.
    fn abandon(&self) -> Result<()>;

    /// The key of the file that has the name.
    fn key(&self) -> Result<Option<String>>;
}

/// A file that is to be at a store.
pub struct Object {
    address: String,
    stores: Arc<Stores>,
    upload: Box<dyn Upload>,
    /// Whether nothing more is done with it.
    is_over: AtomicBool,
    /// Whether it has its name.
    is_named: AtomicBool,
    /// What was begun to be brought. Held while it is begun or taken back.
    file: Mutex<Option<Blob>>,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.address, SHOWN))
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({self})")
    }
}

impl Object {
    /// Brings all bytes of a file. Nobody sees them yet. `key` says what it was made of, and stays with it.
    ///
    /// # Errors
    /// When the store refuses or fails, or the file cannot be read.
    pub fn send(&self, file: &Blob, key: Option<&str>, progress: &dyn Progress) -> Result<()> {
        let upload = &*self.upload;
        {
            let mut begun = lock(&self.file);
            self.refuse_over()?;
            *begun = Some(file.clone());
            upload.begin(file, key)?;
        }
        let Some(rules) = upload.rules() else {
            progress.expect(file.len());
            return Ok(());
        };
        let is_free = |part: &Part| !part.has_data && upload.has_zeros();
        progress.expect(rules.parts(file)?.filter(|part| !is_free(part)).map(|part| part.len()).sum());
        let threads = if upload.is_ordered() { 1 } else { self.stores.connections.get() };
        each(threads, rules.parts(file)?, || {
            |part: Part| {
                self.refuse_over()?;
                upload.put(&part, &file.slice(part.range.clone()))?;
                if !is_free(&part) {
                    progress.advance(part.len());
                }
                Ok(())
            }
        })
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// When the store refuses or fails.
    pub fn commit(&self, progress: &dyn Progress) -> Result<()> {
        let file = lock(&self.file).clone().unwrap_or_default();
        self.refuse_over()?;
        self.upload.finish(&file)?;
        if self.upload.rules().is_none() {
            progress.advance(file.len());
        }
        self.is_named.store(true, Ordering::Relaxed);
        self.is_over.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// What the file was made of that is there now; nothing where nobody says, or there is none.
    ///
    /// # Errors
    /// When the store refuses or fails.
    pub fn key(&self) -> Result<Option<String>> {
        self.upload.key()
    }

    /// Leaves nothing of a file that has not its name; what is under way ends with an error. It lasts as long as the store takes to answer.
    ///
    /// # Errors
    /// When something may be left.
    pub fn abandon(&self) -> Result<()> {
        if self.is_named.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.is_over.store(true, Ordering::Relaxed);
        // What is under way shall not come to be there behind us.
        self.stores.http.stop();
        // Who comes second waits for the first.
        let mut file = lock(&self.file);
        if file.take().is_some() { self.upload.abandon() } else { Ok(()) }
    }

    fn refuse_over(&self) -> Result<()> {
        if self.is_over.load(Ordering::Relaxed) { Err(Error::new(formats::Kind::Environment, "was abandoned")) } else { Ok(()) }
    }
}

/// Why a file does not come to be where another one is.
fn taken() -> Error {
    Error::bad_input("somebody made it, and --no-clobber is given")
}

/// Does something with each of many, on so many threads, each of which has a worker of its own. The first that fails ends it.
pub(crate) fn each<T, W: FnMut(T) -> Result<()>>(
    threads: usize,
    all: impl Iterator<Item = T> + Send,
    worker: impl Fn() -> W + Sync,
) -> Result<()> {
    let (all, failed) = (Mutex::new(all), Mutex::new(None::<Error>));
    let work = || {
        let mut work = worker();
        loop {
            // Not held while it is done.
            let Some(one) = lock(&all).next() else { return };
            if let Err(error) = work(one) {
                lock(&failed).get_or_insert(error);
            }
            if lock(&failed).is_some() {
                return;
            }
        }
    };
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// What it guards is whole whoever panicked.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
