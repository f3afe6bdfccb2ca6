//! References: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]` (the distribution specification's grammar), with the hosts that are left out filled in.

use super::Digest;
use crate::{At, Error, Result, tree::ShowPath};
use std::{fmt, str::FromStr};

/// Most bytes of host and path, as registries take.
const NAME_MAX: usize = 255;
/// Most bytes of a tag.
const TAG_MAX: usize = 128;
/// Where an image is whose reference names no host.
const DEFAULT_HOST: &str = "docker.io";

/// What names an image at a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    host: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry, with its port where one is named.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository in it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag. None is not the same as `latest`: it is another name in a layout.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of manifest or index.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What to ask the registry for: the digest, or the tag, or `latest`.
    pub fn object(&self) -> &str {
        self.digest.as_ref().map(Digest::as_str).or(self.tag()).unwrap_or("latest")
    }

    /// What a tag names in the same repository.
    pub fn tagged(&self, tag: &str) -> String {
        format!("{}/{}:{tag}", self.host, self.path)
    }

    /// The same image by its digest.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = Error;

    /// `a` is `docker.io/library/a`, and `a/b` is `docker.io/a/b` unless `a` looks like a host; nothing else is added.
    fn from_str(text: &str) -> Result<Self> {
        read(text).at(|| format!("image reference '{}'", ShowPath(text.as_bytes())))
    }
}

fn read(text: &str) -> Result<Reference> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse()?)),
        None => (text, None),
    };
    let name_start = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match rest[name_start..].split_once(':') {
        Some((name, tag)) => (&rest[..name_start + name.len()], Some(tag)),
        None => (rest, None),
    };
    let (host, path) = match name.split_once('/') {
        None => (DEFAULT_HOST, format!("library/{name}")),
        Some((first, _)) if !looks_like_host(first) && name.matches('/').count() == 1 => (DEFAULT_HOST, name.to_owned()),
        Some((first, rest)) => (first, rest.to_owned()),
    };
    if name.is_empty() {
        return Err(Error::bad_input("it has no name"));
    }
    if !is_host(host) {
        return Err(Error::bad_input(format!("'{}' is no host name", ShowPath(host.as_bytes()))));
    }
    if let Some(part) = path.split('/').find(|part| !is_path_component(part)) {
        let shown = ShowPath(part.as_bytes());
        let what = format!("'{shown}' is no part of a name: lower-case letters and digits, with single '.', '_', '__' or '-' between them");
        return Err(Error::bad_input(what));
    }
    if host.len() + 1 + path.len() > NAME_MAX {
        return Err(Error::bad_input(format!("its name has {} bytes, at most {NAME_MAX} are taken", host.len() + 1 + path.len())));
    }
    if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
        let shown = ShowPath(tag.as_bytes());
        return Err(Error::bad_input(format!(
            "'{shown}' is no tag: up to {TAG_MAX} letters, digits, '_', '.' and '-', of which '.' and '-' do not come first"
        )));
    }
    Ok(Reference { host: host.to_owned(), path, tag: tag.map(str::to_owned), digest })
}

fn looks_like_host(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost"
}

fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
            return is_address && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port));
        }
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn is_path_component(text: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends_well = text.as_bytes().first().is_some_and(is_word) && text.as_bytes().last().is_some_and(is_word);
    let is_separator = |run: &str| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|byte| byte == b'-');
    ends_well && text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).all(is_separator)
}

/// Whether a text can be a tag.
pub fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = text.bytes();
    text.len() <= TAG_MAX && bytes.next().is_some_and(is_word) && bytes.all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_left_out_is_filled_in() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let cases = [
            ("redis", "docker.io/library/redis"),
            ("redis:7", "docker.io/library/redis:7"),
            ("linuxkit/init:abc", "docker.io/linuxkit/init:abc"),
            ("localhost/init", "localhost/init"),
            ("localhost:5000/a/b:1", "localhost:5000/a/b:1"),
            ("ghcr.io/a", "ghcr.io/a"),
            ("a/b/c", "a/b/c"),
            ("[::1]:5000/a", "[::1]:5000/a"),
            ("q.io/a__b/c-d--e.f_g:_T.1-x", "q.io/a__b/c-d--e.f_g:_T.1-x"),
            (&format!("a:1@{digest}"), &format!("docker.io/library/a:1@{digest}")),
        ];
        for (text, whole) in cases {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), whole);
        }
        let reference: Reference = "a".parse().unwrap();
        assert_eq!((reference.tag(), reference.object(), reference.host(), reference.path()), (None, "latest", "docker.io", "library/a"));
        assert_eq!(format!("a:1@{digest}").parse::<Reference>().unwrap().object(), digest);
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let long = "a".repeat(300);
        for text in [
            "",
            " ",
            "a b",
            "A",
            "a/B",
            "docker://a",
            "a:",
            "a:-",
            "a@",
            "a@sha256:1",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "/a",
            "a/",
            "a//b",
            "x_y.z/a",
            "h:99999/a",
            "a\u{1b}[2J",
            "ä",
            "../a",
            &long,
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.starts_with("image reference '") && !error.contains('\u{1b}'), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(text in "([a-z]{1,3}(\\.[a-z]{1,2})?(:[0-9]{1,4})?/)?[a-z0-9._-]{1,4}(/[a-z0-9]{1,3}){0,2}(:[A-Za-z0-9_.-]{1,4})?") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
            }
        }
    }
}
