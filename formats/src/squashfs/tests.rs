use super::*;
use crate::{
    testing::env,
    tree::{Builder, Device, Inode},
};

fn settings(pairs: &[(&str, &str)]) -> Settings {
    Settings::new(&Options::parse(&OPTIONS, pairs.iter().copied()).unwrap(), &[]).unwrap()
}

fn file(bytes: Vec<u8>) -> Inode {
    Inode::new(Content::File(Blob::from(bytes)), 0o644)
}

/// Bytes of every kind: some that compress, some that do not.
fn bytes(len: u32, seed: u32) -> Vec<u8> {
    (0..len).map(|n| if n % 9000 < 5000 { (n.wrapping_mul(seed) >> 3).to_le_bytes()[0] } else { 7 }).collect()
}

fn tree() -> Tree {
    let mut builder = Builder::default();
    for n in 0..400_u32 {
        builder.add(format!("many/{n}").as_bytes(), file(bytes(n * 37, n + 1))).unwrap();
    }
    builder.add(b"large", file(bytes(700_000, 77))).unwrap();
    builder.add(b"twin", file(bytes(700_000, 77))).unwrap();
    builder.finish()
}

fn write_with(settings: &Settings, threads: usize) -> Vec<u8> {
    let mut env = Env::scratch(threads);
    write(&tree(), settings, &mut env).unwrap().to_vec(1 << 24).unwrap()
}

#[test]
fn an_image_does_not_depend_on_the_number_of_threads() {
    let settings = settings(&[("squashfs_compression", "lz4"), ("squashfs_block_size", "16K")]);
    let one = write_with(&settings, 1);
    assert_eq!(one, write_with(&settings, 3));
    assert_eq!(one.len() % 4096, 0);
    assert_eq!(one[..4], *b"hsqs");
}

#[test]
fn equal_files_and_holes_take_no_space() {
    let none = settings(&[("squashfs_compression", "none")]);
    let len = |twins: u8| {
        let mut builder = Builder::default();
        for n in 0..twins {
            builder.add(&[b'a' + n], file(bytes(500_000, 3))).unwrap();
        }
        let mut sparse = Blob::zeros(64 << 30);
        sparse.splice(1 << 30, &Blob::from(bytes(5, 5)));
        builder.add(b"sparse", Inode::new(Content::File(sparse), 0o644)).unwrap();
        write(&builder.finish(), &none, &mut env()).unwrap()
    };
    assert_eq!(len(4).len(), len(1).len());
    // Incompressible blocks stay where they are; nothing but the sparse file's one block and the metadata adds to them.
    assert!(len(1).len() < 3 << 20, "{}", len(1).len());
}

#[test]
fn what_linux_cannot_hold_is_refused_by_name() {
    let refused = |inode: Inode| {
        let mut builder = Builder::default();
        builder.add(b"dir/bad", inode).unwrap();
        write(&builder.finish(), &settings(&[]), &mut env()).unwrap_err().to_string()
    };
    let device = |major, minor| Inode::new(Content::CharacterDevice(Device { major, minor }), 0o600);
    assert_eq!(refused(device(4096, 0)), "dir/bad: device 4096:0, Linux has majors up to 4095 and minors up to 1048575");
    assert!(refused(device(0, 1 << 20)).starts_with("dir/bad: device 0:1048576"));
    assert!(refused(Inode::new(Content::Symlink(vec![b'x'; 4096]), 0o777)).starts_with("dir/bad: a symbolic link to 4096 bytes"));
    let xattrs = vec![(b"user.big".to_vec(), vec![0; 65_537])];
    assert!(refused(Inode { xattrs, ..file(Vec::new()) }).starts_with("dir/bad: the extended attribute user.big has"));
    let huge = Inode::new(Content::File(Blob::zeros(1 << 60)), 0o644);
    assert!(refused(huge).contains("blocks of 128 KiB, at most 67108864 are taken"));
    let mut builder = Builder::default();
    for uid in 0..=65_535 {
        builder.add(format!("{uid}").as_bytes(), Inode { uid, ..file(Vec::new()) }).unwrap();
    }
    let error = write(&builder.finish(), &settings(&[("squashfs_compression", "none")]), &mut env()).unwrap_err();
    assert_eq!(error.to_string(), "more than 65535 owners and groups, squashfs holds no more");
}

#[test]
fn a_choice_left_open_goes_by_the_kernel() {
    let codec = |word, known: &[Codec]| {
        let options = Options::parse(&OPTIONS, [("squashfs_compression", word)]).unwrap();
        Settings::new(&options, known).unwrap().codec()
    };
    assert_eq!(codec("auto", &[Codec::Gzip, Codec::Zstd]), Codec::Zstd);
    assert_eq!(codec("auto", &[Codec::Lz4]), Codec::Lz4);
    assert_eq!(codec("auto", &[]), Codec::Gzip);
    assert_eq!(codec("xz", &[Codec::Zstd]), Codec::Xz);
    let options = Options::parse(&OPTIONS, [("squashfs_compression", "lz4"), ("squashfs_level", "9")]).unwrap();
    assert_eq!(Settings::new(&options, &[]).unwrap_err().to_string(), "level 9 of lz4: it has level 1 only");
}

#[test]
fn attributes_without_a_number_are_told() {
    let mut builder = Builder::default();
    let names = ["security.capability", "system.posix_acl_access", "trusted.x", "user.y"];
    let xattrs = names.map(|name| (name.as_bytes().to_vec(), b"1".to_vec())).to_vec();
    builder.add(b"a", Inode { xattrs, mtime: -5, ..file(Vec::new()) }).unwrap();
    let losses = losses(&builder.finish());
    assert_eq!(losses.xattrs, [(b"a".to_vec(), vec![b"system.posix_acl_access".to_vec()])]);
    assert_eq!(losses.times, [b"a"]);
}
