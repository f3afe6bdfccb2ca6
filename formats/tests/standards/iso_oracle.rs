//! ISO 9660 volumes against xorriso, isoinfo and bsdtar.
//!
//! `tests/setup.sh` installs the programs; a missing one is a failure.

use formats::{
    Blob, Timestamp, Tree,
    iso9660::{self, BLOCK, BootImage, Catalog, DESCRIPTORS_END, Volume},
    tar::Members,
    tree::{Builder, Content, Device, Inode, ShowPath},
    units::{GIB, MIB},
};
use proptest::prelude::*;
use std::{collections::HashMap, ffi::OsStr, fs, os::unix::fs::FileExt, path::Path, process::Command};

fn output(program: &str, args: &[&dyn AsRef<OsStr>]) -> (Vec<u8>, String) {
    let mut command = Command::new(program);
    command.args(args.iter().map(|arg| arg.as_ref())).env("TZ", "UTC").env("LC_ALL", "C.UTF-8");
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}; tests/setup.sh installs what the tests need"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{}{errors}", output.status, String::from_utf8_lossy(&output.stdout));
    (output.stdout, errors)
}

/// Runs a program that must succeed and have nothing to complain of; what it printed.
fn run(program: &str, args: &[&dyn AsRef<OsStr>]) -> String {
    let (text, errors) = output(program, args);
    for word in ["WARNING", "SORRY", "FAILURE", "Warning", "warning"] {
        assert!(!errors.contains(word), "{program}: {errors}");
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// xorriso on an image, which it reads and judges.
fn xorriso(image: &Path, commands: &[&str]) -> String {
    let mut args: Vec<&dyn AsRef<OsStr>> = vec![&"-report_about", &"NOTE", &"-return_with", &"WARNING", &"32", &"-indev", &image];
    args.extend(commands.iter().map(|word| word as &dyn AsRef<OsStr>));
    run("xorriso", &args)
}

/// Writes a blob as a sparse file.
fn put(path: &Path, blob: &Blob) {
    let file = fs::File::create(path).unwrap();
    file.set_len(blob.len()).unwrap();
    for extent in blob.extents() {
        file.write_all_at(&blob.slice(extent.start..extent.end()).to_vec(GIB).unwrap(), extent.start).unwrap();
    }
}

fn volume(tree: &Tree) -> Volume<'_> {
    Volume {
        tree,
        identifier: "MOBY_TEST",
        application: "MOBY",
        time: Timestamp(1_700_000_001),
        joliet: false,
        boot: None,
        start: DESCRIPTORS_END,
        placed: Vec::new(),
        tail: 0,
        size_multiple: BLOCK,
    }
}

fn pattern(len: usize, seed: usize) -> Blob {
    Blob::from((0..len).map(|i| (i.wrapping_mul(seed + 1) >> 3).to_le_bytes()[0] ^ 0x5a).collect::<Vec<u8>>())
}

/// Everything that a root file system may have and ISO 9660 holds; the longest target of a symbolic link has so many bytes.
fn odd_tree(longest: usize) -> Tree {
    let mut builder = Builder::default();
    let mut add = |path: &[u8], content, mode| builder.add(path, Inode { mtime: 1_492_533_000, ..Inode::new(content, mode) }).unwrap();
    let symlink = |target: &[u8]| Content::Symlink(target.to_vec());
    add(b"", Content::Directory, 0o711);
    add(b"init", Content::File(pattern(10_000, 1)), 0o755);
    add(b"bin/su", Content::File(pattern(2048, 2)), 0o4755);
    add(b"bin/wall", Content::File(pattern(2049, 3)), 0o2755);
    add(b"tmp", Content::Directory, 0o1777);
    add(b"empty", Content::File(Blob::default()), 0o600);
    add(b"dev/console", Content::CharacterDevice(Device { major: 5, minor: 1 }), 0o600);
    add(b"dev/nvme0n1p1", Content::BlockDevice(Device { major: 259, minor: 255 }), 0o660);
    add(b"dev/whiteout", Content::CharacterDevice(Device { major: 0, minor: 0 }), 0o000);
    add(b"dev/initctl", Content::Fifo, 0o640);
    for (n, target) in [
        &b"busybox"[..],
        b"/",
        b"/usr/bin/env",
        b"../../lib/./x",
        b".",
        b"..",
        b"/a/../b",
        b"//x",
        b"a//b/",
        &b"../".repeat(300)[..899],
        &[b't'; 255],
        &b"long/".repeat(819)[..longest],
    ]
    .into_iter()
    .enumerate()
    {
        add(format!("links/{n}").as_bytes(), symlink(target), 0o777);
    }
    add(&[b"names/".as_slice(), &[b'n'; 253]].concat(), Content::File(pattern(3, 4)), 0o644);
    add(&[b"names/".as_slice(), &[b'n'; 252]].concat(), symlink(&b"both/long/".repeat(80)), 0o777);
    for name in ["UPPER", "upper", "Upper.TXT", "a b", ".hidden", "größe", "trailing.", "semi;1", "dir.with.dots/x"] {
        add(format!("names/{name}").as_bytes(), Content::File(pattern(100, name.len())), 0o644);
    }
    add(b"names/not utf-8 \xff, new\nline", Content::File(pattern(5, 5)), 0o644);
    add(&b"deep/".repeat(40), Content::Directory, 0o755);
    add(&[b"deep/".repeat(40).as_slice(), b"file"].concat(), Content::File(pattern(70_000, 6)), 0o640);
    (0..1500)
        .for_each(|n| add(format!("many/A rather long name of a file, number {n}").as_bytes(), Content::File(pattern(n % 7, n)), 0o644));
    (0..300).for_each(|n| add(format!("subdirectories/{n}/x").as_bytes(), Content::File(Blob::default()), 0o644));
    let owned = Inode { uid: 4_000_000_000, gid: 100_000, ..Inode::new(Content::File(pattern(77, 7)), 0o640) };
    for (path, mtime) in [(&b"times/first"[..], -2_208_988_800), (b"times/last", 5_869_583_999), (b"times/2038", 1 << 31)] {
        builder.add(path, Inode { mtime, ..owned.clone() }).unwrap();
    }
    builder.hard_link(b"a hard link", b"bin/su").unwrap();
    builder.hard_link(b"zz", b"bin/su").unwrap();
    builder.finish()
}

/// A line for each name: what must survive.
fn lines(tree: &Tree) -> Vec<String> {
    let mut first: HashMap<usize, &[u8]> = HashMap::new();
    let root = (&b"."[..], 0);
    let names = std::iter::once(root).chain(tree.names.iter().map(|name| (name.path.as_slice(), name.inode)));
    let line = |(path, index): (_, usize)| {
        let inode = &tree.inodes[index];
        let what = match &inode.content {
            Content::File(body) => format!("{} bytes, CRC-32 {:08x}", body.len(), crc32fast::hash(&body.to_vec(GIB).unwrap())),
            Content::Symlink(target) => format!("-> {}", target.escape_ascii()),
            Content::CharacterDevice(device) | Content::BlockDevice(device) => format!("{device:?}"),
            Content::Directory | Content::Fifo => String::new(),
        };
        let mode = inode.content.type_bits() | inode.mode;
        let first = ShowPath(first.entry(index).or_insert(path)).to_string();
        format!("{} {mode:o} {}:{} {} {what} is {first}", ShowPath(path), inode.uid, inode.gid, inode.mtime)
    };
    names.map(line).collect()
}

/// The tree that bsdtar finds in an image, by way of a tar.
fn read_back(image: &Path) -> Tree {
    let tar = image.with_extension("tar");
    let mut at = std::ffi::OsString::from("@");
    at.push(image);
    output("bsdtar", &[&"-cf", &tar, &"--format", &"pax", &at]);
    let mut builder = Builder::default();
    for member in Members::new(&Blob::from(fs::read(&tar).unwrap())) {
        member.unwrap().add_to(&mut builder).unwrap();
    }
    builder.finish()
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let desk = tempfile::tempdir().unwrap();
    let image = desk.path().join("tree.iso");
    let tree = odd_tree(4095);
    for joliet in [false, true] {
        put(&image, &Volume { joliet, ..volume(&tree) }.write().unwrap());
        let (expected, found) = (lines(&tree), lines(&read_back(&image)));
        for (expected, found) in expected.iter().zip(&found) {
            assert_eq!(expected, found);
        }
        assert_eq!(expected.len(), found.len());
    }
}

#[test]
fn our_reader_finds_what_was_written() {
    let tree = odd_tree(4095);
    for joliet in [false, true] {
        let volume = Volume { joliet, ..volume(&tree) }.write().unwrap();
        assert!(iso9660::probe(&volume).unwrap());
        let found = iso9660::read(&volume).unwrap();
        assert_eq!(lines(&tree), lines(&found));
        assert_eq!(self::volume(&tree).write().unwrap().sha256().unwrap(), self::volume(&found).write().unwrap().sha256().unwrap());
    }
}

/// What cdrtools and libisofs wrote, as libarchive and we read it: with Rock Ridge, where cdrtools moves deep directories, with Joliet
/// alone, and with neither.
#[test]
fn volumes_of_others_are_read_as_bsdtar_reads_them() {
    let desk = tempfile::tempdir().unwrap();
    let (files, image) = (desk.path().join("files"), desk.path().join("foreign.iso"));
    let deep = files.join("1/2/3/4/5/6/7/8/9");
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("deep"), "deep").unwrap();
    fs::write(files.join("A long name, with Capitals.txt"), pattern(10_000, 1).to_vec(MIB).unwrap()).unwrap();
    fs::write(files.join("empty"), "").unwrap();
    fs::hard_link(files.join("1/2").join("../../empty"), files.join("empty too")).unwrap();
    fs::hard_link(files.join("A long name, with Capitals.txt"), files.join("again")).unwrap();
    std::os::unix::fs::symlink("../x/./y//z", files.join("link")).unwrap();
    std::os::unix::fs::symlink(format!("/{}", "long/".repeat(15)), files.join("long link")).unwrap();
    (0..200).for_each(|n| fs::write(files.join(format!("1/number {n}")), n.to_string()).unwrap());
    for (program, options) in [
        ("genisoimage", &["-R"][..]),
        ("genisoimage", &["-J"]),
        ("genisoimage", &["-D"]),
        ("xorriso", &["-as", "mkisofs", "-R"]),
        ("xorriso", &["-as", "mkisofs", "-R", "-J", "-hfsplus"]),
    ] {
        let mut arguments: Vec<&dyn AsRef<OsStr>> = options.iter().map(|option| option as &dyn AsRef<OsStr>).collect();
        arguments.extend([&"-quiet" as &dyn AsRef<OsStr>, &"-o", &image, &files]);
        output(program, &arguments);
        let read = iso9660::read(&Blob::from(fs::read(&image).unwrap())).unwrap();
        let mut lists = [lines(&read), lines(&read_back(&image))];
        if !options.contains(&"-R") {
            // Without Rock Ridge there is nothing about modes and hard links, and libarchive leaves capitals as they are.
            let is_mode = |word: &str| (5..=6).contains(&word.len()) && word.parse::<u32>().is_ok();
            let known = |line: &String| {
                let line = line.split(" is ").next().unwrap_or_default().to_lowercase();
                line.split(' ').filter(|word| !is_mode(word)).collect::<Vec<_>>().join(" ")
            };
            lists = lists.map(|list| list.iter().map(known).collect());
            lists.iter_mut().for_each(|list| list.sort());
        }
        let [ours, theirs] = lists;
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{program} {options:?}");
        }
        assert_eq!(ours.len(), theirs.len(), "{program} {options:?}");
        // Without Rock Ridge, cdrtools leaves out what is deeper than 8 levels, unless told to keep it.
        let has_deep = ours.iter().any(|line| line.contains("/deep ") && line.contains(" 4 bytes"));
        assert_eq!(has_deep, options != ["-J"], "{program} {options:?}: {ours:#?}");
    }
}

#[test]
fn a_volume_that_leads_in_circles_is_refused() {
    let mut builder = Builder::default();
    builder.add(b"a/b", Inode::new(Content::Directory, 0o755)).unwrap();
    let mut bytes = volume(&builder.finish()).write().unwrap().to_vec(MIB).unwrap();
    // The records of `a` and of `b`: the identifier stands behind 33 bytes, of which the last is its length, and PX behind it; the extent is at 2.
    let record = |name: &[u8], bytes: &[u8]| bytes.windows(4).position(|w| w[..2] == *name && w[2..] == *b"PX").unwrap() - 32;
    let (a, b) = (record(b"\x01A", &bytes), record(b"\x01B", &bytes));
    let extent = bytes[a + 2..a + 10].to_vec();
    bytes[b + 2..b + 10].copy_from_slice(&extent);
    let error = iso9660::read(&Blob::from(bytes)).unwrap_err().to_string();
    assert!(error.contains("a directory stands in itself"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Damage is an error or another tree, never a panic, and no memory beyond the volume's.
    #[test]
    fn damage_makes_no_panic(places in prop::collection::vec((0usize..16_384, any::<u8>()), 1..20), cut in any::<prop::sample::Index>()) {
        static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let bytes = BYTES.get_or_init(|| {
            let mut builder = Builder::default();
            builder.add(b"dir/file", Inode::new(Content::File(pattern(3000, 1)), 0o644)).unwrap();
            builder.add(b"dir/link", Inode::new(Content::Symlink(b"long/".repeat(200)), 0o777)).unwrap();
            builder.add(b"dev", Inode::new(Content::BlockDevice(Device { major: 8, minor: 1 }), 0o600)).unwrap();
            volume(&builder.finish()).write().unwrap().to_vec(MIB).unwrap()
        });
        let mut damaged = bytes.clone();
        // Behind the system area, where everything stands.
        for (at, byte) in places {
            let at = 32_768 + at % (damaged.len() - 32_768);
            damaged[at] = byte;
        }
        let _: Result<Tree, _> = iso9660::read(&Blob::from(damaged.clone()));
        damaged.truncate(cut.index(damaged.len()));
        let _: Result<Tree, _> = iso9660::read(&Blob::from(damaged));
    }
}

#[test]
fn xorriso_and_isoinfo_agree() {
    let desk = tempfile::tempdir().unwrap();
    let image = desk.path().join("tree.iso");
    // libisofs gives up above 1023, and so does isoinfo.
    let tree = odd_tree(1023);
    put(&image, &volume(&tree).write().unwrap());
    let listed = xorriso(&image, &["-find", "/", "-exec", "lsdl", "--"]);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let lists = [words(&listed), words(&run("isoinfo", &[&"-R", &"-l", &"-i", &image]))];
    // libisofs counts no links, isoinfo knows no set-id bits.
    for (line, of_xorriso, of_isoinfo) in [
        ("a file", "-rwxr-xr-x 1 0 0 10000 Apr 18 2017 '/init'", "-rwxr-xr-x 1 0 0 10000 Apr 18 2017"),
        ("set-user-ID and three names", "-rwsr-xr-x 1 0 0 2048 Apr 18 2017 '/bin/su'", "-rwxr-xr-x 3 0 0 2048 Apr 18 2017"),
        ("a device", "crw------- 1 0 0 5,1 Apr 18 2017 '/dev/console'", "crw------- 1 0 0 0 Apr 18 2017"),
        ("a target", "lrwxrwxrwx 1 0 0 0 Apr 18 2017 '/links/2' -> '/usr/bin/env'", "2 -> /usr/bin/env"),
        ("an owner", "-rw-r----- 1 4000000000 100000 77 Jan 19 2038 '/times/2038'", "77 Jan 19 2038"),
        ("links of a directory", "drwxr-xr-x 1 0 0 0 Jan 1 1970 '/subdirectories'", "drwxr-xr-x 302 0 0"),
        ("a deep file", "'/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep/deep", "70000 Apr 18 2017"),
    ] {
        assert!(lists[0].contains(&words(of_xorriso)), "{line} is not what xorriso sees");
        assert!(lists[1].contains(&words(of_isoinfo)), "{line} is not what isoinfo sees");
    }
    // The root, and a name of two lines.
    assert_eq!(listed.lines().count(), tree.names.len() + 2);
    let extracted = desk.path().join("out");
    xorriso(&image, &["-osirrox", "on:o_excl_off", "-extract", "/bin", extracted.to_str().unwrap()]);
    assert!(fs::read(extracted.join("wall")).unwrap() == pattern(2049, 3).to_vec(MIB).unwrap());
}

/// 7-Zip, as Windows, knows Joliet's names and not Rock Ridge's.
#[test]
fn joliet_has_the_names_that_windows_shows() {
    let desk = tempfile::tempdir().unwrap();
    let image = desk.path().join("tree.iso");
    let tree = odd_tree(1);
    put(&image, &Volume { joliet: true, ..volume(&tree) }.write().unwrap());
    let listed = run("7z", &[&"l", &"-ba", &"-slt", &image]);
    let paths: Vec<_> = listed.lines().filter_map(|line| line.strip_prefix("Path = ")).collect();
    let deep = format!("{}file", "deep/".repeat(40));
    let cut = format!("names/{}", "n".repeat(61));
    for path in
        ["names/größe", "names/a b", "names/semi_1", "bin/su", "a hard link", "many/A rather long name of a file, number 1499", &deep, &cut]
    {
        assert!(paths.contains(&path), "{path} is not in {paths:?}");
    }
    assert!(!paths.iter().any(|path| path.starts_with("dev/") || path.starts_with("links/")), "devices and links");
    run("7z", &[&"t", &image]);
}

#[test]
fn identifiers_and_dates_are_seen() {
    let desk = tempfile::tempdir().unwrap();
    let image = desk.path().join("volume.iso");
    let tree = Tree::default();
    put(&image, &Volume { joliet: true, ..volume(&tree) }.write().unwrap());
    let facts = run("isoinfo", &[&"-d", &"-i", &image]);
    for line in
        ["System id: LINUX", "Volume id: MOBY_TEST", "Application id: MOBY", "Joliet with UCS level 3 found", "Logical block size is: 2048"]
    {
        assert!(facts.contains(line), "{line} is not in\n{facts}");
    }
    let dates = xorriso(&image, &["-pvd_info"]);
    assert!(dates.contains("Creation Time: 2023111422132100"), "{dates}");
    assert!(dates.contains("Modif. Time  : 2023111422132100"), "{dates}");
    let error = Volume { identifier: "größe", ..volume(&tree) }.write().unwrap_err();
    assert!(error.to_string().contains("printable ASCII"), "{error}");
}

/// 10 GiB in three sections, of which 12 bytes are data.
#[test]
fn files_above_4_gib_have_sections() {
    let desk = tempfile::tempdir().unwrap();
    let image = desk.path().join("large.iso");
    let mut large = Blob::zeros(5 * GIB);
    large.append(&Blob::bytes(*b"middle"));
    large.extend_to(10 * GIB + 1);
    large.append(&Blob::bytes(*b"the end"));
    let mut builder = Builder::default();
    builder.add(b"large", Inode::new(Content::File(large.clone()), 0o644)).unwrap();
    builder.add(b"small", Inode::new(Content::File(Blob::bytes(*b"small")), 0o644)).unwrap();
    let tree = builder.finish();
    let written = volume(&tree).write().unwrap();
    assert!(written.data_len() < MIB, "gaps stay gaps");
    put(&image, &written);
    let sections = xorriso(&image, &["-find", "/large", "-exec", "report_sections"]);
    // "File data lba: section , block , blocks , size , path"
    let fields = |line: &str| line.split([':', ',']).map(|field| field.trim().parse().unwrap_or(0)).collect::<Vec<u64>>();
    let sections: Vec<_> = sections.lines().filter(|line| line.starts_with("File data lba")).map(fields).collect();
    assert_eq!(sections.iter().map(|s| s[4]).collect::<Vec<_>>(), [4 * GIB - BLOCK, 4 * GIB - BLOCK, 2 * GIB + 2 * BLOCK + 8]);
    let first = sections[0][2] * BLOCK;
    for (offset, text) in [(5 * GIB, &b"middle"[..]), (10 * GIB + 1, b"the end")] {
        assert_eq!(written.slice(first + offset..first + offset + text.len() as u64).to_vec(9).unwrap(), text);
    }
    assert_eq!(sections[1][2], sections[0][2] + (4 * GIB - BLOCK) / BLOCK);
    let listed = run("bsdtar", &[&"-tvf", &image]);
    assert!(listed.contains(&(10 * GIB + 8).to_string()), "{listed}");
    assert!(run("isoinfo", &[&"-R", &"-x", &"/small", &"-i", &image]).starts_with("small"));
}

#[test]
fn what_linux_would_mistake_is_refused() {
    let one = |path: &[u8], content| {
        let mut builder = Builder::default();
        builder.add(path, Inode::new(content, 0o644)).unwrap();
        volume(&builder.finish()).write().unwrap_err().to_string()
    };
    let name = [b"d/".as_slice(), &[b'x'; 254]].concat();
    assert!(one(&name, Content::Fifo).ends_with("a name of 254 bytes, Linux takes at most 253 from ISO 9660"));
    assert!(one(b"dev/x", Content::CharacterDevice(Device { major: 0, minor: 256 })).starts_with("dev/x: device 0:256"));
    assert!(one(b"big", Content::File(Blob::zeros(401 * GIB))).starts_with("big: the file has 401 GiB, Linux reads at most"));
    let mut builder = Builder::default();
    for n in 0..65_535 {
        builder.add(format!("{n}").as_bytes(), Inode::new(Content::Directory, 0o755)).unwrap();
    }
    let error = volume(&builder.finish()).write().unwrap_err().to_string();
    assert_eq!(error, "there are 65536 directories, ISO 9660 numbers at most 65535");
    let mut builder = Builder::default();
    for n in 0..30 {
        builder.add(format!("{n}").as_bytes(), Inode::new(Content::File(Blob::zeros(300 * GIB)), 0o644)).unwrap();
    }
    assert!(volume(&builder.finish()).write().unwrap_err().to_string().contains("ISO 9660 has less than 8 TiB"));
}

/// Readers disagree about device numbers that do not fit 16 bits: Linux has its way, as of `fs/isofs/rock.c`.
#[test]
fn large_device_numbers_are_as_linux_reads_them() {
    let mut builder = Builder::default();
    builder.add(b"x", Inode::new(Content::BlockDevice(Device { major: 259, minor: 70_000 }), 0o660)).unwrap();
    let bytes = volume(&builder.finish()).write().unwrap().to_vec(MIB).unwrap();
    let expected = b"PN\x14\x01\x03\x01\0\0\0\0\x01\x03\x70\x11\x01\0\0\x01\x11\x70";
    assert!(bytes.windows(expected.len()).any(|window| window == expected));
}

#[test]
fn files_may_lie_elsewhere_and_firmware_finds_its_images() {
    let desk = tempfile::tempdir().unwrap();
    let image = desk.path().join("placed.iso");
    let body = pattern(5000, 9);
    let mut builder = Builder::default();
    // libisofs warns of what no file is.
    builder.add(b"boot/bios", Inode::new(Content::File(Blob::zeros(BLOCK)), 0o644)).unwrap();
    builder.add(b"boot/kernel", Inode::new(Content::File(body.clone()), 0o644)).unwrap();
    builder.add(b"other", Inode::new(Content::File(pattern(9000, 3)), 0o644)).unwrap();
    let tree = builder.finish();
    let (bios, uefi) = (BootImage { start: 24 * BLOCK, len: BLOCK }, BootImage { start: MIB, len: MIB });
    let placed = vec![(b"boot/kernel".to_vec(), MIB + 10 * BLOCK), (b"boot/bios".to_vec(), bios.start)];
    let volume = Volume {
        boot: Some(Catalog { bios: Some(bios), uefi: Some(uefi) }),
        start: 2 * MIB,
        placed,
        tail: 20_000,
        size_multiple: 64 << 10,
        ..volume(&tree)
    };
    let mut written = volume.write().unwrap();
    assert!(written.len().is_multiple_of(64 << 10) && written.len() >= 2 * MIB + 20_000);
    written.splice(MIB + 10 * BLOCK, &body);
    put(&image, &written);
    assert_eq!(lines(&read_back(&image)), lines(&tree));
    assert!(run("isovfy", &[&image]).contains("No errors found"));
    let report = xorriso(&image, &["-report_el_torito", "plain"]);
    for line in
        ["El Torito catalog  : 19  1", "BIOS  y   none  0x0000  0x00      4          24", "UEFI  y   none  0x0000  0x00   2048         512"]
    {
        assert!(report.contains(line), "{line} is not in\n{report}");
    }
}

#[test]
fn losses_are_told() {
    let mut tree = odd_tree(1);
    assert_eq!(iso9660::losses(&tree), Default::default());
    // The root is the first, and the second has three names.
    tree.inodes[0].mtime = 5_869_584_000;
    tree.inodes[1].xattrs.push((b"user.x".to_vec(), b"y".to_vec()));
    let losses = iso9660::losses(&tree);
    assert_eq!(losses.times, [b"."]);
    assert_eq!(losses.xattrs.iter().map(|(path, _)| path.as_slice()).collect::<Vec<_>>(), [&b"a hard link"[..], b"bin/su", b"zz"]);
}

/// A name that a file system can have.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => b'a'..=b'c', 1 => prop::sample::select((1..=255_u8).filter(|byte| *byte != b'/').collect::<Vec<_>>())];
    let len = prop_oneof![4 => 1..4_usize, 1 => 90..140_usize, 1 => 240..=253_usize];
    len.prop_flat_map(move |len| prop::collection::vec(byte.clone(), len)).prop_filter("is a path", |name| name != b"." && name != b"..")
}

fn content() -> impl Strategy<Value = Content> {
    // libarchive takes no two names of what has no data for one.
    let file = prop::collection::vec(any::<u8>(), 1..5000).prop_map(|bytes| Content::File(Blob::from(bytes)));
    let target = prop::collection::vec(name(), 1..12).prop_map(|names| Content::Symlink(names.join(&b'/')));
    let device = (1..0xfff_u32, 0..0xff_u32).prop_map(|(major, minor)| Content::BlockDevice(Device { major, minor }));
    prop_oneof![4 => file, 2 => target, 1 => device, 1 => Just(Content::Fifo), 3 => Just(Content::Directory)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_tree_comes_back(
        entries in prop::collection::vec((prop::collection::vec(name(), 1..4), content(), 0..=0o7777_u32, any::<(u32, u32, u32)>()), 1..40),
        links in prop::collection::vec((name(), any::<prop::sample::Index>()), 0..4),
        joliet in any::<bool>(),
    ) {
        let mut builder = Builder::default();
        let mut files: Vec<Vec<u8>> = Vec::new();
        for (path, content, mode, (uid, gid, mtime)) in entries {
            let path = path.join(&b'/');
            let inode = Inode { uid, gid, mtime: mtime.into(), ..Inode::new(content, mode) };
            let is_file = matches!(inode.content, Content::File(_));
            files.retain(|file| *file != path);
            // One that is on the way of another is left out, as is a path over a symbolic link.
            if builder.add(&path, inode).is_ok() && is_file {
                files.push(path);
            }
        }
        for (name, target) in links {
            if !files.is_empty() {
                let _: formats::Result<()> = builder.hard_link(&name, target.get(files.as_slice()).as_slice());
            }
        }
        let tree = builder.finish();
        let desk = tempfile::tempdir().unwrap();
        let image = desk.path().join("any.iso");
        put(&image, &Volume { joliet, ..volume(&tree) }.write().unwrap());
        let (expected, found) = (lines(&tree), lines(&read_back(&image)));
        for (expected, found) in expected.iter().zip(&found) {
            prop_assert_eq!(expected, found);
        }
        prop_assert_eq!(expected.len(), found.len());
    }
}
