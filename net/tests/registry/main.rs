//! The client against real registries and proxies on the loopback interface, and against servers that misbehave.
//!
//! `tests/setup.sh` installs the programs; a missing one is a failure. All of it is one program, so that it is linked once.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

#[path = "../../../tests/support/asked.rs"]
#[allow(unreachable_pub, missing_docs)]
mod asked;
#[path = "../../../tests/support/clouds.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)]
mod clouds;
#[path = "../../../tests/support/docker_registry.rs"]
#[allow(unreachable_pub, missing_docs)]
mod docker_registry;
mod faults;
mod faulty;
mod hops;
mod logins;
#[path = "../../../tests/support/moto.rs"]
#[allow(unreachable_pub, missing_docs)]
mod moto;
mod pulls;
mod pushes;
mod real;
mod small;
mod stores;
mod tls;
#[path = "../../../tests/support/wire.rs"]
#[allow(unreachable_pub, missing_docs)]
mod wire;
