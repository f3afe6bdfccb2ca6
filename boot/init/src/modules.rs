//! The kernel's modules, of `/.moby/modules/RELEASE`: those of the devices that are there, and those that we ask for by name.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use initconfig::modules::Modules as Index;
use nix::{
    errno::Errno,
    kmod::{ModuleInitFlags, finit_module},
    sys::utsname,
};

use crate::{console::say, files};

/// How often nothing new has to be found, and how long it is waited in between: drivers find devices behind our back.
const QUIET_ROUNDS: u32 = 3;
const ROUND: Duration = Duration::from_millis(40);
/// The indexes of all modules of a distribution's kernel have some MB.
const INDEX_MAX: u64 = 64 << 20;
/// Buses behind buses go no deeper.
const DEPTH_MAX: u32 = 32;

/// The modules of the kernel that runs.
pub(crate) struct Modules {
    /// By its descriptor, so that they are found when another root is above them.
    dir: PathBuf,
    open: Option<File>,
    index: Index<'static>,
    /// The aliases that were looked up.
    asked: BTreeSet<Vec<u8>>,
    /// The files that were given to the kernel.
    loaded: BTreeSet<&'static [u8]>,
}

impl Modules {
    /// Reads the indexes; a kernel without modules has none.
    pub(crate) fn open() -> Self {
        let release = utsname::uname().map(|name| name.release().to_owned()).unwrap_or_default();
        let dir = Path::new("/.moby/modules").join(&release);
        let open = File::open(&dir).ok();
        if open.is_none() && Path::new("/.moby/modules").exists() {
            say(format!("the initrd has modules, but none for this kernel, {}", release.to_string_lossy()));
        }
        // They are kept as long as the machine runs.
        let text = |name: &str| -> &'static [u8] { files::read(dir.join(name), INDEX_MAX).unwrap_or_default().leak() };
        let index = Index::parse(text("modules.alias"), text("modules.dep"), text("modules.softdep"));
        let dir = open.as_ref().map(|open| PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd())));
        Self { dir: dir.unwrap_or_default(), open, index, asked: BTreeSet::new(), loaded: BTreeSet::new() }
    }

    /// Loads what drives the devices that are there, until no more appear.
    pub(crate) fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < QUIET_ROUNDS {
            if self.look() {
                quiet = 0;
            } else {
                quiet += 1;
                thread::sleep(ROUND);
            }
        }
    }

    /// Loads what drives the devices that are there now; whether there were new ones.
    pub(crate) fn look(&mut self) -> bool {
        if self.open.is_none() {
            return false;
        }
        let mut aliases = BTreeSet::new();
        collect(Path::new("/sys/devices"), &mut aliases, 0);
        let mut new = false;
        for alias in aliases {
            new |= self.device(&alias);
        }
        new
    }

    /// Loads what drives a device; whether it was not known.
    pub(crate) fn device(&mut self, alias: &[u8]) -> bool {
        if self.open.is_none() || !self.asked.insert(alias.to_vec()) {
            return false;
        }
        let names: Vec<Vec<u8>> = self.index.named(alias).into_iter().map(<[u8]>::to_vec).collect();
        names.iter().for_each(|name| self.load(name));
        true
    }

    /// Loads a module by its name; one that is built in, or not there, is no module.
    pub(crate) fn load(&mut self, name: &[u8]) {
        for file in self.index.order(name) {
            if !self.loaded.insert(file) {
                continue;
            }
            let path = self.dir.join(OsStr::from_bytes(file));
            let shown = file.escape_ascii();
            match File::open(path) {
                Ok(module) => match finit_module(&module, c"", ModuleInitFlags::empty()) {
                    // There is no such device: what its alias promised was too much.
                    Ok(()) | Err(Errno::EEXIST | Errno::ENODEV) => {}
                    Err(error) => say(format!("{shown}: {error}")),
                },
                Err(error) => say(format!("{shown}: {error}")),
            }
        }
    }
}

/// The modalias of every device below a directory.
fn collect(dir: &Path, aliases: &mut BTreeSet<Vec<u8>>, depth: u32) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth < DEPTH_MAX => collect(&entry.path(), aliases, depth + 1),
            Ok(kind) if kind.is_file() && entry.file_name() == "modalias" => {
                let alias = files::read(entry.path(), 1 << 16).unwrap_or_default();
                aliases.insert(alias.trim_ascii().to_vec());
            }
            _ => {}
        }
    }
}
