//! Names of images: as a yml writes them, and with their registry.

use super::place::Text;

/// The name of an image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reference {
    /// As it was written.
    pub written: Text,
    /// With its registry: `docker.io/library/redis`. A tag is not added.
    pub expanded: String,
}

impl Reference {
    /// A name with its registry.
    pub(crate) fn new(written: Text) -> Self {
        Self { expanded: expand(&written), written }
    }

    /// What is wrong with it, if no registry has such a name: the real tool says so when it pulls.
    pub(crate) fn fault(&self) -> Option<String> {
        let shown = self.written.escape_debug();
        match fault(&self.expanded) {
            _ if self.written.is_empty() => Some("the name of the image is empty".to_owned()),
            Some(what) => Some(format!("'{shown}' is no name of an image: {what}")),
            None => None,
        }
    }
}

/// A name with its registry: Docker's, where none is named.
pub(crate) fn expand(name: &str) -> String {
    match name.split('/').collect::<Vec<_>>()[..] {
        [_] => format!("docker.io/library/{name}"),
        [first, _] if first != "localhost" && !first.contains(['.', ':']) => format!("docker.io/{name}"),
        _ => name.to_owned(),
    }
}

/// What is wrong with a name that has its registry.
fn fault(expanded: &str) -> Option<String> {
    if expanded.contains("://") {
        return Some("it may not have '://'".to_owned());
    }
    if let Some(c) = expanded.chars().find(|c| !c.is_ascii_graphic()) {
        return Some(format!("it may not have '{}'", c.escape_debug()));
    }
    let (registry, rest) = expanded.split_once('/')?;
    let (name, digest) = rest.split_once('@').map_or((rest, None), |(name, digest)| (name, Some(digest)));
    let (path, tag) = name.split_once(':').map_or((name, None), |(path, tag)| (path, Some(tag)));
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let is_right_digest = |digest: &str| match digest.split_once(':') {
        Some(("sha256", hash)) => hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        _ => false,
    };
    if registry.is_empty() || registry.contains(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']'))) {
        return Some(format!("'{}' is no registry", registry.escape_debug()));
    }
    if let Some(c) = path.chars().find(|c| !(is_word(*c) && !c.is_ascii_uppercase() || *c == '/')) {
        return Some(format!("it may not have '{}'", c.escape_debug()));
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Some("a part of its path is empty or dots".to_owned());
    }
    if let Some(tag) = tag.filter(|tag| tag.is_empty() || tag.len() > 128 || tag.contains(|c| !is_word(c))) {
        return Some(format!("'{}' is no tag", tag.escape_debug()));
    }
    digest.filter(|digest| !is_right_digest(digest)).map(|digest| format!("'{}' is no digest", digest.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linuxkit::place::{Place, Placed};

    fn reference(name: &str) -> Reference {
        Reference::new(Placed { value: name.to_owned(), at: Place { file: "a.yml".into(), line: 1, column: 1 } })
    }

    #[test]
    fn names_get_a_registry_and_no_tag() {
        let digest = format!("lab/app:1@sha256:{}", "0a".repeat(32));
        let expanded = format!("docker.io/{digest}");
        let cases = [
            ("redis", "docker.io/library/redis"),
            ("redis:7", "docker.io/library/redis:7"),
            ("lab/app:1", "docker.io/lab/app:1"),
            ("localhost/app", "localhost/app"),
            ("localhost:5000/app:1", "localhost:5000/app:1"),
            ("ghcr.io/app", "ghcr.io/app"),
            ("ghcr.io/lab/app:1", "ghcr.io/lab/app:1"),
            ("a/b/c", "a/b/c"),
            (&digest, &expanded),
        ];
        for (written, expanded) in cases {
            let reference = reference(written);
            assert_eq!((reference.expanded.as_str(), reference.fault()), (expanded, None));
        }
    }

    #[test]
    fn what_no_registry_has_is_refused() {
        let names = [
            "",
            " ",
            "lab/init a",
            "lab/Init:a",
            "https://lab/app",
            "lab//app",
            "lab/../app",
            "app:",
            "lab/app:a/b",
            "app@sha256:1",
            "a?b",
            "@pkg:x",
        ];
        for name in names {
            assert!(reference(name).fault().is_some(), "{name}");
        }
    }
}
