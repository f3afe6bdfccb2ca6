//! A tagged tar, read and written.
//!
//! | in the tar | is |
//! |---|---|
//! | `boot/kernel` | the kernel |
//! | `boot/cmdline` | its command line, up to the first newline |
//! | `boot/ucode.cpio` | CPU microcode, an early cpio, not compressed |
//! | anything else in `boot/` | kept apart, as LinuxKit keeps it out of its initrd; the directory `boot` itself stays where the tar has it |
//! | everything else | the root file system |
//!
//! The three may stand anywhere in the tar, with or without a leading `./` or `/`. A root file system whose `boot` is no directory has it
//! behind them, as [`write()`] does: where a `boot` follows that is none, what stood in there before is kept apart, and the root has the later.

use super::{Draft, Image, Overrides, cmdline::Cmdline};
use crate::error::{At, Error, Result};
use formats::{
    Blob, Tree,
    compare::same,
    tar::{Dialect, Entry, Members, Writer},
    tree::{self, Content, Inode, ShowPath},
    units,
};

const BOOT: &[u8] = b"boot";
pub(super) const KERNEL: &[u8] = b"boot/kernel";
pub(super) const CMDLINE: &[u8] = b"boot/cmdline";
pub(super) const UCODE: &[u8] = b"boot/ucode.cpio";

/// Most bytes of `boot/cmdline`; the kernels themselves take a few thousand.
const CMDLINE_FILE_MAX: u64 = 64 * units::KIB;

/// The image in a tagged tar.
///
/// # Errors
/// When the archive is malformed or has no entries, there is no kernel or an empty one or several different ones, or the command line is none.
pub fn read(archive: &Blob) -> Result<Image> {
    draft(archive)?.0.with(&Overrides::default())
}

/// What is in a tar, tagged or plain, and what is odd about it ([`Members::warnings`]).
///
/// # Errors
/// When the archive is malformed or has no entries.
pub fn draft(archive: &Blob) -> Result<(Draft, Vec<String>)> {
    let mut builder = tree::Builder::default();
    let (mut kernels, mut apart, mut is_empty, mut has_boot) = (Vec::new(), None, true, false);
    let mut members = Members::new(archive);
    for member in members.by_ref() {
        let member = member?;
        is_empty = false;
        if let Entry::Inode(inode) = &member.entry {
            let path = tree::components(&member.path).map(|path| path.join(&b'/')).unwrap_or_default();
            if path == KERNEL {
                kernels.push(inode.clone());
            } else if path == BOOT {
                has_boot = true;
                if !matches!(inode.content, Content::Directory) && apart.is_none() {
                    (builder, apart) = without_parts(builder)?;
                }
            }
        }
        member.add_to(&mut builder)?;
    }
    if is_empty {
        return Err(Error::bad_input("the archive has no entries").hint("whatever wrote it wrote nothing, or it was cut"));
    }
    let draft = split(builder.finish(), apart, &kernels);
    // A directory of which nothing is known but that something lies in it is no file of the root.
    let rootfs = if has_boot { draft.rootfs } else { draft.rootfs.retain(|path| path != BOOT) };
    Ok((Draft { rootfs, ..draft }, members.warnings()))
}

/// What is in a tree, tagged or plain.
pub fn of_tree(whole: &Tree) -> Draft {
    split(whole.clone(), None, &[])
}

/// A tree without `boot`, and that, where nothing is in it but the three.
fn without_parts(builder: tree::Builder) -> Result<(tree::Builder, Option<Tree>)> {
    let whole = builder.finish();
    let boot = whole.filter(is_boot);
    let is_ours = boot.names.iter().all(|name| [BOOT, KERNEL, CMDLINE, UCODE].contains(&name.path.as_slice()));
    match is_ours && boot.names.len() > 1 {
        true => Ok((whole.retain(|path| !is_boot(path)).builder()?, Some(boot))),
        false => Ok((whole.builder()?, None)),
    }
}

fn is_boot(path: &[u8]) -> bool {
    path == BOOT || path.starts_with(b"boot/")
}

/// `apart` is what was in `boot/` before the root got another, `kernels` every entry that was at the kernel's path.
fn split(whole: Tree, apart: Option<Tree>, kernels: &[Inode]) -> Draft {
    let is_directory = whole.get(BOOT).is_some_and(|inode| matches!(inode.content, Content::Directory));
    // A file or a link is no place for a kernel: it is the root's alone.
    let boot = apart.unwrap_or_else(|| if is_directory { whole.filter(is_boot) } else { Tree::default() });
    let rootfs = whole.retain(|path| !path.starts_with(b"boot/"));
    let kernel = kernel(&boot, kernels);
    let (cmdline, ucode) = (cmdline(&boot), ucode(&boot));
    Draft { kernel, cmdline, ucode, rootfs, boot }
}

/// A tagged tar that makes the same image again. The names of components are in it where the image has them: one that went through
/// an initrd has lost them.
///
/// # Errors
/// When a tar cannot hold a file.
pub fn write(image: &Image) -> Result<Blob> {
    let mut tar = Writer::new(Dialect::Pax);
    let mut add = |path: &[u8], body: Blob| tar.add(path, &Inode::new(Content::File(body), 0o644));
    if !image.kernel.is_empty() {
        add(KERNEL, image.kernel.clone())?;
        add(CMDLINE, Blob::bytes(image.cmdline.as_str().as_bytes()))?;
    }
    if let Some(ucode) = &image.ucode {
        add(UCODE, ucode.clone())?;
    }
    tar.tree(&image.rootfs)?;
    Ok(tar.finish())
}

fn kernel(boot: &Tree, entries: &[Inode]) -> Result<Blob> {
    let inode = boot.get(KERNEL).ok_or_else(no_kernel)?;
    let kernel = file(KERNEL, inode)?;
    refuse_another(inode, kernel, entries)?;
    Ok(kernel.clone())
}

pub(super) fn no_kernel() -> Error {
    Error::bad_input("there is no entry boot/kernel").hint("give a kernel with --kernel, or a tar built by LinuxKit")
}

/// Two kernels are a mistake in a build; the same one twice is not, because duplicate entries are normal in LinuxKit's tars.
fn refuse_another(last: &Inode, kernel: &Blob, entries: &[Inode]) -> Result<()> {
    let origin = |inode: &Inode| inode.origin.as_ref().map_or_else(|| "an unnamed component".into(), |origin| origin.source.clone());
    for other in entries {
        let Content::File(content) = &other.content else { continue };
        if !same(content, kernel)? {
            let what = format!("there are two different kernels at boot/kernel, from {} and from {}", origin(other), origin(last));
            return Err(Error::bad_input(what).hint("leave one out of the build, or choose one with --kernel"));
        }
    }
    Ok(())
}

/// An empty one where the tar has none.
fn cmdline(boot: &Tree) -> Result<Cmdline> {
    let Some(inode) = boot.get(CMDLINE) else { return Ok(Cmdline::default()) };
    let bytes = file(CMDLINE, inode)?.to_vec(CMDLINE_FILE_MAX);
    bytes.and_then(|bytes| Cmdline::from_file(&bytes)).at(|| "boot/cmdline")
}

fn ucode(boot: &Tree) -> Result<Option<Blob>> {
    boot.get(UCODE).map_or(Ok(None), |inode| microcode("boot/ucode.cpio", file(UCODE, inode)?))
}

/// Microcode out of a file; an empty one has none. The kernel looks for a newc cpio and nothing else (x86/microcode.rst).
///
/// # Errors
/// When it is something else.
pub(super) fn microcode(name: &str, ucode: &Blob) -> Result<Option<Blob>> {
    const NEWC: [u8; 6] = *b"070701";
    if ucode.is_empty() {
        return Ok(None);
    }
    let head = ucode.slice(0..ucode.len().min(6)).to_vec(6)?;
    if head != NEWC {
        let what = format!("the CPU microcode begins with '{}', must be a newc cpio that is not compressed (070701)", head.escape_ascii());
        return Err(Error::bad_input(what).at(name));
    }
    Ok(Some(ucode.clone()))
}

fn file<'a>(path: &[u8], inode: &'a Inode) -> Result<&'a Blob> {
    let found = match &inode.content {
        Content::File(blob) => return Ok(blob),
        Content::Symlink(target) => format!("a symbolic link to {}", ShowPath(target)),
        Content::Directory => "a directory".into(),
        _ => "a device or pipe".into(),
    };
    Err(Error::bad_input(format!("entry {} is {found}, must be a regular file", ShowPath(path))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use formats::tree::Origin;
    use std::sync::Arc;

    fn inode(content: &[u8], source: &str) -> Inode {
        let origin = Origin { source: source.into(), location: "kernel".into() };
        Inode { origin: Some(Arc::new(origin)), ..Inode::new(Content::File(Blob::bytes(content)), 0o644) }
    }

    /// A tar of files: path, content, component.
    fn tar(files: &[(&str, &str, &str)]) -> Blob {
        let mut writer = Writer::new(Dialect::Pax);
        for (path, content, source) in files {
            writer.add(path.as_bytes(), &inode(content.as_bytes(), source)).unwrap();
        }
        writer.finish()
    }

    fn read(files: &[(&str, &str, &str)]) -> Result<Image> {
        super::read(&tar(files))
    }

    fn text(blob: &Blob) -> String {
        String::from_utf8(blob.to_vec(1 << 20).unwrap()).unwrap()
    }

    fn paths(tree: &Tree) -> Vec<String> {
        tree.names.iter().map(|name| String::from_utf8(name.path.clone()).unwrap()).collect()
    }

    #[test]
    fn the_three_stand_anywhere_and_the_rest_of_boot_stays_out() {
        for prefix in ["", "./", "/", ".//./"] {
            let at = |path: &str| format!("{prefix}{path}");
            let image = read(&[
                (&at("etc/os-release"), "os", "a"),
                (&at("boot/ucode.cpio"), "070701...", "a"),
                (&at("boot/dtb/board.dtb"), "dtb", "a"),
                (&at("boot/cmdline"), "console=ttyS0 quiet \nnot this", "a"),
                (&at("bootstrap"), "mine", "a"),
                (&at("boot/kernel"), "vmlinuz", "a"),
            ])
            .unwrap();
            assert_eq!(text(&image.kernel), "vmlinuz");
            assert_eq!(image.cmdline.as_str(), "console=ttyS0 quiet");
            assert_eq!(text(&image.ucode.unwrap()), "070701...");
            assert_eq!(paths(&image.rootfs), ["bootstrap", "etc", "etc/os-release"]);
            assert_eq!(paths(&image.boot), ["boot", "boot/cmdline", "boot/dtb", "boot/dtb/board.dtb", "boot/kernel", "boot/ucode.cpio"]);
        }
    }

    #[test]
    fn a_boot_that_is_no_directory_comes_back() {
        let link = Inode::new(Content::Symlink(b"real".into()), 0o777);
        for boot in [link, Inode::new(Content::File(Blob::bytes(*b"a file")), 0o644)] {
            let mut writer = Writer::new(Dialect::Pax);
            writer.add(b"real/z", &inode(b"z", "a")).unwrap();
            writer.add(b"boot", &boot).unwrap();
            let given = Overrides { kernel: Some(Blob::bytes(*b"vmlinuz").into()), cmdline: Some("quiet".into()), ..Overrides::default() };
            let first = draft(&writer.finish()).unwrap().0.with(&given).unwrap();
            assert_eq!(
                (paths(&first.rootfs), paths(&first.boot)),
                (vec!["boot".into(), "real".into(), "real/z".into()], vec!["boot".into(), "boot/cmdline".into(), "boot/kernel".into()])
            );
            let again = super::read(&write(&first).unwrap()).unwrap();
            assert_eq!((text(&again.kernel), again.cmdline.as_str()), ("vmlinuz".into(), "quiet"));
            assert_eq!(again.rootfs.fingerprint(), first.rootfs.fingerprint());
        }
        // Of anything else in boot/ nobody knows where it belongs.
        let mut writer = Writer::new(Dialect::Pax);
        writer.add(b"boot/kernel", &inode(b"vmlinuz", "a")).unwrap();
        writer.add(b"boot/grub/grub.cfg", &inode(b"", "a")).unwrap();
        writer.add(b"boot", &Inode::new(Content::Symlink(b"real".into()), 0o777)).unwrap();
        assert!(super::read(&writer.finish()).unwrap_err().to_string().contains("a directory that is not empty"));
    }

    #[test]
    fn an_archive_without_entries_is_none() {
        for zeros in [0, 512, 1024, 1 << 20] {
            assert_eq!(draft(&Blob::zeros(zeros)).unwrap_err().to_string(), "the archive has no entries");
        }
        let whole = tar(&[("boot/kernel", "k", "a"), ("etc/x", "", "a")]);
        assert_eq!(draft(&whole).unwrap().1, Vec::<String>::new());
        assert!(draft(&whole.slice(0..whole.len() - 1024)).unwrap().1[0].starts_with("the archive has no end: it may be cut"));
    }

    #[test]
    fn an_image_needs_one_kernel() {
        let message = |files: &[(&str, &str, &str)]| {
            let error = read(files).unwrap_err();
            assert_eq!(error.kind(), Kind::BadInput);
            error.to_string()
        };
        assert_eq!(message(&[("etc/x", "", "a")]), "there is no entry boot/kernel");
        assert_eq!(message(&[("boot/kernel", "", "a")]), "the kernel has 0 bytes");
        assert_eq!(message(&[("boot/kernel/x", "", "a")]), "entry boot/kernel is a directory, must be a regular file");
        let two = message(&[("boot/kernel", "one", "kernel:5"), ("./boot/kernel", "two", "kernel:6")]);
        assert_eq!(two, "there are two different kernels at boot/kernel, from kernel:5 and from kernel:6");
        let twice = read(&[("boot/kernel", "one", "kernel:5"), ("boot/kernel", "one", "kernel:6")]).unwrap();
        assert_eq!(text(&twice.kernel), "one");
    }

    #[test]
    fn a_kernel_may_be_a_hard_link_and_have_one_outside() {
        let mut writer = Writer::new(Dialect::Pax);
        let kernel = inode(b"vmlinuz", "a");
        writer.add(b"boot/vmlinuz-6.1", &kernel).unwrap();
        writer.hard_link(b"boot/kernel", b"boot/vmlinuz-6.1", &kernel).unwrap();
        writer.hard_link(b"vmlinuz", b"boot/kernel", &kernel).unwrap();
        let image = super::read(&writer.finish()).unwrap();
        assert_eq!(text(&image.kernel), "vmlinuz");
        assert_eq!(paths(&image.rootfs), ["vmlinuz"]);
        let mut writer = Writer::new(Dialect::Pax);
        writer.add(b"boot/kernel", &Inode::new(Content::Symlink(b"vmlinuz".into()), 0o777)).unwrap();
        let error = super::read(&writer.finish()).unwrap_err();
        assert_eq!(error.to_string(), "entry boot/kernel is a symbolic link to vmlinuz, must be a regular file");
    }

    #[test]
    fn a_command_line_that_no_kernel_takes_is_refused() {
        let long = "x".repeat(70_000);
        let error = read(&[("boot/kernel", "k", "a"), ("boot/cmdline", &long, "a")]).unwrap_err();
        assert!(error.to_string().starts_with("boot/cmdline: 70000 bytes are too many"), "{error}");
        assert_eq!(read(&[("boot/kernel", "k", "a")]).unwrap().cmdline.as_str(), "");
    }

    #[test]
    fn what_is_given_beside_the_tar_goes_first() {
        let options = Overrides {
            kernel: Some(Blob::bytes(*b"mine").into()),
            cmdline: Some("console=hvc0".into()),
            append: vec!["debug".into(), " a=b ".into()],
            ucode: Some(Blob::bytes(*b"070701 mine")),
            consoles: None,
            arch: None,
        };
        let plain = tar(&[("bin/sh", "shell", "a"), ("boot/vmlinuz", "theirs", "a")]);
        let tagged =
            tar(&[("boot/kernel", "one", "a"), ("boot/kernel", "two", "a"), ("boot/cmdline", "\0", "a"), ("boot/ucode.cpio", "x", "a")]);
        for archive in [plain, tagged] {
            let image = draft(&archive).unwrap().0.with(&options).unwrap();
            assert_eq!(text(&image.kernel), "mine");
            assert_eq!(image.cmdline.as_str(), "console=hvc0 debug a=b");
            assert_eq!(text(&image.ucode.unwrap()), "070701 mine");
            assert!(image.rootfs.get(b"boot/vmlinuz").is_none());
        }
        let append = Overrides { append: vec!["debug".into()], ..Overrides::default() };
        let cmdline = |files: &[(&str, &str, &str)]| draft(&tar(files)).unwrap().0.with(&append).unwrap().cmdline.to_string();
        assert_eq!(cmdline(&[("boot/kernel", "k", "a"), ("boot/cmdline", "quiet\n", "a")]), "quiet debug");
        assert_eq!(cmdline(&[("boot/kernel", "k", "a")]), "debug");
        let empty = Overrides { kernel: Some(Blob::default().into()), ..Overrides::default() };
        assert!(draft(&tar(&[("x", "", "a")])).unwrap().0.with(&empty).is_err());
    }

    /// Whatever shows `boot/` shows what is booted.
    #[test]
    fn what_is_given_stands_in_boot_and_what_is_not_stays_as_it_was() {
        let archive = tar(&[("boot/kernel", "k", "a"), ("boot/cmdline", "quiet\n", "a"), ("boot/dtb", "d", "a")]);
        let boot = |given: &Overrides| draft(&archive).unwrap().0.with(given).unwrap().boot;
        let of = |tree: &Tree, path: &[u8]| match &tree.get(path).unwrap().content {
            Content::File(body) => text(body),
            other => panic!("{other:?}"),
        };
        let same = boot(&Overrides::default());
        assert_eq!((of(&same, CMDLINE).as_str(), of(&same, b"boot/dtb").as_str()), ("quiet\n", "d"));
        assert!(same.get(CMDLINE).unwrap().origin.is_some());
        let given = boot(&Overrides { kernel: Some(Blob::bytes(*b"mine").into()), append: vec!["debug".into()], ..Overrides::default() });
        assert_eq!((of(&given, KERNEL).as_str(), of(&given, CMDLINE).as_str()), ("mine", "quiet debug"));
        assert!(given.get(CMDLINE).unwrap().origin.is_none() && given.get(b"boot/dtb").unwrap().origin.is_some());
    }

    #[test]
    fn microcode_is_a_plain_cpio_or_nothing() {
        let error = read(&[("boot/kernel", "k", "a"), ("boot/ucode.cpio", "\x1f\u{8}gzip", "a")]).unwrap_err();
        assert!(error.to_string().starts_with(r"boot/ucode.cpio: the CPU microcode begins with '\x1f\x08gzip', must be"), "{error}");
        assert!(read(&[("boot/kernel", "k", "a"), ("boot/ucode.cpio", "", "a")]).unwrap().ucode.is_none());
    }

    #[test]
    fn components_are_counted() {
        let image = read(&[("boot/kernel", "kernel", "linux"), ("a", "12", "init"), ("b/c", "345", "init"), ("a", "1", "init")]).unwrap();
        let components: Vec<_> =
            image.components().into_iter().map(|(origin, c)| (origin.unwrap().source.clone(), c.files, c.bytes)).collect();
        assert_eq!(components, [("init".into(), 2, 4), ("linux".into(), 1, 6)]);
    }
}
