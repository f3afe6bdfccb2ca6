use super::*;
use crate::{
    ar,
    compress::Encoding,
    cpio, elf,
    tar::{Dialect, Writer},
    testing,
    tree::Inode,
};

const RELEASE: &str = "6.1.0-1-test";

/// A bzImage of this release, as far as anybody looks.
fn kernel(release: &str) -> Vec<u8> {
    let mut kernel = vec![0; 5 * 512 + 16];
    let mut put = |at: usize, bytes: &[u8]| kernel[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[4]);
    put(0x1f4, &[1]);
    put(0x1fe, b"\x55\xaa\xeb\x6aHdrS\x0f\x02");
    put(0x20e, &0x300_u16.to_le_bytes());
    put(0x211, &[1]);
    put(0x236, &[1]);
    put(0x238, &2047_u32.to_le_bytes());
    put(0x500, format!("{release} (us) #1\0").as_bytes());
    kernel
}

/// The tree of these files.
fn tree(files: &[(&str, Vec<u8>)]) -> Tree {
    let mut builder = Builder::default();
    for (path, body) in files {
        builder.add(path.as_bytes(), Inode::new(Content::File(Blob::bytes(body.as_slice())), 0o644)).unwrap();
    }
    builder.finish()
}

/// A tar of these files, with an end or without.
fn tarred(files: &[(&str, Vec<u8>)], has_end: bool) -> Vec<u8> {
    let mut writer = Writer::new(Dialect::Ustar);
    for (path, body) in files {
        writer.add(path.as_bytes(), &Inode::new(Content::File(Blob::bytes(body.as_slice())), 0o644)).unwrap();
    }
    let mut tar = writer.finish().to_vec(1 << 20).unwrap();
    while !has_end && tar.ends_with(&[0; 512]) {
        tar.truncate(tar.len() - 512);
    }
    tar
}

fn packed(codec: Codec, bytes: Vec<u8>) -> Vec<u8> {
    Encoding::new(codec, None).unwrap().compress(&Blob::from(bytes), &mut testing::env()).unwrap().to_vec(1 << 20).unwrap()
}

fn deb(codec: Codec, files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let control =
        b"Package: linux-image-test\nPre-Depends: dpkg (>= 1)\nDepends: linux-image-6.1.0-1 (= 6.1-1),\n linux-base:any | other\n";
    let control = tarred(&[("./control", control.to_vec())], true);
    let data = packed(codec, tarred(files, true));
    let name = format!("data.tar{}", codec.ending());
    ar::archive(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &packed(Codec::Gzip, control)), (&name, &data)])
}

fn header(strings: &[(u32, &[&str])]) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (tag, values) in strings {
        for number in [*tag, 8, u32::try_from(data.len()).unwrap(), u32::try_from(values.len()).unwrap()] {
            entries.extend(number.to_be_bytes());
        }
        values.iter().for_each(|value| data.extend(value.bytes().chain([0])));
    }
    let lens = [entries.len() / 16, data.len()].map(|len| u32::try_from(len).unwrap().to_be_bytes()).concat();
    [b"\x8e\xad\xe8\x01\0\0\0\0".as_slice(), &lens, &entries, &data].concat()
}

fn rpm(codec: Codec, files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut rpm = [b"\xed\xab\xee\xdb\x03\0\0\0".as_slice(), &[0; 88], &header(&[(1000, &["odd"])])].concat();
    rpm.resize(rpm.len().next_multiple_of(8), 0);
    rpm.extend(header(&[(1124, &["cpio"]), (1049, &["/bin/sh", "kernel-core-uname-r", "rpmlib(FileDigests)"])]));
    rpm.extend(packed(codec, cpio::archive(&tree(files)).unwrap().to_vec(1 << 20).unwrap()));
    rpm
}

fn apk(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let about = b"# by hand\npkgname = linux-virt\ndepend = linux-lts>=6\ndepend = !old\ndepend = /bin/sh\n".to_vec();
    let parts = [tarred(&[(".SIGN.RSA.it", vec![1])], false), tarred(&[(".PKGINFO", about)], false), tarred(files, true)];
    parts.map(|tar| packed(Codec::Gzip, tar)).concat()
}

fn module() -> Vec<u8> {
    elf::file(".modinfo", b"license=GPL\0", b"")
}

fn read(packages: &[Vec<u8>]) -> Result<KernelPackage> {
    let mut read = Packages::default();
    for package in packages {
        let file = Blob::bytes(package.as_slice());
        read.add(&file, probe(&file)?.expect("a package"), &mut testing::env())?;
    }
    read.finish()
}

/// What a distribution's kernel is, with what nobody wants.
fn files(kernel_at: &str, usr: &str) -> Vec<(String, Vec<u8>)> {
    [
        (kernel_at.to_owned(), kernel(RELEASE)),
        (format!("{usr}lib/modules/{RELEASE}/kernel/a.ko"), module()),
        (format!("{usr}lib/modules/{RELEASE}/modules.builtin"), b"kernel/b.ko\n".to_vec()),
        ("usr/share/doc/linux/copyright".to_owned(), b"free".to_vec()),
        (format!("boot/config-{RELEASE}"), b"CONFIG_MODULES=y".to_vec()),
    ]
    .into()
}

fn borrowed(files: &[(String, Vec<u8>)]) -> Vec<(&str, Vec<u8>)> {
    files.iter().map(|(path, body)| (path.as_str(), body.clone())).collect()
}

#[test]
fn a_kernel_and_its_modules_come_out_of_every_kind() {
    let among = format!("lib/modules/{RELEASE}/vmlinuz");
    for (at, usr) in
        [("boot/vmlinuz-6.1.0-1-test", ""), ("boot/vmlinuz-virt", "usr/"), (among.as_str(), ""), (&format!("usr/{among}"), "usr/")]
    {
        let files = files(at, usr);
        let files = borrowed(&files);
        let plain = tarred(&files, true);
        let packages = [
            deb(Codec::None, &files),
            deb(Codec::Xz, &files),
            deb(Codec::Zstd, &files),
            rpm(Codec::Zstd, &files),
            rpm(Codec::Gzip, &files),
            apk(&files),
            packed(Codec::Zstd, plain.clone()),
            plain,
        ];
        for (nth, package) in packages.into_iter().enumerate() {
            let found = read(&[package]).unwrap_or_else(|error| panic!("{at} {nth}: {error}"));
            assert_eq!(found.kernel.to_vec(1 << 20).unwrap(), kernel(RELEASE), "{at} {nth}");
            assert_eq!(found.release.as_deref(), Some(RELEASE));
            let names: Vec<_> = found.modules.names.iter().map(|name| String::from_utf8(name.path.clone()).unwrap()).collect();
            let below = |rest: &str| format!("lib/modules/{RELEASE}{rest}");
            let wanted =
                ["lib".into(), "lib/modules".into(), below(""), below("/kernel"), below("/kernel/a.ko"), below("/modules.builtin")];
            assert_eq!(names, wanted, "{at} {nth}");
        }
    }
}

#[test]
fn a_kernel_that_was_cut_into_packages_is_put_together() {
    let files = files(&format!("lib/modules/{RELEASE}/vmlinuz"), "");
    let files = borrowed(&files);
    let (core, modules) = (rpm(Codec::Zstd, &files[..1]), rpm(Codec::Xz, &files[1..3]));
    for packages in [[core.clone(), modules.clone()], [modules.clone(), core.clone()]] {
        assert_eq!(read(&packages).unwrap().modules.names.len(), 6);
    }
    // Ubuntu's.
    let alone = read(&[deb(Codec::Zstd, &[("boot/vmlinuz-5", kernel("5"))])]).unwrap();
    assert!(alone.release.is_none() && alone.modules.names.is_empty());
    let error = read(&[modules]).unwrap_err();
    assert_eq!(error.to_string(), format!("there are modules of {RELEASE} in it, and no kernel"));
    assert!(error.hint_text().unwrap().starts_with("give the package with the kernel, too"));
}

#[test]
fn a_package_that_only_names_others_says_which() {
    let files = [("usr/share/doc/copyright", b"free".to_vec())];
    for (package, depends) in [
        (deb(Codec::Xz, &files), "dpkg, linux-image-6.1.0-1, linux-base"),
        (rpm(Codec::Zstd, &files), "kernel-core-uname-r"),
        (apk(&files), "linux-lts"),
    ] {
        let error = read(&[package]).unwrap_err();
        assert_eq!(error.to_string(), "there is no kernel in it: neither boot/vmlinuz* nor lib/modules/*/vmlinuz");
        assert_eq!(error.hint_text().unwrap(), format!("it depends on these, one of which may have it: {depends}"));
    }
    let error = read(&[tarred(&files, true)]).unwrap_err();
    assert_eq!(error.hint_text().unwrap(), "give the package that has it");
}

#[test]
fn what_is_not_one_kernel_is_refused() {
    let one = |files: &[(&str, Vec<u8>)]| read(&[tarred(files, true)]).unwrap_err().to_string();
    let error = one(&[("boot/vmlinuz-1", kernel("1")), ("boot/vmlinuz-2", kernel("2"))]);
    assert_eq!(error, "there are 2 kernels in it, must be one: boot/vmlinuz-1, boot/vmlinuz-2");
    let error = one(&[("boot/vmlinuz-1", kernel("1")), ("lib/modules/1/a.ko", module()), ("lib/modules/2/a.ko", module())]);
    assert_eq!(error, "there are modules of 2 releases in it, must be of one: 1, 2");
    let error = one(&[("boot/vmlinuz-1", kernel("1")), ("lib/modules/2/a.ko", module())]);
    assert_eq!(error, "entry boot/vmlinuz-1: the kernel is of release 1, the modules are of 2: must be of one");
    let error = one(&[("boot/vmlinuz-\u{1b}1", b"no kernel".to_vec())]);
    assert_eq!(error, r"entry boot/vmlinuz-\u{1b}1: not a Linux kernel: neither a bzImage nor an Image");
    // Beside a kernel, one for debuggers.
    assert!(read(&[tarred(&[("boot/vmlinuz-1", kernel("1")), ("boot/vmlinux-1", b"\x7fELF".to_vec())], true)]).is_ok());
}

#[test]
fn what_is_no_package_is_none() {
    let library = ar::archive(&[("a.o", b"object")]);
    for bytes in [kernel("1"), packed(Codec::Gzip, kernel("1")), library, b"ADBx".to_vec(), Vec::new(), vec![0; 10_240]] {
        assert!(probe(&Blob::from(bytes)).unwrap().is_none());
    }
    let error = read(&[b"ADBd....".to_vec()]).unwrap_err();
    assert!(error.kind() == crate::Kind::Unsupported && error.to_string().contains("apk 3"), "{error}");
}

#[test]
fn damage_is_named() {
    let files = files("boot/vmlinuz", "");
    let files = borrowed(&files);
    let error = |package: Vec<u8>| read(&[package]).unwrap_err().to_string();
    let whole = deb(Codec::Xz, &files);
    assert!(error(whole[..whole.len() - 100].to_vec()).starts_with("archive member at byte "));
    let mut broken = whole.clone();
    let middle = whole.len() - 200;
    broken[middle] ^= 1;
    assert!(error(broken).starts_with("data.tar: the xz data"));
    assert!(error(ar::archive(&[("debian-binary", b"2.0\n")])).starts_with("it has no data.tar"));
    let whole = rpm(Codec::Zstd, &files);
    assert!(error(whole[..whole.len() - 10].to_vec()).starts_with("payload: the zstd data"));
    for (at, byte, words) in [
        (7, 1, "it is a source package"),
        (96, 0, "header of signatures: it begins with '\\x00"),
        (96 + 9, 1, "header of signatures: it has 65537 entries"),
        (96 + 12, 0x10, "268435460 bytes of data"),
        (96 + 13, 1, "header of signatures: the file ends in it"),
    ] {
        let mut broken = whole.clone();
        broken[at] = byte;
        let error = error(broken);
        assert!(error.contains(words), "{error}");
    }
    for len in 97..200 {
        assert!(read(&[whole[..len].to_vec()]).is_err(), "{len}");
    }
    let mut stripped = rpm(Codec::None, &files);
    let payload = stripped.windows(6).position(|bytes| bytes == b"070701").unwrap();
    stripped[payload + 5] = b'X';
    assert!(error(stripped).starts_with("its payload is a stripped cpio archive"));
}
