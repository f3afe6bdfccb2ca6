//! Process 1 of ours (`boot/init`) in an image: all of it lies in `/.moby` of what the kernel unpacks into memory, wherever the image came
//! from and whatever it becomes. A root in a partition has nothing of it.
//!
//! ```text
//!  initrd = microcode ++ /.moby, /init ++ the image's own files ++ /.moby/whole
//! ```
//! The order is what tells a machine with too little memory: the kernel boots on with what it had room for.

use crate::error::{At, Error, Result};
use formats::{
    Blob, Tree,
    compress::Codec,
    kernel::{self, Arch},
    modules::Selection,
    tree::{Content, Inode, ShowPath},
    units,
};
use initconfig::{Config, config};

const HOME: &[u8] = b".moby";
const PROGRAM: &[u8] = b".moby/init";
const CONFIG: &[u8] = b".moby/config";
const MODULES: &str = ".moby/modules";
const WHOLE: &[u8] = b".moby/whole";
/// Where the kernel looks for process 1 of an initramfs; a link to ours where the image has nothing there.
const INIT: &[u8] = b"init";
/// What the command line says where the image has.
const RDINIT: &str = "rdinit=/.moby/init";

/// Process 1 of ours in an image, and what is left of that without it.
#[derive(Debug)]
pub struct Init {
    /// What it is told.
    pub config: Config,
    /// The program, its configuration and the kernel's modules.
    front: Tree,
    /// The image's own files.
    pub own: Tree,
}

/// Where process 1 finds the root.
#[derive(Clone, Debug)]
pub(crate) struct RootDevice {
    /// `PARTUUID=GUID`.
    pub(crate) name: String,
    /// The line of device-mapper's table by which it is verified.
    pub(crate) verity: Option<String>,
}

impl Init {
    /// Process 1 of ours in what a kernel unpacks; nothing where there is none.
    ///
    /// # Errors
    /// When its configuration is none.
    pub fn of(rootfs: &Tree) -> Result<Option<Self>> {
        let file = |path| match rootfs.get(path).map(|inode| &inode.content) {
            Some(Content::File(body)) => Some(body),
            _ => None,
        };
        let (Some(_), Some(text)) = (file(PROGRAM), file(CONFIG)) else { return Ok(None) };
        let place = || format!("entry {}", ShowPath(CONFIG));
        let text = text.to_vec(units::bytes(config::MAX)).at(place)?;
        let config = Config::parse(&text).map_err(|error| Error::bad_input(error.to_string())).at(place)?;
        let link = is_ours(rootfs);
        let is_front = |path: &[u8]| is_home(path) || link && path == INIT;
        let front = rootfs.filter(|path| is_front(path) && path != WHOLE);
        Ok(Some(Self { config, front, own: rootfs.filter(|path| !is_front(path)) }))
    }

    /// What an initrd holds with the image's own files, in order.
    pub(crate) fn parts(self) -> Result<[Tree; 3]> {
        let Self { front, own, .. } = self;
        let mut whole = own.filter(|_| false).builder()?;
        whole.add(WHOLE, Inode::new(Content::File(Blob::default()), 0o644))?;
        Ok([front, own, whole.finish()])
    }

    /// What a kernel unpacks where the image's own files are elsewhere: there, where they are known to be.
    ///
    /// # Errors
    /// When the tree cannot be changed.
    pub(crate) fn alone(&self, root: Option<&RootDevice>) -> Result<Tree> {
        let mut config = self.config.clone();
        if let Some(RootDevice { name, verity }) = root {
            config.root = Some(name.clone().into_bytes());
            config.verity = verity.clone().map(String::into_bytes);
        }
        super::replaced(&self.front, CONFIG, secret(config.write()))
    }

    /// The codecs with which a module of its reads squashfs.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn squashfs_codecs(&self) -> Result<Vec<Codec>> {
        self.module("squashfs").map_or(Ok(Vec::new()), kernel::squashfs_codecs)
    }

    /// Whether it has a module.
    pub(crate) fn has_module(&self, name: &str) -> bool {
        self.module(name).is_some()
    }

    fn module(&self, name: &str) -> Option<&Blob> {
        let ending = format!("/{name}.ko");
        let found = self.front.names.iter().find(|entry| entry.path.ends_with(ending.as_bytes()))?;
        match &self.front.inodes[found.inode].content {
            Content::File(body) => Some(body),
            _ => None,
        }
    }
}

/// An image's own files with process 1 in front of them, and what the command line has to say for it.
///
/// # Errors
/// When the image has a file where ours would lie, or there is no such process 1 for the machine.
pub(crate) fn with(own: &Tree, config: &Config, release: &str, modules: Selection, arch: Arch) -> Result<(Tree, Option<&'static str>)> {
    if let Some(name) = own.names.iter().find(|name| is_home(&name.path)) {
        let what = format!("entry {}: the image has a file there, where process 1 would have its own", ShowPath(&name.path));
        return Err(Error::unsupported(what).hint("take it out of the image, or start the image without: --init none"));
    }
    let program = match arch {
        Arch::X86_64 => prebuilt::INIT_X86_64,
        Arch::Aarch64 => prebuilt::INIT_AARCH64,
        other => return Err(Error::unsupported(format!("there is no process 1 for {other}")).hint("start the image without: --init none")),
    };
    let mut tree = own.builder()?;
    tree.add(HOME, Inode::new(Content::Directory, 0o700))?;
    tree.add(PROGRAM, Inode::new(Content::File(Blob::bytes(program)), 0o755))?;
    tree.add(CONFIG, secret(config.write()))?;
    for (path, body) in modules.files() {
        tree.add(format!("{MODULES}/{release}/{path}").as_bytes(), Inode::new(Content::File(body), 0o644))?;
    }
    tree.add(WHOLE, Inode::new(Content::File(Blob::default()), 0o644))?;
    let has_init = own.get(INIT).is_some();
    if !has_init {
        tree.add(INIT, Inode::new(Content::Symlink(PROGRAM.to_vec()), 0o777))?;
    }
    Ok((tree.finish(), has_init.then_some(RDINIT)))
}

/// What other users of the machine are not to read.
fn secret(text: Vec<u8>) -> Inode {
    Inode::new(Content::File(Blob::bytes(text)), 0o600)
}

fn is_home(path: &[u8]) -> bool {
    path.strip_prefix(HOME).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Whether `/init` is the link that leads to ours.
fn is_ours(rootfs: &Tree) -> bool {
    rootfs.get(INIT).is_some_and(|inode| matches!(&inode.content, Content::Symlink(target) if target == PROGRAM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::tree::Builder;

    fn tree(files: &[&str]) -> Tree {
        let mut tree = Builder::default();
        files.iter().for_each(|path| tree.add(path.as_bytes(), Inode::new(Content::File(Blob::bytes(*b"x")), 0o755)).unwrap());
        tree.finish()
    }

    fn paths(tree: &Tree) -> Vec<String> {
        tree.names.iter().map(|name| String::from_utf8(name.path.clone()).unwrap()).collect()
    }

    fn config() -> Config {
        Config { entrypoint: vec![b"/app".to_vec()], env: vec![b"A=two\nlines".to_vec()], ..Config::default() }
    }

    #[test]
    fn what_was_put_in_front_is_found_again() {
        for (files, argument) in [(&["app", "etc/x"][..], None), (&["app", "init"], Some(RDINIT))] {
            let own = tree(files);
            let modules = Selection { modules: vec![("kernel/a.ko".into(), Blob::bytes(*b"ELF"))], ..Selection::default() };
            let (whole, said) = with(&own, &config(), "6.1", modules, Arch::X86_64).unwrap();
            assert_eq!(said, argument);
            let init = Init::of(&whole).unwrap().unwrap();
            assert_eq!((init.config.clone(), init.own.fingerprint()), (config(), own.fingerprint()));
            assert!(init.has_module("a") && !init.has_module("b"));
            let root = RootDevice { name: "PARTUUID=6cbb66ac-3f7a-4a5f-a0c1-0e31a0a1d5f1".into(), verity: None };
            let alone = Init::of(&init.alone(Some(&root)).unwrap()).unwrap().unwrap();
            assert_eq!((alone.config.root, alone.own.names.len()), (Some(root.name.into_bytes()), 0));
            let [front, again, last] = init.parts().unwrap();
            assert_eq!((again.fingerprint(), paths(&last)), (own.fingerprint(), vec![".moby".into(), ".moby/whole".into()]));
            let link = if argument.is_none() { &["init"][..] } else { &[] };
            let modules = ["", "/6.1", "/6.1/kernel", "/6.1/kernel/a.ko", "/6.1/modules.alias", "/6.1/modules.dep", "/6.1/modules.softdep"];
            let modules = modules.map(|path| format!(".moby/modules{path}"));
            let wanted = [".moby", ".moby/config", ".moby/init"].map(String::from).into_iter().chain(modules);
            assert_eq!(paths(&front), wanted.chain(link.iter().map(|path| (*path).to_owned())).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_image_does_not_pass_for_ours() {
        for files in [&["app"][..], &[".moby/init"], &[".moby/config"], &[".mobyx/init", ".mobyx/config"]] {
            assert!(Init::of(&tree(files)).unwrap().is_none(), "{files:?}");
        }
        let error = Init::of(&tree(&[".moby/init", ".moby/config"])).unwrap_err().to_string();
        assert_eq!(error, "entry .moby/config: line 1, \"x\": it has to be KEY VALUE");
        for path in [".moby", ".moby/modules/x"] {
            let error = with(&tree(&["app", path]), &config(), "", Selection::default(), Arch::X86_64).unwrap_err().to_string();
            assert!(error.starts_with("entry .moby") && error.contains("the image has a file there"), "{error}");
        }
        assert!(with(&tree(&["app", ".moby-data"]), &config(), "", Selection::default(), Arch::Aarch64).is_ok());
        let error = with(&tree(&["app"]), &config(), "", Selection::default(), Arch::Riscv64).unwrap_err().to_string();
        assert_eq!(error, "there is no process 1 for riscv64");
    }
}
