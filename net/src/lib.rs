//! The network side of moby: the only crate that opens sockets, reads credentials and asks for the time.
//!
//! It moves bytes and speaks protocols. What bytes mean is `moby-formats`', and where they are kept is the program's.
//!
//! ```no_run
//! use net::{Client, Repository, Settings, clock::Machine, process_variables};
//! use std::sync::Arc;
//!
//! let client = Client::new(Settings::from_env(&process_variables)?, Arc::new(Machine))?;
//! let manifest = client.manifest(&Repository::new("docker.io", "alpine")?, "3.20")?;
//! println!("{} {}", manifest.digest, manifest.media_type);
//! # Ok::<(), formats::Error>(())
//! ```

pub mod clock;
mod daemon;
mod dates;
mod document;
mod http;
pub mod import;
pub mod parts;
mod proxy;
mod refusal;
pub mod registry;
mod retry;
mod secret;
#[allow(dead_code, reason = "what stores and imports will ask for")]
mod secrets;
#[allow(dead_code, reason = "what stores and imports will send")]
mod sign;
mod signature;
pub mod store;
mod text;
mod tls;
mod url;
mod variables;
mod xml;

pub use daemon::Daemon;
pub use document::document;
pub use http::Transport;
pub use proxy::Proxies;
pub use registry::{Arrival, Client, Manifest, Mirror, Push, Repository, Settings, Sink};
pub use retry::Limits;
pub use secrets::registry::Sources;
pub use signature::PublicKey;
pub use store::{Object, Stores};
pub use tls::Roots;
pub use variables::{Variables, process_variables};
