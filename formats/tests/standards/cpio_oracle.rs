//! GNU cpio and lsinitramfs judge our newc archives; gzip, zstd, xz and lz4 judge our streams, and we theirs.

use formats::{
    Blob, Silent, Tree,
    compress::{self, Codec, Encoding},
    cpio,
    tree::{Content, Device, Inode, Name},
};
use std::{
    fs,
    io::{Read, Write},
    num::NonZeroUsize,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Command, Stdio},
    thread,
};

/// What a program prints, given `input`. That it is missing or fails is a failure.
fn run(program: &str, arguments: &[&str], directory: &Path, input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).env("LC_ALL", "C").env("TZ", "UTC");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{program} is needed: {e}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        // A program may stop reading before the end: what it prints is what counts.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn tree() -> Tree {
    let plain = Blob::bytes(*b"content\n");
    let mut large = Blob::zeros(100_000);
    large.append(&Blob::bytes(*b"end"));
    let files = [
        ("bin", Content::Directory, 0o755),
        ("bin/tool", Content::File(large), 0o4755),
        ("dev", Content::Directory, 0o755),
        ("dev/console", Content::CharacterDevice(Device { major: 5, minor: 1 }), 0o600),
        ("dev/vda", Content::BlockDevice(Device { major: 254, minor: 300 }), 0o660),
        ("dev/pipe", Content::Fifo, 0o622),
        ("empty", Content::File(Blob::default()), 0o644),
        ("etc", Content::Directory, 0o1777),
        ("etc/file", Content::File(plain), 0o640),
        ("etc/link", Content::Symlink(b"../bin/tool".to_vec()), 0o777),
    ];
    let inode =
        |content, mode| Inode { content, mode, uid: 0, gid: 0, mtime: 1_700_000_000, mtime_nanos: 0, xattrs: Vec::new(), origin: None };
    let mut names: Vec<_> = (1..).zip(&files).map(|(inode, file)| Name { path: file.0.as_bytes().to_vec(), inode }).collect();
    names.push(Name { path: b"bin/second name".to_vec(), inode: 2 });
    names.push(Name { path: b"a".to_vec(), inode: 2 });
    names.sort();
    let root = inode(Content::Directory, 0o755);
    Tree { inodes: std::iter::once(root).chain(files.into_iter().map(|(_, content, mode)| inode(content, mode))).collect(), names }
}

fn archive() -> Vec<u8> {
    cpio::archive(&tree()).unwrap().to_vec(1 << 20).unwrap()
}

#[test]
fn gnu_cpio_lists_types_owners_devices_and_links() {
    let here = tempfile::tempdir().unwrap();
    let list = text(run("cpio", &["-itv", "--numeric-uid-gid", "--quiet"], here.path(), &archive()));
    let lines: Vec<_> = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "drwxr-xr-x 2 0 0 0 Nov 14 2023 .",
        "drwxr-xr-x 2 0 0 0 Nov 14 2023 bin",
        "-rwsr-xr-x 3 0 0 0 Nov 14 2023 a",
        "-rwsr-xr-x 3 0 0 0 Nov 14 2023 bin/second name",
        "-rwsr-xr-x 3 0 0 100003 Nov 14 2023 bin/tool",
        "drwxr-xr-x 2 0 0 0 Nov 14 2023 dev",
        "crw------- 1 0 0 5, 1 Nov 14 2023 dev/console",
        "prw--w--w- 1 0 0 0 Nov 14 2023 dev/pipe",
        "brw-rw---- 1 0 0 254, 300 Nov 14 2023 dev/vda",
        "-rw-r--r-- 1 0 0 0 Nov 14 2023 empty",
        "drwxrwxrwt 2 0 0 0 Nov 14 2023 etc",
        "-rw-r----- 1 0 0 8 Nov 14 2023 etc/file",
        "lrwxrwxrwx 1 0 0 11 Nov 14 2023 etc/link -> ../bin/tool",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn gnu_cpio_extracts_what_the_tree_has() {
    let here = tempfile::tempdir().unwrap();
    // Devices need privileges; the list above has them.
    let patterns = ["-idm", "--quiet", "--no-preserve-owner", "a", "bin", "bin/*", "empty", "etc", "etc/*"];
    run("cpio", &patterns, here.path(), &archive());
    let path = |name: &str| here.path().join(name);
    let tool = fs::read(path("bin/tool")).unwrap();
    assert!(tool.len() == 100_003 && tool.ends_with(b"\0end"));
    let (one, two, three) =
        (path("a").metadata().unwrap(), path("bin/tool").metadata().unwrap(), path("bin/second name").metadata().unwrap());
    assert!(one.ino() == two.ino() && two.ino() == three.ino() && one.nlink() == 3);
    assert_eq!((one.mtime(), one.permissions().mode() & 0o7777), (1_700_000_000, 0o4755));
    assert_eq!(fs::read_to_string(path("etc/file")).unwrap(), "content\n");
    assert_eq!(fs::read_link(path("etc/link")).unwrap(), Path::new("../bin/tool"));
    assert_eq!(path("etc").metadata().unwrap().permissions().mode() & 0o7777, 0o1777);
}

#[test]
fn lsinitramfs_lists_an_initrd_behind_an_early_cpio() {
    let here = tempfile::tempdir().unwrap();
    let root = Inode { content: Content::Directory, ..tree().inodes[0].clone() };
    let microcode = Inode { content: Content::File(Blob::bytes([7; 999])), mode: 0o644, ..root.clone() };
    let names = ["kernel", "kernel/x86", "kernel/x86/microcode", "kernel/x86/microcode/GenuineIntel.bin"];
    let early = Tree {
        inodes: vec![root.clone(), root.clone(), root.clone(), root, microcode],
        names: names.iter().zip(1..).map(|(path, inode)| Name { path: path.as_bytes().to_vec(), inode }).collect(),
    };
    let mut initrd = cpio::archive(&early).unwrap().to_vec(1 << 20).unwrap();
    initrd.extend(stream(Codec::Gzip, &archive()));
    fs::write(here.path().join("initrd.img"), initrd).unwrap();
    let list = text(run("lsinitramfs", &["initrd.img"], here.path(), b""));
    for name in ["kernel/x86/microcode/GenuineIntel.bin", "bin/second name", "dev/console", "etc/link"] {
        assert!(list.lines().any(|line| line == name), "{name} is not in:\n{list}");
    }
}

#[test]
fn gnu_cpio_is_read_back() {
    let here = tempfile::tempdir().unwrap();
    fs::create_dir(here.path().join("d")).unwrap();
    fs::write(here.path().join("d/file"), "twelve bytes").unwrap();
    for (format, has_checksum) in [("newc", false), ("crc", true)] {
        let theirs = Blob::from(run("cpio", &["-o", "--quiet", "-H", format], here.path(), b"d\nd/file\n"));
        let members: Vec<_> = cpio::Members::new(&theirs).collect::<Result<_, _>>().unwrap();
        assert_eq!(members.iter().map(|m| m.name.as_slice()).collect::<Vec<_>>(), [b"d".as_slice(), b"d/file"]);
        assert_eq!(members[1].body.to_vec(99).unwrap(), b"twelve bytes");
        let sum = b"twelve bytes".iter().map(|byte| u32::from(*byte)).sum();
        assert_eq!(members[1].checksum, has_checksum.then_some(sum));
    }
}

/// Words of very different lengths and a hole, several pieces of every codec.
fn sample() -> Blob {
    let mut words = Vec::new();
    (0..900_000_u32).for_each(|n| words.extend_from_slice(format!("{:x} ", n.wrapping_mul(n) >> 7).as_bytes()));
    let mut blob = Blob::from(words);
    blob.append(&Blob::zeros(20 << 20));
    blob.append(&Blob::bytes(*b"the end"));
    blob
}

fn stream(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let threads = NonZeroUsize::new(2).unwrap();
    Encoding::new(codec, None).unwrap().write(&Blob::from(bytes.to_vec()), threads, &Silent, &mut out).unwrap();
    out
}

#[test]
fn other_programs_read_our_streams() {
    let here = tempfile::tempdir().unwrap();
    let plain = sample().to_vec(1 << 28).unwrap();
    let codecs: [(Codec, &[&str]); 4] =
        [(Codec::Gzip, &["gzip", "pigz"]), (Codec::Zstd, &["zstd"]), (Codec::Xz, &["xz"]), (Codec::Lz4, &["lz4"])];
    for (codec, programs) in codecs {
        let packed = stream(codec, &plain);
        for program in programs {
            assert!(run(program, &["-dc"], here.path(), &packed) == plain, "{program} reads something else");
        }
        fs::write(here.path().join(format!("stream.{codec}")), packed).unwrap();
    }
    let list = text(run("xz", &["--robot", "--list", "stream.xz"], here.path(), b""));
    let file: Vec<_> = list.lines().find(|line| line.starts_with("file\t")).unwrap().split('\t').collect();
    // Streams, blocks, compressed and uncompressed size, ratio, checks.
    assert_eq!((file[1], file[2], file[6]), ("1", "2", "CRC32"), "{list}");
}

#[test]
fn we_read_streams_of_other_programs() {
    let here = tempfile::tempdir().unwrap();
    let plain = sample().slice(0..3_000_000).to_vec(1 << 28).unwrap();
    let programs: [(Codec, &str, &[&str]); 9] = [
        (Codec::Gzip, "gzip", &["-c"]),
        (Codec::Gzip, "pigz", &["-c"]),
        (Codec::Zstd, "zstd", &["-c"]),
        (Codec::Zstd, "zstd", &["-c", "-19"]),
        (Codec::Xz, "xz", &["-c"]),
        (Codec::Lzma, "xz", &["-c", "--format=lzma"]),
        (Codec::Lz4, "lz4", &["-l", "-c"]),
        (Codec::Lz4Frame, "lz4", &["-c"]),
        (Codec::Bzip2, "bzip2", &["-c"]),
    ];
    for (codec, program, arguments) in programs {
        let packed = run(program, arguments, here.path(), &plain);
        assert_eq!(Codec::sniff(&packed), codec, "{program} {arguments:?}");
        let mut read = Vec::new();
        compress::reader(codec, &packed[..]).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == plain, "{program} {arguments:?} reads back as something else");
    }
}

/// An initrd is a multiple of 4 bytes long, and the program zstd takes nothing behind a frame.
#[test]
fn a_frame_of_any_length_is_one_that_zstd_reads() {
    let directory = tempfile::tempdir().unwrap();
    for len in [0_usize, 1, 100, 255, 256, 65_791, 65_792, 300_000] {
        let plain: Vec<u8> = (0..len).map(|i| (i * i % 251).to_le_bytes()[0]).collect();
        let mut streamed = Vec::new();
        compress::zstd::frame(&Blob::from(plain.clone()), 3, &Silent, &mut streamed).unwrap();
        for frame in [compress::zstd::unit(&plain, 3).unwrap(), streamed] {
            let frame = Blob::from(frame);
            for missing in 0..4 {
                let longer = compress::zstd::lengthened(&frame, missing).unwrap().to_vec(u64::MAX).unwrap();
                assert_eq!((longer.len() as u64 - frame.len()) % 4, missing);
                assert!(run("zstd", &["-dc"], directory.path(), &longer) == plain, "{len} bytes, {missing} missing");
            }
        }
    }
}

/// A program may end with a complaint: its status, and what it printed.
fn status_of(program: &str, input: &[u8]) -> (bool, Vec<u8>) {
    let mut child = Command::new(program).args(["-dc"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    });
    (output.status.success(), output.stdout)
}

/// Streams of other programs behind each other, as far as the program takes them, and what it takes behind them.
#[test]
fn we_read_what_other_programs_read_and_refuse_what_they_refuse() {
    let here = tempfile::tempdir().unwrap();
    let plain = sample().slice(0..2_000_000).to_vec(1 << 28).unwrap();
    let (front, back) = plain.split_at(700_000);
    let pack = |program: &str, arguments: &[&str], bytes: &[u8]| run(program, arguments, here.path(), bytes);
    let programs: [(&str, &[&str], &[&str]); 9] = [
        ("gzip", &["-c"], &["-1c"]),
        ("zstd", &["-c"], &["-c", "--no-check"]),
        ("zstd", &["-c", "-9"], &["-c", "-T2"]),
        ("xz", &["-c", "-1"], &["-c", "-1", "--check=sha256"]),
        ("lz4", &["-c"], &["-c", "-9", "-BD", "-B4"]),
        ("lz4", &["-lc"], &["-c", "--no-frame-crc"]),
        ("lz4", &["-c", "-BX"], &["-lc"]),
        ("lz4", &["-lc"], &["-lc"]),
        ("bzip2", &["-c"], &["-1c"]),
    ];
    for (program, one, two) in programs {
        let (one, two) = (pack(program, one, front), pack(program, two, back));
        for between in [&b""[..], b"\0", &[0; 4], &[0; 512], b"\x50\x2a\x4d\x18\x03\0\0\0abc", b"junk and more"] {
            for (packed, is_last) in [([&one[..], between, &two].concat(), false), ([&one[..], &two, between].concat(), true)] {
                let mut read = Vec::new();
                let codec = Codec::of(&Blob::from(packed.clone())).unwrap();
                let is_read = compress::reader(codec, &packed[..]).unwrap().read_to_end(&mut read).is_ok();
                let (takes, theirs) = status_of(program, &packed);
                let what = format!("{program}, {} bytes {}", between.len(), if is_last { "behind" } else { "between" });
                if is_read {
                    assert!(read == plain, "{what}: reads as something else");
                }
                let expected = match program {
                    // gzip takes zeros for the end, with a warning where they are none: we read on.
                    "gzip" if between.iter().all(|byte| *byte == 0) => true,
                    // bzip2 calls zeros garbage, and takes garbage for the end, with a warning.
                    "bzip2" if !between.is_empty() => false,
                    _ => takes && theirs == plain,
                };
                assert_eq!(is_read, expected, "{what}: {program} takes it: {takes}");
            }
        }
    }
}

/// pzstd begins with a skippable frame.
#[test]
fn we_read_pzstd() {
    let plain = sample().to_vec(1 << 28).unwrap();
    let packed = run("pzstd", &["-qc"], Path::new("/"), &plain);
    assert_eq!(packed[..4], [0x50, 0x2a, 0x4d, 0x18]);
    let mut read = Vec::new();
    assert_eq!(Codec::of(&Blob::from(packed.clone())).unwrap(), Codec::Zstd);
    compress::reader(Codec::Zstd, &packed[..]).unwrap().read_to_end(&mut read).unwrap();
    assert!(read == plain);
}
