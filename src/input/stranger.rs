//! What a file is that is no input of ours: its name, and what to do with it.

use crate::{
    error::{Error, Result},
    image::file_system,
};
use formats::{
    Blob,
    compress::Codec,
    kernel,
    units::{self, KIB},
};

/// Where a magic stands.
#[derive(Clone, Copy)]
enum At {
    Start(u64),
    /// So many bytes before the end.
    End(u64),
}

/// A magic, what has it, and what to do.
type Magic = (At, &'static [u8], &'static str, &'static str);

const UNPACK: &str = "unpack it, and give what is in it";
const CONVERT: &str = "have it converted to qcow2 or raw by the program that made it, or by qemu-img";
const DISK: &str = "give the disk itself";
const DECOMPRESS: &str = "decompress it first";
const BOOTED: &str = "put it into the tar of a root file system as boot/kernel, or give it with --kernel beside one";
const PACKAGE: &str =
    "install it into a root file system, and give a tar of that; one of a kernel goes with --kernel beside a root file system";
const DOCUMENT: &str = "if it was downloaded, look whether a server sent a message in the file's place";

const MAGICS: &[Magic] = &[
    // Archives.
    (At::Start(0), b"PK\x03\x04", "a ZIP archive in which no disk is", UNPACK),
    (At::Start(0), b"PK\x05\x06", "an empty ZIP archive", UNPACK),
    (At::Start(0), b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (At::Start(0), b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (At::Start(0), b"MSCF", "a Microsoft cabinet", UNPACK),
    (At::Start(0), b"xar!", "a xar archive", UNPACK),
    (At::Start(0), b"070701", "a cpio archive, an initrd", "boot it with a kernel as it is, or give a tar of its files"),
    (At::Start(0), b"070702", "a cpio archive with sums", "give a tar of its files"),
    (At::Start(0), b"070707", "a cpio archive of the old kind", "give a tar of its files"),
    (At::Start(0), b"!<arch>\n", "a Debian package, or a library of object files", PACKAGE),
    (At::Start(0), b"\xed\xab\xee\xdb", "an RPM package", PACKAGE),
    // Other compression.
    (At::Start(0), b"\x89LZO\0\r\n\x1a\n", "compressed by lzop", DECOMPRESS),
    (At::Start(0), b"LZIP\x01", "compressed by lzip", DECOMPRESS),
    (At::Start(0), b"\x1f\x9d", "compressed by compress", DECOMPRESS),
    (At::Start(0), b"zsync: ", "a description for zsync", DISK),
    // Disks that others have to convert.
    (At::End(512), b"koly", "an Apple disk image (DMG)", CONVERT),
    (At::Start(0), b"sprs", "an Apple sparse image", CONVERT),
    (At::Start(0), b"Bochs Virtual HD Image", "a disk of Bochs", CONVERT),
    (At::Start(0), b"COWD", "a sparse disk of ESX 3 (COWD)", CONVERT),
    (At::Start(0), b"SPARSE disk", "a disk of Plex86", CONVERT),
    (At::Start(0), b"VMA\0", "a backup of Proxmox (VMA)", "unpack it with `vma extract`, and give the disk"),
    (At::Start(0), b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop", "a compressed loop device (cloop)", CONVERT),
    (At::Start(0), b"\x3a\xff\x26\xed", "an Android sparse image", "make it raw with `simg2img`"),
    (At::Start(0), b"ANDROID!", "an Android boot image", BOOTED),
    (At::Start(0), b"MSWIM\0\0\0", "a Windows image (WIM)", "it is no disk; apply it to one"),
    (At::Start(0), b"EVF\x09\x0d\x0a\xff\0", "an EnCase image", "make it raw with `ewfexport`"),
    (At::Start(0), b"AFF10\r\n\0", "an AFF image", "make it raw with `affconvert`"),
    (At::Start(0), b"partclone-image", "an image of Partclone", "restore it to a raw file with `partclone.restore`"),
    (At::Start(0), b".eif", "an enclave image (EIF)", "it starts in an enclave and nowhere else; give what it was made of"),
    (At::Start(0), b"Cr24", "a browser extension", DISK),
    // Kernels and programs.
    (
        At::Start(0),
        b"\x7fELF",
        "an ELF program, or a kernel that is not packed for booting (vmlinux)",
        "a kernel is given as bzImage or Image",
    ),
    (At::Start(0), b"\x27\x05\x19\x56", "an image for U-Boot", "give the kernel that is in it: `dumpimage`"),
    (At::Start(0), b"\xd0\x0d\xfe\xed", "a device tree, or a FIT image for U-Boot", "give the kernel that is in it: `dumpimage`"),
    (At::Start(56), b"ARM\x64", "a Linux kernel for arm64", BOOTED),
    (At::Start(56), b"RSC\x05", "a Linux kernel for riscv64", BOOTED),
    (At::Start(0), b"MZ", "an EFI or Windows program without a kernel in it", "a unified kernel image has a section .linux"),
    // Documents.
    (At::Start(0), b"%PDF-", "a PDF document", DOCUMENT),
    (At::Start(0), b"SQLite format 3\0", "an SQLite database", DISK),
    (At::Start(0), b"\x89PNG\r\n\x1a\n", "a picture", DISK),
];

/// What is said of a file that nothing claims.
///
/// # Errors
/// When it cannot be read.
pub(super) fn refuse(file: &Blob) -> Result<Error> {
    if file.is_empty() {
        return Ok(Error::bad_input("is empty"));
    }
    Ok(match name(file)? {
        Some((what, hint)) => Error::bad_input(format!("is {what}")).hint(hint),
        None => Error::bad_input("is neither a tar nor a disk of a known format nor a unified kernel image")
            .hint("`moby formats` lists what is read; a disk without a partition table is raw: --from raw"),
    })
}

fn name(file: &Blob) -> Result<Option<(String, String)>> {
    let named = |what: &str, hint: &str| Ok(Some((what.to_owned(), hint.to_owned())));
    if kernel::is_bzimage(file)? {
        return named("a Linux kernel (bzImage), no disk", BOOTED);
    }
    // What is compressed once was unpacked before it came here.
    match Codec::of(file)? {
        Codec::None => {}
        codec => return named(&format!("compressed twice, with {} inside", codec.name()), DECOMPRESS),
    }
    for (at, magic, what, hint) in MAGICS {
        let len = units::bytes(magic.len());
        let at = match at {
            At::Start(at) => Some(*at),
            At::End(before) => file.len().checked_sub(*before),
        };
        if let Some(at) = at.filter(|at| at + len <= file.len())
            && file.slice(at..at + len).to_vec(len)? == *magic
        {
            return named(what, hint);
        }
    }
    if let Some(name) = file_system::of(file)? {
        let hint = "a disk that is nothing else: --from raw; to boot what is in it, give a tar of its files";
        return named(&format!("a volume of {name} without a partition table"), hint);
    }
    let head = file.slice(0..file.len().min(4 * KIB)).to_vec(4 * KIB)?;
    Ok(text(&head).map(|(what, hint)| (what.to_owned(), hint.to_owned())))
}

/// What a text is about.
fn text(head: &[u8]) -> Option<(&'static str, &'static str)> {
    let is_text = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~' | 0x80..);
    if !head.iter().all(is_text) {
        return None;
    }
    let text = String::from_utf8_lossy(head);
    let has_key = |key: &str| text.lines().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')));
    Some(match text.trim_start().chars().next() {
        Some('<') => ("a document in HTML or XML", DOCUMENT),
        Some('{' | '[') => ("a document in JSON", DOCUMENT),
        _ if has_key("kernel") || has_key("init") || has_key("onboot") || has_key("services") => {
            ("a LinuxKit configuration", "build it: moby build FILE.yml")
        }
        _ => ("a text", DOCUMENT),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(file: &Blob) -> String {
        let error = refuse(file).unwrap();
        format!("{error}; {}", error.hint_text().unwrap_or_default())
    }

    #[test]
    fn every_magic_names_what_has_it() {
        for (at, magic, what, hint) in MAGICS {
            let mut file = Blob::zeros(2048);
            let at = match at {
                At::Start(at) => *at,
                At::End(before) => 2048 - before,
            };
            file.replace(at, &Blob::bytes(*magic));
            assert_eq!(said(&file), format!("is {what}; {hint}"));
            assert!(!said(&file.slice(0..at + 1)).contains(what), "{what} is no magic of one byte");
        }
    }

    #[test]
    fn what_has_no_magic_is_named_too() {
        assert!(said(&Blob::default()).starts_with("is empty"));
        assert!(said(&Blob::zeros(4096)).contains("is neither a tar nor a disk"));
        let mut ext4 = Blob::zeros(4096);
        ext4.replace(1024 + 56, &Blob::bytes([0x53, 0xef]));
        assert!(said(&ext4).contains("a volume of ext2 without a partition table") && said(&ext4).contains("--from raw"));
        for (text, what) in [
            ("<!DOCTYPE html>", "HTML"),
            ("\n{\"errors\": []}", "JSON"),
            ("# mine\nkernel:\n  image: a\n", "LinuxKit configuration"),
            ("404 not found\n", "is a text"),
        ] {
            assert!(said(&Blob::bytes(text.as_bytes())).contains(what), "{text}");
        }
        assert!(said(&Blob::bytes(*b"\x1f\x8b\x08\0\0\0\0\0\0\0\0\0\0")).contains("compressed twice, with gzip inside"));
    }
}
