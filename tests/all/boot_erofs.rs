//! A real kernel mounts our EROFS volume as its root, checks what is in it, and goes on from there.
//!
//! Debian's kernel has EROFS as a module, so a tiny initrd loads it, mounts the disk and hands over.

use crate::support::{
    guest::{self, Arch},
    qemu::{Bus, Machine},
    scratch, text,
    tools::{finish, moby},
};
use formats::{
    Blob, Tree,
    blob::Backing,
    cpio,
    tar::{self, Dialect},
    tree::{Builder, Content, Device, Inode},
};
use md5::{Digest, Md5};
use std::{
    fs::{self, File},
    path::Path,
};

/// Loads modules and hands over; `sh` of busybox.
const HAND_OVER: &str = "#!/bin/busybox sh
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module 2>/dev/null; done
/bin/busybox mount -t devtmpfs dev /dev
# Other volumes with the same files.
for disk in /dev/vd[b-z]; do
    [ -e $disk ] || continue
    /bin/busybox mount -t erofs -o ro $disk /root && cd /root && cd sums && /bin/busybox md5sum -c list >/list 2>&1 &&
        echo MOBY-SUMS-OK $disk || /bin/busybox sed 's/^/MOBY-BAD /' /list
    cd / && /bin/busybox umount /root
done
/bin/busybox mount -t erofs -o ro /dev/vda /root && exec /bin/busybox switch_root /root /erofs-init
echo MOBY-BAD the volume was not mounted
/bin/busybox poweroff -f
";

fn file(bytes: impl Into<Vec<u8>>, mode: u32) -> Inode {
    Inode { mtime: 1_234_567_890, ..Inode::new(Content::File(Blob::from(bytes.into())), mode) }
}

fn busybox() -> Vec<u8> {
    fs::read(Arch::Amd64.debian("busybox")).unwrap()
}

fn save(blob: &Blob, path: &Path) {
    std::io::copy(&mut blob.reader(), &mut File::create(path).unwrap()).unwrap();
}

/// Bytes of which a part gets smaller.
fn mixed(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if (n / 150_000).is_multiple_of(2) { b"abcdefgh"[usize::from(state.to_le_bytes()[7] % 8)] } else { state.to_le_bytes()[7] }
    };
    (0..len).map(&mut next).collect()
}

/// The tagged tar of the guest that other tests boot, and in it what only a real file system keeps.
fn write_tar(to: &Path, dir: &Path) {
    let plain = dir.join("plain.tar");
    guest::write_tagged_tar(&plain, Arch::Amd64, 5).unwrap();
    let source = File::open(&plain).unwrap();
    let len = source.metadata().unwrap().len();
    let archive = Blob::file(Backing::from(source), 0, len);
    let mut builder = Builder::default();
    for member in tar::Members::new(&archive) {
        member.unwrap().add_to(&mut builder).unwrap();
    }
    for directory in [b"proc".as_slice(), b"sys", b"many", b"sums"] {
        builder.add(directory, Inode::new(Content::Directory, 0o755)).unwrap();
    }
    builder.add(b"erofs-init", file(include_bytes!("../support/erofs-init.sh"), 0o755)).unwrap();
    builder.add(b"etc/passwd", file("root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n", 0o644)).unwrap();
    builder.add(b"bin/sh", Inode::new(Content::Symlink(b"busybox".into()), 0o777)).unwrap();
    // Version 2, effective, CAP_NET_BIND_SERVICE.
    let mut capability = [0; 20];
    (capability[0], capability[3], capability[5]) = (1, 2, 4);
    let xattrs = vec![(b"security.capability".to_vec(), capability.to_vec())];
    builder.add(b"bin/busybox-capable", Inode { xattrs, ..file(busybox(), 0o755) }).unwrap();
    let mut gaps = tar::Writer::new(Dialect::OldGnu);
    checked_files(&mut builder, &mut gaps);
    other_files(&mut builder, &mut gaps);
    let mut rest = tar::Writer::new(Dialect::Pax);
    rest.tree(&builder.finish()).unwrap();
    // One archive: gaps are kept in the one dialect, and everything else in the other. The first loses its end, two blocks.
    let gaps = gaps.finish();
    let mut archive = gaps.slice(0..gaps.len() - 1024);
    archive.append(&rest.finish());
    save(&archive, to);
}

/// Files whose checksums the guest compares: of every size that meets a block or a compressed piece in another way.
fn checked_files(builder: &mut Builder, gaps: &mut tar::Writer) {
    let mut list = String::new();
    let mut summed = |name: &str, blob: &Blob| {
        let sum = Md5::digest(blob.to_vec(1 << 26).unwrap());
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        list += &format!("{sum}  {name}\n");
    };
    let mut sparse = Blob::zeros(50_000_004);
    sparse.splice(40_000, &Blob::bytes(*b"middle"));
    sparse.splice(50_000_000, &Blob::bytes(*b"last"));
    summed("sparse", &sparse);
    gaps.add(b"sums/sparse", &Inode::new(Content::File(sparse), 0o644)).unwrap();
    let mut add = |name: &str, blob: Blob| {
        summed(name, &blob);
        builder.add(format!("sums/{name}").as_bytes(), Inode::new(Content::File(blob), 0o644)).unwrap();
    };
    for len in [0, 1, 4000, 4095, 4096, 4097, 8192, 131_071, 131_072, 131_073, 300_001, 2_000_000] {
        add(&format!("mixed-{len}"), mixed(len, 1).into());
    }
    add("zeros", vec![0; 700_000].into());
    builder.add(b"sums/list", file(list, 0o644)).unwrap();
}

fn other_files(builder: &mut Builder, gaps: &mut tar::Writer) {
    let device = |major, minor| Device { major, minor };
    (0..2999).for_each(|n| builder.add(format!("many/{n:060}").as_bytes(), file("", 0o644)).unwrap());
    builder.add(&[b"many/".as_slice(), &[b'n'; 255]].concat(), file("long", 0o644)).unwrap();
    builder.add(b"longest", Inode::new(Content::Symlink(vec![b't'; 4095]), 0o777)).unwrap();
    builder.add(b"dev/null", Inode::new(Content::CharacterDevice(device(1, 3)), 0o666)).unwrap();
    builder.add(b"disk", Inode::new(Content::BlockDevice(device(259, 260_000)), 0o660)).unwrap();
    let owned = Inode { uid: 4_000_000_000, gid: 3_000_000, mtime: -1_000_000, mtime_nanos: 123_456_789, ..file("", 0o644) };
    builder.add(b"owned", owned).unwrap();
    builder.add(b"linked", file("linked", 0o644)).unwrap();
    builder.hard_link(b"linked-too", b"linked").unwrap();
    let mut huge = Blob::zeros((4097 << 20) + 3);
    huge.splice(4097 << 20, &Blob::bytes(*b"end"));
    gaps.add(b"huge", &Inode::new(Content::File(huge), 0o644)).unwrap();
}

/// What loads these modules, as Debian's kernels have no EROFS built in.
fn initrd(modules: &Path) -> Blob {
    let mut builder = Builder::default();
    builder.add(b"init", file(HAND_OVER, 0o755)).unwrap();
    builder.add(b"bin/busybox", file(busybox(), 0o755)).unwrap();
    builder.add(b"dev/console", Inode::new(Content::CharacterDevice(Device { major: 5, minor: 1 }), 0o600)).unwrap();
    builder.add(b"root", Inode::new(Content::Directory, 0o755)).unwrap();
    for entry in fs::read_dir(modules).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        builder.add(format!("modules/{name}").as_bytes(), file(fs::read(&path).unwrap(), 0o644)).unwrap();
    }
    let tree: Tree = builder.finish();
    cpio::archive(&tree).unwrap()
}

#[test]
fn a_real_kernel_runs_from_an_erofs_root() {
    let dir = scratch("boot-erofs");
    let tar = dir.join("guest.tar");
    write_tar(&tar, &dir);
    save(&initrd(&Arch::Amd64.debian("modules")), &dir.join("initrd"));
    let arguments = ["convert", "--quiet", "--format", "kernel+erofs", "--opt", "erofs_compression=lz4hc"];
    finish(moby().args(arguments).args(["--dir", text(&dir)]).arg(&tar)).success();
    let cmdline = fs::read_to_string(dir.join("guest-cmdline")).unwrap();
    let machine = Machine::bios().direct(&dir.join("guest-kernel"), &dir.join("initrd"), &cmdline);
    let console = machine.disk(Bus::VirtioBlk, &dir.join("guest-erofs.img"), "raw").run_until("MOBY-MARKER-");
    console.expect("MOBY-EROFS-OK").expect("MOBY-MARKER-OK").refuse("MOBY-BAD").refuse("erofs: (device vda): failed");
    fs::remove_dir_all(dir).unwrap();
}

/// The window that the kernel reserves grows with what it mounts: the volume of the smallest pieces comes first, the root last.
#[test]
fn a_real_kernel_reads_zstd_in_pieces_of_any_size() {
    let dir = scratch("boot-erofs-zstd");
    let tar = dir.join("guest.tar");
    write_tar(&tar, &dir);
    let initrd_path = dir.join("initrd");
    save(&initrd(&guest::newer_debian("modules")), &initrd_path);
    for size in ["8K", "128K", "1M"] {
        let piece = format!("erofs_piece_size={size}");
        let arguments = ["convert", "--format", "kernel+erofs", "--opt", "erofs_compression=zstd", "--opt", &piece, "--name", size];
        let made = finish(moby().args(arguments).args(["--dir", text(&dir)]).arg(&tar)).success();
        // What the tar holds is Linux 6.1 without its configuration.
        assert!(made.errors().contains("cannot read EROFS compressed by zstd"), "{made}");
    }
    let volume = |size: &str| dir.join(format!("{size}-erofs.img"));
    let machine = Machine::bios().direct(&guest::newer_debian("kernel"), &initrd_path, Arch::Amd64.cmdline());
    let machine = ["1M", "8K", "128K"].iter().fold(machine, |machine, size| machine.disk(Bus::VirtioBlk, &volume(size), "raw"));
    let console = machine.run_until("MOBY-MARKER-").expect("MOBY-SUMS-OK /dev/vdb").expect("MOBY-SUMS-OK /dev/vdc");
    console.expect("MOBY-EROFS-OK").expect("MOBY-MARKER-OK").refuse("MOBY-BAD").refuse("failed to decompress");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_volume_is_the_same_whatever_else_is_made() {
    let dir = scratch("erofs-alone");
    let tar = dir.join("image.tar");
    crate::support::images::write_test_tar(&tar, 1);
    let made = |arguments: &[&str]| {
        finish(moby().args(["convert", "--quiet", "--dir", text(&dir)]).args(arguments).arg(&tar)).success();
        fs::read(dir.join("image-erofs.img")).unwrap()
    };
    let alone = made(&["-f", "kernel+erofs"]);
    assert_eq!(alone[1024..1028], [0xe2, 0xe1, 0xf5, 0xe0]);
    assert!(alone == made(&["-f", "raw,kernel+erofs,tar-kernel-initrd"]));
    let uuid = |volume: &[u8]| volume[1024 + 48..1024 + 64].to_vec();
    let seeded = made(&["-f", "kernel+erofs", "--seed", "a"]);
    assert_ne!(uuid(&alone), uuid(&seeded));
    assert_ne!(uuid(&seeded), uuid(&made(&["-f", "kernel+erofs", "--seed", "b"])));
    assert!(made(&["-f", "kernel+erofs", "--opt", "erofs_compression=none"]).len() > (1 << 20));
    let wrong = finish(moby().args(["convert", "-f", "kernel+erofs", "--opt", "erofs_compression=rar"]).arg(&tar));
    assert!(wrong.code() == 2 && wrong.errors().contains("lz4|lz4hc|zstd|none"), "{wrong}");
    fs::remove_dir_all(dir).unwrap();
}
