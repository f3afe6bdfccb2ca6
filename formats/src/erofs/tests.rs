use super::*;
use crate::{
    testing::{env, ids},
    tree::{Builder, Content, Device, Inode},
};

const TIME: i64 = 1_700_000_000;

fn file(bytes: Vec<u8>) -> Inode {
    Inode { mtime: TIME, ..Inode::new(Content::File(Blob::bytes(bytes)), 0o644) }
}

/// Bytes that get smaller, but differ all the way.
fn text(len: usize) -> Vec<u8> {
    (0_u64..).flat_map(|n| format!("line {n}, {}\n", n * 7919 % 1000).into_bytes()).take(len).collect()
}

/// Bytes that do not get smaller.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    (0..len).map(|_| next()).collect()
}

fn written(tree: &Tree, compression: &str, threads: usize) -> Result<Vec<u8>> {
    let options = Options::parse(&OPTIONS, [("erofs_compression", compression)])?;
    let mut env = Env::scratch(threads);
    write(tree, &options, &ids(), &mut env)?.to_vec(u64::MAX)
}

fn tree_of(name: &[u8], bytes: Vec<u8>) -> Tree {
    let mut builder = Builder::default();
    builder.add(name, file(bytes)).unwrap();
    builder.finish()
}

fn superblock(image: &[u8]) -> Superblock {
    Superblock::read_from_bytes(&image[1024..1152]).unwrap()
}

#[test]
fn the_superblock_says_what_there_is() {
    let mut builder = Builder::default();
    builder.add(b"a/b", file(text(10_000))).unwrap();
    builder.hard_link(b"c", b"a/b").unwrap();
    let tree = builder.finish();
    for (compression, bits, algorithms) in [("none", 0, 0), ("lz4", 3, 1), ("zstd", 3, 8)] {
        let image = written(&tree, compression, 2).unwrap();
        let found = superblock(&image);
        assert_eq!((found.magic.get(), found.inos.get(), found.feature_incompat.get()), (MAGIC, 3, bits));
        assert_eq!(found.compr_algs.get(), algorithms);
        assert_eq!(usize::try_from(found.blocks.get()).unwrap() * 4096, image.len());
        assert_eq!((found.build_time.get(), found.uuid), (TIME.cast_unsigned(), *ids().guid("erofs").as_bytes()));
        let mut covered = image[1024..4096].to_vec();
        covered[4..8].fill(0);
        assert_eq!(found.checksum.get(), !crc32c(&covered));
    }
}

#[test]
fn an_empty_tree_is_one_block() {
    assert_eq!(written(&Tree::default(), "none", 1).unwrap().len(), 4096);
}

#[test]
fn small_files_share_blocks() {
    let mut builder = Builder::default();
    (0..1000).for_each(|n| builder.add(format!("{n}").as_bytes(), file(text(300))).unwrap());
    let image = written(&builder.finish(), "none", 1).unwrap();
    // 332 bytes of each, and of its name 15.
    assert!(image.len() < 400_000, "{} bytes", image.len());
}

#[test]
fn only_what_is_lost_otherwise_makes_an_inode_large() {
    let size = |inode: Inode| {
        let mut builder = Builder::default();
        builder.add(b"", Inode { mtime: TIME, ..Inode::new(Content::Directory, 0o755) }).unwrap();
        builder.add(b"f", inode).unwrap();
        let image = written(&builder.finish(), "none", 1).unwrap();
        // Behind the root, of 32 bytes and 40 of names.
        let at = 1152 + 96;
        if image[at] & 1 == 0 { 32 } else { 64 }
    };
    assert_eq!(size(file(Vec::new())), 32);
    assert_eq!(size(Inode { uid: 65_535, ..file(Vec::new()) }), 32);
    assert_eq!(size(Inode { uid: 65_536, ..file(Vec::new()) }), 64);
    assert_eq!(size(Inode { gid: 65_536, ..file(Vec::new()) }), 64);
    assert_eq!(size(Inode { mtime_nanos: 1, ..file(Vec::new()) }), 64);
    assert_eq!(size(Inode { mtime: TIME + 1, ..file(Vec::new()) }), 64);
}

#[test]
fn compression_shrinks_what_it_can_and_leaves_the_rest() {
    let plain = written(&tree_of(b"text", text(1 << 20)), "none", 2).unwrap();
    let packed = written(&tree_of(b"text", text(1 << 20)), "lz4", 2).unwrap();
    assert!(packed.len() < plain.len() / 2, "{} of {}", packed.len(), plain.len());
    let harder = written(&tree_of(b"text", text(1 << 20)), "lz4hc", 2).unwrap();
    assert!(harder.len() < packed.len() * 9 / 10, "{} of {}", harder.len(), packed.len());
    let hardest = written(&tree_of(b"text", text(1 << 20)), "zstd", 2).unwrap();
    assert!(hardest.len() < harder.len() / 2, "{} of {}", hardest.len(), harder.len());
    for compression in ["lz4", "zstd"] {
        let image = written(&tree_of(b"noise", noise(1 << 20)), compression, 2).unwrap();
        assert_eq!(image.len(), (1 << 20) + 4096);
    }
}

#[test]
fn no_number_of_threads_changes_a_byte() {
    let mut builder = Builder::default();
    for n in 0..50_usize {
        builder.add(format!("d{}/{n}", n % 7).as_bytes(), file([text(n * 9973), noise(n * 1009)].concat())).unwrap();
    }
    let tree = builder.finish();
    for compression in ["lz4", "zstd"] {
        let one = written(&tree, compression, 1).unwrap();
        assert!([2, 3, 8].iter().all(|threads| written(&tree, compression, *threads).unwrap() == one));
    }
}

#[test]
fn uncompressed_bodies_are_referred_to() {
    let source = tempfile::tempfile().unwrap();
    source.set_len(1 << 30).unwrap();
    let body = Blob::file(crate::blob::Backing::from(source), 0, 1 << 30);
    let mut builder = Builder::default();
    builder.add(b"large", Inode::new(Content::File(body), 0o644)).unwrap();
    let options = Options::parse(&OPTIONS, [("erofs_compression", "none")]).unwrap();
    let mut env = env();
    let image = write(&builder.finish(), &options, &ids(), &mut env).unwrap();
    let of_file = image.extents().iter().filter(|extent| matches!(extent.source, crate::blob::Source::File { .. }));
    assert_eq!(of_file.map(|extent| extent.len).sum::<u64>(), 1 << 30);
    assert_eq!(env.spool.position(), 0);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let refusal = |name: &[u8], inode: Inode| {
        let mut tree = Tree::default();
        tree.names.push(crate::tree::Name { path: name.to_vec(), inode: 1 });
        tree.inodes.push(inode);
        written(&tree, "lz4", 1).unwrap_err().to_string()
    };
    let device = |major, minor| Inode::new(Content::BlockDevice(Device { major, minor }), 0o600);
    let link = |target: Vec<u8>| Inode::new(Content::Symlink(target), 0o777);
    assert!(refusal(&[b'n'; 256], file(Vec::new())).contains("nnn: a name of 256 bytes"));
    assert!(refusal(b"disk", device(4096, 0)).contains("disk: device 4096:0"));
    assert!(refusal(b"disk", device(0, 1 << 20)).contains("disk: device"));
    assert!(refusal(b"link", link(vec![b't'; 4096])).contains("link: a target of 4096 bytes"));
    assert!(refusal(b"link", link(Vec::new())).contains("link: a symbolic link without"));
    let attributes = vec![(b"user.big".to_vec(), vec![0; 65_536])];
    assert!(
        refusal(b"file", Inode { xattrs: attributes, ..file(Vec::new()) }).contains("file: the value of extended attribute big has 65536")
    );
}

#[test]
fn attributes_of_no_class_of_linux_are_told() {
    let mut builder = Builder::default();
    let xattrs = [&b"com.example"[..], b"security.capability"].map(|name| (name.to_vec(), b"1".to_vec())).to_vec();
    builder.add(b"file", Inode { xattrs, ..file(Vec::new()) }).unwrap();
    assert_eq!(losses(&builder.finish()).xattrs, [(b"file".to_vec(), vec![b"com.example".to_vec()])]);
}

#[test]
fn a_volume_of_16_tib_is_refused() {
    let source = tempfile::tempfile().unwrap();
    let body = Blob::file(crate::blob::Backing::from(source), 0, 1 << 44);
    let mut builder = Builder::default();
    builder.add(b"huge", Inode::new(Content::File(body), 0o644)).unwrap();
    let error = written(&builder.finish(), "none", 1).unwrap_err().to_string();
    assert!(error.contains("16 TiB"), "{error}");
}
