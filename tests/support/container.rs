//! A container image that boots, as far as process 1 is concerned: a root with busybox, `/.moby`, and Debian's modules.

use super::guest::Arch;
use formats::{
    Blob, cpio,
    tree::{Builder, Content, Inode},
};
use initconfig::Config;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What these machines are started with. Linux gives up where an emulated timer comes late, as on a host that is busy.
pub const CMDLINE: &str = "console=ttyS0 panic=-1 quiet no_timer_check";

const WHOLE: &str = "the guest can be made";
const APPLETS: &str = "sh cat id env pwd ls sleep httpd echo ip ps kill head reboot poweroff init sort hostname grep stat";
const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/sh\n";
const GROUP: &[u8] = b"root:x:0:\nadm:x:4:www-data\nwww-data:x:33:\n";

/// What `/.moby` lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacks {
    Nothing,
    /// The image: it is on a disk.
    Root,
}

fn file(bytes: impl Into<Vec<u8>>, mode: u32) -> Inode {
    Inode::new(Content::File(Blob::bytes(bytes.into())), mode)
}

/// The image: busybox, files of this content, and links where mounts and files of ours have to go.
pub fn image(arch: Arch, files: &[(&str, &str)]) -> Builder {
    let mut tree = Builder::default();
    let mut add = |path: &str, inode| tree.add(path.as_bytes(), inode).expect(WHOLE);
    let link = |to: &str| Inode::new(Content::Symlink(to.as_bytes().to_vec()), 0o777);
    add("bin/busybox", file(fs::read(arch.debian("busybox")).expect(WHOLE), 0o755));
    APPLETS.split(' ').for_each(|name| add(&format!("bin/{name}"), link("busybox")));
    files.iter().for_each(|(path, text)| add(path, file(*text, 0o755)));
    add("etc/passwd", file(PASSWD, 0o644));
    add("etc/group", file(GROUP, 0o644));
    add("var/www/index.html", file("served by the guest\n", 0o644));
    // A hostile image: a mount would go elsewhere.
    add("proc", link("/etc"));
    add("etc/resolv.conf", link("/nowhere/at/all"));
    tree
}

/// The initrd with process 1 and this configuration, and with the image if it is not elsewhere.
pub fn initrd(dir: &Path, arch: Arch, config: &Config, files: &[(&str, &str)], lacks: Lacks) -> PathBuf {
    let mut tree = if lacks == Lacks::Root { Builder::default() } else { image(arch, files) };
    let init = match arch {
        Arch::Amd64 => prebuilt::INIT_X86_64,
        Arch::Arm64 => prebuilt::INIT_AARCH64,
    };
    tree.add(b".moby", Inode::new(Content::Directory, 0o700)).expect(WHOLE);
    tree.add(b".moby/init", file(init, 0o755)).expect(WHOLE);
    tree.add(b".moby/config", file(config.write(), 0o600)).expect(WHOLE);
    modules(&mut tree, arch);
    tree.add(b"init", Inode::new(Content::Symlink(b".moby/init".to_vec()), 0o777)).expect(WHOLE);
    let mut whole = Builder::default();
    whole.add(b".moby/whole", file("", 0o644)).expect(WHOLE);
    let path = dir.join("initrd");
    let archives = [tree, whole].map(|tree| cpio::archive(&tree.finish()).expect(WHOLE).to_vec(u64::MAX).expect(WHOLE));
    fs::write(&path, archives.concat()).expect(WHOLE);
    path
}

/// Debian's modules with the indexes that depmod would make, out of what each says of itself.
fn modules(tree: &mut Builder, arch: Arch) {
    let release = fs::read_to_string(arch.debian("version")).expect(WHOLE);
    let release = release.trim().trim_start_matches("linux-image-");
    let (mut alias, mut dep, mut softdep) = (String::new(), String::new(), String::new());
    for entry in fs::read_dir(arch.debian("modules")).expect(WHOLE) {
        let path = entry.expect(WHOLE).path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".ko")) else { continue };
        let module = fs::read(&path).expect(WHOLE);
        let mut needs = Vec::new();
        for field in module.split(|byte| *byte == 0).filter_map(|field| str::from_utf8(field).ok()) {
            if let Some(pattern) = field.strip_prefix("alias=") {
                alias += &format!("alias {pattern} {name}\n");
            } else if let Some(names) = field.strip_prefix("softdep=") {
                softdep += &format!("softdep {name} {names}\n");
            } else if let Some(names) = field.strip_prefix("depends=") {
                needs.extend(names.split(',').filter(|name| !name.is_empty()).map(|name| format!("{name}.ko")));
            }
        }
        dep += &format!("{name}.ko: {}\n", needs.join(" "));
        tree.add(format!(".moby/modules/{release}/{name}.ko").as_bytes(), file(module, 0o644)).expect(WHOLE);
    }
    for (name, text) in [("alias", alias), ("dep", dep), ("softdep", softdep)] {
        tree.add(format!(".moby/modules/{release}/modules.{name}").as_bytes(), file(text, 0o644)).expect(WHOLE);
    }
}
