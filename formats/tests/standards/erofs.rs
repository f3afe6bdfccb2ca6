//! EROFS volumes judged by others: the crate `erofs-rs` reads every attribute back, `fsck.erofs` checks and extracts; that of
//! Debian 13 what zstd compressed.

mod facts;
mod trees;

use erofs_rs::{EroFS, backend::SliceImage};
use facts::{assert_same, facts};
use formats::{
    Blob, Env, Ids, Options, Timestamp, Tree, erofs,
    tree::{Builder, Content, Device, Inode},
};
use std::{fs, path::Path, process::Command};

fn written(tree: &Tree, compression: &str) -> Blob {
    written_with(tree, &[("erofs_compression", compression)])
}

fn written_with(tree: &Tree, options: &[(&str, &str)]) -> Blob {
    let options = Options::parse(&erofs::OPTIONS, options.iter().copied()).unwrap();
    erofs::write(tree, &options, &Ids::from_seed(b"test"), &mut Env { time: Timestamp(trees::TIME), ..Env::scratch(2) }).unwrap()
}

/// Runs a program that must succeed, and gives what it printed.
fn run(program: &str, arguments: &[&str]) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program).args(arguments).env("PATH", path).env("LC_ALL", "C").env("TZ", "UTC").output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; tests/setup.sh installs what the tests need"));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{text}", output.status);
    text
}

/// A program of erofs-utils 1.8, which knows zstd.
fn newer(program: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/erofs-utils").join(program);
    path.to_str().unwrap().to_owned()
}

fn save(blob: &Blob, path: &Path) {
    std::io::copy(&mut blob.reader(), &mut fs::File::create(path).unwrap()).unwrap();
}

/// A volume as a tree, read by `erofs-rs`.
fn read(image: &[u8]) -> Tree {
    let volume = EroFS::new(SliceImage::new(image)).unwrap();
    let mut builder = Builder::default();
    let mut first: std::collections::HashMap<u64, (Vec<u8>, u32)> = std::collections::HashMap::new();
    let root = volume.get_inode(volume.super_block().root_inode_id()).unwrap();
    builder.add(b"", inode(&volume, root)).unwrap();
    for entry in volume.walk_dir("/").unwrap() {
        let entry = entry.unwrap();
        let name = entry.dir_entry.file_name();
        if name == b"." || name == b".." {
            continue;
        }
        let path = entry.dir_entry.path();
        let path = path.as_bytes().strip_prefix(b"/").unwrap().to_vec();
        let nlink = entry.inode.nlink();
        match first.get_mut(&entry.inode.id()) {
            Some((known, left)) => {
                builder.hard_link(&path, known).unwrap();
                *left -= 1;
            }
            None => {
                builder.add(&path, inode(&volume, entry.inode)).unwrap();
                if !entry.inode.is_dir() {
                    first.insert(entry.inode.id(), (path, nlink - 1));
                }
            }
        }
    }
    assert!(first.values().all(|(_, left)| *left == 0), "link counts: {first:?}");
    builder.finish()
}

fn inode(volume: &EroFS<SliceImage<'_>>, inode: erofs_rs::types::Inode) -> Inode {
    use std::os::unix::fs::PermissionsExt;
    let device = || inode.device().map(|(major, minor)| Device { major, minor }).unwrap();
    let kind = inode.file_type();
    let content = match () {
        () if inode.is_dir() => Content::Directory,
        () if inode.is_symlink() => Content::Symlink(volume.read_link_inode(inode).unwrap().into_vec()),
        () if inode.is_file() => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut volume.open_inode_file(inode).unwrap(), &mut bytes).unwrap();
            Content::File(bytes.into())
        }
        () if kind.is_char_device() => Content::CharacterDevice(device()),
        () if kind.is_block_device() => Content::BlockDevice(device()),
        () => Content::Fifo,
    };
    let (mtime, mtime_nanos) = inode.modified_unix();
    let xattrs = volume.xattrs_inode(inode).unwrap().into_iter().collect();
    let (uid, gid) = (inode.uid(), inode.gid());
    Inode { uid, gid, mtime, mtime_nanos, xattrs, ..Inode::new(content, inode.permissions().mode() & 0o7777) }
}

#[test]
fn another_reader_finds_everything() {
    let tree = trees::odd();
    for compression in ["none", "lz4", "lz4hc", "zstd"] {
        let image = written(&tree, compression).to_vec(1 << 30).unwrap();
        assert_same(&facts(&read(&image)), &facts(&tree), compression);
    }
}

#[test]
fn pieces_of_any_size_come_back() {
    let tree = trees::odd().filter(|path| !path.starts_with(b"many/"));
    for (compression, size) in [("lz4hc", "8K"), ("lz4hc", "16K"), ("lz4hc", "1M"), ("zstd", "8K"), ("zstd", "1M")] {
        let image = written_with(&tree, &[("erofs_compression", compression), ("erofs_piece_size", size)]).to_vec(1 << 30).unwrap();
        assert_same(&facts(&read(&image)), &facts(&tree), size);
    }
}

#[test]
fn a_file_of_more_than_4_gib_is_whole() {
    let mut body = Blob::zeros((4 << 30) + 10);
    body.splice(5, &Blob::bytes(*b"start"));
    body.splice((4 << 30) + 5, &Blob::bytes(*b"end"));
    let mut builder = Builder::default();
    builder.add(b"huge", Inode::new(Content::File(body.clone()), 0o644)).unwrap();
    let image = written(&builder.finish(), "none").to_vec(1 << 20).unwrap();
    let volume = EroFS::new(SliceImage::new(&image)).unwrap();
    let file = volume.open("/huge").unwrap();
    assert_eq!(file.size(), (4 << 30) + 10);
    for at in [0, 1 << 31, 4 << 30] {
        let mut found = [1; 10];
        assert_eq!(file.read_at(&mut found, at).unwrap(), 10);
        assert_eq!(found, body.read_array(at).unwrap());
    }
}

/// Whether files of others and devices can be made here.
fn is_root() -> bool {
    run("id", &["-u"]).trim() == "0"
}

#[test]
fn fsck_extracts_the_tree() {
    let is_root = is_root();
    let programs =
        [("none", "fsck.erofs".into()), ("lz4", "fsck.erofs".into()), ("lz4hc", "fsck.erofs".into()), ("zstd", newer("fsck.erofs"))];
    for (compression, program) in programs {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("root.erofs");
        let out = directory.path().join("out");
        // This version loses gaps of chunked files when it extracts: they are judged by the other reader, and by the kernel.
        let tree = trees::odd().filter(|path| !path.starts_with(b"gaps/"));
        save(&written(&tree, compression), &image);
        let [image, out] = [&image, &out].map(|path| path.to_str().unwrap());
        run(&program, &["-d1", image]);
        run(&program, &["-d1", &format!("--extract={out}"), "--preserve-perms", image]);
        let found = facts::walk(Path::new(out));
        assert_same(&facts::extracted(&found, is_root), &facts::extracted(&tree, is_root), compression);
    }
}

#[test]
fn fsck_finds_gaps_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("root.erofs");
    save(&written(&trees::odd(), "lz4"), &image);
    run("fsck.erofs", &["-d1", image.to_str().unwrap()]);
}

#[test]
fn fsck_finds_damage_in_zstd() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("root.erofs");
    let mut builder = Builder::default();
    builder.add(b"zeros", Inode::new(Content::File(vec![0; 100_000].into()), 0o644)).unwrap();
    let volume = written(&builder.finish(), "zstd");
    let mut bytes = volume.to_vec(1 << 20).unwrap();
    save(&volume, &image);
    let path = image.to_str().unwrap();
    run(&newer("fsck.erofs"), &["--extract", path]);
    // The magic of the only frame.
    let at = bytes.windows(4).position(|bytes| bytes == [0x28, 0xb5, 0x2f, 0xfd]).unwrap();
    bytes[at] ^= 1;
    fs::write(&image, bytes).unwrap();
    assert!(!Command::new(newer("fsck.erofs")).args(["--extract", path]).output().unwrap().status.success());
}

#[test]
fn dump_shows_the_volume() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("root.erofs");
    save(&written(&trees::odd(), "lz4"), &image);
    let image = image.to_str().unwrap();
    let text = run("dump.erofs", &["-s", "-S", image]);
    assert!(text.contains("sb_csum mtime") && text.contains("0padding"), "{text}");
    assert!(text.contains(&Ids::from_seed(b"test").guid("erofs").to_string()), "{text}");
    let file = run("dump.erofs", &["-e", "--path=/sizes/text-300001", image]);
    assert!(file.contains("300001") && file.contains("Compression ratio"), "{file}");
}
