use super::*;
use crate::names::find;
use formats::{
    compress,
    tree::{Builder, Content, Inode},
};
use std::io::Read;

const ALL_CODECS: &[u8] = b"ZSTD-compressed data is corrupt\0Not a gzip file\0XZ-compressed data is corrupt\0";

fn env(threads: usize) -> Env {
    Env::scratch(threads)
}

fn inode(content: Content) -> Inode {
    Inode { content, mode: 0o644, uid: 0, gid: 0, mtime: 1, mtime_nanos: 0, xattrs: Vec::new(), origin: None }
}

/// A bzImage whose inside is not compressed, with a text in it.
fn kernel(text: &[u8]) -> Blob {
    const SETUP_LEN: usize = 5 * 512;
    let inside = [b"\x7fELF", text, &[0; 64]].concat();
    let mut file = vec![0; SETUP_LEN];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[4]);
    put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
    put(0x202, b"HdrS\x0f\x02");
    put(0x211, &[1]);
    put(0x238, &2047_u32.to_le_bytes());
    put(0x24c, &u32::try_from(inside.len()).unwrap().to_le_bytes());
    file.extend(inside);
    Blob::from(file)
}

/// Files of 3 MB that do not repeat each other, and a name that links the first and the last directory.
fn image(kernel: Blob) -> Image {
    let mut tree = Builder::default();
    for n in 0..8_u32 {
        let bytes: Vec<u8> = (0..750_000_u32).flat_map(|i| (i.wrapping_mul(i ^ n) >> 9).to_le_bytes()).collect();
        tree.add(format!("d{n}/file").as_bytes(), inode(Content::File(Blob::from(bytes)))).unwrap();
    }
    tree.hard_link(b"z/link", b"d0/file").unwrap();
    Image { kernel, cmdline: Cmdline::new("quiet").unwrap(), ucode: None, rootfs: tree.finish(), boot: Builder::default().finish() }
}

fn build(image: &Image, compression: InitrdCompression, threads: usize) -> Result<Payload> {
    let facts = Kernel::identify(&image.kernel)?.facts();
    Payload::build(image, compression, None, Some(&facts), &mut env(threads))
}

/// The archives of an initrd, unpacked, as Linux would: each in turn by its magic, zeros between them skipped.
fn unpacked(initrd: &Blob, codec: Codec) -> Blob {
    let (mut plain, mut rest) = (Vec::new(), initrd.clone());
    while rest.to_vec(1 << 30).unwrap().iter().any(|byte| *byte != 0) {
        let mut stream = compress::stream(codec, rest.reader()).unwrap();
        stream.read_to_end(&mut plain).unwrap();
        let taken = stream.taken();
        drop(stream);
        rest = rest.slice(taken..rest.len());
    }
    Blob::from(plain)
}

fn names(archives: &Blob) -> Vec<Vec<u8>> {
    cpio::Members::new(archives).map(|member| member.unwrap().name).collect()
}

#[test]
fn every_codec_holds_the_whole_tree_and_no_number_of_threads_changes_it() {
    let image = image(kernel(ALL_CODECS));
    let expected = names(&cpio::archive(&image.rootfs).unwrap());
    for codec in [Codec::Zstd, Codec::Gzip, Codec::Lz4, Codec::None] {
        let one = build(&image, InitrdCompression::Fixed(codec), 1).unwrap();
        let three = build(&image, InitrdCompression::Fixed(codec), 3).unwrap();
        let bytes = |payload: &Payload| payload.initrd.as_ref().unwrap().to_vec(1 << 30).unwrap();
        assert!(bytes(&one) == bytes(&three) && one.digest() == three.digest(), "{codec} depends on threads");
        assert_eq!(bytes(&one).len() % 4, 0);
        let initrd = one.initrd.unwrap();
        // Padding is for the whole: the stream ends before it.
        let plain = if codec == Codec::Zstd { unpacked_frames(&initrd) } else { unpacked(&initrd, codec) };
        assert_eq!(names(&plain), expected, "{codec}");
    }
}

/// Frames with zeros behind the last one.
fn unpacked_frames(initrd: &Blob) -> Blob {
    let bytes = initrd.to_vec(1 << 30).unwrap();
    let frames = bytes.windows(4).filter(|w| Codec::sniff(w) == Codec::Zstd).count();
    assert!(frames > 2, "{frames} frames");
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    (end..=bytes.len())
        .find_map(|end| {
            let mut plain = Vec::new();
            compress::reader(Codec::Zstd, &bytes[..end]).unwrap().read_to_end(&mut plain).is_ok().then(|| Blob::from(plain))
        })
        .expect("whole frames")
}

/// How the archive behind the microcode is compressed.
fn codec(payload: &Payload) -> Codec {
    Codec::of(payload.initrd.as_ref().unwrap()).unwrap()
}

#[test]
fn auto_asks_the_kernel() {
    let chosen = |text: &[u8]| {
        let payload = build(&image(kernel(text)), InitrdCompression::Auto, 2).unwrap();
        (codec(&payload), payload.warnings())
    };
    assert_eq!(chosen(ALL_CODECS), (Codec::Zstd, vec![]));
    assert_eq!(chosen(b"Not a gzip file\0"), (Codec::Gzip, vec![]));
    assert_eq!(chosen(b"chunk length is longer than allocated\0"), (Codec::Lz4, vec![]));
    let (codec, warnings) = chosen(b"nothing");
    assert!(codec == Codec::Gzip && warnings[0].contains("does not say"), "{warnings:?}");
}

#[test]
fn a_kernel_that_cannot_be_asked_gets_gzip_and_a_note() {
    let mut bytes = kernel(b"").to_vec(1 << 20).unwrap();
    bytes[5 * 512..][..4].copy_from_slice(b"\x89LZO");
    let payload = build(&image(Blob::from(bytes)), InitrdCompression::Auto, 2).unwrap();
    assert_eq!(codec(&payload), Codec::Gzip);
    assert!(payload.warnings()[0].contains("LZO"));
}

#[test]
fn a_codec_that_the_kernel_lacks_is_a_warning() {
    let image = image(kernel(b"Not a gzip file\0"));
    let payload = build(&image, InitrdCompression::Fixed(Codec::Lz4), 2).unwrap();
    assert_eq!(payload.warnings(), ["the kernel cannot unpack an initrd compressed with lz4: it has gzip"]);
}

#[test]
fn microcode_comes_first_as_it_is() {
    let mut image = image(kernel(ALL_CODECS));
    let mut early = Builder::default();
    early.add(b"kernel/x86/microcode/GenuineIntel.bin", inode(Content::File(Blob::bytes([1; 301])))).unwrap();
    let early = cpio::archive(&early.finish()).unwrap();
    image.ucode = Some(early.clone());
    let with = build(&image, InitrdCompression::Auto, 2).unwrap();
    let initrd = with.initrd.as_ref().unwrap();
    assert_eq!(initrd.slice(0..early.len()).to_vec(1 << 20).unwrap(), early.to_vec(1 << 20).unwrap());
    assert_eq!(Codec::of(&initrd.slice(early.len()..initrd.len())).unwrap(), Codec::Zstd);
    image.ucode = Some(Blob::bytes(*b"\x1f\x8b\x08 compressed"));
    assert!(build(&image, InitrdCompression::Auto, 2).unwrap_err().to_string().starts_with("CPU microcode"));
}

#[test]
fn an_empty_tree_has_no_initrd() {
    let mut image = image(kernel(ALL_CODECS));
    image.rootfs = Builder::default().finish();
    assert!(build(&image, InitrdCompression::Auto, 2).unwrap().initrd.is_none());
}

#[test]
fn what_an_initrd_cannot_hold_is_told_once() {
    let mut image = image(kernel(ALL_CODECS));
    let mut tree = Builder::default();
    for n in 0..9 {
        let xattrs = vec![(b"security.capability".to_vec(), vec![1])];
        tree.add(format!("bin/{n}").as_bytes(), Inode { xattrs, mtime: -1, ..inode(Content::Fifo) }).unwrap();
    }
    image.rootfs = tree.finish();
    let warnings = build(&image, InitrdCompression::Auto, 2).unwrap().warnings();
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].ends_with("security.capability stay behind, of bin/0, bin/1, bin/2, bin/3, bin/4 and 4 more"), "{warnings:?}");
}

#[test]
fn the_digest_tells_payloads_apart() {
    let image = image(kernel(ALL_CODECS));
    let digest = |image: &Image| *build(image, InitrdCompression::Auto, 2).unwrap().digest();
    let same = digest(&image);
    assert_eq!(same, digest(&image));
    assert_ne!(same, digest(&Image { cmdline: Cmdline::new("other").unwrap(), ..image.clone() }));
    assert_ne!(same, digest(&Image { kernel: kernel(&[ALL_CODECS, b"2"].concat()), ..image.clone() }));
    let mut other = image;
    other.rootfs.inodes[2].mode = 0o600;
    assert_ne!(same, digest(&other));
}

#[test]
fn names_of_compressions_are_checked() {
    for name in ["auto", "gzip", "zstd", "xz", "lz4", "none"] {
        assert_eq!(find::<InitrdCompression>(name).unwrap().name(), name);
    }
    let error = find::<InitrdCompression>("deflate").unwrap_err();
    assert!(error.kind() == Kind::BadInput && error.hint_text().unwrap().contains("auto, gzip"), "{error}");
}
