use super::*;
use crate::tree::{Content::*, Name};
use proptest::prelude::*;

fn inode(content: Content) -> Inode {
    Inode { content, mode: 0o640, uid: 1, gid: 2, mtime: 1_000, mtime_nanos: 0, xattrs: Vec::new(), origin: None }
}

fn tree(inodes: Vec<Content>, names: &[(&str, usize)]) -> Tree {
    let mut names: Vec<_> = names.iter().map(|(path, inode)| Name { path: path.as_bytes().to_vec(), inode: *inode }).collect();
    names.sort();
    Tree { inodes: iter::once(Directory).chain(inodes).map(inode).collect(), names }
}

fn members(archive: &Blob) -> Vec<Member> {
    Members::new(archive).collect::<Result<_>>().unwrap()
}

fn names(archive: &Blob) -> Vec<String> {
    members(archive).into_iter().map(|member| String::from_utf8(member.name).unwrap()).collect()
}

fn file(len: usize) -> Content {
    File(Blob::from(vec![b'x'; len]))
}

#[test]
fn a_known_archive_byte_by_byte() {
    let archive = archive(&tree(vec![File(Blob::bytes(*b"hello"))], &[("f", 1)])).unwrap();
    let expected = concat!(
        "0707010000000100",
        "0041a000000001000000020000000200",
        "0003e80000000000000000000000000000000000000000000000020000",
        "0000.\0070701000000020",
        "00081a0000000010000000200000001000003e8",
        "000000050000000000000000000000000000000000000002",
        "00000000f\0hello\0\0\0",
        "0707010000000000000000000000000000000000000001000000000000000000000000000000000000000000000000",
        "0000000b00000000TRAILER!!!\0\0\0\0",
    );
    assert_eq!(String::from_utf8(archive.to_vec(4096).unwrap()).unwrap(), expected);
}

#[test]
fn hard_links_stand_together_behind_their_directories_and_the_last_has_the_body() {
    let tree = tree(vec![file(9), Directory, file(1)], &[("a", 1), ("b", 3), ("d", 2), ("d/c", 1), ("e", 1)]);
    let archive = archive(&tree).unwrap();
    assert_eq!(names(&archive), [".", "b", "d", "a", "d/c", "e"]);
    let links = members(&archive).split_off(3);
    assert!(links.iter().all(|link| link.ino == links[0].ino && link.nlink == 3));
    assert_eq!(links.iter().map(|link| link.body.len()).collect::<Vec<_>>(), [0, 0, 9]);
}

#[test]
fn every_name_of_a_symbolic_link_has_the_target() {
    let archive = archive(&tree(vec![Symlink(b"to".to_vec())], &[("a", 1), ("b", 1)])).unwrap();
    assert!(members(&archive)[1..].iter().all(|link| link.body.to_vec(9).unwrap() == b"to"));
}

#[test]
fn parts_are_whole_archives_and_never_divide_a_group_of_links() {
    let tree = tree(vec![file(600), file(600), file(3000), file(1)], &[("a", 1), ("b", 2), ("c", 3), ("d", 4), ("z", 1)]);
    let parts = parts(&tree, 1500).unwrap();
    assert_eq!(parts.iter().map(names).collect::<Vec<_>>(), [vec![".", "b"], vec!["c"], vec!["d", "a", "z"]]);
    let mut whole = Blob::default();
    parts.iter().for_each(|part| whole.append(part));
    assert_eq!(names(&whole), [".", "b", "c", "d", "a", "z"]);
    let inodes: Vec<_> = members(&whole).iter().map(|member| member.ino).collect();
    assert_eq!(inodes, [1, 2, 3, 4, 5, 5]);
}

#[test]
fn what_the_kernel_would_drop_is_refused_by_name() {
    let large = tree(vec![File(Blob::zeros(1 << 32))], &[("large", 1)]);
    assert_eq!(archive(&large).unwrap_err().to_string(), "large: the file has 4 GiB, a file in a cpio archive has less than 4 GiB");
    assert!(archive(&tree(vec![File(Blob::zeros((1 << 32) - 1))], &[("large", 1)])).is_ok());
    let device = tree(vec![BlockDevice(Device { major: 4096, minor: 1 })], &[("dev", 1)]);
    assert!(archive(&device).unwrap_err().to_string().starts_with("dev: device 4096:1"));
    let long = "p".repeat(PATH_MAX);
    assert!(archive(&tree(vec![Fifo], &[(&long, 1)])).is_err());
    assert!(archive(&tree(vec![Fifo], &[(&long[1..], 1)])).is_ok());
    assert!(archive(&tree(vec![Symlink(long.into_bytes())], &[("link", 1)])).is_err());
    assert!(archive(&tree(vec![Fifo], &[("TRAILER!!!", 1)])).is_err());
}

#[test]
fn times_are_clamped_and_attributes_left_out_with_notice() {
    let mut tree = tree(vec![file(1), file(1), file(1)], &[("a", 1), ("b", 2), ("c", 3)]);
    tree.inodes[1].mtime = -5;
    tree.inodes[2].mtime = 1 << 32;
    tree.inodes[3].xattrs = vec![(b"security.capability".to_vec(), vec![1])];
    let times: Vec<_> = members(&archive(&tree).unwrap()).iter().map(|member| member.mtime).collect();
    assert_eq!(times, [1_000, 0, u32::MAX, 1_000]);
    let losses = losses(&tree);
    assert_eq!(losses.times, [b"a", b"b"]);
    assert_eq!(losses.xattrs, [(b"c".to_vec(), vec![b"security.capability".to_vec()])]);
}

#[test]
fn reading_stops_before_what_is_no_archive() {
    let early = archive(&tree(vec![], &[])).unwrap();
    let mut initrd = early.clone();
    initrd.pad_to(512);
    let end = initrd.len();
    initrd.append(&Blob::bytes(*b"\x1f\x8b compressed"));
    let mut members = Members::new(&initrd);
    assert_eq!(members.by_ref().filter(Result::is_ok).count(), 1);
    assert_eq!(members.position(), end);
    assert_eq!(Members::new(&Blob::zeros(1 << 40).slice(0..100_000)).count(), 0);
}

#[test]
fn damaged_archives_are_errors() {
    let whole = archive(&tree(vec![file(100)], &[("f", 1)])).unwrap().to_vec(4096).unwrap();
    let damaged = |at: usize, bytes: &[u8]| {
        let mut copy = whole.clone();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        Members::new(&Blob::from(copy)).find_map(Result::err).map(|error| error.to_string())
    };
    assert!(damaged(6, b"g").is_some_and(|e| e.contains("not hexadecimal")));
    assert!(damaged(54, b"ffffffff").is_some_and(|e| e.contains("past the end")));
    assert!(damaged(94, b"00000000").is_some_and(|e| e.contains("a name of 0 bytes")));
    assert!(damaged(111, b"x").is_some_and(|e| e.contains("NUL")));
    assert!(damaged(112, b"x").is_some_and(|e| e.contains("magic")));
    for cut in 1..whole.len() - 24 {
        let cut = Blob::from(whole[..cut].to_vec());
        assert!(Members::new(&cut).any(|member| member.is_err()) || cut.len() < 6, "cut at {}", cut.len());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'0'), Just(b'f')], 0..400)) {
        let mut archive = b"070701".to_vec();
        archive.extend(bytes);
        let _: Vec<_> = Members::new(&Blob::from(archive)).collect();
    }
}
