//! A `LinuxKit` configuration: the yml becomes a `Config`, a `Config` becomes the texts that tell of it, and with its images
//! the tagged tar.
//!
//! What the real tool does is kept to the byte. Where it loses what the user wrote, it is refused or warned of.

mod build;
mod bundle;
mod config;
mod deviations;
mod files;
mod filesystem;
mod flatten;
mod go_json;
mod kernel;
mod metadata;
mod package;
mod place;
mod reference;
mod sbom;
mod schema;
mod spec;
mod tagged;
mod volumes;
mod yaml;

pub(crate) use build::{Parts, Wishes, references, tar};
pub(crate) use config::{Config, Packages};
pub use deviations::DEVIATIONS;
pub(crate) use files::Sources;
pub(crate) use package::resolve as package;
pub(crate) use tagged::T0;

/// What a configuration says, as it stands in an image (`/etc/linuxkit.yml`). `name` is what messages call it; `@pkg:` is not resolved.
///
/// # Errors
/// When it is no configuration; the error names every fault with its line and column.
pub fn metadata(name: &str, yml: &[u8]) -> crate::error::Result<String> {
    Ok(metadata::text(&Config::parse(name, yml, None)?, metadata::Form::Yaml))
}

/// The merged configuration as `--dry-run` prints it.
pub(crate) fn dry_run(config: &Config) -> String {
    metadata::text(config, metadata::Form::DryRun)
}

#[cfg(test)]
mod tests;
