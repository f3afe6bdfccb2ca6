//! `Image`: what is booted, out of a tagged tar.
//!
//! | in the tar | is |
//! |---|---|
//! | `boot/kernel` | the kernel |
//! | `boot/cmdline` | its command line, up to the first newline |
//! | `boot/ucode.cpio` | CPU microcode, an early cpio, not compressed |
//! | anything else in `boot/` | kept apart, as LinuxKit keeps it out of its initrd; the directory `boot` itself stays |
//! | everything else | the root file system |
//!
//! The three may stand anywhere in the tar, with or without a leading `./` or `/`.

use crate::platforms::Consoles;
use formats::{
    At, Blob, Error, Result, Tree,
    kernel::{Arch, Kernel},
    tar::{Dialect, Entry, Members, Writer},
    tree::{self, Content, Inode, Origin, ShowPath},
    units,
};
use std::{collections::BTreeMap, fmt, sync::Arc};

const KERNEL: &[u8] = b"boot/kernel";
const CMDLINE: &[u8] = b"boot/cmdline";
/// What an argument begins with that names a console.
const CONSOLE: &str = "console=";
const UCODE: &[u8] = b"boot/ucode.cpio";

/// Most bytes of `boot/cmdline`; the kernels themselves take a few thousand.
const CMDLINE_FILE_MAX: u64 = 64 * units::KIB;

/// What is booted.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// The kernel; never empty, but for a CD that is no more than files.
    pub kernel: Blob,
    /// Its command line.
    pub cmdline: Cmdline,
    /// CPU microcode.
    pub ucode: Option<Blob>,
    /// The root file system, without what is in `boot/`.
    pub rootfs: Tree,
    /// `boot/` alone, with everything that the tar has there: device trees and the like.
    pub boot: Tree,
}

/// What a user gives beside a tar; it goes before what the tar has.
#[derive(Clone, Debug, Default)]
pub struct ImageOptions {
    /// The kernel: a plain root file system needs one.
    pub kernel: Option<Blob>,
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

/// A kernel command line: one line of UTF-8 without control characters other than tabs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cmdline(String);

/// What one component of the build put into the tar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Component {
    /// Regular files; hard links count once.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Image {
    /// Reads a tagged tar, or a plain one beside which a kernel is given.
    ///
    /// # Errors
    /// When the archive is malformed, there is no kernel or an empty one or several different ones, or the command line is none.
    pub fn read(archive: &Blob, options: &ImageOptions) -> Result<Self> {
        let mut builder = tree::Builder::default();
        let mut kernels = Vec::new();
        for member in Members::new(archive) {
            let member = member?;
            if options.kernel.is_none()
                && let Entry::Inode(inode) = &member.entry
                && tree::components(&member.path).is_ok_and(|path| path.join(&b'/') == KERNEL)
            {
                kernels.push(inode.clone());
            }
            member.add_to(&mut builder)?;
        }
        let whole = builder.finish();
        let rootfs = whole.filter(|path| !path.starts_with(b"boot/"));
        let boot = whole.filter(|path| path == b"boot" || path.starts_with(b"boot/"));
        drop(whole);
        let kernel = kernel(&boot, &kernels, options)?;
        if let Some(arch) = options.arch {
            refuse_other(arch, &kernel)?;
        }
        let cmdline = cmdline(&boot, &kernel, options)?;
        Ok(Self { kernel, cmdline, ucode: ucode(&boot, options)?, rootfs, boot })
    }

    /// A tagged tar that makes the same image again. The names of components are in it where the image has them: one that went
    /// through an initrd has lost them.
    ///
    /// # Errors
    /// When a tar cannot hold a file.
    pub fn tar(&self) -> Result<Blob> {
        let mut tar = Writer::new(Dialect::Pax);
        let mut add = |path: &[u8], body: Blob| tar.add(path, &Inode::new(Content::File(body), 0o644));
        if !self.kernel.is_empty() {
            add(KERNEL, self.kernel.clone())?;
            add(CMDLINE, Blob::bytes(self.cmdline.as_str().as_bytes()))?;
        }
        if let Some(ucode) = &self.ucode {
            add(UCODE, ucode.clone())?;
        }
        tar.tree(&self.rootfs)?;
        Ok(tar.finish())
    }

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
}

impl Cmdline {
    /// A command line from text.
    ///
    /// # Errors
    /// When the text is more than one line or has control characters.
    pub fn new(text: &str) -> Result<Self> {
        let text = text.trim();
        match text.chars().find(|c| c.is_control() && *c != '\t') {
            Some(c) => Err(Error::bad_input(format!(
                "the kernel command line '{}' has a '{}', must be one line without control characters",
                ShowPath(text.as_bytes()),
                c.escape_default()
            ))),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// A command line from the bytes of a file: what stands before the first newline.
    ///
    /// # Errors
    /// When that is not UTF-8 or has control characters.
    pub fn from_file(bytes: &[u8]) -> Result<Self> {
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let refuse = |_| Error::bad_input(format!("the kernel command line '{}' is not UTF-8", ShowPath(line)));
        Self::new(std::str::from_utf8(line).map_err(refuse)?)
    }

    /// Puts more arguments behind it.
    ///
    /// # Errors
    /// As [`Cmdline::new`].
    pub fn append(&mut self, text: &str) -> Result<()> {
        *self = Self::new(&format!("{} {}", self.0, text.trim()))?;
        Ok(())
    }

    /// Puts these consoles in the place of those that it has; nothing changes where there are none.
    pub fn set_consoles(&mut self, consoles: &[&str]) {
        if consoles.is_empty() {
            return;
        }
        let others = self.0.split(' ').filter(|word| !word.is_empty() && !word.starts_with(CONSOLE)).map(str::to_owned);
        let consoles = consoles.iter().map(|console| format!("{CONSOLE}{console}"));
        // In front: behind a lone `--`, words are for init.
        self.0 = consoles.chain(others).collect::<Vec<_>>().join(" ");
    }

    /// Whether it says which device holds the root file system.
    pub fn has_root(&self) -> bool {
        self.0.split_whitespace().any(|word| word.starts_with("root="))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cmdline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kernel that was given, else the tar's; `entries` are all that it has of that name.
fn kernel(boot: &Tree, entries: &[Inode], options: &ImageOptions) -> Result<Blob> {
    let kernel = match &options.kernel {
        Some(kernel) => kernel.clone(),
        None => {
            let missing =
                || Error::bad_input("there is no entry boot/kernel").hint("give a kernel with --kernel, or a tar built by LinuxKit");
            let inode = boot.get(KERNEL).ok_or_else(missing)?;
            let kernel = file(KERNEL, inode)?;
            refuse_another(inode, kernel, entries)?;
            kernel.clone()
        }
    };
    match kernel.is_empty() {
        true => Err(Error::bad_input("the kernel has 0 bytes")),
        false => Ok(kernel),
    }
}

/// Two kernels are a mistake in a build; the same one twice is not, because duplicate entries are normal in LinuxKit's tars.
fn refuse_another(last: &Inode, kernel: &Blob, entries: &[Inode]) -> Result<()> {
    let origin = |inode: &Inode| inode.origin.as_ref().map_or_else(|| "an unnamed component".into(), |origin| origin.source.clone());
    for other in entries {
        let Content::File(content) = &other.content else { continue };
        if !same_bytes(content, kernel)? {
            let what = format!("there are two different kernels at boot/kernel, from {} and from {}", origin(other), origin(last));
            return Err(Error::bad_input(what).hint("leave one out of the build, or choose one with --kernel"));
        }
    }
    Ok(())
}

/// Whoever names an architecture must not get another one.
fn refuse_other(arch: Arch, kernel: &Blob) -> Result<()> {
    match Kernel::identify(kernel)?.arch {
        found if found == arch => Ok(()),
        found => Err(Error::bad_input(format!("the kernel is for {found}, --arch says {arch}"))),
    }
}

fn same_bytes(a: &Blob, b: &Blob) -> Result<bool> {
    const PIECE: u64 = 64 * units::KIB;
    if a.len() != b.len() {
        return Ok(false);
    }
    let mut at = 0;
    while at < a.len() {
        let end = a.len().min(at + PIECE);
        if a.slice(at..end).to_vec(PIECE)? != b.slice(at..end).to_vec(PIECE)? {
            return Ok(false);
        }
        at = end;
    }
    Ok(true)
}

/// The command line that was given, else the tar's, else an empty one; with the platform's consoles, and what is appended.
fn cmdline(boot: &Tree, kernel: &Blob, options: &ImageOptions) -> Result<Cmdline> {
    let mut cmdline = match (&options.cmdline, boot.get(CMDLINE)) {
        (Some(text), _) => Cmdline::new(text)?,
        (None, Some(inode)) => {
            let bytes = file(CMDLINE, inode)?.to_vec(CMDLINE_FILE_MAX);
            bytes.and_then(|bytes| Cmdline::from_file(&bytes)).at(|| "boot/cmdline")?
        }
        (None, None) => Cmdline::default(),
    };
    if let Some(consoles) = options.consoles {
        cmdline.set_consoles(consoles.on(Kernel::identify(kernel)?.arch));
    }
    options.append.iter().try_for_each(|text| cmdline.append(text))?;
    Ok(cmdline)
}

/// The microcode that was given, else the tar's. The kernel looks for a newc cpio and nothing else (x86/microcode.rst).
fn ucode(boot: &Tree, options: &ImageOptions) -> Result<Option<Blob>> {
    const NEWC: [u8; 6] = *b"070701";
    let (name, ucode) = match (&options.ucode, boot.get(UCODE)) {
        (Some(given), _) => ("--ucode", given),
        (None, Some(inode)) => ("boot/ucode.cpio", file(UCODE, inode)?),
        (None, None) => return Ok(None),
    };
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
    use formats::Kind;

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
        Image::read(&tar(files), &ImageOptions::default())
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
            assert_eq!(paths(&image.rootfs), ["boot", "bootstrap", "etc", "etc/os-release"]);
            assert_eq!(paths(&image.boot), ["boot", "boot/cmdline", "boot/dtb", "boot/dtb/board.dtb", "boot/kernel", "boot/ucode.cpio"]);
        }
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
        let image = Image::read(&writer.finish(), &ImageOptions::default()).unwrap();
        assert_eq!(text(&image.kernel), "vmlinuz");
        assert_eq!(paths(&image.rootfs), ["boot", "vmlinuz"]);
        let mut writer = Writer::new(Dialect::Pax);
        writer.add(b"boot/kernel", &Inode::new(Content::Symlink(b"vmlinuz".into()), 0o777)).unwrap();
        let error = Image::read(&writer.finish(), &ImageOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), "entry boot/kernel is a symbolic link to vmlinuz, must be a regular file");
    }

    #[test]
    fn a_command_line_is_one_line_of_text() {
        let good = [("", ""), ("\n", ""), ("a b\r\nc", "a b"), (" quiet\t%d \\n ü ", "quiet\t%d \\n ü"), ("a", "a")];
        for (file, cmdline) in good {
            assert_eq!(Cmdline::from_file(file.as_bytes()).unwrap().as_str(), cmdline);
        }
        let bad: [(&[u8], &str); 3] = [
            (b"a\0b", r"'a\u{0}b' has a '\u{0}'"),
            (b"root=\xff\n", r"'root=\xff' is not UTF-8"),
            (b"a\x1bb", "must be one line without control characters"),
        ];
        for (file, message) in bad {
            let error = Cmdline::from_file(file).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        assert!(Cmdline::new("two\nlines").is_err());
        let long = "x".repeat(70_000);
        let error = read(&[("boot/kernel", "k", "a"), ("boot/cmdline", &long, "a")]).unwrap_err();
        assert!(error.to_string().starts_with("boot/cmdline: 70000 bytes are too many"), "{error}");
        assert_eq!(read(&[("boot/kernel", "k", "a")]).unwrap().cmdline.as_str(), "");
    }

    #[test]
    fn what_is_given_beside_the_tar_goes_first() {
        let options = ImageOptions {
            kernel: Some(Blob::bytes(*b"mine")),
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
            let image = Image::read(&archive, &options).unwrap();
            assert_eq!(text(&image.kernel), "mine");
            assert_eq!(image.cmdline.as_str(), "console=hvc0 debug a=b");
            assert_eq!(text(&image.ucode.unwrap()), "070701 mine");
            assert!(image.rootfs.get(b"boot/vmlinuz").is_none());
        }
        let append = ImageOptions { append: vec!["debug".into()], ..ImageOptions::default() };
        let cmdline = |files: &[(&str, &str, &str)]| Image::read(&tar(files), &append).unwrap().cmdline.to_string();
        assert_eq!(cmdline(&[("boot/kernel", "k", "a"), ("boot/cmdline", "quiet\n", "a")]), "quiet debug");
        assert_eq!(cmdline(&[("boot/kernel", "k", "a")]), "debug");
        let empty = ImageOptions { kernel: Some(Blob::default()), ..ImageOptions::default() };
        assert!(Image::read(&tar(&[]), &empty).is_err());
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
