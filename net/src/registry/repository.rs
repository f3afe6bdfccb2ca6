//! What is asked: repositories.

use crate::{
    text::{SHOWN, shown},
    url::host_and_port,
};
use formats::{Error, Result};
use std::fmt;

/// A repository of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    registry: String,
    path: String,
}

impl Repository {
    /// A repository by its registry (`host[:port]`) and its path. Docker's own registry is `docker.io`, by whatever name it comes, and a
    /// path there of one part is in `library/`.
    ///
    /// # Errors
    /// When a part is none that a registry would take (bad input).
    pub fn new(registry: &str, path: &str) -> Result<Self> {
        let refuse = |what: &str, text: &str| Error::bad_input(format!("'{}' is no {what}", shown(text, SHOWN)));
        let (host, port) = host_and_port(registry).ok_or_else(|| refuse("name of a registry", registry))?;
        let registry = match (host.as_str(), port) {
            ("docker.io" | "index.docker.io" | "registry-1.docker.io", None | Some(443)) => "docker.io".to_owned(),
            (_, Some(port)) => format!("{host}:{port}"),
            _ => host,
        };
        let is_part = |part: &str| {
            let is_end = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
            let bytes = part.as_bytes();
            let inside = |byte: &u8| is_end(Some(byte)) || b"._-".contains(byte);
            is_end(bytes.first()) && is_end(bytes.last()) && bytes.iter().all(inside) && !part.contains("..")
        };
        if path.len() > 255 || !path.split('/').all(is_part) {
            return Err(refuse("name of a repository: lower case letters, digits, and . _ - / between them", path));
        }
        let is_official = registry == "docker.io" && !path.contains('/');
        Ok(Self { path: if is_official { format!("library/{path}") } else { path.to_owned() }, registry })
    }

    /// The registry: `host[:port]`, by which it is known.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path in the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The host that answers for the registry.
    pub(crate) fn host(&self) -> &str {
        if self.registry == "docker.io" { "registry-1.docker.io" } else { &self.registry }
    }
}

/// `registry/path`.
impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::oci::is_tag;

    #[test]
    fn docker_has_many_names() {
        for registry in ["docker.io", "index.docker.io", "registry-1.docker.io", "Docker.io"] {
            let repository = Repository::new(registry, "alpine").unwrap();
            assert_eq!((repository.to_string().as_str(), repository.host()), ("docker.io/library/alpine", "registry-1.docker.io"));
        }
        assert_eq!(Repository::new("docker.io", "linuxkit/init").unwrap().to_string(), "docker.io/linuxkit/init");
        assert_eq!(Repository::new("localhost:5000", "alpine").unwrap().to_string(), "localhost:5000/alpine");
        assert_eq!(Repository::new("[::1]:5000", "a/b").unwrap().host(), "[::1]:5000");
    }

    #[test]
    fn what_no_registry_takes_is_refused() {
        let long = "a".repeat(256);
        for (registry, path) in [
            ("", "a"),
            ("h/x", "a"),
            ("h:x", "a"),
            ("h", ""),
            ("h", "A"),
            ("h", "a//b"),
            ("h", "a/../b"),
            ("h", "-a"),
            ("h", "a?b"),
            ("h", &long),
        ] {
            assert!(Repository::new(registry, path).is_err(), "{registry}/{path}");
        }
        assert!(is_tag("v1.2-x_y") && !is_tag("") && !is_tag(".a") && !is_tag("a/b") && !is_tag(&"a".repeat(129)));
    }
}
