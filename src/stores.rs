//! Stores of objects as places for outputs: their addresses, and how they are reached.

use crate::{
    emit::{Destination, is_address},
    error::{Error, Result},
    push::output::{Registries, SCHEME},
};
use formats::{Blob, Progress, Timestamp};
use net::store::{self, Object, STORES};
use std::{
    fmt,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

/// How stores are reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stores {
    /// Who may vouch for them in the place of the machine's authorities.
    pub(crate) ca: Option<PathBuf>,
    /// Who is asked in the place of the vendor.
    pub(crate) endpoint: Option<String>,
    /// How many parts go at a time.
    pub(crate) connections: Option<NonZeroUsize>,
    /// Whether what has a name there stays.
    pub(crate) no_clobber: bool,
    /// Says when what is made of an output is made.
    pub(crate) time: Option<fn() -> Result<Timestamp>>,
    /// What they are spoken to with, once there is an address.
    pub(crate) open: Arc<OnceLock<Arc<net::Stores>>>,
}

/// Parts that go at a time where nobody says.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(8).expect("more than zero");

impl Stores {
    /// The place of an address; none where it is a path.
    ///
    /// # Errors
    /// When it is an address that no store has.
    pub(crate) fn at(&self, address: &str) -> Result<Option<Arc<dyn Destination>>> {
        if !is_address(address) {
            return Ok(None);
        }
        if address.starts_with(SCHEME) {
            return self.registries()?.at(address);
        }
        let there = Place { stores: self.shared()?, no_clobber: self.no_clobber };
        there.at(address).map(Some)
    }

    /// The file at an address; none where it is a path.
    ///
    /// # Errors
    /// When it is an address that no store has, or there is no such file.
    pub(crate) fn open(&self, address: &str) -> Result<Option<Blob>> {
        if !is_address(address) {
            return Ok(None);
        }
        match self.shared()?.open(address)? {
            None => Err(unknown(address, "read from")),
            found => Ok(found),
        }
    }

    pub(crate) fn shared(&self) -> Result<Arc<net::Stores>> {
        match self.open.get() {
            Some(open) => Ok(Arc::clone(open)),
            None => {
                let opened = self.opened()?;
                Ok(Arc::clone(self.open.get_or_init(|| opened)))
            }
        }
    }

    fn registries(&self) -> Result<Registries> {
        let mut settings = net::Settings::from_env(&net::process_variables)?;
        settings.transport.roots.ca = self.ca.clone();
        let client = Arc::new(net::Client::new(settings, Arc::new(net::clock::Machine))?);
        let time = self.time.map_or_else(|| Ok(Timestamp::default()), |time| time())?;
        Ok(Registries { client, no_clobber: self.no_clobber, time })
    }

    fn opened(&self) -> Result<Arc<net::Stores>> {
        let mut transport = net::Settings::from_env(&net::process_variables)?.transport;
        transport.roots.ca = self.ca.clone();
        let (endpoint, connections) = (self.endpoint.clone(), self.connections.unwrap_or(CONNECTIONS));
        let settings = store::Settings { transport, endpoint, connections };
        Ok(net::Stores::new(settings, &net::process_variables, Arc::new(net::clock::Machine)))
    }
}

/// The stores, and what is wished of files there.
#[derive(Clone, Debug)]
struct Place {
    stores: Arc<net::Stores>,
    no_clobber: bool,
}

impl Place {
    fn at(&self, address: &str) -> Result<Arc<dyn Destination>> {
        let wishes = store::Wishes { no_clobber: self.no_clobber };
        match self.stores.at(address, wishes)? {
            Some(object) => Ok(Arc::new(There { object, address: address.to_owned(), place: self.clone() })),
            None => Err(unknown(address, "written to")),
        }
    }
}

/// An address of no store.
fn unknown(address: &str, done: &str) -> Error {
    let known: Vec<_> = STORES.iter().map(|store| store.scheme).chain([SCHEME]).collect();
    let what = format!("'{}' is an address that nothing is {done}", address.escape_debug());
    Error::bad_input(what).hint(format!("addresses begin with {}", known.join(", ")))
}

/// A file at a store.
#[derive(Debug)]
struct There {
    object: Object,
    address: String,
    place: Place,
}

impl fmt::Display for There {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.object.fmt(f)
    }
}

impl Destination for There {
    fn send(&self, body: &Blob, key: Option<&str>, progress: &dyn Progress) -> Result<()> {
        self.object.send(body, key, progress)
    }

    fn commit(&self, progress: &dyn Progress) -> Result<()> {
        self.object.commit(progress)
    }

    fn abandon(&self) -> Result<()> {
        self.object.abandon()
    }

    fn key(&self) -> Result<Option<String>> {
        self.object.key()
    }

    fn beside(&self, name: &str) -> Result<Arc<dyn Destination>> {
        let directory = self.address.rfind('/').map_or("", |end| &self.address[..=end]);
        self.place.at(&format!("{directory}{name}"))
    }
}
