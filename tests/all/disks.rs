//! The commands around disk images, against `qemu-img`: the same verdicts, the same exit codes, the same numbers.

use crate::support::{
    images::write_test_tar,
    scratch, text,
    tools::{Finished, finish, moby, run, tool},
    ustar::{Kind, Ustar},
};
use formats::Blob;
use moby::outputs::OUTPUTS;
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

fn ours(arguments: &[&str]) -> Finished {
    finish(moby().arg("--quiet").args(arguments))
}

fn qemu_img(arguments: &[&str]) -> Finished {
    finish(tool("qemu-img").args(arguments))
}

/// A raw disk of so many MiB with some data at both ends, in the middle, and zeros that are data.
fn raw(path: &Path, mib: u64) {
    let file = File::create(path).unwrap();
    file.set_len(mib << 20).unwrap();
    let noise: Vec<u8> = (0..200_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    file.write_all_at(&noise, 0).unwrap();
    file.write_all_at(&[0; 100_000], 5 << 20).unwrap();
    file.write_all_at(&noise, (mib << 20) - 200_000).unwrap();
    file.write_all_at(&[0x55, 0xaa], 510).unwrap();
}

/// The disk of `raw`, as qemu-img makes it.
fn other(raw: &Path, format: &str, options: &str) -> String {
    let path = raw.with_extension(format!("{format}-{}", options.replace(['=', ','], "-")));
    let mut arguments = vec!["convert", "-f", "raw", "-O", format, text(raw), text(&path)];
    if !options.is_empty() {
        arguments.splice(1..1, ["-o", options]);
    }
    qemu_img(&arguments).success();
    text(&path).to_owned()
}

#[test]
fn disks_compare_as_qemu_img_compares_them() {
    let dir = scratch("disks-compare");
    let (a, b, longer) = (dir.join("a.raw"), dir.join("b.raw"), dir.join("longer.raw"));
    raw(&a, 9);
    fs::copy(&a, &b).unwrap();
    File::options().write(true).open(&b).unwrap().write_all_at(&[1], 7_000_001).unwrap();
    fs::copy(&a, &longer).unwrap();
    File::options().write(true).open(&longer).unwrap().set_len(11 << 20).unwrap();
    let files = [
        ("raw", text(&a).to_owned()),
        ("qcow2", other(&a, "qcow2", "")),
        ("vmdk", other(&a, "vmdk", "subformat=streamOptimized")),
        ("vhdx", other(&a, "vhdx", "")),
        ("vdi", other(&a, "vdi", "")),
        ("raw", text(&b).to_owned()),
        ("qcow2", other(&b, "qcow2", "cluster_size=512")),
        ("raw", text(&longer).to_owned()),
        ("vdi", other(&longer, "vdi", "")),
    ];
    // Each beside itself, beside the first and beside a longer one, both ways round.
    for (at, (format, first)) in files.iter().enumerate() {
        let is_paired = |to: usize| to == at || [at, to].iter().any(|file| [0, 8].contains(file));
        for (_, (other, second)) in files.iter().enumerate().filter(|(to, _)| is_paired(*to)) {
            for strict in [false, true] {
                // Qemu is strict about allocation, too, which is no matter of content.
                let (len, other_len) = (size(first, format), size(second, other));
                let mut wanted = vec!["compare", "-f", format, "-F", other, first, second];
                let mut given = vec!["compare", "--from", format, "--second-from", other, first, second];
                if strict && len != other_len {
                    wanted.push("-s");
                    given.push("--strict");
                }
                let (wanted, given) = (qemu_img(&wanted), ours(&given));
                assert_eq!(given.code(), wanted.code(), "{wanted}\n{given}");
                if let Some((_, offset)) = wanted.text().split_once("mismatch at offset ") {
                    // Qemu names the first byte of the sector, we the byte.
                    let offset: u64 = offset.trim_end_matches("!\n").parse().unwrap();
                    assert!(offset == 7_000_001 / 512 * 512 && given.text().contains("differ at offset 7000001."), "{wanted}\n{given}");
                }
            }
        }
    }
    assert_eq!(ours(&["compare", text(&a), "/nonexistent"]).code(), 2);
    assert_eq!(qemu_img(&["compare", text(&a), "/nonexistent"]).code(), 2);
}

fn size(file: &str, format: &str) -> String {
    let info = run("qemu-img", ["info", "--output=json", "-f", format, file]);
    info.split_once("\"virtual-size\": ").unwrap().1.split(',').next().unwrap().to_owned()
}

/// Sound, leaking, corrupt, not to be checked, not to be opened.
#[test]
fn a_check_ends_with_qemu_imgs_exit_codes() {
    let dir = scratch("disks-check");
    let disk = dir.join("disk.raw");
    raw(&disk, 9);
    let sound = other(&disk, "qcow2", "refcount_bits=8");
    let leaking = other(&disk, "qcow2", "refcount_bits=8,cluster_size=64K");
    let corrupt = other(&disk, "qcow2", "refcount_bits=8,cluster_size=32K");
    // The second cluster is the refcount table, the third the only refcount block. A cluster too many, and one counted too low.
    let len = fs::metadata(&leaking).unwrap().len();
    let file = File::options().write(true).open(&leaking).unwrap();
    file.set_len(len.next_multiple_of(65_536) + 65_536).unwrap();
    file.write_all_at(&[1], 65_536 * 2 + len.div_ceil(65_536)).unwrap();
    File::options().write(true).open(&corrupt).unwrap().write_all_at(&[0], 32_768 * 2 + 1).unwrap();
    let vdi = other(&disk, "vdi", "");
    let raw = text(&disk).to_owned();
    let cases = [("qcow2", &sound), ("qcow2", &leaking), ("qcow2", &corrupt), ("vdi", &vdi), ("raw", &raw)];
    let mut codes = Vec::new();
    for (format, path) in cases {
        let (wanted, given) = (qemu_img(&["check", "-f", format, path]), ours(&["check", path, "--from", format]));
        assert_eq!(given.code(), wanted.code(), "{wanted}\n{given}");
        codes.push(given.code());
        let json = ours(&["check", path, "--json"]);
        assert_eq!(json.code(), wanted.code());
        assert_eq!(json.stdout.is_empty(), json.code() == 63, "{json}");
    }
    assert_eq!(codes, [0, 3, 2, 0, 63]);
    assert_eq!(ours(&["check", "/nonexistent"]).code(), 1);
    assert_eq!(qemu_img(&["check", "/nonexistent"]).code(), 1);
}

/// Microcode as an early archive: a newc cpio of one file, padded as `cpio` pads.
fn microcode() -> Vec<u8> {
    let mut archive = Vec::new();
    let mut member = |name: &str, mode: u32, body: &[u8]| {
        let (size, len) = (body.len(), name.len() + 1);
        archive.extend(
            format!("070701{:08x}{mode:08x}{:0>32}{size:08x}{:0>32}{len:08x}{:08x}{name}\0", 1, 1, 0, 0).replace(' ', "0").into_bytes(),
        );
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(body);
        archive.resize(archive.len().next_multiple_of(4), 0);
    };
    member("kernel", 0o40_755, b"");
    member("kernel/x86/microcode/GenuineIntel.bin", 0o100_644, &[7; 5000]);
    member("TRAILER!!!", 0, b"");
    archive.resize(archive.len().next_multiple_of(512), 0);
    archive
}

fn tagged_tar(path: &Path) {
    let kernel = Blob::bytes(fs::read(crate::support::images::test_kernel()).unwrap());
    let tar = crate::support::tagged_tar::tagged_tar(&kernel, "console=ttyS0 a=\"b c\"", &crate::support::tagged_tar::odd_rootfs());
    crate::support::tagged_tar::write(&tar, path).unwrap();
}

/// A disk, the tar taken out of it, the same disk again; through every container and every codec.
#[test]
fn a_tar_out_of_a_disk_makes_the_same_disk() {
    let dir = scratch("disks-extract");
    let (tar, ucode) = (dir.join("in.tar"), dir.join("ucode.cpio"));
    tagged_tar(&tar);
    fs::write(&ucode, microcode()).unwrap();
    let path = |name: &str| text(&dir.join(name)).to_owned();
    for codec in ["auto", "gzip", "zstd", "none"] {
        let convert = |from: &str, to: &str, more: &[&str]| {
            let run = ours(&[&["convert", from, "-f", "raw", "-o", to, "--initrd-compression", codec], more].concat());
            assert!(run.code() == 0, "{run}");
        };
        convert(text(&tar), &path("first.img"), &["--ucode", text(&ucode)]);
        ours(&["extract", &path("first.img"), "tar", "-o", &path("out.tar")]).success();
        convert(&path("out.tar"), &path("second.img"), &[]);
        run("cmp", [path("first.img"), path("second.img")]);
        assert_eq!(ours(&["extract", &path("first.img"), "ucode"]).success().stdout, microcode(), "{codec}");
    }
    // Every output that is one file which boots: a row that is added to the table is tried here.
    let others = ["docker", "tar-kernel-initrd", "rpi3", "rpi4"];
    for output in OUTPUTS.iter().filter(|output| output.files.len() == 1 && !others.contains(&output.name)) {
        let format = output.name;
        let (first, out, second) = (path(&format!("first.{format}")), path("out.tar"), path(&format!("second.{format}")));
        ours(&["convert", text(&tar), "-f", format, "-o", &first]).success();
        ours(&["extract", &first, "-o", &out]).success();
        ours(&["convert", &out, "-f", format, "-o", &second]).success();
        run("cmp", [&first, &second]);
        for made in [&first, &second] {
            fs::remove_file(made).unwrap();
        }
    }
    assert!(run("tar", ["-tf", &path("out.tar")]).lines().any(|line| line == "bin/zsu"), "GNU tar lists it");
}

#[test]
fn parts_of_an_image_are_taken_out() {
    let dir = scratch("disks-parts");
    let (tar, disk) = (dir.join("in.tar"), dir.join("disk.qcow2"));
    tagged_tar(&tar);
    let (iso, uki) = (dir.join("cd.iso"), dir.join("unified.efi"));
    for made in [&disk, &iso, &uki] {
        ours(&["convert", text(&tar), "-o", text(made)]).success();
    }
    let kernel = fs::read(crate::support::images::test_kernel()).unwrap();
    for input in [&tar, &disk, &iso, &uki] {
        let part = |what: &str| ours(&["extract", text(input), what]);
        assert!(part("kernel").success().stdout == kernel);
        assert_eq!(part("cmdline").success().text(), "console=ttyS0 a=\"b c\"");
        assert_eq!(part("/bin/su").success().text(), "set-user-ID");
        assert_eq!(part("bin/zsu").success().text(), "set-user-ID");
        assert!(part("initrd").success().stdout.starts_with(&[0x1f, 0x8b]) || part("initrd").stdout.starts_with(b"\x28\xb5"));
        for (what, word) in [("ucode", "microcode"), ("bin/sh", "symbolic link to busybox"), ("tmp", "directory"), ("none", "no such file")]
        {
            let refused = part(what);
            assert!(refused.code() == 2 && refused.errors().contains(word), "{refused}");
        }
    }
    let entry = ours(&["extract", text(&disk), "esp:/loader/entries/moby.conf"]).success();
    assert!(entry.text().contains("options      console=ttyS0"), "{entry}");
}

#[test]
fn a_unified_kernel_image_says_what_it_is() {
    let dir = scratch("disks-uki");
    let (tar, uki) = (dir.join("in.tar"), dir.join("unified.efi"));
    tagged_tar(&tar);
    ours(&["convert", text(&tar), "-o", text(&uki)]).success();
    let facts: serde_json::Value = serde_json::from_str(&ours(&["inspect", "--json", text(&uki)]).success().text()).unwrap();
    assert_eq!((&facts["format"], &facts["boot"]["cmdline"]), (&"uki".into(), &"console=ttyS0 a=\"b c\"".into()), "{facts:#}");
    let listed = run("objdump", ["-h", text(&uki)]);
    for section in facts["sections"].as_array().unwrap() {
        let name = section["name"].as_str().unwrap();
        assert!(listed.contains(&format!(" {name} ")), "{name} is not in\n{listed}");
    }
    assert!(ours(&["compare", "--files", text(&tar), text(&uki)]).success().text().contains("the same"));
    for (input, to) in [(&tar, "from-tar.img"), (&uki, "from-uki.img")] {
        ours(&["convert", text(input), "--append", "debug", "-o", text(&dir.join(to))]).success();
    }
    run("cmp", [dir.join("from-tar.img"), dir.join("from-uki.img")]);
}

/// A CD that others made, without anything that our loaders know: its files are there, and it is a disk.
#[test]
fn a_cd_of_others_is_files_and_a_disk() {
    let dir = scratch("disks-cd");
    let (files, cd) = (dir.join("files"), dir.join("cd.iso"));
    fs::create_dir_all(files.join("boot")).unwrap();
    fs::write(files.join("boot/initrd.img"), "an initrd").unwrap();
    run("genisoimage", ["-quiet", "-R", "-o", text(&cd), text(&files)]);
    let facts = ours(&["inspect", text(&cd)]).success().text();
    assert!(facts.contains("format         raw") && facts.contains("file-system    ISO 9660"), "{facts}");
    assert!(ours(&["inspect", "--files", text(&cd)]).success().text().contains(" boot/initrd.img\n"));
    assert_eq!(ours(&["extract", text(&cd), "boot/initrd.img"]).success().text(), "an initrd");
    let refused = ours(&["extract", text(&cd), "kernel"]);
    assert_eq!(refused.code(), 2, "{refused}");
    ours(&["convert", text(&cd), "-f", "qcow2", "-o", text(&dir.join("cd.qcow2"))]).success();
    run("qemu-img", ["compare", text(&cd), text(&dir.join("cd.qcow2"))]);
}

/// Every fact that `qemu-img info` has of a qcow2 image stands in our report under the same key.
#[test]
fn inspect_speaks_as_qemu_img_info_does() {
    let dir = scratch("disks-inspect");
    let disk = dir.join("disk.raw");
    raw(&disk, 9);
    for options in
        ["compat=1.1", "compat=0.10,cluster_size=4096", "extended_l2=on,refcount_bits=8", "compression_type=zstd,lazy_refcounts=on"]
    {
        let file = other(&disk, "qcow2", options);
        run("qemu-img", ["snapshot", "-c", "first", &file]);
        let facts = |text: &str| -> Vec<String> {
            const KEYS: [&str; 12] = [
                "virtual-size",
                "filename",
                "cluster-size",
                "format",
                "actual-size",
                "compat",
                "compression-type",
                "lazy-refcounts",
                "refcount-bits",
                "corrupt",
                "extended-l2",
                "dirty-flag",
            ];
            let line = |key: &&str| text.lines().find(|line| line.trim_start().starts_with(&format!("\"{key}\": "))).map(str::trim);
            KEYS.iter().filter_map(line).map(|line| line.trim_end_matches(',').to_owned()).collect()
        };
        let wanted = facts(&run("qemu-img", ["info", "--output=json", &file]));
        let given = ours(&["inspect", &file, "--json"]).success();
        assert!(wanted.len() >= 8, "{wanted:?}");
        assert_eq!(facts(&given.text()), wanted, "{options}");
        assert!(given.text().contains("\"name\": \"first\""), "{given}");
    }
}

#[test]
fn files_are_listed_and_compared_and_equal_ones_found() {
    let dir = scratch("disks-files");
    let write = |name: &str, motd: &[u8], mode: u32, more: bool| {
        let path = dir.join(name);
        let mut tar = Ustar::new(File::create(&path).unwrap());
        tar.entry("boot/kernel", 0o644, Kind::File(&fs::read(crate::support::images::test_kernel()).unwrap())).unwrap();
        tar.entry("boot/cmdline", 0o644, Kind::File(b"quiet\n")).unwrap();
        tar.entry("etc/motd", 0o644, Kind::File(motd)).unwrap();
        tar.entry("bin/tool", mode, Kind::File(&[9; 3000])).unwrap();
        tar.entry("bin/same", 0o755, Kind::File(&[9; 3000])).unwrap();
        tar.entry("bin/link", 0o755, Kind::HardLink("bin/same")).unwrap();
        if more {
            tar.entry("new", 0o644, Kind::File(b"new")).unwrap();
        }
        tar.finish().unwrap();
        text(&path).to_owned()
    };
    let (old, new) = (write("old.tar", b"hello\n", 0o755, false), write("new.tar", b"help!\n", 0o700, true));
    let disk = text(&dir.join("old.qcow2")).to_owned();
    ours(&["convert", &old, "-o", &disk]).success();
    let same = ours(&["compare", "--files", &old, &disk]);
    assert_eq!(same.code(), 0, "{same}");
    let different = ours(&["compare", "--files", &disk, &new]);
    assert_eq!(different.code(), 1, "{different}");
    let lines = different.text();
    assert_eq!(lines, "bin/tool: mode 0755 and 0700\netc/motd: content from byte 3\nnew: only in the second\n");
    for input in [&old, &disk] {
        let listed = ours(&["inspect", "--files", input]).success().text();
        assert!(listed.lines().any(|line| line.starts_with("-0755") && line.ends_with(" 3000 bin/tool")), "{listed}");
        let equal = ours(&["inspect", "--duplicates", input]).success().text();
        assert!(equal.ends_with("1 kinds of equal files cost 2.9 KiB\n"), "{equal}");
    }
}

/// The disk that is made for a platform breaks none of its hard rules but the drivers, of which the test kernel has none to show;
/// a wrong one breaks the rule that it should.
#[test]
fn lint_says_why_a_platform_would_refuse_a_disk() {
    let dir = scratch("disks-lint");
    let tar = dir.join("in.tar");
    write_test_tar(&tar, 1);
    let path = |name: &str| text(&dir.join(name)).to_owned();
    let lint = |disk: &str, target: &str, code: i32, words: &[&str]| {
        let run = ours(&["lint", disk, "--target", target]);
        assert_eq!(run.code(), code, "{run}");
        for word in words {
            assert!(run.text().contains(word), "{word}: {run}");
        }
        assert_eq!(run.text().contains("error "), code == 2, "{run}");
        assert!(ours(&["lint", disk, "--target", target, "--json"]).text().starts_with('['));
    };
    for (target, format, file) in
        [("azure", "azure", "a.vhd"), ("gcp", "gcp", "g.img.tar.gz"), ("openstack", "qcow2", "o.qcow2"), ("aws", "aws", "w.raw")]
    {
        ours(&["convert", text(&tar), "--format", format, "--target", target, "-o", &path(file)]).success();
        lint(&path(file), target, 0, &["warning drivers: found a kernel that does not say what it has"]);
    }
    lint(&path("o.qcow2"), "azure", 2, &["error container: found qcow2; needed vhd; fix: moby convert IMAGE --format azure"]);
    lint(&path("a.vhd"), "aws", 2, &["error size: ", "a multiple of 1 GiB"]);
    ours(&["convert", text(&tar), "--format", "dynamic-vhd", "-o", &path("d.vhd")]).success();
    lint(&path("d.vhd"), "azure", 2, &["error container: found vhd, dynamic; needed vhd, fixed"]);
    ours(&["convert", text(&tar), "--format", "raw-bios", "-o", &path("b.img")]).success();
    lint(&path("b.img"), "vultr", 0, &["warning console: found ttyS0"][..0]);
    raw(&dir.join("none.raw"), 9);
    lint(&path("none.raw"), "metal", 2, &["unknown boot", "error partitions: found no GPT"]);
    assert_eq!(ours(&["lint", &path("b.img"), "--target", "mars"]).code(), 2);
}

/// The packaging of a disk is taken off: Compute Engine's tar, an OVA, and what compresses them.
#[test]
fn wrapped_disks_are_taken_out() {
    let dir = scratch("disks-wrapped");
    let tar = dir.join("in.tar");
    tagged_tar(&tar);
    let path = |name: &str| text(&dir.join(name)).to_owned();
    for (format, file) in [("gcp", "g.img.tar.gz"), ("ova", "o.ova"), ("raw", "r.img"), ("vmdk", "v.vmdk")] {
        ours(&["convert", text(&tar), "--format", format, "-o", &path(file)]).success();
    }
    run("xz", ["-k", "-0", &path("v.vmdk")]);
    run("zstd", ["-q", "-k", &path("o.ova")]);
    for file in ["o.ova", "o.ova.zst", "v.vmdk", "v.vmdk.xz"] {
        let compared = ours(&["compare", &path("r.img"), &path(file)]);
        assert_eq!(compared.code(), 0, "{compared}");
    }
    // Of whole GiB, so its backup GPT stands elsewhere; but it boots the same.
    let files = ours(&["compare", "--files", &path("g.img.tar.gz"), text(&tar)]);
    assert!(files.code() == 0, "{files}");
}

/// A file that a shell makes of another: `$1` and `$2`.
fn packed(script: &str, from: &Path, to: &str) -> String {
    let to = from.with_file_name(to);
    run("sh", ["-ec", script, "sh", text(from), text(&to)]);
    text(&to).to_owned()
}

/// What the codecs' own tools read whole, is read whole, and what they warn of is told.
#[test]
fn compressed_disks_are_read_to_their_end() {
    let dir = scratch("disks-compressed");
    let (disk, out) = (dir.join("disk.raw"), dir.join("out.img"));
    raw(&disk, 9);
    let halves = |program: &str| format!("head -c 4194304 \"$1\" | {program} > \"$2\"; tail -c +4194305 \"$1\" | {program} >> \"$2\"");
    let whole = [
        packed(&halves("lz4 -qc"), &disk, "frames.lz4"),
        packed("{ head -c 4194304 \"$1\" | lz4 -qlc; tail -c +4194305 \"$1\" | lz4 -qc; } > \"$2\"", &disk, "mixed.lz4"),
        packed(&halves("pzstd -qc"), &disk, "skippable.zst"),
        packed(&halves("bzip2 -c"), &disk, "streams.bz2"),
        packed("{ gzip -c \"$1\"; head -c 512 /dev/zero; } > \"$2\"", &disk, "padded.gz"),
    ];
    let with_garbage = [
        packed("{ bzip2 -c \"$1\"; echo garbage; } > \"$2\"", &disk, "garbage.bz2"),
        packed("{ gzip -c \"$1\"; echo garbage; } > \"$2\"", &disk, "garbage.gz"),
    ];
    for (file, warned) in whole.iter().map(|file| (file, false)).chain(with_garbage.iter().map(|file| (file, true))) {
        let arguments = ["convert", "--from", "raw", "-f", "raw", "-o", text(&out), file];
        let made = finish(moby().args(arguments)).success();
        assert_eq!(made.errors().contains("67 61 72 62 at byte"), warned, "{made}");
        assert_eq!(ours(&["compare", "--strict", text(&disk), text(&out)]).code(), 0, "{file}");
        let seen = finish(moby().args(["inspect", "--from", "raw", file])).success();
        assert_eq!(seen.errors().contains("67 61 72 62 at byte"), warned, "{seen}");
        fs::remove_file(&out).unwrap();
    }
    for (script, name) in [
        ("{ zstd -qc \"$1\"; echo garbage; } > \"$2\"", "garbage.zst"),
        ("{ xz -0c \"$1\"; echo garbage; } > \"$2\"", "garbage.xz"),
        ("{ lz4 -qc \"$1\"; echo garbage; } > \"$2\"", "garbage.lz4"),
    ] {
        let refused = ours(&["convert", "--from", "raw", "-f", "raw", "-o", text(&out), &packed(script, &disk, name)]);
        assert_eq!(refused.code(), 2, "{refused}");
        assert!(refused.errors().contains("67 61 72 62 at byte") && !out.exists(), "{refused}");
    }
    let mut flipped = fs::read(packed("zstd -qc \"$1\" > \"$2\"", &disk, "flipped.zst")).unwrap();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(dir.join("flipped.zst"), flipped).unwrap();
    let refused = ours(&["convert", "--from", "raw", "-f", "raw", "-o", text(&out), text(&dir.join("flipped.zst"))]);
    assert!(refused.code() == 2 && refused.errors().contains("the zstd data is damaged") && !out.exists(), "{refused}");
}

/// QEMU's way to say more of a backing file than its name, nested and flat.
#[test]
fn a_backing_file_may_be_described_in_json() {
    let dir = scratch("disks-json");
    let path = |name: &str| text(&dir.join(name)).to_owned();
    raw(&dir.join("base.raw"), 9);
    run("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", &path("base.raw"), &path("base.qcow2")]);
    for (name, backing) in [
        ("nested", r#"json:{"driver":"qcow2","file":{"driver":"file","filename":"base.qcow2"}}"#),
        ("flat", r#"json:{"driver":"qcow2","file.driver":"file","file.filename":"base.qcow2"}"#),
        ("raw", r#"json:{"driver":"file","filename":"base.raw"}"#),
    ] {
        let top = path(name);
        let format = if name == "raw" { "raw" } else { "qcow2" };
        run("qemu-img", ["create", "-q", "-u", "-f", "qcow2", "-b", backing, "-F", format, &top, "9M"]);
        let made = path(&format!("{name}.img"));
        ours(&["convert", &top, "--follow", "-o", &made]).success();
        run("cmp", [&made, &path("base.raw")]);
    }
    for (name, backing, words) in [
        ("offset", r#"json:{"driver":"raw","offset":"512","file":{"driver":"file","filename":"base.raw"}}"#, "the option offset"),
        ("nbd", r#"json:{"driver":"qcow2","file":{"driver":"nbd","host":"example"}}"#, "names no file"),
        ("http", r#"json:{"driver":"raw","file":{"driver":"http","filename":"base.raw"}}"#, "is read by http"),
    ] {
        let top = path(name);
        run("qemu-img", ["create", "-q", "-u", "-f", "qcow2", "-b", backing, "-F", "qcow2", &top, "9M"]);
        let refused = ours(&["convert", &top, "--follow", "-o", &path("made.img")]);
        assert!(refused.code() == 3 && refused.errors().contains(words), "{refused}");
    }
}

/// VirtualBox has a snapshot in a directory beside the disk, and says nowhere in it what that is called.
#[test]
fn the_parent_of_a_vdi_is_found_near_by() {
    let dir = scratch("disks-vdi-parent");
    let path = |name: &str| text(&dir.join(name)).to_owned();
    fs::create_dir(dir.join("Snapshots")).unwrap();
    raw(&dir.join("base.raw"), 9);
    raw(&dir.join("other.raw"), 8);
    for name in ["base", "other"] {
        ours(&["convert", "--from", "raw", &path(&format!("{name}.raw")), "-o", &path(&format!("{name}.vdi"))]).success();
    }
    fs::write(dir.join("empty.raw"), vec![0; 9 << 20]).unwrap();
    ours(&["convert", "--from", "raw", &path("empty.raw"), "-o", &path("Snapshots/child.vdi")]).success();
    let base = fs::read(dir.join("base.vdi")).unwrap();
    let mut child = fs::read(dir.join("Snapshots/child.vdi")).unwrap();
    child[76] = 4;
    child[424..456].copy_from_slice(&base[392..424]);
    fs::write(dir.join("Snapshots/child.vdi"), child).unwrap();
    ours(&["convert", &path("Snapshots/child.vdi"), "--follow", "-o", &path("made.img")]).success();
    run("cmp", [&path("made.img"), &path("base.raw")]);
    fs::remove_file(dir.join("base.vdi")).unwrap();
    let refused = ours(&["convert", &path("Snapshots/child.vdi"), "--follow", "-o", &path("again.img")]);
    assert!(refused.code() == 2 && refused.errors().contains("no file near by is the parent"), "{refused}");
}
