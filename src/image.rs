//! `Image`: what is booted. A tagged tar, a disk, a CD or a unified kernel image becomes one, each in a module of its own.

mod booted;
pub mod cmdline;
pub mod disk;
pub mod file_system;
pub mod init;
pub mod initrd;
pub mod tar;
pub mod uki;

use crate::{
    error::{Error, Result},
    platforms::Consoles,
};

pub use booted::Booted;
pub use cmdline::Cmdline;
pub use init::Init;

use formats::{
    Blob, Tree,
    kernel::{Arch, Kernel},
    package::KernelPackage,
    tree::{Content, Inode, Origin},
};
use std::{collections::BTreeMap, sync::Arc};

/// What is booted.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// The kernel; never empty, but for a CD that is no more than files.
    pub kernel: Blob,
    /// Its command line.
    pub cmdline: Cmdline,
    /// CPU microcode.
    pub ucode: Option<Blob>,
    /// The root file system, without what is in `boot/`; with process 1 of ours in front of it where it has none ([`Init`]).
    pub rootfs: Tree,
    /// `boot/` alone, with everything that a tar has there: device trees and the like.
    pub boot: Tree,
}

/// What a user gives beside an input; it goes before what the input has.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The kernel, and its modules: a plain root file system needs one.
    pub kernel: Option<KernelPackage>,
    /// The command line.
    pub cmdline: Option<String>,
    /// The consoles of the platform, which take the place of those that the command line has.
    pub consoles: Option<Consoles>,
    /// Put behind the command line, wherever that came from.
    pub append: Vec<String>,
    /// CPU microcode.
    pub ucode: Option<Blob>,
    /// What the kernel must be for.
    pub arch: Option<Arch>,
}

/// An image as an input has it. What is wrong with a part matters only where nothing is given in its place.
#[derive(Debug)]
pub struct Draft {
    kernel: Result<Blob>,
    cmdline: Result<Cmdline>,
    ucode: Result<Option<Blob>>,
    rootfs: Tree,
    boot: Tree,
}

impl From<Image> for Draft {
    fn from(Image { kernel, cmdline, ucode, rootfs, boot }: Image) -> Self {
        Self { kernel: Ok(kernel), cmdline: Ok(cmdline), ucode: Ok(ucode), rootfs, boot }
    }
}

impl Draft {
    /// A tree that is the root as a whole, what is in its `boot/` with it.
    pub fn of_root(rootfs: Tree) -> Self {
        let kernel = Err(tar::no_kernel());
        Self { kernel, cmdline: Ok(Cmdline::default()), ucode: Ok(None), rootfs, boot: Tree::default() }
    }

    /// The root file system.
    pub fn rootfs(&self) -> &Tree {
        &self.rootfs
    }

    /// The same with another root file system.
    #[must_use]
    pub fn with_root(self, rootfs: Tree) -> Self {
        Self { rootfs, ..self }
    }

    /// The kernel, where there is one.
    pub fn kernel(&self) -> Option<&Blob> {
        self.kernel.as_ref().ok()
    }

    /// Puts a command line where there is none.
    pub fn or_cmdline(&mut self, make: impl FnOnce() -> Cmdline) {
        if self.cmdline.as_ref().is_ok_and(|cmdline| cmdline.as_str().is_empty()) {
            self.cmdline = Ok(make());
        }
    }

    /// Puts more arguments behind the command line that it has.
    ///
    /// # Errors
    /// As [`Cmdline::append`].
    pub fn append(&mut self, argument: &str) -> Result<()> {
        self.cmdline.as_mut().map_or(Ok(()), |cmdline| cmdline.append(argument))
    }

    /// The image as far as there is one: a plain root file system has no kernel, and its files are no less there.
    ///
    /// # Errors
    /// When a part is malformed.
    pub fn contents(self) -> Result<Image> {
        let Self { kernel, cmdline, ucode, rootfs, boot } = self;
        let kernel = if boot.get(tar::KERNEL).is_some() { kernel? } else { kernel.unwrap_or_default() };
        Ok(Image { kernel, cmdline: cmdline?, ucode: ucode?, rootfs, boot })
    }

    /// The image, with what the user gives in the place of what the input has.
    ///
    /// # Errors
    /// When a part is missing or malformed and nothing is given for it, or what is given is malformed or for another architecture.
    pub fn with(self, given: &Overrides) -> Result<Image> {
        let Self { kernel, cmdline, ucode, rootfs, mut boot } = self;
        let kernel = given.kernel.as_ref().map_or(kernel, |package| Ok(package.kernel.clone()))?;
        if kernel.is_empty() {
            return Err(Error::bad_input("the kernel has 0 bytes"));
        }
        if let Some(arch) = given.arch {
            refuse_other(arch, &kernel)?;
        }
        let before = cmdline.as_ref().ok().cloned();
        let mut cmdline = given.cmdline.as_deref().map_or(cmdline, Cmdline::new)?;
        if let Some(consoles) = given.consoles {
            cmdline.set_consoles(consoles.on(Kernel::identify(&kernel)?.arch));
        }
        given.append.iter().try_for_each(|text| cmdline.append(text))?;
        let ucode = match &given.ucode {
            Some(ucode) => tar::microcode("--ucode", ucode)?,
            None => ucode?,
        };
        if given.kernel.is_some() {
            boot = replaced(&boot, tar::KERNEL, file(&kernel))?;
        }
        if before.as_ref() != Some(&cmdline) {
            boot = replaced(&boot, tar::CMDLINE, file(&Blob::bytes(cmdline.as_str().as_bytes())))?;
        }
        if let (Some(_), Some(ucode)) = (&given.ucode, &ucode) {
            boot = replaced(&boot, tar::UCODE, file(ucode))?;
        }
        Ok(Image { kernel, cmdline, ucode, rootfs, boot })
    }
}

impl Image {
    /// What each component of the build put into the tar, `boot/` included; nobody's files stand first.
    pub fn components(&self) -> BTreeMap<Option<Arc<Origin>>, Component> {
        let mut components: BTreeMap<_, Component> = BTreeMap::new();
        for inode in self.rootfs.inodes.iter().chain(&self.boot.inodes) {
            if let Content::File(blob) = &inode.content {
                let component = components.entry(inode.origin.clone()).or_default();
                component.files += 1;
                component.bytes = component.bytes.saturating_add(blob.len());
            }
        }
        components
    }

    /// `boot/` with the kernel, the command line and the microcode in it, wherever they came from.
    ///
    /// # Errors
    /// When one of their names is a directory.
    pub fn whole_boot(&self) -> Result<Tree> {
        let cmdline = Blob::bytes(self.cmdline.as_str().as_bytes());
        let parts = [(tar::KERNEL, Some(&self.kernel)), (tar::CMDLINE, Some(&cmdline)), (tar::UCODE, self.ucode.as_ref())];
        let mut boot = self.boot.clone();
        for (path, body) in parts {
            if let Some(body) = body.filter(|_| boot.get(path).is_none()) {
                boot = replaced(&boot, path, file(body))?;
            }
        }
        Ok(boot)
    }
}

/// What one component of the build put into the tar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Component {
    /// Regular files; hard links count once.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Bytes of all regular files of a tree.
pub fn content_size(tree: &Tree) -> u64 {
    let size = |inode: &Inode| match &inode.content {
        Content::File(body) => body.len(),
        _ => 0,
    };
    tree.inodes.iter().map(size).sum()
}

/// A tree in which a path is this inode; its other names keep what they were.
pub(crate) fn replaced(tree: &Tree, path: &[u8], inode: Inode) -> Result<Tree> {
    let mut builder = tree.filter(|other| other != path).builder()?;
    builder.add(path, inode)?;
    Ok(builder.finish())
}

/// A file as a build writes it.
fn file(body: &Blob) -> Inode {
    Inode::new(Content::File(body.clone()), 0o644)
}

/// Whoever names an architecture must not get another one.
fn refuse_other(arch: Arch, kernel: &Blob) -> Result<()> {
    match Kernel::identify(kernel)?.arch {
        found if found == arch => Ok(()),
        found => Err(Error::bad_input(format!("the kernel is for {found}, --arch says {arch}"))),
    }
}
