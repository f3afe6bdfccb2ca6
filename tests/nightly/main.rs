//! Guests again, wider: what `tests/all` boots once with real kernels, or with the test kernel alone, on every firmware, bus and container.
//!
//! `make nightly` runs this; `cargo test` leaves it alone.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

mod containers;
mod debian;
mod engines;
mod foreign;
mod glance;
mod large;
mod leaves;
mod process;
mod system;
mod testkernel;
mod verity;
mod vsphere;

#[path = "../support/mod.rs"]
mod support;
