//! squashfs images, judged by `unsquashfs` and `rdsquashfs`. Neither needs to be root: the one gives everything but extended
//! attributes in the form of a pseudo file, the other gives those.

use formats::{
    Blob, Env, Options, Tree,
    blob::Backing,
    squashfs::{self, Settings},
    tree::{Builder, Content, Device, Inode},
};
use std::{collections::HashMap, fs, path::Path, process::Command};

/// Runs a program that must succeed.
fn run(program: &str, args: &[&str]) -> Vec<u8> {
    let mut command = Command::new(program);
    let output = command.args(args).env("LC_ALL", "C").output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; tests/setup.sh installs what the tests need"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{command:?}: {}\n{errors}", output.status);
    output.stdout
}

/// Looks random where `n / 4096` is even.
fn pattern(len: u32, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = |n: u32| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        if (n / 4096).is_multiple_of(2) { state.to_le_bytes()[1] } else { b'=' }
    };
    (0..len).map(&mut next).collect()
}

fn file(bytes: Vec<u8>) -> Inode {
    Inode::new(Content::File(Blob::from(bytes)), 0o644)
}

fn owned(inode: Inode, uid: u32, gid: u32, mtime: i64) -> Inode {
    Inode { uid, gid, mtime, ..inode }
}

fn with_xattrs(inode: Inode, xattrs: &[(&str, &[u8])]) -> Inode {
    let mut xattrs: Vec<_> = xattrs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect();
    xattrs.sort();
    Inode { xattrs, ..inode }
}

/// `cap_net_raw=ep` as the kernel stores it, revision 2.
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Everything that a tar can bring, at and around every limit of the format.
fn tree() -> Tree {
    let mut builder = Builder::default();
    let mut add = |path: &str, inode: Inode| builder.add(path.as_bytes(), inode).unwrap();
    add("", owned(Inode::new(Content::Directory, 0o755), 1, 2, 1_111_111_111));
    for (name, len) in [("empty", 0), ("one", 1), ("less", 131_071), ("block", 131_072), ("more", 131_073), ("large", 1_000_003)] {
        add(&format!("size/{name}"), owned(file(pattern(len, len)), 0, 0, i64::from(len)));
    }
    add("size/again", owned(file(pattern(1_000_003, 1_000_003)), 0, 0, 5));
    let mut sparse = Blob::zeros(20 << 20);
    sparse.splice((5 << 20) + 7, &Blob::from(pattern(300_000, 9)));
    add("size/sparse", Inode::new(Content::File(sparse), 0o600));
    add("size/gap", Inode::new(Content::File(Blob::zeros(4_000_000)), 0o600));
    let mut zeros = pattern(400_000, 4);
    zeros[131_072..262_144].fill(0);
    add("size/zeros", file(zeros));
    // More than one run, metadata block and fragment.
    for n in 0..3000_u32 {
        add(&format!("many/a rather long name, as logs have them {n}"), owned(file(pattern(n % 700, n)), n % 300, 70_000 + n, 1));
    }
    for n in 0..300 {
        add(&format!("many/directory {n}/nested/file"), file(vec![b'x'; n]));
    }
    add(&format!("name/{}", "n".repeat(255)), file(b"long".to_vec()));
    add("name/größe", file(b"utf-8".to_vec()));
    add("link/short", Inode::new(Content::Symlink(b"../size/one".into()), 0o777));
    add("link/long", Inode::new(Content::Symlink(vec![b'l'; 4095]), 0o777));
    add("dev/null", owned(Inode::new(Content::CharacterDevice(Device { major: 1, minor: 3 }), 0o666), 0, 5, 0));
    add("dev/disk", Inode::new(Content::BlockDevice(Device { major: 8, minor: 17 }), 0o660));
    add("dev/pipe", Inode::new(Content::Fifo, 0o620));
    add("mode/setuid", owned(file(b"s".to_vec()), u32::MAX - 1, 4_000_000_000, i64::from(u32::MAX)));
    builder.add(b"mode/setuid", Inode { mode: 0o4755, ..owned(file(b"s".to_vec()), 4_000_000_000, 65_536, i64::from(u32::MAX)) }).unwrap();
    builder.add(b"mode/sticky", Inode::new(Content::Directory, 0o1777)).unwrap();
    let capable = with_xattrs(file(b"ping".to_vec()), &[("security.capability", CAPABILITY), ("user.note", b"hello")]);
    builder.add(b"xattr/ping", capable.clone()).unwrap();
    builder.add(b"xattr/pong", capable).unwrap();
    let many: Vec<(String, Vec<u8>)> = (0..40).map(|n| (format!("user.{n}"), pattern(997, n))).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    builder.add(b"xattr/directory", with_xattrs(Inode::new(Content::Directory, 0o700), &many)).unwrap();
    let trusted = |content| with_xattrs(Inode::new(content, 0o644), &[("trusted.overlay.opaque", b"y")]);
    builder.add(b"xattr/link", trusted(Content::Symlink(b"ping".into()))).unwrap();
    builder.add(b"xattr/device", trusted(Content::BlockDevice(Device { major: 7, minor: 0 }))).unwrap();
    builder.add(b"xattr/pipe", trusted(Content::Fifo)).unwrap();
    for (path, target) in
        [("hard/one", "size/large"), ("hard/small", "size/one"), ("zz", "hard/one"), ("hard/null", "dev/null"), ("hard/ping", "xattr/ping")]
    {
        builder.hard_link(path.as_bytes(), target.as_bytes()).unwrap();
    }
    builder.finish()
}

fn image(tree: &Tree, options: &[(&str, &str)], to: &Path) {
    let options = Options::parse(&squashfs::OPTIONS, options.iter().copied()).unwrap();
    let image = squashfs::write(tree, &Settings::new(&options, &[]).unwrap(), &mut Env::scratch(2)).unwrap();
    fs::write(to, image.to_vec(1 << 30).unwrap()).unwrap();
}

/// A line for each name, as `unsquashfs -pf` writes it but for the offset of a body, and the body.
fn expected(tree: &Tree) -> Vec<(String, Option<&Blob>)> {
    let mut first: HashMap<usize, &str> = HashMap::new();
    let paths = tree.names.iter().map(|name| (std::str::from_utf8(&name.path).unwrap(), name.inode));
    let mut lines = Vec::new();
    for (path, index) in std::iter::once(("", 0)).chain(paths) {
        let inode = &tree.inodes[index];
        let shown = if path.is_empty() { "/".to_owned() } else { path.replace(' ', "\\ ") };
        if let Some(first) = first.get(&index) {
            lines.push((format!("{shown} L {first}"), None));
            continue;
        }
        // It takes owners for signed.
        let (uid, gid) = (inode.uid.cast_signed(), inode.gid.cast_signed());
        let attributes = |letter| format!("{shown} {letter} {} {:o} {uid} {gid}", inode.mtime, inode.mode);
        let device = |device: &Device| format!("{} {}", device.major, device.minor);
        lines.push(match &inode.content {
            Content::Directory => (attributes('D'), None),
            Content::File(body) => {
                first.insert(index, path);
                (format!("{} {}", attributes('R'), body.len()), Some(body))
            }
            Content::Symlink(target) => (format!("{} {}", attributes('S'), String::from_utf8_lossy(target)), None),
            Content::CharacterDevice(number) => {
                first.insert(index, path);
                (format!("{} {}", attributes('C'), device(number)), None)
            }
            Content::BlockDevice(number) => (format!("{} {}", attributes('B'), device(number)), None),
            Content::Fifo => (format!("{} f", attributes('I')), None),
        });
    }
    lines
}

/// Fails unless `unsquashfs` sees the tree: all but extended attributes and large device numbers.
fn check(tree: &Tree, desk: &Path, image: &Path) {
    const MARKER: &[u8] = b"\n# START OF DATA - DO NOT MODIFY\n#\n";
    let pseudo = desk.join("pseudo");
    let _ = fs::remove_file(&pseudo);
    run("unsquashfs", &["-quiet", "-no-progress", "-pf", pseudo.to_str().unwrap(), image.to_str().unwrap()]);
    let dumped = fs::read(&pseudo).unwrap();
    let cut = dumped.windows(MARKER.len()).position(|window| window == MARKER).unwrap();
    let text = String::from_utf8_lossy(&dumped[..cut]);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let data = &dumped[cut + MARKER.len()..];

    let mut offset = 0;
    for (found, (wanted, body)) in lines.clone().zip(expected(tree)) {
        let Some(body) = body else {
            assert_eq!(found, wanted);
            continue;
        };
        assert_eq!(found, format!("{wanted} {offset}"));
        let end = offset + usize::try_from(body.len()).unwrap();
        assert!(body.to_vec(1 << 30).unwrap() == data[offset..end], "the content of {found}");
        offset = end;
    }
    assert_eq!(lines.count(), tree.names.len() + 1);
    assert_eq!(offset, data.len());
}

/// Fails unless `rdsquashfs` sees the extended attributes.
fn check_xattrs(tree: &Tree, image: &Path) {
    let with = tree.names.iter().filter(|name| !tree.inodes[name.inode].xattrs.is_empty());
    assert_eq!(with.clone().count(), 7);
    for name in with {
        let path = std::str::from_utf8(&name.path).unwrap();
        let shown = run("rdsquashfs", &["--xattr", path, image.to_str().unwrap()]);
        let mut shown: Vec<String> = String::from_utf8_lossy(&shown).lines().map(String::from).collect();
        shown.sort();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
        let line = |(name, value): &(Vec<u8>, Vec<u8>)| match value.is_ascii() && !value.contains(&0) {
            true => format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)),
            false => format!("{}=0x{}", String::from_utf8_lossy(name), hex(value)),
        };
        let mut wanted: Vec<String> = tree.inodes[name.inode].xattrs.iter().map(line).collect();
        wanted.sort();
        assert_eq!(shown, wanted, "{path}");
    }
}

#[test]
fn every_codec_gives_back_the_tree() {
    let desk = tempfile::tempdir().unwrap();
    let tree = tree();
    for codec in ["gzip", "zstd", "xz", "lz4", "none"] {
        let at = desk.path().join(codec);
        image(&tree, &[("squashfs_compression", codec)], &at);
        check(&tree, desk.path(), &at);
        check_xattrs(&tree, &at);
    }
}

#[test]
fn every_block_size_gives_back_the_tree() {
    let desk = tempfile::tempdir().unwrap();
    let (tree, at) = (tree(), desk.path().join("image"));
    for size in ["4K", "1M"] {
        image(&tree, &[("squashfs_block_size", size), ("squashfs_compression", "zstd"), ("squashfs_level", "1")], &at);
        check(&tree, desk.path(), &at);
    }
}

/// Sizes and device numbers past 32 and 8 bits, as `rdsquashfs` and a plain listing have them.
#[test]
fn large_numbers() {
    let desk = tempfile::tempdir().unwrap();
    let at = desk.path().join("image");
    let mut builder = Builder::default();
    let device = Device { major: 4095, minor: 1_048_575 };
    builder.add(b"char", Inode::new(Content::CharacterDevice(device), 0o600)).unwrap();
    builder.add(b"block", Inode::new(Content::BlockDevice(Device { major: 8, minor: 257 }), 0o660)).unwrap();
    let mut sparse = Blob::zeros(9 << 30);
    sparse.splice((5 << 30) + 7, &Blob::from(pattern(300_000, 9)));
    builder.add(b"sparse", Inode::new(Content::File(sparse.clone()), 0o600)).unwrap();
    image(&builder.finish(), &[], &at);
    let at = at.to_str().unwrap();
    let described = String::from_utf8(run("rdsquashfs", &["--describe", at])).unwrap();
    assert!(described.contains("nod char 0600 0 0 c 4095 1048575\n"), "{described}");
    assert!(described.contains("nod block 0660 0 0 b 8 257\n"), "{described}");
    let out = desk.path().join("out");
    run("unsquashfs", &["-quiet", "-no-progress", "-dest", out.to_str().unwrap(), at, "sparse"]);
    let out = Blob::file(Backing::from(fs::File::open(out.join("sparse")).unwrap()), 0, 9 << 30);
    for range in [0..100, (5 << 30) - 100..(5 << 30) + 300_100, (9 << 30) - 100..9 << 30] {
        assert!(out.slice(range.clone()).to_vec(1 << 20).unwrap() == sparse.slice(range).to_vec(1 << 20).unwrap());
    }
}
