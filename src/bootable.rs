//! Whether an image will boot, as far as its kernel and its files tell. `convert`, `inspect` and `lint` ask the same.
//!
//! | question | why |
//! |---|---|
//! | is there an init, and can the kernel run it? | without `/init` Linux leaves an initramfs alone and looks for `root=`; one that cannot be run is a panic |
//! | is `dev/console` a device? | a file of that name, as `docker export` leaves it, takes all that init says |
//! | has the kernel an EFI stub? | UEFI starts nothing else |
//! | does the initramfs fit into memory? | Linux unpacks as much of it as half of the memory takes, and goes on with that |

use crate::{
    error::Result,
    image::{Image, replaced},
};
use formats::{
    Tree, elf,
    kernel::{Arch, Kernel},
    tree::{Content, Device, Inode, ShowPath},
    units::{self, show_size},
};

/// How the root file system comes to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It is unpacked into memory (Linux `Documentation/filesystems/ramfs-rootfs-initramfs.rst`).
    Initramfs,
    /// It is mounted.
    Mounted,
}

/// Why an image may not boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// What it has.
    pub(crate) found: String,
    /// What it needs.
    pub(crate) needed: String,
    /// What to do.
    pub(crate) fix: &'static str,
    /// Whether some machines start it all the same.
    pub(crate) depends: bool,
}

impl Doubt {
    fn new(found: impl Into<String>, needed: impl Into<String>, fix: &'static str) -> Self {
        Self { found: found.into(), needed: needed.into(), fix, depends: false }
    }

    /// It as one sentence.
    pub(crate) fn sentence(&self) -> String {
        format!("it may not boot: {}; {}", self.found, self.fix)
    }
}

/// Where Linux looks for the init of a root that it mounts (`init/main.c`).
const INITS: [&[u8]; 4] = [b"sbin/init", b"etc/init", b"bin/init", b"bin/sh"];

/// What may keep an image from booting, whose root file system comes in this way. An image without files says nothing of them.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn doubts(image: &Image, start: Start) -> Result<Vec<Doubt>> {
    let Image { rootfs, cmdline, .. } = image;
    if rootfs.names.is_empty() {
        return Ok(Vec::new());
    }
    // What is no kernel is said elsewhere.
    let arch = Kernel::identify(&image.kernel).ok().map(|kernel| kernel.arch);
    let (option, otherwise): (_, &[&[u8]]) = match start {
        Start::Initramfs => ("rdinit=", &[b"init"]),
        Start::Mounted => ("init=", &INITS),
    };
    let named = cmdline.value(option).map(|path| path.as_bytes().to_vec());
    let there = |path: &&[u8]| find(rootfs, path).is_some();
    let init = match &named {
        Some(path) => path.as_slice(),
        None => match otherwise.iter().copied().find(there) {
            Some(path) => path,
            // Then the initramfs is not the root.
            None if start == Start::Initramfs && cmdline.has_root() => return Ok(Vec::new()),
            None => otherwise[0],
        },
    };
    let shown = format!("/{}", ShowPath(init.strip_prefix(b"/").unwrap_or(init)));
    let fix = match start {
        Start::Initramfs => "name what starts the system with --append rdinit=/PATH, or let the kernel mount the root with --root squashfs",
        Start::Mounted => "name what starts the system with --append init=/PATH",
    };
    let unfit = runnable(rootfs, init, arch)?.err();
    let unfit = unfit.map(|found| Doubt::new(format!("{shown} {found}"), "a program that Linux can run there", fix));
    Ok(unfit.into_iter().chain(too_large(rootfs).filter(|_| start == Start::Initramfs && !cmdline.has_root())).collect())
}

/// Memory that machines have, the smallest of clouds among them.
const MEMORY_COMMON: u64 = units::GIB;

/// Why an initramfs may not be unpacked as a whole. It is a tmpfs where no other root is named, and that takes half of the memory (Linux
/// `Documentation/filesystems/tmpfs.rst`, `size`).
fn too_large(rootfs: &Tree) -> Option<Doubt> {
    const PAGE: u64 = 4 * units::KIB;
    let len = |inode: &Inode| if let Content::File(body) = &inode.content { body.len().div_ceil(PAGE).saturating_mul(PAGE) } else { 0 };
    let unpacked = rootfs.inodes.iter().map(len).fold(0, u64::saturating_add);
    let memory = unpacked.saturating_mul(2);
    let found = || format!("the initramfs has {} of files, and Linux gives it half of the memory", show_size(unpacked));
    let needed = || format!("a machine with {} of memory or more", show_size(memory));
    let fix = "take a machine with more than twice as much, or let the kernel mount the root with --root squashfs";
    (memory > MEMORY_COMMON).then(|| Doubt { depends: true, ..Doubt::new(found(), needed(), fix) })
}

/// How many scripts may run one another (Linux, `bprm_execve`).
const SCRIPTS_MAX: u32 = 4;

/// Whether a kernel could run the file at a path; why not.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn runnable(tree: &Tree, path: &[u8], arch: Option<Arch>) -> Result<std::result::Result<(), String>> {
    runnable_by(tree, path, arch, SCRIPTS_MAX)
}

/// The same of a script of this many.
fn runnable_by(tree: &Tree, path: &[u8], arch: Option<Arch>, scripts: u32) -> Result<std::result::Result<(), String>> {
    /// As much of a script's first line as Linux reads.
    const HEAD: u64 = 256;
    let Some(inode) = find(tree, path) else {
        let is_link = matches!(tree.get(path.strip_prefix(b"/").unwrap_or(path)).map(|inode| &inode.content), Some(Content::Symlink(_)));
        return Ok(Err(if is_link { "is a link to nothing".into() } else { "is missing".into() }));
    };
    let Content::File(body) = &inode.content else { return Ok(Err("is no file".into())) };
    if inode.mode & 0o111 == 0 {
        return Ok(Err(format!("is not executable (mode {:o})", inode.mode)));
    }
    let head = body.slice(0..body.len().min(HEAD)).to_vec(HEAD)?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
        let interpreter = line.split(|byte| matches!(byte, b' ' | b'\t')).next().unwrap_or_default();
        return Ok(match scripts {
            0 => Err("is a script of a script and so on".into()),
            _ => runnable_by(tree, interpreter, arch, scripts - 1)?
                .map_err(|why| format!("is a script for {}, which {why}", ShowPath(interpreter))),
        });
    }
    Ok(match (elf::machine(&head), arch) {
        (None, _) => Err("is neither an ELF program nor a script".into()),
        (Some(machine), Some(arch)) if !runs(arch, machine) => {
            Err(format!("is a program for another machine (ELF {machine}), the kernel is for {arch}"))
        }
        _ => Ok(()),
    })
}

/// Whether a kernel runs programs for an ELF machine: its own, and the 32-bit ones of its family.
fn runs(arch: Arch, machine: u16) -> bool {
    const ARM: u16 = 40;
    match elf::arch(machine) {
        Some(Arch::X86) => matches!(arch, Arch::X86 | Arch::X86_64),
        Some(other) => other == arch,
        None => machine == ARM && arch == Arch::Aarch64,
    }
}

/// The inode that a path leads to, through symbolic links.
pub(crate) fn find<'a>(tree: &'a Tree, path: &[u8]) -> Option<&'a Inode> {
    /// Linux's own limit, path_resolution(7).
    const LINKS_MAX: u32 = 40;
    let parts = |path: &[u8]| path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (mut pending, mut at, mut links) = (parts(path), Vec::new(), 0);
    while let Some(part) = pending.pop() {
        match part.as_slice() {
            b"" | b"." => {}
            b".." => at.truncate(at.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
            name => {
                let next = if at.is_empty() { name.to_vec() } else { [&at, b"/".as_slice(), name].concat() };
                let Content::Symlink(target) = &tree.get(&next)?.content else {
                    at = next;
                    continue;
                };
                links += 1;
                if links > LINKS_MAX {
                    return None;
                }
                if target.starts_with(b"/") {
                    at.clear();
                }
                pending.extend(parts(target));
            }
        }
    }
    tree.get(&at)
}

/// Why UEFI would not start a kernel.
pub(crate) fn without_stub(has_efi_stub: bool) -> Option<Doubt> {
    let fix = "take a kernel with CONFIG_EFI_STUB, or boot by BIOS: --boot bios";
    (!has_efi_stub).then(|| Doubt::new("the kernel has no EFI stub, and UEFI starts nothing else", "an EFI stub in the kernel", fix))
}

/// The console of the kernel: device 5:1.
const CONSOLE: &[u8] = b"dev/console";

/// Makes a device of a `dev/console` that is an empty file; says so.
///
/// # Errors
/// When the tree cannot be changed: its names contradict each other.
pub(crate) fn mend_console(image: Image, warn: &mut dyn FnMut(&str)) -> Result<Image> {
    let is_empty_file = |inode: &Inode| matches!(&inode.content, Content::File(body) if body.is_empty());
    if !image.rootfs.get(CONSOLE).is_some_and(is_empty_file) {
        return Ok(image);
    }
    warn("dev/console is an empty file, as `docker export` leaves it, and would take what init says: it becomes the device 5:1");
    let device = Inode::new(Content::CharacterDevice(Device { major: 5, minor: 1 }), 0o600);
    Ok(Image { rootfs: replaced(&image.rootfs, CONSOLE, device)?, ..image })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Cmdline;
    use formats::{Blob, tree::Builder};

    fn file(body: &[u8], mode: u32) -> Inode {
        Inode::new(Content::File(Blob::bytes(body)), mode)
    }

    fn link(target: &str) -> Inode {
        Inode::new(Content::Symlink(target.as_bytes().to_vec()), 0o777)
    }

    fn elf(machine: u8) -> Vec<u8> {
        let mut head = vec![0; 64];
        head[..4].copy_from_slice(b"\x7fELF");
        head[18] = machine;
        head
    }

    fn image(files: &[(&str, Inode)], cmdline: &str) -> Image {
        let mut tree = Builder::default();
        tree.add(b"etc/hostname", file(b"box", 0o644)).unwrap();
        files.iter().for_each(|(path, inode)| tree.add(path.as_bytes(), inode.clone()).unwrap());
        let kernel = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/boot/prebuilt/testkernel.bzimage")).unwrap();
        Image { kernel: kernel.into(), cmdline: Cmdline::new(cmdline).unwrap(), rootfs: tree.finish(), ..Image::default() }
    }

    fn found(files: &[(&str, Inode)], cmdline: &str, start: Start) -> String {
        doubts(&image(files, cmdline), start).unwrap().into_iter().map(|doubt| doubt.found).collect()
    }

    #[test]
    fn an_initramfs_needs_an_init_that_runs() {
        let said = |files: &[(&str, Inode)]| found(files, "quiet", Start::Initramfs);
        let program = || file(&elf(62), 0o755);
        assert_eq!(said(&[]), "/init is missing");
        assert_eq!(said(&[("init", file(&elf(62), 0o644))]), "/init is not executable (mode 644)");
        assert_eq!(said(&[("init", link("sbin/init"))]), "/init is a link to nothing");
        assert_eq!(said(&[("init", file(&elf(183), 0o755))]), "/init is a program for another machine (ELF 183), the kernel is for x86_64");
        assert_eq!(said(&[("init", file(b"echo", 0o755))]), "/init is neither an ELF program nor a script");
        assert_eq!(said(&[("init", file(b"#!/bin/sh -e\n", 0o755))]), "/init is a script for /bin/sh, which is missing");
        assert_eq!(said(&[("init", file(b"#! /init\n", 0o755))]).matches("is a script for").count(), 4);
        for good in [
            &[("init", program())][..],
            &[("init", file(&elf(3), 0o755))],
            &[("init", link("/sbin/../bin/busybox")), ("bin/busybox", program()), ("sbin/x", program())],
            &[
                ("init", file(b"#!/bin/sh\n", 0o755)),
                ("bin", link("usr/bin")),
                ("usr/bin/sh", link("busybox")),
                ("usr/bin/busybox", program()),
            ],
        ] {
            assert_eq!(said(good), "");
        }
        assert_eq!(found(&[], "root=/dev/sda", Start::Initramfs), "", "it is no root");
        assert_eq!(found(&[("init", program())], "rdinit=/bin/it", Start::Initramfs), "/bin/it is missing");
        assert!(doubts(&Image::default(), Start::Initramfs).unwrap().is_empty());
    }

    #[test]
    fn a_root_that_is_mounted_has_its_inits_elsewhere() {
        let program = || file(&elf(62), 0o755);
        assert_eq!(found(&[("init", program())], "", Start::Mounted), "/sbin/init is missing");
        for path in ["sbin/init", "etc/init", "bin/init", "bin/sh"] {
            assert_eq!(found(&[(path, program())], "root=/dev/vda", Start::Mounted), "");
        }
        assert_eq!(found(&[("bin/sh", program())], "init=/bin/it", Start::Mounted), "/bin/it is missing");
    }

    #[test]
    fn an_initramfs_wants_twice_its_size_of_memory() {
        let large = |len| [("init", file(&elf(62), 0o755)), ("large", Inode::new(Content::File(Blob::zeros(len)), 0o644))];
        let half = units::GIB / 2;
        assert_eq!(found(&large(half - 3 * 4096), "", Start::Initramfs), "");
        let said = found(&large(half), "", Start::Initramfs);
        assert!(said.starts_with("the initramfs has 512.0 MiB of files, and Linux gives it half"), "{said}");
        assert_eq!(found(&large(half), "root=/dev/vda init=/init", Start::Mounted), "");
        assert!(doubts(&image(&large(half), ""), Start::Initramfs).unwrap()[0].depends);
    }

    #[test]
    fn links_in_a_circle_end() {
        assert_eq!(found(&[("init", link("again")), ("again", link("init"))], "", Start::Initramfs), "/init is a link to nothing");
    }

    #[test]
    fn a_console_that_is_a_file_becomes_a_device() {
        let mut said = Vec::new();
        let mut mended = |inode: Inode| {
            let image = mend_console(image(&[("dev/console", inode)], ""), &mut |text| said.push(text.to_owned())).unwrap();
            image.rootfs.get(CONSOLE).unwrap().content.clone()
        };
        assert!(matches!(mended(file(b"", 0o755)), Content::CharacterDevice(Device { major: 5, minor: 1 })));
        assert!(matches!(mended(file(b"log", 0o644)), Content::File(_)));
        assert!(matches!(mended(link("tty0")), Content::Symlink(_)));
        assert_eq!(said.len(), 1);
    }
}
