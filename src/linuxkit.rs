//! A `LinuxKit` configuration: the yml becomes a [`config::Config`], and a `Config` becomes the texts that tell of it.
//!
//! What the real tool does is kept to the byte. Where it loses what the user wrote, it is refused or warned of.

pub(crate) mod config;
pub(crate) mod go_json;
pub(crate) mod metadata;
pub(crate) mod package;
mod place;
mod reference;
pub(crate) mod schema;
mod yaml;

#[cfg(test)]
mod tests;
