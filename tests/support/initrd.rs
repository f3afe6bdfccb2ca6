//! An initrd that does what Debian's kernel cannot do by itself, as its drivers and file systems are modules: mount a root.

use super::{
    guest::Arch,
    scratch, text,
    tools::{run, tool},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

/// A directory with the tar of a Debian guest, which has a directory that is found in by an index.
pub fn guest(name: &str, arch: Arch) -> PathBuf {
    let dir = scratch(name);
    super::guest::write_tagged_tar(&dir.join("guest.tar"), arch, 5).expect("the scratch directory can be written");
    let many = dir.join("many");
    fs::create_dir(&many).expect("the scratch directory can be written");
    for n in 0..2000 {
        fs::write(many.join(format!("a name of some length, as those of logs have it: {n}")), format!("{n}\n"))
            .expect("the scratch directory can be written");
    }
    run("tar", ["-rf", text(&dir.join("guest.tar")), "-C", text(&dir), "many"]);
    dir
}

const INIT: &[u8] = include_bytes!("root_init.sh");

/// Makes the initrd in a directory, for a guest that has dmsetup where it is of the host's kind.
pub fn make(dir: &Path, arch: Arch) -> PathBuf {
    let tree = dir.join("initrd");
    for inside in ["bin", "lib", "lib64", "modules"] {
        fs::create_dir_all(tree.join(inside)).expect("the scratch directory can be written");
    }
    let copy = |from: &Path, to: &str| {
        fs::copy(from, tree.join(to)).unwrap_or_else(|error| panic!("{}: {error}; tests/setup.sh brings it", from.display()));
    };
    fs::write(tree.join("init"), INIT).expect("the scratch directory can be written");
    fs::set_permissions(tree.join("init"), fs::Permissions::from_mode(0o755)).expect("the file is ours");
    copy(&arch.debian("busybox"), "bin/busybox");
    let modules = arch.debian("modules");
    for module in fs::read_dir(modules).expect("tests/setup.sh copied modules") {
        let module = module.expect("a name").path();
        copy(&module, &format!("modules/{}", text(Path::new(module.file_name().expect("a name")))));
    }
    if arch == Arch::Amd64 {
        // It comes from here, with its libraries.
        let dmsetup = run("sh", ["-c", "command -v dmsetup || echo /usr/sbin/dmsetup"]);
        copy(Path::new(dmsetup.trim()), "bin/dmsetup");
        for library in run("ldd", [dmsetup.trim()]).split_whitespace().filter(|word| word.starts_with('/')) {
            let name = library.rsplit('/').next().expect("a name");
            let place = if library.starts_with("/lib64/") { "lib64" } else { "lib" };
            copy(Path::new(library), &format!("{place}/{name}"));
        }
    }
    let archive = dir.join("root-initrd");
    let out = fs::File::create(&archive).expect("the scratch directory can be written");
    let pack = "find . | cpio --quiet -o -H newc";
    let status = tool("sh").args(["-c", pack]).current_dir(&tree).stdin(Stdio::null()).stdout(out).status().expect("sh can be run");
    assert!(status.success(), "{pack}");
    archive
}
