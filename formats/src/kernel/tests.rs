use super::*;
use crate::{Silent, compress::Encoding};
use proptest::prelude::*;
use std::num::NonZeroUsize;

fn packed(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let encoding = Encoding::new(codec, None).unwrap();
    encoding.write(&Blob::from(bytes.to_vec()), NonZeroUsize::MIN, &Silent, &mut out).unwrap();
    out
}

/// A kernel's inside, about as large as a small one, with a few texts in it.
fn inside(texts: &[&[u8]]) -> Vec<u8> {
    let mut kernel = b"\x7fELF".to_vec();
    for text in texts {
        kernel.resize(kernel.len() + 700_000, 0x90);
        kernel.extend_from_slice(text);
    }
    kernel
}

fn bzimage_of(payload: &[u8]) -> Blob {
    const SETUP_LEN: usize = 5 * 512;
    let mut file = vec![0; SETUP_LEN];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &0x40u32.to_le_bytes());
    put(0x40, b"PE\0\0\x64\x86");
    put(0x1f1, &[4]);
    put(0x1f4, &u32::try_from((16 + payload.len()).div_ceil(16)).unwrap().to_le_bytes());
    put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
    put(0x202, b"HdrS\x0f\x02");
    put(0x20e, &0x300u16.to_le_bytes());
    put(0x211, &[1]);
    put(0x236, &[0x3f, 0]);
    put(0x238, &2047u32.to_le_bytes());
    put(0x248, &16u32.to_le_bytes());
    put(0x24c, &u32::try_from(payload.len()).unwrap().to_le_bytes());
    put(0x500, b"6.1.0-test (us) #1\0");
    file.resize(SETUP_LEN + 16, 0xcc);
    file.extend_from_slice(payload);
    Blob::from(file)
}

fn image(machine: &[u8; 4]) -> Vec<u8> {
    let mut image = inside(&[b"Not a gzip file\0"]);
    image[..4].copy_from_slice(b"MZ\0\0");
    image[0x38..0x3c].copy_from_slice(machine);
    image
}

fn unpacked(kernel: &Kernel) -> Result<Vec<u8>> {
    kernel.unpack(&mut Spool::scratch())?.to_vec(1 << 24)
}

#[test]
fn a_bzimage_and_what_is_in_it() {
    let banner: &[u8] = b"Linux version 6.1.0-test (us) #1\n\0";
    let kernel = inside(&[b"Linux version %s", banner, b"ZSTD-compressed data is corrupt\0", b"chunk length is longer than allocated\0"]);
    for codec in [Codec::Gzip, Codec::Zstd, Codec::Xz, Codec::Lz4, Codec::None] {
        let mut payload = packed(codec, &kernel);
        if !matches!(codec, Codec::Gzip | Codec::None) {
            payload.extend(u32::try_from(kernel.len()).unwrap().to_le_bytes());
        }
        let found = Kernel::identify(&bzimage_of(&payload)).unwrap();
        assert_eq!((found.arch, found.codec, found.has_efi_stub), (Arch::X86_64, Some(codec), true));
        assert_eq!(found.version.as_deref(), Some("6.1.0-test (us) #1"));
        assert!(matches!(found.form, Form::BzImage { protocol: 0x020f, cmdline_max: 2047, .. }));
        let facts = found.facts().unwrap();
        assert_eq!(facts.banner.as_deref(), Some("Linux version 6.1.0-test (us) #1"), "{codec}");
        assert_eq!(facts.initramfs_codecs, [Codec::Zstd, Codec::Lz4]);
        assert!(facts.squashfs_codecs.is_empty());
        assert_eq!(unpacked(&found).unwrap(), kernel, "{codec}");
    }
}

#[test]
fn a_configuration_in_the_kernel_has_the_last_word() {
    let config = b"CONFIG_BLK_DEV_INITRD=y\nCONFIG_RD_XZ=y\nCONFIG_SQUASHFS=y\nCONFIG_SQUASHFS_ZLIB=y\n# CONFIG_RD_ZSTD is not set\nCONFIG_LOCALVERSION=\"-x\"\n";
    let texts = [b"IKCFG_ST".to_vec(), packed(Codec::Gzip, config), b"IKCFG_ED".to_vec()].concat();
    // Once within a chunk, once across the end of one.
    for before in [1, 1_048_560 - 700_000] {
        let kernel = inside(&[b"ZSTD-compressed data is corrupt\0", &texts]);
        let kernel = [&vec![0; before][..], &kernel].concat();
        let facts = scan::facts(&mut &kernel[..]).unwrap();
        assert_eq!(facts.initramfs_codecs, [Codec::Xz]);
        let config = facts.config.unwrap();
        assert_eq!(facts.squashfs_codecs, [Codec::Gzip]);
        assert_eq!((config.get("CONFIG_LOCALVERSION"), config.get("CONFIG_RD_ZSTD")), (Some("\"-x\""), None));
    }
}

#[test]
fn a_version_is_two_numbers() {
    let version = |banner: &str| scan::Facts { banner: Some(banner.to_owned()), ..scan::Facts::default() }.version();
    assert_eq!(version("Linux version 6.12.117+deb13-cloud-amd64 (debian)"), Some((6, 12)));
    assert_eq!(version("Linux version 7.0-rc1"), Some((7, 0)));
    assert_eq!((version("Linux version next"), scan::Facts::default().version()), (None, None));
}

#[test]
fn a_kernel_says_what_squashfs_it_reads() {
    let texts = ["zstd workspace", "xz workspace"].map(|text| format!("\x013SQUASHFS error: Failed to allocate {text}\n\0").into_bytes());
    let kernel = inside(&[&texts[0], &texts[1]]);
    assert_eq!(scan::facts(&mut &kernel[..]).unwrap().squashfs_codecs, [Codec::Zstd]);
}

#[test]
fn images_plain_compressed_and_in_zboot() {
    let arm64 = image(b"ARM\x64");
    let plain = Kernel::identify(&Blob::from(arm64.clone())).unwrap();
    assert_eq!((plain.arch, plain.form), (Arch::Aarch64, Form::Image));
    assert_eq!(Kernel::identify(&Blob::from(image(b"RSC\x05"))).unwrap().arch, Arch::Riscv64);
    for codec in [Codec::Gzip, Codec::Zstd, Codec::Xz, Codec::Lz4] {
        let found = Kernel::identify(&Blob::from(packed(codec, &arm64))).unwrap();
        assert_eq!((found.arch, found.form, found.codec), (Arch::Aarch64, Form::CompressedImage, Some(codec)));
        assert_eq!(unpacked(&found).unwrap(), arm64);
        assert_eq!(found.facts().unwrap().initramfs_codecs, [Codec::Gzip]);
        let payload = packed(codec, &arm64);
        let mut zboot = b"MZ\0\0zimg\x80\0\0\0".to_vec();
        zboot.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
        zboot.extend([0; 8]);
        zboot.extend(codec.name().as_bytes());
        zboot.resize(0x3c, 0);
        zboot.extend(b"\x40\0\0\0PE\0\0\x64\xaa");
        zboot.resize(0x80, 0);
        zboot.extend(payload);
        let found = Kernel::identify(&Blob::from(zboot)).unwrap();
        assert_eq!((found.arch, found.form, found.has_efi_stub), (Arch::Aarch64, Form::Zboot, true));
        assert_eq!(unpacked(&found).unwrap(), arm64);
        assert_eq!(found.facts().unwrap().initramfs_codecs, [Codec::Gzip]);
    }
}

#[test]
fn what_is_no_kernel_is_refused_with_words() {
    let refusal = |bytes: &[u8]| Kernel::identify(&Blob::from(bytes.to_vec())).unwrap_err().to_string();
    assert_eq!(refusal(b""), "the kernel is empty");
    assert!(refusal(b"\x7fELF\x02").contains("an ELF file (vmlinux)"));
    assert!(refusal(b"#!/bin/sh\n").contains("not a Linux kernel"));
    assert!(refusal(&packed(Codec::Gzip, b"text")).contains("no Image in it"));
    let whole = bzimage_of(&packed(Codec::Gzip, b"x")).to_vec(1 << 20).unwrap();
    assert!(refusal(&whole[..2565]).contains("2565"));
    let lzo = Kernel::identify(&bzimage_of(b"\x89LZO\0\r\n\x1a\n")).unwrap();
    assert!(lzo.facts().unwrap_err().to_string().contains("LZO"));
    let damaged = Kernel::identify(&bzimage_of(&packed(Codec::Gzip, &inside(&[b"x"]))[..99])).unwrap();
    assert!(damaged.facts().unwrap_err().to_string().starts_with("kernel: the gzip data"));
    let error = unpacked(&damaged).unwrap_err();
    assert_eq!(error.kind(), crate::Kind::BadInput);
    assert!(error.to_string().starts_with("kernel: the gzip data"));
    assert!(unpacked(&lzo).unwrap_err().to_string().contains("LZO"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 0usize..0x300, junk in prop::collection::vec(any::<u8>(), 1..30)) {
        let mut file = bzimage_of(&packed(Codec::Gzip, b"kernel")).to_vec(1 << 20).unwrap();
        file[at..at + junk.len()].copy_from_slice(&junk);
        let _: Result<Facts> = Kernel::identify(&Blob::from(file)).and_then(|kernel| kernel.facts());
    }
}
