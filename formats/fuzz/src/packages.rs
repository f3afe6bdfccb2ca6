//! Packages of kernels, and modules: small ones, not compressed where that is allowed, for what is compressed does not survive a mutation.

use crate::readers::{archive_of, bzimage, compressed_by};
use formats::{
    Blob, Env, Result,
    compress::Codec,
    cpio,
    modules::{Modules, Set},
    package::{self, Packages},
    tree::{Builder, Content, Inode},
    units,
};

/// The files of a kernel: it, and a module.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("boot/vmlinuz-1", bzimage()),
        ("lib/modules/1/kernel/a.ko", module()),
        ("lib/modules/1/modules.builtin", b"kernel/b.ko\n".to_vec()),
    ]
}

fn tree(files: &[(&str, Vec<u8>)]) -> formats::Tree {
    let mut tree = Builder::default();
    for (path, bytes) in files {
        tree.add(path.as_bytes(), Inode::new(Content::File(Blob::bytes(bytes.as_slice())), 0o644)).expect("a plain path");
    }
    tree.finish()
}

/// deb(5), with a kernel and without.
pub(crate) fn debs() -> Vec<Vec<u8>> {
    let control = archive_of(&[("./control", b"Depends: linux-image-1 (= 1), a | b,\n c:any\n".to_vec())]);
    [archive_of(&files()), compressed_by(Codec::Gzip, &archive_of(&files())), archive_of(&[("usr/a", Vec::new())])]
        .into_iter()
        .map(|data| {
            let mut deb = b"!<arch>\n".to_vec();
            for (name, body) in [("debian-binary", &b"2.0\n"[..]), ("control.tar", &control), ("data.tar", &data)] {
                deb.extend(format!("{name:<48}{:<10}`\n", body.len()).bytes());
                deb.extend_from_slice(body);
                deb.resize(deb.len().next_multiple_of(2), b'\n');
            }
            deb
        })
        .collect()
}

/// Format 4 of rpm, with a kernel and without.
pub(crate) fn rpms() -> Vec<Vec<u8>> {
    let number = |value: usize| u32::try_from(value).expect("a small number").to_be_bytes();
    let header = |strings: &[(usize, &str)]| {
        let mut data = Vec::new();
        let mut entries = Vec::new();
        for (tag, text) in strings {
            entries.extend([number(*tag), number(8), number(data.len()), number(text.split('\0').count())].concat());
            data.extend(text.bytes().chain([0]));
        }
        [b"\x8e\xad\xe8\x01\0\0\0\0".as_slice(), &number(strings.len()), &number(data.len()), &entries, &data].concat()
    };
    [files(), vec![("usr/a", Vec::new())]]
        .into_iter()
        .map(|files| {
            let mut rpm = [b"\xed\xab\xee\xdb\x03\0\0\0".as_slice(), &[0; 88], &header(&[(1000, "a")])].concat();
            rpm.resize(rpm.len().next_multiple_of(8), 0);
            rpm.extend(header(&[(1124, "cpio"), (1049, "/bin/sh\0kernel-core")]));
            rpm.extend(cpio::archive(&tree(&files)).and_then(|cpio| cpio.to_vec(u64::MAX)).expect("plain files"));
            rpm
        })
        .collect()
}

/// Alpine's, with a kernel and without, and the tars in them.
pub(crate) fn apks() -> Vec<Vec<u8>> {
    let about = archive_of(&[(".PKGINFO", b"depend = linux-lts>=6\ndepend = !old\n".to_vec())]);
    let tar = [&about[..about.len() - 1024], &archive_of(&files())].concat();
    vec![compressed_by(Codec::Gzip, &tar), compressed_by(Codec::Gzip, &about), tar, about]
}

/// A module: an ELF file with `.modinfo`.
pub(crate) fn module() -> Vec<u8> {
    const NAMES: &[u8] = b"\0.shstrtab\0.modinfo\0";
    const INFO: &[u8] = b"alias=pci:v00001AF4d*\0depends=b,c-d\0softdep=pre: crypto-e post: f\0license=GPL\0";
    let at = |value: usize| units::bytes(value).to_le_bytes();
    let table = (64 + NAMES.len() + INFO.len()).next_multiple_of(8);
    let mut file = [b"\x7fELF\x02\x01".as_slice(), &[0; 34], &at(table), &[0; 10], &[64, 0, 3, 0, 1, 0], NAMES, INFO].concat();
    file.resize(table + 64, 0);
    for (name, offset, len) in [(1_u8, 64, NAMES.len()), (11, 64 + NAMES.len(), INFO.len())] {
        file.extend([[name, 0, 0, 0].as_slice(), &[1, 0, 0, 0], &[0; 16], &at(offset), &at(len), &[0; 24]].concat());
    }
    file.extend(b"~Module signature appended~\n");
    file
}

pub(crate) fn read_package(file: &[u8], env: &mut Env) -> Result<()> {
    let file = Blob::bytes(file);
    let Some(kind) = package::probe(&file)? else { return Err(formats::Error::bad_input("no package")) };
    let mut packages = Packages::default();
    packages.add(&file, kind, env)?;
    let package = packages.finish()?;
    Modules::of(&package.modules)?.select(&Set::All, env).map(drop)
}

/// Beside others, on which it may call.
pub(crate) fn read_module(file: &[u8], env: &mut Env) -> Result<()> {
    let files = ["a", "b", "c_d"].map(|name| (format!("lib/modules/1/{name}.ko"), if name == "a" { file.to_vec() } else { module() }));
    let modules = Modules::of(&tree(&files.each_ref().map(|(path, body)| (path.as_str(), body.clone()))))?;
    for set in [Set::Boot, Set::All, Set::Plus(vec!["a".into()])] {
        let chosen = modules.select(&set, env)?;
        assert_eq!(chosen.dep.lines().count(), chosen.modules.len());
        assert!(chosen.alias.lines().skip(1).all(|line| line.starts_with("alias ")), "{}", chosen.alias);
        assert!(chosen.softdep.lines().skip(1).all(|line| line.starts_with("softdep ")), "{}", chosen.softdep);
    }
    Ok(())
}
