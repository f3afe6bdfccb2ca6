//! Mirrors, as LinuxKit's `--mirror` has them: who is asked instead of a registry, not before it.

use crate::{
    text::{SHOWN, shown},
    url::Url,
};
use formats::{At, Error, Result};
use std::str::FromStr;

/// A mirror: `[REGISTRY=]URL`. Without a registry, or for `*`, it stands for all that have none of their own. A path in the URL goes
/// before that of every repository. Its credentials are those of its own host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The registry; none is all.
    pub(super) of: Option<String>,
    pub(super) url: Url,
}

impl Mirror {
    /// Reads one.
    ///
    /// # Errors
    /// When its URL begins with neither `http://` nor `https://`, or has a query or a user (bad input).
    pub fn parse(text: &str) -> Result<Self> {
        let (of, url) = match text.split_once('=') {
            Some((of, url)) if !of.contains("://") => (Some(of.trim_end_matches('/')), url),
            _ => (None, text),
        };
        let place = || "mirror";
        let url = Url::parse(url).map_err(|error| error.hint("write [REGISTRY=]URL, as in docker.io=https://mirror.example")).at(place)?;
        if url.path.contains('?') {
            return Err(Error::bad_input(format!("'{}' has a query", shown(&url.to_string(), SHOWN))).at(place()));
        }
        let of = of.filter(|of| *of != "*").map(|of| match of.to_ascii_lowercase() {
            docker if matches!(docker.as_str(), "index.docker.io" | "registry-1.docker.io") => "docker.io".to_owned(),
            other => other,
        });
        Ok(Self { of, url })
    }
}

impl FromStr for Mirror {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_linuxkits() {
        let parse = |text: &str| Mirror::parse(text).map(|mirror| (mirror.of, mirror.url.whole())).unwrap();
        assert_eq!(parse("docker.io=http://m.example"), (Some("docker.io".to_owned()), "http://m.example/".to_owned()));
        assert_eq!(parse("index.docker.io/=https://m:5000/a/"), (Some("docker.io".to_owned()), "https://m:5000/a/".to_owned()));
        assert_eq!(parse("https://m"), (None, "https://m/".to_owned()));
        assert_eq!(parse("*=https://m"), (None, "https://m/".to_owned()));
        assert_eq!(parse("localhost:5000=http://m"), (Some("localhost:5000".to_owned()), "http://m/".to_owned()));
        for bad in ["", "m.example", "docker.io=m.example", "docker.io=https://u:secret@m", "https://m/?x=secret"] {
            let error = Mirror::parse(bad).unwrap_err().to_string();
            assert!(error.starts_with("mirror: ") && !error.contains("secret"), "{error}");
        }
    }
}
