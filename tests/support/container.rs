//! A container image with busybox in it, and the kernels that it boots with.

use super::{guest::Arch, layouts, text};
use formats::{
    Blob, Tree,
    tar::{Dialect, Writer},
    tree::{Builder, Content, Inode},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// What Linux is told for a test: on a busy host QEMU's timer is late, and Linux panics where it judges it ("IO-APIC + timer doesn't work").
pub const CMDLINE: &str = "quiet no_timer_check";

const WHOLE: &str = "the image can be made";
const APPLETS: &str = "sh cat id env pwd ls sleep httpd echo ip ps kill head reboot poweroff init sort hostname grep stat";
const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/sh\n";
const GROUP: &[u8] = b"root:x:0:\nadm:x:4:www-data\nwww-data:x:33:\n";

/// The answer of a server on a port of this machine that leads to the guest: it is asked until it gives one, for a while.
pub fn answer(port: u16, request: &[u8]) -> Option<String> {
    (0..150).find_map(|_| {
        thread::sleep(Duration::from_millis(200));
        let mut answer = [0; 512];
        let mut server = TcpStream::connect(("127.0.0.1", port)).ok()?;
        server.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        server.write_all(request).ok()?;
        let len = server.read(&mut answer).ok().filter(|len| *len > 0)?;
        let more = server.read(&mut answer[len..]).unwrap_or(0);
        Some(String::from_utf8_lossy(&answer[..len + more]).into_owned())
    })
}

/// A port of this machine that nobody listens at.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("there are ports").port()
}

fn file(bytes: impl Into<Vec<u8>>, mode: u32) -> Inode {
    Inode::new(Content::File(Blob::bytes(bytes.into())), mode)
}

/// Busybox, files of this content, and links where mounts and files of ours have to go.
pub fn tree(arch: Arch, files: &[(&str, &str)]) -> Tree {
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
    tree.finish()
}

/// nginx, redis and Python, with files of this content.
pub fn servers(files: &[(&str, &str)]) -> Tree {
    let mut tree = Builder::default();
    layouts::of_directory(&mut tree, &super::guest::servers(), "");
    files.iter().for_each(|(path, text)| tree.add(path.as_bytes(), file(*text, 0o644)).expect(WHOLE));
    tree.finish()
}

/// Writes an image of busybox as a layout in a directory, and says where.
pub fn image(dir: &Path, arch: Arch, config: Value, files: &[(&str, &str)]) -> PathBuf {
    layout(dir, arch, config, &tree(arch, files))
}

/// The same of any tree.
pub fn layout(dir: &Path, arch: Arch, config: Value, tree: &Tree) -> PathBuf {
    let mut layer = Writer::new(Dialect::Pax);
    layer.tree(tree).expect(WHOLE);
    let layer = layer.finish();
    let digest = format!("sha256:{}", formats::units::hex(&layer.sha256().expect(WHOLE)));
    let architecture = if arch == Arch::Amd64 { "amd64" } else { "arm64" };
    let rootfs = json!({"type": "layers", "diff_ids": [digest]});
    let config = json!({"architecture": architecture, "os": "linux", "config": config, "rootfs": rootfs});
    let layout = dir.join("layout");
    let entry = layouts::image(&layout, "lab/app:1", config.to_string().as_bytes(), &[layouts::packed(&layer)]);
    layouts::write_index(&layout, &[entry]);
    layout
}

/// Debian's cloud kernel with its modules: its package, or, where that is not at hand, a directory that is like an installed system's.
pub fn kernel(dir: &Path, arch: Arch) -> PathBuf {
    if arch == Arch::Amd64 {
        return Arch::Amd64.debian("../kernel-packages/linux-image.deb");
    }
    let release = fs::read_to_string(arch.debian("version")).expect(WHOLE);
    let (system, release) = (dir.join("system"), release.trim().trim_start_matches("linux-image-").to_owned());
    let modules = system.join("lib/modules").join(&release).join("kernel");
    fs::create_dir_all(&modules).expect(WHOLE);
    fs::create_dir_all(system.join("boot")).expect(WHOLE);
    fs::copy(arch.debian("kernel"), system.join(format!("boot/vmlinuz-{release}"))).expect(WHOLE);
    for entry in fs::read_dir(arch.debian("modules")).expect(WHOLE) {
        let path = entry.expect(WHOLE).path();
        if text(&path).ends_with(".ko") {
            fs::copy(&path, modules.join(path.file_name().expect(WHOLE))).expect(WHOLE);
        }
    }
    system
}
