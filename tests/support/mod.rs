//! What the integration tests share: foreign programs, QEMU, scratch directories, real guests.

// `demo` and the benchmark compile this for themselves and use a part of it.
#![allow(dead_code, unreachable_pub, missing_docs)]

pub mod asked;
pub mod clouds;
pub mod container;
pub mod deploy;
pub mod dhcp;
pub mod docker_registry;
pub mod guest;
pub mod images;
pub mod initrd;
pub mod layouts;
pub mod moto;
pub mod nginx;
pub mod qemu;
pub mod registry;
pub mod system;
pub mod tagged_tar;
pub mod tools;
pub mod tpm;
pub mod ustar;
pub mod wire;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

/// A directory of its own for one test or one fixture, emptied when it is opened and left behind to look at.
pub fn scratch(name: &str) -> PathBuf {
    // Tests run side by side: a name taken twice would empty a directory in use.
    static TAKEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let is_new = TAKEN.lock().expect("nothing panics while it is held").insert(name.to_owned());
    assert!(is_new, "two scratch directories are called {name}");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{}: {error}", path.display()),
        _ => fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    }
    path
}

/// Every name in a directory, hidden ones too.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("it can be listed").file_name().into_string().expect("ours are UTF-8");
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    names
}

/// A path as text: all of ours are.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("the checkout's path is UTF-8")
}
