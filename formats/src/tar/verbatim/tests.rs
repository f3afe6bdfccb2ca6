use super::*;
use crate::tar::typeflag;
use proptest::prelude::*;
use zerocopy::FromBytes;

fn spool() -> Spool {
    Spool::scratch()
}

fn written(entries: &[(Entry, &str)]) -> Blob {
    let mut writer = Writer::new(spool());
    for (entry, body) in entries {
        writer.add(entry, &Blob::bytes(body.as_bytes())).unwrap();
    }
    writer.finish().unwrap()
}

fn with(kind: u8, path: &str, records: &[(&str, &str)]) -> Entry {
    let records = records.iter().map(|(keyword, value)| (keyword.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
    Entry { records, ..Entry::new(kind, path, 0o644) }
}

/// The records of the first entry, as they stand in the archive.
fn records_of(archive: &Blob) -> String {
    let size = header::number(&archive.read_array::<12>(124).unwrap()).unwrap();
    let mut text = vec![0; usize::try_from(size).unwrap()];
    archive.read_at(512, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn paths_are_clean_as_gos_are() {
    for (path, clean_path) in [
        ("", "."),
        ("./", "."),
        ("a//b/../c/", "a/c"),
        ("./a", "a"),
        ("/a", "/a"),
        ("../a", "../a"),
        ("/../a", "/a"),
        ("a/../..", ".."),
        ("/", "/"),
        ("a/..", "."),
    ] {
        assert_eq!(clean(path.as_bytes()), clean_path.as_bytes(), "{path}");
    }
    assert_eq!(pax_name(b"a/b"), b"a/PaxHeaders.0/b");
    assert_eq!(pax_name(b"b"), b"PaxHeaders.0/b");
    assert_eq!(pax_name(b"./lib/"), b"lib/PaxHeaders.0");
    assert_eq!(pax_name(b"/a"), b"/PaxHeaders.0/a");
}

#[test]
fn records_are_those_that_go_writes() {
    let mut entry = with(typeflag::FILE, "a", &[("LINUXKIT.source", "s"), ("mtime", "5"), ("uid", "007"), ("SCHILY.xattr.user.x", "")]);
    entry.mtime = Time { seconds: 5, nanos: 0 };
    entry.atime = Some(Time { seconds: -1, nanos: 500_000_000 });
    // The record of a field stays where it says the same; one of its own stays as it is; an access time is always told.
    assert_eq!(records_of(&written(&[(entry, "")])), "21 LINUXKIT.source=s\n24 SCHILY.xattr.user.x=\n14 atime=-0.5\n11 mtime=5\n");
    let long = "x/".repeat(60) + "y";
    let entry = with(typeflag::FILE, &long, &[("k", "v")]);
    assert!(records_of(&written(&[(entry.clone(), "")])).contains(&format!("path={long}\n")));
    // Without a record of its own it is a plain header, its path split.
    let plain = written(&[(Entry { records: BTreeMap::new(), ..entry }, "")]);
    let header = Header::read_from_bytes(&plain.read_array::<512>(0).unwrap()).unwrap();
    assert_eq!((header.typeflag, header.path()), (typeflag::FILE, long.into_bytes()));
}

#[test]
fn what_no_header_holds_is_refused() {
    let cases = [
        (Entry { mode: 1 << 21, ..Entry::new(typeflag::FILE, "a", 0) }, "its mode is 2097152"),
        (Entry { device: (0, 1 << 22), ..Entry::new(typeflag::BLOCK_DEVICE, "a", 0) }, "its devminor is 4194304"),
        (Entry::new(typeflag::FILE, "a/", 0), "its path ends in '/'"),
    ];
    for (entry, words) in cases {
        let error = Writer::new(spool()).add(&entry, &Blob::default()).unwrap_err().to_string();
        assert!(error.contains("entry a") && error.contains(words), "{error}");
    }
}

#[test]
fn damage_is_named() {
    let whole = written(&[(Entry::new(typeflag::FILE, "a", 0o644), "abc"), (Entry::new(typeflag::SYMLINK, "l", 0o777), "")]);
    let read = |archive: &Blob| Entries::new(archive).collect::<Result<Vec<_>>>().map(|all| all.len());
    assert_eq!(read(&whole).unwrap(), 2);
    assert_eq!(read(&whole.slice(0..whole.len() - 1024)).unwrap(), 2, "the end may be missing");
    assert_eq!(read(&Blob::default()).unwrap(), 0);
    for (end, words) in [(514, "entry a: it is truncated: it needs 515 bytes of archive, there are 514"), (1300, "276 bytes into a header")]
    {
        let error = read(&whole.slice(0..end)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let mut bytes = whole.to_vec(1 << 20).unwrap();
    bytes[1024] ^= 1;
    let error = read(&bytes.clone().into()).unwrap_err().to_string();
    assert!(error.contains("at byte 1024 there should be the header of an entry"), "{error}");
    // A link has no content, whatever its header claims.
    bytes[1024] ^= 1;
    bytes[1024 + 134] = b'1';
    let mut header = Header::read_from_bytes(&bytes[1024..1536]).unwrap();
    header.seal();
    bytes[1024..1536].copy_from_slice(header.as_bytes());
    let error = read(&bytes.into()).unwrap_err().to_string();
    assert!(error.contains("entry l: its type '2' has no content"), "{error}");
}

proptest! {
    /// Whatever is written reads back, but for the records that belong to fields.
    #[test]
    fn entries_come_back(
        path in "[a-zä/.]{1,150}[a-z]", link in "[a-z/]{0,120}", mode in 0i64..1 << 21, uid in -5i64..1 << 40, mtime in -9_999_999_999i64..99_999_999_999,
        nanos in prop::sample::select(vec![0u32, 1, 500_000_000]), body in "[a-z]{0,700}", key in "[A-Z]{1,5}\\.[a-z]{1,5}", value in "[ -~\n]{0,40}",
    ) {
        let entry = Entry {
            link: link.into(), uid, mtime: Time { seconds: mtime, nanos }, uname: "ü".into(),
            ..with(typeflag::FILE, &path, &[(key.as_str(), value.as_str())])
        };
        let entry = Entry { mode, ..entry };
        let archive = written(&[(entry.clone(), body.as_str()), (Entry::new(typeflag::DIRECTORY, "d/", 0o755), "")]);
        let all = Entries::new(&archive).collect::<Result<Vec<_>>>().unwrap();
        prop_assert_eq!(all.len(), 2);
        let (mut back, content) = all[0].clone();
        prop_assert_eq!(content.to_vec(1 << 20).unwrap(), body.as_bytes());
        back.records.retain(|keyword, _| !BASIC.contains(&keyword.as_slice()));
        prop_assert_eq!(back, entry);
    }
}
