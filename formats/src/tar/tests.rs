//! Archives written here and read back, and archives that lie.

use super::{header::typeflag, *};
use crate::{
    Kind,
    tree::{Content, Device, Inode, Origin},
    units,
};
use proptest::prelude::*;
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

fn file(bytes: &[u8]) -> Inode {
    Inode::new(Content::File(Blob::bytes(bytes)), 0o644)
}

fn archive(dialect: Dialect, members: &[(&[u8], Inode)]) -> Blob {
    let mut writer = Writer::new(dialect);
    for (path, inode) in members {
        writer.add(path, inode).unwrap();
    }
    writer.finish()
}

fn bytes(archive: &Blob) -> Vec<u8> {
    archive.to_vec(64 * units::MIB).unwrap()
}

fn read(archive: &Blob) -> Result<Vec<Member>> {
    Members::new(archive).collect()
}

fn error(archive: impl Into<Blob>) -> String {
    read(&archive.into()).unwrap_err().to_string()
}

/// Everything of an inode that can be compared.
fn facts(inode: &Inode) -> impl PartialEq + std::fmt::Debug + use<> {
    let content = match &inode.content {
        Content::File(blob) => format!("{:?}", blob.to_vec(64 * units::MIB).unwrap()),
        other => format!("{other:?}"),
    };
    let Inode { mode, uid, gid, mtime, mtime_nanos, xattrs, origin, .. } = inode.clone();
    (content, mode, uid, gid, mtime, mtime_nanos, xattrs, origin)
}

/// Changes a header and makes its checksum right again.
fn forge(archive: &mut [u8], at: usize, change: impl FnOnce(&mut header::Header)) {
    let mut header = header::Header::read_from_bytes(&archive[at..at + 512]).unwrap();
    change(&mut header);
    header.seal();
    archive[at..at + 512].copy_from_slice(header.as_bytes());
}

/// A PAX header in front of an archive.
fn with_records(typeflag: u8, records: &[(&str, &str)], archive: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for (keyword, value) in records {
        pax::write_record(&mut text, keyword.as_bytes(), value.as_bytes());
    }
    let mut all = bytes(&self::archive(Dialect::Pax, &[(b"PaxHeaders/x", file(&text))]));
    forge(&mut all, 0, |header| header.typeflag = typeflag);
    all.truncate(all.len() - 1024);
    all.extend_from_slice(archive);
    all
}

#[test]
fn contents_are_ranges_of_the_archive() {
    let whole = Blob::bytes(bytes(&archive(Dialect::Pax, &[(b"a", file(&[7; 5000])), (b"b", file(b"next"))])));
    let members = read(&whole).unwrap();
    let Entry::Inode(Inode { content: Content::File(blob), .. }) = &members[0].entry else { panic!("a is a file") };
    let Content::File(original) = file(&[7; 5000]).content else { unreachable!() };
    assert_eq!(blob.to_vec(5000).unwrap(), original.to_vec(5000).unwrap());
    let (crate::blob::Source::Memory { bytes: a, offset }, crate::blob::Source::Memory { bytes: b, .. }) =
        (&blob.extents()[0].source, &whole.extents()[0].source)
    else {
        panic!("both are in memory")
    };
    assert!(Arc::ptr_eq(a, b));
    assert_eq!(*offset, 512);
}

#[test]
fn what_the_header_cannot_hold_goes_into_records() {
    let mut inode = file(b"x");
    inode.uid = 4_000_000_000;
    inode.mtime = -5;
    inode.mtime_nanos = 250_000_000;
    inode.xattrs = vec![(b"user.%=".to_vec(), vec![0, 10, 255])];
    inode.origin = Some(Arc::new(Origin { source: "linuxkit/init:v1".into(), location: "init[0]".into() }));
    let path = [b"d/".repeat(100).as_slice(), b"\xff".repeat(200).as_slice()].concat();
    let archive = archive(Dialect::Pax, &[(&path, inode.clone())]);
    let members = read(&archive).unwrap();
    assert_eq!(members[0].path, path);
    let Entry::Inode(back) = &members[0].entry else { panic!("it is an inode") };
    assert_eq!(facts(back), facts(&inode));
}

#[test]
fn strict_dialects_refuse_what_they_cannot_hold_by_name() {
    let mut with_xattr = file(b"");
    with_xattr.xattrs = vec![(b"security.capability".to_vec(), vec![1])];
    let mut with_uid = file(b"");
    with_uid.uid = 2_097_152;
    let mut old = file(b"");
    old.mtime = -1;
    let big = Inode::new(Content::File(Blob::zeros(1 << 33)), 0o644);
    let long = b"x".repeat(101);
    let target = Inode::new(Content::Symlink(b"y".repeat(101)), 0o777);
    let cases: [(&[u8], &Inode, &str); 6] = [
        (b"cap", &with_xattr, "entry cap: its extended attribute security.capability"),
        (b"uid", &with_uid, "entry uid: its uid 2097152"),
        (b"old", &old, "entry old: its mtime -1"),
        (b"big", &big, "entry big: its size 8589934592"),
        (&long, &file(b""), "101 bytes does not fit a ustar header"),
        (b"link", &target, "entry link: its linkpath of 101 bytes"),
    ];
    for (path, inode, message) in cases {
        let error = Writer::new(Dialect::Ustar).add(path, inode).unwrap_err();
        assert!(error.to_string().contains(message) && error.kind() == Kind::Unsupported, "{error}");
        Writer::new(Dialect::Pax).add(path, inode).unwrap();
    }
    assert!(Writer::new(Dialect::OldGnu).add(b"cap", &with_xattr).is_err());
    assert!(Writer::new(Dialect::Pax).add(b"a\0b", &file(b"")).is_err());
}

#[test]
fn old_gnu_archives_hold_gaps() {
    let mut disk = Blob::zeros(50 << 30);
    for n in 0..60 {
        disk.splice(n * units::GIB / 2, &Blob::bytes([u8::try_from(n).unwrap(); 4096]));
    }
    let archive = archive(Dialect::OldGnu, &[(b"disk.raw", Inode::new(Content::File(disk.clone()), 0o644)), (b"next", file(b"next"))]);
    assert!(archive.len() < 300_000);
    let members = read(&archive).unwrap();
    assert_eq!(members[1].path, b"next");
    let Entry::Inode(Inode { content: Content::File(back), .. }) = &members[0].entry else { panic!("it is a file") };
    assert_eq!((back.len(), back.data_len()), (disk.len(), disk.data_len()));
    for n in 0..60 {
        assert_eq!(back.read_array::<4>(n * units::GIB / 2 + 4092).unwrap(), [u8::try_from(n).unwrap(); 4]);
    }
}

#[test]
fn hard_links_of_a_tree_stay_hard_links() {
    let mut builder = crate::tree::Builder::default();
    builder.add(b"b", file(b"1")).unwrap();
    builder.hard_link(b"d/a", b"b").unwrap();
    builder.add(b"dev/null", Inode::new(Content::CharacterDevice(Device { major: 1, minor: 3 }), 0o666)).unwrap();
    let before = builder.finish();
    let mut writer = Writer::new(Dialect::Ustar);
    writer.tree(&before).unwrap();
    let after = tree(&writer.finish()).unwrap();
    assert_eq!(before.names, after.names);
    assert!(before.inodes.iter().map(facts).eq(after.inodes.iter().map(facts)));
}

/// One member: its type, and how many bytes its header claims and have their place in the archive.
fn member(typeflag: u8, path: &str, claims: usize, stored: usize) -> Vec<u8> {
    let mut all = bytes(&archive(Dialect::Ustar, &[(path.as_bytes(), file(&vec![b'c'; stored]))]));
    all.truncate(all.len() - 1024);
    forge(&mut all, 0, |header| {
        header.typeflag = typeflag;
        header.linkname[0] = b'l';
        assert!(header::set_octal(&mut header.size, i64::try_from(claims).unwrap()));
    });
    all
}

/// The path and the kind of every member, and the warnings.
fn shown(archive: &[u8]) -> (String, Vec<String>) {
    let archive = Blob::bytes(archive);
    let mut members = Members::new(&archive);
    let show = |member: Member| {
        let kind = match &member.entry {
            Entry::HardLink(_) => "link".into(),
            Entry::Inode(Inode { content: Content::File(body), .. }) => body.len().to_string(),
            Entry::Inode(inode) => format!("{:o}", inode.content.type_bits()),
        };
        format!("{} {kind}", tree::ShowPath(&member.path))
    };
    let shown = members.by_ref().map(|member| show(member.unwrap())).collect::<Vec<_>>().join(", ");
    (shown, members.warnings())
}

#[test]
fn a_trailing_slash_makes_a_directory() {
    let last = bytes(&archive(Dialect::Ustar, &[(b"last", file(b"x"))]));
    for old in [typeflag::FILE, typeflag::FILE_V7, typeflag::CONTIGUOUS, typeflag::GNU_SPARSE] {
        // With a size that means nothing, as v7 has it; with bytes behind it all the same.
        for (claims, stored) in [(0, 0), (4096, 0), (600, 600)] {
            let whole = [member(old, "d/", claims, stored), last.clone()].concat();
            assert_eq!(shown(&whole), ("d/ 40000, last 1".into(), vec![]), "{old} {claims} {stored}");
        }
    }
}

#[test]
fn types_are_what_others_take_them_for() {
    let last = bytes(&archive(Dialect::Ustar, &[(b"last", file(b"x"))]));
    let unknown = "entries of the unknown type 'Z' are taken for files, as POSIX demands";
    for (typeflag, claims, stored, wanted, warning) in [
        (b'Z', 600, 600, "n 600, last 1", Some(unknown)),
        (b'7', 600, 600, "n 600, last 1", None),
        (b'V', 0, 0, "last 1", None),
        (b'V', 600, 0, "last 1", None),
        (b'D', 600, 600, "n 40000, last 1", None),
        (b'A', 600, 600, "last 1", Some("attributes of entries are not kept: access control lists of Solaris (type 'A')")),
        (b'1', 600, 600, "n link, last 1", None),
        (b'1', 600, 0, "n link, last 1", None),
        (b'2', 600, 0, "n 120000, last 1", None),
        (b'5', 600, 0, "n 40000, last 1", None),
        (b'6', 600, 600, "n 10000, last 1", None),
    ] {
        let whole = [member(typeflag, "n", claims, stored), last.clone()].concat();
        assert_eq!(shown(&whole), (wanted.into(), Vec::from_iter(warning.map(String::from))), "{}", typeflag.escape_ascii());
    }
    // A record of the size is believed.
    for (typeflag, kind) in [(b'6', "10000"), (b'1', "link")] {
        let sized = with_records(b'x', &[("size", "513")], &[member(typeflag, "n", 0, 1024), last.clone()].concat());
        assert_eq!(shown(&sized).0, format!("n {kind}, last 1"));
    }
    assert!(error([member(b'M', "n", 0, 0), last].concat()).contains("the rest of a file that begins in the volume before"));
}

#[test]
fn the_last_of_several_extended_headers_counts() {
    let plain = bytes(&archive(Dialect::Ustar, &[(b"name", file(b"content"))]));
    for typeflag in [b'x', b'X'] {
        let inner = with_records(typeflag, &[("mtime", "7")], &plain);
        let members = read(&with_records(b'x', &[("path", "other"), ("uid", "8")], &inner).into()).unwrap();
        let Entry::Inode(inode) = &members[0].entry else { panic!("it is a file") };
        assert_eq!((members[0].path.as_slice(), inode.uid, inode.mtime), (b"name".as_slice(), 0, 7));
    }
}

#[test]
fn access_lists_become_attributes() {
    let plain = bytes(&archive(Dialect::Ustar, &[(b"name", file(b""))]));
    let records = [("SCHILY.acl.access", "user::rw-,user:lp:r--:7,group::r--,mask::r--,other::r--"), ("SCHILY.fflags", "nodump")];
    let archive = Blob::bytes(with_records(b'x', &records, &plain));
    let mut members = Members::new(&archive);
    let Entry::Inode(inode) = members.next().unwrap().unwrap().entry else { panic!("it is a file") };
    assert_eq!(inode.xattrs[0].0, b"system.posix_acl_access");
    assert!(members.next().is_none());
    assert_eq!(members.warnings(), ["attributes of entries are not kept: SCHILY.fflags"]);
}

#[test]
fn v7_has_no_device_numbers() {
    let device = Inode::new(Content::CharacterDevice(Device { major: 1, minor: 3 }), 0o644);
    let mut archive = bytes(&archive(Dialect::Ustar, &[(b"d", device)]));
    for (magic, wanted) in [(*b"ustar  \0", Device { major: 1, minor: 3 }), ([0; 8], Device::default()), (*b"ustar 00", Device::default())]
    {
        forge(&mut archive, 0, |header| header.magic = magic);
        let Entry::Inode(inode) = &read(&archive.clone().into()).unwrap()[0].entry else { panic!("it is a device") };
        assert!(matches!(inode.content, Content::CharacterDevice(device) if device == wanted));
    }
}

#[test]
fn versions_of_ustar_have_a_prefix_too() {
    let mut archive = bytes(&archive(Dialect::Ustar, &[(&[b"d".repeat(90), b"/".to_vec(), b"f".repeat(90)].concat(), file(b""))]));
    forge(&mut archive, 0, |header| header.magic = *b"ustar\0\0\0");
    assert_eq!(read(&archive.into()).unwrap()[0].path.len(), 181);
}

#[test]
fn records_go_before_the_header_and_members_before_globals() {
    let plain = bytes(&archive(Dialect::Ustar, &[(b"name", file(b"content")), (b"next", file(b""))]));
    let one = with_records(b'x', &[("path", "other"), ("mtime", "7.5"), ("uid", "8"), ("atime", "1"), ("GNU.dumpdir", "")], &plain);
    let all = with_records(b'g', &[("uid", "1"), ("gid", "2"), ("comment", "of git")], &one);
    let members = read(&all.into()).unwrap();
    let facts: Vec<_> = members
        .iter()
        .map(|member| match &member.entry {
            Entry::Inode(inode) => (member.path.as_slice(), inode.uid, inode.gid, inode.mtime),
            Entry::HardLink(_) => panic!("no links here"),
        })
        .collect();
    assert_eq!(facts, [(&b"other"[..], 8, 2, 7), (b"next", 1, 2, 0)]);
}

#[test]
fn an_archive_may_lack_its_end_only_behind_a_member_and_that_is_told() {
    let whole = bytes(&archive(Dialect::Ustar, &[(b"a", file(b"1")), (b"b", file(&[1; 600]))]));
    let content = whole.len() - 1024;
    for len in 0..=whole.len() {
        let cut = Blob::bytes(&whole[..len]);
        let mut members = Members::new(&cut);
        let result = members.by_ref().collect::<Result<Vec<_>>>();
        let lacks_end = [0, 1024, content].contains(&len);
        assert_eq!(result.is_ok(), lacks_end || len >= content + 512, "{len}");
        let told = format!("the archive has no end: it may be cut (two blocks of zeros should stand at byte {len})");
        assert_eq!(members.warnings(), Vec::from_iter(lacks_end.then_some(told)), "{len}");
    }
    assert!(error(whole[..content - 512].to_vec()).contains("entry b: it is truncated: it needs 2560 bytes of archive, there are 2048"));
    assert!(read(&vec![0; 1024].into()).unwrap().is_empty());
    // What stands behind the end is not looked at.
    assert_eq!(shown(&[&whole, b"rubbish".as_slice(), &whole].concat()), ("a 1, b 600".into(), vec![]));
}

#[test]
fn a_single_block_of_zeros_ends_nothing() {
    let one = bytes(&archive(Dialect::Ustar, &[(b"a", file(b"1"))]));
    let joined = [&one[..one.len() - 512], &one[..one.len() - 512], &one].concat();
    let told = |then: &str| vec![format!("there is a single block of zeros at byte 1024, and two end an archive: {then}")];
    assert_eq!(shown(&joined), ("a 1, a 1, a 1".into(), told("what follows is read, too")));
    let garbage = [&one[..one.len() - 512], &[b'x'; 2048]].concat();
    assert_eq!(shown(&garbage), ("a 1".into(), told("what stands behind is no entry, and left out")));
}

#[test]
fn damage_is_told_by_place_and_name() {
    let whole = bytes(&archive(Dialect::Ustar, &[(b"a", file(b"1")), (b"dir/b", file(b"2"))]));
    let mut damaged = whole.clone();
    damaged[1024 + 3] ^= 1;
    assert!(error(damaged.clone()).starts_with("at byte 1024 there should be the header of an entry: the header's checksum is"));
    assert!(error(damaged[1024..].to_vec()).starts_with("this is not a tar"));
    assert!(error(vec![b'x'; 4096]).contains("checksum is 'xxxxxxxx', must be octal"));
    type Change = fn(&mut header::Header);
    let changes: [(Change, &str); 7] = [
        (|h| h.typeflag = b'M', "entry dir/b: its type is 'M': it is the rest of a file"),
        (|h| h.size = [0xff; 12], "entry dir/b: its size is -1, must not be negative"),
        (|h| h.size = *b"99999999999\0", "must be an octal number"),
        (|h| h.size = *b"77777777777\0", "entry dir/b: it is truncated"),
        (|h| h.uid = [0xff; 8], "entry dir/b: its uid is -1, must be from 0 to 4294967295"),
        (|h| h.typeflag = typeflag::SYMLINK, "its link target is empty"),
        (|h| h.typeflag = typeflag::PAX, "the archive ends at byte 2048 behind an extended header"),
    ];
    for (change, message) in changes {
        let mut forged = whole.clone();
        forge(&mut forged, 1024, change);
        assert!(error(forged.clone()).contains(message), "{}", error(forged));
    }
}

#[test]
fn extensions_are_bounded_and_belong_to_something() {
    let plain = bytes(&archive(Dialect::Ustar, &[(b"name", file(b""))]));
    let value = "v".repeat(700_000);
    let once = with_records(b'x', &[("comment", &value)], &plain);
    read(&once.clone().into()).unwrap();
    assert!(error(with_records(b'x', &[("comment", &value)], &once)).contains("at most 1048576 are taken"));
    assert!(error(with_records(b'x', &[("uid", "1")], &[0; 1024])).contains("behind an extended header"));
    assert!(error(with_records(b'x', &[("size", "18446744073709551615")], &plain)).contains("it needs more than 2^64 bytes"));
    assert!(error(with_records(b'x', &[("uid", "x")], &plain)).contains("entry name: PAX record uid: 'x' must be a decimal number"));
    let told = "global headers say of all entries what can be said of one only, which is left out: path";
    assert_eq!(shown(&with_records(b'g', &[("path", "x")], &plain)), ("name 0".into(), vec![told.into()]));
    assert!(error(with_records(b'x', &[("SCHILY.xattr.", "x")], &plain)).contains("must not be empty"));
    assert!(
        error(with_records(b'x', &[("linkpath", "a\0b"), ("path", "l")], &{
            let mut link = plain.clone();
            forge(&mut link, 0, |header| header.typeflag = typeflag::SYMLINK);
            link
        }))
        .contains("entry l: its link target is empty or has a NUL")
    );
}

#[test]
fn a_tree_names_the_entry_that_it_refuses() {
    for (path, word) in [(&b"../etc/passwd"[..], "entry ../etc/passwd: its path has '..'"), (b"f/x", "entry f/x: f on the way")] {
        let archive = archive(Dialect::Pax, &[(b"f", file(b"")), (path, file(b""))]);
        assert!(tree(&archive).unwrap_err().to_string().contains(word));
    }
    assert_eq!(tree(&archive(Dialect::Pax, &[(b"", file(b""))])).unwrap_err().to_string(), "entry : its path is empty");
    let mut writer = Writer::new(Dialect::Pax);
    writer.hard_link(b"bin/[", b"bin/busybox", &file(b"")).unwrap();
    let error = tree(&writer.finish()).unwrap_err().to_string();
    assert_eq!(error, "entry bin/[: a hard link to bin/busybox, which does not lead anywhere: there is no directory bin");
}

fn any_inode() -> impl Strategy<Value = Inode> {
    let content = prop_oneof![
        Just(Content::Directory),
        Just(Content::Fifo),
        prop::collection::vec(any::<u8>(), 0..2000).prop_map(|bytes| Content::File(Blob::bytes(bytes))),
        prop::collection::vec(1u8.., 1..300).prop_map(Content::Symlink),
        any::<(u32, u32)>().prop_map(|(major, minor)| Content::CharacterDevice(Device { major, minor })),
        any::<(u32, u32)>().prop_map(|(major, minor)| Content::BlockDevice(Device { major, minor })),
    ];
    let text = prop::collection::vec(any::<u8>(), 0..100);
    let xattrs = prop::collection::btree_map(prop::collection::vec(1u8.., 1..20), text, 0..3);
    let origin = prop::option::of(("[a-z]{1,9}", "[a-z]{1,9}").prop_map(|(source, location)| Arc::new(Origin { source, location })));
    let time = (any::<i64>(), 0u32..1_000_000_000, any::<bool>());
    (content, 0u32..0o10000, any::<u32>(), any::<u32>(), time, xattrs, origin).prop_map(
        |(content, mode, uid, gid, (mtime, nanos, whole), xattrs, origin)| {
            let mtime_nanos = if whole { 0 } else { nanos };
            Inode { content, mode, uid, gid, mtime, mtime_nanos, xattrs: xattrs.into_iter().collect(), origin }
        },
    )
}

proptest! {
    /// What the PAX dialect writes is read back as it was.
    #[test]
    fn archives_come_back(members in prop::collection::vec((prop::collection::vec(1u8.., 1..400), any_inode()), 0..6)) {
        let mut writer = Writer::new(Dialect::Pax);
        for (path, inode) in &members {
            // A file whose path ends in a slash is a directory, so it gets another end.
            writer.add(&[path.as_slice(), b"."].concat(), inode).unwrap();
        }
        let archive = writer.finish();
        let back = read(&archive).unwrap();
        prop_assert_eq!(back.len(), members.len());
        for (member, (path, inode)) in back.iter().zip(&members) {
            let Entry::Inode(entry) = &member.entry else { panic!("no hard links here") };
            prop_assert_eq!(member.path.strip_suffix(b"/").unwrap_or(&member.path), &[path.as_slice(), b"."].concat());
            prop_assert_eq!(facts(entry), facts(inode));
        }
    }

    /// Damage gives an error or another valid archive; every content it gives can be read.
    #[test]
    fn damage_never_panics(inode in any_inode(), dialect in 0usize..3, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<prop::sample::Index>(), seal in any::<bool>()) {
        let dialect = [Dialect::Pax, Dialect::Ustar, Dialect::OldGnu][dialect];
        let mut sparse = Blob::zeros(40_000);
        sparse.splice(8192, &Blob::bytes([1; 100]));
        let mut writer = Writer::new(dialect);
        writer.add(b"sparse", &Inode::new(Content::File(sparse), 0o600)).unwrap();
        let _: Result<()> = writer.add(&b"long/".repeat(60), &inode);
        let mut archive = bytes(&writer.finish());
        for (at, value) in flips {
            let at = at.index(archive.len());
            archive[at] ^= value;
        }
        if seal {
            forge(&mut archive, 0, |_| {});
        }
        archive.truncate(cut.index(archive.len()) * 2);
        for member in Members::new(&archive.clone().into()).flatten() {
            if let Entry::Inode(Inode { content: Content::File(blob), .. }) = &member.entry {
                prop_assert!(blob.data_len() <= units::bytes(archive.len()));
                blob.slice(0..blob.len().min(1 << 20)).to_vec(1 << 20).unwrap();
            }
        }
        let _: Result<Tree> = tree(&archive.into());
    }
}
