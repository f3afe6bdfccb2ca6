//! vSphere's machines: a description and its disk become a machine of a vCenter or an ESXi, or a template.
//!
//! ```text
//!  Login ─► the place ─► CreateImportSpec ─► ImportVApp ─► lease ─► ready ── POST the disk ─► complete ─► the machine
//!                         what it says         │             HttpNfcLeaseProgress, while that lasts
//!                         of the OVF           └── what fails or is abandoned: HttpNfcLeaseAbort takes machine and disk away
//! ```
//! A lease ends by itself, and takes the machine along, where nobody tells of progress: a run that is killed leaves nothing after some
//! minutes. The disk goes to the host that has it, which is asked by the certificates that the server itself is asked by.

mod inventory;
mod soap;

pub use inventory::Places;

use crate::{
    http::{Body, Http, Request, remote},
    refusal,
    retry::{Failure, persist},
    store::{Stores, lock},
    text::{SHOWN, shown},
    url::Url,
    xml::{all, child, children, escaped},
};
use formats::{At, Blob, Error, Kind, Progress, Result, Stage};
use inventory::{ASKED, Inventory, Place};
use roxmltree::Node;
use soap::{Reference, Server, XSI, element, said};
use std::{
    fmt::Write,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::Duration,
};
use ureq::http::Method;

/// How long a lease, or a task, is waited for.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// The longest time between two looks at it.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// How often a lease hears of progress, unless it ends sooner.
const PROGRESS: Duration = Duration::from_secs(2);
/// Most characters of a name.
const NAME_MAX: usize = 80;

/// What a machine is to be.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What it is called; no other in its folder is.
    pub name: String,
    /// Its description (OVF), which has one disk and one network.
    pub envelope: String,
    /// What its description calls the network.
    pub network: &'static str,
    /// What starts it, as vSphere says it: `bios`, `efi`.
    pub firmware: &'static str,
    /// Whether it is a template, of which machines are made.
    pub is_template: bool,
}

/// What came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// By which programs name it: `vm-42`.
    pub id: String,
    /// Its inventory path.
    pub path: String,
}

/// What the server has for us.
#[derive(Clone, Debug)]
struct Content {
    root: Reference,
    collector: Reference,
    sessions: Reference,
    views: Reference,
    index: Reference,
    descriptions: Reference,
}

/// A lease that is ready: what takes the disk, and for how long.
struct Lease {
    at: Reference,
    machine: Reference,
    url: Url,
    every: Duration,
}

/// What is there that has no end yet.
#[derive(Clone, Debug)]
enum Begun {
    Lease(Reference),
    /// Its machine is known, too.
    Filled(Reference, Reference),
    /// It is done, and the machine is not yet as it should be.
    Machine(Reference),
}

/// A machine that comes to be.
#[derive(Debug)]
pub struct Import {
    stores: Arc<Stores>,
    server: Server,
    places: Places,
    is_blind: bool,
    content: OnceLock<(Content, Place)>,
    /// Held while it is begun.
    begun: Mutex<Option<Begun>>,
    is_over: AtomicBool,
}

impl Import {
    /// At the server of the login, or at the one that the stores have as endpoint, in these places or in those of the environment.
    ///
    /// # Errors
    /// Bad input: there is no login.
    pub fn new(stores: Arc<Stores>, places: Places) -> Result<Self> {
        let chain = &stores.vsphere;
        let login = chain.login(stores.endpoint.as_deref())?;
        let or = |given: Option<String>, name: &str| given.map_or_else(|| chain.place(name), |given| Ok(Some(given)));
        let places = Places {
            datacenter: or(places.datacenter, "GOVC_DATACENTER")?,
            folder: or(places.folder, "GOVC_FOLDER")?,
            pool: or(places.pool, "GOVC_RESOURCE_POOL")?,
            host: or(places.host, "GOVC_HOST")?,
            datastore: or(places.datastore, "GOVC_DATASTORE")?,
            network: or(places.network, "GOVC_NETWORK")?,
        };
        let mut transport = stores.http.transport.clone();
        let is_blind = chain.is_insecure()?;
        transport.roots.is_blind = is_blind;
        if transport.roots.ca.is_none() {
            transport.roots.authorities = chain.authorities()?;
        }
        let http = Http::new(transport, Arc::clone(&stores.clock));
        let server = Server::new(http, login);
        Ok(Self { stores, server, places, is_blind, content: OnceLock::new(), begun: Mutex::default(), is_over: AtomicBool::default() })
    }

    /// Whether anybody could be the server, for no certificate is looked at.
    pub fn is_blind(&self) -> bool {
        self.is_blind && self.server.login.url.secure
    }

    /// Logs in, finds the place, and refuses a name that is taken there, before much work is done.
    ///
    /// # Errors
    /// Bad input: the name is none or taken, or a place is not there or one of several. Remote: the server refuses or fails.
    pub fn greet(&self, name: &str) -> Result<()> {
        check(name)?;
        let (content, place) = self.there()?;
        let arguments = place.folder.xml("entity") + &element("name", name);
        let answer = self.server.ask("FindChild", &content.index, &arguments)?;
        let document = self.server.read(&answer)?;
        match all(document.root_element(), "returnval").next().and_then(Reference::of) {
            None => Ok(()),
            Some(other) => {
                let what = format!("the name '{}' is taken in {} by {}", shown(name, SHOWN), shown(&place.path, SHOWN), other.id);
                Err(Error::bad_input(what).hint("machines are not replaced: choose another name, or another folder"))
            }
        }
    }

    /// Brings a disk, a streamOptimized VMDK, which a machine has then; the machine is finished by [`Import::finish`].
    ///
    /// # Errors
    /// Remote: the server refuses or fails, in its words. Io: the disk cannot be read, or it was abandoned.
    pub fn send(&self, file: &Blob, machine: &Machine, progress: &dyn Progress) -> Result<()> {
        check(&machine.name)?;
        let (content, place) = self.there()?.clone();
        let spec = self.described(&content, &place, machine, progress)?;
        let lease = {
            let mut begun = lock(&self.begun);
            self.refuse_over()?;
            let lease = self.import(&place, &spec)?;
            *begun = Some(Begun::Lease(lease.clone()));
            lease
        };
        let lease = self.ready(&content, lease)?;
        *lock(&self.begun) = Some(Begun::Filled(lease.at.clone(), lease.machine.clone()));
        self.upload(&content, &lease, file, progress)?;
        let mut begun = lock(&self.begun);
        self.refuse_over()?;
        self.server.tell("HttpNfcLeaseComplete", &lease.at, "").at(|| lease.at.id.clone())?;
        *begun = Some(Begun::Machine(lease.machine));
        Ok(())
    }

    /// Makes the machine what it is to be, whatever the server made of its description.
    ///
    /// # Errors
    /// Remote: the server refuses or fails.
    pub fn finish(&self, machine: &Machine) -> Result<Made> {
        let (content, place) = self.there()?;
        let Some(Begun::Machine(at)) = lock(&self.begun).clone() else { return Err(Error::new(Kind::Bug, "nothing was sent")) };
        if self.property(content, &at, "config.firmware")?.as_deref() != Some(machine.firmware) {
            let spec = format!("<spec>{}</spec>", element("firmware", machine.firmware));
            let task = self.server.tell("ReconfigVM_Task", &at, &spec)?;
            self.done(content, &self.server.reference(&task)?)
                .at(|| format!("the machine {} does not start by {}", at.id, machine.firmware))?;
        }
        if machine.is_template {
            self.server.tell("MarkAsTemplate", &at, "")?;
        }
        {
            let mut begun = lock(&self.begun);
            self.refuse_over()?;
            *begun = None;
        }
        self.leave();
        Ok(Made { id: at.id, path: format!("{}/{}", place.path, machine.name) })
    }

    /// Leaves nothing of a machine that is not finished; what is under way ends with an error. It lasts as long as the server takes to answer.
    ///
    /// # Errors
    /// When it may be left.
    pub fn abandon(&self) -> Result<()> {
        let is_first = !self.is_over.swap(true, Ordering::Relaxed);
        self.server.http.stop();
        // Who comes second waits for the first.
        let mut begun = lock(&self.begun);
        let taken_back = match begun.take() {
            None => Ok(()),
            Some(Begun::Lease(lease)) => self.server.ask("HttpNfcLeaseAbort", &lease, "").map(drop).at(|| lease.id),
            Some(Begun::Filled(lease, machine)) => {
                // It goes with its lease, unless that has ended.
                drop(self.server.ask("HttpNfcLeaseAbort", &lease, ""));
                self.remove(&machine)
            }
            Some(Begun::Machine(machine)) => self.remove(&machine),
        };
        if is_first {
            self.leave();
        }
        taken_back
    }

    /// Takes away a machine, where it is still there.
    fn remove(&self, machine: &Reference) -> Result<()> {
        let Some((content, _)) = self.content.get() else { return Ok(()) };
        match self.property(content, machine, "name") {
            Ok(_) => self.server.tell("Destroy_Task", machine, "").map(drop).at(|| machine.id.clone()),
            Err(_) => Ok(()),
        }
    }

    /// Ends the session, of which servers have only so many.
    fn leave(&self) {
        if let Some((content, _)) = self.content.get() {
            drop(self.server.tell("Logout", &content.sessions, ""));
        }
    }

    /// What the server has, and where the machine goes: asked once.
    fn there(&self) -> Result<&(Content, Place)> {
        if self.content.get().is_none() {
            let content = self.log_in()?;
            let place = self.place(&content).inspect_err(|_| drop(self.server.tell("Logout", &content.sessions, "")))?;
            let _ = self.content.set((content, place));
        }
        self.content.get().ok_or_else(|| Error::new(Kind::Bug, "a place was lost"))
    }

    fn log_in(&self) -> Result<Content> {
        let (server, service) = (&self.server, Reference::new("ServiceInstance", "ServiceInstance"));
        let answer = server.ask("RetrieveServiceContent", &service, "")?;
        let document = server.read(&answer)?;
        let has = |name: &str| {
            let found = all(document.root_element(), name).next().and_then(Reference::of);
            found.ok_or_else(|| remote(&server.login.url, format!("is no vSphere server: it has no {name}")))
        };
        let content = Content {
            root: has("rootFolder")?,
            collector: has("propertyCollector")?,
            sessions: has("sessionManager")?,
            views: has("viewManager")?,
            index: has("searchIndex")?,
            descriptions: has("ovfManager")?,
        };
        let login = &server.login;
        let arguments = element("userName", &login.user) + &element("password", login.password.told());
        server.ask("Login", &content.sessions, &arguments)?;
        Ok(content)
    }

    /// What of the inventory is meant.
    fn place(&self, content: &Content) -> Result<Place> {
        let server = &self.server;
        let kinds: String = ASKED.iter().map(|(kind, _)| element("type", kind)).collect();
        let arguments = format!("{}{kinds}<recursive>true</recursive>", content.root.xml("container"));
        let view = server.reference(&server.ask("CreateContainerView", &content.views, &arguments)?)?;
        let mut specs: String = ASKED.iter().map(|(kind, asked)| property_set(kind, asked)).collect();
        let _ = write!(
            specs,
            "<objectSet>{}<skip>true</skip><selectSet xsi:type=\"TraversalSpec\"><type>ContainerView</type><path>view</path>\
             <skip>false</skip></selectSet></objectSet>",
            view.xml("obj")
        );
        let mut inventory = Inventory::default();
        server.properties(&content.collector, &specs, |at, properties| inventory.add(at, properties))?;
        // The view does not show its own root.
        let root = property_set(&content.root.kind, &["name"]) + &object_set(&content.root);
        server.properties(&content.collector, &root, |at, properties| inventory.add(at, properties))?;
        inventory.place(&self.places)
    }

    /// What the server makes of a description: an `ImportSpec`, as it stands in its answer.
    fn described(&self, content: &Content, place: &Place, machine: &Machine, progress: &dyn Progress) -> Result<String> {
        let host = place.host.as_ref().map(|host| host.xml("hostSystem")).unwrap_or_default();
        let mapping = format!("<networkMapping>{}{}</networkMapping>", element("name", machine.network), place.network.xml("network"));
        let arguments = format!(
            "{}{}{}<cisp><locale></locale><deploymentOption></deploymentOption>{}{host}{mapping}<diskProvisioning>thin</diskProvisioning></cisp>",
            element("ovfDescriptor", &machine.envelope),
            place.pool.xml("resourcePool"),
            place.datastore.xml("datastore"),
            element("entityName", &machine.name),
        );
        let answer = self.server.ask("CreateImportSpec", &content.descriptions, &arguments)?;
        let document = self.server.read(&answer)?;
        let url = &self.server.login.url;
        let lacks = || remote(url, "makes nothing of the machine's description");
        let result = all(document.root_element(), "returnval").next().ok_or_else(lacks)?;
        children(result, "warning").for_each(|warning| progress.warn(&format!("{}: {}", url.authority(), said(warning))));
        let errors: Vec<_> = children(result, "error").map(said).collect();
        if !errors.is_empty() {
            return Err(remote(url, format!("refuses the machine: {}", errors.join("; "))));
        }
        child(result, "importSpec").map(|spec| as_argument(spec, &answer)).ok_or_else(lacks)
    }

    /// Begins a machine; its lease.
    fn import(&self, place: &Place, spec: &str) -> Result<Reference> {
        let host = place.host.as_ref().map(|host| host.xml("host")).unwrap_or_default();
        let arguments = format!("{spec}{}{host}", place.folder.xml("folder"));
        self.server.reference(&self.server.tell("ImportVApp", &place.pool, &arguments)?)
    }

    /// Waits for a lease.
    fn ready(&self, content: &Content, at: Reference) -> Result<Lease> {
        let mut lease = None;
        self.wait(|| {
            let mut state = None;
            self.lease(content, &at, |found, info, error| {
                state = Some(match (found, info) {
                    ("initializing", _) => Ok(false),
                    ("ready", Some(info)) => self.leased(&at, info).map(|found| lease = Some(found)).map(|()| true),
                    (other, _) => Err(self.ended(other, error)),
                });
            })?;
            state.unwrap_or_else(|| Err(remote(&self.server.login.url, "knows nothing of the lease that it gave")))
        })?;
        lease.ok_or_else(|| remote(&self.server.login.url, "takes too long to make ready for the disk"))
    }

    /// Looks at a lease: its state, and what it says of itself.
    fn lease(&self, content: &Content, at: &Reference, mut look: impl FnMut(&str, Option<Node<'_, '_>>, Option<String>)) -> Result<()> {
        let specs = property_set(&at.kind, &["state", "info", "error"]) + &object_set(at);
        self.server.properties(&content.collector, &specs, |_, properties| {
            look(properties.text("state").unwrap_or("without a state"), properties.get("info"), properties.get("error").map(said));
        })
    }

    /// Why there is no lease, or no more.
    fn ended(&self, state: &str, error: Option<String>) -> Error {
        let why = error.map(|error| format!(": {error}")).unwrap_or_default();
        remote(&self.server.login.url, format!("gives up the lease for the disk, whose state is {}{why}", shown(state, SHOWN)))
    }

    /// What is said of a lease that is ready.
    fn leased(&self, at: &Reference, info: Node<'_, '_>) -> Result<Lease> {
        let server = &self.server.login.url;
        let text = |node: Node<'_, '_>, name: &str| child(node, name).and_then(|node| node.text()).unwrap_or_default().to_owned();
        let machine = child(info, "entity").and_then(Reference::of);
        let disks: Vec<_> = children(info, "deviceUrl").filter(|device| text(*device, "disk") == "true").collect();
        let ([disk], Some(machine)) = (disks.as_slice(), machine) else {
            return Err(remote(server, format!("takes {} disks, must take one", disks.len())));
        };
        let url = there(&text(*disk, "url"), server)?;
        let timeout = text(info, "leaseTimeout").parse().map_or(PROGRESS, Duration::from_secs);
        Ok(Lease { at: at.clone(), machine, url, every: PROGRESS.min(timeout / 3).max(Duration::from_millis(100)) })
    }

    /// Sends the disk, and tells the lease how far that is.
    fn upload(&self, content: &Content, lease: &Lease, file: &Blob, progress: &dyn Progress) -> Result<()> {
        let http = &self.server.http;
        let counted = Counted { progress, bytes: AtomicU64::new(0) };
        let stage = Stage::new(&counted, file.len());
        let mut is_again = false;
        thread::scope(|scope| {
            let (over, ends) = mpsc::channel::<()>();
            scope.spawn(|| self.keep(lease, &counted.bytes, file.len(), ends));
            let sent = persist(&http.transport.limits, &*http.clock, &lease.at.id, || {
                self.refuse_over()?;
                if std::mem::replace(&mut is_again, true) {
                    self.still_ready(content, lease)?;
                }
                self.post(lease, Body::Watched(file, &stage))
            });
            drop(over);
            sent
        })?;
        stage.finish();
        Ok(())
    }

    fn post(&self, lease: &Lease, body: Body<'_>) -> Result<(), Failure> {
        let mut headers = vec![("content-type", "application/x-vnd.vmware-streamVmdk".to_owned())];
        headers.extend(self.server.cookie(&lease.url));
        let request = Request { method: Method::POST, url: &lease.url, headers: &headers, authorization: None, body };
        let answer = self.server.http.send_signed(&request)?;
        match answer.status {
            200..=299 => Ok(()),
            _ => Err(refusal::of_server(answer, "refuses the disk")),
        }
    }

    /// Refuses to go on with a lease that is none any more.
    fn still_ready(&self, content: &Content, lease: &Lease) -> Result<()> {
        let mut state = Ok(());
        self.lease(content, &lease.at, |found, _, error| {
            if found != "ready" {
                state = Err(self.ended(found, error));
            }
        })?;
        state
    }

    /// Tells a lease of progress, for else it ends, until `ends` does.
    fn keep(&self, lease: &Lease, bytes: &AtomicU64, all: u64, ends: Receiver<()>) {
        // By the machine's time, whatever the clock: the wait ends with the disk.
        while ends.recv_timeout(lease.every) == Err(RecvTimeoutError::Timeout) {
            let percent = bytes.load(Ordering::Relaxed).saturating_mul(100) / all.max(1);
            // Whether that was heard is seen by what becomes of the disk.
            drop(self.server.tell("HttpNfcLeaseProgress", &lease.at, &element("percent", &percent.min(100).to_string())));
        }
    }

    /// Waits for a task to succeed.
    fn done(&self, content: &Content, task: &Reference) -> Result<()> {
        self.wait(|| {
            let mut state = Ok(false);
            let specs = property_set(&task.kind, &["info.state", "info.error"]) + &object_set(task);
            self.server.properties(&content.collector, &specs, |_, properties| match properties.text("info.state") {
                Some("success") => state = Ok(true),
                Some("error") => {
                    let why = properties.get("info.error").map(said).unwrap_or_default();
                    state = Err(remote(&self.server.login.url, format!("fails: {why}")));
                }
                _ => {}
            })?;
            state
        })
    }

    /// A property of an object, as text.
    fn property(&self, content: &Content, at: &Reference, name: &str) -> Result<Option<String>> {
        let mut value = None;
        let specs = property_set(&at.kind, &[name]) + &object_set(at);
        self.server.properties(&content.collector, &specs, |_, properties| value = properties.text(name).map(str::to_owned))?;
        Ok(value)
    }

    /// Looks again and again, until `look` says that it is enough.
    fn wait(&self, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
        let (mut waited, mut next) = (Duration::ZERO, Duration::from_millis(250));
        loop {
            self.refuse_over()?;
            if look()? {
                return Ok(());
            }
            if waited > WAIT_MAX {
                return Err(remote(&self.server.login.url, format!("is not done after {} s", waited.as_secs())));
            }
            self.stores.clock.wait(next);
            waited += next;
            next = (next * 2).min(LOOK_MAX);
        }
    }

    fn refuse_over(&self) -> Result<()> {
        if self.is_over.load(Ordering::Relaxed) { Err(Error::new(Kind::Environment, "was abandoned")) } else { Ok(()) }
    }
}

/// Refuses names that vSphere would.
fn check(name: &str) -> Result<()> {
    let has = name.chars().count();
    if !(1..=NAME_MAX).contains(&has) || name.chars().any(char::is_control) {
        return Err(Error::bad_input(format!("the name '{}' has {has} characters", shown(name, SHOWN)))
            .hint(format!("names of machines have 1 to {NAME_MAX} characters, and none that controls terminals")));
    }
    if let Some(c) = name.chars().find(|c| matches!(c, '/' | '\\' | '%')) {
        return Err(
            Error::bad_input(format!("the name '{}' has a '{c}'", shown(name, SHOWN))).hint("--folder says where the machine is to be")
        );
    }
    Ok(())
}

/// Which properties of objects of a type are asked for.
fn property_set(kind: &str, names: &[&str]) -> String {
    let names: String = names.iter().map(|name| element("pathSet", name)).collect();
    format!("<propSet>{}{names}</propSet>", element("type", kind))
}

/// Of which object.
fn object_set(at: &Reference) -> String {
    format!("<objectSet>{}</objectSet>", at.xml("obj"))
}

/// An import specification of an answer as the argument of the next request, word for word: its names are those that it was read with.
fn as_argument(spec: Node<'_, '_>, answer: &str) -> String {
    let mut names = String::new();
    for namespace in spec.namespaces().filter(|namespace| namespace.name() != Some("xml")) {
        let name = namespace.name().map(|name| format!(":{name}")).unwrap_or_default();
        let _ = write!(names, " xmlns{name}=\"{}\"", escaped(namespace.uri()));
    }
    let kind = spec.attribute((XSI, "type")).unwrap_or("VirtualMachineImportSpec");
    // The prefix of a type's name is one of those of the answer, if it has one.
    let inside = match (spec.first_child(), spec.last_child()) {
        (Some(first), Some(last)) => &answer[first.range().start..last.range().end],
        _ => "",
    };
    format!("<spec{names} xmlns:instance=\"{XSI}\" instance:type=\"{}\">{inside}</spec>", escaped(kind))
}

/// Where a disk goes; `*` is the server itself.
fn there(text: &str, server: &Url) -> Result<Url> {
    let refuse =
        |why: &str| remote(server, format!("sends the disk to '{}', {why}", shown(text.split('?').next().unwrap_or_default(), SHOWN)));
    let parsed = |text: &str| Url::parse(text).map_err(|error| refuse("where nobody can go").because(error));
    if let Some((_, rest)) = text.split_once("://*").filter(|(_, rest)| rest.starts_with(['/', ':'])) {
        return Ok(Url { path: parsed(&format!("https://any{rest}"))?.path, ..server.clone() });
    }
    let url = parsed(text)?;
    match server.secure && !url.secure {
        true => Err(refuse("where anyone could change it: refused")),
        false => Ok(url),
    }
}

/// Tells of progress, and knows it.
#[derive(Debug)]
struct Counted<'a> {
    progress: &'a dyn Progress,
    bytes: AtomicU64,
}

impl Progress for Counted<'_> {
    fn expect(&self, bytes: u64) {
        self.progress.expect(bytes);
    }

    fn advance(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.progress.advance(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roxmltree::Document;

    #[test]
    fn a_specification_is_sent_as_it_came() {
        let answer = format!(
            "<e:Envelope xmlns:e=\"soap\" xmlns:xsd=\"schema\" xmlns:xsi=\"{XSI}\"><returnval xmlns=\"urn:vim25\">\
             <importSpec xsi:type=\"VirtualMachineImportSpec\"><a xsi:type=\"xsd:int\">1 &amp; 2</a><b/></importSpec></returnval></e:Envelope>"
        );
        let document = Document::parse(&answer).unwrap();
        let spec = as_argument(all(document.root_element(), "importSpec").next().unwrap(), &answer);
        let request = Document::parse(&spec).unwrap();
        let root = request.root_element();
        assert_eq!(root.attribute((XSI, "type")), Some("VirtualMachineImportSpec"));
        let a = child(root, "a").unwrap();
        assert_eq!((a.text(), a.attribute((XSI, "type"))), (Some("1 & 2"), Some("xsd:int")));
        assert_eq!((a.lookup_namespace_uri(Some("xsd")), a.tag_name().namespace()), (Some("schema"), Some("urn:vim25")));
    }

    #[test]
    fn a_disk_goes_where_it_is_sent() {
        let server = Url::parse("https://vc.example:8443/sdk").unwrap();
        for (text, whole) in [
            ("https://*/nfc/1/disk-0.vmdk", "https://vc.example:8443/nfc/1/disk-0.vmdk"),
            ("https://*:443/nfc/1/d", "https://vc.example:8443/nfc/1/d"),
            ("https://esx1.example/nfc/1/d", "https://esx1.example/nfc/1/d"),
        ] {
            assert_eq!(there(text, &server).unwrap().whole(), whole);
        }
        for bad in ["http://esx1.example/nfc/1/d", "file:///d", "", "https://*.example/nfc"] {
            assert_eq!(there(bad, &server).unwrap_err().kind(), Kind::Remote, "{bad}");
        }
    }

    #[test]
    fn names_are_those_of_machines() {
        check("app 1.0").unwrap();
        for bad in ["", "a/b", "a%2f", "a\u{7}", &*"n".repeat(81)] {
            assert_eq!(check(bad).unwrap_err().kind(), Kind::BadInput, "{bad}");
        }
    }
}
