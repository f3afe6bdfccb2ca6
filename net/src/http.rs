//! The one function that sends: proxies, redirects and time limits, and what a failure says.

mod failure;

use crate::{
    clock::Clock,
    proxy::{self, Proxies},
    retry::{Failure, Limits},
    tls::Roots,
    url::Url,
};
use failure::told;
use formats::{Blob, Error, Kind, Result, Stage, units};
use std::{
    collections::HashMap,
    fmt,
    io::{self, Read},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use ureq::{Agent, SendBody, http};

/// More redirects than this are a circle.
const REDIRECTS: usize = 10;

/// As many connections are kept as threads are likely to pull.
const IDLE: usize = 16;

/// How servers are reached.
#[derive(Clone, Debug)]
pub struct Transport {
    /// Whose certificates are taken.
    pub roots: Roots,
    /// By way of whom.
    pub proxies: Proxies,
    /// How long and how often.
    pub limits: Limits,
    /// What we call ourselves: `name/version`.
    pub user_agent: String,
}

impl Default for Transport {
    fn default() -> Self {
        let user_agent = concat!("moby/", env!("CARGO_PKG_VERSION")).to_owned();
        Self { roots: Roots::default(), proxies: Proxies::default(), limits: Limits::default(), user_agent }
    }
}

/// Connections, which are kept and used again.
pub(crate) struct Http {
    pub(crate) transport: Transport,
    pub(crate) clock: Arc<dyn Clock>,
    agents: Mutex<HashMap<Route, Way>>,
    /// Whether blobs are sent no further.
    is_stopped: AtomicBool,
}

/// What connections must have in common to be shared.
#[derive(PartialEq, Eq, Hash)]
struct Route {
    secure: bool,
    proxy: Option<proxy::Proxy>,
    /// A host that has authorities of its own.
    host: Option<String>,
}

/// How requests of one route are sent.
#[derive(Clone)]
struct Way {
    agent: Agent,
    /// See [`crate::tls::Tls`].
    complaints: Arc<str>,
}

/// What is sent.
pub(crate) struct Request<'a> {
    pub(crate) method: http::Method,
    pub(crate) url: &'a Url,
    pub(crate) headers: &'a [(&'static str, String)],
    /// The value of `Authorization`, which no other host gets to see.
    pub(crate) authorization: Option<&'a str>,
    pub(crate) body: Body<'a>,
}

/// What goes along with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body<'a> {
    /// Nothing.
    None,
    /// The fields of a form, as [`encoded`](crate::url::encoded) writes them.
    Form(&'a str),
    /// Bytes, of whatever type the headers say.
    Bytes(&'a [u8]),
    /// Bytes that stay where they are until they are sent.
    Blob(&'a Blob),
    /// The same, of which somebody is told as they go.
    Watched(&'a Blob, &'a Stage<'a>),
}

/// An answer, whatever its status.
pub(crate) struct Answer {
    /// Who answered, after all redirects.
    pub(crate) url: Url,
    pub(crate) status: u16,
    headers: http::HeaderMap,
    body: ureq::BodyReader<'static>,
    limits: Limits,
    clock: Arc<dyn Clock>,
}

/// Without the connections, which know the proxies' passwords.
impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("transport", &self.transport).finish_non_exhaustive()
    }
}

impl Http {
    /// Nothing is connected yet.
    pub(crate) fn new(transport: Transport, clock: Arc<dyn Clock>) -> Self {
        Self { transport, clock, agents: Mutex::default(), is_stopped: AtomicBool::default() }
    }

    /// Lets every blob that is being sent fail at its next bytes, and every later one.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Sends a request and follows where it is sent on to: without the authorization once the host is another one, and never from
    /// `https` to `http`. A form goes to nobody else; another body does where the server says that it is to be sent again (307, 308).
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) fn send(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let mut url = request.url.clone();
        let mut authorization = request.authorization;
        for _ in 0..=REDIRECTS {
            let answer = self.once(&url, request, authorization)?;
            let is_redirect = match request.body {
                Body::None => matches!(answer.status, 301 | 302 | 303 | 307 | 308),
                Body::Form(_) => false,
                Body::Bytes(_) | Body::Blob(_) | Body::Watched(..) => matches!(answer.status, 307 | 308),
            };
            let Some(location) = answer.header("location").filter(|_| is_redirect) else { return Ok(answer) };
            let next = url.join(location).map_err(|error| remote(&url, "redirects to where nobody can go").because(error))?;
            if url.secure && !next.secure {
                return Err(remote(&url, format!("redirects from https to {next}, which anyone could have changed: refused")).into());
            }
            if !url.is_beside(&next) {
                authorization = None;
            }
            url = next;
        }
        Err(remote(request.url, format!("redirects more than {REDIRECTS} times")).into())
    }

    /// Sends a request that is signed for its server, and may hold what is secret to it: to nobody else.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub(crate) fn send_signed(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        self.once(request.url, request, request.authorization)
    }

    fn once(&self, url: &Url, request: &Request<'_>, authorization: Option<&str>) -> Result<Answer, Failure> {
        let (way, proxy) = self.way(url)?;
        let limits = self.transport.limits;
        let mut builder = http::Request::builder().method(request.method.clone()).uri(url.whole());
        for (name, value) in request.headers {
            builder = builder.header(*name, value);
        }
        if let Some(value) = authorization {
            builder = builder.header("Authorization", value);
        }
        let bad = |_| Error::bad_input(format!("{url}: a request with characters that HTTP has none of"));
        let sent = match request.body {
            Body::None => way.agent.run(builder.body(()).map_err(bad)?),
            Body::Form(form) => {
                builder = builder.header("Content-Type", "application/x-www-form-urlencoded");
                way.agent.run(builder.body(form.to_owned()).map_err(bad)?)
            }
            Body::Bytes(bytes) => way.agent.run(builder.body(bytes).map_err(bad)?),
            Body::Blob(blob) | Body::Watched(blob, _) => {
                builder = builder.header("Content-Length", blob.len().to_string());
                let stage = if let Body::Watched(_, stage) = request.body { Some(stage) } else { None };
                let mut sending = Sending { from: blob.reader(), http: self, stage };
                way.agent.run(builder.body(SendBody::from_reader(&mut sending)).map_err(bad)?)
            }
        };
        let (head, body) = sent.map_err(|error| told(error, url, proxy.as_ref(), &limits, &way.complaints))?.into_parts();
        Ok(Answer {
            url: url.clone(),
            status: head.status.as_u16(),
            headers: head.headers,
            body: unlimited(body),
            limits,
            clock: Arc::clone(&self.clock),
        })
    }

    /// How a URL is reached, and by way of whom.
    fn way(&self, url: &Url) -> Result<(Way, Option<proxy::Proxy>)> {
        let proxy = self.transport.proxies.choose(url)?;
        let own = if url.secure { self.transport.roots.of_host(&url.authority())? } else { Vec::new() };
        let route = Route { secure: url.secure, proxy: proxy.clone(), host: (!own.is_empty()).then(|| url.authority()) };
        // Held while certificates are read, so that they are read once. It holds whole values alone: a panic elsewhere leaves it good.
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(way) = agents.get(&route) {
            return Ok((way.clone(), proxy));
        }
        let limits = self.transport.limits;
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(&self.transport.user_agent)
            .accept_encoding("identity")
            .max_idle_connections_per_host(IDLE)
            .max_idle_connections(IDLE)
            .timeout_resolve(Some(limits.connect))
            .timeout_connect(Some(limits.connect))
            .timeout_recv_response(Some(limits.answer))
            .timeout_per_read(Some(limits.stall))
            .timeout_per_write(Some(limits.stall));
        let mut complaints = String::new();
        let tunnels = url.secure || proxy.as_ref().is_some_and(|proxy| proxy.shown.starts_with("https:"));
        if tunnels {
            let tls = self.transport.roots.tls(&own)?;
            complaints = tls.complaints;
            config = config.tls_config(tls.config);
        }
        let agent = match &proxy {
            Some(proxy) if tunnels => config.proxy(Some(proxy.to_ureq()?)).build().new_agent(),
            Some(proxy) => proxy::forwarding(config.build(), proxy)?,
            None => config.build().new_agent(),
        };
        let way = Way { agent, complaints: complaints.into() };
        agents.insert(route, way.clone());
        Ok((way, proxy))
    }
}

/// A blob on its way.
struct Sending<'a> {
    from: formats::blob::Reader<'a>,
    http: &'a Http,
    stage: Option<&'a Stage<'a>>,
}

impl Read for Sending<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.http.is_stopped.load(Ordering::Relaxed) {
            return Err(interrupted().into());
        }
        let n = self.from.read(to)?;
        if let Some(stage) = self.stage {
            stage.advance(units::bytes(n));
        }
        Ok(n)
    }
}

/// A body is as long as it is: whoever reads it has a limit.
fn unlimited(body: ureq::Body) -> ureq::BodyReader<'static> {
    body.into_with_config().limit(u64::MAX).reader()
}

impl Answer {
    /// A header as text; none also where it is no text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Every header of a name that is text.
    pub(crate) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// How long the body is going to be, where the server says so.
    pub(crate) fn length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// How long to wait, where the server asks for it.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        crate::retry::retry_after(self.header("retry-after")?, self.clock.now())
    }

    /// What time it is here.
    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Some more bytes of the body; 0 is its end.
    ///
    /// # Errors
    /// When the connection breaks or stalls.
    pub(crate) fn read(&mut self, to: &mut [u8]) -> Result<usize, Failure> {
        self.body.read(to).map_err(|error| told(error.into(), &self.url, None, &self.limits, ""))
    }

    /// A body that is small.
    ///
    /// # Errors
    /// When it is larger than `limit` bytes or takes too long, and as [`Answer::read`].
    pub(crate) fn bytes(&mut self, limit: u64) -> Result<Vec<u8>, Failure> {
        let too_many = |url: &Url| remote(url, format!("sends more than {limit} bytes where fewer are due: refused"));
        if self.length().is_some_and(|length| length > limit) {
            return Err(too_many(&self.url).into());
        }
        let until = self.clock.now() + self.limits.answer;
        let mut bytes = Vec::new();
        let mut chunk = vec![0; 16 << 10];
        loop {
            let n = self.read(&mut chunk)?;
            if n == 0 {
                return Ok(bytes);
            }
            bytes.extend_from_slice(&chunk[..n]);
            if units::bytes(bytes.len()) > limit {
                return Err(too_many(&self.url).into());
            }
            if self.clock.now() > until {
                return Err(Failure::passing(remote(
                    &self.url,
                    format!("was not done answering after {} s", self.limits.answer.as_secs()),
                )));
            }
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.status, self.url)
    }
}

/// What the user wants no more of.
pub(crate) fn interrupted() -> Error {
    Error::new(Kind::Io, "it was interrupted")
}

/// What a server did wrong.
pub(crate) fn remote(url: &Url, what: impl fmt::Display) -> Error {
    Error::new(Kind::Remote, format!("{} {what}", url.authority()))
}
