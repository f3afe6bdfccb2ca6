use super::*;
use formats::{
    Silent,
    compress::Encoding,
    tree::{Content, Inode},
};
use std::{
    io::Write,
    num::NonZeroUsize,
    process::{Command, Stdio},
};

/// An archive of one file.
fn archive(name: &str) -> Vec<u8> {
    let mut tree = Builder::default();
    let mut body = Blob::from(name.repeat(999).into_bytes());
    body.append(&Blob::zeros(300_000));
    tree.add(name.as_bytes(), Inode::new(Content::File(body), 0o644)).unwrap();
    cpio::archive(&tree.finish()).unwrap().to_vec(1 << 20).unwrap()
}

/// By a program, which reads its standard input.
fn by(program: &str, arguments: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(bytes).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{program}");
    output.stdout
}

fn packed(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Lzma => by("xz", &["-c", "--format=lzma"], bytes),
        Codec::Bzip2 => by("bzip2", &["-c"], bytes),
        Codec::Lz4Frame => by("lz4", &["-c"], bytes),
        codec => {
            let mut out = Vec::new();
            let encoding = Encoding::new(codec, None).unwrap();
            encoding.write(&Blob::from(bytes.to_vec()), NonZeroUsize::MIN, &Silent, &mut out).unwrap();
            out
        }
    }
}

fn read(initrd: Vec<u8>) -> Result<Initrd> {
    Initrd::read(&Blob::from(initrd), &mut Spool::scratch())
}

/// The names in an initrd, each of which has to have its whole body.
fn names(initrd: Vec<u8>) -> Vec<String> {
    let tree = read(initrd).unwrap().rootfs;
    let names = tree.names.iter().map(|name| {
        let Content::File(body) = &tree.inodes[name.inode].content else { panic!("{name:?}") };
        let path = String::from_utf8(name.path.clone()).unwrap();
        assert_eq!(body.len(), 999 * path.len() as u64 + 300_000);
        path
    });
    names.collect()
}

#[test]
fn every_part_is_read_whatever_stands_before_it() {
    use Codec::{Bzip2, Gzip, Lz4, Lz4Frame, Lzma, None, Xz, Zstd};
    let codecs = [Gzip, Zstd, Xz, Lzma, Bzip2, Lz4Frame, Lz4, None];
    let parts: Vec<_> = codecs.map(|codec| [packed(codec, &archive("one")), packed(codec, &archive("two"))]).to_vec();
    for ([one, _], first) in parts.iter().zip(codecs) {
        for ([_, two], second) in parts.iter().zip(codecs) {
            for zeros in [0, 1, 3, 4, 512, 5000] {
                // Where nothing tells the end of the legacy frame of lz4 from its next block. Its own magic does, and so does cpio's.
                if first == Lz4 && zeros < 4 && ![Lz4, Lz4Frame, None].contains(&second) || first == Lz4 && (1..4).contains(&zeros) {
                    continue;
                }
                // Linux looks for an archive that is not compressed at multiples of 4 alone.
                if first == None && second == None && zeros % 4 != 0 {
                    continue;
                }
                let initrd = [&one[..], &vec![0; zeros], two].concat();
                assert_eq!(names(initrd), ["one", "two"], "{first}, {zeros} zeros, {second}");
            }
        }
    }
}

#[test]
fn many_parts_with_plain_ones_between_are_read() {
    let parts = [
        (Codec::Zstd, "a"),
        (Codec::None, "b"),
        (Codec::Gzip, "c"),
        (Codec::Xz, "d"),
        (Codec::None, "e"),
        (Codec::None, "f"),
        (Codec::Zstd, "g"),
    ];
    let mut initrd = Vec::new();
    for (codec, name) in parts {
        initrd.extend(packed(codec, &archive(name)));
        initrd.resize(initrd.len().next_multiple_of(4), 0);
    }
    assert_eq!(names(initrd.clone()), ["a", "b", "c", "d", "e", "f", "g"]);
    assert_eq!(read(initrd).unwrap().codec, Some(Codec::Zstd));
}

#[test]
fn what_linux_would_not_unpack_is_refused_with_its_place() {
    let refusal = |bytes: Vec<u8>| {
        let error = read(bytes).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::BadInput);
        error.to_string()
    };
    let one = packed(Codec::Zstd, &archive("one"));
    let text = refusal([&one[..], b"\0\0\0\0something else"].concat());
    assert_eq!(text, format!("byte {}: the initrd goes on with neither a cpio archive nor a compressed one", one.len() + 4));
    // One archive in two frames.
    let whole = archive("one");
    let (front, back) = whole.split_at(512);
    let text = refusal([packed(Codec::Zstd, front), packed(Codec::Zstd, back)].concat());
    assert!(text.starts_with("byte 0: zstd archive: "), "{text}");
    // The second of two has a flipped bit.
    let mut flipped = one.repeat(2);
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    assert!(refusal(flipped).starts_with(&format!("byte {}: zstd archive: the zstd data is damaged", one.len())));
}
