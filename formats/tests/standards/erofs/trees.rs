//! A tree with everything that EROFS must keep.

use formats::{
    Blob, Tree,
    tree::{Builder, Content, Device, Inode},
};

/// The time of the volume.
pub(super) const TIME: i64 = 1_700_000_000;

fn file(bytes: impl Into<Vec<u8>>) -> Inode {
    Inode { mtime: TIME, ..Inode::new(Content::File(Blob::from(bytes.into())), 0o644) }
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

pub(super) fn odd() -> Tree {
    let mut builder = Builder::default();
    builder.add(b"", Inode { mtime: TIME, ..Inode::new(Content::Directory, 0o751) }).unwrap();
    sizes(&mut builder);
    attributes(&mut builder);
    names(&mut builder);
    gaps(&mut builder);
    builder.finish()
}

/// Every way in which a file's end meets a block, an inode's room, or a compressed piece.
fn sizes(builder: &mut Builder) {
    for len in
        [0, 1, 100, 4000, 4032, 4064, 4065, 4095, 4096, 4097, 8191, 8192, 12_289, 131_071, 131_072, 131_073, 262_145, 300_001, 2_000_000]
    {
        builder.add(format!("sizes/text-{len}").as_bytes(), file(text(len))).unwrap();
        builder.add(format!("sizes/noise-{len}").as_bytes(), file(noise(len))).unwrap();
    }
    // Plain pieces between compressed ones, and the other way round.
    builder.add(b"sizes/mixed", file([text(200_000), noise(400_000), text(300_000), noise(5000)].concat())).unwrap();
    builder.add(b"sizes/mixed too", file([noise(140_000), text(140_000), noise(140_000)].concat())).unwrap();
    builder.add(b"sizes/zeros", file(vec![0; 500_000])).unwrap();
}

/// What POSIX keeps of a file.
fn attributes(builder: &mut Builder) {
    let device = |major, minor| Device { major, minor };
    builder.add(b"bin/su", Inode { mode: 0o6755, ..file("su") }).unwrap();
    builder.hard_link(b"bin/zsu", b"bin/su").unwrap();
    builder.hard_link(b"su", b"bin/su").unwrap();
    builder.add(b"etc/shadow", Inode { uid: 100_000, gid: 42, mode: 0o600, ..file("root::") }).unwrap();
    builder.add(b"etc/huge owner", Inode { uid: 4_000_000_000, gid: 3_000_000, ..file(text(9000)) }).unwrap();
    builder.add(b"tmp", Inode::new(Content::Directory, 0o1777)).unwrap();
    builder.add(b"dev/null", Inode::new(Content::CharacterDevice(device(1, 3)), 0o666)).unwrap();
    builder.add(b"dev/sda17", Inode::new(Content::BlockDevice(device(259, 260_000)), 0o660)).unwrap();
    builder.add(b"dev/initctl", Inode { mtime: TIME, ..Inode::new(Content::Fifo, 0o600) }).unwrap();
    builder.hard_link(b"dev/again", b"dev/initctl").unwrap();
    builder.add(b"times/before 1970", Inode { mtime: -1_000_000, ..file("") }).unwrap();
    builder.add(b"times/after 2106", Inode { mtime: (1 << 32) + 5, ..file("") }).unwrap();
    builder.add(b"times/exact", Inode { mtime_nanos: 123_456_789, ..file(text(5000)) }).unwrap();
    let capability = (b"security.capability".to_vec(), vec![1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    builder.add(b"bin/ping", Inode { xattrs: vec![capability.clone()], ..file(text(70_000)) }).unwrap();
    let many =
        [("trusted.overlay.opaque", vec![b'y']), ("user.empty", Vec::new()), ("user.large", text(3900)), ("user.text", b"a=b\n".to_vec())];
    let many = many.map(|(name, value)| (name.as_bytes().to_vec(), value));
    builder.add(b"attributes", Inode { xattrs: many.to_vec(), ..Inode::new(Content::Directory, 0o700) }).unwrap();
    builder.add(b"attributes/file", Inode { xattrs: [vec![capability], many.to_vec()].concat(), ..file(text(3000)) }).unwrap();
    let huge = vec![(b"user.huge".to_vec(), noise(65_535))];
    builder.add(b"attributes/huge", Inode { xattrs: huge, ..file(noise(5000)) }).unwrap();
    let link = Content::Symlink(b"../bin/ping".to_vec());
    builder.add(b"attributes/link", Inode { xattrs: vec![(b"trusted.link".to_vec(), b"1".to_vec())], ..Inode::new(link, 0o777) }).unwrap();
}

/// Names and targets up to the longest, and directories of several blocks.
fn names(builder: &mut Builder) {
    for len in [1, 254, 255] {
        builder.add(&[b"names/".as_slice(), &vec![b'n'; len]].concat(), file("name")).unwrap();
    }
    builder.add("names/größe mit blank".as_bytes(), file("utf-8")).unwrap();
    builder.add(b"names/not utf-8 \xff", file("bytes")).unwrap();
    builder.add(b"names/!before the dots", file("")).unwrap();
    builder.add(&[b"names/deep/".as_slice(), &b"deep/".repeat(60), b"end"].concat(), file("deep")).unwrap();
    for len in [1, 59, 4000, 4031, 4032, 4064, 4065, 4095] {
        builder
            .add(format!("names/link {len}").as_bytes(), Inode { mtime: TIME, ..Inode::new(Content::Symlink(vec![b't'; len]), 0o777) })
            .unwrap();
    }
    for n in 0..3000_u32 {
        let name = format!("many/{n:0width$}", width = 4 + n as usize % 100);
        builder.add(name.as_bytes(), file(if n % 10 == 0 { text(50) } else { Vec::new() })).unwrap();
    }
    // Entries that fill their block to the last byte: 12 + 1 and 12 + 2 of the dots, then 13 of 12 + 301 less 8.
    for n in 0..15_u8 {
        builder.add(&[b"full/".as_slice(), &[b'a' + n], &[b'x'; 254]].concat(), file("")).unwrap();
    }
}

fn gaps(builder: &mut Builder) {
    let mut sparse = Blob::zeros(1_000_000);
    sparse.splice(100_000, &Blob::bytes(*b"here"));
    sparse.splice(900_000, &Blob::from(text(9000)));
    builder.add(b"gaps/sparse", Inode { mtime: TIME, ..Inode::new(Content::File(sparse.clone()), 0o644) }).unwrap();
    let mut dense = Blob::from(text(300_000));
    dense.append(&Blob::zeros(20_000));
    dense.append(&Blob::bytes(*b"end"));
    builder.add(b"gaps/dense", Inode { mtime: TIME, ..Inode::new(Content::File(dense), 0o644) }).unwrap();
    builder.add(b"gaps/nothing", Inode::new(Content::File(Blob::zeros(50_000_000)), 0o644)).unwrap();
    let attributes = vec![(b"user.odd".to_vec(), b"123".to_vec())];
    builder.add(b"gaps/with attributes", Inode { xattrs: attributes, ..Inode::new(Content::File(sparse), 0o644) }).unwrap();
}
