//! Packages of distributions, as far as a kernel comes in one: the kernel, and the modules of its release.
//!
//! | package | standard | kernel | modules |
//! |-|-|-|-|
//! | `.deb` of Debian and Ubuntu | deb(5) | `boot/vmlinuz-RELEASE` | `lib/modules/RELEASE`, also below `usr` |
//! | `.rpm` of Fedora, RHEL, openSUSE | rpm's package format 4 | `lib/modules/RELEASE/vmlinuz`, also below `usr` | beside it, or in packages of their own |
//! | a tar: `.apk` of Alpine, `.pkg.tar` of Arch, `make tar-pkg` | | `boot/vmlinuz-virt`, or one of the others | `lib/modules/RELEASE`, also below `usr` |
//!
//! Told by content, never by name. Several packages become one kernel, as the distribution has cut it: [`Packages`]. A package that only
//! names others is refused, and says which.
//!
//! What is unpacked goes to the spool, at most 4 GiB a package.

mod deb;
mod rpm;
mod tar;

use crate::{
    Blob, Env, Error, Result, Tree,
    compress::{self, Codec},
    kernel::Kernel,
    tree::{Builder, Content, Name, ShowPath},
    units,
};
use std::{collections::BTreeSet, io::Read};

/// Most bytes that a package unpacks to.
const UNPACKED_MAX: u64 = 4 * units::GIB;
/// Most bytes of what a package says about itself.
const ABOUT_MAX: u64 = units::MIB;
/// Most names that a message lists.
const SHOWN_MAX: usize = 8;
/// Where modules are.
const MODULES: &[u8] = b"lib/modules";

/// What the names of kernels begin with, the most likely first: openSUSE has `vmlinux` for debuggers beside, Debian's for riscv64 has no other.
const KERNELS: [&[u8]; 3] = [b"vmlinuz", b"Image", b"vmlinux"];

/// A kernel, and what was built with it.
#[derive(Clone, Debug)]
pub struct KernelPackage {
    /// The kernel, as it is booted.
    pub kernel: Blob,
    /// Which release its modules are of; none where there are none.
    pub release: Option<String>,
    /// `lib/modules/RELEASE`, with the directories that lead there; modules may be compressed ([`crate::modules`]).
    pub modules: Tree,
}

/// A kernel without modules.
impl From<Blob> for KernelPackage {
    fn from(kernel: Blob) -> Self {
        Self { kernel, release: None, modules: Tree::default() }
    }
}

/// A kind of package.
#[derive(Debug)]
pub struct Kind {
    probe: fn(&Blob) -> Result<bool>,
    /// Adds its files to a tree.
    unpack: fn(&Blob, &mut Builder, &mut Env) -> Result<()>,
    /// The packages that it asks for, versions left out.
    depends: fn(&Blob) -> Result<Vec<String>>,
}

/// Every kind. A new one is a file with its row, and a line here.
static KINDS: [Kind; 3] = [deb::KIND, rpm::KIND, tar::KIND];

/// The kind of a package.
///
/// # Errors
/// When it cannot be read.
pub fn probe(file: &Blob) -> Result<Option<&'static Kind>> {
    for kind in &KINDS {
        if (kind.probe)(file)? {
            return Ok(Some(kind));
        }
    }
    Ok(None)
}

/// What is kept of packages while they are put together.
#[derive(Debug, Default)]
pub struct Packages {
    /// The files that belong to a kernel, `usr/` in front of `lib/` left out.
    files: Builder,
}

impl Packages {
    /// Adds what a package has of a kernel.
    ///
    /// # Errors
    /// When it is damaged, unpacks to too much, or has nothing of a kernel: then the packages that it depends on are named.
    pub fn add(&mut self, file: &Blob, kind: &Kind, env: &mut Env) -> Result<()> {
        let mut files = Builder::default();
        (kind.unpack)(file, &mut files, env)?;
        if self.add_tree(&files.finish())? {
            return Ok(());
        }
        let depends = (kind.depends)(file)?;
        let shown: Vec<_> = depends.iter().take(SHOWN_MAX).map(String::as_str).collect();
        Err(match shown.is_empty() {
            true => no_kernel().hint("give the package that has it"),
            false => no_kernel().hint(format!("it depends on these, one of which may have it: {}", shown.join(", "))),
        })
    }

    /// Adds what a tree, as one of an installed system, has of a kernel; whether there is anything.
    ///
    /// # Errors
    /// When there are more names than a tree holds.
    pub fn add_tree(&mut self, tree: &Tree) -> Result<bool> {
        let mut any = false;
        for Name { path, inode } in &tree.names {
            let path = path.strip_prefix(b"usr/").filter(|rest| below(rest, MODULES).is_some()).unwrap_or(path);
            let inode = &tree.inodes[*inode];
            if matches!(inode.content, Content::File(_)) && is_of_kernel(path) {
                self.files.add(path, inode.clone())?;
                any = true;
            }
        }
        Ok(any)
    }

    /// The kernel that they make together.
    ///
    /// # Errors
    /// When there is none, there are several, or modules of several releases or of another one than the kernel's.
    pub fn finish(self) -> Result<KernelPackage> {
        let tree = self.files.finish();
        let releases: BTreeSet<&[u8]> = tree.names.iter().filter_map(|name| release(&name.path)).collect();
        if releases.len() > 1 {
            let error =
                Error::bad_input(format!("there are modules of {} releases in it, must be of one: {}", releases.len(), list(&releases)));
            return Err(error.hint("give packages of one release, or a directory that has no other"));
        }
        let release = releases.first().map(|release| text(release)).transpose()?;
        let (path, kernel) = kernel(&tree, release.as_deref())?;
        let kernel_release = Kernel::identify(&kernel).map_err(|error| error.at(entry(path)))?.release().map(str::to_owned);
        if let (Some(of_kernel), Some(of_modules)) = (&kernel_release, &release)
            && of_kernel != of_modules
        {
            let what = format!("the kernel is of release {of_kernel}, the modules are of {of_modules}: must be of one");
            return Err(Error::bad_input(what).at(entry(path)));
        }
        let modules = tree.filter(|path| path == b"lib" || below(path, MODULES).is_some() && !is_kernel(base(path)));
        Ok(KernelPackage { kernel, release, modules })
    }
}

/// Whether a path, or something below it where it is a directory, may belong to a kernel: what is worth being looked at.
pub fn may_have_kernel(path: &[u8]) -> bool {
    matches!(path, b"boot" | b"lib" | b"usr" | b"usr/lib") || is_of_kernel(path.strip_prefix(b"usr/").unwrap_or(path))
}

/// Whether a file of this path belongs to a kernel.
fn is_of_kernel(path: &[u8]) -> bool {
    below(path, MODULES).is_some() || is_kernel(path.strip_prefix(b"boot/").unwrap_or(path))
}

/// Whether a kernel may have this name.
fn is_kernel(name: &[u8]) -> bool {
    KERNELS.iter().any(|start| name.starts_with(start)) && !name.contains(&b'/')
}

/// What of a path is below a directory; nothing for the directory itself.
fn below<'a>(path: &'a [u8], directory: &[u8]) -> Option<&'a [u8]> {
    match path.strip_prefix(directory)? {
        [] => Some(&[]),
        [b'/', rest @ ..] => Some(rest),
        _ => None,
    }
}

fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// The release whose modules a file is among.
fn release(path: &[u8]) -> Option<&[u8]> {
    let rest = below(path, MODULES)?;
    let end = rest.iter().position(|byte| *byte == b'/')?;
    Some(&rest[..end])
}

/// The one kernel of a tree: among the modules, else in `boot`, else at the top; of the likeliest name.
fn kernel<'a>(tree: &'a Tree, release: Option<&str>) -> Result<(&'a [u8], Blob)> {
    let among = release.map(|release| format!("lib/modules/{release}"));
    for directory in among.as_deref().into_iter().chain(["boot", ""]) {
        for start in KERNELS {
            let is_it = |name: &&Name| {
                let inside = if directory.is_empty() { Some(name.path.as_slice()) } else { below(&name.path, directory.as_bytes()) };
                inside.is_some_and(|inside| inside.starts_with(start) && is_kernel(inside))
            };
            let found: Vec<_> = tree.names.iter().filter(is_it).collect();
            match (found.as_slice(), found.first().map(|name| &tree.inodes[name.inode].content)) {
                ([name], Some(Content::File(body))) => return Ok((&name.path, body.clone())),
                ([_, _, ..], _) => {
                    let names: BTreeSet<_> = found.iter().map(|name| name.path.as_slice()).collect();
                    let what = format!("there are {} kernels in it, must be one: {}", names.len(), list(&names));
                    return Err(Error::bad_input(what).hint("give one package, or a directory that has no other"));
                }
                _ => {}
            }
        }
    }
    Err(match release {
        Some(release) => Error::bad_input(format!("there are modules of {release} in it, and no kernel"))
            .hint("give the package with the kernel, too, beside that with the modules"),
        None => no_kernel(),
    })
}

fn no_kernel() -> Error {
    Error::bad_input("there is no kernel in it: neither boot/vmlinuz* nor lib/modules/*/vmlinuz")
}

fn entry(path: &[u8]) -> String {
    format!("entry {}", ShowPath(path))
}

/// Names for a message, the first few of them.
fn list(names: &BTreeSet<&[u8]>) -> String {
    let more = if names.len() > SHOWN_MAX { ", ..." } else { "" };
    let shown: Vec<_> = names.iter().take(SHOWN_MAX).map(|name| ShowPath(name).to_string()).collect();
    shown.join(", ") + more
}

fn text(name: &[u8]) -> Result<String> {
    String::from_utf8(name.to_vec()).map_err(|_| Error::bad_input(format!("the release '{}' is not UTF-8", ShowPath(name))))
}

/// What is in an archive of a package, whatever that is compressed with.
fn unpacked(archive: &Blob, env: &mut Env) -> Result<Blob> {
    compress::unpack(Codec::of(archive)?, archive, UNPACKED_MAX, env)
}

/// The front of what is in an archive, up to where it is damaged: that is found when all of it is read.
fn front(archive: &Blob, len: u64) -> Result<Blob> {
    let codec = Codec::of(archive)?;
    if codec == Codec::None {
        return Ok(archive.slice(0..archive.len().min(len)));
    }
    let mut front = Vec::new();
    _ = compress::reader(codec, archive.reader()).map(|reader| reader.take(len).read_to_end(&mut front));
    Ok(Blob::from(front))
}

/// A file at the front of a tar that says what the package is.
fn about(archive: &Blob, path: &[u8]) -> Result<String> {
    let front = front(archive, ABOUT_MAX)?;
    let mut members = crate::tar::Members::new(&front).map_while(Result::ok);
    let body = members.find_map(|member| match member.entry {
        crate::tar::Entry::Inode(crate::tree::Inode { content: Content::File(body), .. })
            if member.path.strip_prefix(b"./").unwrap_or(&member.path) == path =>
        {
            Some(body)
        }
        _ => None,
    });
    Ok(String::from_utf8_lossy(&body.unwrap_or_default().to_vec(ABOUT_MAX)?).into_owned())
}

#[cfg(test)]
mod tests;
