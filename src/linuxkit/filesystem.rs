//! The file system of an image inside of the tagged tar: some files are left out, some replaced, some always there.

use super::{
    flatten,
    tagged::{T0, Tag, Tagged},
};
use crate::error::Result;
use formats::{
    Blob,
    tar::{typeflag, verbatim::Entry},
};

/// What Docker leaves in a container and nobody wants, and what is made anew at every start.
const LEFT_OUT: [&str; 6] = [".dockerenv", "Dockerfile", "dev/console", "dev/pts", "dev/shm", "etc/hostname"];

const HOSTS: &str = "127.0.0.1       localhost
::1     localhost ip6-localhost ip6-loopback
fe00::0 ip6-localnet
ff00::0 ip6-mcastprefix
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
";

const NO_RESOLVER: &str = "\n# no resolv.conf configured\n";

/// Where the root file system and volumes find their resolver.
const RESOLVER_LINK: &str = "/run/resolvconf/resolv.conf";

const MTAB: &str = "etc/mtab";

/// What `etc/resolv.conf` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolver {
    /// A file that says that there is none.
    File,
    /// A link to the one that is found at run time.
    Link,
}

/// What becomes of the entry of this name.
enum Fate {
    LeftOut,
    Replaced(&'static str),
    Linked,
    Kept,
}

impl Resolver {
    fn fate(self, path: &[u8]) -> Fate {
        match path {
            b"etc/hosts" => Fate::Replaced(HOSTS),
            b"etc/resolv.conf" if self == Self::Link => Fate::Linked,
            b"etc/resolv.conf" => Fate::Replaced(NO_RESOLVER),
            _ if LEFT_OUT.iter().any(|name| name.as_bytes() == path) => Fate::LeftOut,
            _ => Fate::Kept,
        }
    }
}

/// Hands on the entries of an image as LinuxKit passes them on, marked, their names behind `prefix`, which is empty or ends with a `/`.
///
/// Gives what shows although an opaque whiteout hides it by OCI's rules.
///
/// # Errors
/// When a layer is no tar, or `take` fails.
pub(super) fn each(
    layers: &[flatten::Tar],
    tag: &Tag,
    prefix: &str,
    resolver: Resolver,
    mut take: impl FnMut(Entry, Blob) -> Result<()>,
) -> Result<Option<String>> {
    let mut has_mtab = false;
    let shown = flatten::each(layers, |mut entry, mut body| {
        tag.mark(&mut entry);
        let fate = resolver.fate(&entry.path);
        has_mtab |= entry.path == MTAB.as_bytes();
        match fate {
            Fate::LeftOut => return Ok(()),
            Fate::Replaced(text) => {
                // LinuxKit fails where this is a link or a directory.
                entry.kind = typeflag::FILE;
                entry.link.clear();
                entry.mtime = T0;
                body = Blob::bytes(text.as_bytes());
            }
            Fate::Linked => {
                entry.kind = typeflag::SYMLINK;
                entry.link = RESOLVER_LINK.into();
                entry.mtime = T0;
                body = Blob::default();
            }
            Fate::Kept => {
                if entry.path == MTAB.as_bytes() {
                    entry.mtime = T0;
                }
                if entry.kind == typeflag::HARD_LINK {
                    entry.link = [prefix.as_bytes(), &entry.link].concat();
                }
            }
        }
        entry.path = [prefix.as_bytes(), &entry.path].concat();
        take(entry, body)
    })?;
    for (mut entry, body) in always(resolver) {
        if entry.path == MTAB.as_bytes() && has_mtab {
            continue;
        }
        tag.mark(&mut entry);
        entry.path = [prefix.as_bytes(), &entry.path].concat();
        take(entry, body)?;
    }
    Ok(shown)
}

/// What is always there. LinuxKit adds it again where the image has it, and so takes modes and owners of these back.
fn always(resolver: Resolver) -> impl Iterator<Item = (Entry, Blob)> {
    let made = |kind: u8, path: &str, mode: i64, link: &str, text: &str| {
        (Entry { mtime: T0, link: link.into(), ..Entry::new(kind, path, mode) }, Blob::bytes(text.as_bytes()))
    };
    let directory = move |path: &str| made(typeflag::DIRECTORY, path, 0o755, "", "");
    let resolv = match resolver {
        Resolver::File => made(typeflag::FILE, "etc/resolv.conf", 0o644, "", NO_RESOLVER),
        Resolver::Link => made(typeflag::SYMLINK, "etc/resolv.conf", 0o644, RESOLVER_LINK, ""),
    };
    let hosts = made(typeflag::FILE, "etc/hosts", 0o644, "", HOSTS);
    let mtab = made(typeflag::SYMLINK, MTAB, 0o755, "/proc/mounts", "");
    let directories = ["dev", "dev/pts", "dev/shm", "etc"].map(directory);
    directories.into_iter().chain([hosts, mtab, resolv]).chain(["proc", "sys"].map(directory))
}

/// Puts an image into the tar: the directories of `path`, and its file system in it. Without a path it is the root's.
///
/// # Errors
/// As [`each`], and when a tar cannot hold an entry.
pub(super) fn put(to: &mut Tagged, layers: &[flatten::Tar], tag: &Tag, path: &str, resolver: Resolver) -> Result<Option<String>> {
    to.directories(tag, path)?;
    let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
    each(layers, tag, &prefix, resolver, |entry, body| to.add(&entry, &body))
}
