//! Kernels as users have them, compressed or not, and what becomes of them.

use crate::support::{
    guest::Arch,
    images::write_test_tar,
    scratch, text,
    tools::{Finished, finish, moby, run},
};
use std::{fs, path::Path};

fn convert(dir: &Path, arguments: &[&str]) -> Finished {
    finish(moby().args(["convert", "--quiet", "--dir", text(dir)]).arg(dir.join("guest.tar")).args(arguments))
}

/// Compressed by others, a kernel makes the same disk as the plain one; as a file of its own it stays as it is, unless the user wants
/// it unpacked.
#[test]
fn a_compressed_arm64_kernel() {
    let dir = scratch("kernel-arm64");
    write_test_tar(&dir.join("guest.tar"), 1);
    let plain = Arch::Arm64.debian("kernel");
    let common = ["--arch", "arm64", "--initrd-compression", "none"];
    convert(&dir, &[&["-f", "raw,uki", "--kernel", text(&plain), "--name", "plain"][..], &common].concat()).success();
    // What others read it with is `formats/tests/standards`' to say.
    for command in ["gzip -1", "zstd -1"] {
        let kernel = dir.join("kernel");
        run("sh", ["-c", &format!("{command} <\"$1\" >\"$2\""), "sh", text(&plain), text(&kernel)]);
        let given = [&["-f", "raw,uki,kernel+initrd", "--kernel", text(&kernel), "--name", "packed"][..], &common].concat();
        convert(&dir, &given).success();
        for ending in [".img", ".efi"] {
            run("cmp", [dir.join("plain").with_extension(&ending[1..]), dir.join("packed").with_extension(&ending[1..])]);
        }
        run("cmp", [&kernel, &dir.join("packed-kernel")]);
        convert(&dir, &["-f", "kernel+initrd", "--kernel", text(&kernel), "--name", "unpacked", "--decompress-kernel"]).success();
        run("cmp", [&plain, &dir.join("unpacked-kernel")]);
    }
    let error = convert(&dir, &["-f", "raw", "--kernel", text(&plain), "--arch", "amd64"]);
    assert_eq!((error.code(), error.errors().contains("the kernel is for aarch64, --arch says x86_64")), (2, true));
}

/// What is in a bzImage is an ELF file, as binutils see it.
#[test]
fn a_bzimage_unpacked() {
    let dir = scratch("kernel-amd64");
    write_test_tar(&dir.join("guest.tar"), 1);
    let kernel = Arch::Amd64.debian("kernel");
    convert(&dir, &["-f", "tar-kernel-initrd", "--kernel", text(&kernel), "--decompress-kernel"]).success();
    run("tar", ["-C", text(&dir), "-xf", text(&dir.join("guest-initrd.tar")), "kernel"]);
    let header = run("readelf", ["-h", text(&dir.join("kernel"))]);
    assert!(header.contains("Advanced Micro Devices X86-64") && header.contains("EXEC"), "{header}");
    let strings = run("strings", ["-n", "30", text(&dir.join("kernel"))]);
    assert!(strings.lines().any(|line| line.starts_with("Linux version 6.")), "it has no banner");
}

/// Nobody must believe that a wish was heeded which was not.
#[test]
fn what_an_output_does_not_heed_is_refused() {
    let dir = scratch("kernel-settings");
    write_test_tar(&dir.join("guest.tar"), 1);
    for (format, wish) in [
        ("iso", &["--size", "1G"][..]),
        ("kernel+initrd", &["--root", "squashfs"]),
        ("uki", &["--data-part", "data=1G"]),
        ("raw", &["--decompress-kernel"]),
        ("kernel+squashfs", &["--boot", "bios"]),
        ("kernel+erofs", &["--initrd-compression", "gzip"]),
        ("iso-efi", &["--initrd-level", "1"]),
        ("docker", &["--initrd-compression", "none"]),
        ("iso", &["--compress"]),
    ] {
        let refused = convert(&dir, &[&["-f", format], wish].concat());
        let words = format!("{} has no effect on {format}", wish[0]);
        assert!(refused.code() == 3 && refused.errors().contains(&words), "{refused}");
    }
    for wish in ["--snapshot=a", "--force", "--follow"] {
        let refused = convert(&dir, &["-f", "raw", wish]);
        let words = format!("{} is for a disk, and this is none", wish.split('=').next().unwrap());
        assert!(refused.code() == 3 && refused.errors().contains(&words), "{refused}");
    }
    // The root of a disk that is in a partition needs no initrd.
    let refused = convert(&dir, &["-f", "raw", "--root", "squashfs", "--initrd-level", "1"]);
    assert!(refused.code() == 3 && refused.errors().contains("--initrd-level has no effect on raw"), "{refused}");
    convert(&dir, &["-f", "iso,raw", "--size", "300M"]).success();
}

/// A kernel goes in as its distribution hands it out, or as it is installed, and comes out as if it had been given alone.
#[test]
fn a_kernel_in_its_package() {
    let dir = scratch("kernel-package");
    write_test_tar(&dir.join("guest.tar"), 1);
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/debian/kernel-packages");
    let (deb, root) = (packages.join("linux-image.deb"), dir.join("root"));
    run("dpkg-deb", ["-x", text(&deb), text(&root)]);
    let bare = run("sh", ["-c", "ls -d \"$1\"/boot/vmlinuz-*", "sh", text(&root)]);
    for (name, kernel) in [("bare", bare.trim()), ("deb", text(&deb)), ("directory", text(&root))] {
        convert(&dir, &["-f", "kernel+initrd", "--kernel", kernel, "--name", name]).success();
        run("cmp", [&dir.join(format!("{name}-kernel")), Path::new(bare.trim())]);
        run("cmp", [dir.join(format!("{name}-initrd.img")), dir.join("bare-initrd.img")]);
    }
    let refused = |kernels: &[&str], words: &str| {
        let kernels: Vec<_> = kernels.iter().flat_map(|kernel| ["--kernel", kernel]).collect();
        let refused = convert(&dir, &[&["-f", "raw"], kernels.as_slice()].concat());
        assert!(refused.code() == 2 && refused.errors().contains(words), "{words} is not in\n{refused}");
    };
    let named = packages.join("linux-image-cloud.deb");
    refused(&[text(&named)], &format!("--kernel {}: there is no kernel in it", named.display()));
    refused(&[text(&named)], "it depends on these, one of which may have it: linux-image-6.1.");
    refused(&[text(&deb), bare.trim()], "is a kernel, and others are given with it");
    let cut = dir.join("cut.deb");
    fs::write(&cut, &fs::read(&deb).unwrap()[..1 << 20]).unwrap();
    refused(&[text(&cut)], "cut.deb: archive member at byte ");
    refused(&[text(&dir.join("guest.tar"))], "guest.tar: there is no kernel in it");
}
